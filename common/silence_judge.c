/*
 * Which silences keep what silent. What is asked for may have any number of alerts, and any number
 * may ask for the same: each subject is judged once, its alerts are read in pages and judged in
 * portions, and the memory of a portion is given back before the next.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/silence.h"

#define COMMENT_SHOWN 200

#define OWN_MEMORY ((size_t)256 << 20)    /* some 80 bytes a look */
#define PORTION_MEMORY ((size_t)64 << 20) /* what is asked and judged at once */
#define PORTION_LABELS ((size_t)4 << 20)  /* of it, before the next portion begins */
#define PORTION_ALERTS ((size_t)10000)
#define SILENCE_MEMORY ((size_t)4 << 20) /* the matchers of one */

/* Most incidents are small: many share one query, and only of the large ones more is read. */
#define ALERTS_AT_ONCE 1000
#define INCIDENTS_AT_ONCE 200
#define FIRST_PAGE 100
#define NEXT_PAGE 1000
#define DIGITS_OF(n) #n
#define DIGITS(n) DIGITS_OF(n)

/* An answer that was given, and for which tenant. */
struct known {
    struct silencing is;
    struct slice tenant;
    struct known *next;
};

/* An alert or an incident in question, however many ask for it. */
struct subject {
    const struct silence_look *look; /* the first of them */
    const struct silencing *by; /* of those that keep its alerts silent the one that ends first */
    bool told;                  /* there is an alert that none keeps silent */
    size_t read;                /* alerts of the last page; and its last one: */
    int64_t status, first_seen;
};

struct judging {
    struct pg *pg;
    struct arena *a;   /* the caller's, for the answers */
    struct arena *own; /* the subjects */
    struct arena *portion, *silence;
    struct silence_look **looks; /* those of one subject stand together */
    size_t look_n;
    struct subject *v; /* in the same order */
    size_t n;
    struct known *known;
    int64_t now_ms;
    bool incidents; /* else alerts, by fingerprint */
};

/* An alert in question, and the first silence that is found to match it. */
struct alert {
    struct subject *of;
    struct labels labels;
    const struct silencing *by;
};
struct alerts {
    struct alert *v;
    size_t n;
};

static int no_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "silences: too much at once");
}

static struct slice tenant_of(const struct alert *al)
{
    return al->of->look->tenant;
}

/* ---- the silences that may match ---- */

/* The key under which a silence of a tenant may be found. */
struct place {
    struct slice tenant;
    unsigned char key[SILENCE_KEY_LEN];
    bool loose;
};

static int by_place(const void *x, const void *y)
{
    const struct place *a = x, *b = y;
    const int c = slice_cmp(a->tenant, b->tenant);

    if (c != 0 || a->loose != b->loose)
        return c != 0 ? c : (int)b->loose - (int)a->loose;
    return memcmp(a->key, b->key, sizeof(a->key));
}

static size_t distinct(struct place *v, size_t n)
{
    size_t kept = 0;

    qsort(v, n, sizeof(*v), by_place);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || by_place(&v[kept - 1], &v[i]) != 0)
            v[kept++] = v[i];
    return kept;
}

static int places_of(struct arena *a, const struct alerts *s, struct place **ret, size_t *ret_n,
                     struct err *e)
{
    size_t most = 0, n = 0;

    for (size_t i = 0; i < s->n; i++)
        most += s->v[i].labels.n + 1;
    struct place *v = arena_array(a, most + 1, struct place);
    if (!v)
        return no_memory(e);
    for (size_t i = 0; i < s->n; i++) {
        const struct labels l = s->v[i].labels;

        v[n++] = (struct place){.tenant = tenant_of(&s->v[i]), .loose = true};
        for (size_t k = 0; k < l.n; k++) {
            v[n].tenant = tenant_of(&s->v[i]);
            silence_key(l.v[k].name, l.v[k].value, v[n++].key);
        }
    }
    *ret = v;
    *ret_n = distinct(v, n);
    return 0;
}

static const char candidates_sql[] =
    "SELECT s.tenant, s.id, s.matchers::text, s.ends_at, s.created_by, s.comment "
    "FROM unnest($1, $2) AS k (t, key) JOIN silences s ON s.tenant = k.t AND s.key = k.key "
    "WHERE s.ends_at > $3 AND s.starts_at <= $3 ORDER BY s.ends_at, s.id FOR SHARE OF s";

static int candidates(struct judging *k, const struct alerts *s, PGresult **ret, struct err *e)
{
    struct arena *a = k->portion;
    struct pg_args *p = pg_args(a);
    struct place *places = NULL;
    size_t n = 0;
    int rc = places_of(a, s, &places, &n, e);

    if (rc < 0)
        return rc;
    struct slice *tenants = arena_array(a, n + 1, struct slice),
                 *keys = arena_array(a, n + 1, struct slice);
    if (!tenants || !keys)
        return no_memory(e);
    for (size_t i = 0; i < n; i++) {
        tenants[i] = places[i].tenant;
        keys[i] = places[i].loose ? SLICE_LIT("")
                                  : (struct slice){(const char *)places[i].key, SILENCE_KEY_LEN};
    }
    pg_texts(p, tenants, n);
    pg_byteas(p, keys, n);
    pg_int(p, k->now_ms);
    return pg_query(k->pg, candidates_sql, p, ret, e);
}

/* ---- one portion ---- */

/* An answer lives as long as the caller's arena, so each is made once. */
static const struct silencing *silencing_of(struct judging *k, const PGresult *r, int row,
                                            struct slice tenant)
{
    const struct slice who = pg_get_text(r, row, 4), comment = pg_get_text(r, row, 5);
    char id[UUID_STR], until[RFC3339_MAX];
    struct uuid is;

    memcpy(is.b, pg_get_uuid(r, row, 1), sizeof(is.b));
    for (const struct known *n = k->known; n; n = n->next)
        if (uuid_cmp(&n->is.id, &is) == 0 && slice_eq(n->tenant, tenant))
            return &n->is;
    struct known *n = arena_new_of(k->a, struct known);
    if (!n)
        return NULL;
    *n = (struct known){{.id = is, .ends_ms = pg_get_int(r, row, 3)}, tenant, k->known};
    n->is.who = arena_printf(k->a, "%.*s", SLICE_FMT(who));
    n->is.reason = arena_printf(k->a, "silence %s of %.*s until %s%s%.*s", uuid_format(&is, id),
                                SLICE_FMT(who), rfc3339_format(n->is.ends_ms, until),
                                comment.len > 0 ? ": " : "", (int)utf8_fit(comment, COMMENT_SHOWN),
                                comment.p ? comment.p : "");
    if (!n->is.who || !n->is.reason)
        return NULL;
    k->known = n;
    return &n->is;
}

static struct matchers *matchers_of(struct arena *a, struct slice json, struct err *e)
{
    struct silence_matchers m;
    const json_t *list = json_tree(json, a, e);

    return list && silence_matchers_read(list, &m, e) == 0 ? silence_matchers_compile(&m, e) : NULL;
}

static int judge_one(struct judging *k, const PGresult *r, int row, const struct alerts *s,
                     struct err *e)
{
    CLEANUP(matchers_free)
    struct matchers *m = matchers_of(k->silence, pg_get_text(r, row, 2), e);
    const struct silencing *by = NULL;

    if (!m)
        return err_wrap(e, "a silence");
    for (size_t i = 0; i < s->n; i++) {
        struct alert *it = &s->v[i];

        if (it->by || !slice_eq(tenant_of(it), pg_get_text(r, row, 0)) ||
            !matchers_match(m, it->labels))
            continue;
        if (!by && !(by = silencing_of(k, r, row, tenant_of(it))))
            return no_memory(e);
        it->by = by;
    }
    return 0;
}

/* All alerts of a subject must be silenced; then the silence that ends first speaks for them. */
static int judge_portion(struct judging *k, const struct alerts *s, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    int rc = candidates(k, s, &r, e);

    for (int row = 0; rc == 0 && row < PQntuples(r); row++) {
        rc = judge_one(k, r, row, s, e);
        arena_reset(k->silence);
    }
    for (size_t i = 0; rc == 0 && i < s->n; i++) {
        const struct silencing *by = s->v[i].by;
        struct subject *of = s->v[i].of;

        of->told = of->told || !by;
        if (by && (!of->by || by->ends_ms < of->by->ends_ms))
            of->by = by;
    }
    return rc;
}

/* From *row on as many as are judged at once, without those of which the answer is known. */
static int take_portion(struct judging *k, const PGresult *r, struct subject *v, int *row,
                        struct alerts *ret, struct err *e)
{
    const int n = PQntuples(r);

    *ret = (struct alerts){arena_array(k->portion, PORTION_ALERTS, struct alert), 0};
    if (!ret->v)
        return no_memory(e);
    for (; *row < n && ret->n < PORTION_ALERTS && arena_used(k->portion) < PORTION_LABELS; ++*row) {
        struct alert *al = &ret->v[ret->n];

        al->of = &v[pg_get_int(r, *row, 0)];
        al->of->read++;
        al->of->status = pg_get_int(r, *row, 2);
        al->of->first_seen = pg_get_int(r, *row, 3);
        if (al->of->told)
            continue;
        int rc = labels_from_json(k->portion, pg_get_text(r, *row, 1), &al->labels, e);
        if (rc < 0)
            return rc;
        ret->n++;
    }
    return 0;
}

/* ---- reading them ---- */

/* Rows of (place, labels, and where to read on), in this order. */
static const char alerts_sql[] =
    "SELECT k.n, l.labels::text, l.status::int8, l.first_seen FROM "
    "unnest($1, $2, $3) AS k (t, f, n) JOIN alerts l ON l.tenant = k.t AND l.fingerprint = k.f "
    "ORDER BY k.n";
/* What fires; where nothing does any more, what did. In the order of alerts_of_incident and of
 * nothing else, or each page would sort all that is left; so those that came at once come together.
 */
#define INCIDENTS_SQL(most)                                                                        \
    "SELECT k.n, l.labels::text, l.status::int8, l.first_seen FROM "                               \
    "unnest($1, $2, $3, $4, $5) AS k (t, i, n, s, at) "                                            \
    "CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM alerts o WHERE o.tenant = k.t AND "            \
    "o.incident_id = k.i AND o.status = 1) AS fires OFFSET 0) w "                                  \
    "CROSS JOIN LATERAL (SELECT a.labels, a.status, a.first_seen FROM alerts a "                   \
    "WHERE a.tenant = k.t AND a.incident_id = k.i AND "                                            \
    "a.status >= CASE WHEN w.fires THEN 1 ELSE 0 END AND "                                         \
    "a.status <= CASE WHEN w.fires THEN 1 ELSE 2 END AND "                                         \
    "(a.status, a.first_seen) > (k.s, k.at) ORDER BY a.status, a.first_seen "                      \
    "FETCH FIRST " DIGITS(most) " ROWS WITH TIES) l ORDER BY k.n, l.status, l.first_seen"
static const char first_page_sql[] = INCIDENTS_SQL(FIRST_PAGE);
static const char next_page_sql[] = INCIDENTS_SQL(NEXT_PAGE);

static int look_up(struct judging *k, struct subject *v, size_t n, const char *sql, PGresult **ret,
                   struct err *e)
{
    struct arena *a = k->portion;
    struct slice *tenants = arena_array(a, n, struct slice);
    struct uuid *ids = arena_array(a, n, struct uuid);
    int64_t *asked = arena_array(a, 4 * n, int64_t);
    struct pg_args *p = pg_args(a);

    if (!tenants || !ids || !asked)
        return no_memory(e);
    for (size_t i = 0; i < n; i++) {
        tenants[i] = v[i].look->tenant;
        ids[i] = v[i].look->incident;
        asked[i] = (int64_t)v[i].look->fingerprint;
        asked[n + i] = (int64_t)i;
        asked[2 * n + i] = v[i].status;
        asked[3 * n + i] = v[i].first_seen;
        v[i].read = 0;
    }
    pg_texts(p, tenants, n);
    if (k->incidents)
        pg_uuids(p, ids, n);
    else
        pg_ints(p, asked, n);
    pg_ints(p, asked + n, n);
    for (size_t i = 2; k->incidents && i < 4; i++)
        pg_ints(p, asked + i * n, n);
    return pg_query(k->pg, sql, p, ret, e);
}

static int judge_page(struct judging *k, struct subject *v, size_t n, const char *sql,
                      struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct alerts s = {0};
    int rc = look_up(k, v, n, sql, &r, e);

    for (int row = 0; rc == 0 && row < PQntuples(r);) {
        arena_reset(k->portion);
        rc = take_portion(k, r, v, &row, &s, e);
        if (rc == 0 && s.n > 0)
            rc = judge_portion(k, &s, e);
    }
    arena_reset(k->portion);
    return rc;
}

/* Until one is found that is to be told, or all were read. */
static int read_on(struct judging *k, struct subject *s, struct err *e)
{
    int rc = 0;

    for (size_t most = FIRST_PAGE; rc == 0 && !s->told && s->read >= most; most = NEXT_PAGE)
        rc = judge_page(k, s, 1, next_page_sql, e);
    return rc;
}

static int judge_all(struct judging *k, struct err *e)
{
    const size_t most = k->incidents ? INCIDENTS_AT_ONCE : ALERTS_AT_ONCE;
    int rc = 0;

    for (size_t i = 0; i < k->n && rc == 0; i += most)
        rc = judge_page(k, &k->v[i], k->n - i < most ? k->n - i : most,
                        k->incidents ? first_page_sql : alerts_sql, e);
    for (size_t i = 0; k->incidents && i < k->n && rc == 0; i++)
        rc = read_on(k, &k->v[i], e);
    return rc;
}

/* ---- the whole ---- */

int silences_any(struct pg *pg, struct arena *a, const struct silence_look *v, size_t n,
                 int64_t now_ms, bool *ret, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct slice *tenants = arena_array(a, n + 1, struct slice);
    struct pg_args *p = pg_args(a);
    size_t k = 0;

    if (!tenants)
        return no_memory(e);
    for (size_t i = 0; i < n; i++)
        if (k == 0 || !slice_eq(tenants[k - 1], v[i].tenant))
            tenants[k++] = v[i].tenant;
    pg_texts(p, tenants, k);
    pg_int(p, now_ms);
    int rc = pg_query(pg,
                      "SELECT EXISTS (SELECT FROM unnest($1) AS k (t) JOIN silences s ON "
                      "s.tenant = k.t AND s.ends_at > $2)",
                      p, &r, e);
    if (rc == 0)
        *ret = pg_get_bool(r, 0, 0);
    return rc;
}

static int by_subject(const void *x, const void *y)
{
    const struct silence_look *a = *(struct silence_look *const *)x,
                              *b = *(struct silence_look *const *)y;
    int c = slice_cmp(a->tenant, b->tenant);

    c = c != 0 ? c : uuid_cmp(&a->incident, &b->incident);
    return c != 0 ? c : (a->fingerprint > b->fingerprint) - (a->fingerprint < b->fingerprint);
}

static int take_subjects(struct judging *k, struct silence_look *v, size_t n, struct err *e)
{
    k->looks = arena_array(k->own, n, struct silence_look *);
    k->v = arena_array(k->own, n, struct subject);
    if (!k->looks || !k->v)
        return no_memory(e);
    k->look_n = n;
    for (size_t i = 0; i < n; i++)
        k->looks[i] = &v[i];
    qsort(k->looks, n, sizeof(struct silence_look *), by_subject);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || by_subject(&k->looks[i - 1], &k->looks[i]) != 0)
            k->v[k->n++] = (struct subject){.look = k->looks[i], .status = -1};
    return 0;
}

static void answer(const struct judging *k)
{
    for (size_t i = 0, s = 0; i < k->look_n; i++) {
        s += i > 0 && by_subject(&k->looks[i - 1], &k->looks[i]) != 0;
        k->looks[i]->by = k->v[s].told ? NULL : k->v[s].by;
    }
}

static int silences_of(struct judging *k, struct silence_look *v, size_t n, struct err *e)
{
    CLEANUP(arena_free) struct arena *own = arena_new(OWN_MEMORY);
    CLEANUP(arena_free) struct arena *portion = arena_new(PORTION_MEMORY);
    CLEANUP(arena_free) struct arena *silence = arena_new(SILENCE_MEMORY);
    bool some = false;

    for (size_t i = 0; i < n; i++)
        v[i].by = NULL;
    if (n == 0)
        return 0;
    if (!own || !portion || !silence)
        return no_memory(e);
    k->own = own;
    k->portion = portion;
    k->silence = silence;
    int rc = silences_any(k->pg, own, v, n, k->now_ms, &some, e);
    if (rc < 0 || !some)
        return rc;
    if ((rc = take_subjects(k, v, n, e)) == 0 && (rc = judge_all(k, e)) == 0)
        answer(k);
    return rc;
}

int silences_of_alerts(struct pg *pg, struct arena *a, struct silence_look *v, size_t n,
                       int64_t now_ms, struct err *e)
{
    struct judging k = {.pg = pg, .a = a, .now_ms = now_ms};

    return silences_of(&k, v, n, e);
}

int silences_of_incidents(struct pg *pg, struct arena *a, struct silence_look *v, size_t n,
                          int64_t now_ms, struct err *e)
{
    struct judging k = {.pg = pg, .a = a, .now_ms = now_ms, .incidents = true};

    return silences_of(&k, v, n, e);
}
