#include "console/act_page.h"

#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "common/form.h"
#include "common/incident.h"
#include "common/template.h"
#include "common/zone.h"
#include "console/act_words.h"
#include "console/perform.h"

static const char page[] =
    "<!DOCTYPE html>\n"
    "<html lang=\"{{locale}}\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
    "<meta name=\"robots\" content=\"noindex\">\n"
    "<title>{{headline}}</title>\n"
    "<style>body{font:17px/1.5 system-ui,sans-serif;max-width:34em;margin:2em auto;padding:0 1em;"
    "color:#1f2328;background:#fff}h1{font-size:1.3em}p.what{color:#57606a}"
    "label{display:block;margin:1em 0 .3em}input,button{font:inherit;width:100%;box-sizing:"
    "border-box;padding:.7em;border-radius:8px;border:1px solid #8c959f}"
    "button{margin-top:1em;border:0;background:#1f6feb;color:#fff}"
    "@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}"
    "p.what{color:#9198a1}input{background:#161b22;color:inherit}a{color:#79c0ff}}</style>\n"
    "</head><body>\n"
    "<h1>{{headline}}</h1>\n"
    "{{#title}}\n"
    "<p><strong>{{title}}</strong><br>{{state}}</p>\n"
    "{{/title}}\n"
    "{{#explained}}\n"
    "<p class=\"what\">{{explained}}</p>\n"
    "{{/explained}}\n"
    "{{#button}}\n"
    "<form method=\"post\">\n"
    "<label for=\"name\">{{name_label}}</label>\n"
    "<input id=\"name\" name=\"name\" maxlength=\"60\" autocomplete=\"name\">\n"
    "<button type=\"submit\">{{button}}</button>\n"
    "</form>\n"
    "{{/button}}\n"
    "{{#link}}\n"
    "<p><a href=\"{{link}}\">{{details}}</a></p>\n"
    "{{/link}}\n"
    "</body></html>\n";

/* One visitor at one link. */
struct act_visit {
    enum act_check check;
    struct act_grant grant;
    const struct act_words *words;
    struct slice who;
    bool acts; /* POST */
    bool wrong_method;
};

static const char *copy_of(struct arena *a, struct slice s)
{
    return arena_strndup(a, s.p ? s.p : "", s.len);
}

static void put(json_t *o, const char *key, const char *value)
{
    if (value)
        (void)json_object_set_new(o, key, json_string(value));
}

static int write_page(struct visit *v, const struct act_words *w, json_t *model, struct err *e)
{
    CLEANUP(template_free) struct template *t = template_compile(page, e);
    size_t len;

    put(model, "locale", w->locale);
    put(model, "name_label", w->name_label);
    put(model, "details", w->details);
    const char *html = t ? template_render(t, model, ESCAPE_HTML, v->a, &len) : NULL;
    json_decref(model);
    if (!html)
        return err_set(e, -ENOMEM, "the page cannot be laid out");
    buf_add(&v->out, html, len);
    return 0;
}

/* ---- the incident ---- */

struct incident_seen {
    enum incident_status status;
    const char *title, *owner, *severity;
};

static int look(struct visit *v, const struct act_grant *g, struct incident_seen *ret,
                struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct pg_args *p = pg_args(v->a);

    pg_text(p, g->tenant);
    pg_uuid(p, &g->incident);
    int rc = pg_query(v->pg,
                      "SELECT title, status, severity, owner FROM incidents WHERE tenant = $1 AND "
                      "id = $2",
                      p, &r, e);
    if (rc < 0)
        return rc;
    if (PQntuples(r) == 0)
        return err_set(e, -ENOENT, "there is no such incident any more");
    ret->title = copy_of(v->a, pg_get_text(r, 0, 0));
    ret->status = (enum incident_status)pg_get_int(r, 0, 1);
    ret->severity = severity_name((enum severity)pg_get_int(r, 0, 2));
    ret->owner = copy_of(v->a, pg_get_text(r, 0, 3));
    return ret->title && ret->owner ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static void put_incident(struct visit *v, const struct act_visit *x, const struct incident_seen *s,
                         json_t *model)
{
    const struct act_words *w = x->words;
    const char *state = w->status[s->status];
    const char *base = v->console->settings->external_url;
    char id[UUID_STR];

    put(model, "title", *s->title ? s->title : "-");
    put(model, "state",
        *s->owner ? arena_printf(v->a, "%s · %s · %s", s->severity, state, s->owner)
                  : arena_printf(v->a, "%s · %s", s->severity, state));
    put(model, "link",
        arena_printf(v->a, "%s%s#/incidents/%s", base,
                     *base && base[strlen(base) - 1] == '/' ? "" : "/",
                     uuid_format(&x->grant.incident, id)));
}

/* What a silence by this link would last, or lasts: "1h". */
static const char *lasting(const struct visit *v)
{
    char text[RFC3339_MAX];

    return arena_printf(v->a, "%s",
                        duration_format(v->console->settings->console.silence_for, text));
}

static const char *until(struct visit *v, int64_t ms)
{
    CLEANUP(zone_free) struct zone *zone = NULL;
    struct err e = {0};
    char text[ZONE_TEXT];

    if (zone_open(v->console->settings->time_zone, &zone, &e) < 0)
        return "";
    return arena_printf(v->a, "%s", zone_format(zone, ms, text));
}

/* ---- the answers ---- */

static int show(struct visit *v, struct act_visit *x, struct err *e)
{
    const struct act_words *w = x->words;
    const struct act_word *verb = &w->verbs[x->grant.verb];
    struct incident_seen s = {.status = INCIDENT_OPEN, .title = "", .owner = ""};
    int rc = look(v, &x->grant, &s, e);

    if (rc < 0)
        return rc;
    json_t *model = json_object();
    put_incident(v, x, &s, model);
    if (s.status == INCIDENT_RESOLVED && x->grant.verb != ACT_SILENCE) {
        put(model, "headline", w->is_over);
        return write_page(v, w, model, e);
    }
    put(model, "headline", verb->question);
    put(model, "explained", verb->explained);
    put(model, "button",
        x->grant.verb == ACT_SILENCE ? arena_printf(v->a, "%s (%s)", verb->button, lasting(v))
                                     : verb->button);
    return write_page(v, w, model, e);
}

static int act(struct visit *v, struct act_visit *x, struct err *e)
{
    const struct act_words *w = x->words;
    const struct act_word *verb = &w->verbs[x->grant.verb];
    struct incident_silenced done = {0};
    struct incident_seen s = {.status = INCIDENT_OPEN, .title = "", .owner = ""};
    int rc = perform(v, &x->grant, x->who, &done, e);

    if (rc == 0)
        rc = look(v, &x->grant, &s, e);
    if (rc < 0)
        return rc;
    json_t *model = json_object();
    put_incident(v, x, &s, model);
    put(model, "headline", done.changed ? verb->done : verb->was_done);
    if (x->grant.verb == ACT_SILENCE)
        put(model, "explained", arena_printf(v->a, "%s %s", w->until, until(v, done.ends_ms)));
    return write_page(v, w, model, e);
}

static int refused(struct visit *v, const struct act_visit *x, unsigned status,
                   const char *headline, const char *explained, struct err *e)
{
    json_t *model = json_object();

    v->status = status;
    put(model, "headline", headline);
    put(model, "explained", explained);
    return write_page(v, x->words, model, e);
}

static int answer(struct visit *v, void *arg, struct err *e)
{
    struct act_visit *x = arg;
    const struct act_words *w = x->words;

    if (x->wrong_method)
        return refused(v, x, 405, w->wrong_method, w->wrong_method_why, e);
    if (x->check == ACT_FORGED)
        return refused(v, x, 403, w->forged, w->forged_why, e);
    if (x->check == ACT_EXPIRED)
        return refused(v, x, 410, w->expired, w->expired_why, e);
    return x->acts ? act(v, x, e) : show(v, x, e);
}

static void fail(struct visit *v, void *arg, int rc)
{
    const struct act_visit *x = arg;
    const struct act_words *w = x->words;
    struct err e = {0};
    int r;

    if (rc == -ENOENT)
        r = refused(v, x, v->status, w->gone, NULL, &e);
    else if (rc == -EPERM)
        r = refused(v, x, v->status, w->is_over, NULL, &e);
    else
        r = refused(v, x, v->status, w->trouble, w->trouble_why, &e);
    if (r < 0)
        buf_puts(&v->out, w->trouble);
}

/* What a browser asks for first decides. */
static const struct act_words *words_of(const struct http_request *r)
{
    const char *tags = http_header(r, "Accept-Language");
    enum locale l;

    if (!tags || !locale_find((struct slice){tags, strcspn(tags, ",; ")}, &l))
        l = LOCALE_EN;
    return act_words(l);
}

static struct slice name_of(struct http_request *r)
{
    struct form f;
    struct err e = {0};
    struct slice name = {NULL, 0};

    if (form_parse(http_header(r, "Content-Type"), http_body(r), http_arena(r), &f, &e) < 0)
        return name;
    for (size_t i = 0; i < f.n; i++)
        if (slice_is(f.v[i].name, "name"))
            name = f.v[i].value;
    return name;
}

/* Nobody may show this page inside his own, nor learn the link from where one went afterwards. */
static void guard(struct http_request *r)
{
    http_reply_header(r, "Content-Security-Policy",
                      "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
                      "frame-ancestors 'none'; base-uri 'none'");
    http_reply_header(r, "Referrer-Policy", "no-referrer");
    http_reply_header(r, "X-Content-Type-Options", "nosniff");
    http_reply_header(r, "X-Robots-Tag", "noindex");
}

static void visit(const struct console *c, struct http_request *r, struct act_visit *x)
{
    static const struct console_form html = {
        .type = "text/html; charset=utf-8", .answer = answer, .refuse = fail};

    x->words = words_of(r);
    x->check =
        grant_read(c, slice_of(http_param(r, "token")), clock_now_ms(), http_arena(r), &x->grant);
    guard(r);
    console_answer_as(c, r, &html, x);
}

void get_act(void *ctx, struct http_request *r)
{
    struct act_visit x = {.acts = false};

    visit(ctx, r, &x);
}

void post_act(void *ctx, struct http_request *r)
{
    struct act_visit x = {.acts = true, .who = name_of(r)};

    visit(ctx, r, &x);
}

void other_act(void *ctx, struct http_request *r)
{
    struct act_visit x = {.wrong_method = true};

    http_reply_header(r, "Allow", "GET, HEAD, POST");
    visit(ctx, r, &x);
}
