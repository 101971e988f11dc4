#include "common/source.h"

#include <errno.h>
#include <strings.h>

#include "testing.h"

struct request {
    struct {
        const char *name, *value;
    } headers[6];
};

static const char *header(const struct hook *h, const char *name)
{
    const struct request *r = h->transport;
    for (size_t i = 0; i < 6 && r->headers[i].name; i++)
        if (strcasecmp(r->headers[i].name, name) == 0)
            return r->headers[i].value;
    return NULL;
}

/* The entry "x" of a configuration. */
struct loaded {
    struct conf *conf;
    struct settings settings;
    struct source_entries entries;
    const struct source_entry *x;
};

static int try_load(const char *yaml, struct loaded *ret, struct err *e)
{
    *ret = (struct loaded){0};
    if (conf_parse("test", yaml, NULL, &ret->conf, e) < 0)
        return e->code;
    int rc = settings_load(ret->conf, &ret->settings, e);
    if (rc == 0)
        rc = source_entries_load(&ret->settings, &ret->entries, e);
    if (rc == 0)
        ret->x = source_entry_find(&ret->entries, SLICE_LIT("x"));
    return rc;
}

static struct loaded load(const char *yaml)
{
    struct loaded l;
    struct err e = {0};
    if (try_load(yaml, &l, &e) < 0)
        fail_msg("%s", e.msg);
    return l;
}

static enum auth verify(const struct loaded *l, const struct request *r, const char *path_token,
                        const char *body, int64_t now)
{
    const struct hook h = {.path_token = path_token,
                           .header = header,
                           .body = slice_of(body),
                           .transport = (void *)(uintptr_t)r};
    const struct source *s = l->x->type;
    return s->verify ? s->verify(l->x->cfg, &h, now) : source_verify_common(l->x->cfg, &h);
}

static void test_open_without_secrets(void **state)
{
    (void)state;
    struct loaded l = load("sources: {x: {type: alertmanager}}");
    const struct request none = {0};
    assert_int_equal(verify(&l, &none, NULL, "{}", 0), AUTH_OK);
    assert_int_equal(verify(&l, &none, "any", "{}", 0), AUTH_OK);
    conf_free(l.conf);
}

static void test_each_configured_way_is_a_way_in(void **state)
{
    (void)state;
    struct loaded l = load("sources: {x: {type: alertmanager, bearer_token: tok, path_token: pth, "
                           "username: u, password: p}}");
    const struct request none = {0}, bearer = {{{"Authorization", "Bearer tok"}}},
                         scheme = {{{"authorization", "GenieKey tok"}}},
                         bare = {{{"Authorization", "tok"}}},
                         wrong = {{{"Authorization", "Bearer tok2"}}},
                         prefix = {{{"Authorization", "Bearer to"}}},
                         empty = {{{"Authorization", ""}}},
                         basic = {{{"Authorization", "Basic dTpw"}}},
                         wrong_basic = {{{"Authorization", "Basic dTpx"}}};
    assert_int_equal(verify(&l, &none, NULL, "", 0), AUTH_MISSING);
    assert_int_equal(verify(&l, &bearer, NULL, "", 0), AUTH_OK);
    assert_int_equal(verify(&l, &scheme, NULL, "", 0), AUTH_OK);
    assert_int_equal(verify(&l, &bare, NULL, "", 0), AUTH_OK);
    assert_int_equal(verify(&l, &basic, NULL, "", 0), AUTH_OK);
    assert_int_equal(verify(&l, &none, "pth", "", 0), AUTH_OK);
    assert_int_equal(verify(&l, &wrong, "pth", "", 0), AUTH_OK);
    assert_int_equal(verify(&l, &wrong, NULL, "", 0), AUTH_BAD);
    assert_int_equal(verify(&l, &prefix, NULL, "", 0), AUTH_BAD);
    assert_int_equal(verify(&l, &empty, NULL, "", 0), AUTH_BAD);
    assert_int_equal(verify(&l, &wrong_basic, NULL, "", 0), AUTH_BAD);
    assert_int_equal(verify(&l, &none, "pt", "", 0), AUTH_BAD);
    conf_free(l.conf);
}

/* Of which kind is what this body reports? */
static enum report_kind kind_of(const struct loaded *l, const char *body)
{
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    const struct record r = {.source = SLICE_LIT("x"), .body = slice_of(body)};
    struct alert_list list = {0};
    struct err e = {0};
    if (l->x->type->decode(l->x->cfg, &r, &l->settings.limits, a, &list, &e) < 0)
        fail_msg("%s", e.msg);
    assert_int_equal(list.n, 1);
    return list.v[0].kind;
}

#define SENTRY_BY(actor)                                                                           \
    "{\"action\":\"resolved\",\"data\":{\"issue\":{\"id\":\"1\"}},\"actor\":" actor "}"
#define INTEGRATION(id, name)                                                                      \
    SENTRY_BY("{\"type\":\"application\",\"id\":\"" id "\",\"name\":\"" name "\"}")

static void test_sentry_obeys_all_but_our_own_integration(void **state)
{
    (void)state;
    static const char *const ours[] = {"sources: {x: {type: sentry, integration: f00d}}",
                                       "sources: {x: {type: sentry, integration: Tocsin}}"};
    static const char user[] = SENTRY_BY("{\"type\":\"user\",\"id\":7,\"name\":\"Tocsin\"}");
    struct loaded l;
    for (size_t i = 0; i < 2; i++) {
        l = load(ours[i]);
        assert_int_equal(kind_of(&l, INTEGRATION("f00d", "Tocsin")), REPORT_NOTE);
        assert_int_equal(kind_of(&l, INTEGRATION("beef", "Tracker")), REPORT_RESOLVED);
        assert_int_equal(kind_of(&l, INTEGRATION("sentry", "Sentry")), REPORT_RESOLVED);
        assert_int_equal(kind_of(&l, user), REPORT_RESOLVED);
        conf_free(l.conf);
    }
    l = load("sources: {x: {type: sentry}}"); /* which is ours, nobody says */
    assert_int_equal(kind_of(&l, INTEGRATION("beef", "Tracker")), REPORT_NOTE);
    assert_int_equal(kind_of(&l, user), REPORT_RESOLVED);
    conf_free(l.conf);
}

static void test_entries(void **state)
{
    (void)state;
    struct loaded l = load("tenant: acme\nsources: {x: {type: alertmanager, tenant: pay}, grafana: "
                           "{enabled: false}, sentry: {client_secret: a}}");
    const struct source_common *x = l.x->cfg;
    assert_string_equal(l.x->type->name, "alertmanager");
    assert_string_equal(x->tenant, "pay");
    assert_null(source_entry_find(&l.entries, SLICE_LIT("grafana")));
    assert_null(source_entry_find(&l.entries, SLICE_LIT("")));
    assert_null(source_entry_find(&l.entries, SLICE_LIT("sentr")));
    const struct source_entry *built_in = source_entry_find(&l.entries, SLICE_LIT("prometheus"));
    assert_non_null(built_in);
    assert_string_equal(((const struct source_common *)built_in->cfg)->tenant, "acme");
    size_t sentries = 0;
    for (size_t i = 0; i < l.entries.n; i++)
        sentries += strcmp(l.entries.v[i].name, "sentry") == 0;
    assert_int_equal(sentries, 1);
    conf_free(l.conf);
}

/* What an entry that is not here would be, had it only its type: of each but a mapping, whatever
 * the entries say. */
static void test_plain_entries(void **state)
{
    (void)state;
    struct loaded l = load("sources: {prometheus: {resolve_timeout: 1h, tenant: pay}, "
                           "sentry: {enabled: false}}");
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    const struct record r = {.source = SLICE_LIT("x"),
                             .received_at = 1000,
                             .body = SLICE_LIT("[{\"labels\":{\"alertname\":\"A\"}}]")};
    struct alert_list list = {0};
    struct err e = {0};
    for (size_t i = 0; source_at(i); i++) {
        const struct source_entry *x = source_entry_plain(&l.entries, source_at(i)->name);
        if (source_at(i) == source_find("mapping")) {
            assert_null(x);
            continue;
        }
        assert_ptr_equal(x->type, source_at(i));
        assert_false(source_entry_guarded(x));
        assert_string_equal(((const struct source_common *)x->cfg)->type, source_at(i)->name);
        assert_string_equal(((const struct source_common *)x->cfg)->tenant, l.settings.tenant);
        assert_true(!x->type->check || x->type->check(x->cfg, &e) == 0);
    }
    assert_null(source_entry_plain(&l.entries, "x"));
    const struct source_entry *x = source_entry_plain(&l.entries, "prometheus");
    assert_int_equal(x->type->decode(x->cfg, &r, &l.settings.limits, a, &list, &e), 0);
    assert_int_equal(list.v[0].ends_at, 1000 + 5 * 60 * 1000);
    conf_free(l.conf);
}

static void test_bad_entries_say_where(void **state)
{
    (void)state;
    static const char *const bad[] = {"sources: {x: {}}",
                                      "sources: {x: {type: nobody}}",
                                      "sources: {x: {type: sentry, cleint_secret: a}}",
                                      "sources: {'a/b': {type: sentry}}",
                                      "sources: {x: {type: sentry, enabled: maybe}}",
                                      "sources: [1]"};
    char long_tenant[TENANT_MAX + 64];
    struct loaded far;
    struct err why = {0};
    (void)snprintf(long_tenant, sizeof(long_tenant), "sources: {x: {type: sentry, tenant: %0*d}}",
                   TENANT_MAX + 1, 0);
    assert_int_equal(try_load(long_tenant, &far, &why), -EINVAL);
    assert_string_equal(why.msg, "test:1:37: sources.x.tenant: at most 128 bytes");
    conf_free(far.conf);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct loaded l;
        struct err e = {0};
        if (try_load(bad[i], &l, &e) != -EINVAL)
            fail_msg("accepted: %s", bad[i]);
        if (strncmp(e.msg, "test:1:", 7) != 0)
            fail_msg("%s: %s", bad[i], e.msg);
        conf_free(l.conf);
    }
}

/* Or what was to hold the secret, and does not, opens the source to everybody. */
static void test_an_empty_secret_is_refused(void **state)
{
    static const struct {
        const char *yaml, *says;
    } bad[] = {
        {"sources: {x: {type: sentry, client_secret: }}",
         "test:1:44: sources.x.client_secret: must not be empty; without the key anybody may send"},
        {"sources: {x: {type: sentry, client_secret: ''}}",
         "test:1:44: sources.x.client_secret: must not be empty; without the key anybody may send"},
        {"sources:\n  x:\n    type: grafana\n    path_token_file:\n",
         "test:4:21: sources.x.path_token_file: must not be empty; without the key anybody may "
         "send"},
        {"sources: {x: {type: sentry, client_secret_file: /dev/null}}",
         "test:1:49: sources.x.client_secret_file: the file is empty"},
    };
    struct loaded l;
    struct err e = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(try_load(bad[i].yaml, &l, &e), -EINVAL);
        assert_string_equal(e.msg, bad[i].says);
        conf_free(l.conf);
    }
}

static void test_a_type_that_is_none_names_the_nearest(void **state)
{
    static const struct {
        const char *yaml, *says;
    } bad[] = {
        {"sources: {x: {type: sentri}}",
         "test:1:21: source x: there is no type sentri; did you mean \"sentry\"?"},
        {"sources: {x: {}}",
         "test:1:14: source x: there is no type x (a name of your own wants a \"type\")"},
    };
    struct loaded l;
    struct err e = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(try_load(bad[i].yaml, &l, &e), -EINVAL);
        assert_string_equal(e.msg, bad[i].says);
        conf_free(l.conf);
    }
}

static void test_cut_keeps_characters_and_identity(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 16);
    bool cut = false;
    assert_true(slice_is(source_cut(SLICE_LIT("short"), 5, a, &cut), "short"));
    assert_false(cut);
    char one[101], other[101];
    memset(one, 'a', 100);
    one[100] = '\0';
    memcpy(other, one, sizeof(other));
    other[99] = 'b';
    struct slice x = source_cut(slice_of(one), 40, a, &cut),
                 y = source_cut(slice_of(other), 40, a, &cut);
    assert_true(cut);
    assert_int_equal(x.len, 40);
    assert_false(slice_eq(x, y)); /* what was cut off still tells them apart */
    assert_memory_equal(x.p + 20, "\xe2\x80\xa6#", 4);
    /* 21 bytes of two-byte characters are 20 */
    struct slice z = source_cut(SLICE_LIT("\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
                                          "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"),
                                21, a, &cut);
    assert_int_equal(z.len, 20);
    z = source_cut(SLICE_LIT("\xc3\xa4\xc3\xa4"), 3, a, &cut);
    assert_true(slice_is(z, "\xc3\xa4"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_without_secrets),
        cmocka_unit_test(test_each_configured_way_is_a_way_in),
        cmocka_unit_test(test_sentry_obeys_all_but_our_own_integration),
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_plain_entries),
        cmocka_unit_test(test_bad_entries_say_where),
        cmocka_unit_test(test_an_empty_secret_is_refused),
        cmocka_unit_test(test_a_type_that_is_none_names_the_nearest),
        cmocka_unit_test(test_cut_keeps_characters_and_identity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
