#include "console/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define WAIT_S 5

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t given;
    uint32_t free_n, n;
    struct pg **all, **free;
};

int pool_new(const struct postgres_settings *s, uint32_t n, struct pool **ret, struct err *e)
{
    struct pool *p = calloc(1, sizeof(*p));
    int rc = 0;

    if (!p)
        return err_set(e, -ENOMEM, "out of memory");
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->given, NULL);
    p->all = calloc(n, sizeof(struct pg *));
    p->free = calloc(n, sizeof(struct pg *));
    if (!p->all || !p->free) {
        pool_free(p);
        return err_set(e, -ENOMEM, "out of memory");
    }
    for (; rc == 0 && p->n < n; p->n++) {
        rc = pg_open(s, "tocsin-console", &p->all[p->n], e);
        if (rc < 0)
            break;
        p->free[p->n] = p->all[p->n];
    }
    p->free_n = p->n;
    if (rc < 0)
        pool_free(p);
    else
        *ret = p;
    return rc;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    for (uint32_t i = 0; p->all && i < p->n; i++)
        pg_close(p->all[i]);
    free(p->all);
    free(p->free);
    (void)pthread_cond_destroy(&p->given);
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
}

int pool_take(struct pool *p, struct pg **ret, struct err *e)
{
    struct timespec until;
    struct pg *pg = NULL;

    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    (void)pthread_mutex_lock(&p->lock);
    while (p->free_n == 0)
        if (pthread_cond_timedwait(&p->given, &p->lock, &until) != 0)
            break;
    if (p->free_n > 0)
        pg = p->free[--p->free_n];
    (void)pthread_mutex_unlock(&p->lock);
    if (!pg)
        return err_set(e, -EBUSY, "every connection to the database is busy");
    int rc = pg_connect(pg, e);
    if (rc < 0)
        pool_give(p, pg);
    else
        *ret = pg;
    return rc;
}

void pool_give(struct pool *p, struct pg *pg)
{
    (void)pthread_mutex_lock(&p->lock);
    p->free[p->free_n++] = pg;
    (void)pthread_cond_signal(&p->given);
    (void)pthread_mutex_unlock(&p->lock);
}
