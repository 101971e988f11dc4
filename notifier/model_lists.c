/* What a message lists: the alerts of its group, the incidents of a digest, the messages of a
 * merge. */
#include <string.h>

#include "common/clock.h"
#include "notifier/model_internal.h"
#include "notifier/text.h"
#include "notifier/told.h"

#define LINE_MAX_BYTES 160
#define OWN_LABELS_MAX 3
#define ZERO_TIME "0001-01-01T00:00:00Z"

static bool listed(const json_t *fingerprints, const char *fp)
{
    size_t i;
    json_t *one;

    json_array_foreach (fingerprints, i, one)
        if (strcmp(json_string_value(one) ? json_string_value(one) : "", fp) == 0)
            return true;
    return false;
}

static json_t *one_alert(const struct model *m, const json_t *row, bool resolved)
{
    char at[RFC3339_MAX];
    json_t *out = json_object();

    put_str(out, "status", resolved ? "resolved" : "firing");
    put_flag(out, "firing", !resolved);
    put_flag(out, "resolved", resolved);
    (void)json_object_set(out, "labels", json_object_get(row, "labels"));
    (void)json_object_set(out, "annotations", json_object_get(row, "annotations"));
    put_str(out, "starts_at", rfc3339_format(get_int(row, "starts_at"), at));
    put_str(out, "ends_at", resolved ? rfc3339_format(get_int(row, "ended_at"), at) : ZERO_TIME);
    put_str(out, "starts_at_text", model_time(m, get_int(row, "starts_at")));
    put_str(out, "ends_at_text", resolved ? model_time(m, get_int(row, "ended_at")) : NULL);
    put_str(out, "generator_url", get_str(row, "link"));
    put_str(out, "fingerprint", get_str(row, "fingerprint"));
    put_str(out, "severity", severity_name((enum severity)get_int(row, "severity")));
    put_str(out, "title", get_str(row, "title"));
    put_str(out, "description", get_str(row, "description"));
    put_str(out, "source", get_str(row, "source"));
    return out;
}

/* What every alert has with the same value. */
static json_t *common_of(const json_t *alerts, const char *member)
{
    json_t *first = json_object_get(json_array_get(alerts, 0), member);
    json_t *common = first ? json_copy(first) : json_object(), *value, *alert;
    const char *name;
    void *next;
    size_t i;

    json_array_foreach (alerts, i, alert) {
        json_t *own = json_object_get(alert, member);
        json_object_foreach_safe (common, next, name, value)
            if (!json_equal(value, json_object_get(own, name)))
                (void)json_object_del(common, name);
    }
    return common;
}

static json_t *line_new(const struct model *m, const char *emoji, const char *text)
{
    json_t *line = json_object();

    put_str(line, "emoji", emoji);
    put_str(line, "text", text_line(m->a, slice_of(text), LINE_MAX_BYTES));
    return line;
}

/* Does another alert of the list have the same title? */
static bool shares_title(const json_t *alerts, const json_t *alert)
{
    size_t i, n = 0;
    json_t *one;

    json_array_foreach (alerts, i, one)
        n += strcmp(get_str(one, "title"), get_str(alert, "title")) == 0;
    return n > 1;
}

/* "instance=i17, shard=4": the labels that others of the list do not have so. The severity stands
 * as emoji. NULL when there is none. */
static const char *own_labels(const struct model *m, const json_t *alert)
{
    const json_t *common = json_object_get(m->root, "common_labels");
    json_t *labels = json_object_get(alert, "labels"), *value;
    const char *name, *out = NULL;
    int n = 0;

    json_object_foreach (labels, name, value) {
        if (n == OWN_LABELS_MAX || json_object_get(common, name) || strcmp(name, "severity") == 0)
            continue;
        const char *longer = arena_printf(m->a, "%s%s%s=%s", out ? out : "", out ? ", " : "", name,
                                          json_string_value(value) ? json_string_value(value) : "");
        out = longer ? longer : out;
        n++;
    }
    return out;
}

/* A title that several share tells nothing apart; what the headline says already is left out. */
static const char *alert_text(const struct model *m, const json_t *alerts, const json_t *alert)
{
    const char *title = get_str(alert, "title");
    const char *own = shares_title(alerts, alert) ? own_labels(m, alert) : NULL;

    if (!own || strcmp(title, get_str(m->incident, "title")) == 0)
        return own ? own : title;
    const char *both = arena_printf(m->a, "%s (%s)", title, own);
    return both ? both : title;
}

static json_t *alert_line(const struct model *m, const json_t *alerts, const json_t *alert)
{
    bool resolved = json_is_true(json_object_get(alert, "resolved"));
    const char *severity = get_str(alert, "severity");
    const char *emoji =
        resolved ? "✅" : severity_emoji(severity_parse(slice_of(severity), SEVERITY_WARNING));
    json_t *line = line_new(m, emoji, alert_text(m, alerts, alert));

    put_str(line, "link", get_str(alert, "generator_url"));
    return line;
}

/* What fires first. */
static json_t *alert_lines(const struct model *m, const json_t *alerts)
{
    json_t *lines = json_array(), *alert;
    size_t i;

    for (int over = 0; over < 2; over++)
        json_array_foreach (alerts, i, alert)
            if (json_is_true(json_object_get(alert, "resolved")) == over)
                (void)json_array_append_new(lines, alert_line(m, alerts, alert));
    return lines;
}

/* An incident's alerts say themselves whether they fire; a group's are as its state told them. */
static bool is_resolved(const struct model *m, const json_t *row)
{
    if (!m->incident)
        return !listed(json_object_get(m->state, "alerts"), get_str(row, "fingerprint"));
    return get_int(row, "status") != ALERT_FIRING;
}

static void count_alerts(const struct model *m, size_t *ret_firing, size_t *ret_gone)
{
    *ret_firing = json_array_size(json_object_get(m->state, "alerts"));
    *ret_gone = json_array_size(json_object_get(m->state, "resolved_alerts"));
    if (!m->incident)
        return;
    *ret_firing = (size_t)get_int(m->incident, "alerts_firing");
    *ret_gone = (size_t)get_int(m->incident, "alerts_total") - *ret_firing;
}

/* An alert that is over is left out, as in Alertmanager; but not when nobody was told of it. */
static bool left_out(const struct model *m, const json_t *row)
{
    if (m->s->send_resolved)
        return false;
    return m->incident ||
           !told_untold(json_object_get(m->group, "told"), get_int(m->row, "integration"), m->about,
                        get_str(row, "fingerprint"));
}

void model_alerts(struct model *m)
{
    json_t *alerts = json_array(), *row;
    size_t i, gone_n, firing_n;

    count_alerts(m, &firing_n, &gone_n);
    json_array_foreach (json_object_get(m->facts, "alerts"), i, row) {
        bool resolved = is_resolved(m, row);
        if (resolved && left_out(m, row))
            continue;
        (void)json_array_append_new(alerts, one_alert(m, row, resolved));
    }
    size_t total = firing_n + (m->s->send_resolved ? gone_n : 0), shown = json_array_size(alerts);
    put_int(m->root, "firing_n", (int64_t)firing_n);
    put_int(m->root, "resolved_n", (int64_t)gone_n);
    put_int(m->root, "truncated_alerts", (int64_t)(total > shown ? total - shown : 0));
    (void)json_object_set_new(m->root, "common_labels", common_of(alerts, "labels"));
    (void)json_object_set_new(m->root, "common_annotations", common_of(alerts, "annotations"));
    (void)json_object_set_new(m->root, "alerts", alerts);
    /* One alert of an incident says nothing that its title does not say. */
    if (total > 1 || !m->incident)
        model_lines(m, alert_lines(m, alerts), total > shown ? total - shown : 0);
}

/* An incident as one line, as it is now. */
static json_t *incident_line(const struct model *m, const json_t *incident, const char *text)
{
    bool over = get_int(incident, "status") == INCIDENT_RESOLVED;
    const char *said = over ? words_fill(m->a, m->w->resolved_title, text, NULL, NULL, NULL) : text;
    json_t *line =
        line_new(m, over ? "✅" : severity_emoji(get_int(incident, "severity")), said ? said : "");

    put_str(line, "incident", get_str(incident, "id"));
    put_str(line, "service", get_str(incident, "service"));
    put_str(line, "severity", severity_name((enum severity)get_int(incident, "severity")));
    put_flag(line, "resolved", over);
    return line;
}

/* Open before over, severe before mild; equal ones stay as they were. */
static int64_t weight(const json_t *incident)
{
    return get_int(incident, "severity") +
           (get_int(incident, "status") == INCIDENT_RESOLVED ? 0 : 10);
}

static json_t *by_weight(const json_t *list)
{
    json_t *sorted = json_array(), *one;
    size_t i;

    json_array_foreach (list, i, one) {
        size_t at = json_array_size(sorted);
        while (at > 0 && weight(json_object_get(json_array_get(sorted, at - 1), "incident")) <
                             weight(json_object_get(one, "incident")))
            at--;
        (void)json_array_insert(sorted, at, one);
    }
    return sorted;
}

/* For programs that know alerts only: an incident of a digest as one alert. */
static json_t *item_alert(const struct model *m, const json_t *item)
{
    static const char *const names[][2] = {{"alertname", "alert_name"},
                                           {"environment", "environment"},
                                           {"error_type", "error_type"},
                                           {"namespace", "namespace"},
                                           {"service", "service"}};
    const json_t *incident = json_object_get(item, "incident");
    json_t *row = json_object(), *labels = json_object(), *annotations = json_object();
    char fingerprint[FINGERPRINT_STR];
    struct labels set = {0};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        put_str(labels, names[i][0], get_str(incident, names[i][1]));
    put_str(labels, "severity", severity_name((enum severity)get_int(incident, "severity")));
    put_str(annotations, "summary", get_str(incident, "title"));
    if (labels_from_tree(m->a, labels, &set) == 0)
        put_str(row, "fingerprint", fingerprint_format(labels_fingerprint(set), fingerprint));
    put_str(row, "title", get_str(incident, "title"));
    put_str(row, "link", get_str(incident, "link"));
    put_str(row, "source", get_str(incident, "source"));
    put_int(row, "severity", get_int(incident, "severity"));
    put_int(row, "starts_at", get_int(item, "first_at"));
    put_int(row, "ended_at", get_int(incident, "resolved_at"));
    (void)json_object_set_new(row, "labels", labels);
    (void)json_object_set_new(row, "annotations", annotations);
    json_t *alert = one_alert(m, row, get_int(incident, "status") == INCIDENT_RESOLVED);
    json_decref(row);
    return alert;
}

void model_items(struct model *m)
{
    json_t *items = by_weight(json_object_get(m->facts, "items")), *lines = json_array(), *item;
    const json_t *unread = json_object_get(m->facts, "unread");
    json_t *alerts = json_array();
    int64_t occurrences = get_int(unread, "occurrences");
    size_t i;

    json_array_foreach (items, i, item) {
        const json_t *incident = json_object_get(item, "incident");
        int64_t n = get_int(item, "occurrences");
        const char *title = get_str(incident, "title");
        const char *text = /* an end or an act is no occurrence */
            n > 0 ? words_fill(m->a, m->w->line_digest, title, model_number(m, n), NULL, NULL)
                  : title;
        json_t *line = incident_line(m, incident, text ? text : title);

        occurrences += n;
        put_int(line, "occurrences", n);
        (void)json_array_append_new(lines, line);
        (void)json_array_append_new(alerts, item_alert(m, item));
    }
    (void)json_object_set_new(m->root, "alerts", alerts);
    const int64_t left_out = get_int(unread, "n"), all = (int64_t)json_array_size(items) + left_out;
    put_int(m->root, "incidents_n", all);
    put_int(m->root, "occurrences_n", occurrences);
    put_str(m->root, "title",
            words_fill(m->a, m->w->digest_title, model_number(m, all), model_number(m, occurrences),
                       NULL, NULL));
    json_decref(items);
    model_lines(m, lines, (size_t)left_out);
}

/* A member about alerts without an incident is told by its group. */
static json_t *member_line(const struct model *m, const json_t *member)
{
    const json_t *incident = json_object_get(member, "incident");
    const json_t *state = json_object_get(json_object_get(member, "about"), "state");
    bool over = strcmp(get_str(state, "status"), "resolved") == 0;
    const char *text = get_str(member, "title");

    if (json_is_object(incident))
        return incident_line(m, incident, get_str(incident, "title"));
    json_t *line = line_new(m, over ? "✅" : severity_emoji(get_int(member, "severity")), text);
    put_flag(line, "resolved", over);
    return line;
}

void model_members(struct model *m)
{
    json_t *members = by_weight(json_object_get(m->facts, "members")), *lines = json_array(),
           *member;
    size_t i;

    json_array_foreach (members, i, member) {
        json_t *line = member_line(m, member);
        put_str(line, "member", get_str(member, "id"));
        (void)json_array_append_new(lines, line);
    }
    put_int(m->root, "messages_n", get_int(m->facts, "members_n"));
    put_str(m->root, "title",
            words_fill(m->a, m->w->merge_title, model_number(m, get_int(m->facts, "members_n")),
                       NULL, NULL, NULL));
    json_decref(members);
    model_lines(m, lines, (size_t)get_int(json_object_get(m->facts, "unread"), "n"));
}
