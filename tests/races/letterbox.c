#include "letterbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "testing.h"

#define LETTERS 64
#define LETTER_MAX ((size_t)256 << 10)
#define PATIENCE_MS 20000

struct letter {
    int fd; /* -1: answered */
    char *text;
};

struct letterbox {
    int listener, port, leash[2];
    pthread_t thread;
    pthread_mutex_t lock; /* of the letters */
    struct letter v[LETTERS];
    size_t n;
};

static _Noreturn void give_up(const char *what)
{
    (void)fprintf(stderr, "letterbox: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Bytes of the whole request once its head is there; 0: not yet. */
static size_t size_of(const char *text)
{
    const char *end = strstr(text, "\r\n\r\n"), *len = strcasestr(text, "\r\ncontent-length:");

    if (!end)
        return 0;
    const size_t body = len && len < end ? strtoul(len + 17, NULL, 10) : 0;
    return (size_t)(end - text) + 4 + body;
}

/* The request as text; NULL when it never became whole. */
static char *read_letter(int fd)
{
    char *text = calloc(1, LETTER_MAX + 1);
    size_t n = 0;

    if (!text)
        give_up("memory");
    while (n < LETTER_MAX && (size_of(text) == 0 || n < size_of(text))) {
        const ssize_t got = read(fd, text + n, LETTER_MAX - n);
        if (got <= 0) {
            free(text);
            return NULL;
        }
        n += (size_t)got;
    }
    return text;
}

static void receive(struct letterbox *l)
{
    const struct timeval patience = {.tv_sec = 5};
    const int fd = accept4(l->listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    char *text = read_letter(fd);
    (void)pthread_mutex_lock(&l->lock);
    if (text && l->n < LETTERS) {
        l->v[l->n++] = (struct letter){fd, text};
    } else {
        close(fd);
        free(text);
    }
    (void)pthread_mutex_unlock(&l->lock);
}

static void *run(void *ctx)
{
    struct letterbox *l = ctx;
    struct pollfd fds[2] = {{.fd = l->leash[0], .events = POLLIN},
                            {.fd = l->listener, .events = POLLIN}};

    while (poll(fds, 2, -1) >= 0 || errno == EINTR) {
        if (fds[0].revents)
            return NULL;
        if (fds[1].revents)
            receive(l);
    }
    give_up("poll");
}

struct letterbox *letterbox_open(void)
{
    struct letterbox *l = calloc(1, sizeof(*l));
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);

    if (!l || pipe(l->leash) != 0)
        give_up("memory");
    l->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (l->listener < 0 || bind(l->listener, (struct sockaddr *)&a, len) != 0 ||
        getsockname(l->listener, (struct sockaddr *)&a, &len) != 0 ||
        listen(l->listener, LETTERS) != 0)
        give_up("socket");
    l->port = ntohs(a.sin_port);
    (void)pthread_mutex_init(&l->lock, NULL);
    if (pthread_create(&l->thread, NULL, run, l) != 0)
        give_up("thread");
    return l;
}

int letterbox_port(const struct letterbox *l)
{
    return l->port;
}

size_t letterbox_count(struct letterbox *l)
{
    (void)pthread_mutex_lock(&l->lock);
    const size_t n = l->n;
    (void)pthread_mutex_unlock(&l->lock);
    return n;
}

void letterbox_await(struct letterbox *l, size_t n)
{
    for (int i = 0; i < PATIENCE_MS / 5 && letterbox_count(l) < n; i++)
        (void)nanosleep(&(struct timespec){.tv_nsec = 5000000L}, NULL);
    if (letterbox_count(l) < n)
        fail_msg("%zu letters instead of %zu", letterbox_count(l), n);
}

bool letterbox_tells(struct letterbox *l, size_t i, const char *words)
{
    (void)pthread_mutex_lock(&l->lock);
    const bool yes = i < l->n && strstr(l->v[i].text, words);
    (void)pthread_mutex_unlock(&l->lock);
    return yes;
}

void letterbox_answer(struct letterbox *l, size_t i, int status)
{
    char text[256];
    const int len = snprintf(text, sizeof(text),
                             "HTTP/1.1 %d Said\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n"
                             "Connection: close\r\n\r\nok",
                             status);

    (void)pthread_mutex_lock(&l->lock);
    const int fd = i < l->n ? l->v[i].fd : -1;
    if (i < l->n)
        l->v[i].fd = -1;
    (void)pthread_mutex_unlock(&l->lock);
    if (fd < 0)
        fail_msg("letter %zu cannot be answered", i);
    (void)send(fd, text, (size_t)len, MSG_NOSIGNAL);
    close(fd);
}

void letterbox_empty(struct letterbox *l)
{
    (void)pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i].fd >= 0)
            close(l->v[i].fd);
        free(l->v[i].text);
    }
    l->n = 0;
    (void)pthread_mutex_unlock(&l->lock);
}

void letterbox_close(struct letterbox *l)
{
    close(l->leash[1]);
    (void)pthread_join(l->thread, NULL);
    letterbox_empty(l);
    close(l->leash[0]);
    close(l->listener);
    (void)pthread_mutex_destroy(&l->lock);
    free(l);
}
