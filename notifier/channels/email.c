/*
 * Mail by SMTP. A recipient that the server refuses for good must not keep the others from reading:
 * the mail goes out again without that one. Only the server's word after the final dot is a yes;
 * the Message-ID is the same on every attempt.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "notifier/channel.h"
#include "notifier/mime.h"

#define MAIL_MAX ((size_t)1 << 20)

static const char html_layout[] =
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
    "{{#has_acts}}\n"
    "<p>{{#acts}}{{sep}}<a href=\"{{url}}\">{{name}}</a>{{/acts}}</p>\n"
    "{{/has_acts}}\n"
    "{{#link}}\n"
    "<p><a href=\"{{link}}\">{{word.details}}</a></p>\n"
    "{{/link}}\n"
    "</body></html>\n";

struct email_cfg {
    const char *to, *from, *smarthost, *hello, *auth_username, *auth_password, *auth_identity;
    bool require_tls;
    const char *const (*headers)[2];
    size_t header_n;
    const char *url, *domain; /* made from the above */
};

#define T struct email_cfg
#define KEY(field, flags, help) CONF(T, field, CONF_STR, NULL, flags, help)
static const struct conf_key keys[] = {
    KEY(to, CONF_REQUIRED, "recipients, by comma"),
    KEY(from, 0, "sender; default: global.smtp_from"),
    KEY(smarthost, 0, "server, host:port; default: global.smtp_smarthost"),
    KEY(hello, 0, "name said in EHLO; default: global.smtp_hello"),
    KEY(auth_username, 0, "user; default: global.smtp_auth_username"),
    KEY(auth_password, CONF_SECRET, "password; default: global.smtp_auth_password"),
    KEY(auth_identity, 0, "identity to act as; default: global.smtp_auth_identity"),
    CONF(T, require_tls, CONF_BOOL, NULL, 0,
         "no mail without TLS; default: global.smtp_require_tls"),
    CONF_END,
};
#undef T

static const char *const trees[] = {"headers", NULL};
static const char *const foreign[] = {
    "auth_secret", "auth_secret_file", "force_implicit_tls", "html",
    "text",        "threading",        "tls_config",         NULL};

static const char *or_global(const char *own, const char *global)
{
    return own && *own ? own : global ? global : "";
}

/* Headers that this file writes itself. */
static bool reserved(const char *name)
{
    static const char *const names[] = {"from",
                                        "to",
                                        "subject",
                                        "date",
                                        "message-id",
                                        "mime-version",
                                        "content-type",
                                        "content-transfer-encoding",
                                        "in-reply-to",
                                        "references",
                                        NULL};

    for (size_t i = 0; names[i]; i++)
        if (strcasecmp(names[i], name) == 0)
            return true;
    return false;
}

static bool header_name_ok(const char *name)
{
    for (const char *p = name; *p; p++)
        if (*p <= ' ' || *p == ':' || (unsigned char)*p >= 0x7f)
            return false;
    return *name != '\0';
}

static int load_headers(struct email_cfg *m, const struct check_input *in, struct err *e)
{
    const struct yaml *map = yaml_get(in->node, "headers");
    size_t n = yaml_count(map);
    const char *(*v)[2] = n ? conf_alloc(in->conf, n, sizeof(*v)) : NULL;

    m->headers = NULL;
    m->header_n = 0;
    if (!n)
        return 0;
    if (!v)
        return err_set(e, -ENOMEM, "email: out of memory");
    if (yaml_kind(map) != YAML_MAP)
        return yaml_err(map, e, "headers: a map is expected");
    for (size_t i = 0; i < n; i++) {
        const char *name = yaml_key(map, i), *value = yaml_scalar(yaml_at(map, i));
        if (!header_name_ok(name) || !value)
            return yaml_err(yaml_at(map, i), e, "headers: a header's name and text are expected");
        if (reserved(name)) {
            int r = conf_warn(in->conf, yaml_at(map, i), "%s.headers.%s has no effect here",
                              in->path, name);
            if (r < 0)
                return r;
            continue;
        }
        v[m->header_n][0] = name;
        v[m->header_n++][1] = value;
    }
    m->headers = (const char *const(*)[2])v;
    return 0;
}

static int make_url(struct email_cfg *m, struct conf *c, struct err *e)
{
    const char *colon = strrchr(m->smarthost, ':');
    CLEANUP(buf_release) struct buf url = BUF_INIT(1024);

    if (!colon || colon == m->smarthost || !colon[1] ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1) || strpbrk(m->smarthost, " /@?#"))
        return err_set(e, -EINVAL, "email: smarthost: host:port is expected");
    /* Port 465 speaks TLS from the first byte. What follows the host is what EHLO says. */
    buf_printf(&url, "%s://%s/%s", strcmp(colon, ":465") == 0 ? "smtps" : "smtp", m->smarthost,
               m->hello);
    m->url = conf_strdup(c, buf_str(&url));
    return m->url ? 0 : err_set(e, -ENOMEM, "email: out of memory");
}

static int check_addresses(struct email_cfg *m, struct conf *c, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)64 << 10);
    const char *const *v;

    if (!a)
        return err_set(e, -ENOMEM, "email: out of memory");
    if (mail_addresses(m->to, a, &v, e) < 0)
        return err_wrap(e, "email: to");
    int n = mail_addresses(m->from, a, &v, e);
    if (n < 0)
        return err_wrap(e, "email: from");
    if (n != 1)
        return err_set(e, -EINVAL, "email: from: one address is expected");
    m->domain = conf_strdup(c, strchr(v[0], '@') + 1);
    return m->domain ? 0 : err_set(e, -ENOMEM, "email: out of memory");
}

static int check(void *cfg, const struct check_input *in, struct err *e)
{
    struct email_cfg *m = cfg;
    const struct global_settings *g = in->global;
    int r;

    m->from = or_global(m->from, g->smtp_from);
    m->smarthost = or_global(m->smarthost, g->smtp_smarthost);
    m->hello = or_global(m->hello, g->smtp_hello);
    m->auth_username = or_global(m->auth_username, g->smtp_auth_username);
    m->auth_password = or_global(m->auth_password, g->smtp_auth_password);
    m->auth_identity = or_global(m->auth_identity, g->smtp_auth_identity);
    if (!yaml_get(in->node, "require_tls"))
        m->require_tls = g->smtp_require_tls;
    if (!*m->from || !*m->smarthost)
        return err_set(e, -EINVAL,
                       "email: from and smarthost are needed, here or as global.smtp_*");
    if ((r = check_addresses(m, in->conf, e)) < 0 || (r = load_headers(m, in, e)) < 0)
        return r;
    return make_url(m, in->conf, e);
}

static void destination(const void *cfg, struct buf *out)
{
    const struct email_cfg *m = cfg;

    buf_printf(out, "%s %s %s", m->url, m->auth_username, m->to);
}

static void place(const void *cfg, struct buf *out)
{
    const struct email_cfg *m = cfg;

    buf_puts(out, m->to);
}

static bool was_refused(const struct step_input *in, const char *address)
{
    for (size_t i = 0; i < in->past_n; i++) {
        const struct response *r = &in->past[i].response;
        if (r->status >= 500 && r->refused && strcasecmp(r->refused, address) == 0)
            return true;
    }
    return false;
}

static int recipients(const struct step_input *in, struct arena *a, struct request *ret,
                      struct err *e)
{
    const struct email_cfg *m = in->cfg;
    const char *const *all;
    int n = mail_addresses(m->to, a, &all, e);
    const char **left = n > 0 ? arena_array(a, (size_t)n, const char *) : NULL;

    if (n < 0)
        return n;
    if (!left)
        return err_set(e, -ENOMEM, "email: the message does not fit in its memory");
    ret->mail_to = left;
    ret->mail_to_n = 0;
    for (int i = 0; i < n; i++)
        if (!was_refused(in, all[i]))
            left[ret->mail_to_n++] = all[i];
    return 0;
}

static int render(const struct step_input *in, struct arena *a, struct request *ret, struct err *e)
{
    const struct email_cfg *m = in->cfg;
    const struct notification *n = in->notification;
    CLEANUP(buf_release) struct buf out = BUF_INIT(MAIL_MAX);
    const char *const *from;
    int r = mail_addresses(m->from, a, &from, e);

    if (r < 0)
        return r;
    struct mail mail = {
        .from = m->from,
        .to = m->to,
        .subject = n->title,
        .message_id = arena_printf(a, "%s@%s", n->id, m->domain),
        .thread_id = n->group ? arena_printf(a, "group.%s@%s", n->group, m->domain) : NULL,
        .at_ms = n->created_at,
        .text = n->text,
        .html = n->html ? n->html : "",
        .headers = m->headers,
        .header_n = m->header_n,
    };
    if (!mail.message_id || (n->group && !mail.thread_id))
        return err_set(e, -ENOMEM, "email: the message does not fit in its memory");
    mail_write(&out, &mail);
    ret->url = m->url;
    ret->mail_from = from[0];
    ret->username = m->auth_username;
    ret->password = m->auth_password;
    ret->identity = m->auth_identity;
    ret->require_tls = m->require_tls;
    ret->body = arena_slice(a, (struct slice){out.p, out.len});
    if (out.failed || !ret->body.p)
        return err_set(e, -ENOMEM, "email: the message does not fit in its memory");
    return 0;
}

/* Everybody who was refused, for the ledger. */
static const char *refused_list(const struct step_input *in, struct arena *a)
{
    CLEANUP(buf_release) struct buf out = BUF_INIT(1024);

    for (size_t i = 0; i < in->past_n; i++)
        if (in->past[i].response.refused && in->past[i].response.status >= 500)
            buf_printf(&out, "%s%s", out.len ? ", " : "", in->past[i].response.refused);
    return out.len ? arena_strndup(a, buf_str(&out), out.len) : NULL;
}

static void judge(const struct step_input *in, struct arena *a, struct outcome *out)
{
    const struct response *r = &in->past[in->past_n - 1].response;

    *out = (struct outcome){.words = answer_words(r, a)};
    if (r->status >= 200 && r->status <= 299) {
        out->verdict = VERDICT_DELIVERED;
        out->refused = refused_list(in, a);
    } else {
        out->verdict = r->forbidden || r->status >= 500 ? VERDICT_REJECT : VERDICT_RETRY;
    }
}

static int step(const struct step_input *in, struct arena *a, struct step *ret, struct err *e)
{
    int r;

    *ret = (struct step){0};
    if ((r = recipients(in, a, &ret->request, e)) < 0)
        return r;
    const struct response *last = in->past_n ? &in->past[in->past_n - 1].response : NULL;
    bool again = last && last->status >= 500 && last->refused && ret->request.mail_to_n > 0;
    if (!last || again)
        return render(in, a, &ret->request, e);
    ret->done = true;
    judge(in, a, &ret->outcome);
    return 0;
}

const struct channel channel_email = {
    .name = "email",
    .summary = "Mail by SMTP",
    .cfg_size = sizeof(struct email_cfg),
    .keys = keys,
    .foreign = foreign,
    .trees = trees,
    .html_layout = html_layout,
    .check = check,
    .destination = destination,
    .place = place,
    .step = step,
};
