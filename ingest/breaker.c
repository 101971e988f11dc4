#include "ingest/breaker.h"

bool breaker_miss(struct breaker *b, int64_t now)
{
    if (b->open)
        return false;
    *b = (struct breaker){
        .open = true, .since = now, .next_probe = now + BREAKER_WAIT_MIN, .wait = BREAKER_WAIT_MIN};
    return true;
}

bool breaker_success(struct breaker *b, int64_t now)
{
    if (!b->open)
        return false;
    *b = (struct breaker){.since = now};
    return true;
}

bool breaker_probe(struct breaker *b, int64_t now)
{
    if (!b->open || now < b->next_probe)
        return false;
    b->wait = b->wait * 2 > BREAKER_WAIT_MAX ? BREAKER_WAIT_MAX : b->wait * 2;
    b->next_probe = now + b->wait;
    return true;
}
