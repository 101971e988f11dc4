/* Where it is and since when: what stands above the gap. */
#include <string.h>

#include "common/clock.h"
#include "notifier/model_internal.h"
#include "notifier/text.h"

#define LABELS_MAX 8
#define LABELS_MAX_BYTES 400

/* When it happened: the end of what is over, else its last occurrence. */
static int64_t event_time(const struct model *m)
{
    int64_t at =
        m->resolved ? get_int(m->incident, "resolved_at") : get_int(m->incident, "last_seen");

    if (!at)
        at = get_int(m->state, "at");
    return at ? at : get_int(m->row, "created_at");
}

/* Since when: the oldest of what it lists may have begun before we heard of it. 0: unknown. */
static int64_t began(const struct model *m)
{
    int64_t first = get_int(m->incident, "opened_at");
    const json_t *row;
    size_t i;

    json_array_foreach (json_object_get(m->facts, "alerts"), i, row) {
        int64_t at = get_int(row, "starts_at");
        if (at > 0 && (first == 0 || at < first) &&
            (m->resolved || get_int(row, "status") == ALERT_FIRING))
            first = at;
    }
    return first;
}

/* How long is the first that one asks who is woken; when it is told as it begins, that is no
 * news. */
static const char *time_and_duration(const struct model *m, const char *at)
{
    int64_t since = began(m), until = m->resolved ? event_time(m) : m->s->now_ms;

    if (!at || since == 0 || until - since < MS_MINUTE)
        return at;
    return words_fill(m->a, m->resolved ? m->w->time_lasted : m->w->time_for, at,
                      model_duration(m, until - since), NULL, NULL);
}

/* Does the reader see it already? */
static bool is_shown(const struct model *m, const char *name, const char *value)
{
    static const char *const lines[] = {"service", "environment", NULL};

    if (strcmp(name, "severity") == 0 ||
        json_object_get(json_object_get(json_object_get(m->root, "group"), "labels"), name))
        return true;
    for (size_t i = 0; lines[i]; i++)
        if (strcmp(value, get_str(m->root, lines[i])) == 0)
            return true;
    return strcmp(name, "alertname") == 0 && strstr(get_str(m->root, "title"), value);
}

/* "instance=db-1, mountpoint=/var": what all that it lists have, and no other line says. */
static const char *labels_text(const struct model *m)
{
    CLEANUP(buf_release) struct buf out = BUF_INIT((size_t)16 << 10);
    const char *name;
    json_t *value;
    size_t n = 0;

    json_object_foreach (json_object_get(m->root, "common_labels"), name, value) {
        const char *text = json_string_value(value);
        if (!text || !*text || is_shown(m, name, text))
            continue;
        if (n++ == LABELS_MAX) {
            buf_printf(&out, ", …");
            break;
        }
        buf_printf(&out, "%s%s=%s", out.len ? ", " : "", name, text);
    }
    return out.failed ? NULL : text_line(m->a, slice_of(buf_str(&out)), LABELS_MAX_BYTES);
}

void model_origin(struct model *m, int64_t severity)
{
    json_t *origin = json_array();
    const char *source = source_name(get_str(m->incident, "source"));
    const char *at = model_time(m, event_time(m));
    const struct source *type = source_like(get_str(m->incident, "source"));
    /* An error's labels and start are its sender's; what it says of them is in its text. */
    bool watched = !type || !type->application;

    put_str(m->root, "source", source);
    put_str(m->root, "environment", get_str(m->incident, "environment"));
    put_str(m->root, "service", get_str(m->incident, "service"));
    put_str(m->root, "namespace", get_str(m->incident, "namespace"));
    put_str(m->root, "error_type", get_str(m->incident, "error_type"));
    put_str(m->root, "time", at);
    put_field(origin, m->w->source, source);
    put_field(origin, m->w->environment, get_str(m->incident, "environment"));
    put_field(origin, m->w->service, get_str(m->incident, "service"));
    put_field(origin, m->w->labels, watched ? labels_text(m) : NULL);
    put_field(origin, m->w->time, watched ? time_and_duration(m, at) : at);
    put_field(origin, m->w->level, severity_word(m->w, severity));
    put_field(origin, m->w->owner, get_str(m->incident, "owner"));
    (void)json_object_set_new(m->root, "origin", origin);
}
