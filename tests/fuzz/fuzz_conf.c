/* Any text as the configuration: it loads, or says why. */
#include "common/source.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)1 << 20);
    char *text = a ? arena_strndup(a, (const char *)data, size) : NULL;
    struct conf *c = NULL;
    struct err e = {0};
    struct settings s;
    struct source_entries entries;
    if (!text)
        return 0;
    int rc = conf_parse("fuzz", text, NULL, &c, &e);
    if (rc == 0)
        rc = settings_load(c, &s, &e);
    if (rc == 0)
        rc = source_entries_load(&s, &entries, &e);
    if (rc == 0)
        rc = conf_finish(c, &e);
    MUST(rc == 0 || (rc == e.code && e.msg[0]));
    if (c)
        conf_free(c);
    return 0;
}
