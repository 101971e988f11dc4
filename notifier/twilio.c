#include "notifier/twilio.h"

#include <errno.h>
#include <string.h>

#include "common/digest.h"

#define FORM_MAX ((size_t)64 << 10)
#define TOO_MANY_REQUESTS 20429

/* "+4930123456" */
static bool is_number(const char *s)
{
    size_t digits = *s == '+' ? strspn(s + 1, "0123456789") : 0;

    return digits >= 4 && digits <= 15 && s[digits + 1] == '\0';
}

int twilio_check(const char *name, const struct twilio_cfg *t, struct err *e)
{
    if (!*t->account_sid ||
        t->account_sid[strspn(t->account_sid, "0123456789abcdefACabcdefABCDEF")])
        return err_set(e, -EINVAL, "%s: this is no account_sid", name);
    if (!is_number(t->to))
        return err_set(e, -EINVAL, "%s: to: a number as +4930123456 is expected", name);
    struct err why = {0};
    return check_http_url(name, t->api_url, &why) < 0
               ? err_set(e, -EINVAL, "%s: api_url%s", name, why.msg + strlen(name))
               : 0;
}

void twilio_destination(const void *cfg, struct buf *out)
{
    const struct twilio_cfg *t = cfg;

    canonical_url(t->api_url, out);
    buf_printf(out, " %s %s", t->account_sid, t->to);
}

void twilio_place(const void *cfg, struct buf *out)
{
    const struct twilio_cfg *t = cfg;

    buf_printf(out, "%s at ", t->to);
    host_of_url(t->api_url, out);
}

static const char *authorization(const struct twilio_cfg *t, struct arena *a)
{
    const char *pair = arena_printf(a, "%s:%s", t->account_sid, t->auth_token);
    size_t len = pair ? strlen(pair) : 0;
    char *encoded = pair ? arena_alloc(a, 1, 4 * ((len + 2) / 3) + 1) : NULL;

    if (!encoded)
        return NULL;
    (void)base64_encode(pair, len, encoded);
    return arena_printf(a, "Basic %s", encoded);
}

static struct slice form(const struct twilio_field *fields, struct arena *a)
{
    CLEANUP(buf_release) struct buf out = BUF_INIT(FORM_MAX);

    for (size_t i = 0; fields[i].name; i++) {
        if (!fields[i].value || !*fields[i].value)
            continue;
        buf_printf(&out, "%s%s=", out.len ? "&" : "", fields[i].name);
        url_encode(&out, slice_of(fields[i].value));
    }
    return out.failed ? (struct slice){0} : arena_slice(a, (struct slice){out.p, out.len});
}

static int post(const char *name, const struct twilio_cfg *t, const char *resource,
                const struct twilio_field *fields, struct arena *a, struct request *ret,
                struct err *e)
{
    size_t len = strlen(t->api_url);
    struct header *headers = arena_array(a, 2, struct header);
    const char *auth = authorization(t, a);

    while (len > 0 && t->api_url[len - 1] == '/')
        len--;
    *ret = (struct request){.url = arena_printf(a, "%.*s/2010-04-01/Accounts/%s/%s.json", (int)len,
                                                t->api_url, t->account_sid, resource),
                            .method = "POST",
                            .headers = headers,
                            .header_n = 2,
                            .body = form(fields, a)};
    if (!headers || !auth || !ret->url || !ret->body.p)
        return err_set(e, -ENOMEM, "%s: the message does not fit in its memory", name);
    headers[0] = (struct header){"Content-Type", "application/x-www-form-urlencoded"};
    headers[1] = (struct header){"Authorization", auth};
    return 0;
}

static const char *words(const json_t *doc, struct arena *a)
{
    const json_t *code = json_object_get(doc, "code");
    const char *message = json_string_value(json_object_get(doc, "message"));
    const char *status = json_string_value(json_object_get(doc, "status"));
    const char *sid = json_string_value(json_object_get(doc, "sid"));

    if (json_is_integer(code) && message)
        return arena_printf(a, "%lld %s", (long long)json_integer_value(code),
                            text_line(a, slice_of(message), 280));
    return sid && status ? text_line(a, slice_of(arena_printf(a, "%s %s", status, sid)), 280)
                         : NULL;
}

/* Taken is not heard: what becomes of it comes later, by a callback, where one was asked for. */
static bool was_taken(const json_t *doc)
{
    const char *status = json_string_value(json_object_get(doc, "status"));

    return json_is_string(json_object_get(doc, "sid")) &&
           !json_is_integer(json_object_get(doc, "error_code")) &&
           !(status && strcmp(status, "failed") == 0);
}

static struct outcome classify(const struct response *r, struct arena *a)
{
    struct outcome out = classify_http(r, a);
    const json_t *doc = answer_json(r, a);
    const char *own = doc ? words(doc, a) : NULL;

    if (own)
        out.words = own;
    if (json_integer_value(json_object_get(doc, "code")) == TOO_MANY_REQUESTS) {
        out.verdict = VERDICT_RETRY;
        out.limited = true;
    }
    if (out.verdict == VERDICT_DELIVERED && !was_taken(doc))
        out.verdict = json_is_string(json_object_get(doc, "sid")) ? VERDICT_REJECT : VERDICT_RETRY;
    return out;
}

static bool callback_refused(const struct response *r, struct arena *a)
{
    static const json_int_t codes[] = {21502, 21609, 21626};
    const json_int_t code = json_integer_value(json_object_get(answer_json(r, a), "code"));

    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++)
        if (code == codes[i])
            return true;
    return false;
}

static const char *asked_for(const struct step_input *in)
{
    return json_string_value(json_object_get(in->notification->data, "twilio_status_url"));
}

const char *twilio_status_url(const struct step_input *in)
{
    return in->past_n == 0 ? asked_for(in) : NULL;
}

int twilio_step(const char *name, const char *resource, const struct twilio_field *fields,
                const struct step_input *in, struct arena *a, struct step *ret, struct err *e)
{
    const struct response *last = in->past_n > 0 ? &in->past[in->past_n - 1].response : NULL;

    *ret = (struct step){.done = last &&
                                 !(in->past_n == 1 && asked_for(in) && callback_refused(last, a))};
    if (!ret->done)
        return post(name, in->cfg, resource, fields, a, &ret->request, e);
    ret->outcome = classify(last, a);
    return 0;
}
