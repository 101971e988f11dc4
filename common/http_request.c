#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/httpd_impl.h"

struct arena *http_arena(struct http_request *r)
{
    return r->arena;
}

const char *http_method(const struct http_request *r)
{
    return r->method;
}

const char *http_path(const struct http_request *r)
{
    return r->path;
}

static const char *pair_find(const struct http_pair *v, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strncmp(v[i].name, name, v[i].name_len) == 0 && name[v[i].name_len] == '\0')
            return v[i].value;
    return NULL;
}

const char *http_param(const struct http_request *r, const char *name)
{
    return pair_find(r->params, r->param_n, name);
}

const char *http_query(const struct http_request *r, const char *name)
{
    return pair_find(r->query, r->query_n, name);
}

struct slice http_query_string(const struct http_request *r)
{
    const char *mark = r->uri ? strchr(r->uri, '?') : NULL;

    return slice_of(mark ? mark + 1 : "");
}

struct slice http_query_other(const struct http_request *r, const char *const *known)
{
    for (size_t i = 0; i < r->query_n; i++) {
        const struct slice name = {r->query[i].name, r->query[i].name_len};
        size_t k = 0;
        while (known[k] && !slice_is(name, known[k]))
            k++;
        if (!known[k])
            return name;
    }
    return (struct slice){NULL, 0};
}

const char *http_header(const struct http_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->mc, MHD_HEADER_KIND, name);
}

struct slice http_body(const struct http_request *r)
{
    return (struct slice){buf_str(&r->body), r->body.len};
}

void http_set_max_body(struct http_request *r, size_t max)
{
    r->max_body = max;
}

const struct http_route *http_matched(const struct http_request *r)
{
    return r->route;
}

void http_set_data(struct http_request *r, void *data)
{
    r->data = data;
}

void *http_data(const struct http_request *r)
{
    return r->data;
}

/* --- answers --- */

bool http_answered(const struct http_request *r)
{
    return atomic_load_explicit(&r->answered, memory_order_acquire);
}

void http_reply_header(struct http_request *r, const char *name, const char *value)
{
    struct http_reply_header *h = arena_new_of(r->arena, struct http_reply_header);

    if (!h)
        return;
    h->name = arena_strndup(r->arena, name, strlen(name));
    h->value = arena_strndup(r->arena, value, strlen(value));
    if (!h->name || !h->value)
        return;
    h->next = r->reply_headers;
    r->reply_headers = h;
}

void http_defer(struct http_request *r)
{
    MHD_suspend_connection(r->mc);
    atomic_store_explicit(&r->deferred, true, memory_order_release);
}

void http_reply(struct http_request *r, unsigned status, const char *content_type, const void *body,
                size_t len)
{
    struct MHD_Connection *mc;
    bool deferred;
    void *bytes; /* the library copies them, yet asks for a pointer without const */

    if (http_answered(r)) /* and perhaps on its way already: hands off */
        return;
    deferred = atomic_load_explicit(&r->deferred, memory_order_acquire);
    mc = r->mc;
    memcpy(&bytes, &body, sizeof(bytes));
    r->status = status;
    r->response = MHD_create_response_from_buffer(len, bytes, MHD_RESPMEM_MUST_COPY);
    if (r->response) {
        (void)MHD_add_response_header(r->response, "Content-Type",
                                      content_type ? content_type : "application/json");
        (void)MHD_add_response_header(r->response, "X-Content-Type-Options", "nosniff");
        for (const struct http_reply_header *h = r->reply_headers; h; h = h->next)
            (void)MHD_add_response_header(r->response, h->name, h->value);
        if (r->close_now)
            (void)MHD_add_response_header(r->response, "Connection", "close");
    }
    atomic_store_explicit(&r->answered, true, memory_order_release);
    if (deferred) /* from here on the request may be gone */
        MHD_resume_connection(mc);
}

void http_reply_error(struct http_request *r, unsigned status, const char *code, const char *fmt,
                      ...)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(8192);
    char msg[1024];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    buf_puts(&b, "{\"error\":{\"code\":");
    buf_json(&b, slice_of(code));
    buf_puts(&b, ",\"message\":");
    buf_json(&b, slice_of(msg));
    buf_puts(&b, "}}\n");
    http_reply(r, status, NULL, buf_str(&b), b.len);
}

/* --- path, query, routes --- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum decoding { DECODE_PATH = 1, DECODE_QUERY };

/* Percent-decoded once, into the arena. NULL when malformed, when it hides a NUL (or, in a path, a
 * control character), past the cap. */
static char *decode(struct arena *a, const char *s, size_t len, enum decoding how)
{
    char *out = arena_alloc(a, len + 1, 1), *to = out;

    for (size_t i = 0; out && i < len; i++) {
        int c = (unsigned char)s[i];

        if (c == '%') {
            const int high = len - i > 2 ? hex_digit(s[i + 1]) : -1;
            const int low = len - i > 2 ? hex_digit(s[i + 2]) : -1;

            if (high < 0 || low < 0)
                return NULL;
            c = high * 16 + low;
            i += 2;
        } else if (c == '+' && how == DECODE_QUERY) {
            c = ' ';
        }
        if (c == 0 || (how == DECODE_PATH && (c < ' ' || c == 0x7f)))
            return NULL;
        *to++ = (char)c;
    }
    return out;
}

static bool parse_query(struct http_request *r, const char *s)
{
    if (!*s)
        return true;
    r->query = arena_array(r->arena, HTTP_QUERY_MAX, struct http_pair);
    if (!r->query)
        return false;
    while (*s) {
        const size_t len = strcspn(s, "&");
        const size_t name_len = strcspn(s, "=&");
        const size_t skip = name_len < len ? name_len + 1 : len;
        struct http_pair *p = &r->query[r->query_n];

        if (len > 0) {
            if (r->query_n == HTTP_QUERY_MAX)
                return false;
            p->name = decode(r->arena, s, name_len, DECODE_QUERY);
            p->value = decode(r->arena, s + skip, len - skip, DECODE_QUERY);
            if (!p->name || !p->value)
                return false;
            p->name_len = strlen(p->name);
            r->query_n++;
        }
        s += len + (s[len] != '\0');
    }
    return true;
}

/* A path as decoded segments: an encoded slash stays inside its segment. */
struct segments {
    const char *v[HTTP_SEGMENTS_MAX];
    size_t n;
};

static bool split_path(struct http_request *r, const char *s, size_t len, struct segments *ret)
{
    const char *end = s + len;

    if (len == 0 || *s != '/')
        return false;
    ret->n = 0;
    while (s < end) {
        const char *from = s + 1;
        const char *slash = memchr(from, '/', (size_t)(end - from));
        const char *seg;

        s = slash ? slash : end;
        if (ret->n == HTTP_SEGMENTS_MAX)
            return false;
        seg = decode(r->arena, from, (size_t)(s - from), DECODE_PATH);
        if (!seg || strcmp(seg, ".") == 0 || strcmp(seg, "..") == 0)
            return false;
        ret->v[ret->n++] = seg;
    }
    return true;
}

static const char *join(struct arena *a, const struct segments *s, size_t from)
{
    const char *out = "";

    for (size_t i = from; i < s->n && out; i++)
        out = arena_printf(a, "%s%s%s", out, i > from ? "/" : "", s->v[i]);
    return out;
}

/* Fills r->params on the way; only what the matching pattern left counts. */
static bool match(struct http_request *r, const char *pattern, const struct segments *s)
{
    size_t i = 0;

    r->param_n = 0;
    for (const char *p = pattern; *p == '/'; i++) {
        const size_t len = strcspn(++p, "/");

        if (len == 1 && *p == '*') {
            r->params[r->param_n++] = (struct http_pair){"*", join(r->arena, s, i), 1};
            return r->params[r->param_n - 1].value != NULL;
        }
        if (i == s->n)
            return false;
        if (*p == '{') {
            if (!s->v[i][0] || r->param_n == HTTP_PARAMS_MAX - 1)
                return false;
            r->params[r->param_n++] = (struct http_pair){p + 1, s->v[i], len - 2};
        } else if (strncmp(p, s->v[i], len) != 0 || s->v[i][len] != '\0') {
            return false;
        }
        p += len;
    }
    return i == s->n;
}

static bool method_serves(const char *route, const char *method)
{
    return strcmp(route, method) == 0 || (strcmp(route, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

static void find(struct http_request *r, const struct segments *s)
{
    const char *allow = NULL;

    for (size_t t = 0; t < sizeof(r->h->tables) / sizeof(*r->h->tables); t++) {
        const struct http_route *v = r->h->tables[t].routes;

        for (; v && v->method; v++) {
            if (!match(r, v->pattern, s))
                continue;
            if (method_serves(v->method, r->method)) {
                r->route = v;
                r->route_ctx = r->h->tables[t].ctx;
                return;
            }
            allow = arena_printf(r->arena, "%s%s%s%s", allow ? allow : "", allow ? ", " : "",
                                 v->method, strcmp(v->method, "GET") == 0 ? ", HEAD" : "");
        }
    }
    if (allow) {
        http_reply_header(r, "Allow", allow);
        http_reply_error(r, 405, "method_not_allowed", "%s is not possible here; %s %s", r->method,
                         allow, strchr(allow, ',') ? "are" : "is");
        return;
    }
    http_reply_error(r, 404, "not_found", "there is nothing at %s", r->path);
}

void http_route_find(struct http_request *r)
{
    const size_t len = strcspn(r->uri, "?");
    struct segments s = {.n = 0};

    if (split_path(r, r->uri, len, &s) && parse_query(r, r->uri + len + (r->uri[len] == '?'))) {
        const char *path = join(r->arena, &s, 0);

        r->path = path ? arena_printf(r->arena, "/%s", path) : NULL;
    }
    if (r->path)
        find(r, &s);
    else
        http_reply_error(r, 400, "bad_request", "the address of the request is malformed");
}
