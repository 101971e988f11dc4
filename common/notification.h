/*
 * The words of a notification row, as stored and as the API says them: NAME of the enumerations
 * that go with them (notifier/life.h, processor/group.h), and the word.
 */
#pragma once

#define NOTIFICATION_STATES(X)                                                                     \
    X(PENDING, "pending")                                                                          \
    X(SENDING, "sending")                                                                          \
    X(DELIVERED, "delivered")                                                                      \
    X(FAILED, "failed")                                                                            \
    X(SUPPRESSED, "suppressed")                                                                    \
    X(SUPERSEDED, "superseded")                                                                    \
    X(MERGED, "merged")

/* A person silenced it from the message, or that is over: edits the message, where it can be. */
#define NOTIFICATION_SILENCE "silence"
/* What a flush says. */
#define NOTIFICATION_KINDS(X)                                                                      \
    X(OPENED, "opened")                                                                            \
    X(REOPENED, "reopened")                                                                        \
    X(CROSSING, "crossing")                                                                        \
    X(SEVERITY, "severity")                                                                        \
    X(STATUS, "status")                                                                            \
    X(RESOLVED, "resolved")                                                                        \
    X(REPEAT, "repeat")                                                                            \
    X(ALERTS, "alerts")                                                                            \
    X(DIGEST, "digest")                                                                            \
    X(SILENCE, NOTIFICATION_SILENCE)
/* And what the notifier makes of several that wait. */
#define NOTIFICATION_MERGE "merge"
