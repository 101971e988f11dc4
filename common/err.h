/*
 * Failure with a reason. Functions that can fail return 0 or a negative errno
 * and, where a person must read why, take `struct err *` as last parameter.
 * Library code fills it and never logs; the caller that stops the propagation logs once.
 */
#pragma once

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

struct err {
    int code;      /* the negative errno returned */
    char msg[400]; /* one line, no trailing newline, no secrets; cut when longer */
};

/* Record and return `code`, so that `return err_set(e, -EPROTO, ...)` reads as one step. NULL `e`
 * is fine. */
int err_set(struct err *e, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Prefix the message on the way up: err_wrap(e, "kafka") makes "kafka: ..."; returns e->code. */
int err_wrap(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
