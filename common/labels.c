#include "common/labels.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/digest.h"
#include "common/json.h"

/* A pair and where it stood: qsort is not stable, and of equal names the last must win. */
struct ranked {
    struct label l;
    size_t rank;
};

static int by_name_then_rank(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    int c = slice_cmp(x->l.name, y->l.name);
    return c ? c : (x->rank > y->rank) - (x->rank < y->rank);
}

int labels_make(struct arena *a, const struct label *pairs, size_t n, struct labels *ret)
{
    if (n == 0) {
        *ret = (struct labels){0};
        return 0;
    }
    struct ranked *sorted = arena_array(a, n, struct ranked);
    struct label *v = arena_array(a, n, struct label);
    if (!sorted || !v)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        sorted[i] = (struct ranked){pairs[i], i};
    qsort(sorted, n, sizeof(*sorted), by_name_then_rank);

    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        bool last = i + 1 == n || !slice_eq(sorted[i].l.name, sorted[i + 1].l.name);
        if (last && sorted[i].l.value.len > 0)
            v[kept++] = sorted[i].l;
    }
    *ret = (struct labels){v, kept};
    return 0;
}

int labels_with(struct arena *a, struct labels l, struct slice name, struct slice value,
                struct labels *ret)
{
    struct label *v = arena_array(a, l.n + 1, struct label);
    if (!v)
        return -ENOMEM;
    size_t n = 0, i = 0;
    while (i < l.n && slice_cmp(l.v[i].name, name) < 0)
        v[n++] = l.v[i++];
    if (value.len > 0)
        v[n++] = (struct label){name, value};
    if (i < l.n && slice_eq(l.v[i].name, name))
        i++;
    while (i < l.n)
        v[n++] = l.v[i++];
    *ret = (struct labels){v, n};
    return 0;
}

struct slice labels_get_n(struct labels l, struct slice name)
{
    size_t lo = 0, hi = l.n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = slice_cmp(l.v[mid].name, name);
        if (c == 0)
            return l.v[mid].value;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return (struct slice){0};
}

struct slice labels_get(struct labels l, const char *name)
{
    return labels_get_n(l, slice_of(name));
}

bool labels_eq(struct labels a, struct labels b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (!slice_eq(a.v[i].name, b.v[i].name) || !slice_eq(a.v[i].value, b.v[i].value))
            return false;
    return true;
}

uint64_t labels_fingerprint(struct labels l)
{
    static const unsigned char end = 0xff; /* no byte of UTF-8 */
    uint64_t h = FNV1A_INIT;
    for (size_t i = 0; i < l.n; i++) {
        h = fnv1a(h, l.v[i].name.p, l.v[i].name.len);
        h = fnv1a(h, &end, 1);
        h = fnv1a(h, l.v[i].value.p, l.v[i].value.len);
        h = fnv1a(h, &end, 1);
    }
    return h;
}

void labels_to_json(struct buf *b, struct labels l)
{
    buf_putc(b, '{');
    for (size_t i = 0; i < l.n; i++) {
        if (i > 0)
            buf_putc(b, ',');
        buf_json(b, l.v[i].name);
        buf_putc(b, ':');
        buf_json(b, l.v[i].value);
    }
    buf_putc(b, '}');
}

int labels_from_json(struct arena *a, struct slice json, struct labels *ret, struct err *e)
{
    const struct json_limits flat = {.max_depth = 1};
    int r = json_scan(json, &flat, e);
    if (r < 0)
        return err_wrap(e, "labels");
    size_t at = 0, n = 0;
    struct slice key, value;
    while (json_next_member(json, &at, &key, &value))
        n++;
    struct label *pairs = arena_array(a, n ? n : 1, struct label);
    if (!pairs)
        return err_set(e, -ENOMEM, "labels: too large");
    at = 0;
    for (size_t i = 0; i < n && json_next_member(json, &at, &key, &value); i++) {
        pairs[i] = (struct label){json_text(key, a), json_text(value, a)};
        if (!pairs[i].name.p || (!pairs[i].value.p && value.p[0] == '"'))
            return err_set(e, -ENOMEM, "labels: too large");
    }
    if (labels_make(a, pairs, n, ret) < 0)
        return err_set(e, -ENOMEM, "labels: too large");
    return 0;
}

int labels_from_tree(struct arena *a, const json_t *object, struct labels *ret)
{
    size_t n = json_object_size(object), at = 0;
    struct label *pairs = arena_array(a, n ? n : 1, struct label);
    if (!pairs)
        return -ENOMEM;
    /* jansson iterates over a tree that is not const, and does not change it.
       NOLINTNEXTLINE(performance-no-int-to-ptr) */
    json_t *tree = (json_t *)(uintptr_t)object;
    for (void *i = json_object_iter(tree); i && at < n; i = json_object_iter_next(tree, i)) {
        const char *name = json_object_iter_key(i);
        struct slice value = json_str(object, name, a);
        if (value.len == 0 && json_is_number(json_object_iter_value(i)))
            return -ENOMEM; /* its text did not fit: a label must not vanish for that */
        pairs[at++] = (struct label){slice_of(name), value};
    }
    return labels_make(a, pairs, at, ret);
}

const char *fingerprint_format(uint64_t fp, char out[FINGERPRINT_STR])
{
    (void)snprintf(out, FINGERPRINT_STR, "%016" PRIx64, fp);
    return out;
}

bool fingerprint_parse(struct slice s, uint64_t *ret)
{
    unsigned char b[8];
    if (!hex_decode(s, b, sizeof(b)))
        return false;
    uint64_t v = 0;
    for (size_t i = 0; i < sizeof(b); i++)
        v = v << 8 | b[i];
    *ret = v;
    return true;
}
