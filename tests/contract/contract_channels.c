/* What every channel in the registry promises, whatever it sends. */
#include "testing.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "golden/channel_case.h"

#define GOLDEN SOURCE_DIR "/tests/golden/channels"

/* The first golden case of a channel. */
static bool a_case(const char *channel, char path[512])
{
    char dir[256];
    bool found = false;

    (void)snprintf(dir, sizeof(dir), GOLDEN "/%s", channel);
    DIR *d = opendir(dir);
    for (struct dirent *f; d && !found && (f = readdir(d));)
        if (strstr(f->d_name, ".json")) {
            (void)snprintf(path, 512, "%s/%.200s", dir, f->d_name);
            found = true;
        }
    if (d)
        (void)closedir(d);
    return found;
}

static void names_itself_and_its_keys(void **state)
{
    (void)state;
    for (size_t i = 0; channel_at(i); i++) {
        const struct channel *ch = channel_at(i);
        assert_string_equal(ch->name, channel_name_at(i));
        assert_ptr_equal(channel_find(ch->name), ch);
        assert_true(strlen(ch->summary) > 10);
        assert_true((ch->render != NULL) != (ch->step != NULL));
        assert_non_null(ch->destination);
        assert_non_null(ch->place);
        assert_true(ch->burst <= ch->max_per_minute);
        for (const struct conf_key *k = ch->keys; k->name; k++) {
            assert_true(k->help && *k->help);
            assert_true(k->offset < ch->cfg_size);
        }
    }
    assert_null(channel_find("pigeon"));
}

static void has_a_golden_case(void **state)
{
    char path[512];

    (void)state;
    for (size_t i = 0; channel_at(i); i++)
        assert_true(a_case(channel_at(i)->name, path));
}

/* Memory ends at every possible byte: the message is refused, nothing else happens; at last it
 * fits. */
static void survives_any_cap(void **state)
{
    (void)state;
    for (size_t i = 0; channel_at(i); i++) {
        char path[512];
        struct channel_case c;
        CLEANUP(arena_free) struct arena *roomy = arena_new((size_t)8 << 20);
        struct notification n;
        int r = -ENOMEM;

        assert_true(a_case(channel_at(i)->name, path));
        assert_int_equal(channel_case_load(path, channel_at(i)->name, &c), 0);
        assert_int_equal(channel_case_render(&c, roomy, &n, NULL), 0);
        struct step_input in = {.cfg = c.outlet->cfg, .notification = &n};
        for (size_t cap = 64; r != 0; cap += 61) {
            CLEANUP(arena_free) struct arena *a = arena_new(cap);
            struct step step;
            struct err e = {0};
            r = a ? channel_step(channel_at(i), &in, a, &step, &e) : -ENOMEM;
            assert_true(r == 0 || r == -ENOMEM);
            assert_true(cap < (size_t)4 << 20);
        }
        channel_case_free(&c);
    }
}

/* The message itself, model and layout included. */
static void rendering_survives_any_cap(void **state)
{
    (void)state;
    for (size_t i = 0; channel_at(i); i++) {
        char path[512];
        struct channel_case c;
        int r = -ENOMEM;

        assert_true(a_case(channel_at(i)->name, path));
        assert_int_equal(channel_case_load(path, channel_at(i)->name, &c), 0);
        for (size_t cap = 64; r != 0; cap += 997) {
            CLEANUP(arena_free) struct arena *a = arena_new(cap);
            struct notification n;
            struct err e = {0};
            r = a ? channel_case_render(&c, a, &n, &e) : -ENOMEM;
            assert_true(r == 0 || r == -ENOMEM);
            assert_true(cap < (size_t)16 << 20);
        }
        channel_case_free(&c);
    }
}

/* The same input gives the same bytes. */
static void is_pure(void **state)
{
    (void)state;
    for (size_t i = 0; channel_at(i); i++) {
        char path[512];
        struct channel_case c;
        CLEANUP(arena_free) struct arena *a = arena_new((size_t)8 << 20);
        struct notification n;
        struct step one, two;

        assert_true(a_case(channel_at(i)->name, path));
        assert_int_equal(channel_case_load(path, channel_at(i)->name, &c), 0);
        assert_int_equal(channel_case_render(&c, a, &n, NULL), 0);
        struct step_input in = {.cfg = c.outlet->cfg, .notification = &n};
        assert_int_equal(channel_step(channel_at(i), &in, a, &one, NULL), 0);
        assert_int_equal(channel_step(channel_at(i), &in, a, &two, NULL), 0);
        assert_int_equal(one.request.body.len, two.request.body.len);
        assert_memory_equal(one.request.body.p, two.request.body.p, one.request.body.len);
        channel_case_free(&c);
    }
}

/* One row of the vendors' retry table. */
struct answer {
    const char *channel;
    int status;
    const char *body;
    enum verdict verdict;
    bool limited;
};

static const struct answer answers[] = {
    {"wecom", 200, "{\"errcode\":0,\"errmsg\":\"ok\"}", VERDICT_DELIVERED, false},
    {"wecom", 200, "{\"errcode\":93000,\"errmsg\":\"invalid webhook url, hint: [1]\"}",
     VERDICT_REJECT, false},
    {"wecom", 200, "{\"errcode\":40058,\"errmsg\":\"exceed max length\"}", VERDICT_REJECT, false},
    {"wecom", 200, "{\"errcode\":44001,\"errmsg\":\"empty media\"}", VERDICT_REJECT, false},
    {"wecom", 200, "{\"errcode\":40008,\"errmsg\":\"invalid message type\"}", VERDICT_REJECT,
     false},
    {"wecom", 200, "{\"errcode\":45009,\"errmsg\":\"api freq out of limit\"}", VERDICT_RETRY, true},
    {"wecom", 200, "{\"errcode\":-1,\"errmsg\":\"system busy\"}", VERDICT_RETRY, false},
    {"wecom", 200, "{\"errmsg\":\"ok\"}", VERDICT_RETRY, false},
    {"wecom", 200, "{\"errcode\":\"0\"}", VERDICT_RETRY, false},
    {"wecom", 200, "<html>blocked</html>", VERDICT_RETRY, false},
    {"wecom", 200, "", VERDICT_RETRY, false},
    {"wecom", 502, "", VERDICT_RETRY, false},
    {"wecom", 0, "", VERDICT_RETRY, false},
    {"slack", 200, "ok", VERDICT_DELIVERED, false},
    {"slack", 200, "<html>login</html>", VERDICT_RETRY, false},
    {"slack", 400, "invalid_payload", VERDICT_REJECT, false},
    {"slack", 403, "action_prohibited", VERDICT_REJECT, false},
    {"slack", 404, "no_service", VERDICT_REJECT, false},
    {"slack", 410, "channel_is_archived", VERDICT_REJECT, false},
    {"slack", 429, "", VERDICT_RETRY, true},
    {"slack", 500, "rollup_error", VERDICT_RETRY, false},
    {"slack", 0, "", VERDICT_RETRY, false},
    {"email", 250, "", VERDICT_DELIVERED, false},
    {"email", 421, "421 try later", VERDICT_RETRY, false},
    {"email", 450, "450 busy", VERDICT_RETRY, false},
    {"email", 451, "451 greylisted", VERDICT_RETRY, false},
    {"email", 535, "535 authentication failed", VERDICT_REJECT, false},
    {"email", 550, "550 no such user", VERDICT_REJECT, false},
    {"email", 354, "354 go on", VERDICT_RETRY, false},
    {"email", 0, "", VERDICT_RETRY, false},
    {"webhook", 200, "", VERDICT_DELIVERED, false},
    {"webhook", 204, "", VERDICT_DELIVERED, false},
    {"webhook", 302, "", VERDICT_REJECT, false},
    {"webhook", 404, "", VERDICT_REJECT, false},
    {"webhook", 408, "", VERDICT_RETRY, false},
    {"webhook", 429, "", VERDICT_RETRY, true},
    {"webhook", 503, "", VERDICT_RETRY, false},
    {"webhook", 0, "", VERDICT_RETRY, false},
};

static void judges_as_the_vendors_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
        const struct answer *w = &answers[i];
        char path[512];
        struct channel_case c;
        CLEANUP(arena_free) struct arena *a = arena_new((size_t)8 << 20);
        struct notification n;
        struct step step;

        assert_true(a_case(w->channel, path));
        assert_int_equal(channel_case_load(path, w->channel, &c), 0);
        assert_int_equal(channel_case_render(&c, a, &n, NULL), 0);
        struct exchange past = {.response = {.status = w->status,
                                             .transport = w->status ? "" : "timed out",
                                             .body = slice_of(w->body),
                                             .retry_after_ms = -1}};
        struct step_input in = {
            .cfg = c.outlet->cfg, .notification = &n, .past = &past, .past_n = 1};
        assert_int_equal(channel_step(c.outlet->channel, &in, a, &step, NULL), 0);
        assert_true(step.done);
        if (step.outcome.verdict != w->verdict)
            fail_msg("%s %d %s: verdict %d", w->channel, w->status, w->body,
                     (int)step.outcome.verdict);
        assert_int_equal(step.outcome.limited, w->limited);
        assert_true(step.outcome.words && *step.outcome.words);
        channel_case_free(&c);
    }
}

static void heeds_retry_after(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(4096);
    struct response r = {.status = 429, .transport = "", .retry_after_ms = 2000};

    (void)state;
    assert_int_equal(classify_http(&r, a).wait_ms, 2000);
    r.retry_after_ms = -1;
    assert_int_equal(classify_http(&r, a).wait_ms, 0);
}

/* The others still get their mail when the server refuses one recipient for good. */
static void mail_goes_on_without_a_refused_recipient(void **state)
{
    struct channel_case c;
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)8 << 20);
    struct notification n;
    struct step step;

    (void)state;
    assert_int_equal(channel_case_load(GOLDEN "/email/reopened.json", "email", &c), 0);
    assert_int_equal(channel_case_render(&c, a, &n, NULL), 0);
    struct exchange past[2] = {{.response = {.status = 550,
                                             .transport = "",
                                             .body = SLICE_LIT("550 no such user"),
                                             .refused = "oncall@example.com"}},
                               {.response = {.status = 250, .transport = ""}}};
    struct step_input in = {.cfg = c.outlet->cfg, .notification = &n, .past = past, .past_n = 1};
    assert_int_equal(channel_step(c.outlet->channel, &in, a, &step, NULL), 0);
    assert_false(step.done);
    assert_int_equal(step.request.mail_to_n, 1);
    assert_string_equal(step.request.mail_to[0], "boss@example.com");
    in.past_n = 2;
    assert_int_equal(channel_step(c.outlet->channel, &in, a, &step, NULL), 0);
    assert_true(step.done);
    assert_int_equal(step.outcome.verdict, VERDICT_DELIVERED);
    assert_string_equal(step.outcome.refused, "oncall@example.com");
    channel_case_free(&c);
}

/* Where a message went, as the ledger says it to whoever may read the console. */
static const struct {
    const char *channel, *config, *place;
} places[] = {
    {"slack", "{api_url: 'https://hooks.slack.com/services/T02/B03/s3cret'}",
     "hooks.slack.com/services/T02/B03/…"},
    {"slack", "{api_url: 'https://hooks.slack.com/services/T02/B03/s3cret', channel: '#ops'}",
     "#ops at hooks.slack.com/services/T02/B03/…"},
    {"slack", "{api_url: 'https://Proxy.example.com:8443/services/s3cret/B03/x'}",
     "proxy.example.com:8443"},
    {"slack", "{api_url: 'https://proxy.example.com/services/T02?s3cret=/B03/x'}",
     "proxy.example.com"},
    {"slack", "{api_url: 'https://proxy.example.com/services/T02/s3cret'}", "proxy.example.com"},
    {"wecom", "{url: 'https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=s3cret'}",
     "qyapi.weixin.qq.com"},
    {"wecom", "{key: s3cret}", "qyapi.weixin.qq.com"},
    {"webhook", "{url: 'http://ann:s3cret@Hooks.example.com/s3cret'}", "hooks.example.com"},
    {"webhook", "{url: 'http://a@b:s3cret@hooks.example.com'}", "hooks.example.com"},
    {"webhook", "{url: 'http://[::1]:99?s3cret'}", "[::1]:99"},
    {"email",
     "{to: 'ops@example.com, boss@example.com', from: t@example.com, smarthost: 'mx:25', "
     "auth_username: ann, auth_password: s3cret}",
     "ops@example.com, boss@example.com"},
};

static void says_where_without_a_secret(void **state)
{
    bool seen[16] = {false};

    (void)state;
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        char text[512];
        struct conf *conf = NULL;
        struct err e = {0};
        CLEANUP(outlets_free) struct outlets *all = NULL;

        (void)snprintf(text, sizeof(text), "receivers: [{name: team, %s_configs: [%s]}]",
                       places[i].channel, places[i].config);
        assert_int_equal(conf_parse("t", text, NULL, &conf, &e), 0);
        struct settings s = {.conf = conf, .locale = "", .time_zone = "UTC"};
        if (outlets_load(&s, &all, &e) < 0)
            fail_msg("%s", e.msg);
        assert_string_equal(all->v[0].place, places[i].place);
        for (size_t k = 0; channel_at(k); k++)
            seen[k] = seen[k] || channel_at(k) == all->v[0].channel;
        outlets_free(TAKE(all));
        conf_free(conf);
    }
    for (size_t k = 0; channel_at(k); k++)
        assert_true(seen[k]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_itself_and_its_keys),
        cmocka_unit_test(has_a_golden_case),
        cmocka_unit_test(survives_any_cap),
        cmocka_unit_test(rendering_survives_any_cap),
        cmocka_unit_test(is_pure),
        cmocka_unit_test(judges_as_the_vendors_say),
        cmocka_unit_test(heeds_retry_after),
        cmocka_unit_test(mail_goes_on_without_a_refused_recipient),
        cmocka_unit_test(says_where_without_a_secret),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
