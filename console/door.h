/*
 * Whoever reaches the console may act, and an operator's browser reaches it for any page that he
 * opens: a form, or text, is posted without asking first, with whatever password a proxy wants.
 * Scripts and programs name no page.
 */
#pragma once

#include "common/httpd.h"

/* A route's `admit`: 403 for what another page had a browser ask. For whatever changes something
 * and brings no proof of its own. */
void admit_own_page(void *ctx, struct http_request *r);
