#include "common/glob.h"

#include <string.h>

static bool inside_character(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* Behind the bracket that closes; NULL: there is none, or nothing stands inside. */
static const char *bracket_end(const char *p)
{
    p += p[1] == '!' ? 2 : 1;
    const char *from = p;

    while (*p && (*p != ']' || p == from))
        p++;
    return *p ? p + 1 : NULL;
}

static const char *bracket_fault(const char *p, const char *end)
{
    for (const char *c = p + 1; c < end - 1; c++)
        if ((unsigned char)*c >= 0x80)
            return "only ASCII may stand between [ and ]";
    for (const char *c = p + (p[1] == '!' ? 2 : 1); c + 3 < end; c++)
        if (c[1] == '-' && c[0] > c[2])
            return "a range between [ and ] runs backwards";
    return NULL;
}

const char *glob_fault(const char *pattern)
{
    if (!*pattern)
        return "an empty pattern matches nothing";
    for (const char *p = pattern; *p;) {
        if (*p == '\\') {
            if (!p[1])
                return "a \\ stands at the end";
            p += 2;
        } else if (*p == '[') {
            const char *end = bracket_end(p), *fault = end ? bracket_fault(p, end) : NULL;
            if (!end || fault)
                return end ? fault : "a [ is never closed";
            p = end;
        } else {
            p++;
        }
    }
    return NULL;
}

static bool in_bracket(const char *p, const char *end, char c)
{
    const bool others = p[1] == '!';
    bool found = false;

    for (p += others ? 2 : 1; p < end - 1; p++) {
        if (p[1] == '-' && p + 2 < end - 1) {
            found |= c >= p[0] && c <= p[2];
            p += 2;
        } else {
            found |= c == *p;
        }
    }
    return found != others;
}

/* One element other than `*` against the character at `s`: how many bytes it took, 0: none. *ret is
 * behind the element. */
static size_t match_one(const char *p, const char *s, const char *end, const char **ret)
{
    size_t len = 1;

    if (s == end || !*p)
        return 0;
    while (s + len < end && inside_character(s[len]))
        len++;
    if (*p == '?') {
        *ret = p + 1;
        return len;
    }
    if (*p == '[') {
        *ret = bracket_end(p);
        return in_bracket(p, *ret, *s) ? len : 0;
    }
    p += *p == '\\';
    *ret = p + 1;
    return *p == *s;
}

bool glob_match(const char *pattern, struct slice word)
{
    const char *p = pattern, *s = word.p, *end = word.p + word.len;
    const char *star = NULL, *from = NULL; /* behind the last `*`, and where its run ends by now */

    for (;;) {
        const char *next;
        if (*p == '*') {
            star = ++p;
            from = s;
            continue;
        }
        if (s == end && !*p)
            return true;
        const size_t len = match_one(p, s, end, &next);
        if (len > 0) {
            p = next;
            s += len;
            continue;
        }
        if (!star || from == end)
            return false;
        s = ++from;
        p = star;
    }
}
