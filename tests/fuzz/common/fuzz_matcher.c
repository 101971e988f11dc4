/*
 * Matchers of anybody's text. Their canonical form reads back as itself and matches the same; a
 * matcher and its negation never agree; an expression without special characters matches what it
 * spells. The input's first line is matchers; the second a name, the third a value.
 */
#include "common/matcher.h"
#include "fuzz.h"
#include "text.h"

static const struct label pairs[] = {{{"a", 1}, {"foo-bar 12", 10}}, {{"b", 1}, {"\xc3\xa4", 2}}};
static const struct labels labels = {pairs, 2};

/* The input's next line. */
static struct slice take_line(struct slice *rest)
{
    const char *end = rest->len > 0 ? memchr(rest->p, '\n', rest->len) : NULL;
    const struct slice line = {rest->p, end ? (size_t)(end - rest->p) : rest->len};
    const size_t used = line.len + (end != NULL);
    *rest = (struct slice){rest->p + used, rest->len - used};
    return line;
}

static void check_text(struct slice text)
{
    struct err e = {0};
    CLEANUP(matchers_free) struct matchers *m = matchers_parse(text, &e);
    if (!m) {
        MUST(e.code < 0 && e.msg[0]);
        return;
    }
    CLEANUP(buf_release) struct buf b = BUF_INIT(1 << 20), c = BUF_INIT(1 << 20);
    matchers_format(m, &b);
    MUST(!b.failed);
    CLEANUP(matchers_free)
    struct matchers *again = matchers_parse((struct slice){buf_str(&b), b.len}, &e);
    MUST(again);
    matchers_format(again, &c);
    MUST(b.len == c.len && memcmp(buf_str(&b), buf_str(&c), b.len) == 0);
    MUST(matchers_match(m, labels) == matchers_match(again, labels));
}

/* Does name OP value match an alert whose only label is name=text? -1: it cannot be asked. */
static int asks(struct arena *a, struct slice name, struct slice value, bool regex, bool negative,
                struct slice text)
{
    struct err e = {0};
    CLEANUP(matchers_free) struct matchers *m = matchers_new();
    /* A NUL behind it, since the sanitizer's regexec() looks for one. */
    const struct label only = {name, {arena_strndup(a, text.p, text.len), text.len}};
    MUST(m && only.value.p);
    if (matchers_add(m, name, value, regex, negative, &e) < 0) {
        MUST(e.code < 0 && e.msg[0]);
        return -1;
    }
    return matchers_match(m, (struct labels){&only, text.len > 0});
}

static bool is_plain(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (strchr("\\^$.|?*+()[]{}", s.p[i]) || (unsigned char)s.p[i] >= 0x80)
            return false;
    return true;
}

static void check_asked(struct slice name, struct slice value, bool regex, struct slice text)
{
    struct arena *a = fuzz_arena(0, (size_t)1 << 20);
    const int yes = asks(a, name, value, regex, false, text);
    const int no = asks(a, name, value, regex, true, text);
    MUST((yes < 0) == (no < 0));
    MUST(yes < 0 || yes != no);
    if (yes >= 0 && (!regex || (is_plain(value) && is_text(value))))
        MUST(yes == slice_eq(value, text));
}

static void check_pair(struct slice name, struct slice value)
{
    const struct slice texts[] = {value, {"foo-bar 12", 10}, {"", 0}};
    for (size_t i = 0; i < 3; i++) {
        check_asked(name, value, false, texts[i]);
        check_asked(name, value, true, texts[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = {(const char *)data, size};
    if (size > 2048)
        return 0;
    check_text(take_line(&rest));
    const struct slice name = take_line(&rest), value = take_line(&rest);
    check_pair(name, value);
    return 0;
}
