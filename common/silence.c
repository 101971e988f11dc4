/* The pure half: matchers as people and the database write them. */
#include "common/silence.h"

#include <errno.h>
#include <string.h>

#include "common/digest.h"

#define NAME_LEN_MAX 256
#define VALUE_LEN_MAX 2500

static int flag(const json_t *o, const char *name, bool def, bool *ret, struct err *e)
{
    const json_t *v = json_object_get(o, name);

    if (v && !json_is_boolean(v))
        return err_set(e, -EINVAL, "a matcher's %s must be true or false", name);
    *ret = v ? json_is_true(v) : def;
    return 0;
}

static int text(const json_t *o, const char *name, size_t max, struct slice *ret, struct err *e)
{
    const json_t *v = json_object_get(o, name);

    if (!json_is_string(v))
        return err_set(e, -EINVAL, "a matcher needs a %s, a string", name);
    *ret = (struct slice){json_string_value(v), json_string_length(v)};
    if (ret->len > max)
        return err_set(e, -EINVAL, "a matcher's %s has at most %zu bytes", name, max);
    return 0;
}

static int read_one(json_t *o, struct silence_matcher *ret, struct err *e)
{
    static const char *const known[] = {"name", "value", "isRegex", "isEqual"};
    const char *key;
    json_t *member;
    bool equal = true;
    int rc;

    if (!json_is_object(o))
        return err_set(e, -EINVAL, "a matcher must be an object with name and value");
    json_object_foreach (o, key, member) {
        bool found = false;
        for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
            found = found || strcmp(key, known[i]) == 0;
        if (!found)
            return err_set(e, -EINVAL, "a matcher has no \"%.60s\"", key);
    }
    if ((rc = text(o, "name", NAME_LEN_MAX, &ret->name, e)) < 0 ||
        (rc = text(o, "value", VALUE_LEN_MAX, &ret->value, e)) < 0 ||
        (rc = flag(o, "isRegex", false, &ret->regex, e)) < 0 ||
        (rc = flag(o, "isEqual", true, &equal, e)) < 0)
        return rc;
    ret->negative = !equal;
    return ret->name.len > 0 ? 0 : err_set(e, -EINVAL, "a matcher's name must not be empty");
}

static struct matchers *compile(const struct silence_matcher *v, size_t n, struct err *e)
{
    struct matchers *m = matchers_new();

    if (!m) {
        (void)err_set(e, -ENOMEM, "out of memory");
        return NULL;
    }
    for (size_t i = 0; i < n; i++)
        if (matchers_add(m, v[i].name, v[i].value, v[i].regex, v[i].negative, e) < 0) {
            matchers_free(m);
            return NULL;
        }
    return m;
}

struct matchers *silence_matchers_compile(const struct silence_matchers *m, struct err *e)
{
    return compile(m->v, m->n, e);
}

int silence_matchers_read(const json_t *list, struct silence_matchers *ret, struct err *e)
{
    const struct labels none = {NULL, 0};
    struct silence_matchers m = {.n = json_array_size(list)};
    bool says_something = false;

    if (!json_is_array(list) || m.n == 0 || m.n > SILENCE_MATCHERS_MAX)
        return err_set(e, -EINVAL, "matchers must be a list of 1 to %d", SILENCE_MATCHERS_MAX);
    for (size_t i = 0; i < m.n; i++) {
        int rc = read_one(json_array_get(list, i), &m.v[i], e);
        if (rc < 0)
            return rc;
        CLEANUP(matchers_free) struct matchers *one = compile(&m.v[i], 1, e);
        if (!one)
            return e->code == -ENOMEM ? -ENOMEM : err_set(e, -EINVAL, "%s", e->msg);
        says_something = says_something || !matchers_match(one, none);
    }
    if (!says_something)
        return err_set(e, -EINVAL,
                       "at least one matcher must not match an empty value: this silences all");
    *ret = m;
    return 0;
}

void silence_matchers_write(const struct silence_matchers *m, struct buf *out)
{
    buf_putc(out, '[');
    for (size_t i = 0; i < m->n; i++) {
        const struct silence_matcher *it = &m->v[i];

        buf_puts(out, i > 0 ? ",{\"name\":" : "{\"name\":");
        buf_json(out, it->name);
        buf_puts(out, ",\"value\":");
        buf_json(out, it->value);
        buf_printf(out, ",\"isRegex\":%s,\"isEqual\":%s}", it->regex ? "true" : "false",
                   it->negative ? "false" : "true");
    }
    buf_putc(out, ']');
}

static void add_equal(struct silence_matchers *m, const char *name, struct slice value)
{
    m->v[m->n++] = (struct silence_matcher){.name = slice_of(name), .value = value};
}

/* As anomaly_of() takes them: of two names for one thing the first that is there, and nothing where
 * there is neither, or it would silence others that have something there. */
void silence_matchers_of(struct labels l, struct silence_matchers *ret)
{
    static const char *const names[][2] = {
        {"alertname"}, {"job", "service"}, {"namespace"}, {"reason", "error_type"}};
    const bool named = labels_get(l, "alertname").len > 0;

    *ret = (struct silence_matchers){.n = 0};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        struct slice value = {0};

        for (size_t k = 0; k < 2 && names[i][k] && value.len == 0; k++) {
            value = labels_get(l, names[i][k]);
            add_equal(ret, names[i][k], value);
        }
    }
    for (size_t i = 0; !named && i < l.n && ret->n < SILENCE_MATCHERS_MAX; i++)
        ret->v[ret->n++] = (struct silence_matcher){.name = l.v[i].name, .value = l.v[i].value};
}

void silence_key(struct slice name, struct slice value, unsigned char out[SILENCE_KEY_LEN])
{
    const struct slice text[] = {name, {"", 1}, value};
    unsigned char hash[SHA256_LEN];

    sha256_v(text, sizeof(text) / sizeof(*text), hash);
    memcpy(out, hash, SILENCE_KEY_LEN);
}
