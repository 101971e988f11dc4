/*
 * Records that Kafka did not take in time, on disk until it does.
 *
 *   DIR/<id>/lock          one directory per process, locked while it lives;
 *                          the id is a UUIDv7, so names sort by age
 *   DIR/<id>/00000001.seg  append-only: a header of the file, then records:
 *                          magic, length, CRC-32C of the payload, CRC-32C of these three
 *   DIR/<id>/00000001.aside  the same, of records that were set aside
 *
 * One writer thread appends what has gathered, fsyncs once, and then says so for each record. A
 * full disk refuses what it has no room for, and takes again when it has; so does a process that
 * may open no further file. Any other failed write, or fsync, ends the spool: what the kernel
 * dropped cannot be known, so nothing is called safe any more. At start the directories of dead
 * processes are adopted, oldest first. A torn tail is the normal end of a crash; damage before it
 * is counted, logged by whoever asks, and skipped to the next whole record.
 *
 * A directory stands until it is drained and its process's farewell was heard (spool_release()), so
 * that somebody says it for a process that was killed.
 *
 * What Kafka does not take although it is there is set aside, fsynced, before it leaves the queue,
 * and counts against the bound. Nobody reads it until whoever adopts the directory puts it at the
 * head of its queue: before what waited then, but records of its key that came later may be in
 * Kafka already. Who was killed in between left a copy in a segment, which the next one passes
 * over.
 *
 * Drained in order. What was drained is remembered by segment: after a crash the rest of a segment,
 * and what was drained of it, goes out again, under the same request ids.
 */
#pragma once

#include <stdint.h>

#include "common/arena.h"
#include "common/kafka.h"

struct spool;

#define SPOOL_ID 64 /* with its NUL */

struct spool_record {
    struct slice topic, key; /* key.p NULL: none */
    struct slice value;
    const struct kafka_header *headers;
    size_t header_n;
    int64_t at; /* ms: when it was received */
};

/* `rc` 0: on disk. Negative: not, and never call it safe. On the writer's thread, once per record
 * that spool_append() took. */
typedef void spool_done_fn(void *ctx, void *cookie, int rc);

struct spool_options {
    const char *dir; /* made when missing */
    const char *id;  /* of this process, shorter than SPOOL_ID */
    size_t max;      /* bytes of all files, adopted ones too */
    size_t segment;  /* bytes, then the next one begins; 0: 8 MiB */
    spool_done_fn *done;
    void *ctx;
    int (*fsync)(int fd); /* NULL: fdatasync; another one to see it fail */
};

/* -EACCES, -EIO ... with a reason. */
int spool_open(const struct spool_options *o, struct spool **ret, struct err *e) MUST_CHECK;
/* Writes what waits, joins the writer, releases the locks; removes the directories that are drained
 * and released. NULL is a no-op. */
void spool_close(struct spool *s);

/* Copies `r`. -ENOSPC past the bound, -EIO once the spool has ended, -ENOMEM; then done() is not
 * called. */
int spool_append(struct spool *s, const struct spool_record *r, void *cookie) MUST_CHECK;

/* Is a record of this key in here (or one that looks like it)? */
bool spool_has_key(struct spool *s, struct slice topic, struct slice key);

/* The oldest records that are on disk, up to `max` of them and about `bytes`, into the arena. Their
 * number; 0: none. The same ones until spool_pop(). One that the disk has damaged since has no
 * topic: count it and pop it. */
size_t spool_peek(struct spool *s, struct arena *a, struct spool_record *ret, size_t max,
                  size_t bytes);
/* The oldest `n` that spool_peek() gave are in Kafka, or set aside. */
void spool_pop(struct spool *s, size_t n);

/* Before the spool_pop() that makes it leave the queue: on disk among what is set aside, whatever
 * the bound, since it only moves. -ENOSPC, -EMFILE, -ENFILE: there is no room, or no file, now;
 * -EIO: the spool has ended; -ENOMEM. One thread's. */
int spool_set_aside(struct spool *s, const struct spool_record *r) MUST_CHECK;

/* A dead process whose directory was adopted, is drained by now and not released; false: none. */
bool spool_owes(struct spool *s, char id[SPOOL_ID]) MUST_CHECK;
/* The farewell of this process was heard: its directory may go. */
void spool_release(struct spool *s, const char *id);

struct spool_state {
    size_t records, bytes;
    int64_t oldest;   /* ms, receive time; 0: empty */
    size_t aside;     /* records, by this process: not among `records` */
    int64_t aside_at; /* ms: when the newest of them was received; 0: none */
    uint64_t damaged; /* records or stretches that were skipped */
    bool ended;       /* by a failed write */
    bool full;        /* refused the last append for want of room */
};
void spool_state(struct spool *s, struct spool_state *ret);
/* Wait until something is on disk to peek at, or `timeout_ms`, or spool_wake(). */
void spool_wait(struct spool *s, int64_t timeout_ms);
void spool_wake(struct spool *s);

CLEANUP_DEFINE(struct spool *, spool_close);
