/* The notifier's metrics: Alertmanager's names where it has them. */
#pragma once

#include "notifier/job.h"

struct counts;

/* Never NULL. */
struct counts *counts_new(const struct channel *const *channels, size_t n);
void counts_free(struct counts *c);
/* An attempt came back. */
void counts_answer(struct counts *c, const struct job *j);
/* A row's end was written (or that it waits). */
void counts_end(struct counts *c, const struct job *j);
/* Destinations whose breaker is open, as far as this process knows. */
void counts_shut(struct counts *c, size_t n);
void counts_under_way(struct counts *c, uint32_t n);
