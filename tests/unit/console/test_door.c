/* What another page has an operator's browser ask of the console. */
#include "testing.h"

#include "served.h"

#define SITE(x) "Sec-Fetch-Site: " x "\r\n"
#define ORIGIN(x) "Origin: " x "\r\n"

/* The client's Host is "t". */
static const struct {
    const char *headers;
    bool refused;
} callers[] = {
    {"", false},
    {SITE("same-origin"), false},
    {SITE("none"), false},
    {SITE("cross-site"), true},
    {SITE("same-site"), true},
    {SITE(""), true},
    {SITE("cross-site") ORIGIN("http://t"), true},
    {SITE("same-origin") ORIGIN("http://elsewhere"), false}, /* a proxy changed the Host */
    {ORIGIN("http://t"), false},
    {ORIGIN("https://T"), false},
    {ORIGIN("http://t:80"), false},
    {ORIGIN("http://LocalHost:8000"), false}, /* external_url */
    {ORIGIN("http://t:8000"), true},
    {ORIGIN("http://t:443"), true},
    {ORIGIN("http://localhost"), true},
    {ORIGIN("http://localhost:80000"), true},
    {ORIGIN("http://t.example"), true},
    {ORIGIN("http://t@example"), true},
    {ORIGIN("http://"), true},
    {ORIGIN("null"), true},
    {ORIGIN("t"), true},
    {ORIGIN(""), true},
};

static bool refused(void)
{
    if (!strstr(answer.body, "console's own page"))
        return false;
    assert_status(403);
    assert_at("error.code", "\"forbidden\"");
    return true;
}

/* An address that the pattern matches. */
static const char *path_of(const char *pattern)
{
    static char path[128];
    size_t n = 0;

    for (const char *p = pattern; *p; p++) {
        path[n++] = *p == '{' ? 'x' : *p;
        if (*p == '{')
            p = strchr(p, '}');
    }
    path[n] = '\0';
    return path;
}

static bool changes(const struct http_route *v)
{
    return strcmp(v->method, "GET") != 0;
}

static void only_its_own_page_may_have_the_api_change_anything(void **state)
{
    size_t seen = 0;

    (void)state;
    for (const struct http_route *v = console_routes; v->method; v++) {
        if (!changes(v) || strncmp(v->pattern, "/api/", 5) != 0)
            continue;
        seen++;
        for (size_t i = 0; i < sizeof callers / sizeof *callers; i++) {
            ask_with(v->method, path_of(v->pattern), callers[i].headers, "{}");
            if (refused() != callers[i].refused)
                fail_msg("%s %s with %s: %d", v->method, v->pattern, callers[i].headers,
                         answer.status);
        }
    }
    assert_true(seen > 0);
}

static void what_is_read_or_proves_itself_may_come_from_anywhere(void **state)
{
    (void)state;
    for (const struct http_route *v = console_routes; v->method; v++) {
        if (changes(v) && strncmp(v->pattern, "/api/", 5) == 0)
            continue;
        ask_with(v->method, path_of(v->pattern), SITE("cross-site") ORIGIN("null"), "");
        assert_false(refused());
    }
}

#define SILENCE                                                                                    \
    "{\"matchers\": [{\"name\": \"alertname\", \"value\": \"Disk\"}], \"duration\": \"1h\"}"
#define MADE "SELECT count(*)::text FROM silences"

/* fetch(..., {method: "POST", mode: "no-cors"}), for which no browser asks first. */
static void another_page_makes_no_silence(void **state)
{
    (void)state;
    ask_with("POST", "/api/v1/silences",
             SITE("cross-site") ORIGIN("https://example.com") "Content-Type: text/plain\r\n",
             SILENCE);
    assert_true(refused());
    assert_string_equal(schema_text(&db, MADE), "0");
    ask("POST", "/api/v1/silences", SILENCE);
    assert_status(201);
    assert_string_equal(schema_text(&db, MADE), "1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_its_own_page_may_have_the_api_change_anything),
        cmocka_unit_test(what_is_read_or_proves_itself_may_come_from_anywhere),
        cmocka_unit_test(another_page_makes_no_silence),
    };
    return cmocka_run_group_tests(tests, start, finish);
}
