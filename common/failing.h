/*
 * The alert about a receiver that takes no messages: raised by the notifier, told by anybody but
 * that receiver. Pure.
 */
#pragma once

#include "common/labels.h"
#include "common/receivers.h"

#define FAILING_ALERT "TocsinReceiverFailing"
#define FAILING_LABEL "failing_receiver" /* its name */

/* The one about a receiver's template that gives nothing; it goes to anybody. */
#define FAILING_TEMPLATE "TocsinTemplateFailing"

/* Who tells an alert with these labels instead of `r`: `r` itself, unless it is about `r`; then its
 * fallback. NULL: nobody can. */
const struct receiver *failing_teller(const struct receiver *r, struct labels labels);
