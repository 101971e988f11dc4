/*
 * Signs of life on the topic `beat`: {"id", "at", "oldest_spooled_ms", "farewell"} every
 * beat_interval. The processor holds back ends by silence while an ingest went quiet without a
 * farewell, or still has spooled records.
 */
#pragma once

#include "ingest/publish.h"

struct beat;

int beat_start(struct publisher *p, const char *id, int64_t interval_ms, struct beat **ret,
               struct err *e) MUST_CHECK;
/* Joins; with a farewell unless records are still spooled or set aside. NULL is a no-op. */
void beat_stop(struct beat *b);
