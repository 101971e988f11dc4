#include "notifier/text.h"

#include <stdbool.h>
#include <stdint.h>

#define ELLIPSIS "…"

static bool continues(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

size_t utf8_fit(struct slice s, size_t max)
{
    if (s.len <= max)
        return s.len;
    while (max > 0 && continues(s.p[max]))
        max--;
    return max;
}

size_t utf8_chars(struct slice s, size_t max)
{
    size_t i = 0;

    for (size_t n = 0; i < s.len; n++) {
        if (n == max)
            return i;
        i++;
        while (i < s.len && continues(s.p[i]))
            i++;
    }
    return i;
}

/* What its first byte promises: 1 to 4, or 0. */
static size_t promised(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first >= 0xf5)
        return 0;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* Bytes of the character at `p`, 0 when it is none. Overlong forms and surrogates are none. */
static size_t character(const char *p, size_t left)
{
    const unsigned char *u = (const unsigned char *)p;
    size_t n = promised(u[0]);

    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if (!continues(p[i]))
            return 0;
    bool bad = (u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f) ||
               (u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] > 0x8f);
    return bad ? 0 : n;
}

const char *text_line(struct arena *a, struct slice s, size_t max)
{
    char *out = arena_alloc(a, 1, max + sizeof(ELLIPSIS));
    size_t used = 0;
    bool blank = true; /* leading blanks are dropped */

    if (!out)
        return NULL;
    for (size_t i = 0, n; i < s.len; i += n ? n : 1) {
        n = character(s.p + i, s.len - i);
        bool space = n == 1 && ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f);
        if (space && blank)
            continue;
        if (used + (n ? n : 1) > max) {
            memcpy(out + used, ELLIPSIS, sizeof(ELLIPSIS));
            return out;
        }
        if (space)
            out[used++] = ' ';
        else if (n == 0)
            out[used++] = '?';
        else
            memcpy(out + used, s.p + i, n), used += n;
        blank = space;
    }
    if (used > 0 && out[used - 1] == ' ')
        used--;
    out[used] = '\0';
    return out;
}

const char *text_cut(struct arena *a, struct slice s, size_t max, const char *more)
{
    size_t tail = strlen(more), keep;

    if (s.len <= max)
        return arena_strndup(a, s.p ? s.p : "", s.len);
    keep = utf8_fit(s, max > tail ? max - tail : 0);
    /* The last whole line, unless that would give away a quarter of the room. */
    for (size_t i = keep; i > keep - keep / 4; i--)
        if (s.p[i - 1] == '\n') {
            keep = i;
            break;
        }
    return arena_printf(a, "%.*s%s", (int)keep, s.p, tail <= max ? more : "");
}
