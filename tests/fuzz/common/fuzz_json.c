/*
 * The guard at the door and the tree in the core are two parsers of the same bytes: what one takes
 * the other takes, but for numbers past all bounds, and they agree on what stands where.
 * The readers stay within the text, and white space between tokens means nothing.
 */
#include "common/json.h"

#include <errno.h>

#include "fuzz.h"
#include "text.h"

#define MAX_DEPTH 32

static const char *const paths[] = {
    "", "alerts", "groupKey", "id", "data.issue.id", "data.event.issue_id", "labels", "a", "a.b"};
#define PATH_N (sizeof(paths) / sizeof(paths[0]))

/* One pass over the members finds what one look for each does. */
static void check_members(struct slice object)
{
    static const char *const names[] = {"alerts", "groupKey", "id", "labels", "a"};
    struct slice v[sizeof(names) / sizeof(*names)];
    json_members(object, names, v, sizeof(v) / sizeof(*v));
    for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++)
        MUST(v[i].p == json_at(object, names[i]).p && v[i].len == json_at(object, names[i]).len);
}

static void walk(struct slice value, struct arena *a, int depth)
{
    size_t pos = 0, n = 0;
    struct slice key, item;
    MUST(depth <= MAX_DEPTH);
    while (json_next(value, &pos, &item)) {
        MUST(item.p >= value.p && item.p + item.len <= value.p + value.len && item.len > 0);
        walk(item, a, depth + 1);
        n++;
    }
    MUST(n == json_count(value, ""));
    pos = 0;
    check_members(value);
    while (json_next_member(value, &pos, &key, &item)) {
        MUST(item.p + item.len <= value.p + value.len && item.len > 0);
        MUST(is_text(json_text(key, a)));
        walk(item, a, depth + 1);
    }
    MUST(is_text(json_text(value, a)));
}

static const json_t *node_at(const json_t *tree, const char *path)
{
    while (*path && tree) {
        const size_t len = strcspn(path, ".");
        tree = json_object_getn(tree, path, len);
        path += len + (path[len] == '.');
    }
    return tree;
}

static void check_same(struct slice raw, const json_t *node, struct arena *a)
{
    MUST((raw.p != NULL) == (node != NULL));
    if (!node)
        return;
    const struct slice text = json_text(raw, a);
    MUST(json_count(raw, "") == json_array_size(node));
    MUST(json_is_object(node) == (raw.p[0] == '{') && json_is_array(node) == (raw.p[0] == '['));
    MUST(json_is_string(node) == (raw.p[0] == '"'));
    if (json_is_string(node))
        MUST(slice_eq(text, (struct slice){json_string_value(node), json_string_length(node)}));
    else if (json_is_integer(node))
        MUST(text.len < 24 &&
             strtoll(arena_strndup(a, text.p, text.len), NULL, 10) == json_integer_value(node));
    else
        MUST((text.p != NULL) == (json_is_boolean(node) || json_is_real(node)));
}

static void check_tree(struct slice text, struct arena *a)
{
    struct err e = {0};
    const json_t *tree = json_tree(text, a, &e);
    if (!tree) {
        MUST(e.code == -EBADMSG);
        MUST(strstr(e.msg, "number overflow"));
        return;
    }
    for (size_t i = 0; i < PATH_N; i++)
        check_same(json_at(text, paths[i]), node_at(tree, paths[i]), a);
}

static void check_squeezed(struct slice text, const struct json_limits *limits, struct arena *a)
{
    struct err e = {0};
    const struct slice other = json_squeezed(text, a);
    MUST(json_scan(other, limits, &e) == 0);
    for (size_t i = 0; i < PATH_N; i++) {
        const struct slice raw = json_at(text, paths[i]), same = json_at(other, paths[i]);
        MUST((raw.p != NULL) == (same.p != NULL));
        MUST(slice_eq(json_squeezed(raw, a), same));
    }
}

/* How deep brackets outside of strings are nested, as far as that can be told. */
static size_t deepest(struct slice text)
{
    size_t depth = 0, max = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        const char c = text.p[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '{' || c == '['))
            max = ++depth > max ? depth : max;
        else if (!in_string && (c == '}' || c == ']'))
            depth -= depth > 0;
    }
    return max;
}

static void check_refused(struct slice text, int rc, const struct err *e)
{
    MUST(rc == e->code && e->msg[0]);
    if (rc == -E2BIG) {
        MUST(deepest(text) > MAX_DEPTH);
        return;
    }
    MUST(rc == -EBADMSG);
    if (memchr(text.p, '\0', text.len))
        return; /* jansson reads a NUL behind the text as its end */
    json_t *tree = json_loadb(text.p, text.len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    MUST(!tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct slice text = {size > 0 ? (const char *)data : "", size};
    const struct json_limits limits = {.max_depth = MAX_DEPTH};
    struct err e = {0};
    const int rc = json_scan(text, &limits, &e);
    if (rc < 0) {
        check_refused(text, rc, &e);
        return 0;
    }
    struct arena *a = fuzz_arena(0, (size_t)8 << 20);
    MUST(deepest(text) <= MAX_DEPTH);
    if (size < 4096) /* walking is quadratic in depth */
        walk(json_at(text, ""), a, 0);
    check_tree(text, a);
    check_squeezed(text, &limits, a);
    return 0;
}
