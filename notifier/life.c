#include "notifier/life.h"

#include <string.h>

#include "common/notification.h"

#define STATES (LIFE_MERGED + 1)

#define X(name, word) [LIFE_##name] = (word),
static const char *const names[STATES] = {NOTIFICATION_STATES(X)};
#undef X

#define IN(s) (1U << (s))
#define WAITING (IN(LIFE_PENDING) | IN(LIFE_SENDING))

static const struct {
    unsigned from;
    enum life_state to;
} table[LIFE_EVENTS] = {
    [LIFE_CLAIM] = {IN(LIFE_PENDING), LIFE_SENDING},
    [LIFE_RECLAIM] = {IN(LIFE_SENDING), LIFE_SENDING},
    [LIFE_RELEASE] = {IN(LIFE_SENDING), LIFE_PENDING},
    /* An answer that came after the lease ran out is still the truth, whoever holds the row now. */
    [LIFE_ACCEPT] = {WAITING, LIFE_DELIVERED},
    [LIFE_GIVE_UP] = {WAITING, LIFE_FAILED},
    [LIFE_SUPPRESS] = {IN(LIFE_SENDING), LIFE_SUPPRESSED},
    [LIFE_SUPERSEDE] = {WAITING, LIFE_SUPERSEDED},
    [LIFE_MERGE] = {IN(LIFE_SENDING), LIFE_MERGED},
    [LIFE_WITHHOLD] = {IN(LIFE_MERGED), LIFE_SUPPRESSED},
    [LIFE_REFUTE] = {IN(LIFE_DELIVERED), LIFE_FAILED},
};

const char *life_state_name(enum life_state s)
{
    return s > 0 && s < STATES ? names[s] : "";
}

enum life_state life_state_parse(const char *name, size_t len)
{
    for (size_t s = LIFE_PENDING; s < STATES; s++)
        if (strlen(names[s]) == len && memcmp(names[s], name, len) == 0)
            return (enum life_state)s;
    return 0;
}

bool life_ended(enum life_state s)
{
    return s > LIFE_SENDING && s < STATES;
}

enum life_state life_next(enum life_state from, enum life_event event)
{
    return table[event].from & IN(from) ? table[event].to : 0;
}

size_t life_from(enum life_event event, const char *ret[7])
{
    size_t n = 0;

    for (unsigned s = LIFE_PENDING; s < STATES; s++)
        if (table[event].from & IN(s))
            ret[n++] = names[s];
    return n;
}

enum life_state life_to(enum life_event event)
{
    return table[event].to;
}
