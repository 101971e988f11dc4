/* A template from the input's first part, rendered with JSON of its second; a NUL is between. */
#include "common/json.h"
#include "common/template.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)1 << 20);
    struct err e = {0};
    char *text = a ? arena_strndup(a, (const char *)data, size) : NULL;
    if (!text)
        return 0;
    struct template *t = template_compile(text, &e);
    if (!t) {
        MUST(e.msg[0]);
        return 0;
    }
    size_t head = strlen(text), len = 0;
    const struct slice rest = {text + head + (head < size), size - head - (head < size)};
    const struct json_limits limits = {.max_depth = 32};
    const json_t *tree = json_scan(rest, &limits, &e) == 0 ? json_tree(rest, a, &e) : NULL;
    for (enum escape how = ESCAPE_NONE; tree && how <= ESCAPE_MARKDOWN; how++) {
        const char *out = template_render(t, tree, how, a, &len);
        MUST(!out || strlen(out) <= len);
    }
    template_free(t);
    return 0;
}
