#include "ingest/segment.h"

#include <errno.h>
#include <pthread.h>

#define FRAME_MAGIC UINT32_C(0x52705354) /* "TSpR" */
#define FIELD_MAX UINT32_MAX

/* ---- CRC-32C (Castagnoli), eight bits at a time ---- */

static uint32_t crc_table[256];

static void crc_init(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? c >> 1 ^ UINT32_C(0x82f63b78) : c >> 1;
        crc_table[i] = c;
    }
}

uint32_t crc32c(uint32_t crc, const void *p, size_t len)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, crc_init);
    const unsigned char *s = p;
    crc = ~crc;
    for (size_t i = 0; i < len; i++)
        crc = crc_table[(crc ^ s[i]) & 0xff] ^ crc >> 8;
    return ~crc;
}

/* ---- writing ---- */

static void store32(unsigned char out[4], uint32_t v)
{
    for (int i = 0; i < 4; i++)
        out[i] = (unsigned char)(v >> (8 * i));
}

static uint32_t load32(const char *p)
{
    const unsigned char *s = (const unsigned char *)p;
    return (uint32_t)s[0] | (uint32_t)s[1] << 8 | (uint32_t)s[2] << 16 | (uint32_t)s[3] << 24;
}

static void put32(struct buf *b, uint32_t v)
{
    unsigned char out[4];
    store32(out, v);
    buf_add(b, out, sizeof(out));
}

static void put_field(struct buf *b, struct slice s)
{
    if (s.len >= FIELD_MAX)
        b->failed = true;
    put32(b, (uint32_t)s.len);
    buf_add(b, s.p, s.len);
}

void segment_put(struct buf *b, const struct spool_record *r)
{
    static const unsigned char room[FRAME_LEN] = {0};
    size_t start = b->len;
    buf_add(b, room, sizeof(room));
    put32(b, (uint32_t)((uint64_t)r->at & UINT32_MAX));
    put32(b, (uint32_t)((uint64_t)r->at >> 32));
    put32(b, r->key.p != NULL);
    put_field(b, r->topic);
    put_field(b, r->key);
    put_field(b, r->value);
    put32(b, (uint32_t)r->header_n);
    for (size_t i = 0; i < r->header_n; i++) {
        put_field(b, slice_of(r->headers[i].name));
        put_field(b, r->headers[i].value);
    }
    size_t len = b->len - start - FRAME_LEN;
    if (b->failed || len > PAYLOAD_MAX) {
        b->failed = true;
        return;
    }
    unsigned char *head = (unsigned char *)b->p + start;
    store32(head, FRAME_MAGIC);
    store32(head + 4, (uint32_t)len);
    store32(head + 8, crc32c(0, b->p + start + FRAME_LEN, len));
    store32(head + 12, crc32c(0, head, 12));
}

/* ---- reading ---- */

/* A frame's head that was meant as one. */
static bool head_at(struct slice file, size_t pos, size_t *ret_len)
{
    if (file.len - pos < FRAME_LEN || load32(file.p + pos) != FRAME_MAGIC ||
        load32(file.p + pos + 12) != crc32c(0, file.p + pos, 12))
        return false;
    *ret_len = load32(file.p + pos + 4);
    return *ret_len <= PAYLOAD_MAX;
}

bool segment_next(struct slice file, size_t *pos, struct frame *ret, uint64_t *damaged)
{
    bool skipped = false;
    size_t at = *pos;
    if (at < SEGMENT_MAGIC_LEN)
        at = SEGMENT_MAGIC_LEN;
    while (at < file.len) {
        size_t len = 0;
        if (!head_at(file, at, &len)) {
            skipped = true;
            at++;
            continue;
        }
        if (file.len - at - FRAME_LEN < len)
            break; /* torn: its rest was never written */
        struct slice payload = {file.p + at + FRAME_LEN, len};
        if (load32(file.p + at + 8) != crc32c(0, payload.p, payload.len)) {
            skipped = true;
            at += FRAME_LEN + len;
            if (at == file.len)
                (*damaged)++; /* whole by its head, and yet not what was written */
            continue;
        }
        *damaged += skipped;
        *ret = (struct frame){.offset = at, .len = FRAME_LEN + len, .payload = payload};
        *pos = at + FRAME_LEN + len;
        return true;
    }
    *pos = file.len;
    return false;
}

struct reader {
    struct slice s;
    size_t i;
    bool bad;
};

static uint32_t get32(struct reader *r)
{
    if (r->bad || r->s.len - r->i < 4) {
        r->bad = true;
        return 0;
    }
    uint32_t v = load32(r->s.p + r->i);
    r->i += 4;
    return v;
}

static struct slice get_field(struct reader *r)
{
    uint32_t len = get32(r);
    if (r->bad || r->s.len - r->i < len) {
        r->bad = true;
        return (struct slice){0};
    }
    struct slice s = {r->s.p + r->i, len};
    r->i += len;
    return s;
}

int segment_record(struct slice payload, struct arena *a, struct spool_record *ret)
{
    struct reader r = {.s = payload};
    uint64_t low = get32(&r), high = get32(&r);
    bool has_key = get32(&r) != 0;
    struct spool_record rec = {.at = (int64_t)(high << 32 | low)};
    rec.topic = get_field(&r);
    rec.key = get_field(&r);
    rec.value = get_field(&r);
    rec.header_n = get32(&r);
    if (!has_key)
        rec.key = (struct slice){0};
    if (r.bad || rec.header_n > (payload.len - r.i) / 8)
        return -EBADMSG;
    struct kafka_header *h = arena_array(a, rec.header_n + 1, struct kafka_header);
    if (!h)
        return -ENOMEM;
    for (size_t i = 0; i < rec.header_n; i++) {
        struct slice name = get_field(&r);
        h[i].value = get_field(&r);
        h[i].name = r.bad ? NULL : arena_strndup(a, name.p, name.len);
        if (r.bad)
            return -EBADMSG;
        if (!h[i].name)
            return -ENOMEM;
    }
    if (r.i != payload.len)
        return -EBADMSG;
    rec.headers = h;
    *ret = rec;
    return 0;
}
