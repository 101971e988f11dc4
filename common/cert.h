/*
 * What was signed with the key of an X.509 certificate. The certificate is taken from whoever gave
 * it: that it is the right one is for the caller to know. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/slice.h"

enum cert_hash { CERT_SHA1 = 1, CERT_SHA256 };

/* Is it a certificate in PEM, of an RSA key of 2048 bits or more? */
bool cert_fit(struct slice pem);
/*
 * Is `signature` (base64) an RSA PKCS #1 v1.5 signature of text[0] text[1] ... by the certificate's
 * key? False also for one that is not fit, or not valid at `now_ms`.
 */
bool cert_signed(struct slice pem, int64_t now_ms, enum cert_hash hash, struct slice signature,
                 const struct slice *text, size_t n);
