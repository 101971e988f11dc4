#include "learner/decide.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/err.h"

static const char *const names[] = {
    [OUTCOME_PENDING] = "pending",
    [OUTCOME_SUCCESS] = "success",
    [OUTCOME_FAILURE] = "failure",
    [OUTCOME_UNKNOWN] = "unknown",
};

const char *outcome_name(enum outcome o)
{
    return o >= OUTCOME_PENDING && o <= OUTCOME_UNKNOWN ? names[o] : "unknown";
}

bool outcome_parse(struct slice s, enum outcome *ret)
{
    for (int i = OUTCOME_PENDING; i <= OUTCOME_UNKNOWN; i++) {
        if (slice_is(s, names[i])) {
            *ret = (enum outcome)i;
            return true;
        }
    }
    return false;
}

static struct decision decided(enum outcome o, const char *fmt, ...) PRINTF_LIKE(2, 3);
static struct decision decided(enum outcome o, const char *fmt, ...)
{
    struct decision d = {.outcome = o};
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(d.reason, sizeof(d.reason), fmt, ap);
    va_end(ap);
    return d;
}

static struct decision pending(int64_t look_at)
{
    return (struct decision){.outcome = OUTCOME_PENDING, .look_at = look_at};
}

/* The end that this attempt may have brought: the incident was over when it was reported, or the
 * first end after it. NULL: none. */
static const struct event *end_after(const struct attempt *a, const struct history *h)
{
    const struct event *before = NULL, *after = NULL;

    for (size_t i = 0; i < h->event_n && !after; i++) {
        const struct event *v = &h->events[i];
        if (v->at <= a->at)
            before = v;
        else if (v->kind != EVENT_REOPENED)
            after = v;
    }
    return before && before->kind != EVENT_REOPENED ? before : after;
}

/* When it fired again within the stability window; 0: it did not; -1: nobody can tell. */
static int64_t fired_again(const struct history *h, int64_t end, const struct windows *w)
{
    const int64_t until = end + w->stability;

    for (size_t i = 0; i < h->event_n; i++)
        if (h->events[i].kind == EVENT_REOPENED && h->events[i].at >= end &&
            h->events[i].at <= until)
            return h->events[i].at;
    for (size_t i = 0; i < h->occurrence_n; i++)
        if (h->occurrences[i] > end && h->occurrences[i] <= until)
            return h->occurrences[i];
    if (h->forgotten <= end)
        return 0;
    return h->forgotten <= until ? h->forgotten : -1;
}

static struct decision judge_quiet(const struct attempt *a, const struct history *h,
                                   const struct windows *w, int64_t end, int64_t now_ms)
{
    const int64_t again = fired_again(h, end, w);
    char text[RFC3339_MAX];

    if (again > 0)
        return decided(OUTCOME_FAILURE, "it fired again %s after it had resolved",
                       duration_format((again - end) / MS_SECOND * MS_SECOND, text));
    if (again < 0)
        return decided(OUTCOME_UNKNOWN, "too much happened since to tell whether it stayed quiet");
    if (now_ms < end + w->stability + w->lag)
        return pending(end + w->stability + w->lag);
    if (a->claim == OUTCOME_FAILURE)
        return decided(OUTCOME_UNKNOWN, "reported as a failure, but the incident resolved");
    return decided(OUTCOME_SUCCESS, "resolved, and quiet for %s",
                   duration_format(w->stability, text));
}

struct decision decide(const struct attempt *a, const struct history *h, const struct windows *w,
                       int64_t now_ms)
{
    const struct event *end;
    char text[RFC3339_MAX];

    if (!h->known)
        return decided(OUTCOME_UNKNOWN, "no such incident");
    if (a->verified)
        return decided(a->claim, "verified by the reporter");
    end = end_after(a, h);
    if (!end && h->resolved_at > 0 && h->resolved_at < a->at)
        return decided(OUTCOME_UNKNOWN, "reported after the incident was over");
    if (!end || end->at > a->at + w->settle) {
        if (now_ms < a->at + w->settle + w->lag)
            return pending(a->at + w->settle + w->lag);
        return decided(OUTCOME_FAILURE, "not resolved within %s", duration_format(w->settle, text));
    }
    if (end->kind == EVENT_RESOLVED_MUTELY)
        return decided(OUTCOME_UNKNOWN, "a person resolved it without a word");
    if (end->kind == EVENT_EXPIRED)
        return decided(OUTCOME_UNKNOWN, "it ended by silence");
    if (h->other_at > 0 && h->other_at <= end->at)
        return decided(OUTCOME_UNKNOWN, "%.*s was tried before it resolved",
                       h->other_action.len > 80 ? 80 : (int)h->other_action.len,
                       h->other_action.p ? h->other_action.p : "");
    return judge_quiet(a, h, w, end->at, now_ms);
}
