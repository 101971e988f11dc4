/*
 * Short messages by Aliyun. The text is a template that Aliyun has approved; we fill its variables,
 * of which each takes a line without an address. HTTP 200 says nothing: the verdict is `Code`.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "notifier/aliyun.h"
#include "notifier/channel.h"

#define NUMBERS_MAX 1000
#define LIMIT_WAIT                                                                                 \
    (10 * MS_MINUTE) /* the limits are of a minute, an hour, a day; it does not say */
#define VALUE_BYTES 1024

struct variable {
    const char *name;
    struct template *value;
};

struct aliyun_sms_cfg {
    const char *api_url, *access_key_id, *access_key_secret, *sign_name, *template_code;
    struct conf_strs to;
    uint32_t variable_max;
    struct variable *variables; /* made from template_params */
    size_t variable_n;
};

#define T struct aliyun_sms_cfg
static const struct conf_key keys[] = {
    CONF(T, api_url, CONF_STR, "https://dysmsapi.aliyuncs.com", 0, "API of Aliyun"),
    CONF(T, access_key_id, CONF_STR, NULL, CONF_REQUIRED, "of a user that may send"),
    CONF(T, access_key_secret, CONF_STR, NULL, CONF_SECRET | CONF_REQUIRED, "its secret"),
    CONF(T, sign_name, CONF_STR, NULL, CONF_REQUIRED, "the approved signature"),
    CONF(T, template_code, CONF_STR, NULL, CONF_REQUIRED, "the approved template, SMS_..."),
    CONF(T, to, CONF_STRS, NULL, CONF_REQUIRED, "telephone numbers"),
    CONF(T, variable_max, CONF_U32, "35", 0, "characters of a variable's value"),
    CONF_END,
};
#undef T

static const char *const trees[] = {"template_params", NULL};

static const char *const defaults[][2] = {
    {"severity", "{{severity_word}}"},
    {"title", "{{title}}"},
    {"service", "{{service}}"},
    {"status",
     "{{#resolved}}{{word.resolved}}{{/resolved}}{{^resolved}}{{word.alert}}{{/resolved}}"},
    {"time", "{{time}}"},
};
#define DEFAULTS (sizeof(defaults) / sizeof(*defaults))

static void free_template(void *t)
{
    template_free(t);
}

static int add_variable(struct aliyun_sms_cfg *s, const struct check_input *in, const char *name,
                        const char *text, struct err *e)
{
    struct template *t = template_compile(text, e);

    if (!t)
        return err_wrap(e, "aliyun_sms: template_params.%s", name);
    s->variables[s->variable_n++] = (struct variable){name, t};
    return conf_defer(in->conf, free_template, t) < 0
               ? err_set(e, -ENOMEM, "aliyun_sms: out of memory")
               : 0;
}

static int load_variables(struct aliyun_sms_cfg *s, const struct check_input *in, struct err *e)
{
    const struct yaml *map = yaml_get(in->node, "template_params");
    size_t n = map ? yaml_count(map) : DEFAULTS;
    int r = 0;

    if (map && yaml_kind(map) != YAML_MAP)
        return yaml_err(map, e, "template_params: a map is expected");
    s->variable_n = 0;
    s->variables = conf_alloc(in->conf, n + 1, sizeof(*s->variables));
    if (!s->variables)
        return err_set(e, -ENOMEM, "aliyun_sms: out of memory");
    for (size_t i = 0; i < n && r == 0; i++) {
        const char *text = map ? yaml_scalar(yaml_at(map, i)) : defaults[i][1];
        if (!text)
            return yaml_err(yaml_at(map, i), e, "template_params: a text is expected");
        r = add_variable(s, in, map ? yaml_key(map, i) : defaults[i][0], text, e);
    }
    return r;
}

/* "13800000000", "+86138..." or "0049...". */
static bool is_number(const char *s)
{
    size_t skip = *s == '+', digits = strspn(s + skip, "0123456789");

    return digits >= 5 && digits <= 20 && s[skip + digits] == '\0';
}

static int check(void *cfg, const struct check_input *in, struct err *e)
{
    struct aliyun_sms_cfg *s = cfg;

    if (!*s->access_key_id || !*s->access_key_secret || !*s->sign_name || !*s->template_code)
        return err_set(e, -EINVAL,
                       "aliyun_sms: access_key_id, access_key_secret, sign_name and template_code "
                       "are needed");
    if (s->to.n == 0 || s->to.n > NUMBERS_MAX)
        return err_set(e, -EINVAL, "aliyun_sms: to: one to %d numbers are expected", NUMBERS_MAX);
    for (size_t i = 0; i < s->to.n; i++)
        if (!is_number(s->to.v[i]))
            return err_set(e, -EINVAL, "aliyun_sms: to: a telephone number is expected");
    if (s->variable_max < 1 || s->variable_max > 500)
        return err_set(e, -EINVAL, "aliyun_sms: variable_max: 1 to 500 is expected");
    int r = load_variables(s, in, e);
    return r < 0 ? r : check_http_url("aliyun_sms: api_url", s->api_url, e);
}

static void put_numbers(const struct aliyun_sms_cfg *s, const char *between, struct buf *out)
{
    for (size_t i = 0; i < s->to.n; i++)
        buf_printf(out, "%s%s", i ? between : "", s->to.v[i]);
}

static void destination(const void *cfg, struct buf *out)
{
    const struct aliyun_sms_cfg *s = cfg;

    canonical_url(s->api_url, out);
    buf_printf(out, " %s ", s->access_key_id);
    put_numbers(s, ",", out);
}

static void place(const void *cfg, struct buf *out)
{
    const struct aliyun_sms_cfg *s = cfg;

    put_numbers(s, ", ", out);
    buf_puts(out, " at ");
    host_of_url(s->api_url, out);
}

static bool is_address(struct slice word)
{
    return memmem(word.p, word.len, "://", 3) || (word.len > 4 && memcmp(word.p, "www.", 4) == 0);
}

/* A message whose variables hold an address or brackets of its own kind of signature is refused,
 * and so is an empty one. */
static const char *fit_value(struct slice text, uint32_t max, struct arena *a)
{
    CLEANUP(buf_release) struct buf out = BUF_INIT(VALUE_BYTES + 16);
    const char *line = text_line(a, text, VALUE_BYTES);

    if (!line)
        return NULL;
    while (*line) {
        size_t len = strcspn(line, " ");
        if (!is_address((struct slice){line, len})) {
            if (out.len)
                buf_putc(&out, ' ');
            buf_add(&out, line, len);
        }
        line += len;
        line += strspn(line, " ");
    }
    const char *kept = buf_str(&out);
    kept = text_cut(a, slice_of(*kept ? kept : "-"), max, UNIT_UTF16, "…");
    char *value = kept ? arena_strndup(a, kept, strlen(kept)) : NULL;
    /* They differ in their last byte only. */
    for (char *p = value; p && (p = strstr(p, "【"));)
        p[2] = "「"[2];
    for (char *p = value; p && (p = strstr(p, "】"));)
        p[2] = "」"[2];
    return value;
}

static const char *variables_json(const struct aliyun_sms_cfg *s, const json_t *data,
                                  struct arena *a)
{
    json_t *doc = json_object();
    bool whole = doc != NULL;

    for (size_t i = 0; i < s->variable_n && whole; i++) {
        const struct variable *v = &s->variables[i];
        struct slice text = {0};
        text.p = template_render(v->value, data, ESCAPE_NONE, a, &text.len);
        const char *value = text.p ? fit_value(text, s->variable_max, a) : NULL;
        whole = value && json_object_set_new(doc, v->name, json_string(value)) == 0;
    }
    if (whole)
        return json_bytes(doc, a).p;
    json_decref(doc);
    return NULL;
}

/* Never the same for two requests: each attempt has its time. */
static const char *nonce(const struct notification *n, struct arena *a)
{
    return arena_printf(a, "%s-%lld", n->id, (long long)n->now);
}

/* "2026-01-02T03:04:05Z" */
static const char *timestamp(int64_t now, struct arena *a)
{
    char text[RFC3339_MAX];

    return arena_printf(a, "%.19sZ", rfc3339_format(now, text));
}

static const char *numbers(const struct aliyun_sms_cfg *s, struct arena *a)
{
    CLEANUP(buf_release) struct buf out = BUF_INIT((size_t)32 << 10);

    put_numbers(s, ",", &out);
    return out.failed ? NULL : arena_strndup(a, buf_str(&out), out.len);
}

static int render(const void *cfg, const struct notification *n, struct arena *a,
                  struct request *ret, struct err *e)
{
    static const struct header headers[] = {{"Content-Type", "application/x-www-form-urlencoded"}};
    const struct aliyun_sms_cfg *s = cfg;
    struct aliyun_field fields[] = {
        {"AccessKeyId", s->access_key_id},
        {"Action", "SendSms"},
        {"Format", "JSON"},
        {"OutId", n->id},
        {"PhoneNumbers", numbers(s, a)},
        {"RegionId", "cn-hangzhou"},
        {"SignName", s->sign_name},
        {"SignatureMethod", "HMAC-SHA1"},
        {"SignatureNonce", nonce(n, a)},
        {"SignatureVersion", "1.0"},
        {"TemplateCode", s->template_code},
        {"TemplateParam", variables_json(s, n->data, a)},
        {"Timestamp", timestamp(n->now, a)},
        {"Version", "2017-05-25"},
    };
    const size_t count = sizeof(fields) / sizeof(*fields);
    bool whole = true;

    for (size_t i = 0; i < count; i++)
        whole = whole && fields[i].value;
    *ret = (struct request){
        .url = s->api_url,
        .method = "POST",
        .headers = headers,
        .header_n = 1,
        .body = whole ? aliyun_signed("POST", fields, count, s->access_key_secret, a)
                      : (struct slice){0}};
    return ret->body.len
               ? 0
               : err_set(e, -ENOMEM, "aliyun_sms: the message does not fit in its memory");
}

static bool is_one_of(const char *code, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(*list, code) == 0)
            return true;
    return false;
}

static enum verdict by_code(const char *code, struct outcome *out)
{
    static const char *const busy[] = {"isp.SYSTEM_ERROR",   "isp.GATEWAY_ERROR", "isp.UNKNOWN",
                                       "ServiceUnavailable", "InternalError",     NULL};

    if (strcmp(code, "OK") == 0)
        return VERDICT_DELIVERED;
    out->limited = strstr(code, "BUSINESS_LIMIT") || strncmp(code, "Throttling", 10) == 0;
    if (strstr(code, "BUSINESS_LIMIT"))
        out->wait_ms = LIMIT_WAIT;
    return out->limited || is_one_of(code, busy) ? VERDICT_RETRY : VERDICT_REJECT;
}

static struct outcome classify(const void *cfg, const struct response *r, struct arena *a)
{
    struct outcome out = classify_http(r, a);
    const json_t *doc = answer_json(r, a);
    const char *code = json_string_value(json_object_get(doc, "Code"));
    const char *message = json_string_value(json_object_get(doc, "Message"));

    (void)cfg;
    if (code && message)
        out.words = text_line(a, slice_of(arena_printf(a, "%s %s", code, message)), 300);
    if (!out.words)
        out.words = "";
    if (r->status < 500 && code)
        out.verdict = by_code(code, &out);
    else if (out.verdict == VERDICT_DELIVERED)
        out.verdict = VERDICT_RETRY; /* a body without a code is nobody's yes */
    return out;
}

const struct channel channel_aliyun_sms = {
    .name = "aliyun_sms",
    .summary = "Short messages by Aliyun",
    .cfg_size = sizeof(struct aliyun_sms_cfg),
    .keys = keys,
    .trees = trees,
    .for_programs = true, /* variables have no room for a list: what is over the rate waits */
    .send_resolved = true,
    .unit = UNIT_SMS,
    .locale = "zh-CN",
    .max_per_minute = 10,
    .burst = 5,
    .check = check,
    .destination = destination,
    .place = place,
    .render = render,
    .classify = classify,
};
