/*
 * The packed facts of an alert. Stored bytes, whoever damaged them, are refused or are facts that
 * everything can be asked of; the second byte on as reports make facts that pack and unpack as
 * they are.
 */
#include <errno.h>

#include "fuzz.h"
#include "processor/merge.h"

static const struct merge_limits limits = {.window_ms = 600000, .starts = 8, .marks = 8};

static void check_state(const struct derived *s)
{
    MUST(s->occurrence_n <= 2 * MERGE_MAX);
    MUST(!s->state.firing || s->state.ended_at == 0);
    for (uint32_t i = 0; i < s->occurrence_n; i++) {
        MUST(s->occurrences[i].by == BY_START || s->occurrences[i].by == BY_MARK);
        MUST(occurrence_among(s, &s->occurrences[i]));
    }
}

/* The facts as bytes and back: the same bytes, the same state. */
static void check_round(const struct facts *f, struct arena *a)
{
    struct derived before, after;
    struct facts again;
    struct err e = {0};
    const struct slice packed = facts_pack(f, a);
    MUST(packed.p);
    MUST(facts_unpack(packed, &again, &e) == 0);
    MUST(slice_eq(facts_pack(&again, a), packed));
    facts_derive(f, &limits, &before);
    facts_derive(&again, &limits, &after);
    check_state(&before);
    MUST(before.state.firing == after.state.firing &&
         before.state.starts_at == after.state.starts_at);
    MUST(before.state.ended_at == after.state.ended_at &&
         before.state.by_silence == after.state.by_silence);
    MUST(before.occurrence_n == after.occurrence_n);
    for (uint32_t i = 0; i < before.occurrence_n; i++)
        MUST(occurrence_same(&before.occurrences[i], &after.occurrences[i]));
}

/* Facts that came from the database are worked on like any others. */
static void check_use(struct facts *f, struct arena *a)
{
    const struct report firing = {.order = f->newest, .kind = REPORT_FIRING, .starts_at = 1};
    facts_add(f, &firing, &limits);
    check_round(f, a);
    (void)facts_prune(f, &limits);
    check_round(f, a);
    MUST(f->start_n < MERGE_MAX && f->end_n < MERGE_MAX && f->mark_n < MERGE_MAX);
}

#define USED_MAX 32 /* forgetting is cubic in the facts: a full set would be all that is tried */

static void check_stored(struct slice bytes, struct arena *a)
{
    struct facts f;
    struct err e = {0};
    const int rc = facts_unpack(bytes, &f, &e);
    if (rc < 0) {
        MUST(rc == -EBADMSG && e.msg[0]);
        return;
    }
    MUST(f.start_n <= MERGE_MAX && f.end_n <= MERGE_MAX && f.mark_n <= MERGE_MAX);
    check_round(&f, a);
    if (f.start_n + f.end_n + f.mark_n <= USED_MAX)
        check_use(&f, a);
}

/* Four bytes are a report: kind, when it was received, when it says it began and ended. */
#define REPORT_LEN ((size_t)4)
#define REPORTS_MAX 20
static struct report report_of(const uint8_t *p, uint32_t i)
{
    static const int64_t minute = 60000;
    struct report r = {.kind = (enum report_kind)(p[0] % 4 + 1)};
    r.order = (struct order){.at = 1000000 + p[1] * minute, .index = i};
    r.order.request.b[0] = p[0] >> 4;
    r.starts_at = p[2] ? 1000000 + (p[2] - 8) * minute : 0;
    r.ends_at = p[3] ? 1000000 + (p[3] - 8) * minute : 0;
    return r;
}

/* Below the caps a report that is added again changes nothing. */
static void check_again(const struct facts *f, const struct report *r, struct arena *a)
{
    struct facts twice = *f;
    if (f->start_n >= limits.starts || f->end_n >= limits.starts || f->mark_n >= limits.marks)
        return;
    facts_add(&twice, r, &limits);
    MUST(slice_eq(facts_pack(f, a), facts_pack(&twice, a)));
}

static void check_made(const uint8_t *p, size_t n, struct arena *a)
{
    struct facts f;
    facts_init(&f);
    for (size_t i = 0; i + REPORT_LEN <= n && i < REPORTS_MAX * REPORT_LEN; i += REPORT_LEN) {
        const struct report r = report_of(p + i, (uint32_t)(i / REPORT_LEN));
        facts_add(&f, &r, &limits);
        check_again(&f, &r, a);
    }
    check_round(&f, a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = fuzz_arena(0, (size_t)16 << 20);
    if (size == 0)
        return 0;
    if (data[0] == 0)
        check_made(data + 1, size - 1, a);
    else
        check_stored((struct slice){(const char *)data, size}, a);
    return 0;
}
