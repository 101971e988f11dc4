/*
 * Bytes on a connection, to the real server. A second, strict parser says which requests stand in
 * them: what a handler sees must be those, in order, with the same method, target and body; behind
 * the first that is not sound it must see nothing. So whatever a proxy made of the bytes, no
 * request is smuggled past it. A plain request must be handled.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/httpd_impl.h"
#include "fuzz.h"

#define BODY_MAX 4096
#define REQUESTS_MAX 64

/* ---- the server and what its handler saw ---- */

struct seen {
    char method[16];
    struct slice path; /* as decoded; in `text` */
    struct slice body;
};

static struct {
    pthread_mutex_t lock;
    struct seen v[REQUESTS_MAX];
    size_t n;
    struct arena *text;
} handled = {.lock = PTHREAD_MUTEX_INITIALIZER};
static struct httpd *server;

static void on_any(void *ctx, struct http_request *r)
{
    (void)ctx;
    (void)pthread_mutex_lock(&handled.lock);
    if (handled.n < REQUESTS_MAX) {
        struct seen *s = &handled.v[handled.n];
        const struct slice path = slice_of(http_path(r)), body = http_body(r);
        (void)snprintf(s->method, sizeof(s->method), "%s", http_method(r));
        s->path = (struct slice){arena_strndup(handled.text, path.p, path.len), path.len};
        s->body = (struct slice){arena_strndup(handled.text, body.p, body.len), body.len};
        handled.n++;
    }
    (void)pthread_mutex_unlock(&handled.lock);
    http_reply(r, 200, "text/plain", "ok", 2);
}

static void serve(void)
{
    static const struct http_route routes[] = {
        {"GET", "/*", NULL, on_any}, {"POST", "/*", NULL, on_any}, {0}};
    const struct httpd_options o = {.listen = "127.0.0.1:0",
                                    .threads = 1,
                                    .connections = 16,
                                    .max_body = BODY_MAX,
                                    .request_deadline_ms = 600000};
    struct err e = {0};
    if (server)
        return;
    MUST(httpd_start(&o, routes, NULL, NULL, NULL, &server, &e) == 0);
    handled.text = arena_new((size_t)1 << 20);
    MUST(handled.text);
}

/* Everything said at once, then the end; everything heard until the server closes. */
static void talk(struct slice bytes, struct buf *answers)
{
    const struct sockaddr_in peer = {.sin_family = AF_INET,
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char chunk[4096];
    int pair[2];
    ssize_t n;
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    MUST(send(pair[0], bytes.p, bytes.len, MSG_NOSIGNAL) == (ssize_t)bytes.len);
    MUST(shutdown(pair[0], SHUT_WR) == 0);
    MUST(MHD_add_connection(server->daemon, pair[1], (const struct sockaddr *)&peer,
                            sizeof(peer)) == MHD_YES);
    while ((n = recv(pair[0], chunk, sizeof(chunk), 0)) > 0 || (n < 0 && errno == EINTR))
        buf_add(answers, chunk, n > 0 ? (size_t)n : 0); /* the fuzzer has an alarm */
    (void)close(pair[0]);
}

/* ---- the strict parser ---- */

enum verdict {
    SOUND = 1,
    UNSOUND,  /* must not be handled, and nothing behind it */
    CUT_OFF,  /* the bytes end in the middle */
    NOT_OURS, /* how its body ends is for the library to say */
};

struct request {
    struct slice method, target, version, body;
    struct slice length, encoding; /* p NULL: no such header */
    unsigned hosts, lengths, encodings;
    bool plain; /* nothing but what any server takes */
};

struct input {
    struct slice s;
    size_t i;
    bool blind; /* a NUL before a LF, or a line without a name, which the server may take for an end
                 */
};

/* The line that ends at the next LF; false when there is none. Without its CR, which must be there.
 */
static bool take_line(struct input *in, struct slice *ret, bool *strict)
{
    const char *from = in->s.p + in->i;
    const char *lf = memchr(from, '\n', in->s.len - in->i);
    if (!lf)
        return false;
    const size_t len = (size_t)(lf - from);
    *strict = len > 0 && from[len - 1] == '\r';
    *ret = (struct slice){from, len - *strict};
    in->blind |= ret->len > 0 && (from[ret->len - 1] == '\0' || from[0] == ':');
    in->i += len + 1;
    return true;
}

static bool is_token(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!isalnum((unsigned char)s.p[i]) && (!s.p[i] || !strchr("!#$%&'*+-.^_`|~", s.p[i])))
            return false;
    return s.len > 0;
}

static bool is_visible(struct slice s, const char *also)
{
    for (size_t i = 0; i < s.len; i++) {
        const unsigned char c = (unsigned char)s.p[i];
        if ((c <= ' ' || c == 0x7f) && (c == 0 || !strchr(also, c)))
            return false;
    }
    return true;
}

static bool read_request_line(struct slice line, struct request *r)
{
    const char *first = memchr(line.p, ' ', line.len);
    const char *last = memrchr(line.p, ' ', line.len);
    if (!first || first == last)
        return false;
    const char *end = line.p + line.len;
    r->method = (struct slice){line.p, (size_t)(first - line.p)};
    r->target = (struct slice){first + 1, (size_t)(last - first - 1)};
    r->version = (struct slice){last + 1, (size_t)(end - last - 1)};
    return is_token(r->method) && r->target.len > 0 && is_visible(r->target, "") &&
           (slice_is(r->version, "HTTP/1.1") || slice_is(r->version, "HTTP/1.0"));
}

static bool named(struct slice name, const char *what)
{
    return name.len == strlen(what) && strncasecmp(name.p, what, name.len) == 0;
}

static bool read_header(struct slice line, struct request *r)
{
    const char *colon = memchr(line.p, ':', line.len);
    if (!colon)
        return false;
    const struct slice name = {line.p, (size_t)(colon - line.p)};
    struct slice value = {colon + 1, line.len - name.len - 1};
    if (!is_token(name) || !is_visible(value, " \t"))
        return false;
    while (value.len > 0 && (value.p[0] == ' ' || value.p[0] == '\t'))
        value = (struct slice){value.p + 1, value.len - 1};
    if (named(name, "Host")) {
        r->hosts++;
        return true;
    }
    if (named(name, "Content-Length")) {
        r->lengths++;
        r->length = value;
        return true;
    }
    if (named(name, "Transfer-Encoding")) {
        r->encodings++;
        r->encoding = value;
        return true;
    }
    r->plain &= name.p[0] == 'X';
    return true;
}

static bool read_number(struct slice s, size_t *ret)
{
    *ret = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (!isdigit((unsigned char)s.p[i]) || *ret > INT64_MAX / 100)
            return false;
        *ret = *ret * 10 + (size_t)(s.p[i] - '0');
    }
    return s.len > 0;
}

static enum verdict read_plain_body(struct input *in, struct request *r)
{
    size_t len = 0;
    if (r->lengths && !read_number(r->length, &len))
        return UNSOUND;
    if (len > in->s.len - in->i)
        return CUT_OFF;
    r->body = (struct slice){in->s.p + in->i, len};
    in->i += len;
    return SOUND;
}

/* Chunks, joined in `a`. */
static enum verdict read_chunks(struct input *in, struct arena *a, struct request *r)
{
    char *out = arena_alloc(a, in->s.len + 1, 1);
    struct slice line;
    bool strict = true;
    size_t n = 0;
    MUST(out);
    for (;;) {
        if (!take_line(in, &line, &strict))
            return CUT_OFF;
        char *end = NULL;
        if (!strict || line.len == 0 || line.len > 8 || !isxdigit((unsigned char)line.p[0]))
            return NOT_OURS;
        const size_t len = strtoul(arena_strndup(a, line.p, line.len), &end, 16);
        if (*end || (line.len > 1 && (line.p[1] | 0x20) == 'x'))
            return NOT_OURS;
        if (len == 0)
            break;
        if (len + 2 > in->s.len - in->i)
            return CUT_OFF;
        memcpy(out + n, in->s.p + in->i, len);
        n += len;
        in->i += len;
        if (in->s.p[in->i] != '\r' || in->s.p[in->i + 1] != '\n')
            return NOT_OURS;
        in->i += 2;
    }
    if (!take_line(in, &line, &strict))
        return CUT_OFF;
    r->body = (struct slice){out, n};
    return strict && line.len == 0 ? SOUND : NOT_OURS; /* trailers */
}

static enum verdict read_head(struct input *in, struct request *r)
{
    struct slice line;
    bool strict = true, sound = true;
    do { /* empty lines before a request are nothing; to the library so is one that begins with NUL
          */
        if (!take_line(in, &line, &strict))
            return CUT_OFF;
    } while (line.len == 0 || line.p[0] == '\0');
    sound = strict && read_request_line(line, r);
    for (;;) {
        if (!take_line(in, &line, &strict))
            return in->blind ? NOT_OURS : sound ? CUT_OFF : UNSOUND;
        sound &= strict;
        if (line.len == 0)
            break;
        sound = sound && read_header(line, r);
    }
    if (in->blind)
        return NOT_OURS;
    const bool newer = sound && slice_is(r->version, "HTTP/1.1");
    if (!sound || r->hosts > 1 || (newer && r->hosts == 0) || r->lengths + r->encodings > 1)
        return UNSOUND;
    if (r->encodings && (!newer || !named(r->encoding, "chunked")))
        return UNSOUND;
    r->plain &= newer;
    return SOUND;
}

static enum verdict read_request(struct input *in, struct arena *a, struct request *r)
{
    *r = (struct request){.plain = true};
    const size_t from = in->i;
    const enum verdict v = read_head(in, r);
    if (v != SOUND)
        return v;
    r->plain &= in->i - from < 8192;
    return r->encodings ? read_chunks(in, a, r) : read_plain_body(in, r);
}

/* ---- the comparison ---- */

/* A path that needs no decoding. */
static bool is_simple(struct slice target)
{
    for (size_t i = 1; i < target.len; i++)
        if (!isalnum((unsigned char)target.p[i]))
            return false;
    return target.len > 0 && target.p[0] == '/';
}

static bool must_be_handled(const struct request *r)
{
    return r->plain && is_simple(r->target) && r->body.len <= BODY_MAX &&
           (slice_is(r->method, "GET") || slice_is(r->method, "POST"));
}

static bool is_it(const struct request *r, const struct seen *s)
{
    return slice_is(r->method, s->method) && slice_eq(r->body, s->body) &&
           (!is_simple(r->target) || slice_eq(r->target, s->path));
}

/* False: a request that must be handled was not. */
static bool compare(struct slice bytes, struct slice answers, struct arena *a)
{
    struct input in = {.s = bytes};
    struct request r;
    enum verdict v = SOUND;
    bool open = true; /* nothing so far could have made the server close */
    bool first = true, missed = false;
    size_t i = 0;
    while (i < REQUESTS_MAX && (v = read_request(&in, a, &r)) == SOUND) {
        if (i < handled.n && is_it(&r, &handled.v[i]))
            i++;
        else
            missed |= open && must_be_handled(&r);
        open &= must_be_handled(&r);
        first = false;
    }
    if (v != NOT_OURS)
        MUST(handled.n == i);
    if (first && v == UNSOUND && answers.len > 0)
        MUST(answers.len > 12 && memcmp(answers.p, "HTTP/1.", 7) == 0 && answers.p[9] >= '4');
    return !missed;
}

static bool try(struct slice bytes, struct arena *a)
{
    CLEANUP(buf_release) struct buf answers = BUF_INIT((size_t)8 << 20);
    talk(bytes, &answers);
    (void)pthread_mutex_lock(&handled.lock);
    const bool good = compare(bytes, (struct slice){buf_str(&answers), answers.len}, a);
    arena_reset(handled.text);
    handled.n = 0;
    (void)pthread_mutex_unlock(&handled.lock);
    return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct slice bytes = {(const char *)data, size};
    if (size == 0)
        return 0;
    serve();
    MUST(try(bytes, fuzz_arena(0, (size_t)8 << 20)));
    return 0;
}
