/* One body of one sender, taken through a source as ingest and processor take it. For the tests of
 * every source. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "common/source.h"

#define CASE_NOW INT64_C(1767323045000) /* 2026-01-02T03:04:05Z */
#define CASE_ARENA ((size_t)16 << 20)

struct case_header {
    const char *name, *value;
};
struct source_case {
    struct slice body;
    struct case_header headers[16]; /* ended by a NULL name */
    const char *path_token;
    bool is_get; /* then `body` is the query string */

    const struct source_route *route; /* of the type's own, by which it comes */
    struct case_header params[8];     /* of the route, and of the query ... */
    char pattern[256], line[1024];    /* ... which point into these */
};

static void require(int rc, const struct err *e)
{
    if (rc == 0)
        return;
    (void)fprintf(stderr, "%s\n", e->msg);
    abort();
}

static const char *header(const struct hook *h, const char *name)
{
    const struct source_case *c = h->transport;
    for (const struct case_header *at = c->headers; at->name; at++)
        if (strcasecmp(at->name, name) == 0)
            return at->value;
    return NULL;
}

static const char *param(const struct hook *h, const char *name)
{
    const struct source_case *c = h->transport;
    for (const struct case_header *at = c->params; at->name; at++)
        if (strcmp(at->name, name) == 0)
            return at->value;
    return NULL;
}

/* "a/b" to "a", and s behind it. */
static char *case_part(char **s, const char *ends)
{
    char *part = *s;
    const size_t n = strcspn(part, ends);
    *s = part + n + (part[n] != '\0');
    part[n] = '\0';
    return part;
}

static bool case_matches(const char *pattern, char *path, struct source_case *c)
{
    char *words = c->pattern;
    size_t n = 0;
    if (snprintf(words, sizeof(c->pattern), "%s", pattern) >= (int)sizeof(c->pattern))
        abort();
    while (*words && *path) {
        char *word = case_part(&words, "/");
        const char *given = case_part(&path, "/");
        const size_t len = strlen(word);
        if (len > 1 && word[0] == '{') {
            word[len - 1] = '\0';
            c->params[n++] = (struct case_header){word + 1, given};
        } else if (strcmp(word, given) != 0) {
            return false;
        }
    }
    c->params[n] = (struct case_header){0};
    return !*words && !*path;
}

/* "POST /v2/alerts/a/close?identifierType=alias": the route of `type` and what stands in it. False:
 * it has none. */
__attribute__((unused)) static bool case_route(const struct source *type, const char *line,
                                               struct source_case *c)
{
    for (const struct source_route *r = type->routes; r && r->method; r++) {
        char *rest = c->line;
        if (snprintf(rest, sizeof(c->line), "%s", line) >= (int)sizeof(c->line))
            abort();
        const char *method = case_part(&rest, " ");
        char *values = case_part(&rest, "\n"), *path = case_part(&values, "?");
        if (strcmp(method, r->method) != 0 || !case_matches(r->pattern, path, c))
            continue;
        size_t n = 0;
        while (c->params[n].name)
            n++;
        while (*values && n < 7) {
            const char *name = case_part(&values, "=");
            c->params[n++] = (struct case_header){name, case_part(&values, "&")};
        }
        c->route = r;
        return true;
    }
    return false;
}

__attribute__((unused)) static struct hook case_hook(const struct source_case *c)
{
    struct slice query_string = c->body;
    while (query_string.len > 0 && query_string.p[query_string.len - 1] == '\n')
        query_string.len--; /* of the file */
    return (struct hook){.path_token = c->path_token,
                         .header = header,
                         .query = param,
                         .param = param,
                         .route = c->route,
                         .body = c->is_get ? (struct slice){"", 0} : c->body,
                         .is_get = c->is_get,
                         .query_string = query_string,
                         .transport = (void *)(uintptr_t)c};
}

/* The record that ingest would write of it; `body` as accept() said. */
__attribute__((unused)) static struct record case_record(const struct source_entry *entry,
                                                         const struct source_case *c,
                                                         struct slice body,
                                                         struct kafka_header kept[16])
{
    const struct source_common *common = entry->cfg;
    const struct hook h = case_hook(c);
    struct record r = {.tenant = slice_of(common->tenant),
                       .source = slice_of(entry->name),
                       .content_type = SLICE_LIT("application/json"),
                       .received_at = CASE_NOW,
                       .body = body,
                       .headers = kept};
    for (const char *const *name = entry->type->keep_headers; name && *name; name++) {
        const char *value = header(&h, *name);
        if (value && r.header_n < 16)
            kept[r.header_n++] = (struct kafka_header){*name, slice_of(value)};
    }
    return r;
}

/* The whole of a file, malloc'ed and NUL-terminated; {NULL,0} when there is none. */
__attribute__((unused)) static struct slice case_read(const char *file)
{
    FILE *f = fopen(file, "rb");
    if (!f)
        return (struct slice){0};
    char *text = NULL;
    size_t len = 0, size = 0;
    for (;;) {
        if (len + 65536 > size) {
            size = size * 2 + 131072;
            text = realloc(text, size);
            if (!text)
                abort();
        }
        size_t n = fread(text + len, 1, 65536 - 1, f);
        if (n == 0)
            break;
        len += n;
    }
    (void)fclose(f);
    text[len] = '\0';
    return (struct slice){text, len};
}

/* The entries of sources that are nothing without one, as shipped and our own, under caps that
 * bodies can reach; all live as long as *ret_conf. */
__attribute__((unused)) static void case_settings(struct conf **ret_conf, struct settings *ret,
                                                  struct source_entries *ret_entries)
{
    struct slice shipped = case_read(SOURCE_DIR "/deploy/examples/mapping.yml"),
                 ours = case_read(SOURCE_DIR "/tests/golden/sources/more.yml");
    char *yaml = NULL;
    struct err e = {0};
    if (asprintf(&yaml, "limits: {labels: 24, label_value: 128, annotation_value: 256}\n%s%s",
                 shipped.p, ours.p) < 0)
        abort();
    require(conf_parse("test", yaml, NULL, ret_conf, &e), &e);
    require(settings_load(*ret_conf, ret, &e), &e);
    require(source_entries_load(ret, ret_entries, &e), &e);
    free(yaml);
    free((void *)(uintptr_t)shipped.p);
    free((void *)(uintptr_t)ours.p);
}
