/* The vendors' endpoints of tests/fakes as a child of the test, and what they saw. */
#pragma once

#include <arpa/inet.h>
#include <curl/curl.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "testing.h"

struct fakes {
    pid_t pid;
    int port, smtp_port;
};

__attribute__((unused)) static int free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    close(fd);
    return ntohs(a.sin_port);
}

static size_t fakes_take(char *p, size_t size, size_t n, void *to)
{
    char **text = to;
    size_t was = *text ? strlen(*text) : 0;

    *text = realloc(*text, was + size * n + 1);
    assert_non_null(*text);
    memcpy(*text + was, p, size * n);
    (*text)[was + size * n] = '\0';
    return size * n;
}

/* The answer, to be freed; NULL when nobody answers. `body` NULL: GET. */
__attribute__((unused)) static char *fakes_ask(const struct fakes *f, const char *path,
                                               const char *body)
{
    CURL *c = curl_easy_init();
    char url[256], *text = NULL;

    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", f->port, path);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROXY, "");
    curl_easy_setopt(c, CURLOPT_TIMEOUT, 10L);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, fakes_take);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &text);
    if (body)
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
    CURLcode r = curl_easy_perform(c);
    curl_easy_cleanup(c);
    if (r == CURLE_OK)
        return text ? text : strdup("");
    free(text);
    return NULL;
}

__attribute__((unused)) static void fakes_start(struct fakes *f)
{
    f->port = free_port();
    do
        f->smtp_port = free_port();
    while (f->smtp_port == f->port);
    f->pid = fork();
    if (f->pid == 0) {
        char port[12], smtp[12];
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
        (void)snprintf(port, sizeof(port), "%d", f->port);
        (void)snprintf(smtp, sizeof(smtp), "%d", f->smtp_port);
        execl("/usr/bin/python3", "python3", "-B", SOURCE_DIR "/tests/fakes/http_fake.py", "--port",
              port, "--smtp-port", smtp, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 1200; i++) {
        char *log = fakes_ask(f, "/_log?since=0", NULL);
        if (log) {
            free(log);
            return;
        }
        usleep(50000);
    }
    fail_msg("the fakes did not start");
}

__attribute__((unused)) static void fakes_stop(struct fakes *f)
{
    (void)kill(f->pid, SIGTERM);
    (void)waitpid(f->pid, NULL, 0);
}

/* {"channel","key","answers"} */
__attribute__((unused)) static void fakes_order(const struct fakes *f, const char *control)
{
    char *answer = fakes_ask(f, "/_control", control);
    assert_non_null(answer);
    free(answer);
}

/* Everything that reached `endpoint` (NULL: any) and contains `part`; with the text as its reader
 * sees it. */
__attribute__((unused)) static json_t *fakes_seen(const struct fakes *f, const char *channel,
                                                  const char *part)
{
    char *log = fakes_ask(f, "/_log?since=0", NULL);
    json_t *doc = json_loads(log, 0, NULL), *found = json_array(), *one;
    size_t i;

    assert_non_null(doc);
    json_array_foreach (json_object_get(doc, "records"), i, one) {
        const char *text = json_string_value(json_object_get(one, "text"));
        const char *raw = json_string_value(json_object_get(one, "raw"));
        bool here = strcmp(json_string_value(json_object_get(one, "channel")), channel) == 0;
        if (here && ((text && strstr(text, part)) || (raw && strstr(raw, part))))
            json_array_append(found, one);
    }
    json_decref(doc);
    free(log);
    return found;
}

__attribute__((unused)) static size_t fakes_count(const struct fakes *f, const char *channel,
                                                  const char *part)
{
    json_t *found = fakes_seen(f, channel, part);
    size_t n = json_array_size(found);

    json_decref(found);
    return n;
}
