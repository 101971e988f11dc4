/* The new rows of a unit of work, by arrays: one statement a table. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "processor/work.h"

/* ---- anomalies ---- */

static int store_anomalies(struct work *w, struct pg *pg, struct err *e)
{
    const size_t cap = w->anomaly_n + 1;
    struct slice *text = arena_array(w->a, 3 * cap, struct slice);
    int64_t *num = arena_array(w->a, 3 * cap, int64_t);
    struct uuid *incident = arena_array(w->a, cap, struct uuid);
    bool *has_incident = arena_array(w->a, cap, bool);
    struct pg_args *p = pg_args(w->a);
    size_t n = 0;

    if (!text || !num || !incident || !has_incident)
        return batch_too_large(e);
    for (size_t i = 0; i < w->anomaly_n; i++) {
        const struct anomaly_state *an = &w->anomalies[i];
        if (!an->dirty)
            continue;
        text[n] = an->tenant;
        text[cap + n] = (struct slice){(const char *)an->id.key, ANOMALY_KEY_LEN};
        text[2 * cap + n] = frequency_pack(&an->frequency, w->a);
        if (!text[2 * cap + n].p)
            return batch_too_large(e);
        num[n] = an->first_seen;
        num[cap + n] = an->last_seen;
        num[2 * cap + n] = an->occurrences;
        has_incident[n] = an->incident != NULL; /* none: its alerts are in the overflow's */
        if (an->incident)
            incident[n] = an->incident->id;
        n++;
    }
    if (n == 0)
        return 0;
    pg_texts(p, text, n);
    pg_byteas(p, text + cap, n);
    pg_byteas(p, text + 2 * cap, n);
    pg_ints(p, num, n);
    pg_ints(p, num + cap, n);
    pg_ints(p, num + 2 * cap, n);
    pg_uuids(p, incident, n);
    pg_bools(p, has_incident, n);
    return pg_send(
        pg,
        "UPDATE anomalies a SET frequency = k.fr, first_seen = k.fs, last_seen = k.ls, "
        "occurrences = k.oc, "
        "incident_id = CASE WHEN k.hi THEN k.inc ELSE a.incident_id END, version = a.version + 1 "
        "FROM unnest($1::text[], $2::bytea[], $3::bytea[], $4::int8[], $5::int8[], "
        "$6::int8[], $7::uuid[], $8::bool[]) "
        "k(t, key, fr, fs, ls, oc, inc, hi) WHERE a.tenant = k.t AND a.key = k.key",
        p, NULL, e);
}

/* ---- incidents ---- */

/* Every column by its own array, filled row by row. */
struct columns {
    struct slice *tenant, *anomaly, *title, *description, *source, *alert_name, *service,
        *namespace, *environment, *error_type, *link, *owner, *words, *rules;
    struct uuid *id;
    int32_t *status, *resolved_by, *severity, *level, *opened_level, *episode, *firing, *total;
    int64_t *opened, *updated, *resolved, *window, *seen, *occurrences, *users, *events, *began;
    size_t n;
};

static bool columns_make(struct columns *c, size_t cap, struct arena *a)
{
    struct slice **const texts[] = {&c->tenant,      &c->anomaly,    &c->title,   &c->description,
                                    &c->source,      &c->alert_name, &c->service, &c->namespace,
                                    &c->environment, &c->error_type, &c->link,    &c->owner,
                                    &c->words,       &c->rules};
    int32_t **const smalls[] = {&c->status,       &c->resolved_by, &c->severity, &c->level,
                                &c->opened_level, &c->episode,     &c->firing,   &c->total};
    int64_t **const bigs[] = {&c->opened,      &c->updated, &c->resolved, &c->window, &c->seen,
                              &c->occurrences, &c->users,   &c->events,   &c->began};
    struct slice *t = arena_array(a, 14 * cap, struct slice);
    int32_t *s = arena_array(a, 8 * cap, int32_t);
    int64_t *b = arena_array(a, 9 * cap, int64_t);

    *c = (struct columns){.id = arena_array(a, cap, struct uuid)};
    if (!t || !s || !b || !c->id)
        return false;
    for (size_t i = 0; i < 14; i++)
        *texts[i] = t + i * cap;
    for (size_t i = 0; i < 8; i++)
        *smalls[i] = s + i * cap;
    for (size_t i = 0; i < 9; i++)
        *bigs[i] = b + i * cap;
    return true;
}

static bool columns_add(struct columns *c, const struct work *w, struct slice tenant,
                        const struct incident *in)
{
    const size_t i = c->n++;

    c->tenant[i] = tenant;
    c->id[i] = in->id;
    c->status[i] = (int32_t)in->status;
    c->resolved_by[i] = (int32_t)in->resolved_by;
    c->severity[i] = (int32_t)in->severity;
    c->level[i] = (int32_t)in->level;
    c->opened_level[i] = (int32_t)in->opened_level;
    c->episode[i] = in->episode;
    c->firing[i] = in->alerts_firing;
    c->total[i] = in->alerts_total;
    c->opened[i] = in->opened_at;
    c->began[i] = in->episode_at;
    c->updated[i] = in->updated_at;
    c->resolved[i] = in->resolved_at;
    c->window[i] = in->window_start;
    c->seen[i] = in->last_seen;
    c->occurrences[i] = in->occurrences;
    c->users[i] = in->impact_users;
    c->events[i] = in->impact_events;
    c->owner[i] = in->owner.p ? in->owner : SLICE_LIT("");
    c->title[i] = in->title;
    c->description[i] = in->description;
    c->source[i] = in->source;
    c->environment[i] = in->environment;
    c->link[i] = in->link;
    c->words[i] = in->words.p ? in->words : SLICE_LIT("");
    c->rules[i] = rules_crossed_text(w->rules, in->crossed, w->a);
    if (!in->anomaly)
        return c->rules[i].p;
    c->anomaly[i] = (struct slice){(const char *)in->anomaly->id.key, ANOMALY_KEY_LEN};
    c->alert_name[i] = in->alert_name.p ? in->alert_name : SLICE_LIT("");
    c->service[i] = in->service.p ? in->service : SLICE_LIT("");
    c->namespace[i] = in->namespace.p ? in->namespace : SLICE_LIT("");
    c->error_type[i] = in->error_type.p ? in->error_type : SLICE_LIT("");
    return c->rules[i].p;
}

/* The columns that both statements share, in one order: $1 .. $23. */
static void columns_args(const struct columns *c, struct pg_args *p)
{
    const int32_t *const smalls[] = {c->status,       c->resolved_by, c->severity, c->level,
                                     c->opened_level, c->episode,     c->firing,   c->total};
    const int64_t *const bigs[] = {c->opened,      c->updated, c->resolved, c->window, c->seen,
                                   c->occurrences, c->users,   c->events,   c->began};

    pg_texts(p, c->tenant, c->n);
    pg_uuids(p, c->id, c->n);
    for (size_t i = 0; i < 8; i++)
        pg_int4s(p, smalls[i], c->n);
    for (size_t i = 0; i < 9; i++)
        pg_ints(p, bigs[i], c->n);
    pg_texts(p, c->owner, c->n);
    pg_texts(p, c->title, c->n);
    pg_texts(p, c->words, c->n);
    pg_texts(p, c->rules, c->n);
}

#define SHARED_TYPES                                                                               \
    "$1::text[], $2::uuid[], $3::int4[], $4::int4[], $5::int4[], $6::int4[], $7::int4[], "         \
    "$8::int4[], $9::int4[], $10::int4[], "                                                        \
    "$11::int8[], $12::int8[], $13::int8[], $14::int8[], $15::int8[], $16::int8[], $17::int8[], "  \
    "$18::int8[], $19::int8[], $20::text[], $21::text[], $22::text[], $23::text[]"
#define SHARED_NAMES                                                                               \
    "t, id, st, rb, sev, lv, ol, ep, fi, tot, op, up, re, wi, se, oc, us, ev, be, ow, ti, wo, ru"

static int insert_incidents(struct work *w, struct pg *pg, const struct columns *c, struct err *e)
{
    struct slice *const texts[] = {c->anomaly,     c->description, c->source,
                                   c->alert_name,  c->service,     c->namespace,
                                   c->environment, c->error_type,  c->link};
    struct pg_args *p = pg_args(w->a);

    columns_args(c, p);
    pg_byteas(p, texts[0], c->n);
    for (size_t i = 1; i < sizeof(texts) / sizeof(texts[0]); i++)
        pg_texts(p, texts[i], c->n);
    return pg_send(pg,
                   "INSERT INTO incidents (tenant, id, status, resolved_by, severity, level, "
                   "opened_level, episode, alerts_firing, "
                   "alerts_total, opened_at, updated_at, resolved_at, window_start, last_seen, "
                   "occurrences, impact_users, impact_events, episode_at, "
                   "owner, title, fingerprint_words, crossed_rules, anomaly_key, description, "
                   "source, alert_name, service, "
                   "namespace, environment, error_type, link) "
                   "SELECT t, id, st, nullif(rb, 0), sev, lv, ol, ep, fi, tot, op, up, nullif(re, "
                   "0), wi, se, oc, us, ev, be, ow, "
                   "ti, wo, ru, an, de, so, na, sv, ns, en, er, li FROM unnest(" SHARED_TYPES
                   ", $24::bytea[], $25::text[], $26::text[], $27::text[], "
                   "$28::text[], $29::text[], $30::text[], $31::text[], $32::text[]) "
                   "k(" SHARED_NAMES ", an, de, so, na, sv, ns, en, er, li)",
                   p, NULL, e);
}

static int update_incidents(struct work *w, struct pg *pg, const struct columns *c, struct err *e)
{
    struct pg_args *p = pg_args(w->a);

    columns_args(c, p);
    return pg_send(pg,
                   "UPDATE incidents i SET status = k.st, resolved_by = nullif(k.rb, 0), severity "
                   "= k.sev, level = k.lv, "
                   "opened_level = k.ol, episode = k.ep, alerts_firing = k.fi, alerts_total = "
                   "k.tot, updated_at = k.up, "
                   "resolved_at = nullif(k.re, 0), window_start = k.wi, last_seen = k.se, "
                   "occurrences = k.oc, impact_users = k.us, "
                   "impact_events = k.ev, episode_at = k.be, owner = k.ow, title = k.ti, "
                   "fingerprint_words = k.wo, crossed_rules = k.ru FROM "
                   "unnest(" SHARED_TYPES ") k(" SHARED_NAMES ") "
                   "WHERE i.tenant = k.t AND i.id = k.id",
                   p, NULL, e);
}

/* The overflow's incident says how many it holds. */
static bool name_overflow(const struct work *w, struct incident *in)
{
    if (!slice_is(in->alert_name, OVERFLOW_ALERT))
        return true;
    in->title = slice_of(arena_printf(w->a, "%" PRId32 " alerts beyond %" PRIu32 " open incidents",
                                      in->alerts_total, w->settings->limits.open_incidents));
    return in->title.p != NULL;
}

static int store_incidents(struct work *w, struct pg *pg, struct err *e)
{
    struct columns fresh, old;
    int rc = 0;

    /* New ones: an anomaly may open more than one in a batch, so they are found by the news. */
    size_t opened = 0;
    for (size_t i = 0; i < w->news.n; i++)
        opened += w->news.v[i].kind == NEWS_OPENED;
    if (!columns_make(&fresh, opened + 1, w->a) || !columns_make(&old, w->incident_n + 1, w->a))
        return batch_too_large(e);
    for (size_t i = 0; i < w->news.n; i++) {
        if (w->news.v[i].kind != NEWS_OPENED)
            continue;
        if (!name_overflow(w, w->news.v[i].incident))
            return batch_too_large(e);
        if (!columns_add(&fresh, w, w->news.v[i].alert->tenant, w->news.v[i].incident))
            return batch_too_large(e);
    }
    for (size_t i = 0; i < w->incident_n; i++)
        if (w->incidents[i].dirty && !name_overflow(w, &w->incidents[i]))
            return batch_too_large(e);
    for (size_t i = 0; i < w->incident_n; i++)
        if (w->incidents[i].dirty &&
            !columns_add(&old, w, w->incidents[i].tenant, &w->incidents[i]))
            return batch_too_large(e);
    if (old.n > 0)
        rc = update_incidents(w, pg, &old, e);
    if (rc == 0 && fresh.n > 0)
        rc = insert_incidents(w, pg, &fresh, e);
    return rc;
}

static bool is_whole(const struct written *v)
{
    return !v->r || pg_affected(v->r) == (int64_t)v->n;
}

int work_store(struct work *w, struct pg *pg, struct err *e)
{
    struct alerts_written alerts = {0};
    int rc = pg_pipeline_begin(pg, e);

    if (rc < 0)
        return rc;
    if ((rc = store_anomalies(w, pg, e)) == 0 && (rc = store_incidents(w, pg, e)) == 0 &&
        (rc = alerts_store(w, pg, &alerts, e)) == 0 && (rc = timeline_store(w, pg, e)) == 0)
        rc = reach_store(w, pg, e);
    const int end = pg_pipeline_end(pg, rc == 0 ? e : NULL);
    if (rc == 0 && end == 0 && (!is_whole(&alerts.known) || !is_whole(&alerts.fresh)))
        rc = err_set(e, -EAGAIN, "batch: somebody else wrote an alert since the guess");
    PQclear(alerts.known.r);
    PQclear(alerts.fresh.r);
    return rc < 0 ? rc : end;
}
