/*
 * tocsin-bench-sink: takes webhooks of Alertmanager's form, version 4, from everybody, answers 200
 * at once, and writes down when each alert was first heard of:
 *
 *   TIME_US <tab> PATH <tab> INSTANCE <tab> STARTS_AT <tab> STATUS
 *
 * one line for each new one of (path, instance, start, status), so that repeats cost nothing.
 * SIGTERM ends it with one line of JSON: messages, alerts in them, those that said nothing new, and
 * copies (an Idempotency-Key that was there before).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>

#include "common/buf.h"
#include "common/digest.h"
#include "common/json.h"

#define BODY_MAX ((size_t)64 << 20)
#define READ_SIZE 262144
#define EVENTS 128
#define NAME_MAX_LEN 200

/* A set of 64-bit hashes; 0 is no member. */
struct set {
    uint64_t *v;
    size_t n, room;
};

struct peer {
    int fd;
    struct buf in;
};

struct sink {
    int epoll, listener, signals;
    struct set heard, keys;
    uint64_t messages, alerts, stale, copies, odd;
};

/* ---- the set ---- */

static bool set_insert(struct set *s, uint64_t h)
{
    for (size_t i = h & (s->room - 1);; i = (i + 1) & (s->room - 1)) {
        if (s->v[i] == h)
            return false;
        if (s->v[i] == 0) {
            s->v[i] = h;
            s->n++;
            return true;
        }
    }
}

/* False: it was there. */
static bool set_add(struct set *s, uint64_t h)
{
    if (2 * (s->n + 1) > s->room) {
        struct set bigger = {.room = s->room ? 2 * s->room : 4096};
        bigger.v = calloc(bigger.room, sizeof(*bigger.v));
        if (!bigger.v)
            abort();
        for (size_t i = 0; i < s->room; i++)
            if (s->v[i] != 0)
                (void)set_insert(&bigger, s->v[i]);
        free(s->v);
        *s = bigger;
    }
    return set_insert(s, h ? h : 1);
}

/* ---- one message ---- */

struct message {
    struct slice path, key, body;
    int64_t at_us;
};

static int64_t now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* A raw JSON string without its quotes. */
static struct slice bare(struct slice raw)
{
    return raw.len >= 2 && raw.p[0] == '"' ? (struct slice){raw.p + 1, raw.len - 2}
                                           : (struct slice){"", 0};
}

static bool note_alert(struct sink *s, const struct message *m, struct slice alert)
{
    const struct slice part[] = {m->path, bare(json_at(alert, "labels.instance")),
                                 bare(json_at(alert, "startsAt")), bare(json_at(alert, "status"))};
    uint64_t hash = FNV1A_INIT;

    s->alerts++;
    for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
        hash = fnv1a(hash, part[i].p, part[i].len);
        hash = fnv1a(hash, "\t", 1);
    }
    if (!set_add(&s->heard, hash))
        return false;
    (void)printf("%lld\t%.*s\t%.*s\t%.*s\t%.*s\n", (long long)m->at_us, SLICE_FMT(part[0]),
                 SLICE_FMT(part[1]), SLICE_FMT(part[2]), SLICE_FMT(part[3]));
    return true;
}

static void note(struct sink *s, const struct message *m)
{
    const struct json_limits limits = {.max_depth = 32};
    struct slice alerts, alert;
    size_t pos = 0;
    bool news = false;

    s->messages++;
    if (json_scan(m->body, &limits, NULL) < 0) {
        s->odd++;
        return;
    }
    if (m->key.len > 0 && !set_add(&s->keys, fnv1a(FNV1A_INIT, m->key.p, m->key.len)))
        s->copies++;
    alerts = json_at(m->body, "alerts");
    if (alerts.len == 0 || alerts.p[0] != '[')
        return;
    while (json_next(alerts, &pos, &alert))
        news |= note_alert(s, m, alert);
    s->stale += !news;
}

/* ---- HTTP ---- */

/* The value of a header in a head that ends in an empty line, or nothing. */
static struct slice header(struct slice head, const char *name)
{
    const size_t n = strlen(name);
    const char *end = head.p + head.len;

    for (const char *line = memchr(head.p, '\n', head.len); line && line + n + 1 < end;
         line = memchr(line, '\n', (size_t)(end - line))) {
        line++;
        if (line + n >= end || strncasecmp(line, name, n) != 0 || line[n] != ':')
            continue;
        const char *value = line + n + 1;
        while (*value == ' ')
            value++;
        return (struct slice){
            value, (size_t)((const char *)memchr(value, '\r', (size_t)(end - value)) - value)};
    }
    return (struct slice){"", 0};
}

/* The path of "POST /path HTTP/1.1". */
static struct slice path_of(struct slice head)
{
    const char *space = memchr(head.p, ' ', head.len);
    const char *path = space ? space + 1 : head.p;
    const char *end = memchr(path, ' ', (size_t)(head.p + head.len - path));

    return (struct slice){path, end ? (size_t)(end - path) : 0};
}

/* Everything whole that has come: answered, noted, gone from the buffer. */
static bool serve(struct sink *s, struct peer *p)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    size_t used = 0;

    for (;;) {
        const char *text = p->in.p + used;
        const size_t n = p->in.len - used;
        const char *end = n ? memmem(text, n, "\r\n\r\n", 4) : NULL;
        if (!end)
            break;
        const struct slice head = {text, (size_t)(end - text) + 4};
        const size_t body = (size_t)strtoull(header(head, "Content-Length").p, NULL, 10);
        if (n < head.len + body)
            break;
        const struct message m = {.path = path_of(head),
                                  .key = header(head, "Idempotency-Key"),
                                  .body = {text + head.len, body},
                                  .at_us = now_us()};
        if (send(p->fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL) < 0)
            return false;
        note(s, &m);
        used += head.len + body;
    }
    memmove(p->in.p, p->in.p + used, p->in.len - used);
    p->in.len -= used;
    return true;
}

static void hang_up(struct peer *p)
{
    (void)close(p->fd);
    buf_release(&p->in);
    free(p);
}

static void listen_to(struct sink *s, struct peer *p)
{
    static char bytes[READ_SIZE];
    const ssize_t n = recv(p->fd, bytes, sizeof(bytes), 0);

    if (n > 0)
        buf_add(&p->in, bytes, (size_t)n);
    if (n <= 0 || p->in.failed || !serve(s, p))
        hang_up(p);
}

static void welcome(struct sink *s)
{
    const int on = 1;
    struct peer *p = calloc(1, sizeof(*p));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = p};

    if (!p)
        abort();
    p->in.max = BODY_MAX;
    p->fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
    if (p->fd < 0 || setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
        epoll_ctl(s->epoll, EPOLL_CTL_ADD, p->fd, &event) < 0)
        hang_up(p);
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): epoll has it from here on */
}

/* ---- life ---- */

static int watch(struct sink *s, int *fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = fd};

    return epoll_ctl(s->epoll, EPOLL_CTL_ADD, *fd, &event);
}

static int open_all(struct sink *s, uint16_t port)
{
    const int on = 1;
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    sigset_t term;

    (void)sigemptyset(&term);
    (void)sigaddset(&term, SIGTERM);
    (void)sigaddset(&term, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &term, NULL);
    s->signals = signalfd(-1, &term, SFD_CLOEXEC);
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->signals < 0 || s->epoll < 0 || s->listener < 0 ||
        setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(s->listener, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(s->listener, SOMAXCONN) < 0 || watch(s, &s->listener) < 0 ||
        watch(s, &s->signals) < 0)
        return -errno;
    return 0;
}

/* False: it is time to end. */
static bool turn(struct sink *s)
{
    struct epoll_event events[EVENTS];
    const int n = epoll_wait(s->epoll, events, EVENTS, -1);

    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == &s->signals)
            return false;
        if (events[i].data.ptr == &s->listener)
            welcome(s);
        else
            listen_to(s, events[i].data.ptr);
    }
    (void)fflush(stdout);
    return true;
}

int main(int argc, char **argv)
{
    struct sink s = {0};
    int rc;

    if (argc != 2) {
        (void)fputs("usage: tocsin-bench-sink PORT\n", stderr);
        return 2;
    }
    if ((rc = open_all(&s, (uint16_t)strtoul(argv[1], NULL, 10))) < 0) {
        (void)fprintf(stderr, "tocsin-bench-sink: %s\n", strerror(-rc));
        return 1;
    }
    while (turn(&s))
        ;
    (void)printf(
        "{\"messages\":%llu,\"alerts\":%llu,\"stale\":%llu,\"copies\":%llu,\"odd\":%llu}\n",
        (unsigned long long)s.messages, (unsigned long long)s.alerts, (unsigned long long)s.stale,
        (unsigned long long)s.copies, (unsigned long long)s.odd);
    free(s.heard.v);
    free(s.keys.v);
    return 0;
}
