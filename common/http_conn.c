#include <stdlib.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/httpd_impl.h"

bool conn_deadline(struct conn *c, int64_t ms, bool quiet)
{
    int64_t old = atomic_load(&c->cut_at);

    while (old != CONN_CUT)
        if (atomic_compare_exchange_weak(&c->cut_at, &old, ms * 2 + quiet))
            return true;
    return false;
}

static void conn_open(struct httpd *h, struct MHD_Connection *mc, void **socket_context)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mc, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct conn *c = calloc(1, sizeof(*c));

    if (!c || !info) { /* its requests will be refused */
        free(c);
        return;
    }
    *socket_context = c;
    c->fd = info->connect_fd;
    (void)conn_deadline(c, clock_monotonic_ms() + h->deadline_ms, true);
    (void)pthread_mutex_lock(&h->lock);
    c->next = h->conns;
    if (c->next)
        c->next->prev = c;
    h->conns = c;
    (void)pthread_mutex_unlock(&h->lock);
    gauge_add(h->connections, 1);
}

static void conn_close(struct httpd *h, struct conn *c)
{
    if (!c)
        return;
    (void)pthread_mutex_lock(&h->lock);
    if (c->next)
        c->next->prev = c->prev;
    if (c->prev)
        c->prev->next = c->next;
    else
        h->conns = c->next;
    (void)pthread_mutex_unlock(&h->lock);
    gauge_add(h->connections, -1);
    free(c);
}

/* The server has told us before it closes the socket, so under httpd.lock the descriptor is still
 * this connection's. */
void conn_notify(void *cls, struct MHD_Connection *mc, void **socket_context,
                 enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        conn_open(cls, mc, socket_context);
    else
        conn_close(cls, *socket_context);
}

/* Nothing of an answer is on the wire while a request is read, so ours can go past the server. */
static void conn_cut(const struct conn *c, bool quiet)
{
    static const char late[] =
        "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: application/json\r\n"
        "Content-Length: 86\r\n\r\n"
        "{\"error\":{\"code\":\"request_timeout\",\"message\":\"the request was not complete in "
        "time\"}}\n";

    if (!quiet)
        (void)send(c->fd, late, sizeof(late) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)shutdown(c->fd, SHUT_RDWR);
}

static void reap(struct httpd *h, int64_t now)
{
    for (struct conn *c = h->conns; c; c = c->next) {
        int64_t at = atomic_load(&c->cut_at);

        if (at > 0 && at / 2 <= now && atomic_compare_exchange_strong(&c->cut_at, &at, CONN_CUT))
            conn_cut(c, at % 2 != 0);
    }
}

struct timespec in_ms(int64_t ms)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / MS_SECOND;
    t.tv_nsec += ms % MS_SECOND * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

void *conn_reaper(void *arg)
{
    struct httpd *h = arg;
    int64_t every = h->deadline_ms / 4;

    every = every > 500 ? 500 : every < 10 ? 10 : every;
    (void)pthread_mutex_lock(&h->lock);
    while (!h->stopping) {
        const struct timespec until = in_ms(every);

        (void)pthread_cond_timedwait(&h->wake, &h->lock, &until);
        reap(h, clock_monotonic_ms());
    }
    (void)pthread_mutex_unlock(&h->lock);
    return NULL;
}
