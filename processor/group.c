#include "processor/group.h"

#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "common/digest.h"
#include "common/json.h"
#include "common/notification.h"

#define TEXT_MAX ((size_t)1 << 20)

/* ---- identity ---- */

static bool grouped_by(const struct route *r, struct slice name)
{
    for (size_t i = 0; i < r->group_by_n; i++)
        if (slice_is(name, r->group_by[i]))
            return true;
    return r->by_all;
}

static enum group_kind kind_of(const struct route *r)
{
    if (r->digest.period_ms > 0)
        return GROUP_DIGEST;
    return r->by_incident ? GROUP_INCIDENT : GROUP_ALERTS;
}

static int group_labels(struct arena *a, const struct route *r, struct labels from,
                        const struct uuid *incident, struct labels *ret)
{
    struct label *v = arena_array(a, from.n + 1, struct label);
    size_t n = 0;

    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < from.n; i++)
        if (grouped_by(r, from.v[i].name))
            v[n++] = from.v[i];
    if (kind_of(r) == GROUP_INCIDENT) {
        char text[UUID_STR];
        char *id = arena_strndup(a, uuid_format(incident, text), UUID_STR - 1);

        if (!id)
            return -ENOMEM;
        v[n++] = (struct label){SLICE_LIT("incident"), slice_of(id)};
    }
    return labels_make(a, v, n, ret);
}

static int group_id(const struct route *r, struct slice tenant, const struct group_identity *g,
                    struct uuid *ret)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(TEXT_MAX);
    unsigned char hash[SHA256_LEN];

    buf_add(&b, tenant.p, tenant.len);
    buf_putc(&b, '\0');
    buf_add(&b, r->id, sizeof(r->id));
    buf_putc(&b, (char)('0' + g->kind));
    for (size_t i = 0; i < g->labels.n; i++) {
        buf_add(&b, g->labels.v[i].name.p, g->labels.v[i].name.len);
        buf_putc(&b, '\0');
        buf_add(&b, g->labels.v[i].value.p, g->labels.v[i].value.len);
        buf_putc(&b, '\0');
    }
    if (b.failed)
        return -ENOMEM;
    sha256(b.p, b.len, hash);
    memcpy(ret->b, hash, sizeof(ret->b));
    return 0;
}

int group_of(struct arena *a, const struct route *r, struct slice tenant,
             struct labels routing_labels, const struct uuid *incident, struct group_identity *ret)
{
    struct group_identity g = {.kind = kind_of(r)};
    int rc = group_labels(a, r, routing_labels, incident, &g.labels);

    if (rc == 0)
        rc = group_id(r, tenant, &g, &g.id);
    if (rc == 0)
        *ret = g;
    return rc;
}

/* As Go's %q does it, for what labels hold in practice. */
static void put_quoted(struct buf *b, struct slice s)
{
    static const char names[] = "\"\\nrt", bytes[] = "\"\\\n\r\t";

    buf_putc(b, '"');
    for (size_t i = 0; i < s.len; i++) {
        const char c = s.p[i], *at = memchr(bytes, c, sizeof(bytes) - 1);

        if (at)
            buf_printf(b, "\\%c", names[at - bytes]);
        else if ((unsigned char)c < ' ' || c == '\x7f')
            buf_printf(b, "\\x%02x", (unsigned char)c);
        else
            buf_putc(b, c);
    }
    buf_putc(b, '"');
}

const char *group_key(struct arena *a, const struct route *r, struct labels group_labels)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(TEXT_MAX);

    buf_printf(&b, "%s:{", r->path);
    for (size_t i = 0; i < group_labels.n; i++) {
        buf_puts(&b, i ? ", " : "");
        buf_add(&b, group_labels.v[i].name.p, group_labels.v[i].name.len);
        buf_putc(&b, '=');
        put_quoted(&b, group_labels.v[i].value);
    }
    buf_putc(&b, '}');
    return b.failed ? NULL : arena_strndup(a, b.p, b.len);
}

/* ---- what is due ---- */

const char *due_name(enum due_kind k)
{
#define X(name, word) [DUE_##name] = (word),
    static const char *const names[] = {NOTIFICATION_KINDS(X)};
#undef X

    return names[k];
}

/* What an integration knows, and what it is told step by step. */
struct telling {
    struct said known;
    struct due *out;
    size_t n;
};

static void tell(struct telling *t, enum due_kind kind)
{
    t->out[t->n++] = (struct due){.kind = kind, .state = t->known};
}

/* The incident as it is; but levels are told one by one. */
static struct said as_it_is(const struct standing *is, enum escalation_level level, int64_t now_ms)
{
    return (struct said){.at = now_ms,
                         .resolved = is->status == INCIDENT_RESOLVED,
                         .episode = is->episode,
                         .level = level < is->level ? level : is->level,
                         .severity = is->severity,
                         .word = is->status,
                         .owner = is->owner.p ? is->owner : SLICE_LIT(""),
                         .silent_ms = is->silent_ms,
                         .silent_by = is->silent_by};
}

bool lasted(const struct route *r, const struct standing *is, bool told, int64_t from_ms,
            int64_t until_ms)
{
    if (!told && from_ms < is->since_ms)
        from_ms = is->since_ms;
    return until_ms - from_ms >= (told ? r->group_interval_ms : r->group_wait_ms);
}

/* Is an episode over that nobody looked at? */
static bool missed(const struct route *r, const struct standing *is, const struct said *last)
{
    return is->status == INCIDENT_RESOLVED && is->episode > last->episode &&
           is->flushed_ms < is->episode_ms &&
           lasted(r, is, last->seq > 0, is->episode_ms, is->resolved_ms);
}

/* Has a person done something since? What was told before owners were remembered is no news. */
static bool acted(const struct standing *is, const struct said *last)
{
    return is->status != last->word || (last->owner.p && !slice_eq(is->owner, last->owner));
}

static void tell_incident(struct telling *t, const struct route *r, const struct standing *is,
                          const struct said *last, int64_t now_ms)
{
    const bool told = last->seq > 0, over = is->status == INCIDENT_RESOLVED,
               open_to_them = told && !last->resolved, late = !open_to_them && missed(r, is, last);

    if ((over && !open_to_them && !late) || (is->moved && !(over && open_to_them)))
        return;
    t->known = as_it_is(is, told ? last->level : is->opened_level, now_ms);
    t->known.resolved = false;
    if (over)
        t->known.word = late ? INCIDENT_OPEN : last->word;
    if (!told)
        tell(t, DUE_OPENED);
    else if (late || (!over && (last->resolved || is->episode > last->episode)))
        tell(t, DUE_REOPENED);
    while (!is->moved && t->known.level < is->level) {
        t->known.level++;
        tell(t, DUE_CROSSING);
    }
    if (over) {
        t->known = as_it_is(is, is->level, now_ms);
        tell(t, DUE_RESOLVED);
        return;
    }
    if (t->n == 0 && is->severity > last->severity)
        tell(t, DUE_SEVERITY);
    if (told && !last->resolved && is->episode == last->episode && acted(is, last))
        tell(t, DUE_STATUS);
}

static bool holds(const uint64_t *v, size_t n, uint64_t fp)
{
    size_t from = 0;

    while (from < n) {
        const size_t mid = from + (n - from) / 2;

        if (v[mid] == fp)
            return true;
        if (v[mid] < fp)
            from = mid + 1;
        else
            n = mid;
    }
    return false;
}

static bool any_of(const uint64_t *v, size_t n, const struct said *last, bool told_firing)
{
    for (size_t i = 0; i < n; i++)
        if (holds(last->firing, last->firing_n, v[i]) == told_firing)
            return true;
    return false;
}

/* Alertmanager's rule: what fires and was not told, or was told as firing and is over. */
static void tell_alerts(struct telling *t, const struct route *r, const struct standing *is,
                        const struct said *last, int64_t now_ms)
{
    const bool fires = any_of(is->firing, is->firing_n, last, false);
    const bool news = fires || any_of(is->ended, is->ended_n, last, true) ||
                      (is->firing_n == 0 && last->firing_n > 0) || is->missed_n > 0;

    t->known = (struct said){.at = now_ms,
                             .resolved = is->firing_n == 0,
                             .firing = is->firing,
                             .firing_n = is->firing_n,
                             .ended = is->ended,
                             .ended_n = is->ended_n};
    if (!news)
        return;
    tell(t, DUE_ALERTS);
    struct due *due = &t->out[t->n - 1];
    due->missed = is->missed;
    due->missed_n = is->missed_n;
    due->ends_only = !fires && is->firing_n > 0 && is->missed_n == 0 &&
                     now_ms < last->at + r->repeat_interval_ms;
}

/* May the same be said again, now or later? An acknowledgement stops that. */
static bool repeats(const struct standing *is, const struct said *state)
{
    if (is->kind == GROUP_ALERTS)
        return state->firing_n > 0;
    return is->kind == GROUP_INCIDENT && is->status == INCIDENT_OPEN && !is->moved;
}

static size_t due_digest(const struct standing *is, int64_t now_ms, int64_t at,
                         struct due out[DUE_MAX], int64_t *ret_again)
{
    if (is->item_n == 0)
        return 0;
    if (now_ms < at) {
        *ret_again = at;
        return 0;
    }
    out[0] = (struct due){.kind = DUE_DIGEST, .state.at = now_ms, .at_ms = at};
    return 1;
}

/* When this could have been said first: not before what it tells, nor before `earliest`. */
static int64_t due_since(const struct standing *is, enum due_kind kind, int64_t earliest,
                         int64_t now_ms)
{
    int64_t at = now_ms;

    if (is->kind != GROUP_INCIDENT)
        return at;
    if (kind == DUE_OPENED)
        at = is->since_ms;
    else if (kind == DUE_REOPENED)
        at = is->episode_ms;
    else if (kind == DUE_RESOLVED)
        at = is->resolved_ms;
    return at < earliest ? earliest : at;
}

size_t group_due(const struct route *r, const struct standing *now_is, const struct said *last,
                 int64_t now_ms, int64_t digest_ms, struct due out[DUE_MAX],
                 int64_t *ret_look_again_ms)
{
    const struct standing *is = now_is;
    struct telling t = {.out = out};

    *ret_look_again_ms = 0;
    if (is->kind == GROUP_DIGEST)
        return due_digest(is, now_ms, digest_ms, out, ret_look_again_ms);
    if (is->kind == GROUP_INCIDENT)
        tell_incident(&t, r, is, last, now_ms);
    else
        tell_alerts(&t, r, is, last, now_ms);

    const bool told = last->seq > 0, news = t.n > 0;
    const int64_t earliest = is->flushed_ms > 0 ? is->flushed_ms + r->group_interval_ms
                                                : is->since_ms + r->group_wait_ms;
    const bool again = (told || news) && repeats(is, &t.known);
    int64_t next = last->at + r->repeat_interval_ms;
    if (news || next < earliest)
        next = earliest;
    if (now_ms < next) {
        *ret_look_again_ms = news || again ? next : 0;
        return 0;
    }
    if (!news && again)
        tell(&t, DUE_REPEAT);
    if (again)
        *ret_look_again_ms = now_ms + r->repeat_interval_ms;
    for (size_t i = 0; i < t.n; i++)
        out[i].at_ms = due_since(is, out[i].kind, earliest, now_ms);
    return t.n;
}

bool group_silence_due(const struct route *r, const struct standing *is, const struct said *last,
                       int64_t now_ms, struct due *ret, int64_t *ret_look_again_ms)
{
    const int64_t earliest = is->flushed_ms > 0 ? is->flushed_ms + r->group_interval_ms : 0;

    *ret_look_again_ms = 0;
    if (is->kind != GROUP_INCIDENT || is->moved || is->status == INCIDENT_RESOLVED ||
        last->seq == 0 || last->resolved || is->episode != last->episode ||
        is->silent_ms == last->silent_ms)
        return false;
    if (now_ms < earliest) {
        *ret_look_again_ms = earliest;
        return false;
    }
    /* All else that was said stays what was said: it is told when it is no longer silenced. */
    *ret = (struct due){.kind = DUE_SILENCE, .state = *last, .at_ms = now_ms};
    ret->state.silent_ms = is->silent_ms;
    ret->state.silent_by = is->silent_by;
    return true;
}

int64_t digest_next(const struct digest_when *d, int64_t from_ms, int32_t utc_offset_minutes)
{
    const int64_t shift = d->at_minute < 0 ? 0 : (d->at_minute - utc_offset_minutes) * MS_MINUTE;
    const int64_t since = from_ms - shift;
    int64_t into = since % d->period_ms;

    if (into < 0)
        into += d->period_ms;
    return into == 0 ? from_ms : from_ms + d->period_ms - into;
}

int digest_next_by(const struct digest_when *d, int64_t from_ms, const struct clocks *c,
                   int64_t *ret, struct err *e)
{
    int32_t before = 0, after, there;
    int rc = d->at_minute < 0 ? 0 : c->offset(c->ctx, from_ms, &before, e);

    if (rc < 0)
        return rc;
    *ret = digest_next(d, from_ms, before);
    if (d->at_minute < 0 || (rc = c->offset(c->ctx, *ret, &after, e)) < 0 || after == before)
        return rc;
    const int64_t moved = *ret + (before - after) * MS_MINUTE;
    if ((rc = c->offset(c->ctx, moved, &there, e)) == 0 && there == after) /* else left out */
        *ret = moved;
    return rc;
}

/* ---- memory of what was said ---- */

void fingerprints_to_json(struct buf *b, const char *name, const uint64_t *v, size_t n)
{
    char hex[FINGERPRINT_STR];

    if (n == 0)
        return;
    buf_printf(b, ",\"%s\":[", name);
    for (size_t i = 0; i < n; i++)
        buf_printf(b, "%s\"%s\"", i ? "," : "", fingerprint_format(v[i], hex));
    buf_putc(b, ']');
}

int said_to_json(struct buf *b, const struct said *s)
{
    buf_printf(b, "{\"seq\":%lld,\"status\":\"%s\",\"at\":%lld", (long long)s->seq,
               s->resolved ? "resolved" : "firing", (long long)s->at);
    if (s->word)
        buf_printf(b, ",\"episode\":%d,\"level\":%d,\"severity\":%d,\"word\":\"%s\"",
                   (int)s->episode, (int)s->level, (int)s->severity, incident_status_name(s->word));
    if (s->owner.p) {
        buf_puts(b, ",\"owner\":");
        buf_json(b, s->owner);
    }
    if (s->silent_ms > 0) {
        buf_printf(b, ",\"silenced_until\":%lld,\"silenced_by\":", (long long)s->silent_ms);
        buf_json(b, s->silent_by);
    }
    fingerprints_to_json(b, "alerts", s->firing, s->firing_n);
    fingerprints_to_json(b, "resolved_alerts", s->ended, s->ended_n);
    buf_putc(b, '}');
    return b->failed ? -ENOMEM : 0;
}

static int bad(struct err *e, const char *what)
{
    return err_set(e, -EBADMSG, "what a group was told: %s", what);
}

static int get_fingerprints(struct arena *a, const json_t *list, const uint64_t **ret,
                            size_t *ret_n, struct err *e)
{
    const size_t n = json_array_size(list);
    uint64_t *v = n ? arena_array(a, n, uint64_t) : NULL;

    if (n && !v)
        return err_set(e, -ENOMEM, "what a group was told: too many alerts");
    for (size_t i = 0; i < n; i++) {
        const json_t *fp = json_array_get(list, i);

        if (!json_is_string(fp) || !fingerprint_parse(slice_of(json_string_value(fp)), &v[i]))
            return bad(e, "no fingerprint");
        if (i > 0 && v[i] <= v[i - 1])
            return bad(e, "fingerprints out of order");
    }
    *ret = v;
    *ret_n = n;
    return 0;
}

int said_from_json(struct arena *a, struct slice json, struct said *ret, struct err *e)
{
    static const struct json_limits limits = {.max_depth = 4};
    struct said s = {0};

    if (json.len == 0 || slice_is(json, "null")) {
        *ret = s;
        return 0;
    }
    if (json_scan(json, &limits, e) < 0)
        return err_wrap(e, "what a group was told");
    const json_t *o = json_tree(json, a, e);
    if (!json_is_object(o))
        return bad(e, "no object");
    s.seq = json_integer_value(json_object_get(o, "seq"));
    s.at = json_integer_value(json_object_get(o, "at"));
    s.resolved = slice_is(json_str(o, "status", a), "resolved");
    s.episode = (int32_t)json_integer_value(json_object_get(o, "episode"));
    s.level = (enum escalation_level)json_integer_value(json_object_get(o, "level"));
    s.severity = (enum severity)json_integer_value(json_object_get(o, "severity"));
    const struct slice word = json_str(o, "word", a);
    if (s.seq <= 0 || (word.len > 0 && !incident_status_parse(word, &s.word)))
        return bad(e, "no sequence, or an unknown word");
    const json_t *owner = json_object_get(o, "owner");
    if (json_is_string(owner))
        s.owner = (struct slice){json_string_value(owner), json_string_length(owner)};
    s.silent_ms = json_integer_value(json_object_get(o, "silenced_until"));
    s.silent_by = json_str(o, "silenced_by", a);
    int rc = get_fingerprints(a, json_object_get(o, "alerts"), &s.firing, &s.firing_n, e);
    if (rc == 0)
        rc = get_fingerprints(a, json_object_get(o, "resolved_alerts"), &s.ended, &s.ended_n, e);
    if (rc == 0)
        *ret = s;
    return rc;
}
