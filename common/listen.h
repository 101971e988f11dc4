/* Addresses to listen on: "127.0.0.1:9000", "[::1]:9000", "localhost:9000", ":9000" for all
 * addresses of both families. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "common/err.h"

/* Numbers and "localhost" only, no DNS. -EINVAL with a reason. */
int listen_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len,
                 struct err *e) MUST_CHECK;
/* Whether only this machine reaches it. */
bool listen_is_loopback(const char *text);
/* A listening TCP socket, non-blocking and close-on-exec, and its real port. -EADDRINUSE names the
 * process that holds the port when /proc tells. */
int listen_open(const char *text, int *ret_fd, uint16_t *ret_port, struct err *e) MUST_CHECK;
