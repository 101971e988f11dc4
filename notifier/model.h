/*
 * The data model that messages are rendered from, documented in docs/templates.md. Pure: facts as
 * they were read from Postgres go in, names for templates come out, in the receiver's language and
 * zone.
 *
 * Facts is one JSON object: `notification` (the row), `group` (the row), `incident` (the row,
 * absent for groups of alerts and for digests), `frequency` {count_1h … last_seen}, `stats`,
 * `repairs` and `playbook` (rows of those tables), `alerts` (rows, those of about.state first by
 * about's order), `items` (of a digest, each with its incident) and `unread` {n, occurrences} of
 * those beside, `members` (of a merge: about, group, incident of each), `missed` {firing_since} of
 * what was never told, or in older messages that never arrived. Everything but `notification` may
 * be absent.
 */
#pragma once

#include <jansson.h>

#include "common/act.h"
#include "common/arena.h"
#include "common/zone.h"
#include "notifier/words.h"

struct style {
    const struct words *words;
    const struct zone *zone;
    const char *external_url;
    int64_t now_ms;
    bool send_resolved; /* false: resolved alerts that were told are left out, as in Alertmanager */
    uint32_t max_alerts;
    struct act_secrets secrets; /* empty: no links that act */
    int64_t link_ttl_ms, silence_ms;
    bool answers_calls; /* Twilio may call back */
    bool asks_twilio;   /* it is to say what became of the message */
};

/* Owned by the arena. NULL past its cap. */
json_t *model_build(const json_t *facts, const struct style *s, struct arena *a) MUST_CHECK;
/* Keep the first `n` of the model's `lines`; `more` counts the others. */
void model_cut_lines(json_t *model, size_t n, const struct words *w, struct arena *a);
