/* The new rows of a unit of work, by arrays: one statement a table. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "processor/work.h"

static int no_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "batch: too large for its memory");
}

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
        return no_memory(e);
    for (size_t i = 0; i < w->anomaly_n; i++) {
        const struct anomaly_state *an = &w->anomalies[i];
        if (!an->dirty)
            continue;
        text[n] = an->tenant;
        text[cap + n] = (struct slice){(const char *)an->id.key, ANOMALY_KEY_LEN};
        text[2 * cap + n] = frequency_pack(&an->frequency, w->a);
        if (!text[2 * cap + n].p)
            return no_memory(e);
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
        *namespace, *environment, *error_type, *link, *owner;
    struct uuid *id;
    int32_t *status, *resolved_by, *severity, *level, *opened_level, *episode, *firing, *total;
    int64_t *opened, *updated, *resolved, *window, *seen, *occurrences, *users, *events, *began;
    size_t n;
};

static bool columns_make(struct columns *c, size_t cap, struct arena *a)
{
    struct slice **const texts[] = {&c->tenant,      &c->anomaly,    &c->title,   &c->description,
                                    &c->source,      &c->alert_name, &c->service, &c->namespace,
                                    &c->environment, &c->error_type, &c->link,    &c->owner};
    int32_t **const smalls[] = {&c->status,       &c->resolved_by, &c->severity, &c->level,
                                &c->opened_level, &c->episode,     &c->firing,   &c->total};
    int64_t **const bigs[] = {&c->opened,      &c->updated, &c->resolved, &c->window, &c->seen,
                              &c->occurrences, &c->users,   &c->events,   &c->began};
    struct slice *t = arena_array(a, 12 * cap, struct slice);
    int32_t *s = arena_array(a, 8 * cap, int32_t);
    int64_t *b = arena_array(a, 9 * cap, int64_t);

    *c = (struct columns){.id = arena_array(a, cap, struct uuid)};
    if (!t || !s || !b || !c->id)
        return false;
    for (size_t i = 0; i < 12; i++)
        *texts[i] = t + i * cap;
    for (size_t i = 0; i < 8; i++)
        *smalls[i] = s + i * cap;
    for (size_t i = 0; i < 9; i++)
        *bigs[i] = b + i * cap;
    return true;
}

static void columns_add(struct columns *c, struct slice tenant, const struct incident *in)
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
    if (!in->anomaly)
        return;
    c->anomaly[i] = (struct slice){(const char *)in->anomaly->id.key, ANOMALY_KEY_LEN};
    c->alert_name[i] = in->alert_name.p ? in->alert_name : SLICE_LIT("");
    c->service[i] = in->service.p ? in->service : SLICE_LIT("");
    c->namespace[i] = in->namespace.p ? in->namespace : SLICE_LIT("");
    c->error_type[i] = in->error_type.p ? in->error_type : SLICE_LIT("");
}

/* The columns that both statements share, in one order: $1 .. $21. */
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
}

#define SHARED_TYPES                                                                               \
    "$1::text[], $2::uuid[], $3::int4[], $4::int4[], $5::int4[], $6::int4[], $7::int4[], "         \
    "$8::int4[], $9::int4[], $10::int4[], "                                                        \
    "$11::int8[], $12::int8[], $13::int8[], $14::int8[], $15::int8[], $16::int8[], $17::int8[], "  \
    "$18::int8[], $19::int8[], $20::text[], $21::text[]"
#define SHARED_NAMES                                                                               \
    "t, id, st, rb, sev, lv, ol, ep, fi, tot, op, up, re, wi, se, oc, us, ev, be, ow, ti"

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
                   "owner, title, anomaly_key, description, source, alert_name, service, "
                   "namespace, environment, error_type, link) "
                   "SELECT t, id, st, nullif(rb, 0), sev, lv, ol, ep, fi, tot, op, up, nullif(re, "
                   "0), wi, se, oc, us, ev, be, ow, "
                   "ti, an, de, so, na, sv, ns, en, er, li FROM unnest(" SHARED_TYPES
                   ", $22::bytea[], $23::text[], $24::text[], $25::text[], "
                   "$26::text[], $27::text[], $28::text[], $29::text[], $30::text[]) "
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
                   "impact_events = k.ev, episode_at = k.be, owner = k.ow, title = k.ti FROM "
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
        return no_memory(e);
    for (size_t i = 0; i < w->news.n; i++) {
        if (w->news.v[i].kind != NEWS_OPENED)
            continue;
        if (!name_overflow(w, w->news.v[i].incident))
            return no_memory(e);
        columns_add(&fresh, w->news.v[i].alert->tenant, w->news.v[i].incident);
    }
    for (size_t i = 0; i < w->incident_n; i++)
        if (w->incidents[i].dirty && !name_overflow(w, &w->incidents[i]))
            return no_memory(e);
    for (size_t i = 0; i < w->incident_n; i++)
        if (w->incidents[i].dirty)
            columns_add(&old, w->incidents[i].tenant, &w->incidents[i]);
    if (old.n > 0)
        rc = update_incidents(w, pg, &old, e);
    if (rc == 0 && fresh.n > 0)
        rc = insert_incidents(w, pg, &fresh, e);
    return rc;
}

/* ---- alerts ---- */

struct alert_columns {
    struct slice *tenant, *facts, *annotations, *title, *description, *link, *source, *feed;
    struct uuid *incident;
    bool *has_incident, *fed;
    int64_t *fingerprint, *starts, *ended, *quiet, *seen, *added;
    int32_t *status, *severity;
    size_t n;
};

static bool alert_columns_make(struct alert_columns *c, size_t cap, struct arena *a)
{
    struct slice **const texts[] = {&c->tenant,      &c->facts, &c->annotations, &c->title,
                                    &c->description, &c->link,  &c->source,      &c->feed};
    int64_t **const bigs[] = {&c->fingerprint, &c->starts, &c->ended,
                              &c->quiet,       &c->seen,   &c->added};
    struct slice *t = arena_array(a, 8 * cap, struct slice);
    int64_t *b = arena_array(a, 6 * cap, int64_t);

    *c = (struct alert_columns){.incident = arena_array(a, cap, struct uuid),
                                .has_incident = arena_array(a, cap, bool),
                                .status = arena_array(a, cap, int32_t),
                                .severity = arena_array(a, cap, int32_t)};
    if (!t || !b || !c->incident || !c->has_incident || !c->status || !c->severity)
        return false;
    for (size_t i = 0; i < 8; i++)
        *texts[i] = t + i * cap;
    for (size_t i = 0; i < 6; i++)
        *bigs[i] = b + i * cap;
    return true;
}

/* When silence would end it: its promise, or so long after its last report where the source never
 * says. 0: never. */
static int64_t quiet_at(const struct alert_work *al)
{
    if (!al->changes.state.firing)
        return 0;
    if (al->changes.state.promise > 0)
        return al->changes.state.promise;
    if (al->silent || !al->newest)
        return al->quiet_at;
    const struct source_common *cfg = al->newest->source->cfg;
    if (al->newest->event->ends_announced || cfg->resolve_after <= 0)
        return 0;
    return al->newest->report.order.at + cfg->resolve_after;
}

static int alert_columns_add(struct work *w, struct alert_columns *c, const struct alert_work *al,
                             struct err *e)
{
    static const struct slice keep = {NULL, 0}; /* NULL: the row's own stays */
    const struct alert_event *ev = al->newest ? al->newest->event : NULL;
    const struct alert_state *st = &al->changes.state;
    const size_t i = c->n++;

    c->tenant[i] = al->row.tenant;
    c->fingerprint[i] = (int64_t)al->row.fingerprint;
    c->facts[i] = al->packed;
    c->has_incident[i] = al->row.incident != NULL;
    if (al->row.incident)
        c->incident[i] = al->row.incident->id;
    c->status[i] = st->firing ? ALERT_FIRING : st->starts_at ? ALERT_RESOLVED : ALERT_NEVER;
    c->severity[i] = (int32_t)al->severity;
    c->starts[i] = st->starts_at;
    c->ended[i] = st->firing ? 0 : st->ended_at;
    c->quiet[i] = quiet_at(al);
    c->seen[i] = al->last_seen;
    c->added[i] = al->occurrences_added;
    c->source[i] = al->said_n ? slice_of(al->said[al->said_n - 1]->source->name) : keep;
    c->feed[i] = al->said_n ? slice_of(al->said[al->said_n - 1]->source->type->name) : keep;
    c->title[i] = c->description[i] = c->link[i] = c->annotations[i] = keep;
    if (!ev)
        return 0;
    CLEANUP(buf_release) struct buf b = BUF_INIT((size_t)16 << 20);
    labels_to_json(&b, ev->annotations);
    c->annotations[i] = arena_slice(w->a, (struct slice){b.p, b.len});
    c->title[i] = ev->title.p ? ev->title : SLICE_LIT("");
    c->description[i] = ev->description.p ? ev->description : SLICE_LIT("");
    c->link[i] = ev->link.p ? ev->link : SLICE_LIT("");
    return b.failed || !c->annotations[i].p ? no_memory(e) : 0;
}

static int store_alerts(struct work *w, struct pg *pg, struct err *e)
{
    struct pg_args *p = pg_args(w->a);
    struct alert_columns c;
    int rc;

    if (!alert_columns_make(&c, w->alert_n + 1, w->a))
        return no_memory(e);
    for (size_t i = 0; i < w->alert_n; i++) {
        const struct alert_work *al = &w->alerts[i];
        if ((al->said_n > 0 || (al->silent && al->changes.n > 0)) &&
            (rc = alert_columns_add(w, &c, al, e)) < 0)
            return rc;
    }
    if (c.n == 0)
        return 0;
    pg_texts(p, c.tenant, c.n);
    pg_ints(p, c.fingerprint, c.n);
    pg_byteas(p, c.facts, c.n);
    pg_uuids(p, c.incident, c.n);
    pg_bools(p, c.has_incident, c.n);
    pg_int4s(p, c.status, c.n);
    pg_int4s(p, c.severity, c.n);
    pg_ints(p, c.starts, c.n);
    pg_ints(p, c.ended, c.n);
    pg_ints(p, c.quiet, c.n);
    pg_ints(p, c.seen, c.n);
    pg_ints(p, c.added, c.n);
    pg_texts(p, c.annotations, c.n);
    pg_texts(p, c.title, c.n);
    pg_texts(p, c.description, c.n);
    pg_texts(p, c.link, c.n);
    pg_texts(p, c.source, c.n);
    pg_texts(p, c.feed, c.n);
    return pg_send(
        pg,
        "UPDATE alerts a SET facts = k.fa, incident_id = CASE WHEN k.hi THEN k.inc ELSE "
        "a.incident_id END, status = k.st, "
        "severity = k.sev, starts_at = nullif(k.sa, 0), ended_at = nullif(k.en, 0), quiet_at = "
        "nullif(k.qu, 0), "
        "last_seen = greatest(a.last_seen, k.se), occurrences = a.occurrences + k.ad, "
        "annotations = coalesce(k.an::jsonb, a.annotations), title = coalesce(k.ti, a.title), "
        "description = coalesce(k.de, a.description), link = coalesce(k.li, a.link), source = "
        "coalesce(k.so, a.source), "
        "fed_by = CASE WHEN k.fe IS NULL OR a.fed_by @> ARRAY[k.fe] THEN a.fed_by ELSE a.fed_by || "
        "k.fe END "
        "FROM unnest($1::text[], $2::int8[], $3::bytea[], $4::uuid[], $5::bool[], $6::int4[], "
        "$7::int4[], $8::int8[], $9::int8[], "
        "$10::int8[], $11::int8[], $12::int8[], $13::text[], $14::text[], $15::text[], "
        "$16::text[], $17::text[], $18::text[]) "
        "k(t, f, fa, inc, hi, st, sev, sa, en, qu, se, ad, an, ti, de, li, so, fe) "
        "WHERE a.tenant = k.t AND a.fingerprint = k.f",
        p, NULL, e);
}

/* A report moved it after this silence was judged, and the timer that brought us here is gone. */
static int64_t still_quiet_at(const struct alert_work *al)
{
    return al->row.firing && al->changes.n == 0 ? al->quiet_at : 0;
}

/* A timer at the moment that silence would end it, once: a longer promise moves no timer, the
 * runner looks again. */
static int store_silence_timers(struct work *w, struct pg *pg, struct err *e)
{
    struct slice *text = arena_array(w->a, 2 * (w->alert_n + 1), struct slice);
    unsigned char *key = arena_alloc(w->a, w->alert_n + 1, 8);
    int64_t *due = arena_array(w->a, w->alert_n + 1, int64_t);
    struct pg_args *p = pg_args(w->a);
    size_t n = 0;

    if (!text || !key || !due)
        return no_memory(e);
    for (size_t i = 0; i < w->alert_n; i++) {
        const struct alert_work *al = &w->alerts[i];
        const int64_t at = al->silent ? still_quiet_at(al) : quiet_at(al);
        if (at == 0 || (!al->silent && al->quiet_at != 0))
            continue;
        for (unsigned b = 0; b < 8; b++)
            key[8 * n + b] = (unsigned char)(al->row.fingerprint >> (56 - 8 * b));
        text[n] = al->row.tenant;
        text[w->alert_n + 1 + n] = (struct slice){(const char *)&key[8 * n], 8};
        due[n++] = at;
    }
    if (n == 0)
        return 0;
    pg_texts(p, text, n);
    pg_byteas(p, text + w->alert_n + 1, n);
    pg_ints(p, due, n);
    return pg_send(
        pg,
        "INSERT INTO timers (due_at, kind, tenant, subject) "
        "SELECT k.d, 2, k.t, k.s FROM unnest($1::text[], $2::bytea[], $3::int8[]) k(t, s, d)",
        p, NULL, e);
}

int work_store(struct work *w, struct pg *pg, struct err *e)
{
    int rc = pg_pipeline_begin(pg, e);

    if (rc < 0)
        return rc;
    if ((rc = store_anomalies(w, pg, e)) == 0 && (rc = store_incidents(w, pg, e)) == 0 &&
        (rc = store_alerts(w, pg, e)) == 0 && (rc = store_silence_timers(w, pg, e)) == 0 &&
        (rc = timeline_store(w, pg, e)) == 0)
        rc = reach_store(w, pg, e);
    const int end = pg_pipeline_end(pg, rc == 0 ? e : NULL);
    return rc < 0 ? rc : end;
}
