#include "common/listen.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"

CLEANUP_DEFINE(FILE *, fclose);
CLEANUP_DEFINE(DIR *, closedir);

static bool parse_port(const char *s, uint16_t *ret)
{
    unsigned v = 0;

    if (!*s || strlen(s) > 5)
        return false;
    for (; *s; s++) {
        if (!isdigit((unsigned char)*s))
            return false;
        v = v * 10 + (unsigned)(*s - '0');
    }
    *ret = (uint16_t)v;
    return v <= UINT16_MAX;
}

int listen_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len, struct err *e)
{
    const char *colon = strrchr(text, ':');
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
    size_t len = colon ? (size_t)(colon - text) : 0;
    char host[64];
    bool is_v4;
    uint16_t port;

    if (!colon || !parse_port(colon + 1, &port) || len >= sizeof(host))
        return err_set(e, -EINVAL, "an address such as 127.0.0.1:9000 is expected, not \"%s\"",
                       text);
    memcpy(host, text, len);
    host[len] = '\0';
    is_v4 =
        inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &v4.sin_addr) == 1;
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = '\0';
        len = inet_pton(AF_INET6, host + 1, &v6.sin6_addr) == 1 ? 0 : len;
    }
    if (!is_v4 && len > 0)
        return err_set(e, -EINVAL, "\"%s\" is not a numeric address and port", text);

    v4.sin_port = v6.sin6_port = htons(port);
    *ret = (struct sockaddr_storage){0};
    *ret_len = is_v4 ? sizeof(v4) : sizeof(v6);
    memcpy(ret, is_v4 ? (const void *)&v4 : (const void *)&v6, *ret_len);
    return 0;
}

bool listen_is_loopback(const char *text)
{
    struct sockaddr_storage at = {0};
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    socklen_t len;

    if (listen_parse(text, &at, &len, &(struct err){0}) < 0)
        return false;
    memcpy(&v4, &at, sizeof(v4));
    memcpy(&v6, &at, sizeof(v6));
    return at.ss_family == AF_INET ? ntohl(v4.sin_addr.s_addr) >> 24 == 127
                                   : IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

/* The fields of /proc/net/tcp that matter here: sl local remote state queues timer retransmits uid
 * timeout inode. */
enum { TCP_LOCAL = 1, TCP_STATE = 3, TCP_INODE = 9, TCP_FIELDS };
#define TCP_STATE_LISTEN 0x0a

/* The inode of a listening socket on `port`, 0 when none is seen. */
static unsigned long listener_inode(const char *table, uint16_t port)
{
    CLEANUP(fclose) FILE *f = fopen(table, "re");
    char line[512];

    while (f && fgets(line, sizeof(line), f)) {
        const char *field[TCP_FIELDS] = {0}, *colon;
        char *save = NULL;
        size_t n = 0;

        for (char *s = strtok_r(line, " \n", &save); s && n < TCP_FIELDS;
             s = strtok_r(NULL, " \n", &save))
            field[n++] = s;
        colon = n == TCP_FIELDS ? strchr(field[TCP_LOCAL], ':') : NULL;
        if (colon && strtoul(colon + 1, NULL, 16) == port &&
            strtoul(field[TCP_STATE], NULL, 16) == TCP_STATE_LISTEN)
            return strtoul(field[TCP_INODE], NULL, 10);
    }
    return 0;
}

static bool process_holds(const char *pid, const char *socket)
{
    char path[300], target[64];
    CLEANUP(closedir) DIR *d = NULL;

    (void)snprintf(path, sizeof(path), "/proc/%s/fd", pid);
    d = opendir(path);
    for (const struct dirent *f; d && (f = readdir(d));) {
        const ssize_t n = readlinkat(dirfd(d), f->d_name, target, sizeof(target) - 1);

        if (n <= 0)
            continue;
        target[n] = '\0';
        if (strcmp(target, socket) == 0)
            return true;
    }
    return false;
}

/* " by redis-server (pid 12)", or "" when we may not look. */
static void who_listens(uint16_t port, char *out, size_t size)
{
    unsigned long inode = listener_inode("/proc/net/tcp", port);
    CLEANUP(closedir) DIR *proc = opendir("/proc");
    char socket[64];

    out[0] = '\0';
    if (inode == 0)
        inode = listener_inode("/proc/net/tcp6", port);
    (void)snprintf(socket, sizeof(socket), "socket:[%lu]", inode);
    for (const struct dirent *p; inode && proc && (p = readdir(proc));) {
        char path[300], comm[32] = "a process";

        if (!isdigit((unsigned char)p->d_name[0]) || !process_holds(p->d_name, socket))
            continue;
        (void)snprintf(path, sizeof(path), "/proc/%s/comm", p->d_name);
        CLEANUP(fclose) FILE *f = fopen(path, "re");
        if (f && fgets(comm, sizeof(comm), f))
            comm[strcspn(comm, "\n")] = '\0';
        (void)snprintf(out, size, " by %s (pid %s)", comm, p->d_name);
        return;
    }
}

static int listen_error(const char *text, uint16_t port, int error, struct err *e)
{
    char who[400] = "";

    if (error != EADDRINUSE)
        return err_set(e, -error, "cannot listen on %s: %s", text, strerror(error));
    who_listens(port, who, sizeof(who));
    return err_set(e, -EADDRINUSE, "cannot listen on %s: the port is taken%s", text, who);
}

static uint16_t port_of(const struct sockaddr_storage *a)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    memcpy(&v4, a, sizeof(v4));
    memcpy(&v6, a, sizeof(v6));
    return ntohs(a->ss_family == AF_INET ? v4.sin_port : v6.sin6_port);
}

static int take_fd(int *fd)
{
    const int taken = *fd;

    *fd = -1;
    return taken;
}

int listen_open(const char *text, int *ret_fd, uint16_t *ret_port, struct err *e)
{
    CLEANUP(close) int fd = -1;
    struct sockaddr_storage addr = {0};
    const int on = 1, off = 0;
    socklen_t len = 0;
    int r = listen_parse(text, &addr, &len, e);

    if (r < 0)
        return r;
    fd = socket(addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 && text[0] == ':' && errno == EAFNOSUPPORT) { /* a kernel without IPv6 */
        struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port_of(&addr))};

        memcpy(&addr, &any, sizeof(any));
        len = sizeof(any);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    }
    if (fd < 0)
        return listen_error(text, 0, errno, e);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (addr.ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, (const struct sockaddr *)&addr, len) < 0 || listen(fd, SOMAXCONN) < 0)
        return listen_error(text, port_of(&addr), errno, e);
    len = sizeof(addr);
    if (getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
        return listen_error(text, 0, errno, e);
    *ret_port = port_of(&addr);
    *ret_fd = take_fd(&fd);
    return 0;
}
