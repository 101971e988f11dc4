/* sources/NAME/CASE.json, CASE.form or CASE.query (of a GET), with CASE.headers ("Name: value"
 * lines) and CASE.route ("POST /v2/enqueue", an address of the source's own), against
 * CASE.expected.json. ENTRY.CASE.json is posted to that entry. */
#include <errno.h>
#include <glob.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/alert_json.h"
#include "common/json.h"
#include "golden/source_case.h"
#include "testing.h"

#define AT_LEAST 6 /* cases per source */

static struct conf *conf;
static struct settings settings;
static struct source_entries entries;
static size_t sources, cases;

static json_t *text(struct slice s)
{
    return json_stringn(s.p ? s.p : "", s.len);
}

static void set_text(json_t *o, const char *key, struct slice s)
{
    if (s.len > 0)
        json_object_set_new(o, key, text(s));
}

static json_t *failure(int rc, const struct err *e)
{
    assert_int_equal(rc, e->code);
    return json_pack("{s:s, s:s}", "error",
                     rc == -EBADMSG ? "bad"
                     : rc == -E2BIG ? "big"
                                    : "other",
                     "why", e->msg);
}

static json_t *filing_tree(const struct filing *f)
{
    json_t *o = json_pack("{s:i, s:I, s:b}", "status", f->status, "alerts", (json_int_t)f->alerts,
                          "default_reply", f->default_reply);
    if (f->partition_key.p)
        json_object_set_new(o, "key", text(f->partition_key));
    if (f->invalid > 0)
        json_object_set_new(o, "invalid", json_integer((json_int_t)f->invalid));
    set_text(o, "members", f->members);
    set_text(o, "reply", f->reply);
    set_text(o, "stored", f->body);
    return o;
}

static json_t *decoded(const struct source_entry *entry, const struct source_case *c,
                       struct slice body, struct arena *a, size_t *ret_resolved)
{
    struct kafka_header kept[16];
    const struct record r = case_record(entry, c, body, kept);
    struct alert_list list = {0};
    struct err e = {0};
    int rc = entry->type->decode(entry->cfg, &r, &settings.limits, a, &list, &e);
    if (rc < 0)
        return failure(rc, &e);
    json_t *events = json_array();
    for (size_t i = 0; i < list.n; i++) {
        assert_int_equal(json_array_append_new(events, alert_event_json(&list.v[i], r.tenant)), 0);
        *ret_resolved += list.v[i].kind == REPORT_RESOLVED;
    }
    json_t *o = json_pack("{s:o}", "events", events);
    set_text(o, "delivery_id", list.delivery_id);
    return o;
}

/* The door, then the core. */
static json_t *taken(const struct source_entry *entry, const struct source_case *c, struct arena *a)
{
    const struct json_limits depth = {.max_depth = settings.ingest.max_depth};
    struct err e = {0};
    struct hook h = case_hook(c);
    h.entry = entry->name;
    int rc = source_body(entry->type, &h, a, &h.body, &e);
    if (rc < 0)
        return json_pack("{s:o}", "form", failure(rc, &e));
    rc = json_scan(h.body, &depth, &e);
    if (rc < 0)
        return json_pack("{s:o}", "scan", failure(rc, &e));
    struct filing f = {0};
    rc = entry->type->accept(entry->cfg, &h, &settings.limits, CASE_NOW, a, &f, &e);
    if (rc < 0) {
        json_t *o = failure(rc, &e);
        if (f.status)
            json_object_set_new(o, "filing", filing_tree(&f));
        return json_pack("{s:o}", "refused", o);
    }
    if (h.body.p != c->body.p && !f.body.p) /* as the door does */
        f.body = h.body;
    size_t resolved = 0;
    json_t *record = decoded(entry, c, f.body.p ? f.body : c->body, a, &resolved);
    /* What the door counts is what the core reads; of an event source some is heard and not obeyed.
     */
    if (!json_object_get(record, "error") &&
        (entry->type->stateful ? f.resolved != resolved : f.resolved < resolved))
        fail_msg("%zu resolved at the door, %zu in the core: %.*s", f.resolved, resolved,
                 SLICE_FMT(c->body));
    return json_pack("{s:o, s:o}", "filing", filing_tree(&f), "record", record);
}

static void parse_headers(char *lines, struct source_case *c)
{
    size_t n = 0;
    char *save = NULL;
    for (char *line = strtok_r(lines, "\n", &save); line && n < 15;
         line = strtok_r(NULL, "\n", &save)) {
        char *colon = strchr(line, ':');
        assert_non_null(colon);
        *colon = '\0';
        c->headers[n++] = (struct case_header){line, colon + 1 + strspn(colon + 1, " ")};
    }
}

static void compare(const char *path, const char *got)
{
    if (getenv("UPDATE_GOLDEN")) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        assert_true(fputs(got, f) >= 0 && fputc('\n', f) == '\n');
        assert_int_equal(fclose(f), 0);
        return;
    }
    struct slice expected = case_read(path);
    if (!expected.p)
        fail_msg("%s is missing; UPDATE_GOLDEN=1 writes it", path);
    bool same = expected.len == strlen(got) + 1 && memcmp(expected.p, got, strlen(got)) == 0;
    free((void *)(uintptr_t)expected.p);
    if (!same)
        fail_msg("%s differs; got:\n%s", path, got);
}

static void run_case(const struct source_entry *entry, const char *file)
{
    char base[512], path[600];
    const char *dot = strrchr(file, '.');
    (void)snprintf(base, sizeof(base), "%.*s", (int)(dot - file), file);
    CLEANUP(arena_free) struct arena *a = arena_new(CASE_ARENA);
    struct source_case c = {.body = case_read(file), .is_get = strcmp(dot, ".query") == 0};
    (void)snprintf(path, sizeof(path), "%s.headers", base);
    struct slice headers = case_read(path);
    if (headers.p)
        parse_headers((char *)(uintptr_t)headers.p, &c);
    (void)snprintf(path, sizeof(path), "%s.route", base);
    struct slice route = case_read(path);
    if (route.p && !case_route(entry->type, route.p, &c))
        fail_msg("%s: there is no such route", path);
    json_t *got = taken(entry, &c, a);
    assert_non_null(got);
    char *out = json_dumps(got, JSON_INDENT(2) | JSON_SORT_KEYS);
    json_decref(got);
    (void)snprintf(path, sizeof(path), "%s.expected.json", base);
    compare(path, out);
    free(out);
    free((void *)(uintptr_t)c.body.p);
    free((void *)(uintptr_t)headers.p);
    free((void *)(uintptr_t)route.p);
}

/* Of the name that the file begins with, else the source's own. */
static const struct source_entry *entry_of(const char *file, const struct source_entry *own)
{
    const char *name = strrchr(file, '/') + 1;
    const struct slice first = {name, strcspn(name, ".")};
    const struct source_entry *entry = source_entry_find(&entries, first);
    return entry && entry->type == own->type ? entry : own;
}

static bool is_input(const char *file)
{
    const char *dot = strrchr(file, '.');
    return !strstr(file, ".expected.json") &&
           (strcmp(dot, ".json") == 0 || strcmp(dot, ".form") == 0 || strcmp(dot, ".query") == 0);
}

static void test_every_case_of_every_source(void **state)
{
    (void)state;
    for (size_t i = 0; source_at(i); i++) {
        const char *name = source_at(i)->name;
        const struct source_entry *entry = source_entry_find(&entries, slice_of(name));
        assert_non_null(entry);
        char pattern[512];
        glob_t files;
        size_t n = 0;
        (void)snprintf(pattern, sizeof(pattern), "%s/tests/golden/sources/%s/*.*", SOURCE_DIR,
                       name);
        assert_int_equal(glob(pattern, 0, NULL, &files), 0);
        for (size_t k = 0; k < files.gl_pathc; k++) {
            if (!is_input(files.gl_pathv[k]))
                continue;
            run_case(entry_of(files.gl_pathv[k], entry), files.gl_pathv[k]);
            n++;
        }
        globfree(&files);
        sources++;
        cases += n;
        if (n < AT_LEAST)
            fail_msg("%s has %zu cases, %d are the least", name, n, AT_LEAST);
    }
}

static int load(void **state)
{
    (void)state;
    case_settings(&conf, &settings, &entries);
    return 0;
}

static int unload(void **state)
{
    (void)state;
    conf_free(conf);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_case_of_every_source)};
    const int failed = cmocka_run_group_tests(tests, load, unload);
    (void)printf("tried by golden.sources: %zu sources, %zu cases\n", sources, cases);
    return failed;
}
