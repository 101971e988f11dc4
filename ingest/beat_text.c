#include "ingest/beat_text.h"

#include <stdio.h>

struct slice beat_text(const struct beat_word *w, char out[BEAT_MAX])
{
    int n = snprintf(
        out, BEAT_MAX, "{\"id\":\"%s\",\"at\":%lld,\"oldest_spooled_ms\":%lld,\"farewell\":%s}",
        w->id, (long long)w->at, (long long)w->oldest_spooled, w->farewell ? "true" : "false");
    return (struct slice){out, n > 0 && n < BEAT_MAX ? (size_t)n : 0};
}
