/* The awkward cases, found by looking at a history rather than by what its maker meant. */
#include "history.h"

static const char *const names[AWKWARDS] = {
    [HA_PAIR] = "an HA pair with different starts",
    [REFIRE_EQUAL_START] = "fires again with its old start after an end",
    [STARTLESS_TTRT] = "trigger, trigger, resolve, trigger without starts",
    [RESOLVE_ARRIVES_FIRST] = "a resolve arrives before its firing",
    [FUTURE_START] = "a start in the future",
    [ENDS_AT_WITHOUT_STARTS] = "an end with a time for firings without starts",
    [PARTITION_LAGS] = "one partition lags",
    [RESOLVE_OF_UNKNOWN] = "a resolve of an unknown alert",
    [EVENT_TOLD_TWICE] = "an event with an id, told twice",
    [EVENT_WITHOUT_ID] = "an event without an id",
    [OPENED_THEN_EVENT] = "an opening, then its event",
    [MARK_CAP] = "more marks than the cap",
    [START_CAP] = "more starts than the cap",
    [COVERS_TOUCH] = "covers exactly one window apart",
    [COVERS_JUST_APART] = "covers one window and a millisecond apart",
    [EQUAL_TIMES] = "equal receive times, different requests",
    [TWICE_IN_ONE_BODY] = "one alert twice in one body",
    [END_EQUALS_START] = "an end that equals a start",
    [SAME_END_AGAIN] = "the same end told again",
    [COPY_OF_A_RECORD] = "a copy of a record",
    [PROMISED_UNTIL] = "a promise",
};

const char *awkward_name(enum awkward c)
{
    return names[c];
}

static bool fires(const struct said *s)
{
    return s->report.kind == REPORT_FIRING;
}

static bool has_start(const struct said *s)
{
    return fires(s) && s->report.starts_at > 0;
}

static bool is_mark(const struct said *s)
{
    return s->report.kind == REPORT_OPENED || s->report.kind == REPORT_OCCURRED ||
           (fires(s) && s->report.starts_at == 0);
}

static bool ends(const struct said *s)
{
    return s->report.kind == REPORT_RESOLVED;
}

static bool later(const struct said *a, const struct said *b)
{
    return order_cmp(&a->report.order, &b->report.order) < 0;
}

/* ---- one record ---- */

static uint32_t of_one(const struct said *s)
{
    uint32_t found = 0;

    if (has_start(s) && s->report.starts_at > s->report.order.at)
        found |= 1U << FUTURE_START;
    if (s->report.kind == REPORT_OCCURRED && s->report.event_id.len == 0)
        found |= 1U << EVENT_WITHOUT_ID;
    if (fires(s) && s->report.ends_at > s->report.order.at)
        found |= 1U << PROMISED_UNTIL;
    return found;
}

/* ---- two of one alert, `a` received before `b` or in the same request ---- */

static uint32_t of_starts(const struct said *a, const struct said *b)
{
    const int64_t apart = b->report.starts_at - a->report.order.at;
    uint32_t found = 0;

    if (a->report.starts_at != b->report.starts_at &&
        b->report.order.at - a->report.order.at < 60 * SECOND &&
        llabs(a->report.starts_at - b->report.starts_at) < 60 * SECOND)
        found |= 1U << HA_PAIR;
    if (b->report.starts_at <= b->report.order.at && apart == WINDOW)
        found |= 1U << COVERS_TOUCH;
    if (b->report.starts_at <= b->report.order.at && apart == WINDOW + 1)
        found |= 1U << COVERS_JUST_APART;
    return found;
}

static uint32_t of_two(const struct said *a, const struct said *b)
{
    const bool same_at = a->report.order.at == b->report.order.at;
    const bool same_request = uuid_cmp(&a->report.order.request, &b->report.order.request) == 0;
    uint32_t found = 0;

    if (has_start(a) && has_start(b))
        found |= of_starts(a, b);
    if (is_mark(a) && ends(b) && b->report.ends_at > 0)
        found |= 1U << ENDS_AT_WITHOUT_STARTS;
    if (same_at && !same_request && ends(a) != ends(b))
        found |= 1U << EQUAL_TIMES;
    if (same_at && same_request && a->report.order.index != b->report.order.index)
        found |= 1U << TWICE_IN_ONE_BODY;
    if (has_start(a) && ends(b) && b->report.ends_at == a->report.starts_at)
        found |= 1U << END_EQUALS_START;
    if (ends(a) && ends(b) && a->report.ends_at > 0 && a->report.ends_at == b->report.ends_at)
        found |= 1U << SAME_END_AGAIN;
    if (a->report.kind == REPORT_OPENED && b->report.kind == REPORT_OCCURRED)
        found |= 1U << OPENED_THEN_EVENT;
    if (a->report.kind == REPORT_OCCURRED && b->report.kind == REPORT_OCCURRED &&
        a->report.event_id.len > 0 && slice_eq(a->report.event_id, b->report.event_id))
        found |= 1U << EVENT_TOLD_TWICE;
    return found;
}

/* ---- more than two ---- */

static uint32_t of_end_between(const struct said *a, const struct said *end, const struct said *b)
{
    if (has_start(a) && has_start(b) && a->report.starts_at == b->report.starts_at &&
        (end->report.ends_at == 0 || end->report.ends_at >= a->report.starts_at))
        return 1U << REFIRE_EQUAL_START;
    return 0;
}

static bool trigger_before(const struct history *h, const struct said *s)
{
    for (size_t i = 0; i < h->n; i++)
        if (h->v[i].alert == s->alert && is_mark(&h->v[i]) && fires(&h->v[i]) && later(&h->v[i], s))
            return true;
    return false;
}

static uint32_t of_three(const struct history *h, const struct said *a, const struct said *b)
{
    uint32_t found = 0;

    if (!fires(a) || !fires(b))
        return 0;
    for (size_t i = 0; i < h->n; i++) {
        const struct said *end = &h->v[i];
        if (end->alert != a->alert || !ends(end) || !later(a, end) || !later(end, b))
            continue;
        found |= of_end_between(a, end, b);
        if (is_mark(a) && is_mark(b) && trigger_before(h, a))
            found |= 1U << STARTLESS_TTRT;
    }
    return found;
}

static bool start_is_new(const struct history *h, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (h->v[j].alert == h->v[i].alert && has_start(&h->v[j]) &&
            h->v[j].report.starts_at == h->v[i].report.starts_at)
            return false;
    return true;
}

static uint32_t of_alert(const struct history *h, uint32_t alert)
{
    uint32_t marks = 0, starts = 0, over = 0;

    for (size_t i = 0; i < h->n; i++) {
        if (h->v[i].alert != alert || h->v[i].input != SAID)
            continue;
        marks += is_mark(&h->v[i]);
        starts += has_start(&h->v[i]) && start_is_new(h, i);
        over += ends(&h->v[i]);
    }
    return (over > 0 && marks + starts == 0 ? 1U << RESOLVE_OF_UNKNOWN : 0) |
           (marks > h->limits.marks ? 1U << MARK_CAP : 0) |
           (starts > h->limits.starts ? 1U << START_CAP : 0);
}

/* `late` arrived after `early` although it was received before. */
static uint32_t of_arrival(const struct said *early, const struct said *late)
{
    uint32_t found = 0;

    if (early->alert == late->alert && ends(early) && fires(late))
        found |= 1U << RESOLVE_ARRIVES_FIRST;
    if (early->partition != late->partition &&
        early->report.order.at - late->report.order.at > 60 * SECOND)
        found |= 1U << PARTITION_LAGS;
    return found;
}

uint32_t awkward_in(const struct history *h)
{
    uint32_t found = 0;

    for (uint32_t i = 0; i < ALERTS; i++)
        found |= of_alert(h, i);
    for (size_t i = 0; i < h->n; i++) {
        const struct said *a = &h->v[i];
        if (a->input != SAID)
            continue;
        found |= of_one(a);
        for (size_t j = 0; j < h->n; j++) {
            const struct said *b = &h->v[j];
            if (b->input != SAID || j == i)
                continue;
            if (j > i && later(b, a))
                found |= of_arrival(a, b);
            if (a->alert != b->alert)
                continue;
            if (order_cmp(&a->report.order, &b->report.order) == 0)
                found |= 1U << COPY_OF_A_RECORD;
            else if (later(a, b))
                found |= of_two(a, b) | of_three(h, a, b);
        }
    }
    return found;
}
