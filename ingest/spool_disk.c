#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/digest.h"
#include "ingest/segment.h"
#include "ingest/spool_internal.h"

/* ---- keys ---- */

uint64_t key_hash(struct slice topic, struct slice key)
{
    if (!key.p)
        return 0;
    uint64_t h = fnv1a(fnv1a(FNV1A_INIT, topic.p, topic.len), "\xff", 1);
    h = fnv1a(h, key.p, key.len);
    return h ? h : 1;
}

uint32_t *key_bucket(struct spool *s, uint64_t hash)
{
    return &s->keys[(hash ^ hash >> 32) % KEY_BUCKETS];
}

void count_key(struct spool *s, uint64_t hash, int by)
{
    if (hash)
        *key_bucket(s, hash) += (uint32_t)by;
}

int sync_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = fsync(fd) == 0 ? 0 : -errno;
    (void)close(fd);
    return rc;
}

/* ---- segments ---- */

int segment_add_entry(struct segment *g, struct entry e)
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
    return g;
}

void segment_free(struct segment *g)
{
    if (g->fd >= 0)
        (void)close(g->fd);
    free(g->v);
    free(g);
}

void segment_drop(struct segment *g)
{
    (void)unlink(g->path);
    segment_free(g);
}

void link_segment(struct spool *s, struct segment *g)
{
    if (s->last)
        s->last->next = g;
    else
        s->first = g;
    s->last = g;
    g->home->segments++;
}

/* Begin the next segment of our own, so that its name survives a crash before the first record in
 * it is called safe. */
int segment_begin(struct spool *s, struct series *of, struct segment **ret)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "%08u%s", ++of->number, of->suffix);
    struct segment *g = segment_new(s->own, name, O_RDWR | O_CREAT | O_EXCL | O_APPEND);
    if (!g)
        return errno ? -errno : -ENOMEM;
    ssize_t put = write(g->fd, SEGMENT_MAGIC, SEGMENT_MAGIC_LEN);
    int rc = put < 0 ? -errno : put < (ssize_t)SEGMENT_MAGIC_LEN ? -ENOSPC : 0;
    if (rc == 0)
        rc = sync_dir(s->own->path);
    if (rc < 0) {
        segment_drop(g);
        return rc;
    }
    g->size = SEGMENT_MAGIC_LEN;
    *ret = g;
    return 0;
}

void home_drop(struct home *h)
{
    char path[PATH_LEN + 8];
    if (!h->released || h->segments > 0 || h->lock < 0)
        return;
    (void)snprintf(path, sizeof(path), "%s/lock", h->path);
    (void)unlink(path);
    (void)rmdir(h->path);
    (void)close(h->lock);
    h->lock = -1;
}

/*
 * Remove drained segments from the front. The one that is written to goes, too, as soon as it is
 * drained: what stood in it for days must not go out again after a crash.
 */
void drop_drained(struct spool *s)
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
        h->segments--;
        if (!h->ours)
            home_drop(h);
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

/* What was set aside is in here once, whatever copies a process that was killed has left. */
static int recover_entry(struct spool *s, struct segment *g, const struct frame *f, bool aside)
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
    if (rc == 0 && aside)
        rc = seen_add(&s->found, f->payload);
    else if (rc == 0 && seen_has(&s->found, f->payload))
        rc = -EEXIST;
    if (rc < 0)
        return rc == -EEXIST ? 0 : rc;
    uint64_t key = key_hash(r.topic, r.key);
    rc = segment_add_entry(
        g, (struct entry){.offset = f->offset, .len = f->len, .key = key, .at = r.at});
    if (rc < 0)
        return rc;
    count_key(s, key, 1);
    s->records++;
    return 0;
}

static int recover_segment(struct spool *s, struct home *home, const struct series *of,
                           const char *name, struct err *e)
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
        int rc = recover_entry(s, g, &f, of == &s->asides);
        if (rc < 0) {
            segment_free(g);
            return err_set(e, rc, "spool %s/%s: out of memory", home->path, name);
        }
    }
    s->bytes += g->size;
    link_segment(s, g);
    return 0;
}

static int is_plain(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static bool is_of(const struct series *of, const char *name)
{
    size_t n = strlen(name), end = strlen(of->suffix);
    return n > end && strcmp(name + n - end, of->suffix) == 0;
}

static int recover_home(struct spool *s, struct home *home, const struct series *of, struct err *e)
{
    struct dirent **names = NULL;
    int n = scandir(home->path, &names, is_plain, alphasort);
    int rc = n < 0 ? err_set(e, -errno, "spool %s: cannot be listed", home->path) : 0;
    for (int i = 0; i < n; i++) {
        if (rc == 0 && is_of(of, names[i]->d_name))
            rc = recover_segment(s, home, of, names[i]->d_name, e);
        free(names[i]);
    }
    free(names);
    return rc;
}

int home_lock(const char *path, bool create)
{
    char file[PATH_LEN + 8];
    (void)snprintf(file, sizeof(file), "%s/lock", path);
    int fd = open(file, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
    if (fd < 0)
        return -errno;
    struct stat st = {0};
    int rc = flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0 ? -errno : 0;
    if (rc == 0 && st.st_nlink == 0) /* its process has just removed it, and the directory */
        rc = -ENOENT;
    if (rc < 0) {
        (void)close(fd);
        return rc;
    }
    return fd;
}

struct home *home_new(struct spool *s, const char *id, int lock, bool ours)
{
    struct home *h = calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    (void)snprintf(h->path, sizeof(h->path), "%s/%s", s->o.dir, id);
    (void)snprintf(h->id, sizeof(h->id), "%s", id);
    h->lock = lock;
    h->ours = ours;
    struct home **end = &s->homes;
    while (*end)
        end = &(*end)->next;
    *end = h;
    return h;
}

static int adopt(struct spool *s, const char *name, struct err *e)
{
    char path[PATH_LEN];
    struct stat st;
    int n = snprintf(path, sizeof(path), "%s/%s", s->o.dir, name);
    if (n < 0 || (size_t)n >= sizeof(path) || strlen(name) >= SPOOL_ID || stat(path, &st) < 0 ||
        !S_ISDIR(st.st_mode))
        return 0;
    int lock = home_lock(path, false);
    if (lock < 0)
        return 0; /* somebody lives there, or just removed it, or it is none of ours */
    struct home *h = home_new(s, name, lock, false);
    if (!h) {
        (void)close(lock);
        return err_set(e, -ENOMEM, "spool: out of memory");
    }
    return 0;
}

int adopt_all(struct spool *s, struct err *e)
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
    for (struct home *h = s->homes; h && rc == 0; h = h->next)
        rc = recover_home(s, h, &s->asides, e);
    for (struct home *h = s->homes; h && rc == 0; h = h->next)
        rc = recover_home(s, h, &s->segs, e);
    seen_release(&s->found);
    return rc;
}
