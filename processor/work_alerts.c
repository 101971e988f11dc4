/* The alerts of a unit of work: known rows change, new ones come, by one statement each; and timers
 * at the moments when silence would end them. */
#include <errno.h>

#include "processor/work.h"

struct columns {
    struct slice *tenant, *facts, *annotations, *title, *description, *link, *source, *feed;
    struct slice *read; /* of known ones only: facts that must still be there; NULL: locked */
    struct slice *anomaly, *labels; /* of new ones only */
    struct uuid *incident;
    bool *has_incident;
    int64_t *fingerprint, *starts, *ended, *quiet, *seen, *added;
    int64_t *first_seen; /* of new ones only */
    int32_t *status, *severity;
    size_t n;
};

static bool columns_make(struct columns *c, size_t cap, struct arena *a)
{
    struct slice **const texts[] = {&c->tenant,      &c->facts,  &c->annotations, &c->title,
                                    &c->description, &c->link,   &c->source,      &c->feed,
                                    &c->anomaly,     &c->labels, &c->read};
    int64_t **const bigs[] = {&c->fingerprint, &c->starts, &c->ended,     &c->quiet,
                              &c->seen,        &c->added,  &c->first_seen};
    const size_t text_n = sizeof(texts) / sizeof(*texts), big_n = sizeof(bigs) / sizeof(*bigs);
    struct slice *t = arena_array(a, text_n * cap, struct slice);
    int64_t *b = arena_array(a, big_n * cap, int64_t);

    *c = (struct columns){.incident = arena_array(a, cap, struct uuid),
                          .has_incident = arena_array(a, cap, bool),
                          .status = arena_array(a, cap, int32_t),
                          .severity = arena_array(a, cap, int32_t)};
    if (!t || !b || !c->incident || !c->has_incident || !c->status || !c->severity)
        return false;
    for (size_t i = 0; i < text_n; i++)
        *texts[i] = t + i * cap;
    for (size_t i = 0; i < big_n; i++)
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

static struct slice labels_text(struct arena *a, struct labels l)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT((size_t)16 << 20);

    labels_to_json(&b, l);
    return b.failed ? (struct slice){NULL, 0} : arena_slice(a, (struct slice){b.p, b.len});
}

static struct slice or_empty(struct slice s)
{
    return s.p ? s : SLICE_LIT("");
}

/* What is written for people: of the newest report that fires. NULL: the row's own stays. */
static bool add_words(struct columns *c, size_t i, const struct alert_work *al, struct arena *a)
{
    const struct alert_event *ev = al->newest ? al->newest->event : NULL;

    c->title[i] = c->description[i] = c->link[i] = c->annotations[i] = (struct slice){NULL, 0};
    if (!ev)
        return true;
    c->annotations[i] = labels_text(a, ev->annotations);
    c->title[i] = or_empty(ev->title);
    c->description[i] = or_empty(ev->description);
    c->link[i] = or_empty(ev->link);
    return c->annotations[i].p != NULL;
}

static bool add(struct columns *c, const struct alert_work *al, struct arena *a)
{
    static const struct slice keep = {NULL, 0};
    const struct input *last = al->said_n ? al->said[al->said_n - 1] : NULL;
    const struct alert_state *st = &al->changes.state;
    const size_t i = c->n++;

    c->tenant[i] = al->row.tenant;
    c->fingerprint[i] = (int64_t)al->row.fingerprint;
    c->facts[i] = al->packed;
    c->read[i] = al->locked ? keep : al->facts.p ? al->facts : SLICE_LIT("");
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
    c->source[i] = last ? slice_of(last->source->name) : keep;
    c->feed[i] = last ? slice_of(last->source->type->name) : keep;
    return add_words(c, i, al, a);
}

/* An alert that begins with its end is called as that calls it. */
static bool add_new(struct columns *c, const struct alert_work *al, struct arena *a)
{
    const size_t i = c->n;
    const struct input *first = al->said[0];

    if (!add(c, al, a))
        return false;
    if (!al->newest) {
        c->title[i] = or_empty(first->event->title);
        c->description[i] = c->link[i] = SLICE_LIT("");
        c->annotations[i] = SLICE_LIT("{}");
    }
    c->anomaly[i] = (struct slice){(const char *)al->signature.key, ANOMALY_KEY_LEN};
    c->labels[i] = labels_text(a, first->event->labels);
    c->first_seen[i] = first->report.order.at;
    return c->labels[i].p != NULL;
}

/* The columns that both statements share, in one order: $1 .. $18. */
static void shared_args(const struct columns *c, struct pg_args *p)
{
    pg_texts(p, c->tenant, c->n);
    pg_ints(p, c->fingerprint, c->n);
    pg_byteas(p, c->facts, c->n);
    pg_uuids(p, c->incident, c->n);
    pg_bools(p, c->has_incident, c->n);
    pg_int4s(p, c->status, c->n);
    pg_int4s(p, c->severity, c->n);
    pg_ints(p, c->starts, c->n);
    pg_ints(p, c->ended, c->n);
    pg_ints(p, c->quiet, c->n);
    pg_ints(p, c->seen, c->n);
    pg_ints(p, c->added, c->n);
    pg_texts(p, c->annotations, c->n);
    pg_texts(p, c->title, c->n);
    pg_texts(p, c->description, c->n);
    pg_texts(p, c->link, c->n);
    pg_texts(p, c->source, c->n);
    pg_texts(p, c->feed, c->n);
}

#define SHARED_TYPES                                                                               \
    "$1::text[], $2::int8[], $3::bytea[], $4::uuid[], $5::bool[], $6::int4[], $7::int4[], "        \
    "$8::int8[], $9::int8[], $10::int8[], $11::int8[], $12::int8[], $13::text[], $14::text[], "    \
    "$15::text[], $16::text[], $17::text[], $18::text[]"
#define SHARED_NAMES "t, f, fa, inc, hi, st, sev, sa, en, qu, se, ad, an, ti, de, li, so, fe"

static int update(struct work *w, struct pg *pg, const struct columns *c, struct written *ret,
                  struct err *e)
{
    struct pg_args *p = pg_args(w->a);

    shared_args(c, p);
    pg_byteas(p, c->read, c->n);
    ret->n = c->n;
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
        "FROM unnest(" SHARED_TYPES ", $19::bytea[]) k(" SHARED_NAMES ", rd) "
        "WHERE a.tenant = k.t AND a.fingerprint = k.f AND (k.rd IS NULL OR a.facts = k.rd)",
        p, &ret->r, e);
}

static int insert(struct work *w, struct pg *pg, const struct columns *c, struct written *ret,
                  struct err *e)
{
    struct pg_args *p = pg_args(w->a);

    shared_args(c, p);
    pg_byteas(p, c->anomaly, c->n);
    pg_texts(p, c->labels, c->n);
    pg_ints(p, c->first_seen, c->n);
    ret->n = c->n;
    return pg_send(
        pg,
        "INSERT INTO alerts (tenant, fingerprint, facts, incident_id, status, severity, "
        "starts_at, ended_at, quiet_at, last_seen, occurrences, annotations, title, description, "
        "link, source, fed_by, anomaly_key, labels, first_seen) "
        "SELECT t, f, fa, CASE WHEN hi THEN inc END, st, sev, nullif(sa, 0), nullif(en, 0), "
        "nullif(qu, 0), se, ad, an::jsonb, ti, de, li, so, ARRAY[fe], key, la::jsonb, fs "
        "FROM unnest(" SHARED_TYPES ", $19::bytea[], $20::text[], $21::int8[]) "
        "k(" SHARED_NAMES ", key, la, fs) ORDER BY t, f ON CONFLICT DO NOTHING",
        p, &ret->r, e);
}

/* A report moved it after this silence was judged, and the timer that brought us here is gone. */
static int64_t still_quiet_at(const struct alert_work *al)
{
    return al->row.firing && al->changes.n == 0 ? al->quiet_at : 0;
}

/* A timer at the moment that silence would end it, once: a longer promise moves no timer, the
 * runner looks again. */
static int store_timers(struct work *w, struct pg *pg, struct err *e)
{
    struct slice *text = arena_array(w->a, 2 * (w->alert_n + 1), struct slice);
    unsigned char *key = arena_alloc(w->a, w->alert_n + 1, 8);
    int64_t *due = arena_array(w->a, w->alert_n + 1, int64_t);
    struct pg_args *p = pg_args(w->a);
    size_t n = 0;

    if (!text || !key || !due)
        return batch_too_large(e);
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

int alerts_store(struct work *w, struct pg *pg, struct alerts_written *ret, struct err *e)
{
    struct columns known, fresh;
    int rc = 0;

    if (!columns_make(&known, w->alert_n + 1, w->a) || !columns_make(&fresh, w->alert_n + 1, w->a))
        return batch_too_large(e);
    for (size_t i = 0; i < w->alert_n; i++) {
        const struct alert_work *al = &w->alerts[i];
        bool ok = true;
        if (!al->known && al->said_n > 0)
            ok = add_new(&fresh, al, w->a);
        else if (al->said_n > 0 || (al->silent && al->changes.n > 0))
            ok = add(&known, al, w->a);
        if (!ok)
            return batch_too_large(e);
    }
    if (known.n > 0)
        rc = update(w, pg, &known, &ret->known, e);
    if (rc == 0 && fresh.n > 0)
        rc = insert(w, pg, &fresh, &ret->fresh, e);
    return rc < 0 ? rc : store_timers(w, pg, e);
}
