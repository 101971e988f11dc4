/* Tokens with a real Redis: shared, sealed, and no worse without it. */
#include "testing.h"

#include "common/clock.h"
#include "notifier/tokens.h"
#include "servers.h"

/* Two workers of one configuration: each has its own memory of the credential. */
struct worker {
    struct tokens *tokens;
    struct credential credential;
};

static struct server *server;
static struct redis_settings settings;

static int start_server(void **state)
{
    (void)state;
    server = server_redis(0, NULL);
    settings = (struct redis_settings){
        .url = server_url(server), .prefix = "t", .timeout = 2000, .key_ttl = MS_HOUR};
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    server_stop(server);
    return 0;
}

static void open_worker(struct worker *w, const struct redis_settings *s, char secret)
{
    *w = (struct worker){.tokens = NULL};
    memset(w->credential.id, secret, sizeof(w->credential.id));
    memset(w->credential.key, secret + 1, sizeof(w->credential.key));
    assert_int_equal(tokens_new(s, &w->tokens, NULL), 0);
}

static void learn(struct worker *w, const char *text, int64_t good_for, const char *had)
{
    const struct token t = {text, good_for};

    tokens_learn(w->tokens, &w->credential, &t, had, 1000);
}

/* What the worker has at `now`; "": nothing. */
static void has(struct worker *w, int64_t now, const char *token)
{
    CLEANUP(arena_free) struct arena *a = arena_new(4096);
    const char *got = tokens_get(w->tokens, &w->credential, now, a);

    assert_string_equal(got ? got : "", token);
}

static void ask_redis(const char *command, const char *name, redisReply **ret)
{
    struct redis *r = NULL;

    assert_int_equal(redis_open(&settings, &r, NULL), 0);
    assert_int_equal(
        redis_command(r, name ? 2 : 1,
                      (const struct slice[]){slice_of(command), slice_of(name ? name : "")}, ret,
                      NULL),
        0);
    redis_close(r);
}

static void workers_share_a_token(void **state)
{
    struct worker one, two, stranger;

    (void)state;
    open_worker(&one, &settings, 'a');
    open_worker(&two, &settings, 'a');
    open_worker(&stranger, &settings, 'x');
    has(&one, 1000, "");
    learn(&one, "TOKEN-1", 7200000, NULL);
    has(&one, 1000, "TOKEN-1");
    has(&two, 1000, "TOKEN-1");
    has(&stranger, 1000, "");
    /* Who was told that the old one is good for nobody does not take the new one from others. */
    learn(&one, "TOKEN-2", 7200000, "TOKEN-1");
    learn(&one, "", 0, "TOKEN-1");
    has(&one, 1000, "TOKEN-2");
    learn(&one, "", 0, "TOKEN-2");
    has(&one, 1000, "");
    tokens_free(one.tokens);
    tokens_free(two.tokens);
    tokens_free(stranger.tokens);
}

static void a_token_ends_everywhere(void **state)
{
    struct worker one, two;

    (void)state;
    open_worker(&one, &settings, 'b');
    open_worker(&two, &settings, 'b');
    learn(&one, "SHORT", 60000, NULL);
    has(&two, 5000, "SHORT");
    ask_redis("FLUSHALL", NULL, NULL);
    has(&two, 5000, "SHORT");
    has(&one, 60999, "SHORT");
    has(&one, 61000, "");
    has(&two, 65000, "");
    learn(&one, "NEVER", 0, NULL); /* the vendor did not say for how long */
    has(&one, 1000, "");
    tokens_free(one.tokens);
    tokens_free(two.tokens);
}

static void nobody_reads_it_in_redis(void **state)
{
    static const char name[] =
        "t:token:6363636363636363636363636363636363636363636363636363636363636363";
    struct worker one, thief;
    redisReply *value = NULL, *left = NULL;

    (void)state;
    open_worker(&one, &settings, 'c');
    learn(&one, "READABLE", 60000, NULL);
    ask_redis("GET", name, &value);
    assert_int_equal(value->type, REDIS_REPLY_STRING);
    assert_null(memmem(value->str, value->len, "READABLE", 8));
    ask_redis("PTTL", name, &left);
    assert_true(left->integer > 0 && left->integer <= 60000);
    open_worker(&thief, &settings, 'c');
    thief.credential.key[0] ^= 1; /* knows the name, not the secret */
    has(&thief, 1000, "");
    freeReplyObject(value);
    freeReplyObject(left);
    tokens_free(one.tokens);
    tokens_free(thief.tokens);
}

static void needs_no_redis(void **state)
{
    static const struct redis_settings none = {.url = "", .prefix = "t", .timeout = 100};
    static const struct redis_settings gone = {
        .url = "redis://127.0.0.1:1", .prefix = "t", .timeout = 100};
    const struct redis_settings *const all[] = {&none, &gone};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct worker w;
        open_worker(&w, all[i], 'd');
        has(&w, 1000, "");
        learn(&w, "TOKEN", 60000, NULL);
        has(&w, 1000, "TOKEN");
        learn(&w, "", 0, "TOKEN");
        has(&w, 1000, "");
        tokens_free(w.tokens);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(workers_share_a_token),
        cmocka_unit_test(a_token_ends_everywhere),
        cmocka_unit_test(nobody_reads_it_in_redis),
        cmocka_unit_test(needs_no_redis),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
