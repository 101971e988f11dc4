#include "cut.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECTIONS 16
#define SOCKET_NAME ".s.PGSQL.5432"

/* One direction: frames of type, length and body; the client's first has no type. */
struct flow {
    int from, to;
    bool typed;
    unsigned char head[32]; /* of the frame at hand, as much as matters */
    size_t seen;
};

struct connection {
    struct flow up, down; /* from the client, from the server */
    bool open;
};

struct cut {
    char dir[64], server[100];
    int listener, leash[2];
    pthread_t thread;
    struct connection v[CONNECTIONS];
    pthread_mutex_t lock; /* of all above but the leash */
    enum cut_at at;
    unsigned cuts;
    bool refuse;
};

static _Noreturn void give_up(const char *what)
{
    (void)fprintf(stderr, "cut: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- frames ---- */

static size_t frame_size(const struct flow *f)
{
    const size_t at = f->typed ? 1 : 0;
    uint32_t len;

    if (f->seen < at + sizeof(len))
        return 0;
    memcpy(&len, f->head + at, sizeof(len));
    return at + ntohl(len);
}

/* Parse of an unimportant name and the text COMMIT; or CommandComplete of COMMIT. */
static bool is_commit(const struct flow *f)
{
    const size_t n = f->seen < sizeof(f->head) ? f->seen : sizeof(f->head);
    size_t at = 5;

    if (!f->typed || n < at)
        return false;
    if (f->head[0] == 'P') {
        const unsigned char *end = memchr(f->head + at, '\0', n - at);
        at = end ? (size_t)(end - f->head) + 1 : n;
    } else if (f->head[0] != 'C') {
        return false;
    }
    return at + sizeof("COMMIT") <= n && memcmp(f->head + at, "COMMIT", sizeof("COMMIT")) == 0;
}

/* Is a COMMIT among these bytes? */
static bool commits(struct flow *f, const unsigned char *p, size_t n)
{
    bool found = false;

    for (size_t i = 0; i < n; i++) {
        if (f->seen < sizeof(f->head))
            f->head[f->seen] = p[i];
        f->seen++;
        const size_t size = frame_size(f);
        if (size == 0 || f->seen < size)
            continue;
        found |= is_commit(f);
        f->seen = 0;
        f->typed = true;
    }
    return found;
}

/* ---- the wire ---- */

static void shut(struct connection *x)
{
    close(x->up.from);
    close(x->up.to);
    x->open = false;
}

static bool put(int fd, const unsigned char *p, size_t n)
{
    while (n > 0) {
        const ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

static void carry(struct cut *c, struct connection *x, struct flow *f)
{
    unsigned char bytes[8192];
    const ssize_t n = read(f->from, bytes, sizeof(bytes));
    const enum cut_at here = f == &x->up ? CUT_BEFORE_COMMIT : CUT_AFTER_COMMIT;

    if (n > 0 && commits(f, bytes, (size_t)n) && c->at == here) {
        c->at = CUT_NOWHERE;
        c->cuts++;
        shut(x);
    } else if (n <= 0 || !put(f->to, bytes, (size_t)n)) {
        shut(x);
    }
}

static int connect_to(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static void welcome(struct cut *c)
{
    const int client = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC);
    const int server = client >= 0 && !c->refuse ? connect_to(c->server) : -1;

    for (size_t i = 0; server >= 0 && i < CONNECTIONS; i++) {
        if (c->v[i].open)
            continue;
        c->v[i] = (struct connection){.up = {.from = client, .to = server},
                                      .down = {.from = server, .to = client, .typed = true},
                                      .open = true};
        return;
    }
    if (client >= 0)
        close(client);
    if (server >= 0)
        close(server);
}

static void *run(void *ctx)
{
    struct cut *c = ctx;

    for (;;) {
        struct pollfd fds[2 + 2 * CONNECTIONS] = {{.fd = c->leash[0], .events = POLLIN},
                                                  {.fd = c->listener, .events = POLLIN}};
        (void)pthread_mutex_lock(&c->lock);
        for (size_t i = 0; i < CONNECTIONS; i++) {
            const struct connection *x = &c->v[i];
            fds[2 + 2 * i] = (struct pollfd){.fd = x->open ? x->up.from : -1, .events = POLLIN};
            fds[3 + 2 * i] = (struct pollfd){.fd = x->open ? x->down.from : -1, .events = POLLIN};
        }
        (void)pthread_mutex_unlock(&c->lock);
        /* Short, because cut_now() closes what is waited for. */
        if (poll(fds, sizeof(fds) / sizeof(*fds), 20) < 0 && errno != EINTR)
            give_up("poll");
        if (fds[0].revents)
            return NULL;
        (void)pthread_mutex_lock(&c->lock);
        for (size_t i = 0; i < CONNECTIONS; i++) {
            struct connection *x = &c->v[i];
            if (x->open && x->up.from == fds[2 + 2 * i].fd && fds[2 + 2 * i].revents)
                carry(c, x, &x->up);
            if (x->open && x->down.from == fds[3 + 2 * i].fd && fds[3 + 2 * i].revents)
                carry(c, x, &x->down);
        }
        if (fds[1].revents)
            welcome(c);
        (void)pthread_mutex_unlock(&c->lock);
    }
}

/* ---- from outside ---- */

static int listen_in(const char *dir)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(a.sun_path, sizeof(a.sun_path), "%s/" SOCKET_NAME, dir);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, CONNECTIONS) != 0)
        give_up(a.sun_path);
    return fd;
}

struct cut *cut_open(const char *url)
{
    struct cut *c = calloc(1, sizeof(*c));
    char host[64];

    if (!c || sscanf(url, "host=%63s", host) != 1)
        give_up("host");
    (void)snprintf(c->dir, sizeof(c->dir), "/tmp/tocsin-cut-XXXXXX");
    if (!mkdtemp(c->dir) || pipe(c->leash) != 0)
        give_up(c->dir);
    (void)snprintf(c->server, sizeof(c->server), "%s/" SOCKET_NAME, host);
    c->listener = listen_in(c->dir);
    (void)pthread_mutex_init(&c->lock, NULL);
    if (pthread_create(&c->thread, NULL, run, c) != 0)
        give_up("thread");
    return c;
}

const char *cut_host(const struct cut *c)
{
    return c->dir;
}

void cut_at(struct cut *c, enum cut_at at)
{
    (void)pthread_mutex_lock(&c->lock);
    c->at = at;
    (void)pthread_mutex_unlock(&c->lock);
}

void cut_now(struct cut *c)
{
    (void)pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        if (!c->v[i].open)
            continue;
        shut(&c->v[i]);
        c->cuts++;
    }
    (void)pthread_mutex_unlock(&c->lock);
}

void cut_refuse(struct cut *c, bool refuse)
{
    (void)pthread_mutex_lock(&c->lock);
    c->refuse = refuse;
    (void)pthread_mutex_unlock(&c->lock);
}

unsigned cut_count(struct cut *c)
{
    (void)pthread_mutex_lock(&c->lock);
    const unsigned n = c->cuts;
    (void)pthread_mutex_unlock(&c->lock);
    return n;
}

void cut_close(struct cut *c)
{
    char path[100];

    close(c->leash[1]);
    (void)pthread_join(c->thread, NULL);
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (c->v[i].open)
            shut(&c->v[i]);
    close(c->leash[0]);
    close(c->listener);
    (void)snprintf(path, sizeof(path), "%s/" SOCKET_NAME, c->dir);
    (void)unlink(path);
    (void)rmdir(c->dir);
    (void)pthread_mutex_destroy(&c->lock);
    free(c);
}
