/* Silences as the API shows and takes them. */
#pragma once

#include "console/console.h"

/* GET and POST /api/v1/silences; GET and DELETE /api/v1/silences/{id} */
void get_silences(void *ctx, struct http_request *r);
void post_silence(void *ctx, struct http_request *r);
void get_silence(void *ctx, struct http_request *r);
void delete_silence(void *ctx, struct http_request *r);
