/* The writing half of a flush: notification rows, what groups were told, members that leave, the
 * next look. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/digest.h"
#include "common/silence.h"
#include "processor/flush_internal.h"

#define TEXT_MAX ((size_t)64 << 20)

/* ---- notification rows ---- */

/* See group.h. */
static int put_about(struct flush *f, const struct target *t, const struct note *n, struct buf *b)
{
    const char *key = group_key(f->a, t->route, t->labels);
    char id[UUID_STR];

    if (!key)
        return -ENOMEM;
    buf_printf(b, "{\"reason\":\"%s\",\"state\":", due_name(n->due.kind));
    if (said_to_json(b, &n->due.state) < 0)
        return -ENOMEM;
    buf_puts(b, ",\"group_key\":");
    buf_json(b, slice_of(key));
    buf_printf(b, ",\"group_labels\":%.*s,\"route_labels\":%.*s", SLICE_FMT(t->labels_json),
               SLICE_FMT(t->kind == GROUP_INCIDENT ? t->routed_by : SLICE_LIT("{}")));
    buf_printf(b, ",\"due_at\":%lld", (long long)n->due.at_ms);
    if (t->kind == GROUP_INCIDENT)
        buf_printf(b, ",\"incident\":\"%s\"", uuid_format(&t->incident, id));
    if (t->kind == GROUP_DIGEST)
        buf_printf(b, ",\"items\":[%.*s]", SLICE_FMT(n->items));
    fingerprints_to_json(b, "missed", n->due.missed, n->due.missed_n);
    if (n->due.ends_only)
        buf_puts(b, ",\"ends_only\":true");
    if (t->route->rule)
        buf_printf(b, ",\"rule\":\"%s\"", t->route->rule);
    buf_putc(b, '}');
    return b->failed ? -ENOMEM : 0;
}

static struct uuid note_id(const struct target *t, const struct note *n)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(4096);
    unsigned char hash[SHA256_LEN];
    struct uuid id;

    buf_add(&b, t->id.b, sizeof(t->id.b));
    buf_add(&b, t->receiver_name.p, t->receiver_name.len);
    buf_printf(&b, "%c%zu %lld %s", '\0', n->integration, (long long)n->due.state.seq,
               due_name(n->due.kind));
    sha256(b.p, b.len, hash);
    memcpy(id.b, hash, sizeof(id.b));
    return id;
}

struct note_columns {
    struct slice *tenant, *receiver, *channel, *kind, *about, *state, *reason;
    struct uuid *id, *group, *incident;
    int32_t *integration, *severity;
    int64_t *seq;
    bool *about_incident;
};

static bool note_columns_make(struct note_columns *c, size_t n, struct arena *a)
{
    struct slice *text = arena_array(a, 7 * n, struct slice);
    struct uuid *id = arena_array(a, 3 * n, struct uuid);
    int32_t *number = arena_array(a, 2 * n, int32_t);

    *c = (struct note_columns){.seq = arena_array(a, n, int64_t),
                               .about_incident = arena_array(a, n, bool)};
    if (!text || !id || !number || !c->seq || !c->about_incident)
        return false;
    struct slice **texts[] = {&c->tenant, &c->receiver, &c->channel, &c->kind,
                              &c->about,  &c->state,    &c->reason};
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        *texts[i] = text + i * n;
    c->id = id;
    c->group = id + n;
    c->incident = id + 2 * n;
    c->integration = number;
    c->severity = number + n;
    return true;
}

/* See target_mute(). */
static const char *why_mute(struct flush *f, const struct target *t)
{
    if (target_page_only(t))
        return arena_printf(f->a, "rule \"%s\": shown on the page alone", t->route->rule);
    return arena_printf(f->a,
                        !t->receiver ? "receiver %.*s is no longer in the configuration"
                        : t->itself  ? "it is about receiver %.*s itself, without a fallback"
                                     : "receiver %.*s has no channel",
                        SLICE_FMT(t->receiver_name));
}

/* Of what fires that it tells, but for what is silenced, though that was told as firing before and
 * stays on the list; when nothing else fires, of all that it tells. */
static enum severity severity_of_alerts(const struct target *t, const struct said *told)
{
    const bool over = told->firing_n == 0;
    const uint64_t *v = over ? told->ended : told->firing;
    const size_t n = over ? told->ended_n : told->firing_n;
    enum severity loud = 0, any = SEVERITY_INFO;

    for (size_t i = 0; i < t->member_n; i++) {
        const struct member *m = &t->members[i];

        if (!among(v, n, m->fingerprint))
            continue;
        if (m->severity > any)
            any = m->severity;
        if (m->firing && !m->silence && m->severity > loud)
            loud = m->severity;
    }
    return loud ? loud : any;
}

static enum severity severity_of(const struct target *t, const struct note *n)
{
    if (t->kind == GROUP_ALERTS)
        return severity_of_alerts(t, &n->due.state);
    return t->kind == GROUP_DIGEST ? n->severity : t->severity;
}

static bool fill_note(struct flush *f, struct note_columns *c, size_t i, const struct note *n)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(TEXT_MAX);
    const struct target *t = &f->targets[n->target];

    if (put_about(f, t, n, &b) < 0)
        return false;
    c->tenant[i] = t->tenant;
    c->id[i] = note_id(t, n);
    c->group[i] = t->id;
    c->incident[i] = t->incident;
    c->about_incident[i] = t->kind == GROUP_INCIDENT;
    c->receiver[i] = t->receiver_name;
    c->integration[i] = (int32_t)n->integration;
    c->seq[i] = n->due.state.seq;
    c->kind[i] = slice_of(due_name(n->due.kind));
    c->severity[i] = (int32_t)severity_of(t, n);
    c->about[i] = arena_slice(f->a, (struct slice){b.p, b.len});
    if (!target_mute(t) && n->by) {
        c->channel[i] = slice_of(t->receiver->v[n->integration].channel);
        c->state[i] = SLICE_LIT("suppressed");
        c->reason[i] = slice_of(n->by->reason);
        return c->about[i].p;
    }
    if (!target_mute(t)) {
        c->channel[i] = slice_of(t->receiver->v[n->integration].channel);
        c->state[i] = SLICE_LIT("pending");
        c->reason[i] = SLICE_LIT("");
        return c->about[i].p;
    }
    c->channel[i] = slice_of(target_page_only(t) ? CHANNEL_PAGE : "");
    c->state[i] = SLICE_LIT("suppressed");
    c->reason[i] = slice_of(why_mute(f, t));
    return c->about[i].p && c->reason[i].p;
}

/* Which incidents each row speaks of: its own, those of a digest, those of its alerts. */
#define SPEAKS_OF                                                                                  \
    "INSERT INTO notification_incidents (tenant, notification_id, incident_id, created_at) "       \
    "SELECT n.tenant, n.id, i.incident_id, n.created_at FROM made n CROSS JOIN LATERAL ("          \
    "SELECT n.incident_id UNION "                                                                  \
    "SELECT (item ->> 'incident')::uuid FROM jsonb_array_elements(n.about -> 'items') item UNION " \
    "SELECT a.incident_id FROM jsonb_array_elements_text("                                         \
    "coalesce(n.about #> '{state,alerts}', '[]') || "                                              \
    "coalesce(n.about #> '{state,resolved_alerts}', '[]')) fp JOIN alerts a ON "                   \
    "a.tenant = n.tenant AND a.fingerprint = ('x' || fp)::bit(64)::bigint) i "                     \
    "WHERE i.incident_id IS NOT NULL ON CONFLICT DO NOTHING"

static int write_notes(struct flush *f, const struct notes *notes, struct note_columns *c,
                       struct err *e)
{
    struct pg_args *p = pg_args(f->a);

    if (!note_columns_make(c, notes->n, f->a)) {
        (void)flush_too_large(e);
        return -ENOMEM;
    }
    for (size_t i = 0; i < notes->n; i++)
        if (!fill_note(f, c, i, &notes->v[i]))
            return flush_too_large(e);
    pg_texts(p, c->tenant, notes->n);
    pg_uuids(p, c->id, notes->n);
    pg_uuids(p, c->group, notes->n);
    pg_texts(p, c->receiver, notes->n);
    pg_int4s(p, c->integration, notes->n);
    pg_texts(p, c->channel, notes->n);
    pg_ints(p, c->seq, notes->n);
    pg_texts(p, c->kind, notes->n);
    pg_int4s(p, c->severity, notes->n);
    pg_uuids(p, c->incident, notes->n);
    pg_bools(p, c->about_incident, notes->n);
    pg_texts(p, c->about, notes->n);
    pg_texts(p, c->state, notes->n);
    pg_texts(p, c->reason, notes->n);
    pg_int(p, f->now_ms);
    return pg_query(
        f->pg,
        "WITH made AS (INSERT INTO notifications (tenant, id, group_id, receiver, integration, "
        "channel, seq, kind, "
        "severity, incident_id, about, state, reason, created_at, ended_at) "
        "SELECT t, id, g, rec, int, ch, seq, kind, sev, CASE WHEN ai THEN inc END, about::jsonb, "
        "state, reason, $15::int8, CASE WHEN state <> 'pending' THEN $15::int8 END "
        "FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::int4[], $6::text[], "
        "$7::int8[], $8::text[], $9::int4[], $10::uuid[], $11::bool[], $12::text[], $13::text[], "
        "$14::text[]) k(t, id, g, rec, int, ch, seq, kind, sev, inc, ai, about, state, reason) "
        "RETURNING tenant, id, incident_id, about, created_at) " SPEAKS_OF,
        p, NULL, e);
}

static int note_wakeups(struct flush *f, const struct notes *notes, const struct note_columns *c,
                        struct flushed *ret, struct err *e)
{
    ret->wakeups = arena_array(f->a, notes->n, struct wakeup);
    if (!ret->wakeups)
        return flush_too_large(e);
    for (size_t i = 0; i < notes->n; i++) {
        const struct target *t = &f->targets[notes->v[i].target];
        const struct receiver *r = t->receiver;
        unsigned char hash[SHA256_LEN];
        char text[512];

        if (target_mute(t) || notes->v[i].by)
            continue;
        struct wakeup *w = &ret->wakeups[ret->wakeup_n++];
        const int len = snprintf(text, sizeof(text), "%zu %s", notes->v[i].integration, r->name);
        *w = (struct wakeup){.tenant = c->tenant[i],
                             .id = c->id[i],
                             .channel = r->v[notes->v[i].integration].channel};
        sha256(text, len < (int)sizeof(text) ? (size_t)len : sizeof(text) - 1, hash);
        (void)hex_encode(hash, 8, w->key);
    }
    return 0;
}

/* ---- groups ---- */

static void free_text(void *p)
{
    free(p);
}

static int write_groups(struct flush *f, struct err *e)
{
    struct slice *tenant = arena_array(f->a, f->target_n, struct slice),
                 *told = arena_array(f->a, f->target_n, struct slice);
    struct uuid *id = arena_array(f->a, f->target_n, struct uuid);
    int64_t *seq = arena_array(f->a, f->target_n, int64_t);
    struct pg_args *p = pg_args(f->a);
    size_t n = 0;

    if (!tenant || !told || !id || !seq)
        return flush_too_large(e);
    for (size_t i = 0; i < f->target_n; i++) {
        const struct target *t = &f->targets[i];

        if (t->note_n == 0)
            continue;
        char *text = json_dumps(t->told_tree, JSON_COMPACT);
        if (!text || arena_defer(f->a, free_text, text) < 0)
            return flush_too_large(e);
        tenant[n] = t->tenant;
        id[n] = t->id;
        told[n] = slice_of(text);
        seq[n++] = t->seq;
    }
    pg_texts(p, tenant, n);
    pg_uuids(p, id, n);
    pg_texts(p, told, n);
    pg_ints(p, seq, n);
    pg_int(p, f->now_ms);
    return pg_query(f->pg,
                    "UPDATE groups g SET seq = k.seq, flushed_at = $5, told = k.told::jsonb FROM "
                    "unnest($1::text[], $2::uuid[], $3::text[], $4::int8[]) k(t, id, told, seq) "
                    "WHERE g.tenant = k.t AND g.id = k.id",
                    p, NULL, e);
}

static const json_t *last_alerts(const json_t *entry)
{
    return json_object_get(json_object_get(entry, "last"), "alerts");
}

/* Of which alerts does some integration still have to hear that they are over? Ascending. */
static bool owed(struct flush *f, const struct target *t, uint64_t **ret, size_t *ret_n)
{
    size_t most = 1, n = 0, i;
    const char *key;
    json_t *entry, *fp;

    json_object_foreach (t->told_tree, key, entry)
        most += json_array_size(last_alerts(entry));
    uint64_t *v = arena_array(f->a, most, uint64_t);
    if (!v)
        return false;
    json_object_foreach (t->told_tree, key, entry) {
        json_array_foreach (last_alerts(entry), i, fp) {
            const struct slice hex = {json_string_value(fp), json_string_length(fp)};
            n += fingerprint_parse(hex, &v[n]);
        }
    }
    qsort(v, n, sizeof(*v), by_number);
    *ret = v;
    *ret_n = n;
    return true;
}

static bool all_fire(const struct target *t)
{
    for (size_t i = 0; i < t->member_n; i++)
        if (!t->members[i].firing)
            return false;
    return true;
}

/*
 * Alerts that are over and owed to nobody leave their groups. A batch in flight may just be making
 * one fire again, without writing the member anew; it holds the alert's row, so such a row is
 * skipped, and any other is held until the end of this transaction.
 */
static int leave(struct flush *f, struct err *e)
{
    size_t most = 1, n = 0;

    for (size_t i = 0; i < f->target_n; i++)
        most += f->targets[i].member_n;
    struct slice *tenant = arena_array(f->a, most, struct slice);
    struct uuid *group = arena_array(f->a, most, struct uuid);
    int64_t *fp = arena_array(f->a, most, int64_t);
    struct pg_args *p = pg_args(f->a);
    if (!tenant || !group || !fp)
        return flush_too_large(e);
    for (size_t i = 0; i < f->target_n; i++) {
        const struct target *t = &f->targets[i];
        uint64_t *kept;
        size_t kept_n;

        if (t->missed_wait || all_fire(t))
            continue;
        if (!owed(f, t, &kept, &kept_n))
            return flush_too_large(e);
        for (size_t j = 0; j < t->member_n; j++) {
            if (t->members[j].firing || among(kept, kept_n, t->members[j].fingerprint))
                continue;
            tenant[n] = t->tenant;
            group[n] = t->id;
            fp[n++] = (int64_t)t->members[j].fingerprint;
        }
    }
    if (n == 0)
        return 0;
    pg_texts(p, tenant, n);
    pg_uuids(p, group, n);
    pg_ints(p, fp, n);
    return pg_query(
        f->pg,
        "WITH k AS (SELECT * FROM unnest($1::text[], $2::uuid[], $3::int8[]) k(t, g, "
        "f)), over AS (SELECT a.tenant, a.fingerprint FROM alerts a WHERE a.status <> 1 "
        "AND (a.tenant, a.fingerprint) IN (SELECT t, f FROM k) FOR SHARE SKIP LOCKED) "
        "DELETE FROM group_alerts m USING k, over o WHERE m.tenant = k.t AND m.group_id "
        "= k.g AND m.fingerprint = k.f AND o.tenant = k.t AND o.fingerprint = k.f",
        p, NULL, e);
}

static int arm(struct flush *f, struct err *e)
{
    struct slice *tenant = arena_array(f->a, f->target_n + 1, struct slice);
    struct uuid *id = arena_array(f->a, f->target_n + 1, struct uuid);
    int64_t *due = arena_array(f->a, f->target_n + 1, int64_t);
    struct pg_args *p = pg_args(f->a);
    size_t n = 0;

    if (!tenant || !id || !due)
        return flush_too_large(e);
    for (size_t i = 0; i < f->target_n; i++) {
        if (f->targets[i].look_again == 0)
            continue;
        tenant[n] = f->targets[i].tenant;
        id[n] = f->targets[i].id;
        due[n++] = f->targets[i].look_again;
    }
    if (n == 0)
        return 0;
    pg_texts(p, tenant, n);
    pg_uuids(p, id, n);
    pg_ints(p, due, n);
    return pg_query(f->pg,
                    "INSERT INTO timers (due_at, kind, tenant, subject) SELECT k.due, 1, k.t, "
                    "uuid_send(k.id) FROM unnest($1::text[], $2::uuid[], $3::int8[]) k(t, id, due) "
                    "WHERE NOT EXISTS (SELECT FROM timers o WHERE o.tenant = k.t AND o.subject = "
                    "uuid_send(k.id) AND o.kind = 1 AND o.due_at <= k.due)",
                    p, NULL, e);
}

int flush_write(struct flush *f, const struct notes *notes, struct flushed *ret, struct err *e)
{
    struct flushed done = {0};
    struct note_columns columns = {0};
    int rc;

    if (notes->n > 0 &&
        ((rc = write_notes(f, notes, &columns, e)) < 0 || (rc = write_groups(f, e)) < 0 ||
         (rc = note_wakeups(f, notes, &columns, &done, e)) < 0))
        return rc;
    if ((rc = flush_write_silenced(f, e)) < 0 || (rc = leave(f, e)) < 0 || (rc = arm(f, e)) < 0 ||
        (rc = flush_write_successors(f, e)) < 0)
        return rc;
    for (size_t i = 0; i < notes->n; i++)
        done.created[notes->v[i].due.kind]++;
    *ret = done;
    return 0;
}
