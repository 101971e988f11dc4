/* What vendors sign when they call the console back. */
#include "testing.h"

#include "console/callback.h"

static size_t tried;

/* java-slack-sdk, SlackSignatureTest */
static void slack_vector(void **state)
{
    static const char body[] =
        "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id="
        "G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-"
        "collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%"
        "2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121."
        "803a0bc887a14d10d2c447fce8b6703c";
    static const char good[] =
        "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    const struct slice secret = SLICE_LIT("8f742231b10e8888abcd99yyyzzz85a5"),
                       text = slice_of(body);
    const int64_t at = INT64_C(1531420618000);

    (void)state;
    assert_true(slack_signed(secret, "1531420618", text, good, at));
    tried++;
    assert_true(slack_signed(secret, "1531420618", text, good, at + SLACK_TOLERANCE_MS));
    assert_true(slack_signed(secret, "1531420618", text, good, at - SLACK_TOLERANCE_MS));
    assert_false(slack_signed(secret, "1531420618", text, good, at + SLACK_TOLERANCE_MS + 1));
    assert_false(slack_signed(secret, "1531420618", text, good, at - SLACK_TOLERANCE_MS - 1));
    assert_false(slack_signed(secret, "1531420619", text, good, at));
    assert_false(slack_signed(secret, "-1", text, good, at));
    assert_false(slack_signed(secret, "", text, good, at));
    assert_false(slack_signed(secret, "99999999999999999999", text, good, at));
    assert_false(slack_signed(secret, NULL, text, good, at));
    assert_false(slack_signed(secret, "1531420618", text, NULL, at));
    assert_false(slack_signed(secret, "1531420618", text, "", at));
    assert_false(slack_signed(secret, "1531420618", (struct slice){body, text.len - 1}, good, at));
    assert_false(slack_signed(SLICE_LIT(""), "1531420618", text, good, at));
}

/* goalert's signature_test.go, and Twilio's documentation */
static void twilio_vectors(void **state)
{
    static const char url[] = "https://mycompany.com/myapp.php?foo=1&bar=2";
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    static const char *const callers[][2] = {{"+14158675310", "GvWf1cFY/Q7PnoempGyD5oXAezc="},
                                             {"+14158675309", "RSOYDt4T1cUTdK1PDd93/VVr8B8="}};
    const struct slice secret = SLICE_LIT("12345");
    struct form g = {.n = 5,
                     .v = {{SLICE_LIT("To"), SLICE_LIT("+18005551212")},
                           {SLICE_LIT("Digits"), SLICE_LIT("1234")},
                           {.name = SLICE_LIT("Caller")},
                           {.name = SLICE_LIT("From")},
                           {SLICE_LIT("CallSid"), SLICE_LIT("CA1234567890ABCDE")}}};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        g.v[2].value = g.v[3].value = slice_of(callers[i][0]);
        assert_true(twilio_signed(secret, url, &g, callers[i][1], a));
        tried++;
    }
    assert_false(twilio_signed(secret, "https://mycompany.com/myapp.php?foo=1", &g,
                               "RSOYDt4T1cUTdK1PDd93/VVr8B8=", a));
    assert_false(twilio_signed(secret, url, &g, "RSOYDt4T1cUTdK1PDd93/VVr8B8", a));
    assert_false(twilio_signed(secret, url, &g, NULL, a));
    assert_false(twilio_signed(SLICE_LIT(""), url, &g, "RSOYDt4T1cUTdK1PDd93/VVr8B8=", a));
    g.v[1].value = SLICE_LIT("1235");
    assert_false(twilio_signed(secret, url, &g, "RSOYDt4T1cUTdK1PDd93/VVr8B8=", a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slack_vector),
        cmocka_unit_test(twilio_vectors),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)printf("tried by vectors.callbacks: %zu vectors\n", tried);
    return failed;
}
