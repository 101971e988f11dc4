/* The facts of one alert and the state they add up to. The rules stand in merge.h. */
#include "processor/merge.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int order_cmp(const struct order *a, const struct order *b)
{
    if (a->at != b->at)
        return a->at < b->at ? -1 : 1;
    const int c = uuid_cmp(&a->request, &b->request);
    if (c != 0)
        return c;
    return (a->index > b->index) - (a->index < b->index);
}

static bool before(const struct order *a, const struct order *b)
{
    return order_cmp(a, b) < 0;
}

void facts_init(struct facts *f)
{
    memset(f, 0, sizeof(*f));
}

static uint32_t cap_of(uint32_t limit)
{
    return limit == 0 || limit > MERGE_MAX ? MERGE_MAX : limit;
}

static void widen(struct order *first, struct order *last, const struct order *o)
{
    if (before(o, first))
        *first = *o;
    if (before(last, o))
        *last = *o;
}

/* ---- is it over? ---- */

/* The end that closed what began at `start` and was last reported at `last`: the earliest such
 * report. NULL: it is not over. */
static const struct fact_end *end_of(const struct facts *f, int64_t start, const struct order *last)
{
    const struct fact_end *found = NULL;

    for (uint32_t i = 0; i < f->end_n; i++) {
        const struct fact_end *e = &f->ends[i];
        if (e->end < start || !before(last, &e->last) || (e->silence && f->promise > e->end))
            continue;
        if (!found || before(&e->last, &found->last))
            found = e;
    }
    return found;
}

/* ---- adding ---- */

/* Over the cap, forget the start that matters least: the oldest that is over, else the second
 * oldest (the oldest names the occurrence). */
static void drop_start(struct facts *f)
{
    uint32_t victim = 1;

    for (uint32_t i = 0; i < f->start_n; i++) {
        if (end_of(f, f->starts[i].start, &f->starts[i].last)) {
            victim = i;
            break;
        }
    }
    f->start_n--;
    memmove(&f->starts[victim], &f->starts[victim + 1],
            (f->start_n - victim) * sizeof(f->starts[0]));
}

static void add_start(struct facts *f, int64_t start, const struct order *o, uint32_t cap)
{
    uint32_t i = 0;

    while (i < f->start_n && f->starts[i].start < start)
        i++;
    if (i < f->start_n && f->starts[i].start == start) {
        widen(&f->starts[i].first, &f->starts[i].last, o);
        return;
    }
    if (f->start_n == cap) {
        drop_start(f);
        add_start(f, start, o, cap);
        return;
    }
    memmove(&f->starts[i + 1], &f->starts[i], (f->start_n - i) * sizeof(f->starts[0]));
    f->starts[i] = (struct fact_start){.start = start, .first = *o, .last = *o};
    f->start_n++;
}

static void add_end(struct facts *f, int64_t end, const struct order *o, bool silence, uint32_t cap)
{
    uint32_t i = 0;

    while (i < f->end_n &&
           (f->ends[i].end < end || (f->ends[i].end == end && f->ends[i].silence < silence)))
        i++;
    if (i < f->end_n && f->ends[i].end == end && f->ends[i].silence == silence) {
        widen(&f->ends[i].first, &f->ends[i].last, o);
        return;
    }
    if (f->end_n == cap) {
        if (i == 0)
            return; /* older than all that is kept */
        memmove(&f->ends[0], &f->ends[1], (f->end_n - 1) * sizeof(f->ends[0]));
        f->end_n--;
        i--;
    }
    memmove(&f->ends[i + 1], &f->ends[i], (f->end_n - i) * sizeof(f->ends[0]));
    f->ends[i] = (struct fact_end){.end = end, .first = *o, .last = *o, .silence = silence};
    f->end_n++;
}

/* Between two ends only the first and the last mark of a kind say anything: over the cap, one from
 * the middle goes. */
static void drop_mark(struct facts *f)
{
    uint32_t victim = f->mark_n / 2;

    for (uint32_t i = 1; i + 1 < f->mark_n; i++) {
        if (f->marks[i - 1].kind == f->marks[i].kind && f->marks[i].kind == f->marks[i + 1].kind) {
            victim = i;
            break;
        }
    }
    f->mark_n--;
    memmove(&f->marks[victim], &f->marks[victim + 1], (f->mark_n - victim) * sizeof(f->marks[0]));
}

static void add_mark(struct facts *f, enum report_kind kind, const struct order *o, uint32_t cap)
{
    uint32_t i = 0;

    while (i < f->mark_n && before(&f->marks[i].order, o))
        i++;
    if (i < f->mark_n && order_cmp(&f->marks[i].order, o) == 0)
        return;
    if (f->mark_n == cap) {
        drop_mark(f);
        add_mark(f, kind, o, cap);
        return;
    }
    memmove(&f->marks[i + 1], &f->marks[i], (f->mark_n - i) * sizeof(f->marks[0]));
    f->marks[i] = (struct fact_mark){.order = *o, .kind = kind};
    f->mark_n++;
}

void facts_add(struct facts *f, const struct report *r, const struct merge_limits *lim)
{
    if (r->kind == REPORT_NOTE)
        return;
    if (before(&f->newest, &r->order))
        f->newest = r->order;
    if (r->kind == REPORT_RESOLVED) {
        /* An end in the future is one at its receipt: nothing that has not begun can be over. */
        const int64_t end = r->ends_at == 0 || r->ends_at > r->order.at ? r->order.at : r->ends_at;
        add_end(f, end, &r->order, false, cap_of(lim->starts));
        return;
    }
    if (r->kind == REPORT_FIRING && r->ends_at > f->promise)
        f->promise = r->ends_at;
    if (r->kind == REPORT_FIRING && r->starts_at > 0)
        add_start(f, r->starts_at < r->order.at ? r->starts_at : r->order.at, &r->order,
                  cap_of(lim->starts));
    else
        add_mark(f, r->kind, &r->order, cap_of(lim->marks));
}

void facts_add_silence(struct facts *f, int64_t at_ms, const struct merge_limits *lim)
{
    struct order o = f->newest;

    o.index = UINT32_MAX;
    add_end(f, at_ms, &o, true, cap_of(lim->starts));
}

/* ---- deriving ---- */

/* Does an end lie between what began at `from` and what begins at `to`? */
static bool end_between(const struct facts *f, int64_t from, int64_t to)
{
    for (uint32_t i = 0; i < f->end_n; i++)
        if (f->ends[i].end >= from && f->ends[i].end < to)
            return true;
    return false;
}

/* Was something that mark `m` stands in line with ended between marks `a` and `b`? */
static bool end_reported_between(const struct facts *f, const struct order *a,
                                 const struct order *b)
{
    for (uint32_t i = 0; i < f->end_n; i++)
        if ((before(a, &f->ends[i].first) && before(&f->ends[i].first, b)) ||
            (before(a, &f->ends[i].last) && before(&f->ends[i].last, b)))
            return true;
    return false;
}

static struct occurrence *add_occurrence(struct alert_state *s, struct occurrence o)
{
    s->occurrences[s->occurrence_n] = o;
    return &s->occurrences[s->occurrence_n++];
}

static void derive_starts(const struct facts *f, int64_t window, struct alert_state *ret)
{
    struct occurrence *current = NULL;
    int64_t cover_end = 0;

    for (uint32_t i = 0; i < f->start_n; i++) {
        const struct fact_start *s = &f->starts[i];
        const bool open = !end_of(f, s->start, &s->last);
        const bool joins =
            current && (s->start <= cover_end || (s->start - cover_end <= window &&
                                                  !end_between(f, current->start, s->start)));
        if (!joins) {
            current = add_occurrence(ret, (struct occurrence){BY_START, s->start, s->first});
            cover_end = s->last.at;
        } else {
            if (before(&s->first, &current->order))
                current->order = s->first;
            if (s->last.at > cover_end)
                cover_end = s->last.at;
        }
        if (open) {
            if (!ret->firing || current->start < ret->starts_at)
                ret->starts_at = current->start;
            ret->firing = true;
        } else if (!ret->firing) {
            ret->starts_at = current->start;
        }
    }
}

/* Marks between two ends are a run. A run's OPENED counts only when no event is in it; its first
 * FIRING always does. */
static void derive_run(const struct facts *f, uint32_t from, uint32_t to, struct alert_state *ret)
{
    const struct fact_mark *firing = NULL, *opened = NULL;
    bool events = false;

    for (uint32_t i = from; i < to; i++) {
        const struct fact_mark *m = &f->marks[i];
        if (m->kind == REPORT_FIRING && !firing)
            firing = m;
        if (m->kind == REPORT_OPENED && !opened)
            opened = m;
        events |= m->kind == REPORT_OCCURRED;
    }
    if (firing)
        (void)add_occurrence(ret, (struct occurrence){BY_MARK, firing->order.at, firing->order});
    if (opened && !events)
        (void)add_occurrence(ret, (struct occurrence){BY_MARK, opened->order.at, opened->order});
}

static void derive_marks(const struct facts *f, struct alert_state *ret)
{
    uint32_t from = 0;

    for (uint32_t i = 1; i <= f->mark_n; i++) {
        if (i < f->mark_n && !end_reported_between(f, &f->marks[i - 1].order, &f->marks[i].order))
            continue;
        derive_run(f, from, i, ret);
        if (i == f->mark_n) {
            const struct order *last = &f->marks[i - 1].order;
            const int64_t begin = f->marks[from].order.at;
            const bool open = !end_of(f, last->at, last);
            if (ret->starts_at == 0 || (open && !ret->firing))
                ret->starts_at = begin;
            ret->firing |= open;
        }
        from = i;
    }
}

/* The alert was over when the last of what it had begun was: each by the first report of its end
 * that came after its last firing. */
static void derive_end(const struct facts *f, struct alert_state *ret)
{
    for (uint32_t i = 0; i < f->start_n + (f->mark_n > 0); i++) {
        const struct order *last =
            i < f->start_n ? &f->starts[i].last : &f->marks[f->mark_n - 1].order;
        const struct fact_end *e = end_of(f, i < f->start_n ? f->starts[i].start : last->at, last);
        if (!e)
            continue;
        const int64_t at = e->silence                ? e->end
                           : before(last, &e->first) ? e->first.at
                                                     : e->last.at;
        if (at > ret->ended_at) {
            ret->ended_at = at;
            ret->by_silence = e->silence;
        }
    }
}

void facts_derive(const struct facts *f, const struct merge_limits *lim, struct alert_state *ret)
{
    memset(ret, 0, offsetof(struct alert_state, occurrences));
    derive_starts(f, lim->window_ms, ret);
    derive_marks(f, ret);
    if (!ret->firing)
        derive_end(f, ret);
}

/* ---- forgetting ---- */

void facts_prune(struct facts *f, const struct merge_limits *lim)
{
    const int64_t horizon = f->newest.at - lim->window_ms;
    uint32_t n = 0;

    /* A start goes when it is over, out of the window, and a later start remains. */
    for (uint32_t i = 0; i < f->start_n; i++) {
        const struct fact_start *s = &f->starts[i];
        const bool keep =
            s->last.at >= horizon || i + 1 == f->start_n || !end_of(f, s->start, &s->last);
        if (keep)
            f->starts[n++] = *s;
    }
    f->start_n = n;

    /* A mark goes when it is out of the window, unless it is the first or the last of the newest
     * run. */
    uint32_t run = f->mark_n ? f->mark_n - 1 : 0;
    while (run > 0 && !end_reported_between(f, &f->marks[run - 1].order, &f->marks[run].order))
        run--;
    n = 0;
    for (uint32_t i = 0; i < f->mark_n; i++) {
        const bool says_now = i + 1 == f->mark_n ||
                              (i >= run && (i == run || f->marks[i].kind != f->marks[i - 1].kind));
        if (f->marks[i].order.at >= horizon || says_now)
            f->marks[n++] = f->marks[i];
    }
    f->mark_n = n;

    /* An end goes when it is out of the window and a later one remains; but never one that closes a
     * fact we keep. */
    uint32_t kept = 0;
    for (uint32_t i = 0; i < f->end_n; i++) {
        bool keep = f->ends[i].last.at >= horizon || i + 1 == f->end_n;
        for (uint32_t j = 0; j < f->start_n && !keep; j++)
            keep = end_of(f, f->starts[j].start, &f->starts[j].last) == &f->ends[i];
        if (!keep && f->mark_n > 0) {
            const struct order *last = &f->marks[f->mark_n - 1].order;
            keep = end_of(f, last->at, last) == &f->ends[i];
        }
        if (keep && kept != i)
            f->ends[kept] = f->ends[i];
        kept += keep;
    }
    f->end_n = kept;
}

/* ---- names and bytes ---- */

static struct slice mark_identity(const struct order *o, struct arena *a)
{
    char request[UUID_STR];
    const char *s = arena_printf(a, "r:%" PRId64 ":%s:%" PRIu32, o->at,
                                 uuid_format(&o->request, request), o->index);

    return slice_of(s);
}

struct slice occurrence_identity(const struct occurrence *o, struct arena *a)
{
    if (o->by == BY_MARK)
        return mark_identity(&o->order, a);
    return slice_of(arena_printf(a, "s:%" PRId64, o->start));
}

struct slice event_identity(const struct report *r, struct arena *a)
{
    if (r->event_id.len == 0)
        return mark_identity(&r->order, a);
    return slice_of(arena_printf(a, "e:%.*s", SLICE_FMT(r->event_id)));
}

#define PACK_VERSION 1

/* The database and the workers are one installation, but not one architecture: numbers are little
 * endian. */
static void put_int(struct buf *b, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        buf_putc(b, (char)(v >> (8 * i) & 0xff));
}

static void put_order(struct buf *b, const struct order *o)
{
    put_int(b, (uint64_t)o->at, 8);
    buf_add(b, o->request.b, sizeof(o->request.b));
    put_int(b, o->index, 4);
}

struct slice facts_pack(const struct facts *f, struct arena *a)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT((size_t)64 << 10);

    put_int(&b, PACK_VERSION, 1);
    put_int(&b, f->start_n, 1);
    put_int(&b, f->end_n, 1);
    put_int(&b, f->mark_n, 1);
    put_int(&b, (uint64_t)f->promise, 8);
    put_order(&b, &f->newest);
    for (uint32_t i = 0; i < f->start_n; i++) {
        put_int(&b, (uint64_t)f->starts[i].start, 8);
        put_order(&b, &f->starts[i].first);
        put_order(&b, &f->starts[i].last);
    }
    for (uint32_t i = 0; i < f->end_n; i++) {
        put_int(&b, (uint64_t)f->ends[i].end, 8);
        put_order(&b, &f->ends[i].first);
        put_order(&b, &f->ends[i].last);
        put_int(&b, f->ends[i].silence, 1);
    }
    for (uint32_t i = 0; i < f->mark_n; i++) {
        put_order(&b, &f->marks[i].order);
        put_int(&b, f->marks[i].kind, 1);
    }
    return b.failed ? (struct slice){NULL, 0} : arena_slice(a, (struct slice){b.p, b.len});
}

struct reader {
    const unsigned char *p;
    size_t len;
    bool failed;
};

static uint64_t get_int(struct reader *r, unsigned bytes)
{
    uint64_t v = 0;

    if (r->len < bytes) {
        r->failed = true;
        return 0;
    }
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)r->p[i] << (8 * i);
    r->p += bytes;
    r->len -= bytes;
    return v;
}

static struct order get_order(struct reader *r)
{
    struct order o = {.at = (int64_t)get_int(r, 8)};

    for (size_t i = 0; i < sizeof(o.request.b); i++)
        o.request.b[i] = (unsigned char)get_int(r, 1);
    o.index = (uint32_t)get_int(r, 4);
    return o;
}

static void get_facts(struct reader *r, struct facts *f)
{
    f->start_n = (uint32_t)get_int(r, 1);
    f->end_n = (uint32_t)get_int(r, 1);
    f->mark_n = (uint32_t)get_int(r, 1);
    f->promise = (int64_t)get_int(r, 8);
    f->newest = get_order(r);
    if (f->start_n > MERGE_MAX || f->end_n > MERGE_MAX || f->mark_n > MERGE_MAX) {
        r->failed = true;
        return;
    }
    for (uint32_t i = 0; i < f->start_n; i++) {
        f->starts[i].start = (int64_t)get_int(r, 8);
        f->starts[i].first = get_order(r);
        f->starts[i].last = get_order(r);
    }
    for (uint32_t i = 0; i < f->end_n; i++) {
        f->ends[i].end = (int64_t)get_int(r, 8);
        f->ends[i].first = get_order(r);
        f->ends[i].last = get_order(r);
        f->ends[i].silence = get_int(r, 1) != 0;
    }
    for (uint32_t i = 0; i < f->mark_n; i++) {
        f->marks[i].order = get_order(r);
        f->marks[i].kind = (enum report_kind)get_int(r, 1);
    }
}

int facts_unpack(struct slice bytes, struct facts *ret, struct err *e)
{
    struct reader r = {(const unsigned char *)bytes.p, bytes.len, false};
    struct facts f;

    facts_init(&f);
    if (bytes.len > 0) {
        const bool known = get_int(&r, 1) == PACK_VERSION;
        if (known)
            get_facts(&r, &f);
        if (!known || r.failed || r.len > 0)
            return err_set(e, -EBADMSG, "facts of an alert: %zu bytes that are none", bytes.len);
    }
    *ret = f;
    return 0;
}
