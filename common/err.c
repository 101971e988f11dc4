#include "common/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One line and whole characters, whatever a peer or a library put into it. */
static void tidy(char *msg, size_t written)
{
    size_t len = strlen(msg);
    if (written > len) {
        while (len > 0 && ((unsigned char)msg[len - 1] & 0xC0) == 0x80)
            len--;
        if (len > 0 && ((unsigned char)msg[len - 1] & 0x80))
            len--;
        msg[len] = '\0';
    }
    for (char *p = msg; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7F)
            *p = ' ';
    while (len > 0 && msg[len - 1] == ' ')
        msg[--len] = '\0';
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
    if (!e)
        return code;
    /* Through a second buffer: the arguments may point into e->msg. */
    char msg[sizeof(e->msg)];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    if (n < 0)
        msg[0] = '\0';
    tidy(msg, n < 0 ? 0 : (size_t)n);
    memcpy(e->msg, msg, sizeof(msg));
    e->code = code;
    return code;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
    if (!e)
        return -EIO; /* a failure stays one */
    char prefix[sizeof(e->msg)];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(prefix, sizeof(prefix), fmt, ap);
    va_end(ap);
    if (n < 0)
        return e->code;
    return err_set(e, e->code, "%s: %s", prefix, e->msg);
}
