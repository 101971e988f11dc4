/* Inside the spool: what spool.c (the writer and its callers) and spool_disk.c (files, directories,
 * recovery) share. */
#pragma once

#include <pthread.h>

#include "common/buf.h"
#include "ingest/seen.h"
#include "ingest/spool.h"

#define KEY_BUCKETS 4096
#define PATH_LEN 1024

/* A record that is on disk and not yet in Kafka. */
struct entry {
    size_t offset, len;
    uint64_t key; /* hash of topic and key; 0: none */
    int64_t at;
    bool damaged; /* by the disk, after it was written */
};

/* Files of one kind in our own directory, numbered as they are begun. */
struct series {
    const char *suffix;
    unsigned number; /* of the newest */
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

/* A directory: ours, or one that a dead process left. Removed once it is released and without
 * segments. */
struct home {
    char path[PATH_LEN];
    char id[SPOOL_ID];
    int lock; /* -1: removed */
    size_t segments;
    bool ours, released;
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
    struct series segs;   /* the writer's */
    struct series asides; /* spool_set_aside()'s, as is the file that it writes to */
    struct segment *aside_file;

    pthread_mutex_t lock;
    pthread_cond_t work, news;
    pthread_t writer;
    bool started, stopping, ended, full, woken;
    bool writing;     /* the writer is at the last segment of our own */
    struct buf queue; /* framed bytes, as they will stand in the file */
    struct waiting *waiting, **waiting_end;
    size_t bytes; /* of everything that is in here, queued or on disk */
    size_t records, queued;
    size_t aside;
    int64_t aside_at;
    struct seen found; /* set aside by others; while it adopts */
    uint64_t damaged;
    uint32_t
        keys[KEY_BUCKETS]; /* how many records hash there: a neighbour only queues needlessly */
};

void segment_free(struct segment *g);
/* With its file; one that was never linked. */
void segment_drop(struct segment *g);
int segment_add_entry(struct segment *g, struct entry e) MUST_CHECK;
/* As the newest. */
void link_segment(struct spool *s, struct segment *g);
/* The next one of our own, not linked. */
int segment_begin(struct spool *s, struct series *of, struct segment **ret) MUST_CHECK;
/* Under the lock. */
void drop_drained(struct spool *s);
/* The fd of its lock; -EWOULDBLOCK while its process lives, -ENOENT when it has none to `create`.
 */
int home_lock(const char *path, bool create) MUST_CHECK;
/* Linked, as the newest; NULL: out of memory. */
struct home *home_new(struct spool *s, const char *id, int lock, bool ours) MUST_CHECK;
/* Remove it when nothing keeps it. */
void home_drop(struct home *h);
/* What dead processes left, oldest first: what they set aside, then what waited. */
int adopt_all(struct spool *s, struct err *e) MUST_CHECK;
int sync_dir(const char *path) MUST_CHECK;
/* 0: no key. */
uint64_t key_hash(struct slice topic, struct slice key);
uint32_t *key_bucket(struct spool *s, uint64_t hash);
void count_key(struct spool *s, uint64_t hash, int by);
