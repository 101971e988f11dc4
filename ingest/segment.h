/* The bytes of a spool's segment: framing, checksums, and records in and out. Pure, but for reading
 * a file. */
#pragma once

#include "common/buf.h"
#include "ingest/spool.h"

#define SEGMENT_MAGIC "TOCSPL1\n"
#define SEGMENT_MAGIC_LEN 8
#define FRAME_LEN                                                                                  \
    16 /* magic, payload length, CRC of the payload, CRC of these three; little endian */
#define PAYLOAD_MAX ((size_t)64 << 20)

uint32_t crc32c(uint32_t crc, const void *p, size_t len);

/* Append a framed record. */
void segment_put(struct buf *b, const struct spool_record *r);

/* One whole frame in a file. */
struct frame {
    size_t offset; /* of the frame */
    size_t len;    /* with the frame's head */
    struct slice payload;
};
/*
 * The next whole frame at or behind *pos in the file's bytes; false at the end. Damage on the way
 * is skipped and counted; a tail that holds no whole frame is torn, not damaged.
 */
bool segment_next(struct slice file, size_t *pos, struct frame *ret, uint64_t *damaged);

/* The record in a payload; slices point into it, headers are in the arena. -EBADMSG, -ENOMEM. */
int segment_record(struct slice payload, struct arena *a, struct spool_record *ret) MUST_CHECK;
