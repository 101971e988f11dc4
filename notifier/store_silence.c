/* Silences that came to be after the flush: what they keep is not sent. */
#include <errno.h>
#include <string.h>

#include "common/log.h"
#include "common/notification.h"
#include "common/silence.h"
#include "notifier/fallback.h"
#include "notifier/store.h"

#define MEMORY ((size_t)64 << 20)
#define ALERTS_AT_ONCE 50000

/* What may be withheld: a message, the newest word of one group in a merge, or an item of a digest.
 */
struct candidate {
    struct job *j;
    json_t *member; /* NULL: the message itself */
    const struct silencing *by;
};

struct item {
    struct job *digest;
    json_t *item;
};

struct asking {
    struct store *st;
    struct arena *a;
    struct candidate *v;
    size_t n;
    struct item *items;
    struct silence_look *item_looks; /* one for each */
    size_t item_n;
    struct silenced_group *found;
    int64_t *ends;
    size_t found_n;
};

static int no_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "out of memory");
}

static const json_t *row_of(const struct candidate *c)
{
    return c->member ? c->member : json_object_get(c->j->facts, "notification");
}

static const json_t *state_of(const struct candidate *c)
{
    return json_object_get(json_object_get(row_of(c), "about"), "state");
}

static const char *text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

static bool is_digest(const json_t *row)
{
    return strcmp(text(row, "kind"), "digest") == 0;
}

/* An end is owed to whom was told; of digests the items are judged. */
static bool may_be_withheld(const struct candidate *c)
{
    return !is_digest(row_of(c)) && strcmp(text(row_of(c), "kind"), NOTIFICATION_SILENCE) != 0 &&
           strcmp(text(state_of(c), "status"), "firing") == 0 &&
           json_array_size(json_object_get(state_of(c), "resolved_alerts")) == 0;
}

static int withhold(struct asking *k, struct candidate *c, const struct silencing *by,
                    struct err *e)
{
    struct uuid group;
    int64_t integration;
    const char *reason = arena_printf(c->j->a, "%s", by->reason);

    if (!reason)
        return no_memory(e);
    if (!fallback_group(c->j, c->member, &group, &integration))
        return 0;
    c->by = by;
    if (!c->member) {
        c->j->end = LIFE_SUPPRESS;
        c->j->silenced = true;
        c->j->reason = reason;
    }
    k->ends[k->found_n] = by->ends_ms;
    k->found[k->found_n++] =
        (struct silenced_group){.tenant = c->j->tenant, .silence = by->id, .group = group};
    return 0;
}

static int judge_incidents(struct asking *k, int64_t now_ms, struct err *e)
{
    struct silence_look *v = arena_array(k->a, k->n + 1, struct silence_look);
    struct candidate **of = arena_array(k->a, k->n + 1, struct candidate *);
    size_t n = 0;

    if (!v || !of)
        return no_memory(e);
    for (size_t i = 0; i < k->n; i++) {
        if (!uuid_parse(slice_of(text(row_of(&k->v[i]), "incident_id")), &v[n].incident))
            continue;
        of[n] = &k->v[i];
        v[n++].tenant = k->v[i].j->tenant;
    }
    int rc = silences_of_incidents(k->st->pg, k->a, v, n, now_ms, e);
    for (size_t i = 0; i < n && rc == 0; i++)
        if (v[i].by)
            rc = withhold(k, of[i], v[i].by, e);
    return rc;
}

/* Those that a message of a group of alerts tells as firing; NULL: it is about an incident. */
static const json_t *alerts_of(const struct candidate *c)
{
    return *text(row_of(c), "incident_id") ? NULL : json_object_get(state_of(c), "alerts");
}

static size_t look_at(const struct candidate *c, struct silence_look *v)
{
    const json_t *one;
    size_t n = 0, i;

    json_array_foreach (alerts_of(c), i, one) {
        v[n].tenant = c->j->tenant;
        n += fingerprint_parse(slice_of(json_string_value(one)), &v[n].fingerprint);
    }
    return n;
}

/* A group of alerts is silenced when each of these is. */
static const struct silencing *first_of(const struct silence_look *v, size_t n)
{
    const struct silencing *first = NULL;

    for (size_t i = 0; i < n; i++) {
        if (!v[i].by)
            return NULL;
        if (!first || v[i].by->ends_ms < first->ends_ms)
            first = v[i].by;
    }
    return first;
}

/* From *at on as many as are judged at once: groups that wait together tell the same alerts. */
static int judge_alerts(struct asking *k, size_t *at, int64_t now_ms, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(MEMORY);
    const size_t begin = *at;
    size_t most = 0, n = 0;

    for (; *at < k->n; ++*at) {
        const size_t more = json_array_size(alerts_of(&k->v[*at]));
        if (*at > begin && most + more > ALERTS_AT_ONCE)
            break;
        most += more;
    }
    struct silence_look *v = a ? arena_array(a, most + 1, struct silence_look) : NULL;
    size_t *ends = a ? arena_array(a, *at - begin + 1, size_t) : NULL;
    if (!v || !ends)
        return no_memory(e);
    for (size_t i = begin; i < *at; i++)
        ends[i - begin] = n += look_at(&k->v[i], v + n);
    int rc = silences_of_alerts(k->st->pg, k->a, v, n, now_ms, e);
    n = 0;
    for (size_t i = begin; i < *at && rc == 0; i++) {
        const struct silencing *by = first_of(v + n, ends[i - begin] - n);
        n = ends[i - begin];
        rc = by ? withhold(k, &k->v[i], by, e) : 0;
    }
    return rc;
}

/* Of a digest, each incident for itself; its group waits for each silence once. */
static int judge_items(struct asking *k, int64_t now_ms, struct err *e)
{
    int rc = silences_of_incidents(k->st->pg, k->a, k->item_looks, k->item_n, now_ms, e);

    for (size_t i = 0; i < k->item_n && rc == 0; i++) {
        const struct silencing *by = k->item_looks[i].by;
        struct silenced_group g = {.tenant = k->item_looks[i].tenant};
        int64_t integration;
        bool known = false;

        if (!by || !fallback_group(k->items[i].digest, NULL, &g.group, &integration))
            continue;
        g.silence = by->id;
        for (size_t n = 0; n < k->found_n && !known; n++)
            known = uuid_cmp(&k->found[n].silence, &g.silence) == 0 &&
                    uuid_cmp(&k->found[n].group, &g.group) == 0 &&
                    slice_eq(k->found[n].tenant, g.tenant);
        if (known)
            continue;
        k->ends[k->found_n] = by->ends_ms;
        k->found[k->found_n++] = g;
    }
    return rc;
}

/* Whose silence ends by itself looks again then; who ends it before finds the group. */
static int note_groups(struct asking *k, struct err *e)
{
    struct slice *tenants = arena_array(k->a, k->found_n + 1, struct slice);
    struct uuid *groups = arena_array(k->a, k->found_n + 1, struct uuid);
    struct pg_args *p = pg_args(k->a);

    if (!tenants || !groups)
        return no_memory(e);
    for (size_t i = 0; i < k->found_n; i++) {
        tenants[i] = k->found[i].tenant;
        groups[i] = k->found[i].group;
    }
    pg_texts(p, tenants, k->found_n);
    pg_uuids(p, groups, k->found_n);
    pg_ints(p, k->ends, k->found_n);
    int rc = silenced_groups_insert(k->st->pg, k->a, k->found, k->found_n, e);
    return rc < 0 || k->found_n == 0
               ? rc
               : pg_query(k->st->pg,
                          "INSERT INTO timers (due_at, kind, tenant, subject) SELECT due, 1, t, "
                          "uuid_send(g) FROM unnest($1, $2, $3) AS k (t, g, due)",
                          p, NULL, e);
}

static int judge(struct asking *k, int64_t now_ms, struct err *e)
{
    int rc = judge_incidents(k, now_ms, e);

    for (size_t i = 0; i < k->n && rc == 0;)
        rc = judge_alerts(k, &i, now_ms, e);
    if (rc == 0)
        rc = judge_items(k, now_ms, e);
    return rc < 0 ? rc : note_groups(k, e);
}

/* ---- what is taken out of merges ---- */

static void give_back(void *tree)
{
    json_decref(tree);
}

/* The row that waits in the merge, on its own way to its end. */
static struct job *taken_out(struct arena *a, const struct candidate *c, json_t *member)
{
    struct job *j = arena_new_of(a, struct job);
    json_t *facts = j ? json_pack("{s:O}", "notification", member) : NULL;

    if (!facts || arena_defer(a, give_back, facts) < 0)
        return NULL;
    *j = (struct job){.a = a,
                      .tenant = c->j->tenant,
                      .facts = facts,
                      .end = LIFE_WITHHOLD,
                      .silenced = true,
                      .reason = c->by->reason};
    return uuid_parse(slice_of(text(member, "id")), &j->id) ? j : NULL;
}

/* Is it the same group's word, or an older one? What is older was never told either. */
static bool goes_with(const json_t *member, const struct candidate *c)
{
    return c->by && c->member && !is_digest(member) &&
           json_equal(json_object_get(member, "group_id"),
                      json_object_get(c->member, "group_id")) &&
           json_equal(json_object_get(member, "integration"),
                      json_object_get(c->member, "integration"));
}

/* The silenced of one merge are added to the list; its facts keep the others. */
static int part(struct asking *k, struct arena *a, struct job *merge, struct job ***end,
                struct err *e)
{
    const json_t *all = json_object_get(merge->facts, "all_members");
    json_t *left = json_array(), *member;
    size_t i;

    json_array_foreach (all, i, member) {
        const struct candidate *by = NULL;
        for (size_t n = 0; n < k->n && !by; n++)
            if (k->v[n].j == merge && goes_with(member, &k->v[n]))
                by = &k->v[n];
        struct job *out = by ? taken_out(a, by, member) : NULL;
        if (by && !out) {
            json_decref(left);
            return no_memory(e);
        }
        if (!out) {
            (void)json_array_append(left, member);
            continue;
        }
        **end = out;
        *end = &out->next;
    }
    (void)json_object_set_new(merge->facts, "members", left);
    if (job_members(merge) > 0)
        return 0;
    /* What was not read is looked at next. */
    merge->end = json_object_get(merge->facts, "unread") ? LIFE_RELEASE : LIFE_SUPPRESS;
    merge->reason = "all that it would have told is silenced";
    return 0;
}

/* A transaction of its own, before anything is sent: a member that was left out must not share the
 * end of its merge. */
static int part_one(struct asking *k, struct job *merge, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(MEMORY);
    struct job *out = NULL, **end = &out;
    int rc = a ? part(k, a, merge, &end, e) : no_memory(e);

    return rc < 0 || !out ? rc : store_end(k->st, out, e);
}

static int part_all(struct asking *k, struct err *e)
{
    const struct job *last = NULL;
    int rc = 0;

    for (size_t i = 0; i < k->n && rc == 0; i++) {
        struct job *merge = k->v[i].j;
        if (!k->v[i].by || !k->v[i].member || merge == last)
            continue;
        last = merge; /* candidates of one merge stand together */
        rc = part_one(k, merge, e);
    }
    return rc;
}

/* ---- what is taken out of digests ---- */

/* The items from `i` on that are of the same digest; the number of the first that is not. */
static size_t part_items(struct asking *k, size_t i, const struct silencing **ret_by)
{
    struct job *j = k->items[i].digest;
    json_t *kept = json_array(), *left = json_array();

    for (; i < k->item_n && k->items[i].digest == j; i++) {
        const struct silencing *by = k->item_looks[i].by;
        (void)json_array_append(by ? left : kept, k->items[i].item);
        *ret_by = by ? by : *ret_by;
    }
    (void)json_object_set_new(j->facts, "items", kept);
    (void)json_object_set_new(j->facts, "left", left);
    return i;
}

static int part_digests(struct asking *k, struct err *e)
{
    int rc = 0;

    for (size_t i = 0; i < k->item_n && rc == 0;) {
        const struct silencing *by = NULL;
        struct job *j = k->items[i].digest;

        i = part_items(k, i, &by);
        if (!by)
            continue;
        rc = store_withhold_items(k->st, j, e);
        if (json_array_size(json_object_get(j->facts, "items")) > 0)
            continue;
        j->end = json_object_get(j->facts, "unread") ? LIFE_RELEASE : LIFE_SUPPRESS;
        if (!(j->reason = arena_printf(j->a, "%s", by->reason)))
            return no_memory(e);
    }
    return rc;
}

/* ---- the whole ---- */

static int any(struct asking *k, int64_t now_ms, bool *ret, struct err *e)
{
    const size_t n = k->n + k->item_n;
    struct silence_look *v = arena_array(k->a, n + 1, struct silence_look);

    if (!v)
        return no_memory(e);
    for (size_t i = 0; i < n; i++)
        v[i].tenant = i < k->n ? k->v[i].j->tenant : k->item_looks[i - k->n].tenant;
    return n > 0 ? silences_any(k->st->pg, k->a, v, n, now_ms, ret, e) : 0;
}

static void add_candidate(struct asking *k, struct job *j, json_t *member)
{
    const struct candidate c = {.j = j, .member = member};

    if (may_be_withheld(&c))
        k->v[k->n++] = c;
}

static void add_item(struct asking *k, struct job *j, json_t *item)
{
    const char *id = json_string_value(json_object_get(json_object_get(item, "incident"), "id"));
    struct silence_look look = {.tenant = j->tenant};

    if (!uuid_parse(slice_of(id ? id : ""), &look.incident))
        return;
    k->items[k->item_n] = (struct item){j, item};
    k->item_looks[k->item_n++] = look;
}

static int collect(struct asking *k, struct job *list, struct err *e)
{
    json_t *member, *item;
    size_t most = 0, i;

    for (const struct job *j = list; j; j = j->next)
        most += j->merge    ? json_array_size(json_object_get(j->facts, "members"))
                : j->digest ? json_array_size(json_object_get(j->facts, "items"))
                            : 1;
    k->v = arena_array(k->a, most + 1, struct candidate);
    k->items = arena_array(k->a, most + 1, struct item);
    k->item_looks = arena_array(k->a, most + 1, struct silence_look);
    k->found = arena_array(k->a, most + 1, struct silenced_group);
    k->ends = arena_array(k->a, most + 1, int64_t);
    if (!k->v || !k->items || !k->item_looks || !k->found || !k->ends)
        return no_memory(e);
    for (struct job *j = list; j; j = j->next) {
        if (j->digest)
            json_array_foreach (json_object_get(j->facts, "items"), i, item)
                add_item(k, j, item);
        else if (!j->merge)
            add_candidate(k, j, NULL);
        json_array_foreach (json_object_get(j->facts, "members"), i, member)
            add_candidate(k, j, member);
    }
    return 0;
}

/* Whatever was set is taken back: it was not written. */
static void forget(struct job *list)
{
    for (struct job *j = list; j; j = j->next) {
        if (!j->silenced)
            continue;
        j->end = 0;
        j->silenced = false;
        j->reason = NULL;
    }
}

/* *ret_judged: from here on a failure leaves jobs of which something was taken. */
static int ask(struct store *st, struct job *list, bool *ret_judged, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new(MEMORY);
    struct asking k = {.st = st, .a = a};
    const int64_t now_ms = list ? list->now_ms : 0;
    bool some = false;
    int rc = a ? collect(&k, list, e) : no_memory(e);

    if (rc < 0 || (rc = any(&k, now_ms, &some, e)) < 0 || !some || (rc = pg_begin(st->pg, e)) < 0)
        return rc;
    rc = judge(&k, now_ms, e);
    if (rc < 0) {
        pg_rollback(st->pg);
        forget(list);
        return rc;
    }
    *ret_judged = true;
    rc = pg_commit(st->pg, e);
    return rc < 0 || (rc = part_all(&k, e)) < 0 ? rc : part_digests(&k, e);
}

/* Better told than stuck: it would be as large each time. */
static int ask_alone(struct store *st, struct job *j, struct err *e)
{
    struct job *next = j->next;
    bool judged = false;

    j->next = NULL;
    int rc = ask(st, j, &judged, e);
    j->next = next;
    if (rc != -ENOMEM || judged)
        return rc;
    log_warn(EV("silences_unasked"), KV("id", (const char *)j->id_text),
             KV("reason", (const char *)e->msg));
    return 0;
}

int store_silenced(struct store *st, struct job *list, struct err *e)
{
    bool judged = false;
    int rc = ask(st, list, &judged, e);

    if (rc != -ENOMEM || judged)
        return rc;
    rc = 0;
    for (struct job *j = list; j && rc == 0; j = j->next)
        rc = ask_alone(st, j, e);
    return rc;
}
