#include "ingest/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/digest.h"
#include "ingest/segment.h"

#define SEGMENT_DEFAULT ((size_t)8 << 20)
#define KEY_BUCKETS 4096
#define PATH_LEN 1024

/* A record that is on disk and not yet in Kafka. */
struct entry {
    size_t offset, len;
    uint64_t key; /* hash of topic and key; 0: none */
    int64_t at;
    bool damaged; /* by the disk, after it was written */
};

/* A segment; the last one is written to. */
struct segment {
    char path[PATH_LEN];
    int fd;
    size_t size;
    struct entry *v;
    size_t n, room, popped;
    struct home *home;
    struct segment *next;
};

/* A directory: ours, or one that a dead process left. Removed with its last segment. */
struct home {
    char path[PATH_LEN];
    int lock;
    size_t segments;
    bool ours;
    struct home *next;
};

/* What waits for the writer. */
struct waiting {
    void *cookie;
    struct entry entry;
    struct waiting *next;
};

struct spool {
    struct spool_options o;
    struct home *homes, *own;
    struct segment *first, *last;
    unsigned number; /* of the newest segment of our own */

    pthread_mutex_t lock;
    pthread_cond_t work, news;
    pthread_t writer;
    bool started, stopping, ended, full, woken;
    bool writing;     /* the writer is at the last segment of our own */
    struct buf queue; /* framed bytes, as they will stand in the file */
    struct waiting *waiting, **waiting_end;
    size_t bytes; /* of everything that is in here, queued or on disk */
    size_t records, queued;
    uint64_t damaged;
    uint32_t
        keys[KEY_BUCKETS]; /* how many records hash there: a neighbour only queues needlessly */
};

static uint64_t key_hash(struct slice topic, struct slice key)
{
    if (!key.p)
        return 0;
    uint64_t h = fnv1a(fnv1a(FNV1A_INIT, topic.p, topic.len), "\xff", 1);
    h = fnv1a(h, key.p, key.len);
    return h ? h : 1;
}

static uint32_t *key_bucket(struct spool *s, uint64_t hash)
{
    return &s->keys[(hash ^ hash >> 32) % KEY_BUCKETS];
}

static void count_key(struct spool *s, uint64_t hash, int by)
{
    if (hash)
        *key_bucket(s, hash) += (uint32_t)by;
}

static int sync_fd(const struct spool *s, int fd)
{
    return (s->o.fsync ? s->o.fsync(fd) : fdatasync(fd)) == 0 ? 0 : -errno;
}

static int sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = fsync(fd) == 0 ? 0 : -errno;
    (void)close(fd);
    return rc;
}

/* ---- segments ---- */

static int segment_add_entry(struct segment *g, struct entry e)
{
    if (g->n == g->room) {
        size_t room = g->room ? g->room * 2 : 64;
        struct entry *v = reallocarray(g->v, room, sizeof(*v));
        if (!v)
            return -ENOMEM;
        g->v = v;
        g->room = room;
    }
    g->v[g->n++] = e;
    return 0;
}

static struct segment *segment_new(struct home *home, const char *name, int flags)
{
    struct segment *g = calloc(1, sizeof(*g));
    if (!g)
        return NULL;
    g->home = home;
    int n = snprintf(g->path, sizeof(g->path), "%s/%s", home->path, name);
    g->fd = n > 0 && (size_t)n < sizeof(g->path) ? open(g->path, flags | O_CLOEXEC, 0600) : -1;
    if (g->fd < 0) {
        free(g);
        return NULL;
    }
    home->segments++;
    return g;
}

static void segment_free(struct segment *g)
{
    if (g->fd >= 0)
        (void)close(g->fd);
    free(g->v);
    free(g);
}

static void link_segment(struct spool *s, struct segment *g)
{
    if (s->last)
        s->last->next = g;
    else
        s->first = g;
    s->last = g;
}

/* Begin the next segment of our own, so that its name survives a crash before the first record in
 * it is called safe. */
static int segment_begin(struct spool *s, struct segment **ret)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "%08u.seg", ++s->number);
    struct segment *g = segment_new(s->own, name, O_RDWR | O_CREAT | O_EXCL | O_APPEND);
    if (!g)
        return errno ? -errno : -ENOMEM;
    int rc = write(g->fd, SEGMENT_MAGIC, SEGMENT_MAGIC_LEN) == SEGMENT_MAGIC_LEN ? 0 : -EIO;
    if (rc == 0)
        rc = sync_dir(s->own->path);
    if (rc < 0) {
        segment_free(g);
        return rc;
    }
    g->size = SEGMENT_MAGIC_LEN;
    *ret = g;
    return 0;
}

static void home_remove(struct home *h)
{
    char path[PATH_LEN + 8];
    (void)snprintf(path, sizeof(path), "%s/lock", h->path);
    (void)unlink(path);
    (void)rmdir(h->path);
}

/*
 * Remove drained segments from the front. The one that is written to goes, too, as soon as it is
 * drained: what stood in it for days must not go out again after a crash.
 */
static void drop_drained(struct spool *s)
{
    while (s->first && s->first->popped == s->first->n &&
           !(s->writing && s->first == s->last && s->first->home->ours)) {
        struct segment *g = s->first;
        s->first = g->next;
        if (!s->first)
            s->last = NULL;
        s->bytes -= g->size;
        (void)unlink(g->path);
        struct home *h = g->home;
        segment_free(g);
        if (--h->segments > 0 || h->ours)
            continue;
        home_remove(h);
        (void)close(h->lock);
        h->lock = -1;
    }
}

/* ---- recovery ---- */

static char *read_all(int fd, size_t size)
{
    char *text = malloc(size + 1);
    size_t n = 0;
    while (text && n < size) {
        ssize_t got = pread(fd, text + n, size - n, (off_t)n);
        if (got <= 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            free(text);
            return NULL;
        }
        n += (size_t)got;
    }
    return text;
}

static int recover_entry(struct spool *s, struct segment *g, const struct frame *f)
{
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    struct spool_record r;
    if (!a)
        return -ENOMEM;
    int rc = segment_record(f->payload, a, &r);
    if (rc == -EBADMSG) {
        s->damaged++;
        return 0;
    }
    if (rc < 0)
        return rc;
    uint64_t key = key_hash(r.topic, r.key);
    rc = segment_add_entry(
        g, (struct entry){.offset = f->offset, .len = f->len, .key = key, .at = r.at});
    if (rc < 0)
        return rc;
    count_key(s, key, 1);
    s->records++;
    return 0;
}

static int recover_segment(struct spool *s, struct home *home, const char *name, struct err *e)
{
    struct segment *g = segment_new(home, name, O_RDWR);
    struct stat st;
    if (!g)
        return err_set(e, -EIO, "spool %s/%s: cannot be opened", home->path, name);
    if (fstat(g->fd, &st) < 0) {
        segment_free(g);
        return err_set(e, -EIO, "spool %s/%s: cannot be read", home->path, name);
    }
    g->size = (size_t)st.st_size;
    CLEANUP(free) char *text = read_all(g->fd, g->size);
    if (!text) {
        segment_free(g);
        return err_set(e, -EIO, "spool %s/%s: cannot be read", home->path, name);
    }
    struct slice file = {text, g->size};
    struct frame f;
    size_t pos = 0;
    while (segment_next(file, &pos, &f, &s->damaged)) {
        int rc = recover_entry(s, g, &f);
        if (rc < 0) {
            segment_free(g);
            return err_set(e, rc, "spool %s/%s: out of memory", home->path, name);
        }
    }
    s->bytes += g->size;
    link_segment(s, g);
    return 0;
}

static int is_segment(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return n > 4 && strcmp(d->d_name + n - 4, ".seg") == 0;
}

static int is_plain(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static int recover_home(struct spool *s, struct home *home, struct err *e)
{
    struct dirent **names = NULL;
    int n = scandir(home->path, &names, is_segment, alphasort);
    int rc = n < 0 ? err_set(e, -errno, "spool %s: cannot be listed", home->path) : 0;
    for (int i = 0; i < n; i++) {
        if (rc == 0)
            rc = recover_segment(s, home, names[i]->d_name, e);
        free(names[i]);
    }
    free(names);
    return rc;
}

/* The lock of a directory; -EWOULDBLOCK while its process lives. */
static int home_lock(const char *path)
{
    char file[PATH_LEN + 8];
    (void)snprintf(file, sizeof(file), "%s/lock", path);
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int rc = -errno;
        (void)close(fd);
        return rc;
    }
    return fd;
}

static struct home *home_new(struct spool *s, const char *name, int lock, bool ours)
{
    struct home *h = calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    (void)snprintf(h->path, sizeof(h->path), "%s/%s", s->o.dir, name);
    h->lock = lock;
    h->ours = ours;
    h->next = s->homes;
    s->homes = h;
    return h;
}

static int adopt(struct spool *s, const char *name, struct err *e)
{
    char path[PATH_LEN];
    struct stat st;
    int n = snprintf(path, sizeof(path), "%s/%s", s->o.dir, name);
    if (n < 0 || (size_t)n >= sizeof(path) || stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return 0;
    int lock = home_lock(path);
    if (lock < 0)
        return 0; /* somebody lives there, or just removed it */
    struct home *h = home_new(s, name, lock, false);
    if (!h) {
        (void)close(lock);
        return err_set(e, -ENOMEM, "spool: out of memory");
    }
    int rc = recover_home(s, h, e);
    if (rc == 0 && h->segments == 0)
        home_remove(h);
    return rc;
}

static int adopt_all(struct spool *s, struct err *e)
{
    struct dirent **names = NULL;
    int n = scandir(s->o.dir, &names, is_plain, alphasort);
    int rc = n < 0 ? err_set(e, -errno, "spool %s: cannot be listed", s->o.dir) : 0;
    for (int i = 0; i < n; i++) {
        if (rc == 0)
            rc = adopt(s, names[i]->d_name, e);
        free(names[i]);
    }
    free(names);
    return rc;
}

/* ---- the writer ---- */

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

/* Bytes and an fsync; the segment is the writer's alone until its entries are there. */
static int write_batch(struct spool *s, struct segment **g, const struct buf *batch)
{
    int rc = 0;
    struct segment *next = *g;
    if (!next || next->size + batch->len > s->o.segment)
        rc = segment_begin(s, &next);
    if (rc == 0 && next)
        rc = write_all(next->fd, batch->p, batch->len);
    if (rc == 0 && next)
        rc = sync_fd(s, next->fd);
    *g = next;
    return rc;
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

static void answer(struct spool *s, struct waiting *list, int rc)
{
    while (list) {
        struct waiting *w = list;
        list = w->next;
        s->o.done(s->o.ctx, w->cookie, rc);
        free(w);
    }
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
    int rc = write_batch(s, &g, &batch);
    (void)pthread_mutex_lock(&s->lock);
    s->writing = false;
    if (rc == 0 && g)
        rc = enter(s, g, batch.len, list);
    if (rc < 0) {
        s->ended = true;
        if (g && g != s->last)
            segment_free(g); /* begun and never entered */
    }
    (void)pthread_cond_broadcast(&s->news);
    (void)pthread_mutex_unlock(&s->lock);
    answer(s, list, rc < 0 ? -EIO : 0);
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

void spool_state(struct spool *s, struct spool_state *ret)
{
    (void)pthread_mutex_lock(&s->lock);
    *ret = (struct spool_state){.records = s->records,
                                .bytes = s->bytes,
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
    if (n < 0 || (size_t)n >= sizeof(path) - 16)
        return err_set(e, -ENAMETOOLONG, "spool %s: path too long", s->o.dir);
    int rc = make_dir(path);
    if (rc < 0)
        return err_set(e, rc, "spool %s: %s", path, strerror(-rc));
    int lock = home_lock(path);
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
        if (h->segments == 0 && h->lock >= 0)
            home_remove(h);
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
