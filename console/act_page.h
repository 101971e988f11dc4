/*
 * The page at a signed link. To look at it changes nothing, because chat programs look at links to
 * show a preview; the button on it acts. It needs no script.
 */
#pragma once

#include "console/console.h"

void get_act(void *ctx, struct http_request *r);   /* GET /act/{token} */
void post_act(void *ctx, struct http_request *r);  /* POST /act/{token} */
void other_act(void *ctx, struct http_request *r); /* anything else */
