#include "notifier/desk.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/rate.h"
#include "notifier/counts.h"
#include "notifier/desk_judge.h"
#include "notifier/fallback.h"
#include "notifier/plan.h"
#include "notifier/tokens.h"

#define WAKES_MAX 4096
#define TROUBLE_WAIT 500
#define ORPHANS_EVERY MS_MINUTE
#define ROUND_SHARE 20 /* a look from the start takes at most this part of the time */

struct held_wake {
    char tenant[TENANT_MAX];
    size_t len;
    struct uuid id;
};

struct desk {
    struct desk_options o;
    struct store store;
    struct guard guard;
    struct wire *wire;
    struct counts *counts;
    struct tokens *tokens;
    char name[64];
    pthread_t thread;

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct job *answered, **answered_end;
    struct held_wake wakes[WAKES_MAX];
    size_t wake_n;
    bool draining, stop, idle, over;
    bool hears, heard; /* wake-ups; and since the last look */

    /* The thread's own. */
    struct job *ends, **ends_end; /* to be written */
    uint32_t under_way;
    size_t turn; /* where the next look begins, so that the first of the file is not always first */
    int64_t next_sweep, next_round, next_orphans, next_reports;
    bool more;   /* the last look may have left something behind */
    bool missed; /* wake-ups came for rows that were not claimed: the sweep takes them young */
};

/* ---- lists ---- */

static void push(struct job ***end, struct job *j)
{
    j->next = NULL;
    **end = j;
    *end = &j->next;
}

static void trouble(const char *what, const struct err *e)
{
    static struct log_limit limit = {.per_minute = 12};
    uint32_t dropped;

    if (log_allow(&limit, &dropped))
        log_warn(EV("notifier_trouble"), KV("doing", what), KV("reason", (const char *)e->msg),
                 KV("dropped", dropped));
}

/* ---- the wire's thread ---- */

static void answered(void *ctx, struct transfer *t)
{
    struct desk *d = ctx;

    (void)pthread_mutex_lock(&d->lock);
    push(&d->answered_end, t->own);
    (void)pthread_cond_broadcast(&d->changed);
    (void)pthread_mutex_unlock(&d->lock);
}

/* ---- the desk's thread ---- */

static void end(struct desk *d, struct job *j)
{
    fallback_note(j);
    push(&d->ends_end, j);
}

static void transmit(struct desk *d, struct job *j)
{
    j->transfer = (struct transfer){.request = &j->step.request, .a = j->a, .own = j};
    wire_send(d->wire, &j->transfer);
}

/* Only another configuration brings it back, and that comes with another process. */
static void note_gone(const struct job *j)
{
    struct destination *to = j->outlet->destination;
    struct slice words = slice_of(*j->answer ? j->answer : "gone");

    (void)snprintf(to->gone, sizeof(to->gone), "%.*s", (int)utf8_fit(words, GONE_MAX - 1), words.p);
    log_error(EV("destination_gone"), KV("channel", j->outlet->channel->name),
              KV("receiver", j->outlet->receiver->name), KV("place", j->outlet->place),
              KV("reason", (const char *)to->gone));
}

static void take_answers(struct desk *d, struct job *list)
{
    while (list) {
        struct job *j = list;
        struct destination *to = j->outlet->destination;
        list = j->next;
        to->silent = j->transfer.response.status ? 0 : to->silent + 1;
        if (j->transfer.response.status)
            to->shut_until = 0; /* to be asked of its row again */
        bool more = judge_answer(j, d->o.settings, clock_monotonic_ms(), random_u64());
        tokens_learn(d->tokens, j->outlet->credential, &j->step.token, j->token,
                     clock_monotonic_ms());
        if (more) {
            if (d->wire) {
                transmit(d, j);
                continue;
            }
            judge_release(j);
        }
        to->under_way--;
        d->under_way--;
        if (j->gone)
            note_gone(j);
        counts_answer(d->counts, j);
        end(d, j);
    }
}

static bool connected(struct desk *d)
{
    struct err e = {0};

    if (pg_connect(d->store.pg, &e) == 0)
        return true;
    trouble("connecting to Postgres", &e);
    return false;
}

/* Nothing new is claimed while results wait to be written: a result lost is a message doubled. */
static bool write_ends(struct desk *d)
{
    struct err e = {0};

    if (!d->ends)
        return true;
    if (store_end(&d->store, d->ends, &e) < 0) {
        trouble("writing how notifications ended", &e);
        return false;
    }
    for (const struct job *j = d->ends; j; j = j->next)
        counts_end(d->counts, j);
    job_free_list(d->ends);
    d->ends = NULL;
    d->ends_end = &d->ends;
    return true;
}

/* Where there is room; *ret_full: some have none until an answer comes. */
static size_t look_round(struct desk *d, struct room *room, bool *ret_full)
{
    const struct outlets *all = d->o.outlets;
    const int64_t now = clock_monotonic_ms();
    size_t n = 0;

    for (size_t i = 0; i < all->n; i++) {
        struct outlet *o = &all->v[(i + d->turn) % all->n];
        const struct destination *to = o->destination;
        uint32_t free =
            plan_room(d->o.settings->notifier.per_destination, to->under_way, to->silent);
        bool served = false;
        for (size_t k = 0; k < d->o.channel_n; k++)
            served = served || d->o.channels[k] == o->channel;
        if (now < to->shut_until)
            continue;
        *ret_full = *ret_full || (served && free == 0);
        if (!served || free == 0)
            continue;
        /* Where the rate may merge, more are claimed than can be sent: the others join the digest
         * at once. Behind a breaker so many go to the fallback when it is time. */
        const bool more = (to->per_minute && !o->channel->for_programs) ||
                          (to->shut_until && o->receiver->fallback);
        if (more && free < d->o.settings->notifier.digest_items)
            free = d->o.settings->notifier.digest_items;
        room[n++] = (struct room){o, free, o->seen};
    }
    d->turn++;
    return n;
}

static void send_off(struct desk *d, struct job *list)
{
    while (list) {
        struct job *j = list;
        bool split;
        struct err e = {0};

        list = j->next;
        j->token = tokens_get(d->tokens, j->outlet->credential, clock_monotonic_ms(), j->a);
        int r = judge_render(j, d->o.settings, &split);
        if (r < 0)
            log_error(EV("notification_unrendered"), KV("id", (const char *)j->id_text),
                      KV("reason", j->reason));
        if (r != 0) {
            end(d, j);
            continue;
        }
        if (split && store_split(&d->store, j, &e) < 0) {
            trouble("splitting a message", &e);
            judge_release(j);
            end(d, j);
            continue;
        }
        j->outlet->destination->under_way++;
        d->under_way++;
        transmit(d, j);
    }
}

/* Those whose end is set; the others are returned. */
static struct job *end_those(struct desk *d, struct job *list)
{
    struct job *others = NULL, **others_end = &others;

    while (list) {
        struct job *j = list;

        list = j->next;
        if (j->end)
            end(d, j);
        else
            push(&others_end, j);
    }
    return others;
}

/* What was claimed: some are not wanted any more, some have to wait, the others go. */
static void process(struct desk *d, struct job *claimed)
{
    struct job *wanted = NULL, **wanted_end = &wanted, *go = NULL, *rest = NULL;
    struct err e = {0};

    while (claimed) {
        struct job *j = claimed;
        claimed = j->next;
        if (judge_wanted(j))
            end(d, j);
        else
            push(&wanted_end, j);
    }
    if (!wanted)
        return;
    const bool asked = store_silenced(&d->store, wanted, &e) == 0;
    if (asked)
        wanted = end_those(d, wanted);
    if (!wanted)
        return;
    if (!asked || store_grant(&d->store, wanted, &go, &rest, &e) < 0) {
        /* They are ours until their lease ends; writing a release is tried as long as it takes. */
        trouble(asked ? "asking the rate" : "asking for silences", &e);
        while (wanted) {
            struct job *j = wanted;
            wanted = j->next;
            judge_release(j);
            end(d, j);
        }
        return;
    }
    job_free_list(end_those(d, rest));
    send_off(d, go);
}

/*
 * The next sweep goes on behind what this one claimed: in a storm many rows wait behind newer ones
 * of their group, and to step over them again for each claim costs more than all the rest. Where
 * less came than there was room for, all was seen.
 */
static void note_seen(const struct rooms *rooms, const struct job *list)
{
    for (size_t i = 0; i < rooms->n; i++) {
        struct outlet *o = rooms->v[i].outlet;
        uint32_t got = 0;
        for (const struct job *j = list; j; j = j->next) {
            if (j->outlet != o)
                continue;
            got++;
            if (j->created_at > o->seen)
                o->seen = j->created_at;
        }
        if (got < rooms->v[i].n)
            o->seen = 0;
    }
}

/* *ret_got: how many; *ret_full: somewhere there was no room to claim for. */
static bool claim(struct desk *d, const struct look *look, size_t *ret_got, bool *ret_full)
{
    struct room *room = calloc(d->o.outlets->n + 1, sizeof(*room));
    uint32_t most = d->o.settings->notifier.concurrency;
    bool full = d->under_way >= most;
    struct rooms rooms = {room, room ? look_round(d, room, &full) : 0};
    struct job *list = NULL;
    struct err e = {0};
    int r = 0;

    if (rooms.n > 0 && d->under_way < most)
        r = store_claim(&d->store, &rooms, look, most - d->under_way, &list, &e);
    if (r == 0 && !look->wakes)
        note_seen(&rooms, list);
    free(room);
    if (r < 0) {
        trouble("claiming notifications", &e);
        return false;
    }
    *ret_got = 0;
    for (const struct job *j = list; j; j = j->next)
        ++*ret_got;
    *ret_full = full;
    process(d, list);
    return true;
}

static bool sweep(struct desk *d, int64_t now, int64_t age)
{
    const bool from_start = now >= d->next_round;
    struct job *orphans = NULL;
    struct err e = {0};
    size_t got;
    bool full;

    for (size_t i = 0; from_start && i < d->o.outlets->n; i++)
        d->o.outlets->v[i].seen = 0;
    d->more = false;
    if (!claim(d, &(struct look){.age = d->missed ? 0 : age}, &got, &full))
        return false;
    if (from_start) {
        const int64_t pause = ROUND_SHARE * (clock_monotonic_ms() - now);
        const int64_t least = d->o.settings->notifier.sweep_interval;
        d->next_round = now + (pause > least ? pause : least);
    }
    d->more = got > 0 || full;
    d->missed = d->missed && d->more;
    d->next_sweep = now + d->o.settings->notifier.sweep_interval;
    if (now < d->next_orphans)
        return true;
    d->next_orphans = now + ORPHANS_EVERY;
    if (store_claim_orphans(&d->store, d->o.channels, d->o.channel_n, &orphans, &e) < 0) {
        trouble("looking for orphans", &e);
        return false;
    }
    process(d, orphans);
    if (store_forget_failing(&d->store, &e) < 0 || store_forget_templates(&d->store, &e) < 0) {
        trouble("forgetting receivers that are no more", &e);
        return false;
    }
    return true;
}

static bool look_at_reports(struct desk *d, int64_t now)
{
    struct job *lost = NULL;
    struct err e = {0};

    if (now < d->next_reports)
        return true;
    d->next_reports = now + d->o.settings->notifier.sweep_interval;
    if (store_reported(&d->store, d->o.channels, d->o.channel_n, &lost, &e) < 0) {
        trouble("reading what became of messages", &e);
        return false;
    }
    while (lost) {
        struct job *j = lost;
        lost = j->next;
        end(d, j);
    }
    return true;
}

/* The sweep takes the oldest first and stops when there is no more room; each wake-up is looked up
 * by its key. So no more of them than could be sent. */
static bool claim_woken(struct desk *d, const struct held_wake *held, size_t n)
{
    const uint32_t most = d->o.settings->notifier.concurrency;

    if (n > most) {
        d->missed = d->more = true;
        return true;
    }
    struct wake *wakes = calloc(n, sizeof(*wakes));

    if (!wakes)
        return true; /* a hint: the sweep finds them */
    for (size_t i = 0; i < n; i++)
        wakes[i] = (struct wake){{held[i].tenant, held[i].len}, held[i].id};
    size_t got;
    bool full;
    bool ok = claim(d, &(struct look){.wakes = wakes, .n = n}, &got, &full);
    free(wakes);
    if (ok) {
        d->missed = d->missed || got < n;
        d->more = d->more || got > 0 || d->missed;
    }
    return ok;
}

/* Sleep until something came or it is time to sweep. */
static void wait_for_work(struct desk *d, int64_t ms)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / MS_SECOND;
    until.tv_nsec += ms % MS_SECOND * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    if (!d->answered && !d->wake_n && !d->heard && !d->stop)
        (void)pthread_cond_timedwait(&d->changed, &d->lock, &until);
}

struct inbox {
    struct job *answered;
    struct held_wake *wakes; /* WAKES_MAX of them */
    size_t wake_n;
    bool draining, stop;
    bool hears, heard;
};

static void take_inbox(struct desk *d, struct inbox *in, int64_t wait)
{
    (void)pthread_mutex_lock(&d->lock);
    d->idle = !d->ends && d->under_way == 0 && !d->answered;
    (void)pthread_cond_broadcast(&d->changed);
    if (wait > 0)
        wait_for_work(d, wait);
    in->answered = d->answered;
    d->answered = NULL;
    d->answered_end = &d->answered;
    in->wake_n = d->wake_n;
    memcpy(in->wakes, d->wakes, d->wake_n * sizeof(*d->wakes));
    d->wake_n = 0;
    in->draining = d->draining;
    in->stop = d->stop;
    in->hears = d->hears;
    in->heard = d->heard;
    d->heard = false;
    (void)pthread_mutex_unlock(&d->lock);
}

static size_t shut(const struct outlets *all)
{
    const int64_t now = clock_monotonic_ms();
    size_t n = 0;

    for (size_t i = 0; i < all->destination_n; i++)
        n += now < all->destinations[i].shut_until;
    return n;
}

/* One turn; how long to wait before the next. */
static int64_t turn(struct desk *d, const struct inbox *in)
{
    int64_t now = clock_monotonic_ms();
    int64_t age = in->hears && !in->heard ? d->o.settings->notifier.sweep_age : 0;

    take_answers(d, in->answered);
    if (in->heard)
        d->next_sweep = now;
    if (!connected(d) || !write_ends(d))
        return TROUBLE_WAIT;
    if (in->draining)
        return d->o.settings->notifier.sweep_interval;
    if (in->wake_n > 0 && !claim_woken(d, in->wakes, in->wake_n))
        return TROUBLE_WAIT;
    if ((d->more || now >= d->next_sweep) && !sweep(d, now, age))
        return TROUBLE_WAIT;
    if (!look_at_reports(d, now))
        return TROUBLE_WAIT;
    counts_under_way(d->counts, d->under_way);
    counts_shut(d->counts, shut(d->o.outlets));
    if (d->ends && !write_ends(d))
        return TROUBLE_WAIT;
    return d->more && d->under_way == 0 ? 1 : d->o.settings->notifier.sweep_interval;
}

static void *run(void *ctx)
{
    struct desk *d = ctx;
    struct inbox in = {.wakes = calloc(WAKES_MAX, sizeof(*in.wakes))};
    int64_t wait = 0;

    while (in.wakes && !in.stop) {
        take_inbox(d, &in, wait);
        if (!in.stop)
            wait = turn(d, &in);
    }
    take_answers(d, in.answered);
    (void)pthread_mutex_lock(&d->lock);
    d->over = true;
    (void)pthread_cond_broadcast(&d->changed);
    (void)pthread_mutex_unlock(&d->lock);
    free(in.wakes);
    return NULL;
}

/* ---- from outside ---- */

void desk_wake(struct desk *d, struct slice tenant, const struct uuid *id)
{
    if (tenant.len > TENANT_MAX)
        return;
    (void)pthread_mutex_lock(&d->lock);
    if (d->wake_n < WAKES_MAX) {
        struct held_wake *w = &d->wakes[d->wake_n++];
        memcpy(w->tenant, tenant.p, tenant.len);
        w->len = tenant.len;
        w->id = *id;
        (void)pthread_cond_broadcast(&d->changed);
    }
    (void)pthread_mutex_unlock(&d->lock);
}

void desk_hears(struct desk *d, bool hears)
{
    (void)pthread_mutex_lock(&d->lock);
    d->hears = hears;
    d->heard = true;
    (void)pthread_cond_broadcast(&d->changed);
    (void)pthread_mutex_unlock(&d->lock);
}

void desk_drain(struct desk *d)
{
    (void)pthread_mutex_lock(&d->lock);
    d->draining = true;
    d->idle = false;
    (void)pthread_cond_broadcast(&d->changed);
    while (!d->idle && !d->stop && !d->over)
        (void)pthread_cond_wait(&d->changed, &d->lock);
    (void)pthread_mutex_unlock(&d->lock);
}

static void dispose(struct desk *d)
{
    pg_close(d->store.pg);
    guard_release(&d->guard);
    counts_free(d->counts);
    tokens_free(d->tokens);
    (void)pthread_mutex_destroy(&d->lock);
    (void)pthread_cond_destroy(&d->changed);
    free(d);
}

void desk_free(struct desk *d)
{
    if (!d)
        return;
    (void)pthread_mutex_lock(&d->lock);
    d->stop = true;
    (void)pthread_cond_broadcast(&d->changed);
    (void)pthread_mutex_unlock(&d->lock);
    (void)pthread_join(d->thread, NULL);
    wire_free(d->wire);
    d->wire = NULL;
    take_answers(d, d->answered);
    if (d->ends && (!connected(d) || !write_ends(d)))
        log_error(EV("notifier_unwritten"), KV("under_way", d->under_way));
    job_free_list(d->ends);
    dispose(d);
}

static int prepare(struct desk *d, struct err *e)
{
    const struct settings *s = d->o.settings;
    pthread_condattr_t attr;

    (void)snprintf(d->name, sizeof(d->name), "%ld.%016llx", (long)getpid(),
                   (unsigned long long)random_u64());
    d->store = (struct store){.s = s, .outlets = d->o.outlets, .name = d->name};
    d->answered_end = &d->answered;
    d->ends_end = &d->ends;
    (void)pthread_mutex_init(&d->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&d->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    d->counts = counts_new(d->o.channels, d->o.channel_n);
    int r = guard_init(&d->guard, &s->limits.allow_private_addresses, e);
    if (r == 0)
        r = tokens_new(&s->redis, &d->tokens, e);
    return r < 0 ? r : pg_open(&s->postgres, "tocsin-notifier", &d->store.pg, e);
}

int desk_new(const struct desk_options *o, struct desk **ret, struct err *e)
{
    struct desk *d = calloc(1, sizeof(*d));

    if (!d)
        return err_set(e, -ENOMEM, "out of memory");
    d->o = *o;
    int r = prepare(d, e);
    if (r == 0)
        r = wire_new(&o->settings->notifier, &d->guard, answered, d, &d->wire, e);
    if (r == 0 && (r = pthread_create(&d->thread, NULL, run, d)) != 0)
        r = err_set(e, -r, "cannot start a thread");
    if (r < 0) {
        wire_free(d->wire);
        dispose(d);
        return r;
    }
    *ret = d;
    return 0;
}
