/* Every golden body of every source, tried as --try-source does, comes to what is golden of it. */
#include "ingest/try.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <unistd.h>

#include "../../golden/source_case.h"
#include "testing.h"

static struct conf *conf;
static struct settings settings;
static struct source_entries entries;

/* What is printed; its exit code into *ret. */
static json_t *try_file(const char *name, const char *file, int *ret)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    *ret = try_source(&settings, &entries, name, file, out);
    assert_int_equal(fclose(out), 0);
    json_t *o = json_loadb(text, len, 0, NULL);
    free(text);
    return o;
}

/* A captured request, as far as it is one: by `line` ("POST /webhook/x"; NULL: the body alone). */
static json_t *try_request(const char *line, struct slice headers, struct slice body,
                           const char *name, int *ret)
{
    char path[] = "/tmp/test_try.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    bool written = true;
    if (line)
        written = dprintf(fd, "%s HTTP/1.1\r\n%.*s\r\n", line, SLICE_FMT(headers)) > 0;
    else if (headers.len > 0)
        written = dprintf(fd, "%.*s\n", SLICE_FMT(headers)) > 0;
    assert_true(written && write(fd, body.p, body.len) == (ssize_t)body.len && close(fd) == 0);
    json_t *o = try_file(name, path, ret);
    (void)unlink(path);
    return o;
}

static const char *str(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static void check_alerts(const char *file, const json_t *got, const json_t *expected)
{
    /* Not fingerprints: one may be of the request's id. */
    static const char *const same[] = {"labels", "title", "severity", "event_id", "description"};
    if (json_array_size(got) != json_array_size(expected))
        fail_msg("%s: %zu alerts, not %zu", file, json_array_size(got), json_array_size(expected));
    for (size_t i = 0; i < json_array_size(got); i++)
        for (size_t k = 0; k < sizeof(same) / sizeof(same[0]); k++) {
            const json_t *a = json_object_get(json_array_get(got, i), same[k]);
            const json_t *b = json_object_get(json_array_get(expected, i), same[k]);
            if (a != b && !json_equal(a, b))
                fail_msg("%s: %s of alert %zu differs", file, same[k], i);
        }
}

static void check_case(const char *file, int code, const json_t *got, const json_t *expected)
{
    const json_t *refused = json_object_get(expected, "refused"), *record;
    if (!refused)
        refused = json_object_get(expected, "scan");
    if (!refused)
        refused = json_object_get(expected, "form");
    if (refused) {
        if (code != 1 || !json_is_false(json_object_get(got, "accepted")))
            fail_msg("%s is accepted", file);
        assert_string_equal(str(got, "reason"), str(refused, "why"));
        assert_true(json_integer_value(json_object_get(got, "status")) >= 400);
        return;
    }
    record = json_object_get(expected, "record");
    if (!json_is_true(json_object_get(got, "accepted")))
        fail_msg("%s is not accepted: %s", file, str(got, "reason"));
    assert_true(json_equal(json_object_get(json_object_get(got, "answer"), "status"),
                           json_object_get(json_object_get(expected, "filing"), "status")));
    assert_string_equal(str(got, "dead"), str(record, "error")[0] ? str(record, "why") : "");
    assert_int_equal(code, str(got, "dead")[0] ? 1 : 0);
    check_alerts(file, json_object_get(got, "alerts"), json_object_get(record, "events"));
}

static struct slice beside(const char *file, const char *ending)
{
    char path[600];
    (void)snprintf(path, sizeof(path), "%.*s%s", (int)(strrchr(file, '.') - file), file, ending);
    return case_read(path);
}

static const char *entry_of(const struct source *type, const char *file)
{
    const char *base = strrchr(file, '/') + 1;
    const struct source_entry *entry =
        source_entry_find(&entries, (struct slice){base, strcspn(base, ".")});
    return entry && entry->type == type ? entry->name : type->name;
}

static void try_case(const struct source *type, const char *file)
{
    struct slice headers = beside(file, ".headers"), body = case_read(file),
                 golden = beside(file, ".expected.json"), route = beside(file, ".route");
    const bool is_get = strcmp(strrchr(file, '.'), ".query") == 0;
    char *query = NULL;
    int code = -1;
    if (is_get && asprintf(&query, "?%.*s", SLICE_FMT(body)) < 0)
        abort();
    json_t *expected = json_loadb(golden.p, golden.len, 0, NULL);
    if (route.p)
        *strchr((char *)(uintptr_t)route.p, '\n') = '\0';
    json_t *got =
        try_request(route.p, headers, is_get ? slice_of(query) : body, entry_of(type, file), &code);
    assert_non_null(expected);
    assert_non_null(got);
    check_case(file, code, got, expected);
    json_decref(expected);
    json_decref(got);
    free(query);
    free((void *)(uintptr_t)headers.p);
    free((void *)(uintptr_t)route.p);
    free((void *)(uintptr_t)body.p);
    free((void *)(uintptr_t)golden.p);
}

static void test_every_golden_case(void **state)
{
    (void)state;
    size_t n = 0;
    for (size_t i = 0; source_at(i); i++) {
        char pattern[512];
        glob_t files;
        (void)snprintf(pattern, sizeof(pattern), "%s/tests/golden/sources/%s/*.*", SOURCE_DIR,
                       source_at(i)->name);
        assert_int_equal(glob(pattern, 0, NULL, &files), 0);
        for (size_t k = 0; k < files.gl_pathc; k++) {
            const char *file = files.gl_pathv[k];
            if (strstr(file, ".expected.json") || strstr(file, ".headers") ||
                strstr(file, ".route"))
                continue;
            try_case(source_at(i), file);
            n++;
        }
        globfree(&files);
    }
    assert_true(n > 100);
}

/* A form need not say that it is one. */
static void test_what_is_no_json_is_a_form(void **state)
{
    (void)state;
    int code = -1;
    json_t *o = try_request(NULL, (struct slice){0},
                            SLICE_LIT("code=abc&status=down&name=backup\n"), "healthchecks", &code);
    assert_int_equal(code, 0);
    assert_string_equal(str(json_array_get(json_object_get(o, "alerts"), 0), "title"),
                        "backup is down");
    assert_non_null(json_object_get(json_object_get(o, "record"), "stored"));
    json_decref(o);
}

static void test_what_a_captured_get_says(void **state)
{
    (void)state;
    int code = -1;
    json_t *o = try_request("GET /webhook/healthchecks/t?code=abc&status=down&name=night%20backup",
                            SLICE_LIT("Host: h\r\n"), (struct slice){"", 0}, "healthchecks", &code);
    assert_int_equal(code, 0);
    assert_string_equal(str(json_array_get(json_object_get(o, "alerts"), 0), "title"),
                        "night backup is down");
    json_decref(o);
}

/* Who sent it is not asked: the signature of a body that was edited by hand is nobody's. */
static void test_nobody_is_asked_who_he_is(void **state)
{
    (void)state;
    struct conf *c = NULL;
    struct settings s;
    struct source_entries guarded;
    struct err e = {0};
    assert_int_equal(conf_parse("test", "sources: {alertmanager: {bearer_token: t}}", NULL, &c, &e),
                     0);
    assert_int_equal(settings_load(c, &s, &e), 0);
    assert_int_equal(source_entries_load(&s, &guarded, &e), 0);
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    assert_int_equal(try_source(&s, &guarded, "alertmanager",
                                SOURCE_DIR "/tests/golden/sources/alertmanager/v4_firing.json",
                                out),
                     0);
    (void)fclose(out);
    free(text);
    conf_free(c);
}

static void test_nothing_to_try(void **state)
{
    (void)state;
    int code = -1;
    assert_null(try_file("nobody", "/dev/null", &code));
    assert_int_equal(code, 1);
    assert_null(try_file("sentry", "/nonexistent/body.json", &code));
    assert_int_equal(code, 1);
    assert_null(try_file("sentry", "/dev/zero", &code)); /* larger than ingest.max_body */
    assert_int_equal(code, 1);
    json_t *o = try_file("grafana", "/dev/null", &code);
    assert_int_equal(code, 1);
    assert_int_equal(json_integer_value(json_object_get(o, "status")), 400);
    json_decref(o);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_golden_case),
        cmocka_unit_test(test_what_is_no_json_is_a_form),
        cmocka_unit_test(test_what_a_captured_get_says),
        cmocka_unit_test(test_nobody_is_asked_who_he_is),
        cmocka_unit_test(test_nothing_to_try),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
