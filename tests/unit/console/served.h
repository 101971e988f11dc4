/*
 * The console under test, served on a port of its own with a PostgreSQL of its own behind it, and
 * the smallest client. Only for tests.
 */
#pragma once

#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "console/console.h"
#include "schema.h"
#include "testing.h"

#define LINK_SECRET "the secret of the tests"
#define SLACK_SECRET "8f742231b10e8888abcd99yyyzzz85a5"
#define TWILIO_TOKEN "12345"

static struct schema db;
static struct console console;
static struct settings settings;
static struct conf *conf;
static struct httpd *httpd;
static char web[] = "/tmp/tocsin-web-XXXXXX";

/* ---- the smallest client ---- */

struct answer {
    int status;
    char head[4096], body[1 << 20];
    size_t len;
};
static struct answer answer;

/* `headers`: whole lines, each with its end. */
__attribute__((unused)) static void ask_with(const char *method, const char *path,
                                             const char *headers, const char *body)
{
    static char text[1 << 20];
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(httpd_port(httpd)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int n = snprintf(text, sizeof text,
                     "%s %s HTTP/1.1\r\nHost: t\r\nConnection: close\r\n%sContent-Length: "
                     "%zu\r\n\r\n%s",
                     method, path, headers, body ? strlen(body) : 0, body ? body : "");
    size_t len = 0;
    ssize_t got;

    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(write(fd, text, (size_t)n), n);
    while ((got = read(fd, text + len, sizeof text - 1 - len)) > 0)
        len += (size_t)got;
    close(fd);
    text[len] = '\0';
    char *end = strstr(text, "\r\n\r\n");
    assert_non_null(end);
    *end = '\0';
    assert_int_equal(sscanf(text, "HTTP/1.1 %d", &answer.status), 1);
    snprintf(answer.head, sizeof answer.head, "%.4000s\r\n", text);
    answer.len = len - (size_t)(end + 4 - text);
    memcpy(answer.body, end + 4, answer.len + 1);
}

__attribute__((unused)) static void ask(const char *method, const char *path, const char *body)
{
    ask_with(method, path, "", body);
}

/* The value at a path ("incidents.0.id") of the answer, as JSON text. */
__attribute__((unused)) static const char *at(const char *path)
{
    static char out[8][4096];
    static int turn;
    json_error_t why;
    json_t *root = json_loads(answer.body, 0, &why);
    char copy[256], *save = NULL;

    if (!root)
        fail_msg("not JSON (%s): %s", why.text, answer.body);
    snprintf(copy, sizeof copy, "%s", path);
    const json_t *v = root;
    for (char *p = strtok_r(copy, ".", &save); p; p = strtok_r(NULL, ".", &save))
        v = json_is_array(v) ? json_array_get(v, (size_t)atoi(p)) : json_object_get(v, p);
    char *text =
        v ? json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(4) | JSON_SORT_KEYS)
          : NULL;
    turn = (turn + 1) % 8;
    snprintf(out[turn], sizeof out[turn], "%s", text ? text : "(absent)");
    free(text);
    json_decref(root);
    return out[turn];
}

/* The elements of a list of the answer, by the last digit of their ids. */
__attribute__((unused)) static const char *listed(const char *list)
{
    static char out[64];
    size_t n = 0;

    for (int i = 0;; i++) {
        char path[48];
        snprintf(path, sizeof path, "%s.%d.id", list, i);
        const char *id = at(path);
        if (strcmp(id, "(absent)") == 0)
            break;
        out[n++] = id[strlen(id) - 2];
    }
    out[n] = '\0';
    return out;
}

#define assert_at(path, text) assert_string_equal(at(path), (text))

__attribute__((unused)) static void get(const char *path)
{
    ask("GET", path, NULL);
}

#define assert_status(n)                                                                           \
    do {                                                                                           \
        if (answer.status != (n))                                                                  \
            fail_msg("%d, not %d: %s", answer.status, (n), answer.body);                           \
    } while (0)

__attribute__((unused)) static void assert_refused(const char *path, int status, const char *says)
{
    get(path);
    assert_status(status);
    if (!strstr(at("error.message"), says))
        fail_msg("%s does not say \"%s\"", answer.body, says);
}

/* ---- the server ---- */

__attribute__((unused)) static int start(void **state)
{
    char set[256];
    (void)state;
    schema_open(&db);
    assert_non_null(mkdtemp(web));
    snprintf(set, sizeof set, "console.web_dir=%s", web);
    const char *sets[] = {set,
                          "console.page_max=3",
                          "console.link_secret=" LINK_SECRET,
                          "console.slack_signing_secret=" SLACK_SECRET,
                          "console.twilio_auth_token=" TWILIO_TOKEN,
                          NULL};
    if (conf_parse("t", "tenant: default\n", sets, &conf, &db.e) ||
        settings_load(conf, &settings, &db.e))
        fail_msg("%s", db.e.msg);
    settings.postgres = db.settings;
    console.settings = &settings;
    SQL_OK(&db, pool_new(&settings.postgres, 2, &console.pool, &db.e));
    const struct httpd_options o = {.listen = "127.0.0.1:0",
                                    .threads = 2,
                                    .connections = 16,
                                    .max_body = 65536,
                                    .request_deadline_ms = 10000};
    SQL_OK(&db, httpd_start(&o, console_routes, &console, NULL, NULL, &httpd, &db.e));
    return 0;
}

__attribute__((unused)) static int finish(void **state)
{
    char command[64];
    (void)state;
    httpd_stop(httpd);
    pool_free(console.pool);
    conf_free(conf);
    schema_close(&db);
    snprintf(command, sizeof command, "rm -r %s", web);
    return system(command);
}
