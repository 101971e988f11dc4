/* Histories: small scenes of the kinds that senders make, thrown together. */
#include "history.h"

#include <stdlib.h>
#include <string.h>

uint32_t anomaly_index(uint32_t alert)
{
    return alert % ANOMALIES;
}

enum severity severity_first(uint32_t alert)
{
    static const enum severity v[ALERTS] = {SEVERITY_WARNING, SEVERITY_ERROR,   SEVERITY_INFO,
                                            SEVERITY_INFO,    SEVERITY_WARNING, SEVERITY_CRITICAL};
    return v[alert];
}

/* Only of event sources does it differ. */
enum severity severity_later(uint32_t alert)
{
    return severity_first(alert) == SEVERITY_ERROR ? SEVERITY_WARNING : severity_first(alert);
}

uint64_t roll(struct dice *d)
{
    d->state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    uint64_t z = d->state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint32_t below(struct dice *d, uint32_t n)
{
    return (uint32_t)(roll(d) % n);
}

bool one_in(struct dice *d, uint32_t n)
{
    return below(d, n) == 0;
}

/* ---- saying one thing ---- */

#define STEP (25 * SECOND) /* times lie on a grid, so that they meet */

struct maker {
    struct dice *d;
    struct history *h;
    int64_t from, to; /* receive times */
    uint32_t alert, requests;
    bool earlier;
};

static int64_t clamp(const struct maker *m, int64_t at)
{
    return at < m->from ? m->from : at > m->to ? m->to : at;
}

static int64_t some_time(struct maker *m)
{
    static const int64_t jitter[] = {0, 0, 0, 0, 1, 7, -1};
    const uint32_t steps = (uint32_t)((m->to - m->from) / STEP);

    return clamp(m, m->from + STEP * below(m->d, steps + 1) + jitter[below(m->d, 7)]);
}

static int64_t a_while(struct maker *m)
{
    static const int64_t v[] = {0, 1, SECOND, 5 * SECOND, STEP, 2 * STEP, 4 * STEP, 8 * STEP};

    return v[below(m->d, 8)];
}

/* Requests are numbered at random: equal receive times are in any order. */
static struct said *say(struct maker *m, enum report_kind kind, int64_t at, int64_t starts,
                        int64_t ends)
{
    static struct said spill;
    struct said *s = m->h->n < HISTORY_MAX - 20 ? &m->h->v[m->h->n++] : &spill;
    const uint32_t number = below(m->d, 1 << 16) << 16 | m->requests++;

    *s = (struct said){
        .input = SAID,
        .report = {.kind = kind, .order.at = clamp(m, at), .starts_at = starts, .ends_at = ends},
        .alert = m->alert,
        .partition = below(m->d, 2),
        .earlier = m->earlier};
    for (unsigned i = 0; i < 4; i++)
        s->report.order.request.b[i] = (unsigned char)(number >> (24 - 8 * i));
    return s;
}

static void fires(struct maker *m, int64_t at, int64_t starts)
{
    (void)say(m, REPORT_FIRING, at, starts, 0);
}

static void resolves(struct maker *m, int64_t at, int64_t ends)
{
    (void)say(m, REPORT_RESOLVED, at, 0, ends);
}

static void event(struct maker *m, int64_t at, const char *id)
{
    say(m, REPORT_OCCURRED, at, 0, 0)->report.event_id = slice_of(id);
}

/* ---- scenes: senders that tell starts ---- */

static void scene_episode(struct maker *m)
{
    const int64_t start = some_time(m);
    int64_t at = start;

    for (uint32_t i = 0; i <= below(m->d, 3); i++, at += a_while(m))
        fires(m, at, start);
    if (one_in(m->d, 4))
        return;
    resolves(m, at, one_in(m->d, 2) ? 0 : at - a_while(m));
}

static void scene_pair(struct maker *m)
{
    const int64_t start = some_time(m), skew = 1 + a_while(m) / 4;
    const int64_t end = start + a_while(m) + STEP;

    fires(m, start + a_while(m) / 2, start);
    fires(m, start + a_while(m), start + skew);
    if (one_in(m->d, 3))
        fires(m, end + a_while(m), start + skew); /* one of them is late */
    if (!one_in(m->d, 4))
        resolves(m, end, end - 1);
    if (!one_in(m->d, 4))
        resolves(m, end + a_while(m), end + skew);
}

static void scene_refire(struct maker *m)
{
    const int64_t start = some_time(m), end = start + a_while(m) + 1;

    fires(m, start + 1, start);
    resolves(m, end + 1, one_in(m->d, 2) ? 0 : end);
    fires(m, end + 2 + a_while(m), start);
    if (one_in(m->d, 2))
        resolves(m, end + STEP, end); /* the same end again */
    if (one_in(m->d, 2))
        resolves(m, end + 9 * STEP, end + 3 * STEP);
}

/* Over, and firing again a window later, give or take; since then, or as if it had never ended. */
static void scene_again(struct maker *m)
{
    const int64_t start = some_time(m), end = start + 2 + a_while(m);
    const int64_t again = end + WINDOW + (int64_t)below(m->d, 3) - 1;

    fires(m, start + 1, start);
    resolves(m, end, 0);
    fires(m, again, one_in(m->d, 2) ? start : again - a_while(m));
    if (one_in(m->d, 2))
        resolves(m, again + 1 + a_while(m), 0);
}

static void scene_edge(struct maker *m)
{
    const int64_t first = one_in(m->d, 2) ? m->from : some_time(m);
    const int64_t next = first + WINDOW + (int64_t)below(m->d, 3) - 1;

    fires(m, first, first - a_while(m));
    if (one_in(m->d, 3))
        resolves(m, first + a_while(m), 0);
    fires(m, next + (one_in(m->d, 2) ? 0 : a_while(m)), next);
    if (one_in(m->d, 3))
        resolves(m, next + a_while(m), next);
}

static void scene_future(struct maker *m)
{
    static const int64_t ahead[] = {1, 2 * STEP, WINDOW, 3 * WINDOW};
    const int64_t at = some_time(m), start = at + ahead[below(m->d, 4)];

    fires(m, at, start);
    if (one_in(m->d, 2))
        fires(m, at + a_while(m), start);
    if (one_in(m->d, 2))
        resolves(m, at + a_while(m), one_in(m->d, 2) ? start : 0);
}

static void scene_end_at_start(struct maker *m)
{
    const int64_t start = some_time(m);

    fires(m, start + a_while(m), start);
    resolves(m, start + a_while(m) + STEP, start + (int64_t)below(m->d, 3) - 1);
    if (one_in(m->d, 2))
        fires(m, start + 2 * STEP, start + (int64_t)below(m->d, 3) - 1);
}

static void scene_equal_times(struct maker *m)
{
    const int64_t at = some_time(m), start = at - a_while(m);

    fires(m, at, start);
    resolves(m, at, one_in(m->d, 2) ? 0 : start);
    if (one_in(m->d, 2))
        fires(m, at, start);
}

static void scene_one_body(struct maker *m)
{
    const int64_t at = some_time(m);
    const struct order *first = &say(m, REPORT_FIRING, at, at - a_while(m), 0)->report.order;
    struct said *second = one_in(m->d, 2) ? say(m, REPORT_RESOLVED, at, 0, 0)
                                          : say(m, REPORT_FIRING, at, at - a_while(m), 0);

    second->report.order = *first;
    second->report.order.index = 1;
}

static void scene_promise(struct maker *m)
{
    const int64_t start = some_time(m);

    (void)say(m, REPORT_FIRING, start + 1, start, start + 1 + a_while(m));
    if (one_in(m->d, 2))
        (void)say(m, REPORT_FIRING, start + a_while(m), start, start + 5 * STEP + a_while(m));
}

/* More starts than one keeps, all of them firing; some are repeated, and an end ends some. */
static void scene_swarm(struct maker *m)
{
    const int64_t first = some_time(m);
    const uint32_t n = 10;

    for (uint32_t i = 0; i < n; i++)
        fires(m, first + i * STEP + 1, first + i * STEP);
    const int64_t last = first + n * STEP;
    for (uint32_t i = below(m->d, 3); i > 0; i--)
        fires(m, last + a_while(m), first + STEP * below(m->d, 4));
    for (uint32_t i = below(m->d, 3); i > 0; i--)
        resolves(m, last + a_while(m), first + STEP * below(m->d, n + 1));
}

/* ---- senders that tell none ---- */

static void scene_trigger(struct maker *m)
{
    int64_t at = some_time(m);

    fires(m, at, 0);
    fires(m, at += a_while(m), 0);
    const int64_t end = at += a_while(m);
    resolves(m, at, one_in(m->d, 2) ? 0 : at - a_while(m));
    fires(m, at += a_while(m), 0);
    if (one_in(m->d, 3))
        resolves(m, at += a_while(m), end);
    if (one_in(m->d, 3))
        fires(m, at += a_while(m), 0);
    if (one_in(m->d, 3))
        resolves(m, at + a_while(m), end);
}

static void scene_storm(struct maker *m)
{
    const int64_t at = some_time(m);

    for (uint32_t i = 0; i < 34; i++)
        fires(m, at + i * SECOND, 0);
    if (one_in(m->d, 2))
        resolves(m, at + 12 * SECOND + 1, 0);
}

static void scene_events(struct maker *m)
{
    static const char *const now[] = {"a", "b", "c", ""}, *const then[] = {"x", "y", "z", ""};
    const char *const *ids = m->earlier ? then : now;
    int64_t at = some_time(m);

    if (!one_in(m->d, 3))
        (void)say(m, REPORT_OPENED, at, 0, 0);
    for (uint32_t i = below(m->d, 4); i > 0; i--)
        event(m, at += a_while(m), ids[below(m->d, 4)]);
    if (one_in(m->d, 2))
        resolves(m, at += a_while(m), 0);
    if (one_in(m->d, 2))
        (void)say(m, REPORT_OPENED, at += a_while(m), 0, 0);
    if (one_in(m->d, 3))
        event(m, at + a_while(m), ids[below(m->d, 4)]);
}

static void scene_note(struct maker *m)
{
    (void)say(m, REPORT_NOTE, some_time(m), some_time(m), some_time(m));
}

static void scene_unknown(struct maker *m)
{
    const int64_t at = some_time(m);

    resolves(m, at, one_in(m->d, 2) ? 0 : at - a_while(m));
}

typedef void (*scene)(struct maker *m);
static const scene of_starts[] = {
    scene_episode, scene_episode,      scene_pair,        scene_refire,   scene_edge,
    scene_future,  scene_end_at_start, scene_equal_times, scene_one_body, scene_promise,
    scene_note,    scene_unknown,      scene_again};
static const scene of_marks[] = {scene_trigger, scene_trigger, scene_unknown};
static const scene of_events[] = {scene_events, scene_events, scene_note, scene_unknown};
#define ANY_OF(m, v) ((v)[below((m)->d, sizeof(v) / sizeof((v)[0]))])

/* Most alerts have one kind of sender; one in five has all. */
static void any_scene(struct maker *m, const uint32_t nature[ALERTS], bool storms)
{
    uint32_t n = nature[m->alert];

    if (n >= 8)
        n = below(m->d, 8);
    if (n < 5 && storms && one_in(m->d, 8))
        scene_swarm(m);
    else if (n < 5)
        ANY_OF(m, of_starts)(m);
    else if (n == 5 && storms && one_in(m->d, 4))
        scene_storm(m);
    else if (n < 7)
        ANY_OF(m, of_marks)(m);
    else
        ANY_OF(m, of_events)(m);
}

/* ---- the whole ---- */

int said_cmp(const struct said *a, const struct said *b)
{
    if (a->earlier != b->earlier)
        return a->earlier ? -1 : 1;
    return order_cmp(&a->report.order, &b->report.order);
}

static int by_order(const void *x, const void *y)
{
    return said_cmp(x, y);
}

void history_sorted(const struct history *h, struct history *ret)
{
    size_t kept = 0;

    *ret = *h;
    qsort(ret->v, ret->n, sizeof(ret->v[0]), by_order);
    for (size_t i = 0; i < ret->n; i++)
        if (kept == 0 || said_cmp(&ret->v[kept - 1], &ret->v[i]) != 0)
            ret->v[kept++] = ret->v[i];
    ret->n = kept;
}

/* Stable, by when each would be heard. */
static void arrive(struct history *h, size_t from, const int64_t *heard)
{
    int64_t key[HISTORY_MAX];

    memcpy(key, heard, sizeof(key));
    for (size_t i = from + 1; i < h->n; i++) {
        const struct said s = h->v[i];
        const int64_t k = key[i];
        size_t j = i;
        for (; j > from && key[j - 1] > k; j--) {
            h->v[j] = h->v[j - 1];
            key[j] = key[j - 1];
        }
        h->v[j] = s;
        key[j] = k;
    }
}

static void put_in_arrival(struct dice *d, const struct profile *p, struct history *h, size_t from)
{
    const int64_t lag[2] = {0, STEP * below(d, (uint32_t)(WINDOW / STEP))};
    int64_t heard[HISTORY_MAX] = {0};

    qsort(h->v, h->n, sizeof(h->v[0]), by_order);
    for (size_t i = from; i < h->n; i++) {
        heard[i] = h->v[i].report.order.at;
        if (p->arrival == LAGGING)
            heard[i] += lag[h->v[i].partition];
        if (p->arrival == ANY_ORDER)
            heard[i] = below(d, 1000);
    }
    arrive(h, from, heard);
}

static void insert_at(struct history *h, size_t i, struct said s)
{
    memmove(&h->v[i + 1], &h->v[i], (h->n - i) * sizeof(h->v[0]));
    h->v[i] = s;
    h->n++;
}

/* Sent again, by ingest or by Kafka: later, but within a window. */
static void add_copies(struct dice *d, struct history *h, size_t from)
{
    for (uint32_t c = below(d, 6); c > 0 && from < h->n && h->n < HISTORY_MAX - 10; c--) {
        const size_t i = from + below(d, (uint32_t)(h->n - from));
        size_t to = i + 1 + below(d, (uint32_t)(h->n - i));
        const struct said s = h->v[i];
        for (size_t j = from; j < to; j++)
            if (h->v[j].report.order.at > s.report.order.at + WINDOW)
                to = j;
        insert_at(h, to, s);
    }
}

/* When silence would be over for what was heard of the alert up to v[i]: its promise, or a
 * millisecond after its newest word. */
static int64_t quiet_from(const struct history *h, size_t i, uint32_t alert)
{
    int64_t at = 0;

    for (size_t j = 0; j <= i; j++) {
        const struct report *r = &h->v[j].report;
        if (h->v[j].alert != alert || h->v[j].input != SAID)
            continue;
        if (r->order.at >= at)
            at = r->order.at + 1;
        if (r->kind == REPORT_FIRING && r->ends_at > at)
            at = r->ends_at;
    }
    return at;
}

/* A report that was received before the alert fell silent, promises to or beyond the silence, and
 * comes after it was judged. */
static struct said late_promise(struct dice *d, const struct said *heard, int64_t silence)
{
    static const int64_t beyond[] = {-1, 0, 1, STEP};
    struct said s = *heard;

    s.report = (struct report){.kind = REPORT_FIRING,
                               .order = heard->report.order,
                               .starts_at = heard->report.starts_at,
                               .ends_at = silence + beyond[below(d, 4)]};
    s.report.order.at--;
    s.report.order.request.b[4] = 1;
    return s;
}

static void add_silences(struct dice *d, struct history *h)
{
    for (uint32_t c = below(d, 4); c > 0 && h->n > 0 && h->n < HISTORY_MAX - 8; c--) {
        const size_t i = below(d, (uint32_t)h->n);
        const struct said heard = h->v[i];
        struct said s = {.input = SILENCE, .alert = heard.alert};
        if (heard.input != SAID)
            continue;
        s.report.order.at = quiet_from(h, i, s.alert) + (one_in(d, 2) ? 0 : 5 * STEP);
        insert_at(h, i + 1, s);
        if (one_in(d, 2))
            insert_at(h, i + 2, late_promise(d, &heard, s.report.order.at));
    }
}

static void add_acts(struct dice *d, struct history *h)
{
    for (uint32_t c = below(d, 3); c > 0 && h->n > 0 && h->n < HISTORY_MAX - 2; c--) {
        const size_t i = below(d, (uint32_t)h->n);
        const struct said s = {.input = BY_HAND,
                               .alert = h->v[i].alert,
                               .report.order.at = h->v[i].report.order.at + 1};
        h->v[i].cut = true;
        insert_at(h, i + 1, s);
    }
}

/* What came before: all ends more than a window ago. What still fires may have been repeated since.
 */
static void make_prelude(struct maker *m, const struct profile *p, const uint32_t nature[ALERTS])
{
    m->from = BASE - 10 * WINDOW;
    m->to = BASE - WINDOW - 1;
    m->earlier = true;
    for (uint32_t i = below(m->d, p->motifs) + 1; i > 0; i--) {
        m->alert = below(m->d, p->alerts);
        any_scene(m, nature, false);
    }
    m->from = BASE - WINDOW;
    m->to = BASE - 1;
    if (one_in(m->d, 2)) {
        m->alert = below(m->d, p->alerts);
        const int64_t at = some_time(m);
        fires(m, at, nature[m->alert] < 5 ? at - a_while(m) : 0);
    }
    m->earlier = false;
}

void history_make(struct dice *d, const struct profile *p, struct history *ret)
{
    struct maker m = {.d = d, .h = ret};
    uint32_t nature[ALERTS];

    memset(ret, 0, sizeof(*ret));
    ret->limits = p->limits;
    ret->open_limit = p->open_limit > 0 ? 1 + below(d, (uint32_t)p->open_limit) : 0;
    for (size_t i = 0; i < ALERTS; i++)
        nature[i] = below(d, 10);
    if (p->prelude)
        make_prelude(&m, p, nature);
    const size_t from = ret->n;
    m.from = BASE;
    m.to = BASE + p->span;
    for (uint32_t i = below(d, p->motifs) + 1; i > 0; i--) {
        m.alert = below(d, p->alerts);
        any_scene(&m, nature, p->storms);
    }
    put_in_arrival(d, p, ret, from);
    if (p->copies)
        add_copies(d, ret, from);
    if (p->silences)
        add_silences(d, ret);
    const uint32_t piece = 1 + below(d, 8);
    for (size_t i = 0; i < ret->n; i++)
        ret->v[i].cut = one_in(d, piece);
    if (p->by_hand)
        add_acts(d, ret);
    if (from > 0)
        ret->v[from - 1].cut = true;
}

/* ---- reading it ---- */

/* The facts keep an end's first and last report; of one that is told again and again, and equals a
 * mark to the millisecond, the reports between are not known. */
static int64_t end_told(const struct report *r)
{
    return r->ends_at == 0 || r->ends_at > r->order.at ? r->order.at : r->ends_at;
}

static bool told_thrice(const struct history *h, const struct said *end)
{
    uint32_t n = 0;

    for (size_t i = 0; i < h->n; i++)
        n += h->v[i].alert == end->alert && h->v[i].report.kind == REPORT_RESOLVED &&
             end_told(&h->v[i].report) == end_told(&end->report);
    return end->report.kind == REPORT_RESOLVED && n > 2;
}

bool history_is_bounded(const struct history *h)
{
    uint32_t said[ALERTS] = {0};

    for (size_t i = 0; i < h->n; i++)
        if (told_thrice(h, &h->v[i]) || ++said[h->v[i].alert] > h->limits.marks - 4)
            return false;
    return true;
}
