#include "notifier/model.h"

#include <string.h>

#include "common/clock.h"
#include "common/source.h"
#include "notifier/model_internal.h"
#include "notifier/text.h"
#include "notifier/told.h"

#define TITLE_MAX 200
#define DESCRIPTION_MAX 900
#define RULE "━━━━━━━━━━━━━━━━"

const char *get_str(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

int64_t get_int(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

void put_str(json_t *o, const char *key, const char *value)
{
    if (value && *value)
        (void)json_object_set_new(o, key, json_string(value));
}

void put_int(json_t *o, const char *key, int64_t value)
{
    (void)json_object_set_new(o, key, json_integer(value));
}

void put_flag(json_t *o, const char *key, bool value)
{
    if (value)
        (void)json_object_set_new(o, key, json_true());
}

void put_field(json_t *list, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    json_t *field = json_object();
    put_str(field, "name", name);
    put_str(field, "value", value);
    (void)json_array_append_new(list, field);
}

const char *model_time(const struct model *m, int64_t ms)
{
    char text[ZONE_TEXT];

    return ms > 0 ? arena_printf(m->a, "%s", zone_format(m->s->zone, ms, text)) : NULL;
}

const char *model_duration(const struct model *m, int64_t ms)
{
    char text[RFC3339_MAX];
    int64_t unit = ms >= MS_MINUTE ? MS_MINUTE : MS_SECOND;

    return arena_printf(m->a, "%s", duration_format(ms > 0 ? ms / unit * unit : 0, text));
}

const char *model_number(const struct model *m, int64_t n)
{
    return arena_printf(m->a, "%lld", (long long)n);
}

const char *severity_word(const struct words *w, int64_t severity)
{
    switch (severity) {
    case SEVERITY_CRITICAL:
        return w->critical;
    case SEVERITY_ERROR:
        return w->severe;
    case SEVERITY_WARNING:
        return w->warning;
    default:
        return w->info;
    }
}

const char *severity_emoji(int64_t severity)
{
    if (severity >= SEVERITY_ERROR)
        return "🚨";
    return severity == SEVERITY_WARNING ? "⚠️" : "ℹ️";
}

const char *source_name(const char *source)
{
    const struct source *type = source_find(source);

    return type && type->title ? type->title : source;
}

/* Entries under `sources:` are mostly named after their type, with something behind it. */
const struct source *source_like(const char *source)
{
    const struct source *type;

    for (size_t i = 0; (type = source_at(i)); i++)
        if (strncmp(source, type->name, strlen(type->name)) == 0)
            return type;
    return NULL;
}

const char *source_word(const struct words *w, const char *source)
{
    const struct source *type = source_like(source);

    return !type || !type->title ? w->alert
           : type->application   ? w->application_error
                                 : w->monitoring;
}

void model_lines(struct model *m, json_t *lines, size_t left_out)
{
    size_t n = json_array_size(lines);

    put_int(m->root, "more_n", (int64_t)left_out);
    (void)json_object_set_new(m->root, "lines", lines);
    if (left_out > 0 || n > m->s->max_alerts)
        model_cut_lines(m->root, n < m->s->max_alerts ? n : m->s->max_alerts, m->w, m->a);
}

void model_cut_lines(json_t *model, size_t n, const struct words *w, struct arena *a)
{
    json_t *lines = json_object_get(model, "lines");
    size_t more = (size_t)get_int(model, "more_n");

    while (json_array_size(lines) > n) {
        (void)json_array_remove(lines, json_array_size(lines) - 1);
        more++;
    }
    put_int(model, "more_n", (int64_t)more);
    const char *count = more ? arena_printf(a, "%zu", more) : NULL;
    put_str(model, "more", count ? words_fill(a, w->more, count, NULL, NULL, NULL) : NULL);
}

/* Labels as one line: a=b, c=d. */
static const char *labels_line(const struct model *m, json_t *labels)
{
    CLEANUP(buf_release) struct buf out = BUF_INIT(2048);
    const char *name;
    json_t *value;

    json_object_foreach (labels, name, value)
        buf_printf(&out, "%s%s=%s", out.len ? ", " : "", name,
                   json_string_value(value) ? json_string_value(value) : "");
    return out.failed ? "" : arena_strndup(m->a, buf_str(&out), out.len);
}

static const char *incident_link(const struct model *m)
{
    const char *id = get_str(m->incident, "id");

    if (!*m->s->external_url)
        return NULL;
    size_t len = strlen(m->s->external_url);
    while (len > 0 && m->s->external_url[len - 1] == '/')
        len--;
    return *id ? arena_printf(m->a, "%.*s/#/incidents/%s", (int)len, m->s->external_url, id)
               : arena_printf(m->a, "%.*s/", (int)len, m->s->external_url);
}

static void put_frequency(struct model *m, json_t *details)
{
    json_t *f = json_object_get(m->facts, "frequency");
    enum escalation_level level = (enum escalation_level)get_int(m->incident, "level");
    const char *counts;

    if (!f)
        return;
    json_t *out = json_object();
    (void)json_object_update(out, f);
    put_str(out, "escalation_level", escalation_level_name(level));
    put_str(out, "first_seen_text", model_time(m, get_int(f, "first_seen")));
    put_str(out, "last_seen_text", model_time(m, get_int(f, "last_seen")));
    (void)json_object_set_new(m->root, "frequency", out);
    counts = words_fill(m->a, m->w->counts, model_number(m, get_int(f, "count_1h")),
                        model_number(m, get_int(f, "count_24h")),
                        model_number(m, get_int(f, "count_7d")),
                        model_number(m, get_int(f, "count_30d")));
    if (counts && level != LEVEL_NONE)
        counts =
            words_fill(m->a, m->w->counts_level, counts, escalation_level_name(level), NULL, NULL);
    put_str(out, "text", counts);
    put_field(details, m->w->frequency, counts);
}

static const char *impact_text(const struct model *m, int64_t users, int64_t events)
{
    const char *u =
        users ? words_fill(m->a, m->w->users_n, model_number(m, users), NULL, NULL, NULL) : "";
    const char *n =
        events ? words_fill(m->a, m->w->events_n, model_number(m, events), NULL, NULL, NULL) : "";

    return u && n ? arena_printf(m->a, "%s%s%s", u, *u && *n ? m->w->comma : "", n) : NULL;
}

static void put_incident(struct model *m)
{
    static const char *const texts[] = {"id",          "title",   "description", "source",
                                        "environment", "service", "namespace",   "error_type",
                                        "alert_name",  "owner",   NULL};
    static const char *const numbers[] = {"occurrences",  "episode",   "alerts_firing",
                                          "alerts_total", "opened_at", "updated_at",
                                          "resolved_at",  "last_seen", NULL};
    json_t *out = json_object();

    for (size_t i = 0; texts[i]; i++)
        put_str(out, texts[i], get_str(m->incident, texts[i]));
    for (size_t i = 0; numbers[i]; i++)
        put_int(out, numbers[i], get_int(m->incident, numbers[i]));
    put_str(out, "status",
            incident_status_name((enum incident_status)get_int(m->incident, "status")));
    put_str(out, "severity", severity_name((enum severity)get_int(m->incident, "severity")));
    if (get_int(m->incident, "resolved_by"))
        put_str(out, "resolved_by",
                resolved_by_name((enum resolved_by)get_int(m->incident, "resolved_by")));
    put_str(out, "opened_at_text", model_time(m, get_int(m->incident, "opened_at")));
    put_str(out, "resolved_at_text", model_time(m, get_int(m->incident, "resolved_at")));
    put_str(out, "link", incident_link(m));
    (void)json_object_set_new(m->root, "incident", out);
}

static void put_details(struct model *m)
{
    json_t *details = json_array();
    const char *description =
        text_line(m->a, slice_of(get_str(m->incident, "description")), DESCRIPTION_MAX);
    int64_t users = get_int(m->incident, "impact_users"),
            events = get_int(m->incident, "impact_events");

    if (events < get_int(m->incident, "occurrences"))
        events = get_int(m->incident, "occurrences");
    json_t *impact = json_object();
    put_int(impact, "users", users);
    put_int(impact, "events", events);
    put_str(impact, "text", impact_text(m, users, events));
    put_str(m->root, "description", description);
    put_field(details, m->w->error, description);
    put_field(details, m->w->impact, get_str(impact, "text"));
    (void)json_object_set_new(m->root, "impact", impact);
    put_frequency(m, details);
    model_repair(m);
    put_field(details, m->w->repair, get_str(json_object_get(m->root, "repair"), "text"));
    put_field(details, m->w->runbook,
              get_str(json_object_get(m->root, "common_annotations"), "runbook_url"));
    if (!m->incident)
        put_field(details, m->w->group, get_str(json_object_get(m->root, "group"), "labels_text"));
    (void)json_object_set_new(m->root, "details", details);
}

/* The headline: emoji, kind of source, title. */
static void put_headline(struct model *m, const char *emoji, const char *category,
                         const char *title)
{
    const char *line = text_line(m->a, slice_of(title), TITLE_MAX);
    const char *said = line;

    if (m->resolved && line)
        said = words_fill(m->a, m->w->resolved_title, line, NULL, NULL, NULL);
    put_str(m->root, "emoji", emoji);
    put_str(m->root, "category", category);
    put_str(m->root, "title", line);
    put_str(m->root, "headline",
            arena_printf(m->a, "%s [%s] %s", emoji, category, said ? said : ""));
    put_str(m->root, "rule", RULE);
}

static const char *title_of_alerts(const struct model *m)
{
    const json_t *alerts = json_object_get(m->root, "alerts");
    const json_t *first = json_array_get(alerts, 0);
    const char *name = get_str(json_object_get(m->root, "common_labels"), "alertname");

    if (json_array_size(alerts) == 1)
        return get_str(first, "title");
    if (!*name)
        name = get_str(json_object_get(m->root, "group"), "labels_text");
    int64_t firing = get_int(m->root, "firing_n");
    const char *count = words_fill(
        m->a, m->resolved ? m->w->resolved_n : m->w->firing_n,
        model_number(m, m->resolved ? get_int(m->root, "resolved_n") : firing), NULL, NULL, NULL);
    return arena_printf(m->a, "%s (%s)", name, count ? count : "");
}

static void put_group(struct model *m)
{
    json_t *group = json_object();
    json_t *labels = json_object_get(m->about, "group_labels");

    put_str(group, "id", get_str(m->row, "group_id"));
    put_str(group, "key", get_str(m->about, "group_key"));
    (void)json_object_set(group, "labels",
                          json_is_object(labels) ? labels : json_object_get(m->group, "labels"));
    if (!json_object_get(group, "labels"))
        (void)json_object_set_new(group, "labels", json_object());
    put_str(group, "labels_text", labels_line(m, json_object_get(group, "labels")));
    (void)json_object_set_new(m->root, "group", group);
}

static void put_message(struct model *m, int64_t severity)
{
    put_str(m->root, "id", get_str(m->row, "id"));
    put_str(m->root, "reason", get_str(m->row, "kind"));
    put_str(m->root, "receiver", get_str(m->row, "receiver"));
    put_str(m->root, "status", m->resolved ? "resolved" : "firing");
    put_flag(m->root, "firing", !m->resolved);
    put_flag(m->root, "resolved", m->resolved);
    put_int(m->root, "sequence", get_int(m->row, "seq"));
    put_int(m->root, "created_at", get_int(m->row, "created_at"));
    put_flag(m->root, "possible_duplicate",
             json_is_true(json_object_get(m->row, "possible_duplicate")));
    put_str(m->root, "severity", severity_name((enum severity)severity));
    put_str(m->root, "severity_word", severity_word(m->w, severity));
    put_str(m->root, "locale", m->w->locale);
    put_str(m->root, "time_zone", zone_name(m->s->zone));
    put_str(m->root, "external_url", m->s->external_url);
    put_str(m->root, "link", incident_link(m));
    put_str(m->root, "source_link", get_str(m->incident, "link"));
}

static void put_words(struct model *m)
{
    json_t *words = json_object();

#define X(name) put_str(words, #name, m->w->name);
    WORDS(X)
#undef X
    (void)json_object_set_new(m->root, "word", words);
}

/* Do the readers have the message that this one continues? The group of an incident tells that one
 * alone; any other begins anew once it was over. */
static bool is_news(const struct model *m)
{
    const json_t *told = json_object_get(m->group, "told");
    int64_t integration = get_int(m->row, "integration");

    return m->incident ? told_delivered_seq(told, integration) >= 0
                       : told_firing(told, integration);
}

static void build(struct model *m)
{
    const char *kind = get_str(m->row, "kind");
    int64_t severity = get_int(m->incident, "severity");
    bool digest = strcmp(kind, "digest") == 0, merge = strcmp(kind, "merge") == 0;

    if (!severity)
        severity = get_int(m->row, "severity");
    put_message(m, severity);
    put_words(m);
    put_group(m);
    if (digest || merge) {
        put_flag(m->root, "is_digest", digest);
        put_flag(m->root, "is_merge", merge);
        if (digest)
            model_items(m);
        else
            model_members(m);
        put_headline(m, digest ? "📋" : severity_emoji(severity),
                     digest ? m->w->digest : m->w->merged, get_str(m->root, "title"));
    } else {
        model_alerts(m);
        put_flag(m->root, "is_incident", m->incident != NULL);
        put_flag(m->root, "is_alerts", m->incident == NULL);
        put_flag(m->root, "is_news", is_news(m));
        if (m->incident)
            put_incident(m);
        const char *source = get_str(m->incident, "source");
        const json_t *first = json_array_get(json_object_get(m->root, "alerts"), 0);
        put_headline(m, m->resolved ? "✅" : severity_emoji(severity),
                     source_word(m->w, *source ? source : get_str(first, "source")),
                     m->incident ? get_str(m->incident, "title") : title_of_alerts(m));
        model_origin(m, severity);
        put_details(m);
        model_acts(m);
    }
    model_notes(m);
    model_report(m);
}

static void free_tree(void *tree)
{
    json_decref(tree);
}

json_t *model_build(const json_t *facts, const struct style *s, struct arena *a)
{
    struct model m = {.facts = facts, .s = s, .w = s->words, .a = a, .root = json_object()};

    if (!m.root || arena_defer(a, free_tree, m.root) < 0)
        return NULL;
    m.row = json_object_get(facts, "notification");
    m.about = json_object_get(m.row, "about");
    m.state = json_object_get(m.about, "state");
    m.incident = json_object_get(facts, "incident");
    m.group = json_object_get(facts, "group");
    m.resolved = strcmp(get_str(m.state, "status"), "resolved") == 0;
    build(&m);
    return m.root;
}
