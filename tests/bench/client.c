#include "client.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "response.h"
#include "schedule.h"

#define RETRY_US 100000 /* between attempts at a connection that was refused */
#define READ_SIZE 65536
#define EVENTS 256

enum link_state { LINK_DOWN = 1, LINK_FREE, LINK_BUSY };

/* One connection, and the request that is on it. */
struct link {
    int fd;
    enum link_state state;
    bool writes; /* waits to go on writing */
    int64_t due, retry_at;
    struct request request;
    size_t sent;
    struct response response;
    struct link *next_free;
};

struct run {
    const struct client_options *o;
    const struct traffic *t;
    struct client_result *result;
    int epoll;
    struct link *links;
    struct link *free_first, *free_last; /* longest free first */
    size_t down;
    int64_t now, wall; /* monotonic us; what to add for wall time */
    int64_t end, give_up;
    struct schedule schedule;
    int64_t next_due;
    int64_t *waiting; /* due, and no connection was free: a ring */
    size_t waiting_first, waiting_n, waiting_room;
    size_t busy;
    bool dry; /* the traffic has nothing more */
};

static int64_t clock_us(clockid_t id)
{
    struct timespec t;

    (void)clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* ---- connections ---- */

static void set_free(struct run *r, struct link *l)
{
    l->state = LINK_FREE;
    l->next_free = NULL;
    if (r->free_last)
        r->free_last->next_free = l;
    else
        r->free_first = l;
    r->free_last = l;
}

static struct link *take_free(struct run *r)
{
    struct link *l = r->free_first;

    if (l) {
        r->free_first = l->next_free;
        if (!r->free_first)
            r->free_last = NULL;
    }
    return l;
}

static void drop_free(struct run *r, const struct link *gone)
{
    struct link *all = r->free_first, *next;

    r->free_first = r->free_last = NULL;
    for (; all; all = next) {
        next = all->next_free;
        if (all != gone)
            set_free(r, all);
    }
}

static void set_down(struct run *r, struct link *l, int64_t retry_at)
{
    if (l->fd >= 0)
        (void)close(l->fd);
    l->fd = -1;
    l->state = LINK_DOWN;
    l->retry_at = retry_at;
    r->down++;
}

/* To loopback: it is up, or refused, at once. */
static void dial(struct run *r, struct link *l)
{
    const int on = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = l};

    r->down--;
    l->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (l->fd < 0 ||
        connect(l->fd, (const struct sockaddr *)&r->o->address, sizeof(r->o->address)) < 0 ||
        setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
        epoll_ctl(r->epoll, EPOLL_CTL_ADD, l->fd, &event) < 0) {
        set_down(r, l, r->now + RETRY_US);
        return;
    }
    l->writes = false;
    set_free(r, l);
}

static void dial_all(struct run *r)
{
    for (size_t i = 0; i < r->o->connections && r->down > 0; i++)
        if (r->links[i].state == LINK_DOWN && r->links[i].retry_at <= r->now)
            dial(r, &r->links[i]);
}

/* ---- requests ---- */

static void count_status(struct client_result *res, unsigned kind, unsigned status)
{
    size_t i = 0;

    while (i < res->status_n &&
           (res->statuses[i].kind != kind || res->statuses[i].status != status))
        i++;
    if (i == res->status_n) {
        if (i == sizeof(res->statuses) / sizeof(res->statuses[0]))
            return;
        res->statuses[i].kind = kind;
        res->statuses[i].status = status;
        res->statuses[i].n = 0;
        res->status_n++;
    }
    res->statuses[i].n++;
}

/* The request is over, with a status or (0) without an answer. */
static void finish(struct run *r, struct link *l, unsigned status)
{
    struct client_result *res = r->result;
    const int64_t now = clock_us(CLOCK_MONOTONIC);

    r->busy--;
    r->t->answered(r->t->self, &l->request, status, (now + r->wall) / 1000);
    count_status(res, l->request.kind, status);
    res->us = now;
    if (status == 0)
        res->unanswered++;
    else
        durations_add(status >= 200 && status < 300 ? &res->good : &res->other, now - l->due);
}

static void broken(struct run *r, struct link *l)
{
    if (l->state == LINK_BUSY)
        finish(r, l, l->response.has_head ? l->response.status : 0);
    else
        drop_free(r, l);
    set_down(r, l, r->now);
}

static void watch(struct run *r, struct link *l, bool writes)
{
    struct epoll_event event = {.events = EPOLLIN | (writes ? (uint32_t)EPOLLOUT : 0),
                                .data.ptr = l};

    if (l->writes != writes)
        (void)epoll_ctl(r->epoll, EPOLL_CTL_MOD, l->fd, &event);
    l->writes = writes;
}

/* A refusal may come before all is sent: an error here is for the reader to judge. */
static void write_some(struct run *r, struct link *l)
{
    const struct buf *text = &l->request.text;

    while (l->sent < text->len) {
        const ssize_t n =
            send(l->fd, text->p + l->sent, text->len - l->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            watch(r, l, errno == EAGAIN);
            return;
        }
        l->sent += (size_t)n;
    }
    watch(r, l, false);
}

static void begin_request(struct run *r, struct link *l, int64_t due)
{
    if (r->dry || !r->t->make(r->t->self, (due + r->wall) / 1000, &l->request)) {
        r->dry = true;
        set_free(r, l);
        return;
    }
    l->state = LINK_BUSY;
    l->due = due;
    l->sent = 0;
    response_begin(&l->response);
    r->busy++;
    r->result->made++;
    write_some(r, l);
}

static void answer_done(struct run *r, struct link *l)
{
    const bool close_it = l->response.close || l->sent < l->request.text.len;

    finish(r, l, l->response.status);
    if (close_it)
        set_down(r, l, r->now);
    else
        set_free(r, l);
}

static void read_some(struct run *r, struct link *l)
{
    char bytes[READ_SIZE];
    const ssize_t n = recv(l->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 || l->state != LINK_BUSY) {
        broken(r, l);
        return;
    }
    r->result->received += (uint64_t)n;
    if (response_feed(&l->response, bytes, (size_t)n) < 0)
        broken(r, l);
    else if (l->response.done)
        answer_done(r, l);
}

/* ---- what is due ---- */

static bool wait_in_line(struct run *r, int64_t due)
{
    if (r->waiting_n == r->waiting_room) {
        const size_t room = r->waiting_room ? 2 * r->waiting_room : 1024;
        int64_t *more = malloc(room * sizeof(*more));
        if (!more)
            return false;
        for (size_t i = 0; i < r->waiting_n; i++)
            more[i] = r->waiting[(r->waiting_first + i) % r->waiting_room];
        free(r->waiting);
        r->waiting = more;
        r->waiting_first = 0;
        r->waiting_room = room;
    }
    r->waiting[(r->waiting_first + r->waiting_n++) % r->waiting_room] = due;
    return true;
}

static bool line_up(struct run *r)
{
    if (r->o->rate <= 0)
        return true;
    for (; r->next_due <= r->now && r->next_due < r->end && !r->dry;
         r->next_due = schedule_next(&r->schedule)) {
        r->result->due++;
        if (!wait_in_line(r, r->next_due))
            return false;
    }
    return true;
}

static void send_due(struct run *r)
{
    while (r->free_first && !r->dry) {
        int64_t due = r->now;
        if (r->o->rate > 0) {
            if (r->waiting_n == 0)
                return;
            due = r->waiting[r->waiting_first];
            r->waiting_first = (r->waiting_first + 1) % r->waiting_room;
            r->waiting_n--;
        } else if (r->now >= r->end) {
            return;
        }
        begin_request(r, take_free(r), due);
    }
}

static bool over(const struct run *r)
{
    const bool no_more = r->dry || r->now >= r->end;

    return r->now >= r->give_up || (no_more && r->busy == 0 && (r->dry || r->waiting_n == 0));
}

static struct timespec until_next(const struct run *r)
{
    int64_t wake = r->now < r->end ? r->end : r->give_up;

    if (r->o->rate > 0 && r->next_due < wake)
        wake = r->next_due;
    if (r->down > 0 && r->now + RETRY_US / 10 < wake)
        wake = r->now + RETRY_US / 10;
    const int64_t left = wake > r->now ? wake - r->now : 0;
    return (struct timespec){.tv_sec = left / 1000000, .tv_nsec = left % 1000000 * 1000};
}

static int turn(struct run *r, struct err *e)
{
    struct epoll_event events[EVENTS];

    r->now = clock_us(CLOCK_MONOTONIC);
    dial_all(r);
    if (!line_up(r))
        return err_set(e, -ENOMEM, "out of memory");
    send_due(r);
    const struct timespec wait = until_next(r);
    const int n = epoll_pwait2(r->epoll, events, EVENTS, &wait, NULL);
    if (n < 0 && errno != EINTR)
        return err_set(e, -errno, "epoll_pwait2: %s", strerror(errno));
    for (int i = 0; i < n; i++) {
        struct link *l = events[i].data.ptr;
        if (l->state != LINK_DOWN && (events[i].events & ~(uint32_t)EPOLLOUT))
            read_some(r, l);
        if (l->state == LINK_BUSY && (events[i].events & EPOLLOUT))
            write_some(r, l);
    }
    return 0;
}

static int start(struct run *r, struct err *e)
{
    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    r->links = calloc(r->o->connections, sizeof(*r->links));
    if (r->epoll < 0 || !r->links)
        return err_set(e, -ENOMEM, "no memory, or no epoll");
    for (size_t i = 0; i < r->o->connections; i++) {
        r->links[i].fd = -1;
        r->links[i].state = LINK_DOWN;
        r->links[i].request.text.max = REQUEST_MAX;
    }
    r->down = r->o->connections;
    r->now = clock_us(CLOCK_MONOTONIC);
    dial_all(r);
    if (r->down == r->o->connections)
        return err_set(e, -ECONNREFUSED, "nobody listens there");
    r->now = clock_us(CLOCK_MONOTONIC);
    r->wall = clock_us(CLOCK_REALTIME) - r->now;
    r->end = r->now + r->o->run_us;
    r->give_up = r->end + r->o->linger_us;
    r->result->began_ms = (r->now + r->wall) / 1000;
    if (r->o->rate > 0) {
        schedule_start(&r->schedule, r->o->rate, r->o->seed, r->now);
        r->next_due = schedule_next(&r->schedule);
    }
    return 0;
}

static void stop(struct run *r)
{
    for (size_t i = 0; r->links && i < r->o->connections; i++) {
        if (r->links[i].state == LINK_BUSY)
            finish(r, &r->links[i], 0);
        if (r->links[i].fd >= 0)
            (void)close(r->links[i].fd);
        buf_release(&r->links[i].request.text);
    }
    free(r->links);
    free(r->waiting);
    if (r->epoll >= 0)
        (void)close(r->epoll);
}

int client_run(const struct client_options *o, const struct traffic *t, struct client_result *ret,
               struct err *e)
{
    struct run r = {.o = o, .t = t, .result = ret, .epoll = -1};
    int rc = start(&r, e);
    const int64_t began = r.now;

    while (rc == 0 && !over(&r))
        rc = turn(&r, e);
    ret->unsent = r.waiting_n;
    stop(&r);
    ret->us = ret->us > began ? ret->us - began : 0;
    return rc;
}
