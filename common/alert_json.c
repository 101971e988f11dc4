#include "common/alert_json.h"

#include <string.h>

#include "common/clock.h"

static json_t *text(struct slice s)
{
    return json_stringn(s.p ? s.p : "", s.len);
}

static json_t *time_text(int64_t ms)
{
    char out[RFC3339_MAX];
    return ms == 0 ? json_null() : json_string(rfc3339_format(ms, out));
}

static json_t *labels_tree(struct labels l)
{
    json_t *o = json_object();
    for (size_t i = 0; i < l.n; i++)
        (void)json_object_setn_new(o, l.v[i].name.p, l.v[i].name.len, text(l.v[i].value));
    return o;
}

static void set_text(json_t *o, const char *key, struct slice s)
{
    if (s.len > 0)
        (void)json_object_set_new(o, key, text(s));
}

/* One a line. */
static void set_words(json_t *o, const char *key, struct slice s)
{
    json_t *list = s.len > 0 ? json_array() : NULL;

    while (s.len > 0) {
        const char *end = memchr(s.p, '\n', s.len);
        const size_t n = end ? (size_t)(end - s.p) : s.len;
        (void)json_array_append_new(list, text((struct slice){s.p, n}));
        s.p += n + (end != NULL);
        s.len -= n + (end != NULL);
    }
    if (list)
        (void)json_object_set_new(o, key, list);
}

static void set_count(json_t *o, const char *key, int64_t n)
{
    if (n > 0)
        (void)json_object_set_new(o, key, json_integer(n));
}

static void set_flag(json_t *o, const char *key, bool set)
{
    if (set)
        (void)json_object_set_new(o, key, json_true());
}

json_t *alert_event_json(const struct alert_event *ev, struct slice tenant)
{
    static const char *const kinds[] = {"", "firing", "resolved", "opened", "occurred", "note"};
    char hex[FINGERPRINT_STR], key[2 * ANOMALY_KEY_LEN + 1];
    struct anomaly an;
    anomaly_of(tenant, ev->labels, &an);
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:o, s:o, s:s, s:s, s:o, s:o}", "kind", kinds[ev->kind],
                  "fingerprint", fingerprint_format(ev->fingerprint, hex), "anomaly",
                  hex_encode(an.key, sizeof(an.key), key), "labels", labels_tree(ev->labels),
                  "annotations", labels_tree(ev->annotations), "severity",
                  severity_name(ev->severity), "severity_again", severity_name(ev->severity_again),
                  "starts_at", time_text(ev->starts_at), "ends_at", time_text(ev->ends_at));
    if (!o)
        return NULL;
    set_words(o, "fingerprint_words", ev->words);
    set_text(o, "event_id", ev->event_id);
    set_text(o, "title", ev->title);
    set_text(o, "description", ev->description);
    set_text(o, "link", ev->link);
    set_text(o, "note", ev->note);
    set_text(o, "actor", ev->actor);
    set_count(o, "impact_users", ev->impact_users);
    set_count(o, "impact_events", ev->impact_events);
    set_flag(o, "acknowledges", ev->acknowledges);
    set_flag(o, "ends_announced", ev->ends_announced);
    set_flag(o, "truncated", ev->truncated);
    return o;
}
