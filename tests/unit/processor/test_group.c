/* What is due to be said: every rule of groups, on plain values. */
#include "testing.h"

#include <stdio.h>

#include "common/clock.h"
#include "common/zone.h"
#include "processor/group.h"

#define T0 INT64_C(1767322800000) /* 2026-01-02 03:00:00 UTC */

static const struct receiver team = {.name = "team"};
static const struct route at_once = {.receiver = &team,
                                     .path = "{}",
                                     .by_incident = true,
                                     .repeat_interval_ms = 4 * MS_HOUR,
                                     .digest.at_minute = -1};
static const struct route slow = {.receiver = &team,
                                  .path = "{}",
                                  .group_wait_ms = 30 * MS_SECOND,
                                  .group_interval_ms = 5 * MS_MINUTE,
                                  .repeat_interval_ms = 4 * MS_HOUR,
                                  .digest.at_minute = -1};

static struct standing incident(enum incident_status status)
{
    return (struct standing){.kind = GROUP_INCIDENT,
                             .since_ms = T0,
                             .status = status,
                             .episode = 1,
                             .severity = SEVERITY_WARNING};
}

/* "opened crossing": what is due, one word each. */
static const char *due(const struct route *r, const struct standing *is, const struct said *last,
                       int64_t now, struct due out[DUE_MAX], int64_t *again)
{
    static char text[256];
    const size_t n = group_due(r, is, last, now, 0, out, again);
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < n; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i ? " " : "",
                                 due_name(out[i].kind));
    return text;
}

/* The newest of what was due is what was said. */
static struct said said(struct due *out, size_t i, int64_t seq)
{
    out[i].state.seq = seq;
    return out[i].state;
}

/* An integration that knows the incident as it is now. */
static struct said knows(const struct standing *is)
{
    struct due out[DUE_MAX];
    int64_t again;

    if (group_due(&at_once, is, &(struct said){0}, T0, 0, out, &again) < 1)
        fail_msg("nothing was due");
    struct said s = said(out, 0, 1);
    s.level = is->level;
    return s;
}

static void test_opening_and_every_level(void **state)
{
    struct standing is = incident(INCIDENT_OPEN);
    struct due out[DUE_MAX];
    int64_t again;

    (void)state;
    is.level = LEVEL_PERMANENT_FIX;
    is.severity = SEVERITY_CRITICAL;
    assert_string_equal(due(&at_once, &is, &(struct said){0}, T0, out, &again),
                        "opened crossing crossing crossing");
    assert_int_equal(out[0].state.level, LEVEL_NONE);
    assert_int_equal(out[1].state.level, LEVEL_REPEAT);
    assert_int_equal(out[2].state.level, LEVEL_ESCALATE);
    assert_int_equal(out[3].state.level, LEVEL_PERMANENT_FIX);
    assert_int_equal(again, T0 + 4 * MS_HOUR);

    const struct said last = said(out, 3, 4);
    assert_string_equal(due(&at_once, &is, &last, T0 + 1, out, &again), "");
    assert_int_equal(again, T0 + 4 * MS_HOUR);
}

/* The opening tells the level that the incident opened at; only later ones are crossings. */
static void test_opened_at_a_level(void **state)
{
    struct standing is = incident(INCIDENT_OPEN);
    struct due out[DUE_MAX];
    int64_t again;

    (void)state;
    is.level = is.opened_level = LEVEL_ESCALATE;
    assert_string_equal(due(&at_once, &is, &(struct said){0}, T0, out, &again), "opened");
    assert_int_equal(out[0].state.level, LEVEL_ESCALATE);
    const struct said last = said(out, 0, 1);
    is.level = LEVEL_PERMANENT_FIX;
    assert_string_equal(due(&at_once, &is, &last, T0 + 1, out, &again), "crossing");
}

static void test_group_wait(void **state)
{
    struct standing is = incident(INCIDENT_OPEN);
    struct due out[DUE_MAX];
    int64_t again;

    (void)state;
    assert_string_equal(due(&slow, &is, &(struct said){0}, T0 + 29999, out, &again), "");
    assert_int_equal(again, T0 + 30000);
    assert_string_equal(due(&slow, &is, &(struct said){0}, T0 + 30000, out, &again), "opened");
}

static void test_over_before_group_wait(void **state)
{
    struct standing is = incident(INCIDENT_RESOLVED);
    struct due out[DUE_MAX];
    int64_t again = 7;

    (void)state;
    is.episode_ms = T0 - MS_MINUTE; /* the group is younger than the episode */
    is.resolved_ms = T0 + slow.group_wait_ms - 1;
    assert_string_equal(due(&slow, &is, &(struct said){0}, T0 + MS_HOUR, out, &again), "");
    assert_int_equal(again, 0);
}

/* A backlog: it began and ended before anybody looked. Who had looked in time would have told it.
 */
static void test_over_before_a_late_look(void **state)
{
    struct standing is = incident(INCIDENT_RESOLVED);
    struct due out[DUE_MAX];
    int64_t again;

    (void)state;
    is.episode_ms = T0;
    is.resolved_ms = T0 + slow.group_wait_ms;
    assert_string_equal(due(&slow, &is, &(struct said){0}, T0 + MS_HOUR, out, &again),
                        "opened resolved");
    assert_false(out[0].state.resolved);
    assert_int_equal(out[0].state.word, INCIDENT_OPEN);
    assert_int_equal(out[0].at_ms, T0 + slow.group_wait_ms);
    assert_int_equal(out[1].at_ms, is.resolved_ms);
    assert_int_equal(again, 0);
    const struct said last = said(out, 1, 2);
    assert_string_equal(due(&slow, &is, &last, T0 + MS_DAY, out, &again), "");
    is.resolved_ms = T0;
    assert_string_equal(due(&at_once, &is, &(struct said){0}, T0, out, &again), "opened resolved");
    is.moved = true;
    assert_string_equal(due(&at_once, &is, &(struct said){0}, T0, out, &again), "");
}

static void test_group_interval_holds_news_back(void **state)
{
    struct standing is = incident(INCIDENT_OPEN);
    const struct said last = knows(&is);
    struct due out[DUE_MAX];
    int64_t again;

    (void)state;
    is.flushed_ms = T0;
    is.level = LEVEL_REPEAT;
    assert_string_equal(due(&slow, &is, &last, T0 + 5 * MS_MINUTE - 1, out, &again), "");
    assert_int_equal(again, T0 + 5 * MS_MINUTE);
    assert_string_equal(due(&slow, &is, &last, T0 + 5 * MS_MINUTE, out, &again), "crossing");
}

static void test_the_end(void **state)
{
    struct standing is = incident(INCIDENT_OPEN);
    struct said last = knows(&is);
    struct due out[DUE_MAX];
    int64_t again;

    (void)state;
    is.status = INCIDENT_RESOLVED;
    assert_string_equal(due(&at_once, &is, &last, T0 + 1, out, &again), "resolved");
    assert_true(out[0].state.resolved);
    assert_int_equal(out[0].state.word, INCIDENT_RESOLVED);
    assert_int_equal(again, 0);
    last = said(out, 0, 2);
    assert_string_equal(due(&at_once, &is, &last, T0 + MS_DAY, out, &again), "");
    assert_int_equal(again, 0);
}

/* A level that was crossed just before the end is still told, before the end. */
static void test_crossing_then_end(void **state)
{
    struct standing is = incident(INCIDENT_OPEN);
    const struct said last = knows(&is);
    struct due out[DUE_MAX];
    int64_t again;

    (void)state;
    is.status = INCIDENT_RESOLVED;
    is.level = LEVEL_REPEAT;
    assert_string_equal(due(&at_once, &is, &last, T0 + 1, out, &again), "crossing resolved");
    assert_false(out[0].state.resolved);
    assert_int_equal(out[0].state.word, INCIDENT_OPEN);
}

static void test_reopened(void **state)
{
    struct standing is = incident(INCIDENT_OPEN);
    struct said last = knows(&is);
    struct due out[DUE_MAX];
    int64_t again;

    (void)state;
    last.resolved = true;
    last.word = INCIDENT_RESOLVED;
    is.episode = 2;
    assert_string_equal(due(&at_once, &is, &last, T0 + 1, out, &again), "reopened");
    assert_false(out[0].state.resolved);
    assert_int_equal(out[0].state.episode, 2);
    assert_int_equal(again, T0 + 1 + 4 * MS_HOUR);
    is.level = LEVEL_REPEAT;
    assert_string_equal(due(&at_once, &is, &last, T0 + 1, out, &again), "reopened crossing");
    /* ... and over again before anybody looked, as they would have in time: they know it as
     * resolved */
    is.status = INCIDENT_RESOLVED;
    is.flushed_ms = T0;
    is.episode_ms = T0 + MS_MINUTE;
    is.resolved_ms = is.episode_ms + slow.group_interval_ms - 1;
    const int64_t later = T0 + MS_HOUR;
    assert_string_equal(due(&slow, &is, &last, later, out, &again), "");
    /* ... only because we looked late */
    is.resolved_ms++;
    assert_string_equal(due(&slow, &is, &last, later, out, &again), "reopened crossing resolved");
    assert_int_equal(out[0].at_ms, T0 + slow.group_interval_ms);
    assert_int_equal(out[1].at_ms, later);
    assert_int_equal(out[2].at_ms, is.resolved_ms);
    last = said(out, 2, 4);
    assert_string_equal(due(&slow, &is, &last, later + MS_HOUR, out, &again), "");
}

/* Nothing that fails for good is said again and again. */
static void test_late_but_looked_at(void **state)
{
    struct standing is = incident(INCIDENT_RESOLVED);
    struct due out[DUE_MAX];
    int64_t again;

    (void)state;
    is.episode_ms = T0;
    is.resolved_ms = T0 + MS_HOUR;
    is.flushed_ms = T0 + MS_HOUR;
    assert_string_equal(due(&slow, &is, &(struct said){0}, T0 + 2 * MS_HOUR, out, &again), "");
}

/* Over and open again between two looks: one message, not two and not none. */
static void test_flap(void **state)
{
    struct standing is = incident(INCIDENT_OPEN);
    const struct said last = knows(&is);
    struct due out[DUE_MAX];
    int64_t again;

    (void)state;
    is.episode = 3;
    assert_string_equal(due(&at_once, &is, &last, T0 + 1, out, &again), "reopened");
    is.status = INCIDENT_RESOLVED;
    assert_string_equal(due(&at_once, &is, &last, T0 + 1, out, &again), "resolved");
    assert_int_equal(out[0].state.episode, 3);
}

static void test_severity(void **state)
{
    struct standing is = incident(INCIDENT_OPEN);
    struct said last = knows(&is);
    struct due out[DUE_MAX];
    int64_t again;

    (void)state;
    is.severity = SEVERITY_CRITICAL;
    assert_string_equal(due(&at_once, &is, &last, T0 + 1, out, &again), "severity");
    assert_int_equal(out[0].state.severity, SEVERITY_CRITICAL);
    /* a crossing raises it: one message */
    is.level = LEVEL_REPEAT;
    assert_string_equal(due(&at_once, &is, &last, T0 + 1, out, &again), "crossing");
    last = said(out, 0, 2);
    assert_string_equal(due(&at_once, &is, &last, T0 + 2, out, &again), "");
}

static void test_acknowledged(void **state)
{
    struct standing is = incident(INCIDENT_OPEN);
    struct said last = knows(&is);
    struct due out[DUE_MAX];
    int64_t again;

    (void)state;
    is.status = INCIDENT_ACKNOWLEDGED;
    assert_string_equal(due(&at_once, &is, &last, T0 + 1, out, &again), "status");
    assert_int_equal(out[0].state.word, INCIDENT_ACKNOWLEDGED);
    assert_int_equal(again, 0);
    last = said(out, 0, 2);
    assert_string_equal(due(&at_once, &is, &last, T0 + MS_DAY, out, &again), "");
    assert_int_equal(again, 0);
    /* news all the same */
    is.level = LEVEL_REPEAT;
    assert_string_equal(due(&at_once, &is, &last, T0 + MS_DAY, out, &again), "crossing");
    is.status = INCIDENT_INVESTIGATING;
    assert_string_equal(due(&at_once, &is, &last, T0 + MS_DAY, out, &again), "crossing status");
    is.level = LEVEL_NONE;
    is.status = INCIDENT_RESOLVED;
    assert_string_equal(due(&at_once, &is, &last, T0 + MS_DAY, out, &again), "resolved");
}

/* Another owner is what a person did; nothing is said again for what was told without one. */
static void test_taken_over(void **state)
{
    struct standing is = incident(INCIDENT_OPEN);
    struct said last = knows(&is);
    struct due out[DUE_MAX];
    int64_t again;

    (void)state;
    is.status = INCIDENT_ACKNOWLEDGED; /* by nobody knows whom */
    assert_string_equal(due(&at_once, &is, &last, T0 + 1, out, &again), "status");
    last = said(out, 0, 2);
    is.owner = SLICE_LIT("ann");
    assert_string_equal(due(&at_once, &is, &last, T0 + 1, out, &again), "status");
    last = said(out, 0, 2);
    is.owner = SLICE_LIT("bob");
    assert_string_equal(due(&at_once, &is, &last, T0 + 2, out, &again), "status");
    assert_true(slice_is(out[0].state.owner, "bob"));
    assert_int_equal(again, 0);
    is.level = LEVEL_REPEAT;
    assert_string_equal(due(&at_once, &is, &last, T0 + 2, out, &again), "crossing status");
    is.level = LEVEL_NONE;
    is.moved = true;
    assert_string_equal(due(&at_once, &is, &last, T0 + 2, out, &again), "");
    is.moved = false;
    is.flushed_ms = T0 + 2;
    assert_string_equal(due(&slow, &is, &last, T0 + 3, out, &again), "");
    assert_int_equal(again, T0 + 2 + 5 * MS_MINUTE);
    is.flushed_ms = 0;
    /* back before anybody looked */
    is.owner = SLICE_LIT("ann");
    assert_string_equal(due(&at_once, &is, &last, T0 + 2, out, &again), "");
    /* told by who did not know owners */
    last.owner = (struct slice){0};
    assert_string_equal(due(&at_once, &is, &last, T0 + MS_DAY, out, &again), "");
    is.status = INCIDENT_INVESTIGATING;
    assert_string_equal(due(&at_once, &is, &last, T0 + MS_DAY, out, &again), "status");
    assert_true(slice_is(out[0].state.owner, "ann"));
    is.status = INCIDENT_RESOLVED;
    is.owner = SLICE_LIT("bob");
    last = said(out, 0, 3);
    assert_string_equal(due(&at_once, &is, &last, T0 + MS_DAY, out, &again), "resolved");
}

/* A silence made from a message, and its end, are news to those who were told of what still fires.
 */
static void test_silenced_from_a_message(void **state)
{
    struct standing is = incident(INCIDENT_ACKNOWLEDGED);
    struct said last = knows(&is);
    struct due out = {.kind = 0};
    int64_t again;

    (void)state;
    is.level = LEVEL_REPEAT;
    assert_false(group_silence_due(&slow, &is, &last, T0, &out, &again));
    is.silent_ms = T0 + MS_HOUR;
    is.silent_by = SLICE_LIT("ann");
    is.flushed_ms = T0;
    assert_false(group_silence_due(&slow, &is, &last, T0 + 1, &out, &again));
    assert_int_equal(again, T0 + 5 * MS_MINUTE);
    assert_true(group_silence_due(&at_once, &is, &last, T0 + 1, &out, &again));
    assert_string_equal(due_name(out.kind), "silence");
    assert_int_equal(out.state.silent_ms, T0 + MS_HOUR);
    assert_true(slice_is(out.state.silent_by, "ann"));
    assert_int_equal(out.state.level, LEVEL_NONE); /* which is not told by this */
    assert_int_equal(out.state.at, last.at);
    assert_false(group_silence_due(&at_once, &is, &(struct said){0}, T0 + 1, &out, &again));
    last = said(&out, 0, 2);
    assert_false(group_silence_due(&at_once, &is, &last, T0 + 2, &out, &again));
    assert_int_equal(again, 0);
    is.silent_ms = 0;
    assert_true(group_silence_due(&at_once, &is, &last, T0 + 2, &out, &again));
    assert_int_equal(out.state.silent_ms, 0);
    is.moved = true;
    assert_false(group_silence_due(&at_once, &is, &last, T0 + 2, &out, &again));
    is.moved = false;
    is.episode = 2;
    assert_false(group_silence_due(&at_once, &is, &last, T0 + 2, &out, &again));
    is.episode = 1;
    is.status = INCIDENT_RESOLVED;
    assert_false(group_silence_due(&at_once, &is, &last, T0 + 2, &out, &again));
}

/* Acknowledged before the first message: that message says so. */
static void test_acknowledged_before_the_opening(void **state)
{
    const struct standing is = incident(INCIDENT_ACKNOWLEDGED);
    struct due out[DUE_MAX];
    int64_t again;

    (void)state;
    assert_string_equal(due(&at_once, &is, &(struct said){0}, T0, out, &again), "opened");
    assert_int_equal(out[0].state.word, INCIDENT_ACKNOWLEDGED);
}

static void test_repeat(void **state)
{
    const struct standing is = incident(INCIDENT_OPEN);
    struct said last = knows(&is);
    struct due out[DUE_MAX];
    int64_t again;

    (void)state;
    assert_string_equal(due(&at_once, &is, &last, T0 + 4 * MS_HOUR - 1, out, &again), "");
    assert_int_equal(again, T0 + 4 * MS_HOUR);
    assert_string_equal(due(&at_once, &is, &last, T0 + 4 * MS_HOUR, out, &again), "repeat");
    assert_int_equal(again, T0 + 8 * MS_HOUR);
    last = said(out, 0, 2);
    assert_string_equal(due(&at_once, &is, &last, T0 + 4 * MS_HOUR + 1, out, &again), "");
}

static void test_moved(void **state)
{
    struct standing is = incident(INCIDENT_OPEN);
    struct said last = knows(&is);
    struct due out[DUE_MAX];
    int64_t again;

    (void)state;
    is.moved = true;
    is.level = LEVEL_PERMANENT_FIX;
    is.severity = SEVERITY_CRITICAL;
    assert_string_equal(due(&at_once, &is, &last, T0 + MS_DAY, out, &again), "");
    assert_int_equal(again, 0);
    assert_string_equal(due(&at_once, &is, &(struct said){0}, T0 + MS_DAY, out, &again), "");
    is.status = INCIDENT_RESOLVED;
    assert_string_equal(due(&at_once, &is, &(struct said){0}, T0 + MS_DAY, out, &again), "");
    assert_string_equal(due(&at_once, &is, &last, T0 + MS_DAY, out, &again), "resolved");
    last = said(out, 0, 2);
    assert_string_equal(due(&at_once, &is, &last, T0 + MS_DAY, out, &again), "");
}

/* ---- groups of alerts ---- */

static struct standing alerts(const uint64_t *firing, size_t firing_n, const uint64_t *ended,
                              size_t ended_n)
{
    return (struct standing){.kind = GROUP_ALERTS,
                             .since_ms = T0,
                             .firing = firing,
                             .firing_n = firing_n,
                             .ended = ended,
                             .ended_n = ended_n};
}

static void test_alerts_as_alertmanager(void **state)
{
    static const uint64_t one_two[] = {1, 2}, three[] = {1, 2, 3}, two[] = {2};
    struct standing is = alerts(one_two, 2, NULL, 0);
    struct due out[DUE_MAX];
    struct said last = {0};
    int64_t again;

    (void)state;
    assert_string_equal(due(&slow, &is, &last, T0, out, &again), "");
    assert_int_equal(again, T0 + 30000);
    int64_t now = T0 + 30000;
    assert_string_equal(due(&slow, &is, &last, now, out, &again), "alerts");
    assert_int_equal(again, now + 4 * MS_HOUR);
    assert_int_equal(out[0].state.firing_n, 2);
    assert_false(out[0].state.resolved);
    last = said(out, 0, 1);

    /* the same again: nothing */
    is.flushed_ms = now;
    now += 5 * MS_MINUTE;
    assert_string_equal(due(&slow, &is, &last, now, out, &again), "");
    assert_int_equal(again, last.at + 4 * MS_HOUR);
    /* fewer, but nobody has ended (one moved elsewhere): nothing */
    is = alerts(one_two, 1, NULL, 0);
    is.flushed_ms = last.at;
    assert_string_equal(due(&slow, &is, &last, now, out, &again), "");
    /* a new member */
    is = alerts(three, 3, NULL, 0);
    is.flushed_ms = last.at;
    assert_string_equal(due(&slow, &is, &last, now - 1, out, &again), "");
    assert_int_equal(again, now);
    assert_string_equal(due(&slow, &is, &last, now, out, &again), "alerts");
    last = said(out, 0, 2);
    /* one of them is over */
    static const uint64_t rest[] = {1, 3};
    is = alerts(rest, 2, two, 1);
    assert_string_equal(due(&slow, &is, &last, now + MS_MINUTE, out, &again), "alerts");
    assert_int_equal(out[0].state.ended_n, 1);
    assert_true(out[0].ends_only);
    assert_string_equal(due(&slow, &is, &last, last.at + 4 * MS_HOUR, out, &again), "alerts");
    assert_false(out[0].ends_only); /* a repeat is due */
    is.missed_n = 1;
    assert_string_equal(due(&slow, &is, &last, now + MS_MINUTE, out, &again), "alerts");
    assert_false(out[0].ends_only);
    is.missed_n = 0;
    assert_string_equal(due(&slow, &is, &last, now + MS_MINUTE, out, &again), "alerts");
    last = said(out, 0, 3);
    /* it was told: nothing more */
    assert_string_equal(due(&slow, &is, &last, now + MS_HOUR, out, &again), "");
    /* the rest, too */
    is = alerts(NULL, 0, rest, 2);
    assert_string_equal(due(&slow, &is, &last, now + MS_HOUR, out, &again), "alerts");
    assert_true(out[0].state.resolved);
    assert_false(out[0].ends_only);
    assert_int_equal(again, 0);
    last = said(out, 0, 4);
    is = alerts(NULL, 0, NULL, 0);
    assert_string_equal(due(&slow, &is, &last, now + MS_DAY, out, &again), "");
    assert_int_equal(again, 0);
}

static void test_alerts_over_before_told(void **state)
{
    static const uint64_t one[] = {1};
    const struct standing is = alerts(NULL, 0, one, 1);
    struct due out[DUE_MAX];
    int64_t again;

    (void)state;
    assert_string_equal(due(&slow, &is, &(struct said){0}, T0 + MS_HOUR, out, &again), "");
    assert_int_equal(again, 0);
    struct standing missed = is;
    missed.missed_n = 1;
    assert_string_equal(due(&slow, &missed, &(struct said){0}, T0 + MS_HOUR, out, &again),
                        "alerts");
    assert_true(out[0].state.resolved);
    assert_int_equal(out[0].state.ended_n, 1);
}

static void test_alerts_repeat(void **state)
{
    static const uint64_t one[] = {1};
    const struct standing is = alerts(one, 1, NULL, 0);
    const struct said last = {.seq = 1, .at = T0, .firing = one, .firing_n = 1};
    struct due out[DUE_MAX];
    int64_t again;

    (void)state;
    assert_string_equal(due(&slow, &is, &last, T0 + 4 * MS_HOUR - 1, out, &again), "");
    assert_string_equal(due(&slow, &is, &last, T0 + 4 * MS_HOUR, out, &again), "repeat");
    assert_int_equal(out[0].state.firing_n, 1);
    assert_int_equal(again, T0 + 8 * MS_HOUR);
}

/* ---- digests ---- */

static void test_digest(void **state)
{
    struct route r = at_once;
    struct standing is = {.kind = GROUP_DIGEST, .since_ms = T0};
    struct due out[DUE_MAX];
    const struct said nothing = {0};
    const int64_t at = T0 + 15 * MS_MINUTE;
    int64_t again;

    (void)state;
    r.digest = (struct digest_when){.period_ms = 15 * MS_MINUTE, .at_minute = -1};
    assert_int_equal(group_due(&r, &is, &nothing, T0 + MS_DAY, at, out, &again), 0);
    assert_int_equal(again, 0);
    is.item_n = 2;
    assert_int_equal(group_due(&r, &is, &nothing, at - 1, at, out, &again), 0);
    assert_int_equal(again, at);
    assert_int_equal(group_due(&r, &is, &nothing, at, at, out, &again), 1);
    assert_int_equal(out[0].kind, DUE_DIGEST);
    assert_int_equal(out[0].at_ms, at);
    assert_int_equal(again, 0);
}

static void test_digest_times(void **state)
{
    const struct digest_when quarter = {.period_ms = 15 * MS_MINUTE, .at_minute = -1},
                             day = {.period_ms = MS_DAY, .at_minute = -1},
                             nine = {.period_ms = MS_DAY, .at_minute = 540};

    (void)state;
    assert_int_equal(digest_next(&quarter, T0, 0), T0);
    assert_int_equal(digest_next(&quarter, T0 + 1, 0), T0 + 15 * MS_MINUTE);
    assert_int_equal(digest_next(&quarter, T0 + 1, 480), T0 + 15 * MS_MINUTE);
    assert_int_equal(digest_next(&day, T0, 0), T0 + 21 * MS_HOUR);
    assert_int_equal(digest_next(&nine, T0, 0), T0 + 6 * MS_HOUR);
    assert_int_equal(digest_next(&nine, T0, 480), T0 + 22 * MS_HOUR);  /* Shanghai: 01:00 UTC */
    assert_int_equal(digest_next(&nine, T0, -300), T0 + 11 * MS_HOUR); /* New York: 14:00 UTC */
    assert_int_equal(digest_next(&nine, T0 + 6 * MS_HOUR, 0), T0 + 6 * MS_HOUR);
    assert_int_equal(digest_next(&nine, T0 + 6 * MS_HOUR + 1, 0), T0 + 30 * MS_HOUR);
}

static int offset_in(void *ctx, int64_t ms, int32_t *ret_minutes, struct err *e)
{
    (void)e;
    *ret_minutes = zone_local(ctx, ms).offset / 60;
    return 0;
}

static int64_t utc(const char *text)
{
    int64_t ms;

    assert_true(rfc3339_parse(slice_of(text), &ms));
    return ms;
}

/* A time of day, by the clocks of a zone. */
static void test_digest_where_clocks_change(void **state)
{
    static const struct {
        const char *zone;
        int hour, minute;
        const char *from, *next;
    } v[] = {
        /* back, at 2026-10-25T01:00Z */
        {"Europe/Berlin", 9, 0, "2026-10-24T06:59:00Z", "2026-10-24T07:00:00Z"},
        {"Europe/Berlin", 9, 0, "2026-10-24T07:00:00Z", "2026-10-24T07:00:00Z"},
        {"Europe/Berlin", 9, 0, "2026-10-24T07:30:00Z", "2026-10-25T08:00:00Z"},
        {"Europe/Berlin", 9, 0, "2026-10-24T20:00:00Z", "2026-10-25T08:00:00Z"},
        {"Europe/Berlin", 9, 0, "2026-10-25T07:30:00Z", "2026-10-25T08:00:00Z"},
        {"Europe/Berlin", 9, 0, "2026-10-25T08:00:01Z", "2026-10-26T08:00:00Z"},
        {"Europe/Berlin", 3, 0, "2026-10-24T01:30:00Z", "2026-10-25T02:00:00Z"},
        {"Europe/Berlin", 2, 30, "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"},
        {"Europe/Berlin", 2, 30, "2026-10-25T00:45:00Z", "2026-10-26T01:30:00Z"},
        {"Europe/Berlin", 2, 30, "2026-10-25T01:15:00Z", "2026-10-25T01:30:00Z"},
        {"America/New_York", 9, 0, "2026-10-31T13:30:00Z", "2026-11-01T14:00:00Z"},
        {"Australia/Lord_Howe", 9, 0, "2026-04-03T22:15:00Z", "2026-04-04T22:30:00Z"},
        /* forth, at 2026-03-29T01:00Z */
        {"Europe/Berlin", 9, 0, "2026-03-28T07:30:00Z", "2026-03-28T08:00:00Z"},
        {"Europe/Berlin", 9, 0, "2026-03-28T08:30:00Z", "2026-03-29T07:00:00Z"},
        {"Europe/Berlin", 9, 0, "2026-03-29T07:00:01Z", "2026-03-30T07:00:00Z"},
        {"Europe/Berlin", 3, 0, "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"},
        {"Europe/Berlin", 2, 30, "2026-03-28T12:00:00Z", "2026-03-29T01:30:00Z"},
        {"Europe/Berlin", 2, 30, "2026-03-29T00:40:00Z", "2026-03-29T01:30:00Z"},
        {"Europe/Berlin", 2, 30, "2026-03-29T01:30:01Z", "2026-03-30T00:30:00Z"},
        {"Australia/Lord_Howe", 9, 0, "2026-10-02T22:45:00Z", "2026-10-03T22:00:00Z"},
        {"Australia/Lord_Howe", 2, 15, "2026-10-03T00:00:00Z", "2026-10-03T15:45:00Z"},
        /* never */
        {"Asia/Shanghai", 9, 0, "2026-10-24T01:30:00Z", "2026-10-25T01:00:00Z"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
        const struct digest_when d = {.period_ms = MS_DAY,
                                      .at_minute = v[i].hour * 60 + v[i].minute};
        CLEANUP(zone_free) struct zone *z = NULL;
        struct err e = {0};
        char text[RFC3339_MAX];
        int64_t next;

        assert_int_equal(zone_open(v[i].zone, &z, &e), 0);
        const struct clocks clocks = {offset_in, z};
        assert_int_equal(digest_next_by(&d, utc(v[i].from), &clocks, &next, &e), 0);
        if (next != utc(v[i].next))
            fail_msg("%s %02d:%02d after %s: %s", v[i].zone, v[i].hour, v[i].minute, v[i].from,
                     rfc3339_format(next, text));
    }
}

/* ---- identity ---- */

static struct labels labels(struct arena *a, const char *json)
{
    struct labels l;

    assert_int_equal(labels_from_json(a, slice_of(json), &l, NULL), 0);
    return l;
}

static void test_group_of(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    const char *by_team[] = {"team"};
    const struct uuid i1 = {{1}}, i2 = {{2}};
    struct group_identity g, h;
    struct route r = slow;
    struct labels l = labels(a, "{\"job\":\"api\",\"team\":\"sre\"}");

    (void)state;
    r.group_by = by_team;
    r.group_by_n = 1;
    assert_int_equal(group_of(a, &r, SLICE_LIT("t"), l, &i1, &g), 0);
    assert_int_equal(g.kind, GROUP_ALERTS);
    assert_string_equal(group_key(a, &r, g.labels), "{}:{team=\"sre\"}");
    /* another incident or label is the same group; another tenant or value is not */
    assert_int_equal(group_of(a, &r, SLICE_LIT("t"), labels(a, "{\"team\":\"sre\"}"), &i2, &h), 0);
    assert_memory_equal(&g.id, &h.id, sizeof(g.id));
    assert_int_equal(group_of(a, &r, SLICE_LIT("u"), l, &i1, &h), 0);
    assert_memory_not_equal(&g.id, &h.id, sizeof(g.id));
    assert_int_equal(group_of(a, &r, SLICE_LIT("t"), labels(a, "{\"job\":\"api\"}"), &i1, &h), 0);
    assert_memory_not_equal(&g.id, &h.id, sizeof(g.id));
    assert_int_equal(h.labels.n, 0);

    r.by_incident = true;
    assert_int_equal(group_of(a, &r, SLICE_LIT("t"), l, &i1, &g), 0);
    assert_int_equal(g.kind, GROUP_INCIDENT);
    assert_string_equal(group_key(a, &r, g.labels),
                        "{}:{incident=\"01000000-0000-0000-0000-000000000000\", team=\"sre\"}");
    assert_int_equal(group_of(a, &r, SLICE_LIT("t"), l, &i2, &h), 0);
    assert_memory_not_equal(&g.id, &h.id, sizeof(g.id));

    r.digest.period_ms = MS_HOUR;
    assert_int_equal(group_of(a, &r, SLICE_LIT("t"), l, &i1, &g), 0);
    assert_int_equal(g.kind, GROUP_DIGEST);
    assert_string_equal(group_key(a, &r, g.labels), "{}:{team=\"sre\"}");
    assert_int_equal(group_of(a, &r, SLICE_LIT("t"), l, &i2, &h), 0);
    assert_memory_equal(&g.id, &h.id, sizeof(g.id));
}

static void test_group_by_all(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    struct route r = slow;
    struct group_identity g;

    (void)state;
    r.by_all = true;
    assert_int_equal(group_of(a, &r, SLICE_LIT("t"),
                              labels(a, "{\"b\":\"x\\\"y\\n\",\"a\":\"\\u00e9\"}"),
                              &(struct uuid){{0}}, &g),
                     0);
    assert_string_equal(group_key(a, &r, g.labels), "{}:{a=\"\xc3\xa9\", b=\"x\\\"y\\n\"}");
}

/* Without a separator {a: bc} and {ab: c} would share a group. */
static void test_labels_do_not_run_together(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    struct route r = slow;
    struct group_identity g, h;

    (void)state;
    r.by_all = true;
    assert_int_equal(group_of(a, &r, SLICE_LIT("t"), labels(a, "{\"a\":\"bc\"}"), NULL, &g), 0);
    assert_int_equal(group_of(a, &r, SLICE_LIT("t"), labels(a, "{\"ab\":\"c\"}"), NULL, &h), 0);
    assert_memory_not_equal(&g.id, &h.id, sizeof(g.id));
}

/* ---- memory ---- */

static void test_said_survives_json(void **state)
{
    static const uint64_t fps[] = {1, UINT64_C(0xfedcba9876543210)};
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    CLEANUP(buf_release) struct buf b = BUF_INIT(4096);
    const struct said in = {.seq = 7,
                            .at = T0,
                            .resolved = true,
                            .episode = 2,
                            .level = LEVEL_ESCALATE,
                            .severity = SEVERITY_ERROR,
                            .word = INCIDENT_RESOLVED,
                            .owner = SLICE_LIT("Ann \"A\""),
                            .silent_ms = T0 + 1,
                            .silent_by = SLICE_LIT("Bob")};
    const struct said list = {
        .seq = 8, .at = T0, .firing = fps, .firing_n = 2, .ended = fps, .ended_n = 1};
    struct said out;
    struct err e = {0};

    (void)state;
    assert_int_equal(said_to_json(&b, &in), 0);
    assert_string_equal(buf_str(&b),
                        "{\"seq\":7,\"status\":\"resolved\",\"at\":1767322800000,"
                        "\"episode\":2,\"level\":2,\"severity\":3,\"word\":\"resolved\","
                        "\"owner\":\"Ann \\\"A\\\"\",\"silenced_until\":1767322800001,"
                        "\"silenced_by\":\"Bob\"}");
    assert_int_equal(said_from_json(a, (struct slice){b.p, b.len}, &out, &e), 0);
    assert_int_equal(out.seq, 7);
    assert_int_equal(out.at, T0);
    assert_true(out.resolved);
    assert_int_equal(out.episode, 2);
    assert_int_equal(out.level, LEVEL_ESCALATE);
    assert_int_equal(out.severity, SEVERITY_ERROR);
    assert_int_equal(out.word, INCIDENT_RESOLVED);
    assert_true(slice_is(out.owner, "Ann \"A\""));
    assert_int_equal(out.silent_ms, T0 + 1);
    assert_true(slice_is(out.silent_by, "Bob"));
    assert_int_equal(
        said_from_json(a, SLICE_LIT("{\"seq\":1,\"word\":\"open\",\"owner\":\"\"}"), &out, &e), 0);
    assert_non_null(out.owner.p); /* nobody, which is known */
    assert_int_equal(said_from_json(a, SLICE_LIT("{\"seq\":1,\"word\":\"open\"}"), &out, &e), 0);
    assert_null(out.owner.p);

    buf_reset(&b);
    assert_int_equal(said_to_json(&b, &list), 0);
    assert_int_equal(said_from_json(a, (struct slice){b.p, b.len}, &out, &e), 0);
    assert_int_equal(out.firing_n, 2);
    assert_int_equal(out.ended_n, 1);
    assert_memory_equal(out.firing, fps, sizeof(fps));
    assert_memory_equal(out.ended, fps, sizeof(*fps));
}

#define OUT_OF_ORDER "{\"seq\":1,\"alerts\":[\"0000000000000002\",\"0000000000000001\"]}"
static void test_said_from_what_it_is_not(void **state)
{
    static const char *const wrong[] = {"[]",
                                        "7",
                                        "{",
                                        "{\"seq\":0}",
                                        "{\"seq\":1,\"word\":\"gone\"}",
                                        "{\"seq\":1,\"alerts\":[\"xyz\"]}",
                                        "{\"seq\":1,\"alerts\":[1]}",
                                        OUT_OF_ORDER};
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    struct said out = {.seq = 5};
    struct err e = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        if (said_from_json(a, slice_of(wrong[i]), &out, &e) >= 0)
            fail_msg("this is taken: %s", wrong[i]);
    assert_int_equal(out.seq, 5);
    assert_int_equal(said_from_json(a, (struct slice){0}, &out, &e), 0);
    assert_int_equal(out.seq, 0);
    assert_int_equal(said_from_json(a, SLICE_LIT("null"), &out, &e), 0);
    assert_int_equal(out.seq, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opening_and_every_level),
        cmocka_unit_test(test_opened_at_a_level),
        cmocka_unit_test(test_group_wait),
        cmocka_unit_test(test_over_before_group_wait),
        cmocka_unit_test(test_over_before_a_late_look),
        cmocka_unit_test(test_late_but_looked_at),
        cmocka_unit_test(test_group_interval_holds_news_back),
        cmocka_unit_test(test_the_end),
        cmocka_unit_test(test_crossing_then_end),
        cmocka_unit_test(test_reopened),
        cmocka_unit_test(test_flap),
        cmocka_unit_test(test_severity),
        cmocka_unit_test(test_acknowledged),
        cmocka_unit_test(test_taken_over),
        cmocka_unit_test(test_silenced_from_a_message),
        cmocka_unit_test(test_acknowledged_before_the_opening),
        cmocka_unit_test(test_repeat),
        cmocka_unit_test(test_moved),
        cmocka_unit_test(test_alerts_as_alertmanager),
        cmocka_unit_test(test_alerts_over_before_told),
        cmocka_unit_test(test_alerts_repeat),
        cmocka_unit_test(test_digest),
        cmocka_unit_test(test_digest_times),
        cmocka_unit_test(test_digest_where_clocks_change),
        cmocka_unit_test(test_group_of),
        cmocka_unit_test(test_group_by_all),
        cmocka_unit_test(test_labels_do_not_run_together),
        cmocka_unit_test(test_said_survives_json),
        cmocka_unit_test(test_said_from_what_it_is_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
