/*
 * The authors' playbooks: which steps to try, in which order, before anything was learned.
 *
 *   playbooks:
 *     - match: {alert_name: QueueBacklog}     # or {service: shop}, or the word global
 *       steps:
 *         - {action: add_workers, text: "Raise the replicas of the consumer by two"}
 *         - {action: restart_pod}
 */
#pragma once

#include "common/arena.h"
#include "common/settings.h"
#include "learner/policy.h"

struct playbook {
    const char *id; /* "alert:QueueBacklog", "service:shop", "global": as in the table */
    const struct step *steps;
    size_t n;
};

struct playbooks {
    const struct playbook *v;
    size_t n;
};

/* The section `playbooks`, owned by the configuration. -EINVAL with file:line:column. */
int playbooks_load(struct settings *s, struct playbooks *ret, struct err *e) MUST_CHECK;

/* By id; NULL when the authors wrote none. */
const struct playbook *playbooks_find(const struct playbooks *p, struct slice id);
/* What the authors would do about an anomaly: by alert name, else service, else global. */
const struct playbook *playbooks_for(const struct playbooks *p, struct slice alert_name,
                                     struct slice service);
