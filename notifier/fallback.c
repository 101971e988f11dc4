#include "notifier/fallback.h"

#include <string.h>

#include "common/failing.h"

#define HOPS_MAX 8 /* the configuration has no circle, but two processes may have two of them */

static bool text_is(const json_t *o, const char *key, const char *value)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s && strcmp(s, value) == 0;
}

static bool is_about(const json_t *incident, const char *receiver)
{
    return text_is(incident, "alert_name", FAILING_ALERT) && text_is(incident, "service", receiver);
}

/* Does the message speak of the alert that this receiver is failing? */
static bool speaks_of(const json_t *facts, const char *receiver)
{
    const json_t *alerts = json_object_get(facts, "alerts"),
                 *items = json_object_get(facts, "items");
    bool yes = is_about(json_object_get(facts, "incident"), receiver);

    for (size_t i = 0; i < json_array_size(items) && !yes; i++)
        yes = is_about(json_object_get(json_array_get(items, i), "incident"), receiver);
    for (size_t i = 0; i < json_array_size(alerts) && !yes; i++) {
        const json_t *labels = json_object_get(json_array_get(alerts, i), "labels");
        yes =
            text_is(labels, "alertname", FAILING_ALERT) && text_is(labels, FAILING_LABEL, receiver);
    }
    return yes;
}

const json_t *fallback_origin(const struct job *j, const json_t *member)
{
    const json_t *row = member ? member : json_object_get(j->facts, "notification");

    const json_t *about = json_object_get(row, "about"),
                 *fallback = json_object_get(about, "fallback");

    return fallback ? fallback : json_object_get(about, "continues");
}

bool fallback_group(const struct job *j, const json_t *member, struct uuid *ret_group,
                    int64_t *ret_integration)
{
    const json_t *origin = fallback_origin(j, member);
    const json_t *row = member ? member : json_object_get(j->facts, "notification");
    const char *group = json_string_value(origin ? json_object_get(origin, "group")
                                                 : json_object_get(row, "group_id"));

    *ret_integration = json_integer_value(json_object_get(origin ? origin : row, "integration"));
    return group && uuid_parse(slice_of(group), ret_group);
}

const struct receiver *fallback_of(const struct job *j, const json_t *member)
{
    const json_t *hops = json_object_get(fallback_origin(j, member), "hops");

    if (life_to(j->end) != LIFE_FAILED || !j->outlet || j->by_edit ||
        json_integer_value(hops) >= HOPS_MAX)
        return NULL;
    const struct receiver *r = j->outlet->receiver->fallback;
    while (r && speaks_of(member ? member : j->facts, r->name))
        r = r->fallback;
    return r;
}

void fallback_note(struct job *j)
{
    const struct receiver *r = fallback_of(j, NULL);
    const char *reason =
        r ? arena_printf(j->a, "%s; told to %s instead", j->reason ? j->reason : "", r->name)
          : NULL;

    if (reason)
        j->reason = reason;
}
