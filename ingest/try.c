#include "ingest/try.h"

#include <errno.h>
#include <strings.h>

#include "common/alert_json.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/form.h"
#include "common/json.h"
#include "ingest/door.h"

#define HEADERS_MAX 64
#define FORM "application/x-www-form-urlencoded"

/* ---- the request ---- */

struct request {
    struct slice method, path, query; /* of its first line; empty: there is none */
    const char *names[HEADERS_MAX], *values[HEADERS_MAX];
    size_t n;
    struct slice body;
    struct form said;   /* in the query */
    struct form params; /* of the route's pattern */
};

static const char *header(const struct hook *h, const char *name)
{
    const struct request *r = h->transport;
    for (size_t i = 0; i < r->n; i++)
        if (strcasecmp(r->names[i], name) == 0)
            return r->values[i];
    return NULL;
}

static const char *field(const struct form *f, const char *name)
{
    for (size_t i = 0; i < f->n; i++)
        if (slice_is(f->v[i].name, name))
            return f->v[i].value.p;
    return NULL;
}

static const char *query(const struct hook *h, const char *name)
{
    const struct request *r = h->transport;
    return field(&r->said, name);
}

static const char *param(const struct hook *h, const char *name)
{
    const struct request *r = h->transport;
    return field(&r->params, name);
}

/* The line that `rest` begins with, without its end. */
static struct slice cut_line(struct slice *rest)
{
    const char *end = memchr(rest->p, '\n', rest->len);
    const size_t n = end ? (size_t)(end - rest->p) : rest->len;
    struct slice line = {rest->p, n};
    *rest = (struct slice){rest->p + n + (end != NULL), rest->len - n - (end != NULL)};
    if (line.len > 0 && line.p[line.len - 1] == '\r')
        line.len--;
    return line;
}

/* "Name: value" */
static bool add_header(struct request *r, struct slice line, struct arena *a)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    const char *colon = memchr(line.p, ':', line.len);
    const size_t n = colon ? (size_t)(colon - line.p) : 0;
    char *name = arena_strndup(a, line.p, n);
    char *value = n > 0 ? arena_strndup(a, colon + 1, line.len - n - 1) : NULL;
    if (!name || !value || strspn(name, allowed) != n || r->n == HEADERS_MAX)
        return false;
    r->names[r->n] = name;
    r->values[r->n++] = value + strspn(value, " \t");
    return true;
}

/* Up to `end`, which goes, too; all of it where there is none. */
static struct slice cut_word(struct slice *rest, char end)
{
    const char *at = rest->len > 0 ? memchr(rest->p, end, rest->len) : NULL;
    const size_t n = at ? (size_t)(at - rest->p) : rest->len;
    const struct slice word = {rest->p, n};
    *rest = (struct slice){rest->p + n + (at != NULL), rest->len - n - (at != NULL)};
    return word;
}

/* "POST /v2/enqueue?a=b HTTP/1.1" */
static bool add_request_line(struct request *r, struct slice line)
{
    static const char version[] = " HTTP/1.1";
    const size_t n = sizeof(version) - 1;
    if (line.len <= n || memcmp(line.p + line.len - n, version, n) != 0)
        return false;
    struct slice target = {line.p, line.len - n};
    r->method = cut_word(&target, ' ');
    r->path = cut_word(&target, '?');
    r->query = target;
    return true;
}

/* Header lines up to an empty one, if it has them; else all of it is the body. */
static void split(struct slice text, struct arena *a, struct request *ret)
{
    struct slice rest = text, line = cut_line(&rest);
    *ret = (struct request){.body = text};
    const bool begun = add_request_line(ret, line);
    if (begun)
        line = cut_line(&rest);
    while (line.len > 0 && add_header(ret, line, a))
        line = cut_line(&rest);
    if (line.len == 0 && (begun || ret->n > 0))
        ret->body = rest;
    else
        ret->n = 0;
}

/* The words of a path by those of a pattern; what stands for a {name} into `params`. */
static bool matches(struct slice pattern, struct slice path, struct arena *a, struct form *params)
{
    params->n = 0;
    while (pattern.len > 0 && path.len > 0 && params->n < FORM_FIELDS_MAX) {
        const struct slice word = cut_word(&pattern, '/'), given = cut_word(&path, '/');
        if (word.len > 2 && word.p[0] == '{')
            params->v[params->n++] =
                (struct form_field){{word.p + 1, word.len - 2}, arena_slice(a, given)};
        else if (!slice_eq(word, given))
            return false;
    }
    return pattern.len == 0 && path.len == 0;
}

static const struct source_route *route_of(struct request *r, const struct source *type,
                                           struct arena *a)
{
    for (const struct source_route *route = type->routes; route && route->method; route++)
        if (slice_is(r->method, route->method) &&
            matches(slice_of(route->pattern), r->path, a, &r->params))
            return route;
    r->params.n = 0;
    return NULL;
}

static bool is_json(struct slice body)
{
    const struct json_limits any = {.max_depth = JSON_DEPTH_MAX};
    struct err e;
    return json_scan(body, &any, &e) == 0;
}

static struct hook make_hook(struct request *r, const struct source *type, struct arena *a)
{
    struct err e;
    struct hook h = {.route = route_of(r, type, a),
                     .param = param,
                     .header = header,
                     .query = query,
                     .body = r->body,
                     .transport = r};
    if (form_parse_query(r->query, a, &r->said, &e) < 0)
        r->said.n = 0;
    const bool bare = r->body.len > 0 && r->body.p[0] == '?';
    if (type->takes_gets && (bare || slice_is(r->method, "GET"))) {
        h.is_get = true;
        h.query_string = bare ? (struct slice){r->body.p + 1, r->body.len - 1} : r->query;
        while (h.query_string.len > 0 && strchr("\r\n", h.query_string.p[h.query_string.len - 1]))
            h.query_string.len--;
        h.body = (struct slice){"", 0};
    } else if (type->takes_forms && r->n == 0 && !is_json(r->body)) {
        r->names[r->n] = "Content-Type";
        r->values[r->n++] = FORM;
    }
    return h;
}

/* ---- what comes of it ---- */

static json_t *text(struct slice s)
{
    json_t *t = json_stringn(s.p ? s.p : "", s.len);
    return t ? t : json_string("(no text)");
}

static json_t *reply_tree(struct slice reply)
{
    json_t *tree = reply.len > 0 ? json_loadb(reply.p, reply.len, JSON_DECODE_ANY, NULL) : NULL;
    return tree ? tree : text(reply);
}

static json_t *answer_tree(unsigned status, struct slice reply)
{
    return json_pack("{s:i, s:o}", "status", status, "body", reply_tree(reply));
}

static json_t *refusal_tree(const struct entrance *in)
{
    return json_pack("{s:b, s:i, s:s, s:s, s:o*}", "accepted", false, "status", in->status, "code",
                     in->code, "reason", in->why.msg, "answer",
                     in->own_words ? reply_tree(in->filing.reply) : NULL);
}

static json_t *record_tree(const struct entrance *in, const struct settings *s)
{
    const struct spool_record *r = &in->record;
    json_t *headers = json_object();
    for (size_t i = 0; i < r->header_n; i++)
        (void)json_object_set_new(headers, r->headers[i].name, text(r->headers[i].value));
    json_t *o = json_pack("{s:o, s:o, s:o}", "topic",
                          json_sprintf("%s.%.*s", s->kafka.topic_prefix, SLICE_FMT(r->topic)),
                          "key", r->key.p ? text(r->key) : json_null(), "headers", headers);
    if (in->filing.body.p) /* else what was posted */
        (void)json_object_set_new(o, "stored", reply_tree(in->filing.body));
    return o;
}

/* As the processor does. */
static int decode(const struct source_entry *entry, const struct spool_record *stored,
                  const struct settings *s, struct arena *a, json_t *ret)
{
    struct record r;
    struct alert_list list = {0};
    struct err e = {0};
    int rc = record_parse(stored->headers, stored->header_n, stored->value, a, &r, &e);
    if (rc == 0)
        rc = entry->type->decode(entry->cfg, &r, &s->limits, a, &list, &e);
    if (rc < 0)
        return json_object_set_new(ret, "dead", json_string(e.msg)) < 0 ? -ENOMEM : rc;
    json_t *alerts = json_array();
    for (size_t i = 0; i < list.n && rc == 0; i++)
        rc = json_array_append_new(alerts, alert_event_json(&list.v[i], r.tenant));
    if (list.delivery_id.len > 0)
        (void)json_object_set_new(ret, "delivery_id", text(list.delivery_id));
    return json_object_set_new(ret, "alerts", alerts) < 0 || rc < 0 ? -ENOMEM : 0;
}

static json_t *tried(const struct source_entry *entry, const struct hook *h,
                     const struct settings *s, struct arena *a, bool *ret_good)
{
    const int64_t now = clock_now_ms();
    const struct uuid id = uuid7_new(now);
    struct entrance in;
    door_enter_known(entry, h, s, now, &id, a, &in);
    if (in.status != 0)
        return refusal_tree(&in);
    json_t *o = json_pack("{s:b, s:o, s:o}", "accepted", true, "answer",
                          answer_tree(in.filing.status, door_reply(&in.filing, &id, a)), "record",
                          record_tree(&in, s));
    if (in.filing.act.url) /* before that answer; not now */
        (void)json_object_set_new(o, "fetches", text(slice_of(in.filing.act.url)));
    *ret_good = o && decode(entry, &in.record, s, a, o) == 0;
    return o;
}

/* ---- in and out ---- */

static int fclose_unless_stdin(FILE *f)
{
    return f == stdin ? 0 : fclose(f);
}

static int read_all(const char *file, struct buf *b)
{
    char chunk[65536];
    size_t n = 0;
    FILE *f = strcmp(file, "-") == 0 ? stdin : fopen(file, "re");
    int rc = f ? 0 : -errno;
    while (f && !b->failed && (n = fread(chunk, 1, sizeof(chunk), f)) > 0)
        buf_add(b, chunk, n);
    if (f && ferror(f))
        rc = -EIO;
    if (f)
        (void)fclose_unless_stdin(f);
    if (rc < 0)
        (void)fprintf(stderr, "cannot read %s: %s\n", file, strerror(-rc));
    return rc;
}

static int print(json_t *o, FILE *out)
{
    const bool ok = o && json_dumpf(o, out, JSON_INDENT(2)) == 0 && fputc('\n', out) == '\n';
    json_decref(o);
    if (!ok)
        (void)fprintf(stderr, "out of memory\n");
    return ok ? 0 : -ENOMEM;
}

int try_source(const struct settings *s, const struct source_entries *entries, const char *name,
               const char *file, FILE *out)
{
    const struct source_entry *entry = source_entry_find(entries, slice_of(name));
    CLEANUP(buf_release) struct buf b = BUF_INIT(s->ingest.max_body);
    CLEANUP(arena_free) struct arena *a = arena_new(4 * s->ingest.max_body + ((size_t)1 << 20));
    struct request r;
    bool good = false;
    if (!entry || !a) {
        (void)fprintf(stderr, "there is no source %s under `sources:`\n", name);
        return 1;
    }
    if (read_all(file, &b) < 0)
        return 1;
    if (b.failed) {
        (void)fprintf(stderr, "%s is larger than ingest.max_body: the answer would be 413\n", file);
        return 1;
    }
    split((struct slice){buf_str(&b), b.len}, a, &r);
    const struct hook h = make_hook(&r, entry->type, a);
    const int rc = print(tried(entry, &h, s, a, &good), out);
    return rc == 0 && good ? 0 : 1;
}
