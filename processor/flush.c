/* The deciding part of a flush. */
#include "processor/flush.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "processor/flush_internal.h"

#define TEXT_MAX ((size_t)64 << 20)
#define KEY_MAX 24 /* of `told`: "0", "1" ... or "gone" */

static int no_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "flush: too many alerts at once");
}

static struct note *note_new(struct notes *t, struct arena *a)
{
    if (t->n == t->cap) {
        const size_t cap = t->cap ? 2 * t->cap : 64;
        struct note *v = arena_array(a, cap, struct note);

        if (!v)
            return NULL;
        if (t->n)
            memcpy(v, t->v, t->n * sizeof(*v));
        t->v = v;
        t->cap = cap;
    }
    return &t->v[t->n++];
}

/* ---- what was told, and what is ---- */

/* A receiver that left the configuration has no integrations, nor has one without a channel; what
 * it would have been told is remembered apart, so that it is told should it come back, or get one.
 */
static const char *told_key(const struct target *t, size_t integration, char out[KEY_MAX])
{
    if (!t->receiver)
        return "gone";
    if (target_mute(t))
        return "none";
    (void)snprintf(out, KEY_MAX, "%zu", integration);
    return out;
}

static int load_told(struct flush *f, struct target *t, struct err *e)
{
    t->told_tree = json_tree(t->told, f->a, e);
    return json_is_object(t->told_tree)
               ? 0
               : err_set(e, -EBADMSG, "groups.told of a group of %.*s is no object",
                         SLICE_FMT(t->receiver_name));
}

static int said_last(struct flush *f, const struct target *t, const char *key, struct said *ret,
                     struct err *e)
{
    char path[KEY_MAX + 8];

    (void)snprintf(path, sizeof(path), "%s.last", key);
    struct slice last = json_at(t->told, path);
    if (!last.p && !t->receiver)
        last = json_at(t->told, "0.last");
    return said_from_json(f->a, last, ret, e);
}

static int remember(struct target *t, const char *key, const struct said *s, struct err *e)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(TEXT_MAX);
    json_t *entry = json_object_get(t->told_tree, key);

    if (said_to_json(&b, s) < 0)
        return no_memory(e);
    if (!entry) {
        entry = json_object();
        if (json_object_set_new(t->told_tree, key, entry) < 0)
            return no_memory(e);
    }
    json_t *state = json_loadb(b.p, b.len, 0, NULL);
    return json_object_set_new(entry, "last", state) < 0 ? no_memory(e) : 0;
}

static int by_number(const void *x, const void *y)
{
    const uint64_t *a = x, *b = y;

    return (*a > *b) - (*a < *b);
}

static bool among(const uint64_t *v, size_t n, uint64_t fp)
{
    return n > 0 && bsearch(&fp, v, n, sizeof(*v), by_number) != NULL;
}

/* The lists of alerts as one integration sees them; all ascend. */
static int split_members(struct flush *f, const struct target *t, const struct said *last,
                         struct standing *is, struct err *e)
{
    uint64_t *firing = arena_array(f->a, t->member_n + 1, uint64_t),
             *ended = arena_array(f->a, last->firing_n + t->member_n + 1, uint64_t);
    size_t firing_n = 0, ended_n = 0;

    if (!firing || !ended)
        return no_memory(e);
    for (size_t i = 0; i < t->member_n; i++)
        if (t->members[i].firing)
            firing[firing_n++] = t->members[i].fingerprint;
    for (size_t i = 0; i < last->firing_n; i++)
        if (!among(firing, firing_n, last->firing[i]))
            ended[ended_n++] = last->firing[i];
    for (size_t i = 0; i < t->member_n; i++) {
        const struct member *m = &t->members[i];

        if (m->firing || among(last->firing, last->firing_n, m->fingerprint) ||
            among(last->ended, last->ended_n, m->fingerprint) ||
            !lasted(t->route, is, last->seq > 0, m->starts_ms, m->ended_ms))
            continue;
        ended[ended_n++] = m->fingerprint;
        is->missed_n++;
    }
    if (is->missed_n > 0)
        qsort(ended, ended_n, sizeof(*ended), by_number);
    is->firing = firing;
    is->firing_n = firing_n;
    is->ended = ended;
    is->ended_n = ended_n;
    return 0;
}

/* ---- deciding ---- */

static int decide_one(struct flush *f, struct target *t, size_t integration, int32_t offset,
                      struct notes *notes, struct err *e)
{
    char text[KEY_MAX];
    const char *key = told_key(t, integration, text);
    struct standing is = t->is;
    struct due due[DUE_MAX];
    struct said last;
    int64_t again;
    int rc = said_last(f, t, key, &last, e);

    if (rc == 0 && t->kind == GROUP_ALERTS)
        rc = split_members(f, t, &last, &is, e);
    if (rc < 0)
        return rc;
    size_t n = group_due(t->route, &is, &last, f->now_ms, offset, due, &again);
    if (n > 0 && target_mute(t) && due[n - 1].kind == DUE_REPEAT)
        n--; /* the ledger says it once */
    t->missed_wait |= n == 0 && is.missed_n > 0;
    for (size_t i = 0; i < n; i++) {
        struct note *note = note_new(notes, f->a);

        if (!note)
            return no_memory(e);
        due[i].state.seq = t->seq + (int64_t)i + 1;
        *note = (struct note){
            .target = (size_t)(t - f->targets), .integration = integration, .due = due[i]};
    }
    if (n > t->note_n)
        t->note_n = n;
    if (again > 0 && (t->look_again == 0 || again < t->look_again))
        t->look_again = again;
    return n > 0 ? remember(t, key, &due[n - 1].state, e) : 0;
}

/* An incident that was purged has nothing to say. */
static bool speechless(const struct target *t)
{
    return t->kind == GROUP_INCIDENT && !t->found;
}

static int decide(struct flush *f, struct target *t, struct notes *notes, struct err *e)
{
    const size_t n = target_mute(t) ? 1 : t->receiver->n;
    int32_t offset;
    int rc = load_told(f, t, e);

    if (rc < 0 || speechless(t) || (rc = flush_zone(f, t, &offset, e)) < 0)
        return rc;
    if (t->receiver)
        (void)json_object_del(t->told_tree, "gone");
    if (!target_mute(t))
        (void)json_object_del(t->told_tree, "none");
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = decide_one(f, t, i, offset, notes, e);
    if (!t->receiver)
        t->look_again = 0;
    t->seq += (int64_t)t->note_n;
    return rc;
}

static int take_items(struct flush *f, const struct notes *notes, struct err *e)
{
    bool *due = arena_array(f->a, f->target_n + 1, bool);

    if (!due)
        return no_memory(e);
    for (size_t i = 0; i < notes->n; i++)
        due[notes->v[i].target] = notes->v[i].due.kind == DUE_DIGEST;
    return flush_take_items(f, due, e);
}

/* ---- the whole ---- */

int flush_groups(const struct flush_settings *s, struct pg *pg, struct arena *a,
                 const struct flush_subjects *v, struct flushed *ret, struct err *e)
{
    struct flush f = {.s = s, .pg = pg, .a = a, .now_ms = v->now_ms};
    struct notes notes = {0};
    int rc = v->n > 0 ? flush_read(&f, v->v, v->n, e) : 0;

    for (size_t i = 0; rc == 0 && i < f.target_n; i++)
        rc = decide(&f, &f.targets[i], &notes, e);
    if (rc == 0 && notes.n > 0)
        rc = take_items(&f, &notes, e);
    return rc == 0 ? flush_write(&f, &notes, ret, e) : rc;
}

size_t flush_publish(struct kafka_producer *p, const struct flushed *f)
{
    size_t taken = 0;

    for (size_t i = 0; i < f->wakeup_n; i++) {
        const struct wakeup *w = &f->wakeups[i];
        const struct kafka_header headers[] = {{"v", SLICE_LIT("1")}, {"tenant", w->tenant}};
        char topic[128], id[UUID_STR];

        (void)snprintf(topic, sizeof(topic), "notify.%s", w->channel);
        taken += kafka_produce(p, topic, slice_of(w->key), slice_of(uuid_format(&w->id, id)),
                               headers, sizeof(headers) / sizeof(*headers), NULL, NULL) == 0;
    }
    return taken;
}
