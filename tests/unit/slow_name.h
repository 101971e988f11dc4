/* A name that no name server answers for until it is let go: the program's own getaddrinfo() comes
 * before the C library's, for libcurl too. Only one file of a test includes it. */
#pragma once

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define SLOW_NAME "slow.example"

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool held;
    unsigned asking;
} names = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

    if (!node || strcmp(node, SLOW_NAME) != 0) {
        *(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
        return next(node, service, hints, ret);
    }
    (void)pthread_mutex_lock(&names.lock);
    names.asking++;
    while (names.held)
        (void)pthread_cond_wait(&names.changed, &names.lock);
    names.asking--;
    (void)pthread_cond_broadcast(&names.changed);
    (void)pthread_mutex_unlock(&names.lock);
    return EAI_AGAIN;
}

static void name_hold(void)
{
    (void)pthread_mutex_lock(&names.lock);
    names.held = true;
    (void)pthread_mutex_unlock(&names.lock);
}

/* And wait until nobody asks any more. */
static void name_let_go(void)
{
    (void)pthread_mutex_lock(&names.lock);
    names.held = false;
    (void)pthread_cond_broadcast(&names.changed);
    while (names.asking > 0)
        (void)pthread_cond_wait(&names.changed, &names.lock);
    (void)pthread_mutex_unlock(&names.lock);
}
