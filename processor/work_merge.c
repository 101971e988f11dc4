/* Under the locks: what the reports change, which occurrences are new to the world, and what
 * becomes of the incidents. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "processor/work.h"

/* ---- the table of occurrences ---- */

/* An identity to insert: of a change, or the new name of one that is gone. */
struct named {
    struct alert_work *al;
    struct slice identity;
    struct order order; /* of several the first counts */
    int64_t at;
    bool *fresh; /* out: it was not in the table */
};

static int named_cmp_key(const struct named *n, struct slice tenant, uint64_t fingerprint,
                         struct slice identity)
{
    int c = slice_cmp(n->al->row.tenant, tenant);

    if (c == 0 && n->al->row.fingerprint != fingerprint)
        c = n->al->row.fingerprint < fingerprint ? -1 : 1;
    return c != 0 ? c : slice_cmp(n->identity, identity);
}

static int named_cmp(const void *x, const void *y)
{
    const struct named *a = x, *b = y;
    const int c = named_cmp_key(a, b->al->row.tenant, b->al->row.fingerprint, b->identity);

    return c != 0 ? c : order_cmp(&a->order, &b->order);
}

/* The first in order of those with this identity. */
static struct named *named_find(struct named *v, size_t n, struct slice tenant,
                                uint64_t fingerprint, struct slice identity)
{
    size_t low = 0, high = n;

    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (named_cmp_key(&v[mid], tenant, fingerprint, identity) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low < n && named_cmp_key(&v[low], tenant, fingerprint, identity) == 0 ? &v[low] : NULL;
}

static int insert_occurrences(struct work *w, struct pg *pg, struct named *v, size_t n,
                              struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct slice *text = arena_array(w->a, 2 * n, struct slice);
    int64_t *num = arena_array(w->a, 2 * n, int64_t);
    struct pg_args *p = pg_args(w->a);

    if (!text || !num)
        return batch_too_large(e);
    qsort(v, n, sizeof(*v), named_cmp);
    for (size_t i = 0; i < n; i++) {
        text[i] = v[i].al->row.tenant;
        text[n + i] = v[i].identity;
        num[i] = (int64_t)v[i].al->row.fingerprint;
        num[n + i] = v[i].at;
    }
    pg_texts(p, text, n);
    pg_ints(p, num, n);
    pg_texts(p, text + n, n);
    pg_ints(p, num + n, n);
    const int rc = pg_query(pg,
                            "INSERT INTO occurrences (tenant, fingerprint, identity, at) "
                            "SELECT * FROM unnest($1::text[], $2::int8[], $3::text[], $4::int8[]) "
                            "ON CONFLICT DO NOTHING RETURNING tenant, fingerprint, identity",
                            p, &r, e);
    for (int i = 0; rc == 0 && i < PQntuples(r); i++) {
        struct named *hit = named_find(v, n, pg_get_text(r, i, 0), (uint64_t)pg_get_int(r, i, 1),
                                       pg_get_text(r, i, 2));
        if (hit)
            *hit->fresh = true;
    }
    return rc;
}

/* An occurrence that is gone. Under its new name it counts on, at its old time; without one it does
 * not. One that the table does not have was counted under a name that is forgotten. */
struct going {
    struct alert_work *al;
    struct slice identity, into;
    int64_t at;     /* when it was counted */
    bool was_there; /* in the table */
    bool renamed;   /* its new name is fresh */
};

static int delete_gone(struct work *w, struct pg *pg, struct going *v, size_t n, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct slice *text = arena_array(w->a, 2 * n, struct slice);
    int64_t *num = arena_array(w->a, 2 * n, int64_t); /* fingerprints, indexes into v */
    struct pg_args *p = pg_args(w->a);

    if (!text || !num)
        return batch_too_large(e);
    for (size_t i = 0; i < n; i++) {
        text[i] = v[i].al->row.tenant;
        text[n + i] = v[i].identity;
        num[i] = (int64_t)v[i].al->row.fingerprint;
        num[n + i] = (int64_t)i;
    }
    pg_texts(p, text, n);
    pg_ints(p, num, n);
    pg_texts(p, text + n, n);
    pg_ints(p, num + n, n);
    const int rc = pg_query(
        pg,
        "DELETE FROM occurrences o USING unnest($1::text[], $2::int8[], $3::text[], $4::int8[]) "
        "k(t, f, i, n) "
        "WHERE o.tenant = k.t AND o.fingerprint = k.f AND o.identity = k.i RETURNING k.n, o.at",
        p, &r, e);
    for (int i = 0; rc == 0 && i < PQntuples(r); i++) {
        struct going *g = &v[pg_get_int(r, i, 0)];
        g->was_there = true;
        g->at = pg_get_int(r, i, 1);
    }
    return rc;
}

static void count_gone(struct going *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!v[i].was_there || v[i].renamed)
            continue;
        aggregate_uncount(&v[i].al->row, v[i].at);
        v[i].al->occurrences_added--;
    }
}

static size_t collect_gone(struct work *w, struct going *v)
{
    size_t n = 0;

    for (size_t i = 0; i < w->alert_n; i++) {
        struct alert_work *al = &w->alerts[i];
        for (size_t j = 0; j < al->changes.gone_n; j++) {
            const struct gone *g = &al->changes.gone[j];
            v[n++] = (struct going){.al = al, .identity = g->identity, .into = g->into};
        }
    }
    return n;
}

static size_t collect_named(struct work *w, struct going *gone, size_t gone_n, struct named *v)
{
    size_t n = 0;

    for (size_t i = 0; i < w->alert_n; i++) {
        struct alert_work *al = &w->alerts[i];
        for (size_t j = 0; j < al->changes.n; j++) {
            struct change *c = &al->changes.v[j];
            if (c->occurrence.p)
                v[n++] = (struct named){al, c->occurrence, c->order, c->at, &c->counted};
        }
    }
    for (size_t i = 0; i < gone_n; i++) {
        struct going *g = &gone[i];
        if (g->into.p && g->was_there)
            v[n++] = (struct named){g->al, g->into, {0}, g->at, &g->renamed};
    }
    return n;
}

static int count_occurrences(struct work *w, struct pg *pg, struct err *e)
{
    size_t changes = 0, gone = 0;
    int rc = 0;

    for (size_t i = 0; i < w->alert_n; i++) {
        gone += w->alerts[i].changes.gone_n;
        changes += w->alerts[i].changes.n;
    }
    struct named *named = arena_array(w->a, changes + gone + 1, struct named);
    struct going *going = arena_array(w->a, gone + 1, struct going);
    if (!named || !going)
        return batch_too_large(e);
    gone = collect_gone(w, going);
    if (gone > 0)
        rc = delete_gone(w, pg, going, gone, e);
    const size_t n = collect_named(w, going, gone, named);
    if (rc == 0 && n > 0)
        rc = insert_occurrences(w, pg, named, n, e);
    if (rc == 0)
        count_gone(going, gone);
    return rc;
}

/* ---- incidents ---- */

/* What happens to an incident: a change of one of its alerts, or that somebody has seen it. */
struct step {
    struct alert_work *al;
    const struct change *c;
    const struct input *seen; /* without a change */
    struct order order;
    size_t seq; /* of changes of one report */
};

static int step_cmp(const void *x, const void *y)
{
    const struct step *a = x, *b = y;

    if (a->al->row.anomaly != b->al->row.anomaly)
        return a->al->row.anomaly < b->al->row.anomaly ? -1 : 1;
    int c = order_cmp(&a->order, &b->order);
    if (c == 0 && a->al != b->al) /* ends by silence have nothing but their time */
        c = a->al < b->al ? -1 : 1;
    return c != 0 ? c : (a->seq > b->seq) - (a->seq < b->seq);
}

static struct slice environment_of(struct labels l)
{
    static const char *const names[] = {"environment", "env", "deployment_environment"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct slice v = labels_get(l, names[i]);
        if (v.p)
            return v;
    }
    return SLICE_LIT("");
}

static struct slice or_empty(struct slice s)
{
    return s.p ? s : SLICE_LIT("");
}

static struct incident_words words_of(const struct alert_work *al, const struct change *c)
{
    if (al->silent)
        return (struct incident_words){.severity = al->severity, .severity_again = al->severity};
    const struct input *in = al->said[c->report];
    return (struct incident_words){
        .title = or_empty(in->event->title),
        .description = or_empty(in->event->description),
        .source = slice_of(in->source->name),
        .environment = environment_of(in->event->labels),
        .link = or_empty(in->event->link),
        .words = or_empty(in->event->words),
        .impact_users = in->event->impact_users,
        .impact_events = in->event->impact_events,
        .severity = in->event->severity,
        .severity_again = in->event->severity_again,
    };
}

static void acknowledge(struct work *w, const struct step *s)
{
    const struct slice actor = or_empty(s->seen->event->actor);

    if (aggregate_acknowledge(&s->al->row, s->order.at, actor))
        w->acknowledged[w->acknowledged_n++] = (struct acknowledged){s->seen, s->al->row.incident};
}

/* Of one alert, unsorted. */
static size_t take_steps(struct alert_work *al, struct step *v)
{
    size_t n = 0;

    for (size_t j = 0; j < al->changes.n; j++, n++)
        v[n] = (struct step){
            .al = al, .c = &al->changes.v[j], .order = al->changes.v[j].order, .seq = j};
    for (size_t j = 0; al->acknowledges && al->row.anomaly && j < al->input_n; j++)
        if (al->inputs[j]->event->acknowledges)
            v[n++] = (struct step){
                .al = al, .seen = al->inputs[j], .order = al->inputs[j]->report.order};
    return n;
}

static int run_incidents(struct work *w, struct err *e)
{
    const struct aggregate_rules rules = {w->settings->aggregation.window, &w->settings->frequency};
    size_t n = 0, seen = 0;

    for (size_t i = 0; i < w->alert_n; i++) {
        n += w->alerts[i].changes.n;
        seen += w->alerts[i].acknowledges ? w->alerts[i].input_n : 0;
    }
    struct step *steps = arena_array(w->a, n + seen + 1, struct step);
    w->acknowledged = arena_array(w->a, seen + 1, struct acknowledged);
    w->acknowledged_n = 0;
    if (!steps || !w->acknowledged)
        return batch_too_large(e);
    n = 0;
    for (size_t i = 0; i < w->alert_n; i++)
        n += take_steps(&w->alerts[i], steps + n);
    qsort(steps, n, sizeof(*steps), step_cmp);
    for (size_t i = 0; i < n; i++) {
        struct alert_work *al = steps[i].al;
        const struct change *c = steps[i].c;
        if (!c) {
            acknowledge(w, &steps[i]);
            continue;
        }
        const struct incident_words words = words_of(al, c);
        const size_t from = w->news.n;
        aggregate_apply(&al->row, c, &words, &rules, &w->news);
        if (!w->news.failed && rules_count(w, al, c, from, e) < 0)
            return e->code;
        al->occurrences_added += c->counted;
        if (c->kind != CHANGE_ENDED && (c->counted || c->kind == CHANGE_BEGAN) && !c->past)
            al->severity = c->again ? words.severity_again : words.severity;
    }
    return w->news.failed ? batch_too_large(e) : 0;
}

/* What was locked may differ from what was guessed. */
static int change_alerts(struct work *w, struct err *e)
{
    for (size_t i = 0; i < w->alert_n; i++) {
        struct alert_work *al = &w->alerts[i];
        if (al->locked && alert_change(w, al, e) < 0)
            return e->code;
        if ((al->changes.n > 0 || al->changes.gone_n > 0 || (al->known && al->acknowledges)) &&
            (!al->row.anomaly || (al->has_incident && !al->row.incident)))
            return err_set(e, -EAGAIN, "batch: an alert changed between the guess and the lock");
    }
    return 0;
}

int work_merge(struct work *w, struct pg *pg, struct err *e)
{
    int rc = change_alerts(w, e);

    w->news.a = w->a;
    if (rc == 0)
        rc = count_occurrences(w, pg, e);
    if (rc == 0)
        rc = rules_learn(w, e);
    return rc < 0 ? rc : run_incidents(w, e);
}
