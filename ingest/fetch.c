#include "ingest/fetch.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/guard.h"
#include "common/log.h"
#include "common/metrics.h"

#define POLL_MS 1000
#define BODY_MAX ((size_t)64 << 10)
/* A thing that failed: long enough that whoever asks for it all the time does not make us ask all
 * the time, shorter than any sender waits before it tries again. */
#define FAILED_MS (5 * MS_SECOND)

enum state { QUEUED = 1, UNDER_WAY, KEPT, FAILED };

/* A request that waits for a page. */
struct waiter {
    struct arena *a;
    fetched_fn *done;
    void *ctx;
    struct slice body;
    struct waiter *next;
};

/* One URL, on its way or at hand. */
struct page {
    struct fetcher *f;
    char *url;
    bool (*fit)(struct slice body);
    enum state state;
    int64_t until; /* monotonic ms: of KEPT and FAILED its end, else the deadline */
    uint64_t used; /* the higher, the later */
    struct buf body;
    struct waiter *waiters;
    CURL *easy;     /* UNDER_WAY; the thread's own, and so are the two below */
    bool forbidden; /* by the guard */
    char error[CURL_ERROR_SIZE];
    struct page *next;
};

struct fetcher {
    const struct ingest_settings *s;
    struct guard guard;
    CURLM *multi;
    pthread_t thread;
    pthread_mutex_t lock; /* of all below */
    struct page *pages;   /* the newest first */
    size_t waiting, under_way;
    uint64_t clock;
    bool stop;
    struct counter *fetched, *failed, *from_kept, *refused;
};

/* ---- pages; under the lock ---- */

static void page_free(struct page *p)
{
    buf_release(&p->body);
    free(p->url);
    free(p);
}

static bool is_at_hand(const struct page *p)
{
    return p->state == KEPT || p->state == FAILED;
}

static void unlist(struct fetcher *f, struct page *p)
{
    struct page **at = &f->pages;
    while (*at && *at != p)
        at = &(*at)->next;
    if (*at)
        *at = p->next;
}

static void drop(struct fetcher *f, struct page *p)
{
    unlist(f, p);
    page_free(p);
}

/* A failed one rather than a kept one, then the one unused for longest: so nobody can push out what
 * is in use by asking for what is not there. */
static bool goes_before(const struct page *p, const struct page *other)
{
    if (p->state != other->state)
        return p->state == FAILED;
    return p->used < other->used;
}

static void make_room(struct fetcher *f)
{
    for (;;) {
        struct page *worst = NULL;
        size_t n = 0;
        for (struct page *p = f->pages; p; p = p->next) {
            if (!is_at_hand(p))
                continue;
            n++;
            if (!worst || goes_before(p, worst))
                worst = p;
        }
        if (!worst || n <= f->s->fetch_kept)
            return;
        drop(f, worst);
    }
}

/* NULL: nobody has asked for it, or too long ago. */
static struct page *find(struct fetcher *f, const struct fetch *what)
{
    for (struct page *p = f->pages; what->fit && p; p = p->next) {
        if (p->fit != what->fit || strcmp(p->url, what->url) != 0)
            continue;
        if (is_at_hand(p) && p->until <= clock_monotonic_ms()) {
            drop(f, p);
            return NULL;
        }
        p->used = ++f->clock;
        return p;
    }
    return NULL;
}

static struct page *page_new(struct fetcher *f, const struct fetch *what)
{
    struct page *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->url = strdup(what->url);
    if (!p->url) {
        free(p);
        return NULL;
    }
    p->f = f;
    p->fit = what->fit;
    p->state = QUEUED;
    p->until = clock_monotonic_ms() + f->s->fetch_timeout;
    p->used = ++f->clock;
    p->body = BUF_INIT(BODY_MAX);
    p->next = f->pages;
    f->pages = p;
    return p;
}

static struct slice copy_of(const struct page *p, struct arena *a)
{
    if (p->state != KEPT)
        return (struct slice){0};
    return p->fit ? arena_slice(a, (struct slice){buf_str(&p->body), p->body.len})
                  : (struct slice){"", 0};
}

/* Whom to tell once the lock is given up. */
static struct waiter *take_waiters(struct fetcher *f, struct page *p)
{
    struct waiter *list = p->waiters;
    for (struct waiter *w = list; w; w = w->next) {
        w->body = copy_of(p, w->a);
        f->waiting--;
    }
    p->waiters = NULL;
    return list;
}

/* ---- one transfer; on the thread ---- */

static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct page *p = ctx;

    if (purpose != CURLSOCKTYPE_IPCXN || !guard_allows(&p->f->guard, &to->addr)) {
        p->forbidden = true;
        return CURL_SOCKET_BAD;
    }
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

static size_t take_body(char *bytes, size_t size, size_t n, void *ctx)
{
    struct page *p = ctx;

    buf_add(&p->body, bytes, size * n);
    return p->body.failed ? 0 : size * n;
}

#define SET(option, value) (ok = ok && curl_easy_setopt(p->easy, (option), (value)) == CURLE_OK)

static bool setup(struct page *p, long timeout_ms)
{
    const char *ca_file = p->f->s->fetch_ca_file;
    bool ok = true;

    SET(CURLOPT_URL, p->url);
    SET(CURLOPT_PRIVATE, p);
    SET(CURLOPT_PROTOCOLS_STR, "https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* its end waits for no name server */
    SET(CURLOPT_TIMEOUT_MS, timeout_ms);
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(CURLOPT_OPENSOCKETDATA, p);
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, p);
    SET(CURLOPT_ERRORBUFFER, p->error);
    SET(CURLOPT_USERAGENT, "Tocsin");
    if (*ca_file) {
        SET(CURLOPT_CAINFO, ca_file);
        SET(CURLOPT_CAPATH, NULL); /* and no other */
    }
    return ok;
}

static struct slice host_of(const char *url)
{
    const char *host = strstr(url, "://");

    host = host ? host + 3 : url;
    return (struct slice){host, strcspn(host, "/?#")};
}

/* The address itself may hold a token. */
static void log_failure(const struct page *p, long status, CURLcode code)
{
    static struct log_limit limit = {.per_minute = 6};
    uint32_t dropped = 0;

    if (!log_allow(&limit, &dropped))
        return;
    log_warn(EV("fetch_failed"), KV("host", host_of(p->url)), KV("status", status),
             KV("reason", p->forbidden ? "the address is private; limits.allow_private_addresses "
                                         "does not contain it"
                          : code == CURLE_OK ? "the answer is not what it should be"
                          : p->error[0]      ? p->error
                                             : curl_easy_strerror(code)),
             KV("dropped", dropped));
}

static bool is_good(const struct page *p, long status, CURLcode code)
{
    if (code != CURLE_OK)
        return false;
    if (!p->fit)
        return status >= 200 && status < 300;
    return status == 200 && p->fit((struct slice){buf_str(&p->body), p->body.len});
}

static void tell(struct waiter *list)
{
    while (list) {
        struct waiter *w = list;
        list = w->next;
        w->done(w->ctx, w->body);
        free(w);
    }
}

static void finish(struct fetcher *f, struct page *p, CURLcode code)
{
    long status = 0;

    if (p->easy) {
        (void)curl_easy_getinfo(p->easy, CURLINFO_RESPONSE_CODE, &status);
        (void)curl_multi_remove_handle(f->multi, p->easy);
        curl_easy_cleanup(p->easy);
        p->easy = NULL;
    }
    const bool good = is_good(p, status, code);
    if (!good)
        log_failure(p, status, code);
    counter_add(good ? f->fetched : f->failed, 1);
    (void)pthread_mutex_lock(&f->lock);
    if (p->state == UNDER_WAY)
        f->under_way--;
    p->state = good ? KEPT : FAILED;
    p->until = clock_monotonic_ms() + (good ? f->s->fetch_keep : FAILED_MS);
    struct waiter *list = take_waiters(f, p);
    if (p->fit)
        make_room(f);
    else
        drop(f, p);
    (void)pthread_mutex_unlock(&f->lock);
    tell(list);
}

/* ---- the thread ---- */

/* The one that waits for longest, if there is a place for it or it has waited for too long. */
static struct page *take_queued(struct fetcher *f, bool *ret_late)
{
    struct page *oldest = NULL;

    (void)pthread_mutex_lock(&f->lock);
    for (struct page *p = f->pages; p; p = p->next)
        if (p->state == QUEUED)
            oldest = p;
    *ret_late = oldest && (f->stop || oldest->until <= clock_monotonic_ms());
    if (oldest && !*ret_late) {
        if (f->under_way < f->s->fetch_concurrency) {
            oldest->state = UNDER_WAY;
            f->under_way++;
        } else {
            oldest = NULL;
        }
    }
    (void)pthread_mutex_unlock(&f->lock);
    return oldest;
}

static void begin(struct fetcher *f, struct page *p)
{
    const int64_t left = p->until - clock_monotonic_ms();

    p->easy = curl_easy_init();
    if (!p->easy || !setup(p, left > 0 ? (long)left : 1) ||
        curl_multi_add_handle(f->multi, p->easy) != CURLM_OK)
        finish(f, p, CURLE_FAILED_INIT);
}

static void begin_queued(struct fetcher *f)
{
    struct page *p;
    bool late;

    while ((p = take_queued(f, &late))) {
        if (late)
            finish(f, p, CURLE_OPERATION_TIMEDOUT);
        else
            begin(f, p);
    }
}

static void finish_done(struct fetcher *f)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(f->multi, &left))) {
        if (m->msg != CURLMSG_DONE)
            continue;
        const CURLcode code = m->data.result;
        struct page *p = NULL;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&p);
        if (p)
            finish(f, p, code);
    }
}

static bool is_stopped(struct fetcher *f)
{
    (void)pthread_mutex_lock(&f->lock);
    const bool stop = f->stop;
    (void)pthread_mutex_unlock(&f->lock);
    return stop;
}

static struct page *any_under_way(struct fetcher *f)
{
    (void)pthread_mutex_lock(&f->lock);
    struct page *p = f->pages;
    while (p && p->state != UNDER_WAY)
        p = p->next;
    (void)pthread_mutex_unlock(&f->lock);
    return p;
}

static void *run(void *ctx)
{
    struct fetcher *f = ctx;
    struct page *p;
    int running;

    while (!is_stopped(f)) {
        begin_queued(f);
        (void)curl_multi_perform(f->multi, &running);
        finish_done(f);
        begin_queued(f);
        if (!is_stopped(f))
            (void)curl_multi_poll(f->multi, NULL, 0, POLL_MS, NULL);
    }
    while ((p = any_under_way(f)))
        finish(f, p, CURLE_ABORTED_BY_CALLBACK);
    begin_queued(f);
    return NULL;
}

/* ---- for everybody ---- */

enum known { KNOWN = 1, WAITING, TOO_MANY };

/* Under the lock. */
static enum known look(struct fetcher *f, const struct fetch *what, struct waiter *w)
{
    struct page *p = find(f, what);

    if (p && is_at_hand(p)) {
        w->body = copy_of(p, w->a);
        return KNOWN;
    }
    if (f->stop || f->waiting >= f->s->fetch_waiting || (!p && !(p = page_new(f, what))))
        return TOO_MANY;
    w->next = p->waiters;
    p->waiters = w;
    f->waiting++;
    return WAITING;
}

void fetcher_get(struct fetcher *f, const struct fetch *what, struct arena *a, fetched_fn *done,
                 void *ctx)
{
    struct waiter *w = calloc(1, sizeof(*w));

    if (!w) {
        done(ctx, (struct slice){0});
        return;
    }
    *w = (struct waiter){.a = a, .done = done, .ctx = ctx};
    (void)pthread_mutex_lock(&f->lock);
    const enum known known = look(f, what, w);
    (void)pthread_mutex_unlock(&f->lock);
    if (known == WAITING) {
        (void)curl_multi_wakeup(f->multi);
        return;
    }
    counter_add(known == KNOWN ? f->from_kept : f->refused, 1);
    tell(w);
}

static struct counter *count(const char *result)
{
    char labels[64];

    (void)snprintf(labels, sizeof(labels), "result=\"%s\"", result);
    return counter_new("tocsin_ingest_fetches_total",
                       "Things from elsewhere that requests could not be judged without.", labels);
}

static int prepare(struct fetcher *f, const struct settings *s, struct err *e)
{
    int rc = guard_init(&f->guard, &s->limits.allow_private_addresses, e);
    if (rc < 0)
        return rc;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(f->multi = curl_multi_init()))
        return err_set(e, -ENOMEM, "curl cannot start");
    rc = pthread_create(&f->thread, NULL, run, f);
    return rc == 0 ? 0 : err_set(e, -rc, "cannot start a thread");
}

static void release(struct fetcher *f)
{
    while (f->pages)
        drop(f, f->pages);
    (void)curl_multi_cleanup(f->multi);
    (void)pthread_mutex_destroy(&f->lock);
    guard_release(&f->guard);
    free(f);
}

int fetcher_new(const struct settings *s, struct fetcher **ret, struct err *e)
{
    struct fetcher *f = calloc(1, sizeof(*f));
    if (!f)
        return err_set(e, -ENOMEM, "out of memory");
    f->s = &s->ingest;
    f->fetched = count("fetched");
    f->failed = count("failed");
    f->from_kept = count("kept");
    f->refused = count("refused");
    (void)pthread_mutex_init(&f->lock, NULL);
    int rc = prepare(f, s, e);
    if (rc < 0) {
        release(f);
        return rc;
    }
    *ret = f;
    return 0;
}

void fetcher_free(struct fetcher *f)
{
    if (!f)
        return;
    (void)pthread_mutex_lock(&f->lock);
    f->stop = true;
    (void)pthread_mutex_unlock(&f->lock);
    (void)curl_multi_wakeup(f->multi);
    (void)pthread_join(f->thread, NULL);
    release(f);
}
