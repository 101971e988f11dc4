/* What every channel in the registry promises, whatever it sends. */
#include "testing.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "contract/vendors.h"
#include "golden/channel_case.h"

#define GOLDEN SOURCE_DIR "/tests/golden/channels"

/* A golden case of a channel: of an incident that opened, if it has one. */
static bool a_case(const char *channel, char path[512])
{
    char dir[256];
    bool found = false;

    (void)snprintf(path, 512, GOLDEN "/%s/opened.json", channel);
    if (access(path, R_OK) == 0)
        return true;
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

static void judges_as_the_vendors_say(void **state)
{
    (void)state;
    for (size_t i = 0; channel_at(i); i++) {
        size_t rows = 0;
        for (size_t k = 0; k < sizeof(answers) / sizeof(*answers); k++)
            rows += strcmp(answers[k].channel, channel_at(i)->name) == 0;
        assert_true(rows > 0);
    }
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
            .cfg = c.outlet->cfg, .notification = &n, .token = "TOKEN", .past = &past, .past_n = 1};
        assert_int_equal(channel_step(c.outlet->channel, &in, a, &step, NULL), 0);
        assert_true(step.done);
        if (step.outcome.verdict != w->verdict)
            fail_msg("%s %d %s: verdict %d", w->channel, w->status, w->body,
                     (int)step.outcome.verdict);
        assert_int_equal(step.outcome.limited, w->limited);
        if (step.outcome.wait_ms != w->wait_ms)
            fail_msg("%s %d %s: wait %lld", w->channel, w->status, w->body,
                     (long long)step.outcome.wait_ms);
        assert_int_equal(step.outcome.gone, w->gone);
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

/* The message of a golden case, rendered; `later` ms after its time. */
static void open_case(const char *channel, const char *name, int64_t later, struct channel_case *c,
                      struct arena *a, struct notification *ret)
{
    char path[512];

    (void)snprintf(path, sizeof(path), GOLDEN "/%s/%s.json", channel, name);
    assert_int_equal(channel_case_load(path, channel, c), 0);
    assert_int_equal(channel_case_render(c, a, ret, NULL), 0);
    ret->now += later;
}

static void signs_as_the_vendors_do(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(signatures) / sizeof(*signatures); i++) {
        CLEANUP(arena_free) struct arena *a = arena_new((size_t)8 << 20);
        struct channel_case c;
        struct notification n;
        struct step step;

        open_case(signatures[i].channel, "opened", signatures[i].later, &c, a, &n);
        struct step_input in = {.cfg = c.outlet->cfg, .notification = &n};
        assert_int_equal(channel_step(c.outlet->channel, &in, a, &step, NULL), 0);
        assert_non_null(strstr(step.request.url, signatures[i].url));
        assert_non_null(strstr(step.request.body.p, signatures[i].body));
        channel_case_free(&c);
    }
}

static void asks_on_until_it_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(talks) / sizeof(*talks); i++) {
        CLEANUP(arena_free) struct arena *a = arena_new((size_t)8 << 20);
        struct exchange past[TURNS_MAX];
        struct channel_case c;
        struct notification n;
        struct step step;

        open_case(talks[i].channel, talks[i].name, 0, &c, a, &n);
        struct step_input in = {.cfg = c.outlet->cfg,
                                .notification = &n,
                                .reference = json_object_get(c.doc, "reference"),
                                .token = json_string_value(json_object_get(c.doc, "token")),
                                .past = past};
        assert_int_equal(channel_step(c.outlet->channel, &in, a, &step, NULL), 0);
        for (size_t k = 0; k < TURNS_MAX && talks[i].turns[k].asks; k++) {
            const char *said = arena_printf(a, "%s %s", step.request.method, step.request.url);
            const char *with = step.request.body.p ? step.request.body.p : "";
            assert_false(step.done);
            if (!strstr(said, talks[i].turns[k].asks) || !strstr(with, talks[i].turns[k].with))
                fail_msg("talk %zu, turn %zu: %s %s", i, k, said, with);
            past[k] = (struct exchange){step.request,
                                        {.status = talks[i].turns[k].status,
                                         .transport = talks[i].turns[k].status ? "" : "timed out",
                                         .body = slice_of(talks[i].turns[k].body),
                                         .retry_after_ms = -1}};
            in.past_n = k + 1;
            assert_int_equal(channel_step(c.outlet->channel, &in, a, &step, NULL), 0);
        }
        if (!step.done || step.outcome.verdict != talks[i].verdict)
            fail_msg("talk %zu of %s: %s %s, verdict %d", i, talks[i].channel,
                     step.done ? "over" : "goes on with", step.done ? "" : step.request.url,
                     (int)step.outcome.verdict);
        assert_int_equal(step.outcome.keep != NULL, talks[i].keeps != NULL);
        char *keeps = step.outcome.keep ? json_dumps(step.outcome.keep, 0) : strdup("");
        if (!strstr(keeps, talks[i].keeps ? talks[i].keeps : ""))
            fail_msg("talk %zu keeps %s", i, keeps);
        free(keeps);
        channel_case_free(&c);
    }
}

/* What a vendor takes of JSON is more than its text, and counted apart. */
static size_t body_max(const char *channel)
{
    static const struct {
        const char *channel;
        size_t max;
    } all[] = {{"dingtalk", 20000}, {"feishu", 20 << 10}, {"teams", 28 << 10}};

    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        if (strcmp(all[i].channel, channel) == 0)
            return all[i].max;
    return SIZE_MAX;
}

/* Whatever stands in it: within the channel's limit, with the link, and still text. */
static void cuts_what_is_too_long(void **state)
{
    static const char part[] = "a&b <i>c</i> *d* _e_ \\ [f](g) 😀 世界 ";
    CLEANUP(buf_release) struct buf text = BUF_INIT((size_t)1 << 20);
    size_t tried = 0;

    (void)state;
    while (text.len < 60000)
        buf_puts(&text, part);
    for (size_t i = 0; channel_at(i); i++) {
        const struct channel *ch = channel_at(i);
        CLEANUP(arena_free) struct arena *a = arena_new((size_t)32 << 20);
        char path[512];
        struct channel_case c;
        struct notification n;
        struct err e = {0};

        if (!ch->max_text || !a_case(ch->name, path))
            continue;
        assert_int_equal(channel_case_load(path, ch->name, &c), 0);
        json_t *incident = json_object_get(json_object_get(c.doc, "facts"), "incident");
        if (!incident) {
            channel_case_free(&c);
            continue;
        }
        assert_int_equal(json_object_set_new(incident, "description", json_string(buf_str(&text))),
                         0);
        CLEANUP(template_free)
        struct template *own = template_compile("{{incident.description}}", &e);
        c.outlets->v[0].own = own;
        assert_int_equal(channel_case_render(&c, a, &n, &e), 0);
        struct slice s = slice_of(n.text);
        assert_true(text_size(s, ch->unit) <= ch->max_text);
        assert_true(text_size(s, ch->unit) > ch->max_text / 2);
        assert_int_equal(strstr(n.text, "/#/incidents/") == NULL, ch->rings);
        json_t *valid = json_string(n.text);
        assert_non_null(valid);
        json_decref(valid);
        struct step_input in = {.cfg = c.outlet->cfg, .notification = &n};
        struct step step;
        assert_int_equal(channel_step(ch, &in, a, &step, &e), 0);
        assert_true(step.request.body.len <= body_max(ch->name));
        channel_case_free(&c);
        tried++;
    }
    assert_true(tried > 0);
}

static void says_where_without_a_secret(void **state)
{
    bool seen[64] = {false};

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

static void refuses_a_mistake_by_its_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(*mistakes); i++) {
        char text[512];
        struct conf *conf = NULL;
        struct err e = {0};
        struct outlets *all = NULL;

        (void)snprintf(text, sizeof(text), "receivers: [{name: team, %s_configs: [%s]}]",
                       mistakes[i].channel, mistakes[i].config);
        assert_int_equal(conf_parse("t", text, NULL, &conf, &e), 0);
        struct settings s = {.conf = conf, .locale = "", .time_zone = "UTC"};
        assert_int_equal(outlets_load(&s, &all, &e), -EINVAL);
        if (!strstr(e.msg, mistakes[i].words) || strncmp(e.msg, "t:1:", 4) != 0)
            fail_msg("%s: %s", mistakes[i].config, e.msg);
        conf_free(conf);
    }
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
        cmocka_unit_test(signs_as_the_vendors_do),
        cmocka_unit_test(asks_on_until_it_is_told),
        cmocka_unit_test(cuts_what_is_too_long),
        cmocka_unit_test(says_where_without_a_secret),
        cmocka_unit_test(refuses_a_mistake_by_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
