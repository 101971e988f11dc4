/*
 * Many keep-alive connections to one server, in one thread. Open loop: requests fall due when the
 * schedule says, whatever the server does, wait for a free connection when there is none, and their
 * time counts from when they were due. Closed loop (rate 0): each connection sends its next request
 * when the last was answered.
 */
#pragma once

#include <netinet/in.h>

#include "histogram.h"
#include "traffic.h"

struct client_options {
    struct sockaddr_in address;
    size_t connections;
    double rate;               /* requests a second; 0: closed loop */
    int64_t run_us, linger_us; /* how long requests fall due, and are then waited for */
    uint64_t seed;
};

#define STATUSES_MAX 16

struct client_result {
    int64_t began_ms; /* wall time */
    int64_t us;       /* until the last answer */
    uint64_t due, made, unsent, unanswered, received;
    struct durations good, other; /* 2xx, and everything else that was an answer */
    struct {
        unsigned kind, status;
        uint64_t n;
    } statuses[KINDS_MAX * 4];
    size_t status_n;
};

int client_run(const struct client_options *o, const struct traffic *t, struct client_result *ret,
               struct err *e) MUST_CHECK;
