/* tocsin-ingest: webhooks in, records out. */
#pragma once

#include "common/service.h"
#include "common/source.h"
#include "ingest/beat.h"
#include "ingest/publish.h"
#include "ingest/tally.h"

extern const struct service_type ingest_service;

struct ingest {
    const struct settings *settings;
    const struct source_entries *entries;
    struct tally *tally;
    struct publisher *publisher;
    struct beat *beat;
    char id[UUID_STR]; /* of this process */
};

extern const struct http_route ingest_routes[];
