#include "common/conf_value.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"

/* Digits only: strtoull() alone would take "-1", " 1" and "+1". Returns what follows, NULL when it
 * is no number. */
static const char *digits(const char *s, uint64_t *ret)
{
    const size_t len = strspn(s, "0123456789");
    char *end;

    errno = 0;
    *ret = strtoull(s, &end, 10);
    return len == 0 || errno || end != s + len ? NULL : end;
}

static bool parse_u32(const char *text, void *field)
{
    uint64_t v;
    const char *rest = digits(text, &v);
    const uint32_t u = (uint32_t)v;

    if (!rest || *rest || v > UINT32_MAX)
        return false;
    memcpy(field, &u, sizeof(u));
    return true;
}

static bool parse_bool(const char *text, void *field)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        const bool b = i % 2 != 0;

        if (strcasecmp(text, words[i]) == 0) {
            memcpy(field, &b, sizeof(b));
            return true;
        }
    }
    return false;
}

static bool parse_size(const char *text, void *field)
{
    static const char units[] = "kmgt";
    uint64_t v;
    const char *rest = digits(text, &v);
    unsigned shift = 0;
    size_t size;

    if (rest && *rest) {
        const char *unit = strchr(units, *rest | 0x20);

        if (!unit || rest[1])
            return false;
        shift = 10 * (unsigned)(unit - units + 1);
    }
    if (!rest || v > SIZE_MAX >> shift)
        return false;
    size = (size_t)v << shift;
    memcpy(field, &size, sizeof(size));
    return true;
}

static bool parse_duration(const char *text, void *field)
{
    int64_t ms;

    if (!duration_parse(slice_of(text), &ms))
        return false;
    memcpy(field, &ms, sizeof(ms));
    return true;
}

static bool parse_float(const char *text, void *field)
{
    char *end;
    const double d = strtod(text, &end);

    if (end == text || *end || !isfinite(d) || text[strspn(text, "0123456789+-.eE")])
        return false;
    memcpy(field, &d, sizeof(d));
    return true;
}

static bool parse_enum(const struct conf_key *key, const char *text, void *field)
{
    for (int i = 0; key->choices[i]; i++)
        if (strcmp(key->choices[i], text) == 0) {
            memcpy(field, &i, sizeof(i));
            return true;
        }
    return false;
}

bool conf_value_parse(const struct conf_key *key, const char *text, void *field)
{
    switch (key->type) {
    case CONF_STR:
        memcpy(field, &text, sizeof(text));
        return true;
    case CONF_U32:
        return parse_u32(text, field);
    case CONF_BOOL:
        return parse_bool(text, field);
    case CONF_SIZE:
        return parse_size(text, field);
    case CONF_DURATION:
        return parse_duration(text, field);
    case CONF_FLOAT:
        return parse_float(text, field);
    case CONF_ENUM:
        return parse_enum(key, text, field);
    case CONF_STRS:
        break;
    }
    return false;
}

void conf_value_zero(const struct conf_key *key, void *field)
{
    static const size_t size[] = {
        [CONF_U32] = sizeof(uint32_t),          [CONF_BOOL] = sizeof(bool),
        [CONF_SIZE] = sizeof(size_t),           [CONF_DURATION] = sizeof(int64_t),
        [CONF_FLOAT] = sizeof(double),          [CONF_ENUM] = sizeof(int),
        [CONF_STRS] = sizeof(struct conf_strs),
    };
    static const char *const empty = "";

    if (key->type == CONF_STR)
        memcpy(field, &empty, sizeof(const char *));
    else
        memset(field, 0, size[key->type]);
}

const char *conf_value_expected(const struct conf_key *key, struct arena *a)
{
    static const char *const words[] = {
        [CONF_STR] = "a string",
        [CONF_U32] = "a whole number from 0 to 4294967295",
        [CONF_BOOL] = "true or false",
        [CONF_SIZE] = "a size such as 512, 64k, 1m or 2g",
        [CONF_DURATION] = "a duration such as 500ms, 30s, 5m or 1h30m",
        [CONF_FLOAT] = "a number",
        [CONF_STRS] = "a list of strings",
    };
    const char *s = "one of";

    if (key->type != CONF_ENUM)
        return words[key->type];
    for (size_t i = 0; key->choices[i] && s; i++)
        s = arena_printf(a, "%s%s%s", s, i ? ", " : " ", key->choices[i]);
    return s;
}

/* True when YAML reads the plain text as this very string. */
static bool is_plain(const char *text)
{
    static const char *const words[] = {"true", "false", "yes", "no", "on",
                                        "off",  "null",  "y",   "n"};
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char later[] = "0123456789_-./@+";
    size_t len = strspn(text, letters);

    if (len == 0)
        return false;
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (strcasecmp(text, words[i]) == 0)
            return false;
    while (text[len] && (strchr(letters, text[len]) || strchr(later, text[len])))
        len++;
    return text[len] == '\0';
}

void conf_value_quote(struct buf *b, const char *text)
{
    if (is_plain(text))
        buf_puts(b, text);
    else
        buf_json(b, slice_of(text));
}
