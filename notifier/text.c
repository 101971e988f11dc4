#include "notifier/text.h"

#include <stdbool.h>
#include <stdint.h>

#include "notifier/sms.h"

#define ELLIPSIS "…"
#define ENTITY_MAX 12
#define TAGS_MAX 32

static bool continues(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
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

/* Signs that turn the direction of what follows, U+202A to U+202E and U+2066 to U+2069: in a line
 * that ends elsewhere they would turn our own words. */
static bool turns(const char *p, size_t n)
{
    const unsigned char *u = (const unsigned char *)p;

    return n == 3 && u[0] == 0xe2 &&
           ((u[1] == 0x80 && u[2] >= 0xaa && u[2] <= 0xae) ||
            (u[1] == 0x81 && u[2] >= 0xa6 && u[2] <= 0xa9));
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
        if ((space && blank) || turns(s.p + i, n))
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

/* Those that are shown as one character; others, for all we know, as they stand. */
static bool is_entity(struct slice s)
{
    return slice_is(s, "&amp;") || slice_is(s, "&lt;") || slice_is(s, "&gt;") ||
           slice_is(s, "&quot;") || (s.len > 3 && s.p[1] == '#');
}

/* Of the entity or tag at `p`; 0 when none begins there. */
static size_t markup(const char *p, size_t left, enum unit unit)
{
    bool tag = *p == '<' && unit == UNIT_SHOWN;
    size_t room = *p == '&' && left > ENTITY_MAX ? ENTITY_MAX : left;
    const char *end = tag || *p == '&' ? memchr(p, tag ? '>' : ';', room) : NULL;

    if (!end || (!tag && !is_entity((struct slice){p, (size_t)(end - p) + 1})))
        return 0;
    return (size_t)(end - p) + 1;
}

/* Bytes of the escape, entity, tag or character at `at`; *ret_size: what it counts. */
static size_t piece(struct slice s, size_t at, enum unit unit, size_t *ret_size)
{
    const char *p = s.p + at;
    size_t left = s.len - at, n = markup(p, left, unit);

    if (n == 0 && *p == '\\' && left > 1 && (unsigned char)p[1] < 0x80 && unit != UNIT_SHOWN)
        n = 2;
    if (n > 0) {
        *ret_size = unit != UNIT_SHOWN ? n : *p == '&';
        return n;
    }
    n = character(p, left);
    n = n ? n : 1;
    *ret_size = unit == UNIT_BYTES ? n : n == 4 ? 2 : 1;
    return n;
}

/* Adds up to `most` parts; the bytes that were added. */
static size_t add_sms(struct sms *m, struct slice s, size_t most)
{
    for (size_t i = 0, n; i < s.len; i += n) {
        struct sms longer = *m;
        n = character(s.p + i, s.len - i);
        n = n ? n : 1;
        sms_add(&longer, (struct slice){s.p + i, n});
        if (sms_parts(&longer) > most)
            return i;
        *m = longer;
    }
    return s.len;
}

size_t text_size(struct slice s, enum unit unit)
{
    struct sms sms = {0};
    size_t sum = 0, one;

    if (unit == UNIT_SMS) {
        (void)add_sms(&sms, s, SIZE_MAX);
        return sms_parts(&sms);
    }

    if (unit == UNIT_BYTES)
        return s.len;
    for (size_t i = 0; i < s.len; i += piece(s, i, unit, &one), sum += one)
        ;
    return sum;
}

/* Tags that are open, newest last. */
struct open_tags {
    struct slice names[TAGS_MAX];
    size_t n;
};

static void note_tag(struct open_tags *t, struct slice tag)
{
    size_t skip = tag.len > 1 && tag.p[1] == '/' ? 2 : 1;
    size_t len = strcspn(tag.p + skip, " >\n/");

    if (skip == 2)
        t->n -= t->n > 0;
    else if (t->n < TAGS_MAX)
        t->names[t->n++] = (struct slice){tag.p + skip, len};
}

static const char *closing(struct arena *a, struct slice kept, enum unit unit)
{
    struct open_tags open = {.n = 0};
    const char *out = "";
    size_t size;

    for (size_t i = 0, n; unit == UNIT_SHOWN && i < kept.len; i += n) {
        n = piece(kept, i, unit, &size);
        if (kept.p[i] == '<' && n > 1)
            note_tag(&open, (struct slice){kept.p + i, n});
    }
    while (out && open.n > 0) {
        open.n--;
        out = arena_printf(a, "%s</%.*s>", out, SLICE_FMT(open.names[open.n]));
    }
    return out;
}

/* The longest prefix that counts at most `max` and ends between pieces: at the last whole line,
 * unless that would give away a quarter of the room. */
static size_t fit_pieces(struct slice s, size_t max, enum unit unit)
{
    size_t i = 0, line = 0, sum = 0, one;

    while (i < s.len) {
        size_t n = piece(s, i, unit, &one);
        if (sum + one > max)
            break;
        i += n;
        sum += one;
        if (n == 1 && s.p[i - 1] == '\n')
            line = i;
    }
    return line > i - i / 4 ? line : i;
}

/* The tail is counted first, since it decides about the alphabet, too; behind the rest it may take
 * a little more, where a sign does not fit at the end of a part. */
static const char *cut_sms(struct arena *a, struct slice s, size_t max, const char *more)
{
    struct sms sms = {0};
    const bool fits = add_sms(&sms, slice_of(more), max) == strlen(more);
    const char *cut;

    if (!fits)
        sms = (struct sms){0};
    size_t keep = add_sms(&sms, s, max), line = keep;
    while (line > 0 && s.p[line - 1] != '\n')
        line--;
    if (line > keep - keep / 4)
        keep = line;
    while ((cut = arena_printf(a, "%.*s%s", (int)keep, s.p, fits ? more : "")) &&
           text_size(slice_of(cut), UNIT_SMS) > max)
        keep = utf8_fit((struct slice){s.p, keep}, keep - 1);
    return cut;
}

const char *text_cut(struct arena *a, struct slice s, size_t max, enum unit unit, const char *more)
{
    size_t tail = text_size(slice_of(more), unit);

    if (text_size(s, unit) <= max)
        return arena_strndup(a, s.p ? s.p : "", s.len);
    if (unit == UNIT_SMS)
        return cut_sms(a, s, max, more);
    size_t keep = fit_pieces(s, max > tail ? max - tail : 0, unit);
    const char *closed = closing(a, (struct slice){s.p, keep}, unit);
    return closed ? arena_printf(a, "%.*s%s%s", (int)keep, s.p, closed, tail <= max ? more : "")
                  : NULL;
}
