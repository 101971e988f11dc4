/*
 * Short words for reports, and a small seeded generator of them, for the tests of merging. Times
 * are seconds after a fixed moment.
 */
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "processor/change.h"
#include "testing.h"

#define BASE INT64_C(1767322800000) /* 2026-01-02 03:00:00 UTC */
#define WINDOW INT64_C(600000)
#define SEC(s) (BASE + (int64_t)((s)*1000))

static const struct merge_limits roomy = {.window_ms = WINDOW, .starts = 64, .marks = 64};

/* Requests are numbered, so that equal receive times have an order. */
__attribute__((unused)) static struct report report(enum report_kind kind, double at, double start,
                                                    double end)
{
    static uint32_t request;
    struct report r = {.kind = kind, .order.at = SEC(at)};

    request++;
    for (unsigned i = 0; i < 4; i++)
        r.order.request.b[i] = (unsigned char)(request >> (24 - 8 * i));
    r.starts_at = start < 0 ? 0 : SEC(start);
    r.ends_at = end < 0 ? 0 : SEC(end);
    return r;
}

#define FIRING(at, start) report(REPORT_FIRING, at, start, -1)
#define PROMISED(at, start, until) report(REPORT_FIRING, at, start, until)
#define TRIGGER(at) report(REPORT_FIRING, at, -1, -1)
#define RESOLVE(at) report(REPORT_RESOLVED, at, -1, -1)
#define ENDED_AT(at, end) report(REPORT_RESOLVED, at, -1, end)
#define OPENED(at) report(REPORT_OPENED, at, -1, -1)

__attribute__((unused)) static struct report event(double at, const char *id)
{
    struct report r = report(REPORT_OCCURRED, at, -1, -1);

    r.event_id = slice_of(id);
    return r;
}

/* ---- the generator ---- */

struct dice {
    uint64_t state;
};

__attribute__((unused)) static uint64_t roll(struct dice *d)
{
    d->state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    uint64_t z = d->state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

__attribute__((unused)) static uint32_t below(struct dice *d, uint32_t n)
{
    return (uint32_t)(roll(d) % n);
}

enum profile { STATES, TRIGGERS, EVENTS, MIXED, PROFILES };

static const char *const event_names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};

/* One report somewhere in [0, span) seconds; few distinct values, so that they meet. */
__attribute__((unused)) static struct report any_report(struct dice *d, enum profile p,
                                                        uint32_t span)
{
    const double at = below(d, span), start = (double)below(d, span / 20 + 1) * 20 - 40;
    const uint32_t what = below(d, 100);

    if (p == MIXED)
        p = (enum profile)below(d, MIXED);
    if (what < 30)
        return below(d, 2) ? RESOLVE(at)
                           : ENDED_AT(at, at > 30 ? at - (double)below(d, 30) : 1 + at);
    if (p == STATES)
        return report(REPORT_FIRING, at, start > at || start < 0 ? at : start,
                      below(d, 4) ? -1 : at + 1 + below(d, 300));
    if (p == TRIGGERS)
        return TRIGGER(at);
    if (what < 55)
        return OPENED(at);
    return event(at, below(d, 6) ? event_names[below(d, 8)] : "");
}

__attribute__((unused)) static int report_cmp(const void *x, const void *y)
{
    return order_cmp(&((const struct report *)x)->order, &((const struct report *)y)->order);
}

__attribute__((unused)) static void shuffle(struct dice *d, struct report *v, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        const size_t j = below(d, (uint32_t)i);
        const struct report tmp = v[i - 1];
        v[i - 1] = v[j];
        v[j] = tmp;
    }
}

/* What the rules say, from the reports alone: does anything that was reported fire? */
__attribute__((unused)) static bool is_over(const struct report *v, size_t n, int64_t began,
                                            const struct order *last)
{
    for (size_t i = 0; i < n; i++) {
        if (v[i].kind != REPORT_RESOLVED || order_cmp(&v[i].order, last) <= 0)
            continue;
        const int64_t end =
            v[i].ends_at == 0 || v[i].ends_at > v[i].order.at ? v[i].order.at : v[i].ends_at;
        if (end >= began)
            return true;
    }
    return false;
}

static int64_t start_of(const struct report *r)
{
    return r->starts_at < r->order.at ? r->starts_at : r->order.at;
}

__attribute__((unused)) static bool must_fire(const struct report *v, size_t n)
{
    const struct order *mark = NULL;

    for (size_t i = 0; i < n; i++) {
        if (v[i].kind == REPORT_RESOLVED || v[i].kind == REPORT_NOTE)
            continue;
        if (v[i].kind != REPORT_FIRING || v[i].starts_at == 0) {
            if (!mark || order_cmp(mark, &v[i].order) < 0)
                mark = &v[i].order;
            continue;
        }
        const struct order *last = &v[i].order;
        for (size_t j = 0; j < n; j++)
            if (v[j].kind == REPORT_FIRING && v[j].starts_at != 0 &&
                start_of(&v[j]) == start_of(&v[i]) && order_cmp(&v[j].order, last) > 0)
                last = &v[j].order;
        if (!is_over(v, n, start_of(&v[i]), last))
            return true;
    }
    return mark && !is_over(v, n, mark->at, mark);
}
