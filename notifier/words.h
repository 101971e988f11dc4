/*
 * What the unified message says in each language. Templates know no language: they lay out what
 * these words name. A pattern's {0} {1} … are filled in order; {0|one|many} is the first
 * text when that value is 1, else the second. Pure.
 */
#pragma once

#include "common/arena.h"

#define WORDS(X)                                                                                   \
    X(colon)                                                                                       \
    X(source)                                                                                      \
    X(environment)                                                                                 \
    X(service)                                                                                     \
    X(labels)                                                                                      \
    X(time)                                                                                        \
    X(time_for)                                                                                    \
    X(time_lasted)                                                                                 \
    X(level)                                                                                       \
    X(error)                                                                                       \
    X(impact)                                                                                      \
    X(frequency)                                                                                   \
    X(repair)                                                                                      \
    X(runbook)                                                                                     \
    X(details)                                                                                     \
    X(group)                                                                                       \
    X(owner)                                                                                       \
    X(act_acknowledge)                                                                             \
    X(act_claim)                                                                                   \
    X(act_silence)                                                                                 \
    X(act_resolve)                                                                                 \
    X(press_to_acknowledge)                                                                        \
    X(application_error)                                                                           \
    X(monitoring)                                                                                  \
    X(alert)                                                                                       \
    X(digest)                                                                                      \
    X(merged)                                                                                      \
    X(info)                                                                                        \
    X(warning)                                                                                     \
    X(severe)                                                                                      \
    X(critical)                                                                                    \
    X(resolved)                                                                                    \
    X(resolved_title)                                                                              \
    X(firing_n)                                                                                    \
    X(resolved_n)                                                                                  \
    X(users_n)                                                                                     \
    X(events_n)                                                                                    \
    X(comma)                                                                                       \
    X(counts)                                                                                      \
    X(counts_level)                                                                                \
    X(step)                                                                                        \
    X(step_new)                                                                                    \
    X(tier)                                                                                        \
    X(last_repair)                                                                                 \
    X(note_reopened)                                                                               \
    X(note_crossing)                                                                               \
    X(note_severity)                                                                               \
    X(note_acknowledged)                                                                           \
    X(note_investigating)                                                                          \
    X(note_taken)                                                                                  \
    X(note_silenced)                                                                               \
    X(note_unsilenced)                                                                             \
    X(note_by_person)                                                                              \
    X(note_expired)                                                                                \
    X(note_repeat)                                                                                 \
    X(note_meanwhile)                                                                              \
    X(note_missed)                                                                                 \
    X(note_fallback)                                                                               \
    X(note_late)                                                                                   \
    X(note_duplicate)                                                                              \
    X(digest_title)                                                                                \
    X(merge_title)                                                                                 \
    X(line_digest)                                                                                 \
    X(more)                                                                                        \
    X(more_cut)

struct words {
    const char *locale;
#define X(name) const char *name;
    WORDS(X)
#undef X
};

/* Of a language tag, as common/locale.h finds it; NULL: nothing is written in that language. */
const struct words *words_find(const char *locale);
const struct words *words_at(size_t i); /* by enum locale; NULL past the end */

/* The pattern with its places filled; NULL past the arena's cap. Places without a value stay empty.
 */
const char *words_fill(struct arena *a, const char *pattern, const char *v0, const char *v1,
                       const char *v2, const char *v3);
