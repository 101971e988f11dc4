/*
 * Copies of frequencies in Redis, for fast reads elsewhere: `<prefix>:freq:<tenant>:<anomaly>` with
 * fields v (the row's version) and f (packed, common/frequency.h), bounded by key_ttl. Written
 * whole after a commit and only over an older version; nothing is ever incremented, so a lost or
 * flushed Redis changes no number. Failures are counted and forgotten.
 */
#pragma once

#include "processor/work.h"

struct copies;
int copies_new(const struct redis_settings *s, struct copies **ret, struct err *e) MUST_CHECK;
void copies_free(struct copies *c);
void copies_write(struct copies *c, const struct work *w);
