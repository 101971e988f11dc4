/* The deciding part of a flush. */
#include "processor/flush.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "processor/flush_internal.h"

#define TEXT_MAX ((size_t)64 << 20)
#define KEY_MAX 24 /* of `told`: "0", "1" ... or "gone" */

static struct note *note_new(struct notes *t, struct arena *a)
{
    if (t->n == t->cap) {
        const size_t cap = t->cap ? 2 * t->cap : 64;
        struct note *v = arena_array(a, cap, struct note);

        if (!v)
            return NULL;
        if (t->n)
            memcpy(v, t->v, t->n * sizeof(*v));
        t->v = v;
        t->cap = cap;
    }
    return &t->v[t->n++];
}

/* ---- what was told, and what is ---- */

/* A receiver that left the configuration has no integrations, nor has one without a channel; what
 * it would have been told is remembered apart, so that it is told should it come back, or get one.
 */
static const char *told_key(const struct target *t, size_t integration, char out[KEY_MAX])
{
    if (!t->receiver)
        return "gone";
    if (target_mute(t))
        return "none";
    (void)snprintf(out, KEY_MAX, "%zu", integration);
    return out;
}

static int load_told(struct flush *f, struct target *t, struct err *e)
{
    t->told_tree = json_tree(t->told, f->a, e);
    return json_is_object(t->told_tree)
               ? 0
               : err_set(e, -EBADMSG, "groups.told of a group of %.*s is no object",
                         SLICE_FMT(t->receiver_name));
}

static int said_what(struct flush *f, const struct target *t, const char *key, const char *what,
                     struct said *ret, struct err *e)
{
    char path[KEY_MAX + 16];

    (void)snprintf(path, sizeof(path), "%s.%s", key, what);
    return said_from_json(f->a, json_at(t->told, path), ret, e);
}

static int said_last(struct flush *f, const struct target *t, const char *key, struct said *ret,
                     struct err *e)
{
    int rc = said_what(f, t, key, "last", ret, e);

    return rc == 0 && ret->seq == 0 && !t->receiver ? said_what(f, t, "0", "last", ret, e) : rc;
}

/* What it was told last, or would have been but for a silence. */
static int remember(struct target *t, const char *key, const struct said *s, bool withheld,
                    struct err *e)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(TEXT_MAX);
    json_t *entry = json_object_get(t->told_tree, key);

    if (said_to_json(&b, s) < 0)
        return flush_too_large(e);
    if (!entry) {
        entry = json_object();
        if (json_object_set_new(t->told_tree, key, entry) < 0)
            return flush_too_large(e);
    }
    json_t *state = json_loadb(b.p, b.len, 0, NULL);
    if (!withheld)
        (void)json_object_del(entry, "withheld");
    return json_object_set_new(entry, withheld ? "withheld" : "last", state) < 0
               ? flush_too_large(e)
               : 0;
}

/* ---- what a silence keeps from it ---- */

/* What it was told as firing it is told the end of. */
static bool hidden(const struct member *m, const struct said *last)
{
    return m->silence && !among(last->firing, last->firing_n, m->fingerprint);
}

/* The lists of alerts as one integration sees them; all ascend. What was withheld and is over is
 * nothing to tell. */
static int split_members(struct flush *f, const struct target *t, const struct said *last,
                         const struct said *withheld, struct standing *is, struct err *e)
{
    uint64_t *firing = arena_array(f->a, t->member_n + 1, uint64_t),
             *ended = arena_array(f->a, last->firing_n + t->member_n + 1, uint64_t),
             *missed = arena_array(f->a, t->member_n + 1, uint64_t);
    size_t firing_n = 0, ended_n = 0;

    if (!firing || !ended || !missed)
        return flush_too_large(e);
    for (size_t i = 0; i < t->member_n; i++)
        if (t->members[i].firing && !hidden(&t->members[i], last))
            firing[firing_n++] = t->members[i].fingerprint;
    for (size_t i = 0; i < last->firing_n; i++)
        if (!among(firing, firing_n, last->firing[i]))
            ended[ended_n++] = last->firing[i];
    for (size_t i = 0; i < t->member_n; i++) {
        const struct member *m = &t->members[i];

        if (m->firing || hidden(m, last) || among(last->firing, last->firing_n, m->fingerprint) ||
            among(withheld->firing, withheld->firing_n, m->fingerprint) ||
            among(last->ended, last->ended_n, m->fingerprint) ||
            !lasted(t->route, is, last->seq > 0, m->starts_ms, m->ended_ms))
            continue;
        ended[ended_n++] = m->fingerprint;
        missed[is->missed_n++] = m->fingerprint;
    }
    if (is->missed_n > 0)
        qsort(ended, ended_n, sizeof(*ended), by_number);
    is->firing = firing;
    is->firing_n = firing_n;
    is->ended = ended;
    is->ended_n = ended_n;
    is->missed = missed;
    return 0;
}

/* The alerts of which it shall hear nothing at all; NULL: there are none. */
static const struct silencing *split_hidden(struct flush *f, const struct target *t,
                                            const struct said *last, struct standing *is)
{
    uint64_t *firing = arena_array(f->a, t->member_n + 1, uint64_t);
    const struct silencing *by = NULL;

    is->firing = firing;
    is->firing_n = is->ended_n = is->missed_n = 0;
    for (size_t i = 0; firing && i < t->member_n; i++) {
        const struct member *m = &t->members[i];

        if (!m->firing || !hidden(m, last))
            continue;
        firing[is->firing_n++] = m->fingerprint;
        by = by ? by : m->silence;
    }
    return by;
}

/* The silence of the first, when all that fires is silenced. */
static const struct silencing *all_silenced(const struct target *t)
{
    const struct silencing *first = NULL;

    for (size_t i = 0; i < t->member_n; i++) {
        if (!t->members[i].firing)
            continue;
        if (!t->members[i].silence)
            return NULL;
        first = first ? first : t->members[i].silence;
    }
    return first;
}

/* ---- deciding ---- */

/* What one integration is to be told, or would be but for `by`. */
struct decision {
    struct due due[DUE_MAX];
    size_t n;
    int64_t again;
    const struct silencing *by;
    bool whole;
};

/* One integration: what it knows, and what it would but for silences. */
struct view {
    struct said last, withheld;
};

static void decide_incident(const struct flush *f, const struct target *t, const struct view *v,
                            struct decision *d)
{
    const bool owed = v->last.seq > 0 && !v->last.resolved && t->is.status == INCIDENT_RESOLVED;

    d->by = owed ? NULL : t->silence;
    d->n = group_due(t->route, &t->is,
                     d->by && v->withheld.seq > v->last.seq ? &v->withheld : &v->last, f->now_ms, 0,
                     d->due, &d->again);
}

static int decide_alerts(struct flush *f, struct target *t, struct view *v, struct decision *d,
                         struct err *e)
{
    const struct silencing *all = all_silenced(t);
    struct standing is = t->is;
    int64_t again = 0;
    int rc = split_members(f, t, &v->last, &v->withheld, &is, e);

    if (rc < 0)
        return rc;
    if (all && v->withheld.at > v->last.at) /* since then it would have been repeated */
        v->last.at = v->withheld.at;
    d->n = group_due(t->route, &is, &v->last, f->now_ms, 0, d->due, &d->again);
    t->missed_wait |= d->n == 0 && is.missed_n > 0;
    if (d->n > 0) {
        d->by = d->due[d->n - 1].kind == DUE_REPEAT ? all : NULL;
        return 0;
    }
    is = t->is;
    d->by = split_hidden(f, t, &v->last, &is);
    if (!d->by)
        return is.firing ? 0 : flush_too_large(e);
    d->n = group_due(t->route, &is, &v->withheld, f->now_ms, 0, d->due, &again);
    if (again > 0 && (d->again == 0 || again < d->again))
        d->again = again;
    return 0;
}

/* What waits for all, and for this one alone; with the former goes the latter, due or not. */
static int decide_digest(struct flush *f, const struct target *t, size_t integration,
                         const struct view *v, struct decision *d, struct err *e)
{
    const struct gathered *parts[] = {&t->gathered[0], &t->gathered[integration + 1]};

    for (size_t i = 0; i < 2 && d->n == 0; i++) {
        struct standing is = t->is;
        int64_t at, again;

        if (parts[i]->n == 0)
            continue;
        int rc = flush_digest_next(f, t, parts[i]->first_ms, &at, e);
        if (rc < 0)
            return rc;
        is.item_n = parts[i]->n;
        d->n = group_due(t->route, &is, &v->last, f->now_ms, at, d->due, &again);
        d->whole = d->n > 0 && i == 0;
        if (again > 0 && (d->again == 0 || again < d->again))
            d->again = again;
    }
    return 0;
}

static void look_again_at(struct target *t, int64_t at)
{
    if (at > 0 && (t->look_again == 0 || at < t->look_again))
        t->look_again = at;
}

/* What a rule leaves out now, and was told before, hears the end. */
static bool owes_end(const struct target *t, const struct said *last)
{
    if (last->seq == 0)
        return false;
    if (t->kind == GROUP_INCIDENT)
        return t->is.status == INCIDENT_RESOLVED;
    for (size_t i = 0; i < t->member_n; i++)
        if (t->members[i].firing)
            return false;
    return t->kind == GROUP_ALERTS;
}

/* Fills its sequence; `*n` of its integration were added before. */
static int add_note(struct flush *f, const struct target *t, struct note *note, struct notes *notes,
                    size_t *n, struct err *e)
{
    struct note *added = note_new(notes, f->a);

    if (!added)
        return flush_too_large(e);
    note->target = (size_t)(t - f->targets);
    note->due.state.seq = t->seq + (int64_t)++ * n;
    *added = *note;
    return 0;
}

/* That it is silenced is the one thing that a silence does not keep from those who have the newest
 * message; what else is told anyway says it, too. */
static int tell_silence(struct flush *f, struct target *t, size_t integration,
                        const struct said *last, struct notes *notes, size_t *n, struct err *e)
{
    char text[KEY_MAX];
    const char *key = told_key(t, integration, text);
    struct said delivered;
    struct note note = {.integration = integration};
    int64_t again;
    int rc = said_what(f, t, key, "delivered", &delivered, e);

    if (rc < 0 || target_mute(t) || delivered.seq != last->seq)
        return rc;
    if (!group_silence_due(t->route, &t->is, last, f->now_ms, &note.due, &again)) {
        look_again_at(t, again);
        return 0;
    }
    rc = add_note(f, t, &note, notes, n, e);
    return rc < 0 ? rc : remember(t, key, &note.due.state, false, e);
}

static int decide_one(struct flush *f, struct target *t, size_t integration, struct notes *notes,
                      struct err *e)
{
    char text[KEY_MAX];
    const char *key = told_key(t, integration, text);
    struct view v = {0};
    struct decision d = {.n = 0};
    int rc = said_last(f, t, key, &v.last, e);

    if (rc == 0)
        rc = said_what(f, t, key, "withheld", &v.withheld, e);
    if (rc == 0 && !target_mute(t) &&
        ((target_leaves_out(t, integration) && !owes_end(t, &v.last)) ||
         (t->taken_over >> integration & 1)))
        return 0;
    if (rc == 0 && t->kind == GROUP_ALERTS)
        rc = decide_alerts(f, t, &v, &d, e);
    else if (rc == 0 && t->kind == GROUP_DIGEST)
        rc = decide_digest(f, t, integration, &v, &d, e);
    else if (rc == 0)
        decide_incident(f, t, &v, &d);
    if (rc < 0)
        return rc;
    if (d.n > 0 && target_mute(t) && d.due[d.n - 1].kind == DUE_REPEAT)
        d.n--; /* the ledger says it once */
    size_t n = 0;
    if (d.n == 0 || d.by)
        rc = tell_silence(f, t, integration, &v.last, notes, &n, e);
    struct note note = {.integration = integration, .by = d.by, .whole = d.whole};
    for (size_t i = 0; rc == 0 && i < d.n; i++) {
        note.due = d.due[i];
        rc = add_note(f, t, &note, notes, &n, e);
    }
    if (rc < 0)
        return rc;
    if (n > t->note_n)
        t->note_n = n;
    look_again_at(t, d.again);
    return d.n > 0 ? remember(t, key, &note.due.state, d.by != NULL, e) : 0;
}

/* An incident that was purged has nothing to say. */
static bool speechless(const struct target *t)
{
    return t->kind == GROUP_INCIDENT && !t->found;
}

static int decide(struct flush *f, struct target *t, struct notes *notes, struct err *e)
{
    const size_t n = target_integrations(t);
    int rc = load_told(f, t, e);

    if (rc < 0 || speechless(t))
        return rc;
    if (t->receiver)
        (void)json_object_del(t->told_tree, "gone");
    if (!target_mute(t))
        (void)json_object_del(t->told_tree, "none");
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = decide_one(f, t, i, notes, e);
    if (t->kind != GROUP_INCIDENT || t->is.status != INCIDENT_RESOLVED)
        look_again_at(t, t->silence_ends_ms);
    if (!t->receiver)
        t->look_again = 0;
    t->seq += (int64_t)t->note_n;
    return rc;
}

/* ---- the whole ---- */

int flush_groups(const struct flush_settings *s, struct pg *pg, struct arena *a,
                 const struct flush_subjects *v, struct flushed *ret, struct err *e)
{
    struct flush f = {.s = s, .pg = pg, .a = a, .now_ms = v->now_ms};
    struct notes notes = {0};
    int rc = v->n > 0 ? flush_read(&f, v->v, v->n, e) : 0;

    if (rc == 0 && f.target_n > 0)
        rc = flush_read_silences(&f, e);

    for (size_t i = 0; rc == 0 && i < f.target_n; i++)
        rc = decide(&f, &f.targets[i], &notes, e);
    if (rc == 0 && notes.n > 0)
        rc = flush_take_items(&f, &notes, e);
    return rc == 0 ? flush_write(&f, &notes, ret, e) : rc;
}

size_t flush_publish(struct kafka_producer *p, const struct flushed *f)
{
    size_t taken = 0;

    for (size_t i = 0; i < f->wakeup_n; i++) {
        const struct wakeup *w = &f->wakeups[i];
        const struct kafka_header headers[] = {{"v", SLICE_LIT("1")}, {"tenant", w->tenant}};
        char topic[128], id[UUID_STR];

        (void)snprintf(topic, sizeof(topic), "notify.%s", w->channel);
        taken += kafka_produce(p, topic, slice_of(w->key), slice_of(uuid_format(&w->id, id)),
                               headers, sizeof(headers) / sizeof(*headers), NULL, NULL) == 0;
    }
    return taken;
}
