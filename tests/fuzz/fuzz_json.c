/* What the scanner takes, the readers must walk within bounds, and jansson must take or refuse for
 * the reasons that json.h names. */
#include "common/json.h"
#include "fuzz.h"

static void walk(struct slice value, struct arena *a, int depth)
{
    size_t pos = 0, n = 0;
    struct slice key, item;
    MUST(depth < 40);
    while (json_next(value, &pos, &item)) {
        MUST(item.p >= value.p && item.p + item.len <= value.p + value.len && item.len > 0);
        walk(item, a, depth + 1);
        n++;
    }
    MUST(n == json_count(value, ""));
    pos = 0;
    while (json_next_member(value, &pos, &key, &item)) {
        MUST(item.p + item.len <= value.p + value.len && item.len > 0);
        MUST(json_text(key, a).p || arena_used(a) > 0);
        walk(item, a, depth + 1);
    }
    (void)json_text(value, a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct slice text = {(const char *)data, size};
    const struct json_limits limits = {.max_depth = 32};
    struct err e = {0};
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)8 << 20);
    if (!a)
        return 0;
    if (json_scan(text, &limits, &e) < 0)
        return 0;
    (void)json_at(text, "data.issue.id");
    (void)json_at(text, "alerts");
    if (size < 4096) /* walking is quadratic in depth */
        walk(json_at(text, ""), a, 0);
    json_t *tree = json_tree(text, a, &e);
    if (tree)
        MUST(json_count(text, "") == json_array_size(tree));
    return 0;
}
