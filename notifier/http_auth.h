/* Alertmanager's `http_config` as far as it means something here: who we are at the other side. */
#pragma once

#include "notifier/channel.h"

struct http_auth {
    const char *username, *password;     /* basic_auth */
    const char *auth_type, *credentials; /* authorization */
};

/* From the entry's `http_config`, which the channel names in its `trees`. */
int http_auth_load(struct http_auth *ret, const struct check_input *in, struct err *e) MUST_CHECK;
bool http_auth_given(const struct http_auth *h);
/* The Authorization header's value; NULL past the arena's cap. Only when given. */
const char *http_auth_value(const struct http_auth *h, struct arena *a);
/* Appends what tells one user from another, for destination(). */
void http_auth_identity(const struct http_auth *h, struct buf *out);
