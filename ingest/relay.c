#include "ingest/relay.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/log.h"

#define POLL_MS 1000
#define BODY_MAX ((size_t)64 << 10)

/* One question, on its way. */
struct errand {
    char *url;
    relayed_fn *done;
    void *ctx;
    CURL *easy; /* the thread's own, and so are the two below */
    struct buf body;
    char error[CURL_ERROR_SIZE];
    struct errand *next;
};

struct relay {
    const struct ingest_settings *s;
    CURLM *multi;
    pthread_t thread;
    struct errand *under_way; /* the thread's own */
    pthread_mutex_t lock;     /* of all below */
    struct errand *queued;
    size_t n; /* queued and under way */
    bool stop;
};

/* ---- one question; on the thread ---- */

static size_t take_body(char *bytes, size_t size, size_t n, void *ctx)
{
    struct errand *q = ctx;

    buf_add(&q->body, bytes, size * n);
    return q->body.failed ? 0 : size * n;
}

#define SET(option, value) (ok = ok && curl_easy_setopt(q->easy, (option), (value)) == CURLE_OK)

static bool setup(const struct relay *r, struct errand *q)
{
    bool ok = true;

    SET(CURLOPT_URL, q->url);
    SET(CURLOPT_PRIVATE, q);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* its end waits for no name server */
    SET(CURLOPT_TIMEOUT_MS, (long)r->s->fetch_timeout);
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, q);
    SET(CURLOPT_ERRORBUFFER, q->error);
    SET(CURLOPT_USERAGENT, "Tocsin");
    if (*r->s->fetch_ca_file) {
        SET(CURLOPT_CAINFO, r->s->fetch_ca_file);
        SET(CURLOPT_CAPATH, NULL); /* and no other */
    }
    return ok;
}

static void log_failure(const struct errand *q, CURLcode code, long status)
{
    static struct log_limit limit = {.per_minute = 6};
    uint32_t dropped = 0;

    if (log_allow(&limit, &dropped))
        log_warn(EV("console_not_asked"), KV("status", status),
                 KV("reason", code == CURLE_OK ? "that is no answer of a console"
                              : q->error[0]    ? q->error
                                               : curl_easy_strerror(code)),
                 KV("dropped", dropped));
}

/* A redirect is nobody's answer: ingest.console_url is not where the console is. */
static struct relayed answer_of(const struct errand *q, CURLcode code)
{
    struct relayed a = {.why = "the console could not be asked; try again"};
    long status = 0;
    char *type = NULL;

    if (q->easy) {
        (void)curl_easy_getinfo(q->easy, CURLINFO_RESPONSE_CODE, &status);
        (void)curl_easy_getinfo(q->easy, CURLINFO_CONTENT_TYPE, &type);
    }
    if (code != CURLE_OK || status < 200 || (status >= 300 && status < 400)) {
        log_failure(q, code, status);
        return a;
    }
    a.status = (unsigned)status;
    a.content_type = type;
    a.body = (struct slice){buf_str(&q->body), q->body.len};
    return a;
}

static void errand_free(struct errand *q)
{
    buf_release(&q->body);
    free(q->url);
    free(q);
}

static void finish(struct relay *r, struct errand *q, CURLcode code)
{
    const struct relayed a = answer_of(q, code);

    (void)pthread_mutex_lock(&r->lock);
    r->n--;
    (void)pthread_mutex_unlock(&r->lock);
    q->done(q->ctx, &a); /* while the handle has the type */
    if (q->easy) {
        (void)curl_multi_remove_handle(r->multi, q->easy);
        curl_easy_cleanup(q->easy);
    }
    errand_free(q);
}

static void unlist(struct relay *r, struct errand *q)
{
    struct errand **at = &r->under_way;

    while (*at && *at != q)
        at = &(*at)->next;
    if (*at)
        *at = q->next;
}

/* ---- the thread ---- */

/* False: it shall end. */
static bool take_queued(struct relay *r, struct errand **ret)
{
    (void)pthread_mutex_lock(&r->lock);
    const bool go_on = !r->stop;
    *ret = r->queued;
    r->queued = NULL;
    (void)pthread_mutex_unlock(&r->lock);
    return go_on;
}

static void begin(struct relay *r, struct errand *q)
{
    q->easy = curl_easy_init();
    if (!q->easy || !setup(r, q) || curl_multi_add_handle(r->multi, q->easy) != CURLM_OK) {
        finish(r, q, CURLE_FAILED_INIT);
        return;
    }
    q->next = r->under_way;
    r->under_way = q;
}

static void finish_done(struct relay *r)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(r->multi, &left))) {
        if (m->msg != CURLMSG_DONE)
            continue;
        const CURLcode code = m->data.result;
        struct errand *q = NULL;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&q);
        if (!q)
            continue;
        unlist(r, q);
        finish(r, q, code);
    }
}

static void give_up(struct relay *r, struct errand *list)
{
    while (list) {
        struct errand *q = list;
        list = q->next;
        finish(r, q, CURLE_ABORTED_BY_CALLBACK);
    }
}

static void *run(void *ctx)
{
    struct relay *r = ctx;
    struct errand *list;
    int running;

    while (take_queued(r, &list)) {
        while (list) {
            struct errand *q = list;
            list = q->next;
            begin(r, q);
        }
        (void)curl_multi_perform(r->multi, &running);
        finish_done(r);
        (void)curl_multi_poll(r->multi, NULL, 0, POLL_MS, NULL);
    }
    give_up(r, list);
    give_up(r, r->under_way);
    return NULL;
}

/* ---- for everybody ---- */

static struct errand *errand_new(const struct relay *r, const char *path)
{
    const char *base = r->s->console_url;
    size_t len = strlen(base);
    struct errand *q = calloc(1, sizeof(*q));

    if (!q)
        return NULL;
    while (len > 0 && base[len - 1] == '/')
        len--;
    if (asprintf(&q->url, "%.*s%s", (int)len, base, path) < 0) {
        free(q);
        return NULL;
    }
    q->body = BUF_INIT(BODY_MAX);
    return q;
}

/* False: too many are. */
static bool enqueue(struct relay *r, struct errand *q)
{
    (void)pthread_mutex_lock(&r->lock);
    const bool has_room = !r->stop && r->n < r->s->fetch_waiting;
    if (has_room) {
        q->next = r->queued;
        r->queued = q;
        r->n++;
    }
    (void)pthread_mutex_unlock(&r->lock);
    return has_room;
}

void relay_get(struct relay *r, const char *path, relayed_fn *done, void *ctx)
{
    static const struct relayed too_many = {.why =
                                                "too many wait for the console already; try again"};
    struct errand *q = errand_new(r, path);

    if (q) {
        q->done = done;
        q->ctx = ctx;
        if (enqueue(r, q)) {
            (void)curl_multi_wakeup(r->multi);
            return;
        }
        errand_free(q);
    }
    done(ctx, &too_many);
}

static int prepare(struct relay *r, struct err *e)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(r->multi = curl_multi_init()))
        return err_set(e, -ENOMEM, "curl cannot start");
    int rc = pthread_create(&r->thread, NULL, run, r);
    return rc == 0 ? 0 : err_set(e, -rc, "cannot start a thread");
}

static void release(struct relay *r)
{
    (void)curl_multi_cleanup(r->multi);
    (void)pthread_mutex_destroy(&r->lock);
    free(r);
}

int relay_new(const struct ingest_settings *s, struct relay **ret, struct err *e)
{
    struct relay *r = calloc(1, sizeof(*r));
    if (!r)
        return err_set(e, -ENOMEM, "out of memory");
    r->s = s;
    (void)pthread_mutex_init(&r->lock, NULL);
    int rc = prepare(r, e);
    if (rc < 0) {
        release(r);
        return rc;
    }
    *ret = r;
    return 0;
}

void relay_free(struct relay *r)
{
    if (!r)
        return;
    (void)pthread_mutex_lock(&r->lock);
    r->stop = true;
    (void)pthread_mutex_unlock(&r->lock);
    (void)curl_multi_wakeup(r->multi);
    (void)pthread_join(r->thread, NULL);
    release(r);
}
