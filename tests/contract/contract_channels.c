/*
 * What every channel in the registry promises, whatever it sends. What its vendor says, and how
 * that is taken, stands beside its golden cases in vendor.json:
 *
 *   answers   [{status, body, verdict, limited, wait_ms, gone}]: the vendor's retry table; status 0
 *             is no answer. At least one.
 *   talks     [{case, turns: [{asks, with, status, body}], verdict, keeps}]: what is asked, in the
 *             method and address or in the body, what is answered to each, and how it ends
 *   places    [{config, place, key}]: where a message went, as the ledger says it to whoever may
 *             read the console. At least one. `key`: by another name of the channel
 *   mistakes  [{config, says, key}]: what a configuration is refused for
 *   body_max  bytes that the vendor takes of a body, where that is more than its text
 */
#include "testing.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "golden/channel_case.h"

#define GOLDEN SOURCE_DIR "/tests/golden/channels"

static size_t answers_tried, talks_tried;

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
        if (strstr(f->d_name, ".json") && strcmp(f->d_name, "vendor.json") != 0) {
            (void)snprintf(path, 512, "%s/%.200s", dir, f->d_name);
            found = true;
        }
    if (d)
        (void)closedir(d);
    return found;
}

/* What stands in a channel's vendor.json at `key`, owned by the caller; NULL: nothing. */
static json_t *vendor(const char *channel, const char *key)
{
    char path[512];
    json_error_t bad;

    (void)snprintf(path, sizeof(path), GOLDEN "/%s/vendor.json", channel);
    json_t *all = json_load_file(path, 0, &bad);
    if (!all)
        fail_msg("%s:%d: %s", path, bad.line, bad.text);
    json_t *found = json_incref(json_object_get(all, key));
    json_decref(all);
    return found;
}

typedef void row_fn(const char *channel, const json_t *row);

/* Every row of one channel's list; their number. */
static size_t each_row(const char *channel, const char *list, row_fn *fn)
{
    json_t *rows = vendor(channel, list);
    const json_t *row;
    size_t i;

    json_array_foreach (rows, i, row)
        fn(channel, row);
    json_decref(rows);
    return i;
}

static const char *word(const json_t *row, const char *key)
{
    const char *s = json_string_value(json_object_get(row, key));
    return s ? s : "";
}

/* The answer of an exchange, its body as text or as JSON. */
static struct response answer(const json_t *row, struct arena *a)
{
    const json_t *body = json_object_get(row, "body");
    char *text = json_is_object(body) ? json_dumps(body, JSON_COMPACT) : strdup(word(row, "body"));
    int status = (int)json_integer_value(json_object_get(row, "status"));
    struct response r = {.status = status,
                         .transport = status ? "" : "timed out",
                         .body = arena_slice(a, slice_of(text)),
                         .retry_after_ms = -1};

    free(text);
    return r;
}

static enum verdict verdict(const json_t *row)
{
    static const char *const names[] = {"", "delivered", "retry", "reject"};

    for (enum verdict v = VERDICT_DELIVERED; v <= VERDICT_REJECT; v++)
        if (strcmp(word(row, "verdict"), names[v]) == 0)
            return v;
    fail_msg("no verdict: %s", word(row, "verdict"));
    return 0;
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

static void judges(const char *channel, const json_t *row)
{
    char path[512];
    struct channel_case c;
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)8 << 20);
    struct notification n;
    struct step step;

    assert_true(a_case(channel, path));
    assert_int_equal(channel_case_load(path, channel, &c), 0);
    assert_int_equal(channel_case_render(&c, a, &n, NULL), 0);
    struct exchange past = {.response = answer(row, a)};
    struct step_input in = {
        .cfg = c.outlet->cfg, .notification = &n, .token = "TOKEN", .past = &past, .past_n = 1};
    assert_int_equal(channel_step(c.outlet->channel, &in, a, &step, NULL), 0);
    assert_true(step.done);
    if (step.outcome.verdict != verdict(row) ||
        step.outcome.limited != json_is_true(json_object_get(row, "limited")) ||
        step.outcome.wait_ms != json_integer_value(json_object_get(row, "wait_ms")) ||
        step.outcome.gone != json_is_true(json_object_get(row, "gone")))
        fail_msg("%s %d %.*s: verdict %d, limited %d, wait %lld, gone %d", channel,
                 past.response.status, (int)past.response.body.len, past.response.body.p,
                 (int)step.outcome.verdict, step.outcome.limited, (long long)step.outcome.wait_ms,
                 step.outcome.gone);
    assert_true(step.outcome.words && *step.outcome.words);
    channel_case_free(&c);
}

static void judges_as_the_vendors_say(void **state)
{
    (void)state;
    for (size_t i = 0; channel_at(i); i++) {
        const size_t n = each_row(channel_at(i)->name, "answers", judges);
        assert_true(n > 0);
        answers_tried += n;
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

/* The message of a golden case, rendered. */
static void open_case(const char *channel, const char *name, struct channel_case *c,
                      struct arena *a, struct notification *ret)
{
    char path[512];

    (void)snprintf(path, sizeof(path), GOLDEN "/%s/%s.json", channel, name);
    assert_int_equal(channel_case_load(path, channel, c), 0);
    assert_int_equal(channel_case_render(c, a, ret, NULL), 0);
}

static void talks(const char *channel, const json_t *row)
{
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)8 << 20);
    const json_t *turns = json_object_get(row, "turns"), *turn;
    struct exchange past[8];
    struct channel_case c;
    struct notification n;
    struct step step;
    size_t k;

    assert_in_range(json_array_size(turns), 1, sizeof(past) / sizeof(*past));
    open_case(channel, word(row, "case"), &c, a, &n);
    struct step_input in = {.cfg = c.outlet->cfg,
                            .notification = &n,
                            .reference = json_object_get(c.doc, "reference"),
                            .token = json_string_value(json_object_get(c.doc, "token")),
                            .past = past};
    assert_int_equal(channel_step(c.outlet->channel, &in, a, &step, NULL), 0);
    json_array_foreach (turns, k, turn) {
        assert_false(step.done);
        const char *said = arena_printf(a, "%s %s", step.request.method, step.request.url);
        const char *with = step.request.body.p ? step.request.body.p : "";
        if (!strstr(said, word(turn, "asks")) || !strstr(with, word(turn, "with")))
            fail_msg("%s asks %s %s, not %s %s", channel, said, with, word(turn, "asks"),
                     word(turn, "with"));
        past[k] = (struct exchange){step.request, answer(turn, a)};
        in.past_n = k + 1;
        assert_int_equal(channel_step(c.outlet->channel, &in, a, &step, NULL), 0);
    }
    if (!step.done || step.outcome.verdict != verdict(row))
        fail_msg("%s after %s: %s %s, verdict %d", channel,
                 word(json_array_get(turns, k - 1), "asks"), step.done ? "over" : "goes on with",
                 step.done ? "" : step.request.url, (int)step.outcome.verdict);
    char *keeps = step.outcome.keep ? json_dumps(step.outcome.keep, 0) : strdup("");
    if (!strstr(keeps, word(row, "keeps")) || (*keeps && !*word(row, "keeps")))
        fail_msg("%s keeps %s", channel, keeps);
    free(keeps);
    channel_case_free(&c);
}

static void asks_on_until_it_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; channel_at(i); i++)
        talks_tried += each_row(channel_at(i)->name, "talks", talks);
    assert_true(talks_tried > 0);
}

/* What a vendor takes of JSON is more than its text, and counted apart. */
static size_t body_max(const char *channel)
{
    json_t *max = vendor(channel, "body_max");
    size_t n = max ? (size_t)json_integer_value(max) : SIZE_MAX;

    json_decref(max);
    return n;
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

/* The outlets of a receiver with one entry, as of line 1 of a file t. */
static int configure(const char *channel, const json_t *row, struct conf **conf,
                     struct outlets **ret, struct err *e)
{
    const char *key = *word(row, "key") ? word(row, "key") : channel;
    char text[512];

    (void)snprintf(text, sizeof(text), "receivers: [{name: team, %s_configs: [%s]}]", key,
                   word(row, "config"));
    assert_int_equal(conf_parse("t", text, NULL, conf, e), 0);
    struct settings s = {.conf = *conf, .locale = "", .time_zone = "UTC"};
    return outlets_load(&s, ret, e);
}

static void is_found(const char *channel, const json_t *row)
{
    struct conf *conf = NULL;
    struct err e = {0};
    CLEANUP(outlets_free) struct outlets *all = NULL;

    if (configure(channel, row, &conf, &all, &e) < 0)
        fail_msg("%s", e.msg);
    assert_string_equal(all->v[0].place, word(row, "place"));
    assert_string_equal(all->v[0].channel->name, channel);
    assert_null(strstr(all->v[0].place, "s3cret"));
    outlets_free(TAKE(all));
    conf_free(conf);
}

static void says_where_without_a_secret(void **state)
{
    (void)state;
    for (size_t i = 0; channel_at(i); i++)
        assert_true(each_row(channel_at(i)->name, "places", is_found) > 0);
}

static void is_refused(const char *channel, const json_t *row)
{
    struct conf *conf = NULL;
    struct err e = {0};
    struct outlets *all = NULL;

    assert_int_equal(configure(channel, row, &conf, &all, &e), -EINVAL);
    if (!*word(row, "says") || !strstr(e.msg, word(row, "says")) || strncmp(e.msg, "t:1:", 4) != 0)
        fail_msg("%s: %s", word(row, "config"), e.msg);
    conf_free(conf);
}

static void refuses_a_mistake_by_its_place(void **state)
{
    (void)state;
    size_t tried = 0;
    for (size_t i = 0; channel_at(i); i++)
        tried += each_row(channel_at(i)->name, "mistakes", is_refused);
    assert_true(tried > 0);
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
        cmocka_unit_test(asks_on_until_it_is_told),
        cmocka_unit_test(cuts_what_is_too_long),
        cmocka_unit_test(says_where_without_a_secret),
        cmocka_unit_test(refuses_a_mistake_by_its_place),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    size_t channels = 0;

    while (channel_at(channels))
        channels++;
    (void)printf(
        "tried by contract.channels: %zu channels, %zu answers of vendors, %zu exchanges\n",
        channels, answers_tried, talks_tried);
    return failed;
}
