#include "notifier/channel.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "common/json.h"
#include "common/notification.h"

#define WORDS_MAX 300

#define CHANNEL(name) extern const struct channel channel_##name;
#include "common/channels.def"
#undef CHANNEL

static const struct channel *const all[] = {
#define CHANNEL(name) &channel_##name,
#include "common/channels.def"
#undef CHANNEL
};

enum {
#define CHANNEL(name) NUMBER_OF_##name,
#include "common/channels.def"
#undef CHANNEL
    CHANNELS
};

const struct channel *channel_at(size_t i)
{
    return i < CHANNELS ? all[i] : NULL;
}

const struct channel *channel_find(const char *name)
{
    for (size_t i = 0; i < CHANNELS; i++)
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    return NULL;
}

int channel_step(const struct channel *ch, const struct step_input *in, struct arena *a,
                 struct step *ret, struct err *e)
{
    if (ch->step)
        return ch->step(in, a, ret, e);
    if (in->past_n == 0) {
        *ret = (struct step){0};
        return ch->render(in->cfg, in->notification, a, &ret->request, e);
    }
    const struct response *r = &in->past[in->past_n - 1].response;
    *ret = (struct step){.done = true};
    ret->outcome = ch->classify ? ch->classify(in->cfg, r, a) : classify_http(r, a);
    return 0;
}

const char *answer_words(const struct response *r, struct arena *a)
{
    const char *words = text_line(a, r->body, WORDS_MAX);

    if (words && *words)
        return words;
    if (r->status == 0)
        return r->transport;
    words = arena_printf(a, "status %d", r->status);
    return words ? words : "";
}

struct outcome classify_http(const struct response *r, struct arena *a)
{
    struct outcome out = {.words = answer_words(r, a)};

    if (r->retry_after_ms > 0)
        out.wait_ms = r->retry_after_ms;
    if (r->forbidden) {
        out.verdict = VERDICT_REJECT;
        return out;
    }
    switch (r->status) {
    case 0:
    case 408:
    case 425:
        out.verdict = VERDICT_RETRY;
        break;
    case 429:
        out.verdict = VERDICT_RETRY;
        out.limited = true;
        break;
    default:
        if (r->status >= 200 && r->status <= 299)
            out.verdict = VERDICT_DELIVERED;
        else
            out.verdict = r->status >= 500 ? VERDICT_RETRY : VERDICT_REJECT;
    }
    return out;
}

const json_t *answer_json(const struct response *r, struct arena *a)
{
    static const struct json_limits limits = {.max_depth = 32};
    struct err e = {0};
    const json_t *doc =
        r->body.len && json_scan(r->body, &limits, &e) == 0 ? json_tree(r->body, a, &e) : NULL;

    return json_is_object(doc) ? doc : NULL;
}

static bool says(const struct notification *n, const char *name)
{
    return json_is_true(json_object_get(n->data, name));
}

static bool text_is(const struct notification *n, const char *name, const char *value)
{
    const char *s = json_string_value(json_object_get(n->data, name));

    return s && strcmp(s, value) == 0;
}

bool is_replaceable(const struct notification *n)
{
    return says(n, "is_incident") || says(n, "is_alerts");
}

bool is_ringing(const struct notification *n)
{
    return says(n, "firing") && !text_is(n, "reason", "status") &&
           !text_is(n, "reason", NOTIFICATION_SILENCE);
}

bool is_critical(const struct notification *n)
{
    return text_is(n, "severity", "critical");
}

static void free_tree(void *tree)
{
    json_decref(tree);
}

const json_t *json_owned(json_t *doc, struct arena *a)
{
    return doc && arena_defer(a, free_tree, doc) == 0 ? doc : NULL;
}

int post_json(const char *channel, const char *url, json_t *doc, struct arena *a,
              struct request *ret, struct err *e)
{
    static const struct header headers[] = {{"Content-Type", "application/json"}};

    *ret = (struct request){.url = url,
                            .method = "POST",
                            .headers = headers,
                            .header_n = 1,
                            .body = json_bytes(doc, a)};
    return ret->url && ret->body.len
               ? 0
               : err_set(e, -ENOMEM, "%s: the message does not fit in its memory", channel);
}

struct slice json_bytes(json_t *doc, struct arena *a)
{
    size_t len = doc ? json_dumpb(doc, NULL, 0, JSON_COMPACT) : 0;
    char *p = len ? arena_alloc(a, 1, len + 1) : NULL;
    struct slice s = {0};

    if (p && json_dumpb(doc, p, len, JSON_COMPACT) == len)
        s = (struct slice){p, len};
    json_decref(doc);
    return s;
}

int warn_foreign(struct conf *c, const struct yaml *node, const char *path,
                 const char *const *foreign)
{
    int r = 0;

    for (size_t i = 0; foreign && foreign[i] && r >= 0; i++) {
        const struct yaml *n = yaml_get(node, foreign[i]);
        if (n)
            r = conf_warn(c, n, "%s.%s has no effect here", path, foreign[i]);
    }
    return r < 0 ? r : 0;
}

void url_encode(struct buf *out, struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        const unsigned char c = (unsigned char)s.p[i];
        if (c < 0x80 && (isalnum(c) || (c && strchr("-._~", c))))
            buf_putc(out, (char)c);
        else
            buf_printf(out, "%%%02X", (unsigned)c);
    }
}

const char *joined_url(struct conf *c, const char *base, const char *rest)
{
    CLEANUP(buf_release) struct buf url = BUF_INIT((size_t)64 << 10);

    buf_printf(&url, "%s%s", base, rest);
    return url.failed ? NULL : conf_strdup(c, buf_str(&url));
}

int check_http_url(const char *channel, const char *url, struct err *e)
{
    const char *host = strstr(url, "://");

    if ((strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0) || !host ||
        host[3] == '\0' || host[3] == '/')
        return err_set(e, -EINVAL, "%s: an http or https URL is expected", channel);
    for (const char *p = url; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return err_set(e, -EINVAL, "%s: the URL contains a blank or control character",
                           channel);
    return 0;
}

void canonical_url(const char *url, struct buf *out)
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    const char *path = host + strcspn(host, "/?#");
    bool tls = strncasecmp(url, "https:", 6) == 0;
    const char *port = tls ? ":443" : ":80";
    size_t authority = (size_t)(path - host), port_len = strlen(port);

    if (authority > port_len && memcmp(path - port_len, port, port_len) == 0)
        authority -= port_len;
    for (const char *p = url; p < host + authority; p++)
        buf_putc(out, (char)tolower((unsigned char)*p));
    if (*path != '/')
        buf_putc(out, '/');
    buf_add(out, path, strcspn(path, "#"));
}

void host_of_url(const char *url, struct buf *out)
{
    const char *scheme = strstr(url, "://");
    const char *host = scheme ? scheme + 3 : url;
    const char *end = host + strcspn(host, "/?#");

    for (const char *p = host; p < end; p++)
        if (*p == '@') /* a name and a password stand before it */
            host = p + 1;
    for (; host < end; host++)
        buf_putc(out, (char)tolower((unsigned char)*host));
}
