#include "notifier/message.h"

#include <errno.h>
#include <string.h>

#include "notifier/model.h"
#include "notifier/text.h"

#define TITLE_MAX 250

struct messages {
    struct template *text[FORMAT_DATA + 1];
    struct template *html; /* the second body of mail */
};

/* Layouts know no language: names and notes come from the model. */
static const char plain[] = "{{headline}}\n"
                            "{{rule}}\n"
                            "{{#origin}}\n"
                            "{{name}}{{word.colon}}{{value}}\n"
                            "{{/origin}}\n"
                            "\n"
                            "{{#details}}\n"
                            "{{name}}{{word.colon}}{{value}}\n"
                            "{{/details}}\n"
                            "{{#lines}}\n"
                            "{{emoji}} {{text}}\n"
                            "{{/lines}}\n"
                            "{{#more}}\n"
                            "{{more}}\n"
                            "{{/more}}\n"
                            "{{#notes}}\n"
                            "※ {{.}}\n"
                            "{{/notes}}\n"
                            "{{#link}}\n"
                            "{{word.details}}{{word.colon}}{{{link}}}\n"
                            "{{/link}}\n";

static const char slack[] = "*{{headline}}*\n"
                            "{{rule}}\n"
                            "{{#origin}}\n"
                            "*{{name}}*{{word.colon}}{{value}}\n"
                            "{{/origin}}\n"
                            "\n"
                            "{{#details}}\n"
                            "*{{name}}*{{word.colon}}{{value}}\n"
                            "{{/details}}\n"
                            "{{#lines}}\n"
                            "{{emoji}} {{text}}\n"
                            "{{/lines}}\n"
                            "{{#more}}\n"
                            "{{more}}\n"
                            "{{/more}}\n"
                            "{{#notes}}\n"
                            "_{{.}}_\n"
                            "{{/notes}}\n"
                            "{{#link}}\n"
                            "*{{word.details}}*{{word.colon}}<{{link}}>\n"
                            "{{/link}}\n";

static const char wecom[] = "**{{headline}}**\n"
                            "{{rule}}\n"
                            "{{#origin}}\n"
                            "> {{name}}{{word.colon}}{{value}}\n"
                            "{{/origin}}\n"
                            "\n"
                            "{{#details}}\n"
                            "**{{name}}**{{word.colon}}{{value}}\n"
                            "{{/details}}\n"
                            "{{#lines}}\n"
                            "{{emoji}} {{text}}\n"
                            "{{/lines}}\n"
                            "{{#more}}\n"
                            "{{more}}\n"
                            "{{/more}}\n"
                            "{{#notes}}\n"
                            "> {{.}}\n"
                            "{{/notes}}\n"
                            "{{#link}}\n"
                            "[{{word.details}}]({{{link}}})\n"
                            "{{/link}}\n";

static const char mail_html[] =
    "<!DOCTYPE html>\n"
    "<html lang=\"{{locale}}\"><head><meta charset=\"utf-8\"><title>{{headline}}</title></head>\n"
    "<body style=\"font-family:sans-serif;color:#1f2328\">\n"
    "<h2 style=\"margin:0 0 8px\">{{headline}}</h2>\n"
    "<hr>\n"
    "<table style=\"border-spacing:8px 2px\">\n"
    "{{#origin}}\n"
    "<tr><th align=\"left\" valign=\"top\">{{name}}</th><td>{{value}}</td></tr>\n"
    "{{/origin}}\n"
    "{{#details}}\n"
    "<tr><th align=\"left\" valign=\"top\">{{name}}</th><td>{{value}}</td></tr>\n"
    "{{/details}}\n"
    "</table>\n"
    "{{#lines}}\n"
    "<div>{{emoji}} {{text}}</div>\n"
    "{{/lines}}\n"
    "{{#more}}\n"
    "<div>{{more}}</div>\n"
    "{{/more}}\n"
    "{{#notes}}\n"
    "<p><em>{{.}}</em></p>\n"
    "{{/notes}}\n"
    "{{#link}}\n"
    "<p><a href=\"{{link}}\">{{word.details}}</a></p>\n"
    "{{/link}}\n"
    "</body></html>\n";

enum escape format_escape(enum format f)
{
    switch (f) {
    case FORMAT_SLACK:
        return ESCAPE_ANGLE;
    case FORMAT_WECOM:
        return ESCAPE_MARKDOWN;
    case FORMAT_PLAIN:
    case FORMAT_MAIL:
    case FORMAT_DATA:
        break;
    }
    return ESCAPE_NONE;
}

void messages_free(struct messages *m)
{
    if (!m)
        return;
    for (size_t i = 0; i <= FORMAT_DATA; i++)
        template_free(m->text[i]);
    template_free(m->html);
    free(m);
}

static int compile_all(struct messages *m, struct err *e)
{
    static const char *const texts[FORMAT_DATA + 1] = {
        [FORMAT_PLAIN] = plain, [FORMAT_SLACK] = slack, [FORMAT_WECOM] = wecom,
        [FORMAT_MAIL] = plain,  [FORMAT_DATA] = plain,
    };

    for (size_t i = FORMAT_PLAIN; i <= FORMAT_DATA; i++)
        if (!(m->text[i] = template_compile(texts[i], e)))
            return err_wrap(e, "built-in message");
    if (!(m->html = template_compile(mail_html, e)))
        return err_wrap(e, "built-in message");
    return 0;
}

int messages_new(struct messages **ret, struct err *e)
{
    struct messages *m = calloc(1, sizeof(*m));
    int r = m ? compile_all(m, e) : err_set(e, -ENOMEM, "out of memory");

    if (r < 0) {
        messages_free(m);
        return r;
    }
    *ret = m;
    return 0;
}

/* The receiver's own template, and when that gives nothing the built-in one. */
static const char *lay_out(const struct messages *m, const struct layout *l, const json_t *model,
                           struct arena *a, size_t *ret_len)
{
    const char *text = NULL;

    if (l->own)
        text = template_render(l->own, model, format_escape(l->format), a, ret_len);
    if (text && *text)
        return text;
    return template_render(m->text[l->format], model, format_escape(l->format), a, ret_len);
}

/* The link that a reader needs most when the rest is cut. */
static const char *cut_tail(const struct layout *l, const json_t *model, struct arena *a)
{
    const char *link = json_string_value(json_object_get(model, "link"));

    return arena_printf(a, "\n%s%s%s", l->words->more_cut, link ? "\n" : "", link ? link : "");
}

/* Fewer and fewer lines until it fits; then the knife. */
static const char *fit(const struct messages *m, const struct layout *l, json_t *model,
                       struct arena *a)
{
    size_t len = 0, lines = json_array_size(json_object_get(model, "lines"));
    const char *text = lay_out(m, l, model, a, &len);

    while (text && len > l->max_text && lines > 0) {
        lines = lines > 4 ? lines * 3 / 4 : lines - 1;
        model_cut_lines(model, lines, l->words, a);
        text = lay_out(m, l, model, a, &len);
    }
    if (!text || len <= l->max_text)
        return text;
    const char *tail = cut_tail(l, model, a);
    return tail ? text_cut(a, (struct slice){text, len}, l->max_text, tail) : NULL;
}

int message_render(const struct messages *m, const struct layout *l, json_t *model, struct arena *a,
                   struct notification *ret, struct err *e)
{
    const char *headline = json_string_value(json_object_get(model, "headline"));
    size_t len;

    ret->data = model;
    ret->title = text_line(a, slice_of(headline ? headline : ""), TITLE_MAX);
    ret->text = fit(m, l, model, a);
    ret->html = NULL;
    if (l->format == FORMAT_MAIL && ret->text)
        ret->html = template_render(m->html, model, ESCAPE_HTML, a, &len);
    if (!ret->title || !ret->text || (l->format == FORMAT_MAIL && !ret->html))
        return err_set(e, -ENOMEM, "the message does not fit in its memory");
    return 0;
}
