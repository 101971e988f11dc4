#include "notifier/sample.h"

#include <string.h>

#include "common/clock.h"
#include "common/incident.h"

#define NOBODY "00000000-0000-8000-8000-000000000000"

static struct slice text(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);

    return json_is_string(v) ? (struct slice){json_string_value(v), json_string_length(v)}
                             : SLICE_LIT("");
}

static void copy_texts(json_t *to, const json_t *from, const char *const *keys)
{
    for (; *keys; keys++) {
        const struct slice s = text(from, *keys);
        (void)json_object_set_new(to, *keys, json_stringn(s.p, s.len));
    }
}

static void copy_numbers(json_t *to, const json_t *from, const char *const *keys)
{
    for (; *keys; keys++)
        if (json_is_integer(json_object_get(from, *keys)))
            (void)json_object_set(to, *keys, json_object_get(from, *keys));
}

/* RFC 3339 to ms; what is none is left out. */
static void copy_time(json_t *to, const char *key, const json_t *from, const char *name)
{
    int64_t ms;

    if (rfc3339_parse(text(from, name), &ms))
        (void)json_object_set_new(to, key, json_integer(ms));
}

static int64_t severity_of(const json_t *o)
{
    return (int64_t)severity_parse(text(o, "severity"), SEVERITY_WARNING);
}

static int64_t level_of(const json_t *api)
{
    const struct slice name = text(json_object_get(api, "frequency_stats"), "escalation_level");

    for (int level = LEVEL_REPEAT; level <= LEVEL_PERMANENT_FIX; level++)
        if (slice_is(name, escalation_level_name((enum escalation_level)level)))
            return level;
    return LEVEL_NONE;
}

static enum incident_status status_of(const json_t *api)
{
    enum incident_status status;

    return incident_status_parse(text(api, "status"), &status) ? status : INCIDENT_OPEN;
}

static json_t *incident_of(const json_t *api)
{
    static const char *const texts[] = {"id",         "title",   "description", "source",
                                        "alert_name", "service", "namespace",   "environment",
                                        "error_type", "link",    "owner",       NULL};
    static const char *const numbers[] = {"alerts_firing", "alerts_total", "impact_users",
                                          "impact_events", NULL};
    static const char *const times[] = {"opened_at", "updated_at", "resolved_at", NULL};
    json_t *o =
        json_pack("{s:I, s:I, s:I, s:i}", "status", (json_int_t)status_of(api), "severity",
                  (json_int_t)severity_of(api), "level", (json_int_t)level_of(api), "episode", 1);

    copy_texts(o, api, texts);
    copy_numbers(o, api, numbers);
    for (size_t i = 0; times[i]; i++)
        copy_time(o, times[i], api, times[i]);
    copy_time(o, "last_seen", json_object_get(api, "frequency_stats"), "last_seen");
    (void)json_object_set_new(
        o, "occurrences",
        json_integer(json_integer_value(json_object_get(api, "aggregated_count"))));
    return o;
}

static json_t *frequency_of(const json_t *api)
{
    static const char *const numbers[] = {"count_1h", "count_24h", "count_7d", "count_30d", NULL};
    const json_t *from = json_object_get(api, "frequency_stats");
    json_t *o = json_object();

    copy_numbers(o, from, numbers);
    copy_time(o, "first_seen", from, "first_seen");
    copy_time(o, "last_seen", from, "last_seen");
    return o;
}

static json_t *repairs_of(const json_t *api)
{
    static const char *const texts[] = {"action", "outcome", NULL};
    const json_t *history = json_object_get(json_object_get(api, "repair_stats"), "repair_history");
    json_t *list = json_array();

    for (size_t i = 0; i < json_array_size(history); i++) {
        json_t *one = json_object();
        copy_texts(one, json_array_get(history, i), texts);
        copy_time(one, "at", json_array_get(history, i), "at");
        (void)json_array_append_new(list, one);
    }
    return list;
}

static json_t *alerts_of(const json_t *api)
{
    const json_t *from = json_object_get(api, "alerts");
    json_t *list = json_array();

    for (size_t i = 0; i < json_array_size(from); i++) {
        const json_t *a = json_array_get(from, i);
        const struct slice id = text(a, "id"), link = text(a, "link"), title = text(api, "title");
        json_t *one =
            json_pack("{s:s%, s:i, s:I, s:O*, s:O*, s:s%, s:s, s:s%, s:s}", "fingerprint", id.p,
                      id.len, "status", slice_is(text(a, "status"), "resolved") ? 2 : 1, "severity",
                      (json_int_t)severity_of(a), "labels", json_object_get(a, "labels"),
                      "annotations", json_object_get(a, "annotations"), "title", title.p, title.len,
                      "description", "", "link", link.p, link.len, "source", "");
        copy_time(one, "starts_at", a, "starts_at");
        copy_time(one, "ended_at", a, "ends_at");
        (void)json_array_append_new(list, one);
    }
    return list;
}

static json_t *row_of(const json_t *api, const char *receiver, int64_t now_ms)
{
    const struct slice tenant = text(api, "tenant");
    const bool over = status_of(api) == INCIDENT_RESOLVED;
    const char *kind = over ? "resolved" : "opened";

    const struct slice incident = text(api, "id");
    json_t *about =
        json_pack("{s:s, s:I, s:{s:i, s:s, s:I, s:I}, s:{s:s%}, s:{}}", "reason", kind, "due_at",
                  (json_int_t)now_ms, "state", "seq", 1, "status", over ? "resolved" : "firing",
                  "level", (json_int_t)level_of(api), "severity", (json_int_t)severity_of(api),
                  "group_labels", "incident", incident.p, incident.len, "route_labels");

    (void)json_object_set_new(about, "group_key",
                              json_sprintf("{}:{incident=\"%.*s\"}", SLICE_FMT(incident)));
    return json_pack("{s:s, s:s, s:s%, s:s, s:i, s:i, s:s, s:I, s:I, s:o}", "id", NOBODY,
                     "group_id", NOBODY, "tenant", tenant.p, tenant.len, "receiver", receiver,
                     "integration", 0, "seq", 1, "kind", kind, "severity",
                     (json_int_t)severity_of(api), "created_at", (json_int_t)now_ms, "about",
                     about);
}

json_t *sample_facts(const json_t *api, const char *receiver, int64_t now_ms)
{
    const json_t *step = json_object_get(api, "proposed_repair");
    json_t *facts =
        json_pack("{s:o, s:o, s:o, s:o, s:o}", "notification", row_of(api, receiver, now_ms),
                  "incident", incident_of(api), "frequency", frequency_of(api), "repairs",
                  repairs_of(api), "alerts", alerts_of(api));

    if (facts && json_is_object(step))
        (void)json_object_set_new(facts, "playbook", json_pack("{s:[O]}", "steps", step));
    return facts;
}

json_t *sample_incident(void)
{
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:[{s:s, s:s, s:s, s:{s:s},"
        " s:{}}]}",
        "id", NOBODY, "title", "Test message, nothing has happened", "status", "open", "severity",
        "info", "source", "tocsin", "alert_name", "TestMessage", "service", "tocsin",
        "aggregated_count", 1, "alerts_firing", 1, "alerts_total", 1, "alerts", "id",
        "00000000000000a1", "status", "firing", "severity", "info", "labels", "alertname",
        "TestMessage", "annotations");
}
