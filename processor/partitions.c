#include "processor/partitions.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct partitions {
    pthread_mutex_t lock;
    struct partition *v;
    size_t n, cap;
    uint64_t epoch;
};

struct partitions *partitions_new(void)
{
    struct partitions *p = calloc(1, sizeof(*p));

    if (p)
        (void)pthread_mutex_init(&p->lock, NULL);
    return p;
}

void partitions_free(struct partitions *p)
{
    if (!p)
        return;
    (void)pthread_mutex_destroy(&p->lock);
    free(p->v);
    free(p);
}

static struct partition *find(const struct partitions *p, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->v[i].partition == partition && strcmp(p->v[i].topic, topic) == 0)
            return &p->v[i];
    return NULL;
}

static int assign_locked(struct partitions *p, const struct offset_row *v, size_t n)
{
    p->epoch++;
    if (p->n + n > p->cap) {
        struct partition *more = realloc(p->v, (p->n + n) * sizeof(*more));
        if (!more)
            return -ENOMEM;
        p->v = more;
        p->cap = p->n + n;
    }
    for (size_t i = 0; i < n; i++) {
        struct partition *e = find(p, v[i].topic, v[i].partition);
        if (!e)
            e = &p->v[p->n++];
        *e = (struct partition){.partition = v[i].partition,
                                .position = v[i].next,
                                .committed = v[i].next,
                                .deaths = (uint32_t)v[i].starts};
        (void)snprintf(e->topic, sizeof(e->topic), "%s", v[i].topic);
    }
    return 0;
}

int partitions_assign(struct partitions *p, const struct offset_row *v, size_t n)
{
    (void)pthread_mutex_lock(&p->lock);
    const int rc = assign_locked(p, v, n);
    (void)pthread_mutex_unlock(&p->lock);
    return rc;
}

void partitions_revoke(struct partitions *p, const struct kafka_partition *v, size_t n)
{
    (void)pthread_mutex_lock(&p->lock);
    p->epoch++;
    for (size_t i = 0; i < n; i++) {
        struct partition *e = find(p, v[i].topic, v[i].partition);
        if (e)
            *e = p->v[--p->n];
    }
    (void)pthread_mutex_unlock(&p->lock);
}

uint64_t partitions_epoch(struct partitions *p)
{
    (void)pthread_mutex_lock(&p->lock);
    const uint64_t epoch = p->epoch;
    (void)pthread_mutex_unlock(&p->lock);
    return epoch;
}

void partitions_bump(struct partitions *p)
{
    (void)pthread_mutex_lock(&p->lock);
    p->epoch++;
    (void)pthread_mutex_unlock(&p->lock);
}

bool partitions_get(struct partitions *p, const char *topic, int32_t partition,
                    struct partition *ret)
{
    (void)pthread_mutex_lock(&p->lock);
    const struct partition *e = find(p, topic, partition);
    if (e)
        *ret = *e;
    (void)pthread_mutex_unlock(&p->lock);
    return e != NULL;
}

/* The committing thread owns `committed` and `newest_at`, and takes `announced` back; everybody
 * else's copy of them is old. */
void partitions_put(struct partitions *p, const struct partition *v)
{
    (void)pthread_mutex_lock(&p->lock);
    struct partition *e = find(p, v->topic, v->partition);
    if (e) {
        const int64_t committed = e->committed, newest_at = e->newest_at;
        const bool announced = e->announced;
        *e = *v;
        e->announced = announced;
        e->committed = committed;
        e->newest_at = newest_at;
    }
    (void)pthread_mutex_unlock(&p->lock);
}

void partitions_announced(struct partitions *p, const char *topic, int32_t partition)
{
    (void)pthread_mutex_lock(&p->lock);
    struct partition *e = find(p, topic, partition);
    if (e)
        e->announced = true;
    (void)pthread_mutex_unlock(&p->lock);
}

void partitions_committed(struct partitions *p, const char *topic, int32_t partition, int64_t next,
                          int64_t newest_at)
{
    (void)pthread_mutex_lock(&p->lock);
    struct partition *e = find(p, topic, partition);
    if (e) {
        e->committed = next;
        e->announced = false;
        if (newest_at > e->newest_at)
            e->newest_at = newest_at;
    }
    (void)pthread_mutex_unlock(&p->lock);
}

size_t partitions_all(struct partitions *p, struct arena *a, struct partition **ret)
{
    (void)pthread_mutex_lock(&p->lock);
    const size_t n = p->n;
    *ret = arena_array(a, n + 1, struct partition);
    if (*ret && n)
        memcpy(*ret, p->v, n * sizeof(**ret));
    (void)pthread_mutex_unlock(&p->lock);
    return *ret ? n : 0;
}
