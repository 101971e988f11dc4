/* The counters of ingest: what came in by source, and how it was answered. Made once at start, so
 * that input makes no series. */
#pragma once

#include "common/source.h"

struct tally;
struct tally *tally_new(const struct source_entries *entries) MUST_CHECK; /* NULL: out of memory */
void tally_free(struct tally *t);

/* `entry` NULL: a source that there is not, or no source at all. */
void tally_answer(struct tally *t, const struct source_entry *entry, unsigned status);
/* Alerts of an authentic request: taken, and left out as invalid. */
void tally_alerts(struct tally *t, const struct source_entry *entry, const struct filing *f);
