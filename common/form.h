/*
 * What a form says: application/x-www-form-urlencoded, multipart/form-data, and the query of a GET.
 * Senders that cannot post JSON post these; the door makes one JSON object of their fields, so that
 * all behind it reads JSON only. Pure.
 */
#pragma once

#include "common/arena.h"

#define FORM_FIELDS_MAX 64
struct form {
    struct form_field {
        struct slice name, value; /* any bytes */
    } v[FORM_FIELDS_MAX];         /* of equal names the last stays */
    size_t n;
};

/* Is this Content-Type (NULL: none) one of the two? */
bool form_is(const char *content_type);
/* 0; -EBADMSG with a reason, -E2BIG past the fields' number or the arena. */
int form_parse(const char *content_type, struct slice body, struct arena *a, struct form *ret,
               struct err *e) MUST_CHECK;
/* "a=b&c=d", without a question mark. */
int form_parse_query(struct slice query, struct arena *a, struct form *ret,
                     struct err *e) MUST_CHECK;
/*
 * {"name":"value",...}, text that is no UTF-8 with U+FFFD in it. Fields named in `json`
 * (NULL-terminated; may be NULL) whose value is a JSON object stand as that object. -E2BIG past the
 * arena.
 */
int form_to_json(const struct form *f, const char *const *json, struct arena *a, struct slice *ret,
                 struct err *e) MUST_CHECK;
