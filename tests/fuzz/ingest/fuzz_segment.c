/*
 * A spool's segment as a disk may give it back. Any bytes: frames lie in order within the file,
 * and a payload is a record or is refused. A file that we wrote, with one byte damaged or its tail
 * torn off: every record but the one that was hit is there as it was.
 */
#include "ingest/segment.h"

#include <errno.h>

#include "fuzz.h"

#define RECORDS_MAX 16

static void check_same(const struct spool_record *x, const struct spool_record *y)
{
    MUST(x->at == y->at && slice_eq(x->topic, y->topic) && slice_eq(x->value, y->value));
    MUST((x->key.p != NULL) == (y->key.p != NULL) && slice_eq(x->key, y->key));
    MUST(x->header_n == y->header_n);
    for (size_t i = 0; i < x->header_n; i++) {
        MUST(strcmp(x->headers[i].name, y->headers[i].name) == 0);
        MUST(slice_eq(x->headers[i].value, y->headers[i].value));
    }
}

/* A record out of a payload, and into a frame and out again. */
static void check_payload(struct slice payload, struct arena *a)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT((size_t)1 << 20);
    struct spool_record r, again;
    struct frame f;
    size_t pos = 0;
    uint64_t damaged = 0;
    const int rc = segment_record(payload, a, &r);
    if (rc < 0) {
        MUST(rc == -EBADMSG || rc == -ENOMEM);
        return;
    }
    MUST(r.header_n <= payload.len / 8);
    buf_puts(&b, SEGMENT_MAGIC);
    segment_put(&b, &r);
    MUST(!b.failed);
    MUST(segment_next((struct slice){b.p, b.len}, &pos, &f, &damaged));
    MUST(pos == b.len && damaged == 0 && segment_record(f.payload, a, &again) == 0);
    check_same(&r, &again);
}

static void check_any(struct slice file, struct arena *a)
{
    struct frame f;
    size_t pos = 0, end = SEGMENT_MAGIC_LEN;
    uint64_t damaged = 0;
    while (segment_next(file, &pos, &f, &damaged)) {
        MUST(f.offset >= end && f.len == f.payload.len + FRAME_LEN && pos == f.offset + f.len);
        MUST(pos <= file.len && f.payload.p == file.p + f.offset + FRAME_LEN);
        end = pos;
        check_payload(f.payload, a);
    }
    MUST(pos >= file.len && damaged <= file.len);
    check_payload(file, a); /* no fuzzer finds a checksum */
}

/* ---- a file of ours ---- */

struct made {
    struct spool_record v[RECORDS_MAX];
    size_t from[RECORDS_MAX + 1]; /* offsets of the frames, and the end */
    size_t n;
    struct buf file;
};

/* Lines are values; their first byte says what else there is. */
static void make(struct slice text, struct made *m)
{
    static const struct kafka_header headers[] = {{"v", {"1", 1}}, {"h.X", {"", 0}}};
    m->file = BUF_INIT((size_t)1 << 20);
    buf_puts(&m->file, SEGMENT_MAGIC);
    while (text.len > 0 && m->n < RECORDS_MAX) {
        const char *end = memchr(text.p, '\n', text.len);
        const size_t len = end ? (size_t)(end - text.p) : text.len;
        const int kind = len > 0 ? text.p[0] : 0;
        m->v[m->n] = (struct spool_record){.topic = SLICE_LIT("raw.x"),
                                           .key = {kind & 1 ? text.p : NULL, kind & 1 ? len : 0},
                                           .value = {text.p, len},
                                           .headers = headers,
                                           .header_n = kind >> 1 & 1 ? 2 : 0,
                                           .at = kind};
        m->from[m->n] = m->file.len;
        segment_put(&m->file, &m->v[m->n++]);
        text.p += len + (end != NULL);
        text.len -= len + (end != NULL);
    }
    m->from[m->n] = m->file.len;
    MUST(!m->file.failed);
}

/* Which record does the byte belong to? m->n: none. */
static size_t hit(const struct made *m, size_t at)
{
    for (size_t i = 0; i < m->n; i++)
        if (at >= m->from[i] && at < m->from[i + 1])
            return i;
    return m->n;
}

/* All records but `but`, up to `end`, are in the file. */
static void check_there(const struct made *m, struct slice file, size_t but, size_t end,
                        struct arena *a)
{
    struct spool_record r;
    struct frame f;
    size_t pos = 0;
    uint64_t damaged = 0;
    for (size_t i = 0; i < end; i++) {
        if (i == but)
            continue;
        MUST(segment_next(file, &pos, &f, &damaged));
        MUST(f.offset == m->from[i] && segment_record(f.payload, a, &r) == 0);
        check_same(&m->v[i], &r);
    }
    MUST(!segment_next(file, &pos, &f, &damaged));
    MUST(damaged <= 1 && (damaged == 1 || but >= end || but + 1 == m->n));
}

static void check_made(const uint8_t *head, struct slice text, struct arena *a)
{
    struct made m = {.n = 0};
    make(text, &m);
    const size_t at = ((size_t)head[0] << 8 | head[1]) % m.file.len;
    if (head[2] == 0) { /* torn */
        const struct slice file = {m.file.p, at < SEGMENT_MAGIC_LEN ? 0 : at};
        check_there(&m, file, m.n, file.len == 0 ? 0 : hit(&m, at), a);
    } else { /* damaged */
        const size_t but = hit(&m, at);
        m.file.p[at] = (char)(m.file.p[at] ^ head[2]);
        check_there(&m, (struct slice){m.file.p, m.file.len}, but, m.n, a);
    }
    buf_release(&m.file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = fuzz_arena(0, (size_t)4 << 20);
    if (size < 4)
        return 0;
    if (data[0] == 'T')
        check_any((struct slice){(const char *)data, size}, a);
    else
        check_made(data + 1, (struct slice){(const char *)data + 4, size - 4}, a);
    return 0;
}
