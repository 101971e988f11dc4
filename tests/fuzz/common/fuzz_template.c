/*
 * A template from the input's first part, rendered with JSON of its second; a NUL is between. The
 * same data renders the same text, and a value alone leaves no sign through that its escaping is
 * there to stop.
 */
#include "common/json.h"
#include "common/template.h"
#include "fuzz.h"
#include "text.h"

static const char *const forbidden[] = {
    [ESCAPE_NONE] = "",         [ESCAPE_ANGLE] = "<>",   [ESCAPE_HTML] = "<>\"'",
    [ESCAPE_MARKDOWN] = "<>*`", [ESCAPE_BACKSLASH] = "", [ESCAPE_JSON] = "\n\r\t"};

static void check_rendered(const struct template *t, const json_t *tree, struct arena *a)
{
    for (enum escape how = ESCAPE_NONE; how <= ESCAPE_JSON; how++) {
        size_t len = 0, again_len = 0;
        const char *out = template_render(t, tree, how, a, &len);
        const char *again = out ? template_render(t, tree, how, a, &again_len) : NULL;
        MUST(!out || is_text((struct slice){out, len}));
        MUST(!again || (again_len == len && memcmp(out, again, len) == 0));
    }
}

/* The value behind the name `v`, and nothing else. */
static const char *alone(const char *text, const json_t *tree, enum escape how, struct arena *a,
                         size_t *ret_len)
{
    struct err e = {0};
    CLEANUP(template_free) struct template *t = template_compile(text, &e);
    MUST(t);
    return template_render(t, tree, how, a, ret_len);
}

static void check_json(struct slice value, const json_t *tree, struct arena *a)
{
    size_t len = 0;
    const char *out = alone("[\"{{v}}\"]", tree, ESCAPE_JSON, a, &len);
    if (!out)
        return;
    json_t *read = json_loadb(out, len, 0, NULL);
    const json_t *one = json_array_get(read, 0);
    MUST(slice_eq((struct slice){json_string_value(one), json_string_length(one)}, value));
    json_decref(read);
}

static void check_escapes(struct slice value, struct arena *a)
{
    json_t *tree = json_pack("{s:s%}", "v", value.p, value.len);
    size_t len = 0;
    MUST(tree);
    for (enum escape how = ESCAPE_NONE; how <= ESCAPE_JSON; how++) {
        const char *out = alone("{{v}}", tree, how, a, &len);
        MUST(!out || strcspn(out, forbidden[how]) == len);
        out = alone("{{{v}}}", tree, how, a, &len);
        MUST(!out || slice_eq((struct slice){out, len}, value));
    }
    check_json(value, tree, a);
    json_decref(tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = fuzz_arena(0, (size_t)1 << 20);
    struct err e = {0};
    char *text = arena_strndup(a, (const char *)data, size);
    if (!text)
        return 0;
    const size_t head = strlen(text);
    const struct slice rest = {text + head + (head < size), size - head - (head < size)};
    if (is_text(rest))
        check_escapes(rest, a);
    CLEANUP(template_free) struct template *t = template_compile(text, &e);
    if (!t) {
        MUST(e.code < 0 && e.msg[0]);
        return 0;
    }
    const struct json_limits limits = {.max_depth = 32};
    const json_t *tree = json_scan(rest, &limits, &e) == 0 ? json_tree(rest, a, &e) : NULL;
    if (tree && is_text((struct slice){text, head}))
        check_rendered(t, tree, a);
    return 0;
}
