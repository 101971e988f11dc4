/* The page and its files, from console.web_dir. Nothing else of the disk can be reached. */
#pragma once

#include "console/console.h"

void get_page(void *ctx, struct http_request *r);  /* GET / */
void get_asset(void *ctx, struct http_request *r); /* GET /assets/NAME */
