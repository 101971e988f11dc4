#include "testing.h"

#include <string.h>

#include "common/act.h"
#include "common/digest.h"

static const struct act_secrets secrets = {.now = {"the secret of today!", 20},
                                           .before = {"the one of yesterday", 20}};

static struct act_grant grant(void)
{
    struct act_grant g = {.verb = ACT_SILENCE,
                          .tenant = SLICE_LIT("default"),
                          .receiver = SLICE_LIT("team"),
                          .expires_ms = 1700000000000};

    for (size_t i = 0; i < sizeof(g.incident.b); i++)
        g.incident.b[i] = (unsigned char)(i + 1);
    return g;
}

/* Computed by Python: hmac.new(b"the secret of today!", b"tocsin act\0" + payload, "sha256"). */
static void a_token_is_as_the_header_says(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(4096);
    const struct act_grant g = grant();

    assert_string_equal(act_token(&g, &secrets, a),
                        "AQMAZVPxAAECAwQFBgcICQoLDA0ODxAHZGVmYXVsdHRlYW1VgB2llzUpy5aobOtxuKcB");
}

static void what_was_signed_is_read(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(4096);
    const struct act_grant g = grant();
    const struct slice token = slice_of(act_token(&g, &secrets, a));
    struct act_grant read;

    assert_int_equal(act_read(token, &secrets, 1699999999999, a, &read), ACT_GOOD);
    assert_int_equal(read.verb, ACT_SILENCE);
    assert_memory_equal(read.incident.b, g.incident.b, 16);
    assert_true(slice_is(read.tenant, "default") && slice_is(read.receiver, "team"));
    assert_true(read.expires_ms == g.expires_ms);
    assert_int_equal(act_read(token, &secrets, 1700000000000, a, &read), ACT_EXPIRED);
}

/* Every bit of every byte is covered by the signature, and there is one form only. */
static void no_altered_token_passes(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=.";
    const struct act_grant g = grant();
    const char *token = act_token(&g, &secrets, a);
    struct act_grant read;
    char altered[256];

    for (size_t i = 0; token[i]; i++) {
        for (const char *d = digits; *d; d++) {
            if (*d == token[i])
                continue;
            (void)strcpy(altered, token);
            altered[i] = *d;
            assert_int_equal(act_read(slice_of(altered), &secrets, 0, a, &read), ACT_FORGED);
        }
        assert_int_equal(act_read((struct slice){token, i}, &secrets, 0, a, &read), ACT_FORGED);
    }
    (void)strcpy(altered, token);
    (void)strcat(altered, "A");
    assert_int_equal(act_read(slice_of(altered), &secrets, 0, a, &read), ACT_FORGED);
    assert_int_equal(act_read((struct slice){NULL, 0}, &secrets, 0, a, &read), ACT_FORGED);
}

static void secrets_rotate(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(4096);
    const struct act_secrets old = {.now = secrets.before}, none = {.now = {"", 0}},
                             new_only = {.now = secrets.now};
    const struct act_grant g = grant();
    const struct slice token = slice_of(act_token(&g, &old, a));
    struct act_grant read;

    assert_int_equal(act_read(token, &secrets, 0, a, &read), ACT_GOOD);
    assert_int_equal(act_read(token, &new_only, 0, a, &read), ACT_FORGED);
    assert_int_equal(act_read(token, &none, 0, a, &read), ACT_FORGED);
    assert_null(act_token(&g, &none, a));
}

/* Signed, but by a later version that may mean something else. */
static void an_unknown_version_or_verb_is_refused(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(4096);
    struct act_grant g = grant(), read;

    g.verb = ACT_VERBS;
    assert_int_equal(act_read(slice_of(act_token(&g, &secrets, a)), &secrets, 0, a, &read),
                     ACT_FORGED);
}

static void long_names_fit_or_are_cut(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(16384);
    static char text[400];
    struct act_grant g = grant(), read;

    memset(text, 'x', sizeof(text));
    g.receiver = (struct slice){text, 400};
    g.tenant = (struct slice){text, 255};
    assert_int_equal(act_read(slice_of(act_token(&g, &secrets, a)), &secrets, 0, a, &read),
                     ACT_GOOD);
    assert_int_equal(read.tenant.len, 255);
    assert_int_equal(read.receiver.len, 255);
    g.tenant.len = 256;
    assert_null(act_token(&g, &secrets, a));
}

/* RFC 4648, 10, without its padding. */
static void base64url_vectors(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},    {"foob", "Zm9vYg"},
        {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff", "-_8"}};
    char text[64], back[64];

    for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
        const size_t n = strlen(pairs[i][0]);

        assert_int_equal(base64url_encode(pairs[i][0], n, text), strlen(pairs[i][1]));
        assert_string_equal(text, pairs[i][1]);
        assert_int_equal(base64url_decode(slice_of(text), back, n), n);
        assert_memory_equal(back, pairs[i][0], n);
        assert_int_equal(base64url_decode(slice_of(text), back, n - 1), 0);
    }
    assert_int_equal(base64url_decode(SLICE_LIT("Zh"), back, 64), 0); /* another form of "f" */
    assert_int_equal(base64url_decode(SLICE_LIT("Z"), back, 64), 0);
    assert_int_equal(base64url_decode(SLICE_LIT("+_8"), back, 64), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_as_the_header_says),
        cmocka_unit_test(what_was_signed_is_read),
        cmocka_unit_test(no_altered_token_passes),
        cmocka_unit_test(secrets_rotate),
        cmocka_unit_test(an_unknown_version_or_verb_is_refused),
        cmocka_unit_test(long_names_fit_or_are_cut),
        cmocka_unit_test(base64url_vectors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
