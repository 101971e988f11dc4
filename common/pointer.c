#include "common/pointer.h"

#include <errno.h>

/* One key, with its escapes undone in place; false for a tilde that is none. */
static bool unescape(char *key)
{
    char *to = key;
    for (const char *from = key; *from; from++) {
        char c = *from;
        if (c == '~') {
            from++;
            if (*from != '0' && *from != '1')
                return false;
            c = *from == '0' ? '~' : '/';
        }
        *to++ = c;
    }
    *to = '\0';
    return true;
}

int pointer_parse(struct conf *c, struct slice text, struct pointer *ret, struct err *e)
{
    if (text.len > 0 && text.p[0] != '/')
        return err_set(e, -EINVAL, "a JSON pointer begins with a slash");
    char *copy = conf_alloc(c, text.len + 1, 1);
    const char **keys = conf_alloc(c, POINTER_KEYS_MAX, sizeof(*keys));
    size_t n = 0;
    if (!copy || !keys)
        return err_set(e, -ENOMEM, "the configuration is too large");
    if (text.len > 0)
        memcpy(copy, text.p, text.len);
    for (char *at = strchr(copy, '/'), *next = NULL; at; at = next) {
        *at++ = '\0';
        next = strchr(at, '/');
        if (n == POINTER_KEYS_MAX)
            return err_set(e, -EINVAL, "a JSON pointer has at most %d keys", POINTER_KEYS_MAX);
        keys[n++] = at;
    }
    for (size_t i = 0; i < n; i++)
        if (!unescape(copy + (keys[i] - copy)))
            return err_set(e, -EINVAL, "in a JSON pointer ~ is written ~0 (and / in a key ~1)");
    *ret = (struct pointer){keys, n};
    return 0;
}

static const json_t *element(const json_t *array, const char *key)
{
    size_t index = 0;
    if (!*key || (key[0] == '0' && key[1]))
        return NULL;
    for (; *key; key++) {
        if (*key < '0' || *key > '9' || index > json_array_size(array))
            return NULL;
        index = index * 10 + (size_t)(*key - '0');
    }
    return json_array_get(array, index);
}

const json_t *pointer_get(const struct pointer *p, const json_t *from)
{
    for (size_t i = 0; i < p->n && from; i++)
        from = json_is_array(from) ? element(from, p->keys[i]) : json_object_get(from, p->keys[i]);
    return from;
}
