/*
 * What one change may do to the incidents: a table of rules, written apart from the product.
 * world.c asks them about every change. Each counts how often it had something to say.
 */
#pragma once

#include "processor/aggregate.h"

/* An incident as it was; row NULL: none. */
struct seen {
    const struct incident *row;
    struct incident was;
};

/* One change is applied: what was before it, and where to look after it. */
struct turn {
    const struct change *change;
    const struct alert_row *alert;
    const struct news_list *news;
    int64_t window;
    struct alert_row was;
    struct seen own;    /* the anomaly's last incident */
    struct seen target; /* the incident that the change concerns */
    int64_t occurrences, left;
    size_t told; /* news before it */
};

void rules_before(struct turn *ret, const struct alert_row *alert, const struct change *c,
                  const struct news_list *news, int64_t window);
/* NULL: every rule is kept. Else what the broken one says. */
const char *rules_after(const struct turn *t);
/* Each of them had something to say. */
void rules_tried(void);
