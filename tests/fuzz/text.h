/* What several targets ask of text, written apart from the code under test. */
#pragma once

#include <stdbool.h>

#include "common/arena.h"
#include "common/slice.h"

/* Bytes of the character at p[0..n), by its first byte; 0: none begins so. */
static inline size_t text_width(unsigned char c)
{
    if (c < 0x80)
        return 1;
    if (c >> 5 == 6)
        return 2;
    if (c >> 4 == 14)
        return 3;
    return c >> 3 == 30 ? 4 : 0;
}

/* Text as PostgreSQL takes it: shortest-form UTF-8, no NUL, no surrogates. */
static inline bool is_text(struct slice s)
{
    static const uint32_t least[] = {0, 1, 0x80, 0x800, 0x10000};

    for (size_t i = 0; i < s.len;) {
        const unsigned char c = (unsigned char)s.p[i];
        const size_t n = text_width(c);
        uint32_t v = n == 1 ? c : c & (0x7fU >> n);

        if (n == 0 || n > s.len - i)
            return false;
        for (size_t k = 1; k < n; k++) {
            const unsigned char next = (unsigned char)s.p[i + k];
            if (next >> 6 != 2)
                return false;
            v = v << 6 | (next & 63U);
        }
        if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
            return false;
        i += n;
    }
    return true;
}

/* JSON without the white space between its tokens; {NULL,0} past the arena's cap. */
static inline struct slice json_squeezed(struct slice text, struct arena *a)
{
    char *out = arena_alloc(a, text.len + 1, 1);
    bool in_string = false;
    size_t n = 0;

    for (size_t i = 0; out && i < text.len; i++) {
        const char c = text.p[i];
        if (in_string && c == '\\' && i + 1 < text.len) {
            out[n++] = c;
            out[n++] = text.p[++i];
            continue;
        }
        if (c == '"')
            in_string = !in_string;
        if (in_string || (c != ' ' && c != '\t' && c != '\n' && c != '\r'))
            out[n++] = c;
    }
    return (struct slice){out, out ? n : 0};
}
