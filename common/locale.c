#include "common/locale.h"

#include <ctype.h>

static const char *const names[LOCALES] = {
#define X(id, name) [LOCALE_##id] = (name),
    LOCALE_LIST(X)
#undef X
};

/* The first one that a tag begins with, up to the end of a subtag, decides. */
static const struct {
    const char *begin;
    enum locale locale;
} tags[] = {
    {"en", LOCALE_EN},       {"zh-hant", LOCALE_ZH_TW}, {"zh-tw", LOCALE_ZH_TW},
    {"zh-hk", LOCALE_ZH_TW}, {"zh-mo", LOCALE_ZH_TW},   {"zh", LOCALE_ZH_CN},
};

const char *locale_name(enum locale l)
{
    return names[l];
}

static char plain(char c)
{
    return (char)(c == '_' ? '-' : tolower((unsigned char)c));
}

static bool begins(struct slice tag, const char *with)
{
    size_t n = 0;

    while (n < tag.len && with[n] && plain(tag.p[n]) == with[n])
        n++;
    return !with[n] && (n == tag.len || plain(tag.p[n]) == '-');
}

bool locale_find(struct slice tag, enum locale *ret)
{
    for (size_t i = 0; i < sizeof(tags) / sizeof(*tags); i++) {
        if (!begins(tag, tags[i].begin))
            continue;
        *ret = tags[i].locale;
        return true;
    }
    return false;
}
