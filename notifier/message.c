#include "notifier/message.h"

#include <errno.h>
#include <string.h>

#include "common/template_escape.h"
#include "notifier/layout.h"
#include "notifier/model.h"

#define TITLE_MAX 250

/* The layouts of one channel. */
struct built_in {
    struct template *text, *news, *html; /* the latter two may be NULL */
};

struct messages {
    size_t n;
    struct built_in v[]; /* by the registry's order */
};

static const char plain[] = LAYOUT("", "", "", "※ ", "",
                                   "{{#acts}}\n{{name}}{{word.colon}}{{{url}}}\n{{/"
                                   "acts}}\n{{word.details}}{{word.colon}}{{{link}}}");

void messages_free(struct messages *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n; i++) {
        template_free(m->v[i].text);
        template_free(m->v[i].news);
        template_free(m->v[i].html);
    }
    free(m);
}

static int compile(const char *text, struct template **ret, struct err *e)
{
    *ret = text ? template_compile(text, e) : NULL;
    return text && !*ret ? err_wrap(e, "built-in message") : 0;
}

static int compile_all(struct messages *m, struct err *e)
{
    int r = 0;

    for (size_t i = 0; i < m->n && r == 0; i++) {
        const struct channel *ch = channel_at(i);
        if ((r = compile(ch->layout ? ch->layout : plain, &m->v[i].text, e)) == 0 &&
            (r = compile(ch->news_layout, &m->v[i].news, e)) == 0)
            r = compile(ch->html_layout, &m->v[i].html, e);
    }
    return r;
}

int messages_new(struct messages **ret, struct err *e)
{
    size_t n = 0;

    while (channel_at(n))
        n++;
    struct messages *m = calloc(1, sizeof(*m) + n * sizeof(m->v[0]));
    if (!m)
        return err_set(e, -ENOMEM, "out of memory");
    m->n = n;
    int r = compile_all(m, e);
    if (r < 0) {
        messages_free(m);
        return r;
    }
    *ret = m;
    return 0;
}

static const struct built_in *built_in(const struct messages *m, const struct channel *ch)
{
    size_t i = 0;

    while (i + 1 < m->n && channel_at(i) != ch)
        i++;
    return &m->v[i];
}

/* The receiver's own template, and when that gives nothing the built-in one. */
static const char *lay_out(const struct layout *l, const struct template *ours, const json_t *model,
                           struct arena *a, struct slice *ret, const char **ret_fault)
{
    enum escape escape = l->channel->escape;
    const char *text = NULL;

    if (l->own)
        text = template_render(l->own, model, escape, a, &ret->len);
    if (l->own && (!text || !*text))
        *ret_fault = text ? "it is empty" : "it is too long";
    if (!text || !*text)
        text = template_render(ours, model, escape, a, &ret->len);
    ret->p = text;
    return text;
}

/* The link that a reader needs most when the rest is cut. */
static const char *cut_tail(const struct layout *l, const json_t *model, struct arena *a)
{
    const char *link = json_string_value(json_object_get(model, "link"));
    CLEANUP(buf_release) struct buf out = BUF_INIT((size_t)16 << 10);

    /* An ellipsis is one of the signs that halve a short message. */
    buf_printf(&out, "\n%s", l->channel->unit == UNIT_SMS ? "..." : l->words->more_cut);
    if (link && !l->channel->rings) {
        buf_putc(&out, '\n');
        template_escape(&out, slice_of(link),
                        l->channel->unit == UNIT_SHOWN ? l->channel->escape : ESCAPE_NONE);
    }
    return out.failed ? NULL : arena_strndup(a, buf_str(&out), out.len);
}

/* By how many it is too long, were the lines all of it; one at least. In a storm each line more is
 * a message less. */
static size_t fewer(size_t lines, size_t size, size_t max)
{
    size_t excess = lines * (size - max) / size;

    return lines - (excess > 0 ? excess : 1);
}

/* Fewer and fewer lines until it fits; then the knife. */
static const char *fit(const struct layout *l, const struct template *ours, json_t *model,
                       struct arena *a, const char **ret_fault)
{
    const enum unit unit = l->channel->unit;
    size_t lines = json_array_size(json_object_get(model, "lines"));
    struct slice s = {0};
    const char *text = lay_out(l, ours, model, a, &s, ret_fault);

    for (size_t size; text && (size = text_size(s, unit)) > l->max_text && lines > 0;) {
        lines = fewer(lines, size, l->max_text);
        model_cut_lines(model, lines, l->words, a);
        text = lay_out(l, ours, model, a, &s, ret_fault);
    }
    if (!text || text_size(s, unit) <= l->max_text)
        return text;
    const char *tail = cut_tail(l, model, a);
    return tail ? text_cut(a, s, l->max_text, unit, tail) : NULL;
}

int message_render(const struct messages *m, const struct layout *l, json_t *model, struct arena *a,
                   struct notification *ret, struct err *e)
{
    const char *headline = json_string_value(json_object_get(model, "headline"));
    const struct built_in *ours = built_in(m, l->channel);
    bool news = ours->news && json_is_true(json_object_get(model, "is_news"));
    size_t len;

    ret->data = model;
    ret->fault = NULL;
    ret->title = text_line(a, slice_of(headline ? headline : ""), TITLE_MAX);
    ret->text = fit(l, ours->text, model, a, &ret->fault);
    ret->news = news ? fit(l, ours->news, model, a, &ret->fault) : NULL;
    ret->html = ours->html ? template_render(ours->html, model, ESCAPE_HTML, a, &len) : NULL;
    if (!ret->title || !ret->text || (news && !ret->news) || (ours->html && !ret->html))
        return err_set(e, -ENOMEM, "the message does not fit in its memory");
    return 0;
}
