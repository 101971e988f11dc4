/* What was tried before, and what to try now. */
#include <string.h>

#include "common/tier.h"
#include "notifier/model_internal.h"

static bool is_restart(const char *action)
{
    return strcmp(action, "restart_pod") == 0 || strcmp(action, "restart_container") == 0;
}

struct totals {
    int64_t attempts, successes, last_at;
    const char *last_action, *last_outcome;
    struct tier_facts tier;
};

static void sum(const struct model *m, struct totals *t)
{
    size_t i;
    json_t *row;

    t->tier.level = (enum escalation_level)get_int(m->incident, "level");
    json_array_foreach (json_object_get(m->facts, "stats"), i, row) {
        const char *action = get_str(row, "action");
        int64_t attempts = get_int(row, "attempts"), last = get_int(row, "last_at");

        t->attempts += attempts;
        t->successes += get_int(row, "successes");
        if (is_restart(action))
            t->tier.restarts += (uint64_t)attempts;
        if (strcmp(action, "permanent_fix") == 0 && get_int(row, "successes") > 0 &&
            last < get_int(m->incident, "opened_at"))
            t->tier.permanent_fix_failed = true;
        if (last > t->last_at) {
            t->last_at = last;
            t->last_action = action;
            t->last_outcome = get_str(row, "last_outcome");
        }
    }
}

/* The playbook's first step, with its numbers. */
static const char *put_proposed(const struct model *m, json_t *repair)
{
    const json_t *playbook = json_object_get(m->facts, "playbook");
    json_t *step = json_array_get(json_object_get(playbook, "steps"), 0);
    const char *said = *get_str(step, "text") ? get_str(step, "text") : get_str(step, "action");

    if (!step)
        return NULL;
    json_t *out = json_object();
    (void)json_object_update(out, step);
    put_str(out, "playbook", get_str(playbook, "id"));
    put_int(out, "version", get_int(playbook, "version"));
    (void)json_object_set_new(repair, "proposed", out);
    if (get_int(step, "attempts") == 0)
        return words_fill(m->a, m->w->step_new, said, NULL, NULL, NULL);
    return words_fill(m->a, m->w->step, said, model_number(m, get_int(step, "successes")),
                      model_number(m, get_int(step, "attempts")), NULL);
}

static void put_history(const struct model *m, json_t *repair)
{
    json_t *list = json_array(), *row;
    size_t i;

    json_array_foreach (json_object_get(m->facts, "repairs"), i, row) {
        json_t *one = json_object();
        put_str(one, "action", get_str(row, "action"));
        put_str(one, "outcome", get_str(row, "outcome"));
        put_int(one, "at", get_int(row, "at"));
        put_str(one, "at_text", model_time(m, get_int(row, "at")));
        (void)json_array_append_new(list, one);
    }
    (void)json_object_set_new(repair, "repair_history", list);
}

void model_repair(struct model *m)
{
    struct totals t = {0};

    if (!m->incident)
        return;
    sum(m, &t);
    json_t *repair = json_object();
    put_int(repair, "total_attempts", t.attempts);
    put_int(repair, "successful_attempts", t.successes);
    put_str(repair, "last_repair_action", t.last_action);
    put_int(repair, "last_repair_time", t.last_at);
    put_history(m, repair);
    int tier = recommended_tier(&t.tier);
    put_int(repair, "recommended_tier", tier);
    const char *text = put_proposed(m, repair);
    if (text)
        text = words_fill(m->a, m->w->tier, text, model_number(m, tier), NULL, NULL);
    if (text && t.last_action)
        text = words_fill(m->a, m->w->last_repair, text, t.last_action, t.last_outcome, NULL);
    if (!m->resolved)
        put_str(repair, "text", text);
    (void)json_object_set_new(m->root, "repair", repair);
}
