/* Sentences under the message: why it was sent, how late it is, what happened meanwhile. */
#include <string.h>

#include "common/clock.h"
#include "common/notification.h"
#include "notifier/model_internal.h"
#include "notifier/told.h"

#define LATE_AFTER (2 * MS_MINUTE)

static const char *fill(const struct model *m, const char *pattern, const char *v0, const char *v1)
{
    return words_fill(m->a, pattern, v0, v1, NULL, NULL);
}

/* A person did something, and it stands no further along for that: it is another one's now. */
static bool is_taken(const struct model *m)
{
    return get_int(m->incident, "status") != INCIDENT_OPEN && *get_str(m->incident, "owner") &&
           told_same_word(json_object_get(m->group, "told"), get_int(m->row, "integration"),
                          m->state);
}

static const char *reason_note(const struct model *m)
{
    const char *reason = get_str(m->row, "kind");
    const char *owner = get_str(m->incident, "owner");
    enum escalation_level level = (enum escalation_level)get_int(m->state, "level");

    if (strcmp(reason, "reopened") == 0)
        return fill(m, m->w->note_reopened, model_number(m, get_int(m->incident, "episode")), NULL);
    if (strcmp(reason, "severity") == 0)
        return fill(m, m->w->note_severity, severity_word(m->w, get_int(m->state, "severity")),
                    NULL);
    if (strcmp(reason, "repeat") == 0)
        return fill(m, m->w->note_repeat,
                    model_duration(m, m->s->now_ms - get_int(m->incident, "opened_at")), NULL);
    if (strcmp(reason, NOTIFICATION_SILENCE) == 0 && !get_int(m->state, "silenced_until"))
        return m->w->note_unsilenced;
    if (strcmp(reason, "status") == 0 && !m->resolved && is_taken(m))
        return fill(m, m->w->note_taken, owner, NULL);
    if (strcmp(reason, "status") == 0 && get_int(m->incident, "status") == INCIDENT_ACKNOWLEDGED)
        return fill(m, m->w->note_acknowledged, *owner ? owner : "?", NULL);
    if (strcmp(reason, "status") == 0 && get_int(m->incident, "status") == INCIDENT_INVESTIGATING)
        return fill(m, m->w->note_investigating, *owner ? owner : "?", NULL);
    if ((strcmp(reason, "crossing") == 0 || strcmp(reason, "opened") == 0) && level != LEVEL_NONE)
        return fill(m, m->w->note_crossing,
                    model_number(m, get_int(json_object_get(m->facts, "frequency"), "count_24h")),
                    escalation_level_name(level));
    return NULL;
}

static const char *silence_note(const struct model *m)
{
    const int64_t until = get_int(m->state, "silenced_until");

    if (m->resolved || until <= m->s->now_ms)
        return NULL;
    json_t *silenced = json_object();
    put_int(silenced, "until", until);
    put_str(silenced, "until_text", model_time(m, until));
    put_str(silenced, "by", get_str(m->state, "silenced_by"));
    (void)json_object_set_new(m->root, "silenced", silenced);
    return fill(m, m->w->note_silenced, get_str(silenced, "until_text"), get_str(silenced, "by"));
}

static const char *end_note(const struct model *m)
{
    bool over = get_int(m->incident, "status") == INCIDENT_RESOLVED;

    if (!m->incident)
        return NULL;
    if (over && !m->resolved)
        return fill(m, m->w->note_meanwhile, model_time(m, get_int(m->incident, "resolved_at")),
                    NULL);
    if (over && get_int(m->incident, "resolved_by") == RESOLVED_BY_PERSON)
        return m->w->note_by_person;
    if (over && get_int(m->incident, "resolved_by") == RESOLVED_BY_SILENCE)
        return m->w->note_expired;
    return NULL;
}

static void add(json_t *notes, const char *text)
{
    if (text && *text)
        (void)json_array_append_new(notes, json_string(text));
}

void model_notes(struct model *m)
{
    json_t *notes = json_array();
    /* Silence is judged some time after it began: that is not late. */
    bool silence = get_int(m->incident, "resolved_by") == RESOLVED_BY_SILENCE;
    int64_t due = silence ? 0 : get_int(m->about, "due_at");
    int64_t late = m->s->now_ms - (due ? due : get_int(m->row, "created_at"));
    int64_t since = get_int(json_object_get(m->facts, "missed"), "firing_since");

    add(notes, reason_note(m));
    add(notes, silence_note(m));
    if (m->resolved && since) {
        put_str(m->root, "firing_since", model_time(m, since));
        add(notes, fill(m, m->w->note_missed, model_time(m, since), NULL));
    }
    add(notes, end_note(m));
    const json_t *instead = json_object_get(m->about, "fallback");
    if (instead)
        add(notes, fill(m, m->w->note_fallback, get_str(instead, "of"), get_str(instead, "why")));
    if (late > LATE_AFTER) {
        put_str(m->root, "late", model_duration(m, late));
        put_int(m->root, "late_ms", late);
        add(notes, fill(m, m->w->note_late, model_duration(m, late), NULL));
    }
    if (json_object_get(m->root, "possible_duplicate"))
        add(notes, m->w->note_duplicate);
    (void)json_object_set_new(m->root, "notes", notes);
}
