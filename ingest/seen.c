#include "ingest/seen.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/digest.h"

static int by_digest(const void *a, const void *b)
{
    return memcmp(a, b, SHA256_LEN);
}

bool seen_has(const struct seen *s, struct slice payload)
{
    unsigned char digest[SHA256_LEN];
    if (!s->root)
        return false;
    sha256(payload.p, payload.len, digest);
    return tfind(digest, &s->root, by_digest) != NULL;
}

int seen_add(struct seen *s, struct slice payload)
{
    CLEANUP(free) unsigned char *digest = malloc(SHA256_LEN);
    if (!digest)
        return -ENOMEM;
    sha256(payload.p, payload.len, digest);
    unsigned char *const *node = tsearch(digest, &s->root, by_digest);
    if (!node)
        return -ENOMEM;
    if (*node != digest)
        return -EEXIST;
    (void)TAKE(digest);
    return 0;
}

void seen_release(struct seen *s)
{
    tdestroy(s->root, free);
    s->root = NULL;
}
