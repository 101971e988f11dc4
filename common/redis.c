/*
 * Blocking hiredis with a timeout on every step. After a failure the connection is closed and a
 * time is set before which no other is tried, so that callers of a Redis that hangs pay one timeout
 * now and then, not one each.
 */
#include "common/redis.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/rate.h"

enum { RETRY_BASE_MS = 100, RETRY_CAP_MS = 5000, DEFAULT_PORT = 6379 };

struct redis {
    char *host, *path;     /* one of them; neither: no Redis is wanted */
    char *user, *password; /* may be NULL */
    int port, db;
    struct timeval timeout;

    redisContext *conn; /* NULL: not connected */
    size_t appended;    /* replies still owed by the pipeline */
    uint32_t failures;  /* in a row */
    int64_t retry_at;   /* monotonic ms */
};

/* ---- where ---- */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A copy of s[0..len) with %XX undone; a password may hold '@'. */
static char *unescape(const char *s, size_t len)
{
    char *out = malloc(len + 1);
    size_t n = 0;
    for (size_t i = 0; out && i < len; i++) {
        bool coded = s[i] == '%' && i + 2 < len && hex(s[i + 1]) >= 0 && hex(s[i + 2]) >= 0;
        out[n++] = coded ? (char)(hex(s[i + 1]) << 4 | hex(s[i + 2])) : s[i];
        i += coded ? 2 : 0;
    }
    if (out)
        out[n] = '\0';
    return out;
}

static bool parse_number(const char *s, const char *end, int max, int *ret)
{
    if (s == end)
        return false;
    int n = 0;
    for (; s < end; s++) {
        if (*s < '0' || *s > '9' || n > max)
            return false;
        n = n * 10 + (*s - '0');
    }
    *ret = n;
    return n <= max;
}

/* host[:port], the host in brackets when it is IPv6. */
static bool parse_host(struct redis *r, const char *s, const char *end)
{
    const char *host = s, *host_end, *port;
    if (*s == '[') {
        host = s + 1;
        host_end = memchr(s, ']', (size_t)(end - s));
        port = host_end ? host_end + 1 : NULL;
    } else {
        port = host_end = memchr(s, ':', (size_t)(end - s));
        if (!host_end)
            port = host_end = end;
    }
    if (!host_end || host_end == host)
        return false;
    if (port < end && (*port != ':' || !parse_number(port + 1, end, 65535, &r->port)))
        return false;
    r->host = strndup(host, (size_t)(host_end - host));
    return r->host;
}

static bool parse_url(struct redis *r, const char *url)
{
    static const char tcp[] = "redis://", local[] = "unix://";
    r->port = DEFAULT_PORT;
    if (strncmp(url, local, strlen(local)) == 0) {
        r->path = strdup(url + strlen(local));
        return r->path && *r->path == '/';
    }
    if (strncmp(url, tcp, strlen(tcp)) != 0)
        return false;
    const char *s = url + strlen(tcp);
    const char *end = s + strcspn(s, "/");
    if (*end && end[1] && !parse_number(end + 1, end + strlen(end), INT_MAX / 10 - 1, &r->db))
        return false;
    const char *at = memchr(s, '@', (size_t)(end - s));
    if (at) {
        const char *colon = memchr(s, ':', (size_t)(at - s));
        if (!colon)
            return false;
        r->user = unescape(s, (size_t)(colon - s));
        r->password = unescape(colon + 1, (size_t)(at - colon - 1));
        if (!r->user || !r->password)
            return false;
        s = at + 1;
    }
    return parse_host(r, s, end);
}

/* ---- life ---- */

int redis_open(const struct redis_settings *s, struct redis **ret, struct err *e)
{
    struct redis *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(e, -ENOMEM, "redis: out of memory");
    if (s->url && *s->url && !parse_url(r, s->url)) {
        redis_close(r);
        return err_set(
            e, -EINVAL,
            "redis.url is neither redis://[user:password@]host[:port][/db] nor unix:///path");
    }
    r->timeout.tv_sec = (time_t)(s->timeout / MS_SECOND);
    r->timeout.tv_usec = (suseconds_t)(s->timeout % MS_SECOND * 1000);
    *ret = r;
    return 0;
}

static void disconnect(struct redis *r)
{
    if (r->conn)
        redisFree(r->conn);
    r->conn = NULL;
    r->appended = 0;
}

void redis_close(struct redis *r)
{
    if (!r)
        return;
    disconnect(r);
    free(r->host);
    free(r->path);
    free(r->user);
    free(r->password);
    free(r);
}

static int failed(struct redis *r, struct err *e)
{
    /* A timeout is told as an errno and nothing else. */
    bool late = r->conn && r->conn->err == REDIS_ERR_IO && errno == EAGAIN;
    const char *why = late ? "no answer in time" : r->conn ? r->conn->errstr : "out of memory";
    int rc = err_set(e, -ENOTCONN, "redis: %s", why);
    disconnect(r);
    r->retry_at = clock_monotonic_ms() + RETRY_BASE_MS +
                  backoff_full_jitter(r->failures, RETRY_BASE_MS, RETRY_CAP_MS, random_u64());
    r->failures += r->failures < 16;
    return rc;
}

static int greet(struct redis *r, size_t argc, const char **argv, struct err *e)
{
    CLEANUP(redis_reply_free) redisReply *reply = redisCommandArgv(r->conn, (int)argc, argv, NULL);
    if (!reply)
        return failed(r, e);
    if (reply->type != REDIS_REPLY_ERROR)
        return 0;
    int rc = err_set(e, -ENOTCONN, "redis: %s refused: %.200s", argv[0], reply->str);
    (void)failed(r, NULL);
    return rc;
}

static int ready(struct redis *r, struct err *e)
{
    if (!r->host && !r->path)
        return err_set(e, -ENOTCONN, "redis: none is configured");
    if (r->conn)
        return 0;
    if (clock_monotonic_ms() < r->retry_at)
        return err_set(e, -ENOTCONN, "redis: away a moment ago");
    r->conn = r->path ? redisConnectUnixWithTimeout(r->path, r->timeout)
                      : redisConnectWithTimeout(r->host, r->port, r->timeout);
    if (!r->conn || r->conn->err || redisSetTimeout(r->conn, r->timeout) != REDIS_OK)
        return failed(r, e);
    int rc = 0;
    char db[16];
    snprintf(db, sizeof db, "%d", r->db);
    if (r->password && *r->user)
        rc = greet(r, 3, (const char *[]){"AUTH", r->user, r->password}, e);
    else if (r->password && *r->password)
        rc = greet(r, 2, (const char *[]){"AUTH", r->password}, e);
    if (rc == 0 && r->db)
        rc = greet(r, 2, (const char *[]){"SELECT", db}, e);
    if (rc == 0)
        r->failures = 0;
    return rc;
}

/* ---- commands ---- */

static int append(struct redis *r, size_t argc, const struct slice *argv, struct err *e)
{
    const char *few[16];
    size_t few_len[16];
    CLEANUP(free) const char **many = NULL;
    CLEANUP(free) size_t *many_len = NULL;
    const char **words = few;
    size_t *lengths = few_len;
    if (argc > sizeof few / sizeof *few) {
        words = many = calloc(argc, sizeof *many);
        lengths = many_len = calloc(argc, sizeof *many_len);
        if (!many || !many_len || argc > INT_MAX)
            return err_set(e, -ENOMEM, "redis: out of memory");
    }
    for (size_t i = 0; i < argc; i++) {
        words[i] = argv[i].p ? argv[i].p : "";
        lengths[i] = argv[i].len;
    }
    if (redisAppendCommandArgv(r->conn, (int)argc, words, lengths) != REDIS_OK)
        return failed(r, e);
    r->appended++;
    return 0;
}

int redis_append(struct redis *r, size_t argc, const struct slice *argv, struct err *e)
{
    int rc = ready(r, e);
    return rc ? rc : append(r, argc, argv, e);
}

int redis_reply(struct redis *r, redisReply **ret, struct err *e)
{
    if (!r->conn)
        return err_set(e, -ENOTCONN, "redis: not connected");
    if (r->appended == 0)
        return err_set(e, -ENODATA, "redis: no reply is owed");
    void *raw = NULL;
    if (redisGetReply(r->conn, &raw) != REDIS_OK)
        return failed(r, e);
    r->appended--;
    CLEANUP(redis_reply_free) redisReply *reply = raw;
    if (reply->type == REDIS_REPLY_ERROR)
        return err_set(e, -EPROTO, "redis: %.200s", reply->str);
    if (ret)
        *ret = TAKE(reply);
    return 0;
}

int redis_flush(struct redis *r, struct err *e)
{
    int rc = 0;
    while (r->conn && r->appended > 0) {
        int one = redis_reply(r, NULL, rc ? NULL : e);
        rc = rc ? rc : one;
    }
    return rc;
}

int redis_command(struct redis *r, size_t argc, const struct slice *argv, redisReply **ret,
                  struct err *e)
{
    int rc = ready(r, e);
    if (rc)
        return rc;
    /* Replies come in order: those of a pipeline that nobody flushed would be taken for this one's.
     */
    rc = redis_flush(r, e);
    if (rc == -ENOTCONN)
        return rc;
    rc = append(r, argc, argv, e);
    return rc ? rc : redis_reply(r, ret, e);
}

int redis_ping(const struct redis_settings *s, struct err *e)
{
    struct redis *r = NULL;
    int rc = redis_open(s, &r, e);
    if (r)
        rc = redis_command(r, 1, (const struct slice[]){SLICE_LIT("PING")}, NULL, e);
    redis_close(r);
    return rc;
}
