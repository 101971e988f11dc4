/* tocsin-ingest: webhooks in, records out. */
#pragma once

#include "common/service.h"
#include "common/source.h"
#include "ingest/beat.h"
#include "ingest/fetch.h"
#include "ingest/publish.h"
#include "ingest/relay.h"
#include "ingest/tally.h"

extern const struct service_type ingest_service;

struct ingest {
    const struct settings *settings;
    const struct source_entries *entries;
    struct tally *tally;
    struct publisher *publisher;
    struct fetcher *fetcher;
    struct relay *relay; /* NULL: ingest.console_url is not set */
    struct beat *beat;
    struct routes *routes;
    char id[UUID_STR]; /* of this process */
};

/* The addresses: ours, and those that the sources have of their own. NULL: out of memory. */
struct routes *routes_new(void) MUST_CHECK;
void routes_free(struct routes *t);
const struct http_route *ingest_routes(const void *self);
