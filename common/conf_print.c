#include <string.h>

#include "common/buf.h"
#include "common/conf_impl.h"
#include "common/conf_value.h"

static void print_scalar(struct buf *b, enum conf_type type, const char *text)
{
    if (type == CONF_STR || type == CONF_STRS)
        conf_value_quote(b, text);
    else
        buf_puts(b, text[0] ? text : type == CONF_BOOL ? "false" : "0");
}

static void print_value(struct buf *b, const struct record *r)
{
    const bool empty = r->key->type == CONF_STRS ? r->strs.n == 0 : !r->value.text[0];

    if (r->key->flags & CONF_SECRET && !empty) {
        buf_puts(b, "<secret>");
        return;
    }
    if (r->key->type != CONF_STRS) {
        print_scalar(b, r->key->type, r->value.text);
        return;
    }
    buf_putc(b, '[');
    for (size_t i = 0; i < r->strs.n; i++) {
        buf_puts(b, i ? ", " : "");
        print_scalar(b, CONF_STRS, r->strs.v[i]);
    }
    buf_putc(b, ']');
}

void conf_print(const struct conf *c, FILE *out)
{
    static const char *const origins[] = {"--set", "environment", "", "default"};

    for (const struct record *r = c->records; r; r = r->next) {
        CLEANUP(buf_release) struct buf b = BUF_INIT(CONF_FILE_MAX);
        const struct yaml *n = r->value.node;

        print_value(&b, r);
        if (n)
            (void)fprintf(out, "%s: %s  # %s:%u\n", r->name, buf_str(&b), n->file, n->line);
        else
            (void)fprintf(out, "%s: %s  # %s\n", r->name, buf_str(&b), origins[r->value.origin]);
    }
}
