/*
 * Preloaded into tocsin-processor: it dies of a body with certain words in it, as of a bug that
 * only this body meets. In the decoder at once; in the store a moment later, so that whoever else
 * is about to begin something has begun it.
 */
#include <dlfcn.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HAS(p, n, words) ((p) && memmem(p, n, words, sizeof(words) - 1))

json_t *json_loadb(const char *buffer, size_t len, size_t flags, json_error_t *error)
{
    json_t *(*next)(const char *, size_t, size_t, json_error_t *);

    if (HAS(buffer, len, "kills the decoder"))
        abort();
    *(void **)&next = dlsym(RTLD_NEXT, "json_loadb");
    return next(buffer, len, flags, error);
}

int PQsendQueryPrepared(PGconn *conn, const char *name, int n, const char *const *values,
                        const int *lengths, const int *formats, int format)
{
    int (*next)(PGconn *, const char *, int, const char *const *, const int *, const int *, int);

    for (int i = 0; i < n; i++) {
        const size_t len = (size_t)lengths[i];
        /* What was made of it; the original may go to `dead`. */
        if (!HAS(values[i], len, "kills the store") || HAS(values[i], len, "\"labels\""))
            continue;
        (void)nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
        abort();
    }
    *(void **)&next = dlsym(RTLD_NEXT, "PQsendQueryPrepared");
    return next(conn, name, n, values, lengths, formats, format);
}
