/* Authenticated encryption of what must not be stored readable: AES-256-GCM from OpenSSL, with a
 * random nonce in front and the tag behind. */
#pragma once

#include <stdbool.h>

#include "common/buf.h"
#include "common/err.h"

#define SEAL_KEY 32
#define SEAL_MAX 4096
#define SEAL_EXTRA 28 /* that a sealed text is longer */

/* Append `plain`, sealed; `about` must be said again to open it. -E2BIG past SEAL_MAX; -EIO
 * when there is no randomness. */
int seal(const unsigned char key[SEAL_KEY], struct slice about, struct slice plain,
         struct buf *out) MUST_CHECK;
/* Append what was sealed; false when it was not by this key about this, or not whole. */
bool seal_open(const unsigned char key[SEAL_KEY], struct slice about, struct slice sealed,
               struct buf *out) MUST_CHECK;
