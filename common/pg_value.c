/* Parameters and cells in Postgres's binary format: network byte order, arrays with a header. */
#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/pg_internal.h"

/* pg_type.dat; these numbers are part of the protocol and never change. */
enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_FLOAT8 = 701,
    OID_BOOL_ARRAY = 1000,
    OID_BYTEA_ARRAY = 1001,
    OID_INT4_ARRAY = 1007,
    OID_TEXT_ARRAY = 1009,
    OID_INT8_ARRAY = 1016,
    OID_FLOAT8_ARRAY = 1022,
    OID_UUID = 2950,
    OID_UUID_ARRAY = 2951,
};

struct pg_args *pg_args(struct arena *a)
{
    /* Stands for "no memory": every add leaves it alone and the query refuses it. */
    static struct pg_args no_memory = {.failed = true};

    struct pg_args *p = arena_new_of(a, struct pg_args);
    if (!p)
        return &no_memory;
    p->arena = a;
    return p;
}

static bool make_room(struct pg_args *p)
{
    if (p->n < p->size)
        return true;
    size_t n = (size_t)p->n;
    size_t size = n ? 2 * n : 16;
    Oid *types = arena_array(p->arena, size, Oid);
    const char **values = arena_array(p->arena, size, const char *);
    int *lengths = arena_array(p->arena, size, int);
    int *formats = arena_array(p->arena, size, int);
    if (!types || !values || !lengths || !formats)
        return false;
    for (size_t i = 0; i < n; i++) {
        types[i] = p->types[i];
        values[i] = p->values[i];
        lengths[i] = p->lengths[i];
    }
    for (size_t i = 0; i < size; i++)
        formats[i] = 1;
    p->types = types;
    p->values = values;
    p->lengths = lengths;
    p->formats = formats;
    p->size = (int)size;
    return true;
}

/* `v` NULL is NULL; otherwise it must live until the statement was sent. */
static void add(struct pg_args *p, Oid type, const char *v, size_t len)
{
    if (p->failed)
        return;
    if (len > INT_MAX || !make_room(p)) {
        p->failed = true;
        return;
    }
    p->types[p->n] = type;
    p->values[p->n] = v;
    p->lengths[p->n] = (int)len;
    p->n++;
    p->bytes += len;
}

static void add_copy(struct pg_args *p, Oid type, const void *v, size_t len)
{
    if (p->failed)
        return;
    char *copy = arena_alloc(p->arena, 1, len);
    if (!copy) {
        p->failed = true;
        return;
    }
    memcpy(copy, v, len);
    add(p, type, copy, len);
}

static uint64_t be_double(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return htobe64(bits);
}

void pg_null(struct pg_args *p)
{
    add(p, InvalidOid, NULL, 0);
}

void pg_int(struct pg_args *p, int64_t v)
{
    uint64_t be = htobe64((uint64_t)v);
    add_copy(p, OID_INT8, &be, sizeof be);
}

void pg_int4(struct pg_args *p, int32_t v)
{
    uint32_t be = htobe32((uint32_t)v);
    add_copy(p, OID_INT4, &be, sizeof be);
}

void pg_bool(struct pg_args *p, bool v)
{
    add(p, OID_BOOL, v ? "\1" : "\0", 1);
}

void pg_float(struct pg_args *p, double v)
{
    uint64_t be = be_double(v);
    add_copy(p, OID_FLOAT8, &be, sizeof be);
}

void pg_text(struct pg_args *p, struct slice v)
{
    add(p, OID_TEXT, v.p, v.len);
}

void pg_bytea(struct pg_args *p, struct slice v)
{
    add(p, OID_BYTEA, v.p, v.len);
}

void pg_uuid(struct pg_args *p, const void *v16)
{
    if (v16)
        add_copy(p, OID_UUID, v16, 16);
    else
        add(p, OID_UUID, NULL, 0);
}

/* ---- arrays ---- */

static char *put_int(char *out, size_t v)
{
    uint32_t be = htobe32((uint32_t)v);
    memcpy(out, &be, sizeof be);
    return out + sizeof be;
}

/*
 * Add an array of `n` elements that take `bytes` together; returns where the elements go, each
 * behind its length. NULL when there is nothing to write: no elements, or no memory.
 */
static char *add_array(struct pg_args *p, Oid type, Oid element, size_t n, size_t bytes)
{
    if (p->failed)
        return NULL;
    size_t head = n ? 20 : 12;
    if (n > INT_MAX / 4 || bytes > INT_MAX - head - 4 * n) {
        p->failed = true;
        return NULL;
    }
    size_t len = head + 4 * n + bytes;
    char *v = arena_alloc(p->arena, 1, len);
    if (!v) {
        p->failed = true;
        return NULL;
    }
    add(p, type, v, len);

    v = put_int(v, n ? 1 : 0); /* dimensions: the empty array has none */
    v = put_int(v, 1);         /* may hold NULL */
    v = put_int(v, element);
    if (!n)
        return NULL;
    v = put_int(v, n);
    return put_int(v, 1); /* lower bound */
}

void pg_ints(struct pg_args *p, const int64_t *v, size_t n)
{
    char *out = add_array(p, OID_INT8_ARRAY, OID_INT8, n, n * sizeof *v);
    for (size_t i = 0; out && i < n; i++) {
        uint64_t be = htobe64((uint64_t)v[i]);
        out = put_int(out, sizeof be);
        memcpy(out, &be, sizeof be);
        out += sizeof be;
    }
}

void pg_int4s(struct pg_args *p, const int32_t *v, size_t n)
{
    char *out = add_array(p, OID_INT4_ARRAY, OID_INT4, n, n * sizeof *v);
    for (size_t i = 0; out && i < n; i++) {
        out = put_int(out, sizeof *v);
        out = put_int(out, (uint32_t)v[i]);
    }
}

void pg_bools(struct pg_args *p, const bool *v, size_t n)
{
    char *out = add_array(p, OID_BOOL_ARRAY, OID_BOOL, n, n);
    for (size_t i = 0; out && i < n; i++) {
        out = put_int(out, 1);
        *out++ = (char)v[i];
    }
}

void pg_floats(struct pg_args *p, const double *v, size_t n)
{
    char *out = add_array(p, OID_FLOAT8_ARRAY, OID_FLOAT8, n, n * sizeof *v);
    for (size_t i = 0; out && i < n; i++) {
        uint64_t be = be_double(v[i]);
        out = put_int(out, sizeof be);
        memcpy(out, &be, sizeof be);
        out += sizeof be;
    }
}

static void add_slices(struct pg_args *p, Oid type, Oid element, const struct slice *v, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += v[i].len;
    char *out = add_array(p, type, element, n, bytes);
    for (size_t i = 0; out && i < n; i++) {
        out = put_int(out, v[i].p ? v[i].len : UINT32_MAX); /* -1: NULL */
        if (v[i].p)
            memcpy(out, v[i].p, v[i].len);
        out += v[i].len;
    }
}

void pg_texts(struct pg_args *p, const struct slice *v, size_t n)
{
    add_slices(p, OID_TEXT_ARRAY, OID_TEXT, v, n);
}

void pg_byteas(struct pg_args *p, const struct slice *v, size_t n)
{
    add_slices(p, OID_BYTEA_ARRAY, OID_BYTEA, v, n);
}

void pg_uuids(struct pg_args *p, const void *v16, size_t n)
{
    const char *in = v16;
    char *out = add_array(p, OID_UUID_ARRAY, OID_UUID, n, n * 16);
    for (size_t i = 0; out && i < n; i++) {
        out = put_int(out, 16);
        memcpy(out, in + i * 16, 16);
        out += 16;
    }
}

/* ---- cells ---- */

bool pg_is_null(const PGresult *r, int row, int col)
{
    return PQgetisnull(r, row, col);
}

/* Up to eight bytes as a number of their width, sign not yet spread. */
static uint64_t big_endian(const PGresult *r, int row, int col, int *ret_width)
{
    const unsigned char *v = (const unsigned char *)PQgetvalue(r, row, col);
    int width = PQgetlength(r, row, col);
    if (width > 8)
        width = 8;
    uint64_t n = 0;
    for (int i = 0; i < width; i++)
        n = n << 8 | v[i];
    *ret_width = width;
    return n;
}

int64_t pg_get_int(const PGresult *r, int row, int col)
{
    int width;
    uint64_t n = big_endian(r, row, col, &width);
    switch (width) {
    case 2:
        return (int16_t)n;
    case 4:
        return (int32_t)n;
    default: /* bool, int8, and 0 for NULL */
        return (int64_t)n;
    }
}

bool pg_get_bool(const PGresult *r, int row, int col)
{
    return pg_get_int(r, row, col) != 0;
}

double pg_get_float(const PGresult *r, int row, int col)
{
    int width;
    uint64_t n = big_endian(r, row, col, &width);
    if (width == 4) {
        uint32_t bits = (uint32_t)n;
        float f;
        memcpy(&f, &bits, sizeof f);
        return (double)f;
    }
    double d;
    memcpy(&d, &n, sizeof d);
    return d;
}

struct slice pg_get_text(const PGresult *r, int row, int col)
{
    if (PQgetisnull(r, row, col))
        return (struct slice){NULL, 0};
    return (struct slice){PQgetvalue(r, row, col), (size_t)PQgetlength(r, row, col)};
}

const unsigned char *pg_get_uuid(const PGresult *r, int row, int col)
{
    if (PQgetisnull(r, row, col) || PQgetlength(r, row, col) != 16)
        return NULL;
    return (const unsigned char *)PQgetvalue(r, row, col);
}

int64_t pg_affected(const PGresult *r)
{
    /* "" for statements that touch no rows. libpq's signature lacks a const;
       NOLINTNEXTLINE(performance-no-int-to-ptr) */
    return strtoll(PQcmdTuples((PGresult *)(uintptr_t)r), NULL, 10);
}
