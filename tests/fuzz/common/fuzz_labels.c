/* Labels from JSON are sorted, unique, and the same after one more round. */
#include "common/json.h"
#include "common/labels.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = fuzz_arena(0, (size_t)4 << 20);
    CLEANUP(buf_release) struct buf b = BUF_INIT((size_t)4 << 20);
    struct labels l, again;
    struct err e = {0};
    if (labels_from_json(a, (struct slice){(const char *)data, size}, &l, &e) < 0)
        return 0;
    for (size_t i = 0; i < l.n; i++) {
        MUST(l.v[i].value.len > 0);
        MUST(i == 0 || slice_cmp(l.v[i - 1].name, l.v[i].name) < 0);
        MUST(slice_eq(labels_get_n(l, l.v[i].name), l.v[i].value));
    }
    labels_to_json(&b, l);
    if (b.failed || labels_from_json(a, (struct slice){b.p, b.len}, &again, &e) < 0)
        return 0;
    MUST(labels_eq(l, again));
    MUST(labels_fingerprint(l) == labels_fingerprint(again));
    return 0;
}
