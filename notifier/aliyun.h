/* Requests to Aliyun's APIs in RPC style, version 1.0 of its signature. Pure. */
#pragma once

#include "common/arena.h"
#include "common/err.h"

struct aliyun_field {
    const char *name, *value;
};

/* The fields as a form in the order of their names, with their Signature at the end; `fields` are
 * sorted. {NULL,0} past the arena's cap. */
struct slice aliyun_signed(const char *method, struct aliyun_field *fields, size_t n,
                           const char *secret, struct arena *a);
