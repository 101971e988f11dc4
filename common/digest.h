/* Hashes and MACs. SHA and HMAC come from OpenSSL's libcrypto; FNV-1a is here because
 * Alertmanager's fingerprint is made of it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/slice.h"

#define FNV1A_INIT UINT64_C(14695981039346656037)
uint64_t fnv1a(uint64_t h, const void *p, size_t len);

#define SHA256_LEN 32
void sha256(const void *p, size_t len, unsigned char out[SHA256_LEN]);
void sha256_v(const struct slice *text, size_t n,
              unsigned char out[SHA256_LEN]); /* of the concatenation, without copying */
void hmac_sha256(struct slice key, struct slice text, unsigned char out[SHA256_LEN]);
#define SHA1_LEN 20
/* For vendors that sign with it still. */
void hmac_sha1(struct slice key, struct slice text, unsigned char out[SHA1_LEN]);
/* HMAC over the concatenation of `n` slices, without copying. */
void hmac_sha256_v(struct slice key, const struct slice *text, size_t n,
                   unsigned char out[SHA256_LEN]);

/* out needs 2*len+1 bytes; lower case. Returns out. */
char *hex_encode(const void *p, size_t len, char *out);
/* Exactly `len` bytes from 2*len digits of either case; false otherwise. */
bool hex_decode(struct slice s, void *out, size_t len);

/* Constant time in the length of `given`: no early exit tells how much matched. Length itself is
 * not secret. An empty secret equals nothing: a credential that was never set must not open a door.
 */
bool secret_eq(struct slice given, struct slice secret);
/* "Basic base64(user:password)" as an Authorization value; constant-time. */
bool basic_auth_eq(struct slice authorization, struct slice user, struct slice password);
/* Standard base64 with padding; out needs 4*((len+2)/3)+1 bytes. Returns the length. */
size_t base64_encode(const void *p, size_t len, char *out);

/* Without padding, "-" and "_" instead of "+" and "/"; out needs BASE64URL_STR(len) bytes. */
#define BASE64URL_STR(len) (((len)*4 + 2) / 3 + 1)
size_t base64url_encode(const void *p, size_t len, char *out);
/* The length; 0 when `s` is not in the one form that encoding gives, or longer than `max`. */
size_t base64url_decode(struct slice s, void *out, size_t max);
