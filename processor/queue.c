#include "processor/queue.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const atomic_bool *stop;
    struct batch *v[QUEUE_DEPTH + 1];
    size_t n;
    bool busy, closed; /* the committer has a batch at hand; no more will come */
};

struct queue *queue_new(const atomic_bool *stop)
{
    struct queue *q = calloc(1, sizeof(*q));

    if (!q)
        return NULL;
    (void)pthread_mutex_init(&q->lock, NULL);
    (void)pthread_cond_init(&q->changed, NULL);
    q->stop = stop;
    return q;
}

void queue_free(struct queue *q)
{
    if (!q)
        return;
    for (size_t i = 0; i < q->n; i++)
        batch_free(q->v[i]);
    (void)pthread_cond_destroy(&q->changed);
    (void)pthread_mutex_destroy(&q->lock);
    free(q);
}

static struct timespec in_ms(int64_t ms)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_sec += ms / 1000;
    ts.tv_nsec += (ms % 1000) * 1000000;
    if (ts.tv_nsec >= 1000000000) {
        ts.tv_sec++;
        ts.tv_nsec -= 1000000000;
    }
    return ts;
}

bool queue_room(struct queue *q, size_t max, int64_t ms)
{
    const struct timespec until = in_ms(ms);

    (void)pthread_mutex_lock(&q->lock);
    while (q->n + q->busy > max && !atomic_load(q->stop))
        if (pthread_cond_timedwait(&q->changed, &q->lock, &until) != 0)
            break;
    const bool room = q->n + q->busy <= max;
    (void)pthread_mutex_unlock(&q->lock);
    return room;
}

void queue_put(struct queue *q, struct batch *b)
{
    (void)pthread_mutex_lock(&q->lock);
    while (q->n > QUEUE_DEPTH) /* only where holding back failed */
        (void)pthread_cond_wait(&q->changed, &q->lock);
    q->v[q->n++] = b;
    (void)pthread_cond_broadcast(&q->changed);
    (void)pthread_mutex_unlock(&q->lock);
}

struct batch *queue_take(struct queue *q)
{
    struct batch *b = NULL;

    (void)pthread_mutex_lock(&q->lock);
    q->busy = false;
    (void)pthread_cond_broadcast(&q->changed);
    while (q->n == 0 && !q->closed)
        (void)pthread_cond_wait(&q->changed, &q->lock);
    if (q->n > 0) {
        b = q->v[0];
        q->n--;
        for (size_t i = 0; i < q->n; i++)
            q->v[i] = q->v[i + 1];
        q->busy = true;
    }
    (void)pthread_mutex_unlock(&q->lock);
    return b;
}

void queue_close(struct queue *q)
{
    (void)pthread_mutex_lock(&q->lock);
    q->closed = true;
    (void)pthread_cond_broadcast(&q->changed);
    (void)pthread_mutex_unlock(&q->lock);
}
