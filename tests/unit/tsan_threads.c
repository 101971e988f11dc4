/*
 * ThreadSanitizer knows pthreads but not the C11 threads of glibc, which librdkafka uses: it ends
 * in an internal error in the first of its threads. In builds with -fsanitize=thread every test
 * carries this file, whose functions come before the C library's. In glibc the types are the same
 * ones under another name.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

/*
 * librdkafka counts references with atomics that are not instrumented, so the order between the
 * last use of an object and its end is invisible. Only its destructors are excused: excusing the
 * library would also excuse our callbacks.
 */
const char *__tsan_default_suppressions(void); /* NOLINT: ThreadSanitizer's name */

const char *__tsan_default_suppressions(void) /* NOLINT */
{
    return "race:^free$\n"
           "race:^__interceptor_free$\n"
           "race:^pthread_rwlock_destroy$\n"
           "race:^pthread_mutex_destroy$\n"
           "race:^pthread_cond_destroy$\n"
           "race:^__interceptor_pthread_rwlock_destroy$\n"
           "race:^__interceptor_pthread_mutex_destroy$\n"
           "race:^__interceptor_pthread_cond_destroy$\n";
}

struct start {
    thrd_start_t run;
    void *arg;
};

static void *trampoline(void *p)
{
    struct start s = *(struct start *)p;
    free(p);
    int rc = s.run(s.arg);
    return (void *)(intptr_t)rc; /* NOLINT(performance-no-int-to-ptr): as glibc does */
}

int thrd_create(thrd_t *ret, thrd_start_t run, void *arg)
{
    struct start *s = malloc(sizeof *s);
    if (!s)
        return thrd_nomem;
    *s = (struct start){run, arg};
    if (pthread_create(ret, NULL, trampoline, s) == 0)
        return thrd_success;
    free(s);
    return thrd_error;
}

int thrd_join(thrd_t t, int *ret)
{
    void *result;
    if (pthread_join(t, &result))
        return thrd_error;
    if (ret)
        *ret = (int)(intptr_t)result;
    return thrd_success;
}

int thrd_detach(thrd_t t)
{
    return pthread_detach(t) ? thrd_error : thrd_success;
}

int mtx_init(mtx_t *m, int type)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, type & mtx_recursive ? PTHREAD_MUTEX_RECURSIVE
                                                          : PTHREAD_MUTEX_NORMAL);
    int rc = pthread_mutex_init((pthread_mutex_t *)m, &attr);
    pthread_mutexattr_destroy(&attr);
    return rc ? thrd_error : thrd_success;
}

int mtx_lock(mtx_t *m)
{
    return pthread_mutex_lock((pthread_mutex_t *)m) ? thrd_error : thrd_success;
}

int mtx_trylock(mtx_t *m)
{
    return pthread_mutex_trylock((pthread_mutex_t *)m) ? thrd_busy : thrd_success;
}

int mtx_unlock(mtx_t *m)
{
    return pthread_mutex_unlock((pthread_mutex_t *)m) ? thrd_error : thrd_success;
}

void mtx_destroy(mtx_t *m)
{
    pthread_mutex_destroy((pthread_mutex_t *)m);
}

int cnd_init(cnd_t *c)
{
    return pthread_cond_init((pthread_cond_t *)c, NULL) ? thrd_error : thrd_success;
}

int cnd_signal(cnd_t *c)
{
    return pthread_cond_signal((pthread_cond_t *)c) ? thrd_error : thrd_success;
}

int cnd_broadcast(cnd_t *c)
{
    return pthread_cond_broadcast((pthread_cond_t *)c) ? thrd_error : thrd_success;
}

int cnd_wait(cnd_t *c, mtx_t *m)
{
    return pthread_cond_wait((pthread_cond_t *)c, (pthread_mutex_t *)m) ? thrd_error : thrd_success;
}

int cnd_timedwait(cnd_t *c, mtx_t *m, const struct timespec *until)
{
    int rc = pthread_cond_timedwait((pthread_cond_t *)c, (pthread_mutex_t *)m, until);
    return rc == 0 ? thrd_success : rc == ETIMEDOUT ? thrd_timedout : thrd_error;
}

void cnd_destroy(cnd_t *c)
{
    pthread_cond_destroy((pthread_cond_t *)c);
}
