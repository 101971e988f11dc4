#include "notifier/job.h"

#include <errno.h>

#include "common/clock.h"
#include "common/frequency.h"
#include "common/json.h"
#include "common/notification.h"
#include "notifier/told.h"

#define JOB_MEMORY ((size_t)16 << 20)

void job_free(struct job *j)
{
    if (j)
        arena_free(j->a); /* the job itself lives there */
}

void job_free_list(struct job *list)
{
    while (list) {
        struct job *next = list->next;
        job_free(list);
        list = next;
    }
}

static int64_t number(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

/* The counters of the anomaly become the counts that people read. */
static void add_frequency(json_t *facts, struct slice packed, int64_t now_ms)
{
    json_t *anomaly = json_object_get(facts, "anomaly");
    struct frequency f;

    if (!json_is_object(anomaly) || !json_is_integer(json_object_get(anomaly, "first_seen")) ||
        frequency_unpack(packed, &f, NULL) < 0)
        return;
    struct frequency_counts n = frequency_count(&f, now_ms);
    (void)json_object_set_new(facts, "frequency",
                              json_pack("{s:I,s:I,s:I,s:I,s:O,s:O}", "count_1h", (json_int_t)n.h1,
                                        "count_24h", (json_int_t)n.h24, "count_7d",
                                        (json_int_t)n.d7, "count_30d", (json_int_t)n.d30,
                                        "first_seen", json_object_get(anomaly, "first_seen"),
                                        "last_seen", json_object_get(anomaly, "last_seen")));
}

/* SQL's nulls are absent members here. */
static void drop_nulls(json_t *facts)
{
    const char *name;
    json_t *value;
    void *next;

    json_object_foreach_safe (facts, next, name, value)
        if (json_is_null(value))
            (void)json_object_del(facts, name);
}

static bool fill(struct job *j, const json_t *row, const struct outlets *o)
{
    if (!uuid_parse(slice_of(text(row, "id")), &j->id) ||
        !uuid_parse(slice_of(text(row, "group_id")), &j->group))
        return false;
    (void)uuid_format(&j->id, j->id_text);
    (void)uuid_format(&j->group, j->group_text);
    j->kind = text(row, "kind");
    j->merge = strcmp(j->kind, "merge") == 0;
    j->digest = strcmp(j->kind, "digest") == 0;
    j->by_edit = strcmp(j->kind, NOTIFICATION_SILENCE) == 0;
    j->seq = number(row, "seq");
    j->severity = number(row, "severity");
    j->created_at = number(row, "created_at");
    j->integration = number(row, "integration");
    j->attempts = number(row, "attempts");
    j->first_try = number(j->facts, "first_try");
    j->state = json_object_get(json_object_get(row, "about"), "state");
    j->outlet = outlet_find(o, slice_of(text(row, "receiver")), j->integration,
                            slice_of(text(row, "channel")));
    return true;
}

struct job *job_new(const struct job_input *in, const struct outlets *o, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(JOB_MEMORY);
    struct job *j = a ? arena_new_of(a, struct job) : NULL;

    if (!j) {
        (void)err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    j->tenant = arena_slice(a, in->tenant);
    j->facts = json_tree(in->head, a, e);
    json_t *others = j->facts ? json_tree(in->others, a, e) : NULL;
    if (!others)
        return NULL;
    (void)json_object_update(j->facts, others);
    drop_nulls(j->facts);
    add_frequency(j->facts, in->frequency, in->now_ms);
    json_t *row = json_object_get(j->facts, "notification");
    if (!fill(j, row, o)) {
        (void)err_set(e, -EBADMSG, "the notification row has no id");
        return NULL;
    }
    j->now_ms = in->now_ms;
    j->loaded_at = clock_monotonic_ms();
    if (j->merge)
        (void)job_members(j);
    j->a = TAKE(a);
    return j;
}

const json_t *job_about(const struct job *j)
{
    return json_object_get(json_object_get(j->facts, "notification"), "about");
}

/* When the first alert began that is over and was never told; 0: there is none. */
static int64_t untold_since(const struct job *j, const json_t *told)
{
    const json_t *about = job_about(j), *state = json_object_get(about, "state"), *alert;
    int64_t since = 0;
    size_t i;

    if (strcmp(text(state, "status"), "resolved") != 0)
        return 0;
    json_array_foreach (json_object_get(j->facts, "alerts"), i, alert) {
        const int64_t at = number(alert, "starts_at");
        if (told_untold(told, j->integration, about, text(alert, "fingerprint")) &&
            (!since || at < since))
            since = at;
    }
    return since;
}

void job_missed(struct job *j)
{
    const json_t *told = json_object_get(json_object_get(j->facts, "group"), "told");
    const json_t *incident = json_object_get(j->facts, "incident");
    int64_t since = number(j->facts, "earlier_firing_at");

    if (since && number(incident, "opened_at"))
        since = number(incident, "opened_at");
    else if (!since && !incident)
        since = untold_since(j, told);
    if (since && !told_firing(told, j->integration))
        (void)json_object_set_new(j->facts, "missed",
                                  json_pack("{s:I}", "firing_since", (json_int_t)since));
}

#define MEMBER_KEY 64

static const char *member_key(const json_t *member, char ret[MEMBER_KEY])
{
    (void)snprintf(ret, MEMBER_KEY, "%s %lld", text(member, "group_id"),
                   (long long)number(member, "integration"));
    return ret;
}

/* The newest word of each group among them: {"GROUP INTEGRATION": seq}. */
static json_t *newest_of(const json_t *members)
{
    json_t *newest = json_object(), *one;
    char key[MEMBER_KEY];
    size_t i;

    json_array_foreach (members, i, one)
        if (!json_object_get(newest, member_key(one, key)) ||
            number(newest, key) < number(one, "seq"))
            (void)json_object_set(newest, key, json_object_get(one, "seq"));
    return newest;
}

size_t job_members(struct job *j)
{
    json_t *all = json_object_get(j->facts, "members"), *left = json_array(), *one;
    json_t *newest = newest_of(all);
    char key[MEMBER_KEY];
    size_t i;

    json_array_foreach (all, i, one) {
        const json_t *delivered = json_object_get(one, "delivered_seq");
        const int64_t seq = number(one, "seq");
        const bool news = (!json_is_integer(delivered) || json_integer_value(delivered) < seq) &&
                          number(newest, member_key(one, key)) <= seq;
        /* Each digest has its own period: an older one is no older word. */
        if (news || strcmp(text(one, "kind"), "digest") == 0)
            (void)json_array_append(left, one);
    }
    json_decref(newest);
    size_t n = json_array_size(left);
    (void)json_object_set(j->facts, "all_members", all);
    (void)json_object_set_new(j->facts, "members", left);
    (void)json_object_set_new(j->facts, "members_n", json_integer((json_int_t)n));
    return n;
}
