#include "common/template_escape.h"

#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_space(char c)
{
    return is_blank(c) || c == '\n' || c == '\r';
}

static const char *entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

static void add_entities(struct buf *out, struct slice s, const char *which)
{
    for (size_t i = 0; i < s.len; i++) {
        const char *name = entity(s.p[i]);
        if (name && strchr(which, s.p[i]))
            buf_puts(out, name);
        else
            buf_putc(out, s.p[i]);
    }
}

/*
 * Markdown as WeCom and DingTalk render it. Both show a backslash as it is, so nothing can be
 * escaped with one:
 *
 *   < >   become entities, which both show as the sign: no <font>, no <@user>, no quote.
 *   * `   become their full-width forms, and so does _ at the edge of a word. An invisible
 * character would not do: emphasis and code pair up across it, since it is neither white space nor
 * punctuation. Inside a word, as in disk_usage_high, _ opens nothing and stays, so that names can
 * be copied. ]     gets a zero-width space behind it where a link's target could follow. # - + = ~
 * | get one in front where they would make the line a heading, list, rule, fence or table.
 *
 * & stays: an entity in a value only ever shows as the character it names. Addresses stay
 * clickable.
 */
#define ZERO_WIDTH_SPACE "\xE2\x80\x8B"

static bool is_word(struct slice s, size_t i)
{
    if (i >= s.len) /* also before the first, where i wrapped */
        return false;
    unsigned char c = (unsigned char)s.p[i];
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c >= 0x80;
}

static bool makes_a_block(struct slice s, size_t i)
{
    char c = s.p[i];
    char next = '\n';
    if (i + 1 < s.len)
        next = s.p[i + 1];
    switch (c) {
    case '#':
    case '|':
        return true;
    case '-':
    case '+':
    case '=':
    case '~':
        return is_space(next) || next == c;
    default:
        return false;
    }
}

static const char *markdown_substitute(struct slice s, size_t i)
{
    char c = s.p[i];
    switch (c) {
    case '<':
    case '>':
        return entity(c);
    case '*':
        return "\xEF\xBC\x8A";
    case '`':
        return "\xEF\xBD\x80";
    case '_':
        return is_word(s, i - 1) && is_word(s, i + 1) ? NULL : "\xEF\xBC\xBF";
    case ']':
        return i + 1 == s.len || strchr("([:", s.p[i + 1]) ? "]" ZERO_WIDTH_SPACE : NULL;
    default:
        return NULL;
    }
}

static void add_markdown(struct buf *out, struct slice s)
{
    bool line_starts = true;
    for (size_t i = 0; i < s.len; i++) {
        if (line_starts && makes_a_block(s, i))
            buf_puts(out, ZERO_WIDTH_SPACE);
        const char *substitute = markdown_substitute(s, i);
        if (substitute)
            buf_puts(out, substitute);
        else
            buf_putc(out, s.p[i]);
        line_starts = s.p[i] == '\n' || s.p[i] == '\r' || (line_starts && is_blank(s.p[i]));
    }
}

/*
 * Markdown as Discord and Mattermost render it: a backslash in front takes a sign's meaning. It
 * does not for @, which names people, nor for < everywhere; both get a zero-width space behind
 * them. What makes a heading, a list or a rule gets one in front, as above. Addresses stay
 * clickable, and _ inside a word is one.
 */
static void add_backslashes(struct buf *out, struct slice s)
{
    bool line_starts = true;
    for (size_t i = 0; i < s.len; i++) {
        const char c = s.p[i];
        bool inside = c == '_' && is_word(s, i - 1) && is_word(s, i + 1);
        if (line_starts && c != '|' && makes_a_block(s, i))
            buf_puts(out, ZERO_WIDTH_SPACE);
        if (strchr("\\`*_~|[]>", c) && c && !inside)
            buf_putc(out, '\\');
        buf_putc(out, c);
        if (c == '@' || c == '<')
            buf_puts(out, ZERO_WIDTH_SPACE);
        line_starts = c == '\n' || c == '\r' || (line_starts && is_blank(c));
    }
}

/* Inside of a string. */
static void add_json(struct buf *out, struct slice s)
{
    static const char *const shorts[128] = {
        ['"'] = "\\\"", ['\\'] = "\\\\", ['\n'] = "\\n", ['\r'] = "\\r", ['\t'] = "\\t"};

    for (size_t i = 0; i < s.len; i++) {
        const unsigned char c = (unsigned char)s.p[i];
        if (c < 0x80 && shorts[c])
            buf_puts(out, shorts[c]);
        else if (c < ' ')
            buf_printf(out, "\\u%04x", (unsigned)c);
        else
            buf_putc(out, s.p[i]);
    }
}

void template_escape(struct buf *out, struct slice s, enum escape escape)
{
    switch (escape) {
    case ESCAPE_NONE:
        buf_add(out, s.p, s.len);
        break;
    case ESCAPE_ANGLE:
        add_entities(out, s, "&<>");
        break;
    case ESCAPE_HTML:
        add_entities(out, s, "&<>\"'");
        break;
    case ESCAPE_MARKDOWN:
        add_markdown(out, s);
        break;
    case ESCAPE_BACKSLASH:
        add_backslashes(out, s);
        break;
    case ESCAPE_JSON:
        add_json(out, s);
        break;
    }
}
