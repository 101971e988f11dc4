#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ingest/segment.h"
#include "ingest/spool_internal.h"

#define SEGMENT_DEFAULT ((size_t)8 << 20)

/* ---- the writer ---- */

static int sync_fd(const struct spool *s, int fd)
{
    return (s->o.fsync ? s->o.fsync(fd) : fdatasync(fd)) == 0 ? 0 : -EIO;
}

static int write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t put = write(fd, p, n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? -errno : -EIO;
        p += put;
        n -= (size_t)put;
    }
    return 0;
}

static int no_room(int rc)
{
    return rc == -EDQUOT || rc == -EFBIG ? -ENOSPC : rc;
}

/* Nothing of it is on disk, and later there may be room for it, or a file for it. */
static bool may_pass(int rc)
{
    return rc == -ENOSPC || rc == -EMFILE || rc == -ENFILE;
}

/* Bytes and an fsync; the segment is the caller's alone until its entries are there. If it
 * may_pass(), the file is as it was. */
static int write_batch(struct spool *s, struct series *of, struct segment **g,
                       const struct buf *batch)
{
    int rc = 0;
    struct segment *next = *g;
    if (!next || next->size + batch->len > s->o.segment)
        rc = no_room(segment_begin(s, of, &next));
    if (rc < 0 || !next)
        return rc;
    *g = next;
    rc = no_room(write_all(next->fd, batch->p, batch->len));
    if (rc == -ENOSPC && ftruncate(next->fd, (off_t)next->size) < 0)
        return -EIO;
    return rc < 0 ? rc : sync_fd(s, next->fd);
}

static struct segment *own_last(const struct spool *s)
{
    return s->last && s->last->home->ours ? s->last : NULL;
}

/* Under the lock: what was written can be drained. */
static int enter(struct spool *s, struct segment *g, size_t bytes, const struct waiting *list)
{
    if (g != s->last) {
        s->bytes += SEGMENT_MAGIC_LEN;
        link_segment(s, g);
    }
    int rc = 0;
    for (const struct waiting *w = list; w && rc == 0; w = w->next) {
        struct entry e = w->entry;
        e.offset += g->size;
        rc = segment_add_entry(g, e);
        s->queued--;
    }
    g->size += bytes;
    return rc;
}

/* Under the lock: what was queued is not in here. */
static void leave(struct spool *s, const struct waiting *list)
{
    for (const struct waiting *w = list; w; w = w->next) {
        s->bytes -= w->entry.len;
        s->records--;
        s->queued--;
        count_key(s, w->entry.key, -1);
    }
}

static void answer(struct spool *s, struct waiting *list, int rc)
{
    while (list) {
        struct waiting *w = list;
        list = w->next;
        s->o.done(s->o.ctx, w->cookie, rc);
        free(w);
    }
}

/* Under the lock. A full disk may have room again; what any other failure left on it cannot be
 * known. */
static void give_up(struct spool *s, struct segment *g, int rc)
{
    s->full = may_pass(rc);
    s->ended = !s->full;
    if (g && g != s->last) /* begun and never entered */
        segment_drop(g);
}

/* Everything that has gathered since the last time. With the lock held; gives it up while it
 * writes. */
static void write_gathered(struct spool *s)
{
    struct buf batch = s->queue;
    struct waiting *list = s->waiting;
    struct segment *g = own_last(s);
    s->queue = BUF_INIT(SIZE_MAX / 2);
    s->waiting = NULL;
    s->waiting_end = &s->waiting;
    s->writing = true;
    (void)pthread_mutex_unlock(&s->lock);
    int rc = write_batch(s, &s->segs, &g, &batch);
    (void)pthread_mutex_lock(&s->lock);
    s->writing = false;
    if (rc == 0 && g)
        rc = enter(s, g, batch.len, list);
    else
        leave(s, list);
    if (rc < 0)
        give_up(s, g, rc);
    (void)pthread_cond_broadcast(&s->news);
    (void)pthread_mutex_unlock(&s->lock);
    answer(s, list, rc == 0 || may_pass(rc) ? rc : -EIO);
    buf_release(&batch);
    (void)pthread_mutex_lock(&s->lock);
}

/* After the end: nothing more is written, whoever waits is told. */
static void refuse_gathered(struct spool *s)
{
    struct waiting *list = s->waiting;
    s->waiting = NULL;
    s->waiting_end = &s->waiting;
    buf_reset(&s->queue);
    leave(s, list);
    (void)pthread_mutex_unlock(&s->lock);
    answer(s, list, -EIO);
    (void)pthread_mutex_lock(&s->lock);
}

static void *writer(void *arg)
{
    struct spool *s = arg;
    (void)pthread_mutex_lock(&s->lock);
    while (!s->stopping || s->waiting) {
        if (!s->waiting)
            (void)pthread_cond_wait(&s->work, &s->lock);
        else if (s->ended)
            refuse_gathered(s);
        else
            write_gathered(s);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- use ---- */

int spool_append(struct spool *s, const struct spool_record *r, void *cookie)
{
    struct waiting *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    w->cookie = cookie;
    w->entry.key = key_hash(r->topic, r->key);
    w->entry.at = r->at;
    (void)pthread_mutex_lock(&s->lock);
    size_t start = s->queue.len;
    int rc = s->ended || s->stopping ? -EIO : 0;
    if (rc == 0) {
        segment_put(&s->queue, r);
        size_t len = s->queue.len - start;
        if (s->queue.failed)
            rc = -ENOMEM;
        else if (s->bytes + len + SEGMENT_MAGIC_LEN > s->o.max)
            rc = -ENOSPC;
        if (rc < 0) {
            s->queue.failed = false;
            s->queue.len = start;
        }
        s->full = rc == -ENOSPC;
        w->entry.offset = start;
        w->entry.len = len;
    }
    if (rc == 0) {
        *s->waiting_end = w;
        s->waiting_end = &w->next;
        s->bytes += w->entry.len;
        s->records++;
        s->queued++;
        count_key(s, w->entry.key, 1);
        (void)pthread_cond_signal(&s->work);
    }
    (void)pthread_mutex_unlock(&s->lock);
    if (rc < 0)
        free(w);
    return rc;
}

bool spool_has_key(struct spool *s, struct slice topic, struct slice key)
{
    uint64_t hash = key_hash(topic, key);
    if (!hash)
        return false;
    (void)pthread_mutex_lock(&s->lock);
    bool has = *key_bucket(s, hash) > 0;
    (void)pthread_mutex_unlock(&s->lock);
    return has;
}

/* The record of an entry, read and checked again. -ENOMEM past the arena's cap, -EBADMSG when the
 * disk gives something else. */
static int load(const struct segment *g, const struct entry *e, struct arena *a,
                struct spool_record *ret)
{
    char *text = arena_alloc(a, SEGMENT_MAGIC_LEN + e->len + 1, 1);
    if (!text)
        return -ENOMEM;
    if (pread(g->fd, text + SEGMENT_MAGIC_LEN, e->len, (off_t)e->offset) != (ssize_t)e->len)
        return -EBADMSG;
    /* The frame as the only one of a file. */
    struct frame f;
    size_t pos = 0;
    uint64_t damaged = 0;
    if (!segment_next((struct slice){text, SEGMENT_MAGIC_LEN + e->len}, &pos, &f, &damaged))
        return -EBADMSG;
    return segment_record(f.payload, a, ret);
}

static bool peek_one(struct spool *s, const struct segment *g, struct entry *e, struct arena *a,
                     struct spool_record *ret)
{
    int rc = load(g, e, a, ret);
    if (rc == -ENOMEM)
        return false;
    if (rc < 0) {
        *ret = (struct spool_record){0};
        s->damaged += !e->damaged;
        e->damaged = true;
    }
    return true;
}

size_t spool_peek(struct spool *s, struct arena *a, struct spool_record *ret, size_t max,
                  size_t bytes)
{
    size_t n = 0, used = 0;
    bool room = true;
    (void)pthread_mutex_lock(&s->lock);
    for (const struct segment *g = s->first; g && room; g = g->next) {
        for (size_t i = g->popped; i < g->n && room; i++) {
            room = n < max && used < bytes && peek_one(s, g, &g->v[i], a, &ret[n]);
            if (!room)
                break;
            used += g->v[i].len;
            n++;
        }
    }
    (void)pthread_mutex_unlock(&s->lock);
    return n;
}

void spool_pop(struct spool *s, size_t n)
{
    (void)pthread_mutex_lock(&s->lock);
    for (struct segment *g = s->first; g && n > 0; g = g->next) {
        while (n > 0 && g->popped < g->n) {
            count_key(s, g->v[g->popped++].key, -1);
            s->records--;
            n--;
        }
    }
    drop_drained(s);
    s->full = false;
    (void)pthread_mutex_unlock(&s->lock);
}

/* Under the lock. A file of its own kind keeps the directory as a segment does. */
static void enter_aside(struct spool *s, struct segment *g, size_t bytes, int64_t at)
{
    if (g != s->aside_file) {
        if (s->aside_file)
            segment_free(s->aside_file);
        s->aside_file = g;
        s->bytes += SEGMENT_MAGIC_LEN;
        g->home->segments++;
    }
    g->size += bytes;
    s->bytes += bytes;
    s->aside++;
    if (at > s->aside_at)
        s->aside_at = at;
}

int spool_set_aside(struct spool *s, const struct spool_record *r)
{
    CLEANUP(buf_release) struct buf frame = BUF_INIT(SIZE_MAX / 2);
    struct segment *g = s->aside_file;
    struct spool_state now;
    segment_put(&frame, r);
    if (frame.failed)
        return -ENOMEM;
    spool_state(s, &now);
    if (now.ended)
        return -EIO;
    int rc = write_batch(s, &s->asides, &g, &frame);
    (void)pthread_mutex_lock(&s->lock);
    if (rc == 0)
        enter_aside(s, g, frame.len, r->at);
    else if (!may_pass(rc))
        s->ended = true;
    (void)pthread_mutex_unlock(&s->lock);
    if (rc < 0 && g && g != s->aside_file)
        segment_drop(g);
    return rc;
}

void spool_state(struct spool *s, struct spool_state *ret)
{
    (void)pthread_mutex_lock(&s->lock);
    *ret = (struct spool_state){.records = s->records,
                                .bytes = s->bytes,
                                .aside = s->aside,
                                .aside_at = s->aside_at,
                                .damaged = s->damaged,
                                .ended = s->ended,
                                .full = s->full};
    for (const struct segment *g = s->first; g && !ret->oldest; g = g->next)
        if (g->popped < g->n)
            ret->oldest = g->v[g->popped].at;
    if (!ret->oldest && s->waiting)
        ret->oldest = s->waiting->entry.at;
    (void)pthread_mutex_unlock(&s->lock);
}

void spool_wait(struct spool *s, int64_t timeout_ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + timeout_ms % 1000 * 1000000;
    until.tv_sec += timeout_ms / 1000 + ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    (void)pthread_mutex_lock(&s->lock);
    int rc = 0;
    while (rc == 0 && !s->woken && s->records - s->queued == 0)
        rc = pthread_cond_timedwait(&s->news, &s->lock, &until);
    s->woken = false;
    (void)pthread_mutex_unlock(&s->lock);
}

void spool_wake(struct spool *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->woken = true;
    (void)pthread_cond_broadcast(&s->news);
    (void)pthread_mutex_unlock(&s->lock);
}

/* ---- life ---- */

static int make_dir(const char *path)
{
    return mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : -errno;
}

static int open_own(struct spool *s, struct err *e)
{
    char path[PATH_LEN];
    int n = snprintf(path, sizeof(path), "%s/%s", s->o.dir, s->o.id);
    if (n < 0 || (size_t)n >= sizeof(path) - 16 || strlen(s->o.id) >= SPOOL_ID)
        return err_set(e, -ENAMETOOLONG, "spool %s: path too long", s->o.dir);
    int rc = make_dir(path);
    if (rc < 0)
        return err_set(e, rc, "spool %s: %s", path, strerror(-rc));
    int lock = home_lock(path, true);
    if (lock < 0)
        return err_set(e, lock, "spool %s: cannot be locked: %s", path, strerror(-lock));
    s->own = home_new(s, s->o.id, lock, true);
    if (!s->own) {
        (void)close(lock);
        return err_set(e, -ENOMEM, "spool: out of memory");
    }
    rc = sync_dir(s->o.dir);
    return rc < 0 ? err_set(e, rc, "spool %s: %s", s->o.dir, strerror(-rc)) : 0;
}

static void init_locks(struct spool *s)
{
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->work, NULL);
    (void)pthread_cond_init(&s->news, &attr);
    (void)pthread_condattr_destroy(&attr);
}

int spool_open(const struct spool_options *o, struct spool **ret, struct err *e)
{
    struct spool *s = calloc(1, sizeof(*s));
    if (!s)
        return err_set(e, -ENOMEM, "spool: out of memory");
    s->o = *o;
    if (s->o.segment == 0)
        s->o.segment = SEGMENT_DEFAULT;
    s->queue = BUF_INIT(SIZE_MAX / 2);
    s->waiting_end = &s->waiting;
    s->segs.suffix = ".seg";
    s->asides.suffix = ".aside";
    init_locks(s);
    int rc = make_dir(o->dir);
    if (rc < 0)
        rc = err_set(e, rc, "spool %s: %s", o->dir, strerror(-rc));
    /* Ours after theirs: what is older goes out first. */
    if (rc == 0)
        rc = adopt_all(s, e);
    if (rc == 0)
        rc = open_own(s, e);
    if (rc == 0) {
        drop_drained(s); /* adopted segments without a whole record */
        rc = -pthread_create(&s->writer, NULL, writer, s);
        if (rc < 0)
            (void)err_set(e, rc, "spool: no thread");
        s->started = rc == 0;
    }
    if (rc < 0) {
        spool_close(s);
        return rc;
    }
    *ret = s;
    return 0;
}

bool spool_owes(struct spool *s, char id[SPOOL_ID])
{
    (void)pthread_mutex_lock(&s->lock);
    struct home *h = s->homes;
    while (h && (h->ours || h->released || h->segments > 0))
        h = h->next;
    if (h)
        memcpy(id, h->id, SPOOL_ID);
    (void)pthread_mutex_unlock(&s->lock);
    return h != NULL;
}

void spool_release(struct spool *s, const char *id)
{
    (void)pthread_mutex_lock(&s->lock);
    for (struct home *h = s->homes; h; h = h->next) {
        if (strcmp(h->id, id) != 0)
            continue;
        h->released = true;
        if (!h->ours) /* we may yet write to our own; it goes with spool_close() */
            home_drop(h);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

static void free_segments(struct spool *s)
{
    while (s->first) {
        struct segment *g = s->first;
        s->first = g->next;
        if (g->popped == g->n && !s->ended) {
            (void)unlink(g->path);
            g->home->segments--;
        }
        segment_free(g);
    }
    if (s->aside_file)
        segment_free(s->aside_file);
}

void spool_close(struct spool *s)
{
    if (!s)
        return;
    if (s->started) {
        (void)pthread_mutex_lock(&s->lock);
        s->stopping = true;
        (void)pthread_cond_signal(&s->work);
        (void)pthread_mutex_unlock(&s->lock);
        (void)pthread_join(s->writer, NULL);
    }
    free_segments(s);
    while (s->homes) {
        struct home *h = s->homes;
        s->homes = h->next;
        home_drop(h);
        if (h->lock >= 0)
            (void)close(h->lock);
        free(h);
    }
    buf_release(&s->queue);
    (void)pthread_cond_destroy(&s->work);
    (void)pthread_cond_destroy(&s->news);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}
