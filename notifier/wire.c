#include "notifier/wire.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <strings.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/log.h"

#define POLL_MS 1000
#define LINE_MAX_BYTES 512
#define RETRY_AFTER_MAX (24 * MS_HOUR)
#define MOMENT_MIN INT64_C(1000000000)
#define MOMENT_MAX INT64_C(100000000000)

/* One request under way. */
struct call {
    struct wire *wire;
    struct transfer *t;
    CURL *easy;
    struct curl_slist *headers, *recipients;
    size_t sent; /* of a mail's body */
    char *body;  /* the answer, in the transfer's arena */
    size_t body_len;
    char recipient[LINE_MAX_BYTES]; /* of the RCPT that waits for its answer */
    char line[LINE_MAX_BYTES];      /* the mail server's last refusal */
    char error[CURL_ERROR_SIZE];
    int64_t retry_after_ms, started;
    bool forbidden, begun, again;
};

struct wire {
    const struct notifier_settings *s;
    const struct guard *guard;
    wire_done_fn *done;
    void *ctx;
    CURLM *multi;
    pthread_t thread;
    pthread_mutex_t lock; /* of the three below */
    struct transfer *first, **last;
    bool stop;
    struct transfer *under_way; /* the thread's own */
};

/* ---- callbacks of curl ---- */

static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct call *c = ctx;

    if (purpose != CURLSOCKTYPE_IPCXN || !guard_allows(c->wire->guard, &to->addr)) {
        c->forbidden = true;
        return CURL_SOCKET_BAD;
    }
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/*
 * A kept connection that closes without an answer makes curl send the request a second time by
 * itself, although the peer may have taken the first: a double that nobody knows of. One call is
 * one request; the second is ours to decide, and is marked.
 */
static int begin_request(void *ctx, char *remote, char *local, int remote_port, int local_port)
{
    struct call *c = ctx;

    (void)remote, (void)local, (void)remote_port, (void)local_port;
    c->again = c->begun;
    c->begun = true;
    return c->again ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* What is past the cap is read and dropped: the verdict stands in the beginning. */
static size_t take_body(char *p, size_t size, size_t n, void *ctx)
{
    struct call *c = ctx;
    size_t max = c->wire->s->max_response, len = size * n;

    if (!c->body && !(c->body = arena_alloc(c->t->a, 1, max + 1)))
        return 0;
    size_t room = max - c->body_len, keep = len < room ? len : room;
    memcpy(c->body + c->body_len, p, keep);
    c->body_len += keep;
    return len;
}

/* Seconds, or a date; a number too large for a wait is a moment, in seconds since 1970 (Sentry's
 * header). Of a moment the wait is the difference to the wall clock. */
static int64_t retry_after(const char *value)
{
    while (*value == ' ')
        value++;
    int64_t ms;
    if (isdigit((unsigned char)*value)) {
        ms = strtoll(value, NULL, 10);
        if (ms >= MOMENT_MIN && ms < MOMENT_MAX)
            ms -= clock_now_ms() / MS_SECOND;
        if (ms < 0)
            ms = 0;
        ms = ms > RETRY_AFTER_MAX / MS_SECOND ? RETRY_AFTER_MAX : ms * MS_SECOND;
    } else {
        time_t at = curl_getdate(value, NULL);
        if (at < 0)
            return -1;
        ms = (int64_t)at * MS_SECOND - clock_now_ms();
    }
    return ms < 0 ? 0 : ms > RETRY_AFTER_MAX ? RETRY_AFTER_MAX : ms;
}

/* Behind "name:"; NULL when the line is another header. */
static const char *value_of(const char *line, const char *name)
{
    size_t n = strlen(name);

    return strncasecmp(line, name, n) == 0 && line[n] == ':' ? line + n + 1 : NULL;
}

static size_t take_header(char *p, size_t size, size_t n, void *ctx)
{
    struct call *c = ctx;
    const char *other = c->t->request->wait_header, *value;
    size_t len = size * n;
    char line[LINE_MAX_BYTES];

    if (len >= sizeof(line))
        return len;
    memcpy(line, p, len);
    line[len] = '\0';
    value = value_of(line, "retry-after");
    if (!value && other && c->retry_after_ms < 0)
        value = value_of(line, other);
    if (value)
        c->retry_after_ms = retry_after(value);
    return len;
}

static size_t give_mail(char *p, size_t size, size_t n, void *ctx)
{
    struct call *c = ctx;
    struct slice body = c->t->request->body;
    size_t room = size * n, left = body.len - c->sent, len = left < room ? left : room;

    if (len)
        memcpy(p, body.p + c->sent, len);
    c->sent += len;
    return len;
}

/* curl does not say which recipient was refused, so the dialogue is followed. Nothing of it is
 * logged. */
static int follow(CURL *easy, curl_infotype type, char *p, size_t len, void *ctx)
{
    static const char rcpt[] = "RCPT TO:<";
    struct call *c = ctx;

    (void)easy;
    if (type == CURLINFO_HEADER_OUT) {
        c->recipient[0] = '\0';
        if (len > sizeof(rcpt) - 1 && strncasecmp(p, rcpt, sizeof(rcpt) - 1) == 0) {
            const char *end = memchr(p, '>', len);
            size_t n = end ? (size_t)(end - p) - (sizeof(rcpt) - 1) : 0;
            if (n > 0 && n < sizeof(c->recipient)) {
                memcpy(c->recipient, p + sizeof(rcpt) - 1, n);
                c->recipient[n] = '\0';
            }
        }
    } else if (type == CURLINFO_HEADER_IN && len > 3 && (p[0] == '4' || p[0] == '5')) {
        size_t n = len < sizeof(c->line) ? len : sizeof(c->line) - 1;
        memcpy(c->line, p, n);
        c->line[n] = '\0';
    }
    return 0;
}

/* ---- one call ---- */

static void call_free(struct call *c)
{
    if (!c)
        return;
    curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->headers);
    curl_slist_free_all(c->recipients);
    free(c);
}

static bool add(struct curl_slist **list, const char *text)
{
    struct curl_slist *longer = text ? curl_slist_append(*list, text) : NULL;

    if (longer)
        *list = longer;
    return longer != NULL;
}

#define SET(option, value) (ok = ok && curl_easy_setopt(c->easy, (option), (value)) == CURLE_OK)

static bool setup_common(struct call *c)
{
    const struct notifier_settings *s = c->wire->s;
    bool ok = true;

    SET(CURLOPT_URL, c->t->request->url);
    SET(CURLOPT_PRIVATE, c->t);
    SET(CURLOPT_PROTOCOLS_STR, "http,https,smtp,smtps");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* its end waits for no name server */
    SET(CURLOPT_TIMEOUT_MS, (long)s->request_timeout);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)s->connect_timeout);
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(CURLOPT_OPENSOCKETDATA, c);
    SET(CURLOPT_PREREQFUNCTION, begin_request);
    SET(CURLOPT_PREREQDATA, c);
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, c);
    SET(CURLOPT_ERRORBUFFER, c->error);
    SET(CURLOPT_USERAGENT, "Tocsin");
    return ok;
}

static bool setup_http(struct call *c)
{
    const struct request *r = c->t->request;
    bool ok = true;

    for (size_t i = 0; i < r->header_n && ok; i++) {
        const char *line = arena_printf(c->t->a, "%s: %s", r->headers[i].name, r->headers[i].value);
        ok = line && !strpbrk(line, "\r\n") && add(&c->headers, line);
    }
    ok = ok && add(&c->headers, "Expect:"); /* no 100-continue: it only costs a round trip */
    SET(CURLOPT_HTTPHEADER, c->headers);
    SET(CURLOPT_CUSTOMREQUEST, r->method);
    if (strcmp(r->method, "GET") == 0) {
        SET(CURLOPT_HTTPGET, 1L);
    } else {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len);
        SET(CURLOPT_POSTFIELDS, r->body.p ? r->body.p : "");
    }
    SET(CURLOPT_HEADERFUNCTION, take_header);
    SET(CURLOPT_HEADERDATA, c);
    return ok;
}

static bool setup_mail(struct call *c)
{
    const struct request *r = c->t->request;
    bool ok = true;

    for (size_t i = 0; i < r->mail_to_n; i++)
        ok = ok && add(&c->recipients, r->mail_to[i]);
    SET(CURLOPT_MAIL_FROM, r->mail_from);
    SET(CURLOPT_MAIL_RCPT, c->recipients);
    SET(CURLOPT_USE_SSL, (long)(r->require_tls ? CURLUSESSL_ALL : CURLUSESSL_TRY));
    if (r->username && *r->username) {
        SET(CURLOPT_USERNAME, r->username);
        SET(CURLOPT_PASSWORD, r->password ? r->password : "");
    }
    if (r->identity && *r->identity)
        SET(CURLOPT_SASL_AUTHZID, r->identity);
    SET(CURLOPT_UPLOAD, 1L);
    SET(CURLOPT_READFUNCTION, give_mail);
    SET(CURLOPT_READDATA, c);
    SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->body.len);
    SET(CURLOPT_VERBOSE, 1L);
    SET(CURLOPT_DEBUGFUNCTION, follow);
    SET(CURLOPT_DEBUGDATA, c);
    /* A kept connection would answer for the next mail with the state of the last. */
    SET(CURLOPT_FORBID_REUSE, 1L);
    return ok;
}

static struct call *call_new(struct wire *w, struct transfer *t)
{
    struct call *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->wire = w;
    c->t = t;
    c->retry_after_ms = -1;
    c->started = clock_monotonic_ms();
    c->easy = curl_easy_init();
    if (!c->easy || !setup_common(c) || !(t->request->mail_from ? setup_mail(c) : setup_http(c))) {
        call_free(c);
        return NULL;
    }
    return c;
}

/* ---- ends ---- */

/* Before the first byte could have left. */
static bool never_left(CURLcode code)
{
    switch ((int)code) {
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_USE_SSL_FAILED:
    case CURLE_LOGIN_DENIED:
        return true;
    default:
        return false;
    }
}

/* A mail is on its way once its last byte was given to curl; before, nobody can have taken it. */
static bool may_have_arrived(const struct call *c, CURLcode code)
{
    curl_off_t sent = 0;

    if (c->t->request->mail_from)
        return c->sent == c->t->request->body.len;
    if (c->again)
        return true;
    (void)curl_easy_getinfo(c->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    return !never_left(code) && sent > 0;
}

static void answer_of(struct call *c, CURLcode code)
{
    struct transfer *t = c->t;
    struct response *r = &t->response;
    long status = 0;
    bool mail = t->request->mail_from != NULL;

    (void)curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    *r = (struct response){
        .transport = "", .retry_after_ms = c->retry_after_ms, .forbidden = c->forbidden};
    /* Of a broken HTTP exchange nothing counts; a mail server's refusal does, the error is curl's
     * way to tell it. */
    bool refusal = mail && c->line[0] && status >= 400;
    if (code == CURLE_OK || refusal) {
        r->status = (int)status;
        r->body = mail ? arena_slice(t->a, slice_of(code == CURLE_OK ? "" : c->line))
                       : (struct slice){c->body, c->body_len};
        if (refusal && c->recipient[0])
            r->refused = arena_strndup(t->a, c->recipient, strlen(c->recipient));
        /* A gateway that gave up waiting does not know what became of it. */
        t->unanswered = !mail && (status == 502 || status == 504);
        return;
    }
    const char *why =
        c->forbidden  ? "the address is private; limits.allow_private_addresses does not contain it"
        : c->again    ? "the connection was closed without an answer"
        : c->error[0] ? c->error
                      : curl_easy_strerror(code);
    r->transport = arena_strndup(t->a, why, strlen(why));
    if (!r->transport)
        r->transport = "no answer";
    t->unanswered = may_have_arrived(c, code);
}

static void forget(struct wire *w, struct transfer *t)
{
    struct transfer **p = &w->under_way;

    while (*p && *p != t)
        p = &(*p)->next;
    if (*p)
        *p = t->next;
}

static void finish(struct wire *w, struct call *c, CURLcode code)
{
    struct transfer *t = c->t;

    answer_of(c, code);
    t->duration_ms = clock_monotonic_ms() - c->started;
    forget(w, t);
    (void)curl_multi_remove_handle(w->multi, c->easy);
    call_free(c);
    t->call = NULL;
    w->done(w->ctx, t);
}

static void begin(struct wire *w, struct transfer *t)
{
    t->call = call_new(w, t);
    if (!t->call || curl_multi_add_handle(w->multi, t->call->easy) != CURLM_OK) {
        t->response =
            (struct response){.transport = "the request cannot be made", .retry_after_ms = -1};
        call_free(t->call);
        t->call = NULL;
        w->done(w->ctx, t);
        return;
    }
    t->next = w->under_way;
    w->under_way = t;
}

/* ---- the thread ---- */

static struct transfer *take_all(struct wire *w, bool *ret_stop)
{
    (void)pthread_mutex_lock(&w->lock);
    struct transfer *list = w->first;
    w->first = NULL;
    w->last = &w->first;
    *ret_stop = w->stop;
    (void)pthread_mutex_unlock(&w->lock);
    return list;
}

static void finish_done(struct wire *w)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(w->multi, &left))) {
        if (m->msg != CURLMSG_DONE)
            continue;
        CURLcode code = m->data.result;
        struct transfer *t = NULL;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        if (t)
            finish(w, t->call, code);
    }
}

static void *run(void *ctx)
{
    struct wire *w = ctx;
    bool stop = false;
    int running;

    while (!stop) {
        struct transfer *list = take_all(w, &stop);
        while (list) {
            struct transfer *t = list;
            list = t->next;
            begin(w, t);
        }
        (void)curl_multi_perform(w->multi, &running);
        finish_done(w);
        if (!stop)
            (void)curl_multi_poll(w->multi, NULL, 0, POLL_MS, NULL);
    }
    for (struct transfer *t = w->under_way, *next; t; t = next) {
        next = t->next;
        finish(w, t->call, CURLE_ABORTED_BY_CALLBACK);
    }
    return NULL;
}

void wire_send(struct wire *w, struct transfer *t)
{
    t->next = NULL;
    t->unanswered = false;
    (void)pthread_mutex_lock(&w->lock);
    *w->last = t;
    w->last = &t->next;
    (void)pthread_mutex_unlock(&w->lock);
    (void)curl_multi_wakeup(w->multi);
}

int wire_new(const struct notifier_settings *s, const struct guard *guard, wire_done_fn *done,
             void *ctx, struct wire **ret, struct err *e)
{
    struct wire *w = calloc(1, sizeof(*w));

    if (!w || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
        !(w->multi = curl_multi_init())) {
        free(w);
        return err_set(e, -ENOMEM, "curl cannot start");
    }
    w->s = s;
    w->guard = guard;
    w->done = done;
    w->ctx = ctx;
    w->last = &w->first;
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)curl_multi_setopt(w->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)s->concurrency);
    int r = pthread_create(&w->thread, NULL, run, w);
    if (r != 0) {
        (void)curl_multi_cleanup(w->multi);
        (void)pthread_mutex_destroy(&w->lock);
        free(w);
        return err_set(e, -r, "cannot start a thread");
    }
    *ret = w;
    return 0;
}

void wire_free(struct wire *w)
{
    if (!w)
        return;
    (void)pthread_mutex_lock(&w->lock);
    w->stop = true;
    (void)pthread_mutex_unlock(&w->lock);
    (void)curl_multi_wakeup(w->multi);
    (void)pthread_join(w->thread, NULL);
    (void)curl_multi_cleanup(w->multi);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
    curl_global_cleanup();
}
