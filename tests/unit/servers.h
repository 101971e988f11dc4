/*
 * Real servers for unit tests: private, on a socket or port of their own, in a directory of their
 * own under /tmp. Each is watched by a small process that ends it and removes its directory when
 * the test stops it or dies, however it dies. Run as root, the server itself runs as nobody. A
 * server that does not start ends the test program with a reason.
 */
#pragma once

#include <sys/types.h>

struct server;

/* An empty PostgreSQL, superuser "postgres", database "postgres". */
struct server *server_postgres(void);
/* An empty Redis on loopback; `port` 0: any free one. `password` NULL: none. */
struct server *server_redis(int port, const char *password);

/* What goes into postgres.url or redis.url. */
const char *server_url(const struct server *s);
int server_port(const struct server *s);  /* 0 for PostgreSQL */
pid_t server_pid(const struct server *s); /* to send SIGSTOP and SIGCONT */

/* End it at once and free. NULL is a no-op. */
void server_stop(struct server *s);
