#include "ingest/door.h"

#include <errno.h>
#include <strings.h>

#include "common/json.h"

#define KEPT_MAX 32
#define CONTENT_TYPE_MAX 256

static void refuse(struct entrance *in, unsigned status, const char *code)
{
    in->status = status;
    in->code = code;
}

/* In the sender's own form, when its API has one and did not word this refusal already. */
static void own_words(const struct source *type, struct arena *a, struct entrance *in)
{
    if (in->filing.reply.p || !type->refuse) {
        in->own_words = in->filing.reply.p != NULL;
        return;
    }
    in->filing.status = in->status;
    in->own_words = type->refuse(in->status, in->why.msg, a, &in->filing);
    in->status = in->filing.status;
}

static enum auth verify(const struct source_entry *entry, const struct hook *h, int64_t now_ms)
{
    return entry->type->verify ? entry->type->verify(entry->cfg, h, now_ms)
                               : source_verify_common(entry->cfg, h);
}

const struct source_entry *door_choose(const struct source_entries *all, const struct source *type,
                                       const struct hook *h, int64_t now_ms)
{
    const struct source_entry *open = NULL, *refuses = NULL;
    for (size_t i = 0; i < all->n; i++) {
        const struct source_entry *entry = &all->v[i];
        if (entry->type != type)
            continue;
        if (!source_entry_guarded(entry))
            open = open ? open : entry;
        else if (verify(entry, h, now_ms) == AUTH_OK)
            return entry;
        else
            refuses = refuses ? refuses : entry;
    }
    return open ? open : refuses;
}

/* As far as can be said before what it wants was fetched. */
static enum auth judge(const struct source_entry *entry, const struct hook *h, int64_t now_ms,
                       struct fetch *ret_wants)
{
    if (entry->type->wants && !h->fetched.p) {
        enum auth auth = entry->type->wants(entry->cfg, h, now_ms, ret_wants);
        if (auth != AUTH_OK || ret_wants->url)
            return auth;
    }
    return verify(entry, h, now_ms);
}

static bool admit(const struct source_entry *entry, enum auth auth, struct entrance *in)
{
    switch (auth) {
    case AUTH_OK:
        return true;
    case AUTH_MISSING:
        (void)err_set(&in->why, -EACCES,
                      "source %s wants a credential or signature, and there is none", entry->name);
        break;
    case AUTH_BAD:
        (void)err_set(&in->why, -EACCES, "the credential or signature is not that of source %s",
                      entry->name);
        break;
    }
    refuse(in, 401, auth == AUTH_MISSING ? "unauthenticated" : "wrong_signature");
    return false;
}

int door_unpacked(const char *encoding, struct err *e)
{
    if (!encoding || !*encoding || strcasecmp(encoding, "identity") == 0)
        return 0;
    return err_set(e, -EOPNOTSUPP, "Content-Encoding %.40s is not read: send the body as it is",
                   encoding);
}

static bool readable(const struct hook *h, struct entrance *in)
{
    if (door_unpacked(h->header(h, "Content-Encoding"), &in->why) == 0)
        return true;
    refuse(in, 415, "unsupported_encoding");
    return false;
}

static bool acceptable(const struct source_entry *entry, const struct hook *h,
                       const struct settings *s, int64_t now_ms, struct arena *a,
                       struct entrance *in)
{
    const struct json_limits depth = {.max_depth = s->ingest.max_depth};
    struct hook as_json = *h;
    int rc = source_body(entry->type, h, a, &as_json.body, &in->why);
    if (rc == 0)
        rc = json_scan(as_json.body, &depth, &in->why);
    if (rc == 0)
        rc =
            entry->type->accept(entry->cfg, &as_json, &s->limits, now_ms, a, &in->filing, &in->why);
    if (rc == 0 && as_json.body.p != h->body.p && !in->filing.body.p)
        in->filing.body = as_json.body;
    if (rc == 0 && in->filing.alerts > s->ingest.max_alerts)
        rc = err_set(&in->why, -E2BIG, "%zu alerts; %u are the most in one request",
                     in->filing.alerts, s->ingest.max_alerts);
    if (rc == 0)
        return true;
    if (rc == -E2BIG)
        refuse(in, 413, "too_large");
    else
        refuse(in, in->filing.status >= 400 ? in->filing.status : 400, "bad_request");
    return false;
}

/* 55 characters of hex and dashes; anything else is not passed on. */
static struct slice traceparent(const struct hook *h)
{
    struct slice s = slice_of(h->header(h, "traceparent"));
    if (s.len != 55 || strspn(s.p, "0123456789abcdef-") != s.len)
        return (struct slice){0};
    return s;
}

/* Of what is stored: a body that is not the sender's is our JSON. */
static struct slice content_type(const struct hook *h, const struct filing *f)
{
    if (f->body.p)
        return SLICE_LIT("application/json");
    struct slice s = slice_of(h->header(h, "Content-Type"));
    return s.len <= CONTENT_TYPE_MAX ? s : (struct slice){0};
}

static int make_record(const struct source_entry *entry, const struct hook *h, int64_t now_ms,
                       const struct uuid *id, struct arena *a, struct entrance *in)
{
    const struct source_common *common = entry->cfg;
    struct kafka_header kept[KEPT_MAX];
    struct record r = {.tenant = slice_of(common->tenant),
                       .source = slice_of(entry->name),
                       .content_type = content_type(h, &in->filing),
                       .traceparent = traceparent(h),
                       .request_id = *id,
                       .received_at = now_ms,
                       .headers = kept};
    for (const char *const *name = entry->type->keep_headers; name && *name; name++) {
        const char *value = h->header(h, *name);
        if (value && r.header_n < KEPT_MAX)
            kept[r.header_n++] = (struct kafka_header){*name, slice_of(value)};
    }
    const char *topic = arena_printf(a, "raw.%s", entry->type->name);
    int rc = topic ? record_headers(&r, a, &in->record.headers, &in->record.header_n) : -ENOMEM;
    if (rc < 0)
        return err_set(&in->why, rc, "the request needs more memory than one may");
    in->record.topic = slice_of(topic);
    in->record.key = in->filing.partition_key;
    in->record.value = in->filing.body.p ? in->filing.body : h->body;
    in->record.at = now_ms;
    return 0;
}

void door_enter(const struct source_entry *entry, const struct hook *h, const struct settings *s,
                int64_t now_ms, const struct uuid *id, struct arena *a, struct entrance *ret)
{
    struct hook own = *h;
    own.a = a;
    *ret = (struct entrance){0};
    const bool known = admit(entry, judge(entry, &own, now_ms, &ret->wants), ret);
    if (!known)
        own_words(entry->type, a, ret);
    else if (!ret->wants.url)
        door_enter_known(entry, h, s, now_ms, id, a, ret);
}

void door_enter_known(const struct source_entry *entry, const struct hook *h,
                      const struct settings *s, int64_t now_ms, const struct uuid *id,
                      struct arena *a, struct entrance *ret)
{
    struct hook known = *h;
    known.entry = entry->name;
    known.id = *id;
    known.a = a;
    *ret = (struct entrance){0};
    if (!readable(h, ret) || !acceptable(entry, &known, s, now_ms, a, ret)) {
        own_words(entry->type, a, ret);
        return;
    }
    if (make_record(entry, h, now_ms, id, a, ret) < 0)
        refuse(ret, 413, "too_large");
}

void door_show(const struct source_entry *entry, const struct hook *h, int64_t now_ms,
               struct arena *a, struct entrance *ret)
{
    struct hook own = *h;
    own.a = a;
    *ret = (struct entrance){0};
    if (!admit(entry, verify(entry, &own, now_ms), ret))
        own_words(entry->type, a, ret);
}

struct slice door_reply(const struct filing *f, const struct uuid *id, struct arena *a)
{
    if (!f->default_reply)
        return f->reply;
    char text[UUID_STR];
    const char *reply = arena_printf(a, "{\"status\":\"accepted\",\"%s\":\"%s\"%s%.*s}\n",
                                     f->id_name ? f->id_name : "request_id", uuid_format(id, text),
                                     f->members.len > 0 ? "," : "", SLICE_FMT(f->members));
    return slice_of(reply);
}
