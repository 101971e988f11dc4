#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/conf.h"

struct sample {
    const char *name, *password;
    uint32_t count;
    bool on;
    size_t size;
    int64_t wait;
    double ratio;
    int level;
    struct conf_strs list;
};

static const char *const levels[] = {"low", "high", NULL};

static const struct conf_key keys[] = {
    CONF(struct sample, name, CONF_STR, "nobody", 0, "a name"),
    CONF(struct sample, password, CONF_STR, "", CONF_SECRET, "a secret"),
    CONF(struct sample, count, CONF_U32, "7", 0, "a number"),
    CONF(struct sample, on, CONF_BOOL, NULL, 0, "a switch"),
    CONF(struct sample, size, CONF_SIZE, "64k", 0, "a size"),
    CONF(struct sample, wait, CONF_DURATION, "30s", 0, "a time"),
    CONF(struct sample, ratio, CONF_FLOAT, "0.5", 0, "a ratio"),
    CONF_CHOICE(struct sample, level, "low", levels, "a level"),
    CONF(struct sample, list, CONF_STRS, "a, b", 0, "a list"),
    CONF_END,
};

static const struct conf_key required[] = {
    CONF(struct sample, name, CONF_STR, NULL, CONF_REQUIRED, "a name"),
    CONF_END,
};

static const struct conf_key tokens[] = {
    CONF(struct sample, list, CONF_STRS, NULL, CONF_SECRET, "tokens"),
    CONF_END,
};

/* Load section "s" of `text`; the whole way, so that unknown things are found too. */
static int load(const char *text, const char *const *sets, struct sample *out, struct conf **ret,
                struct err *e)
{
    CLEANUP(conf_free) struct conf *c = NULL;
    int r = conf_parse("t.yml", text, sets, &c, e);

    if (r == 0)
        r = conf_section(c, "s", keys, out, e);
    if (r == 0)
        r = conf_finish(c, e);
    if (r == 0 && ret)
        *ret = TAKE(c);
    return r;
}

static void assert_load_fails(const char *text, const char *const *sets, const char *message)
{
    struct sample s = {0};
    struct err e = {0};

    assert_int_not_equal(load(text, sets, &s, NULL, &e), 0);
    assert_string_equal(e.msg, message);
    assert_true(e.code < 0);
}

static const char *list_at(const struct conf_strs *list, size_t i)
{
    if (!list->v || i >= list->n)
        fail_msg("no element %zu", i);
    return list->v ? list->v[i] : NULL;
}

static void defaults(void **state)
{
    CLEANUP(conf_free) struct conf *c = NULL;
    struct sample s = {0};

    (void)state;
    assert_int_equal(load("", NULL, &s, &c, NULL), 0);
    assert_string_equal(s.name, "nobody");
    assert_string_equal(s.password, "");
    assert_int_equal(s.count, 7);
    assert_false(s.on);
    assert_int_equal(s.size, 65536);
    assert_int_equal(s.wait, 30000);
    assert_true(s.ratio > 0.49 && s.ratio < 0.51);
    assert_int_equal(s.level, 0);
    assert_int_equal(s.list.n, 2);
    assert_string_equal(list_at(&s.list, 0), "a");
    assert_string_equal(list_at(&s.list, 1), "b");
}

static void file_values(void **state)
{
    static const char text[] = "s:\n"
                               "  name: \"\"\n"
                               "  password: 'a: b'\n"
                               "  count: 4294967295\n"
                               "  on: Yes\n"
                               "  size: 2G\n"
                               "  wait: 1h30m\n"
                               "  ratio: -1.5e3\n"
                               "  level: high\n"
                               "  list: [\"x, y\", z]\n";
    CLEANUP(conf_free) struct conf *c = NULL;
    struct sample s = {0};

    (void)state;
    assert_int_equal(load(text, NULL, &s, &c, NULL), 0);
    assert_string_equal(s.name, "");
    assert_string_equal(s.password, "a: b");
    assert_int_equal(s.count, UINT32_MAX);
    assert_true(s.on);
    assert_int_equal(s.size, (size_t)2 << 30);
    assert_int_equal(s.wait, 5400000);
    assert_true(s.ratio < -1499 && s.ratio > -1501);
    assert_int_equal(s.level, 1);
    assert_int_equal(s.list.n, 2);
    assert_string_equal(list_at(&s.list, 0), "x, y");
}

/* One string where a list may stand is a list of one, commas and all. Null is absence. */
static void list_of_one_and_null(void **state)
{
    CLEANUP(conf_free) struct conf *c = NULL;
    struct sample s = {0};

    (void)state;
    assert_int_equal(load("s:\n  list: x, y\n  name:\n  count: ~\n", NULL, &s, &c, NULL), 0);
    assert_int_equal(s.list.n, 1);
    assert_string_equal(list_at(&s.list, 0), "x, y");
    assert_string_equal(s.name, "nobody");
    assert_int_equal(s.count, 7);
}

static void wrong_values(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"s:\n  count: -1\n",
         "t.yml:2:10: s.count: a whole number from 0 to 4294967295 is expected, not \"-1\""},
        {"s: {count: 4294967296}", "t.yml:1:12: s.count: a whole number from 0 to 4294967295 is "
                                   "expected, not \"4294967296\""},
        {"s: {count: \" 1\"}",
         "t.yml:1:12: s.count: a whole number from 0 to 4294967295 is expected, not \" 1\""},
        {"s: {on: maybe}", "t.yml:1:9: s.on: true or false is expected, not \"maybe\""},
        {"s: {size: 1kb}",
         "t.yml:1:11: s.size: a size such as 512, 64k, 1m or 2g is expected, not \"1kb\""},
        {"s: {size: 99999999999t}", "t.yml:1:11: s.size: a size such as 512, 64k, 1m or 2g is "
                                    "expected, not \"99999999999t\""},
        {"s: {wait: 30}", "t.yml:1:11: s.wait: a duration such as 500ms, 30s, 5m or 1h30m is "
                          "expected, not \"30\""},
        {"s: {ratio: nan}", "t.yml:1:12: s.ratio: a number is expected, not \"nan\""},
        {"s: {level: middle}", "t.yml:1:12: s.level: one of low, high is expected, not \"middle\""},
        {"s: {name: [a]}", "t.yml:1:11: s.name: one value is expected, not a list or a map"},
        {"s: {list: {a: b}}", "t.yml:1:11: s.list: a list of strings is expected"},
        {"s: {list: [[a]]}", "t.yml:1:12: s.list: a string is expected"},
        {"s: [a]", "t.yml:1:4: section \"s\" must be a map"},
        {"- a", "t.yml:1:1: a map of sections is expected"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_load_fails(cases[i].text, NULL, cases[i].message);
}

static void unknown_and_duplicate(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"s:\n  name: a\n  cuont: 1\n",
         "t.yml:3:3: unknown key \"cuont\" in section \"s\"; did you mean \"count\"?"},
        {"s:\n  zzzzzzzz: 1\n", "t.yml:2:3: unknown key \"zzzzzzzz\" in section \"s\""},
        {"s:\n  name_file: x\n", "t.yml:2:3: unknown key \"name_file\" in section \"s\""},
        {"t: {}\n", "t.yml:1:1: unknown key \"t\" at the top level"},
        {"s:\n  name: a\n  name: b\n", "t.yml:3:3: duplicate key \"name\" (first in line 2)"},
        {"s: {}\ns: {}\n", "t.yml:2:1: duplicate key \"s\" (first in line 1)"},
        {"s: {name: \"a\\0b\"}", "t.yml:1:11: a NUL character in a string"},
        {"s: {? [a] : b}", "t.yml:1:7: a key must be a string"},
        {"s: {name: !env HOME}", "t.yml:1:11: the tag !env is not known here"},
        {"s:\n\tname: a\n",
         "t.yml:2:1: while scanning for the next token: found character that cannot start any "
         "token: indent by spaces, not by a tab"},
        {"s:\n  on: true\n  name: 'a\nt:\n",
         "t.yml:5:1: while scanning a quoted scalar that begins in line 3: found unexpected end of "
         "stream"},
        {"s: {}\n---\ns: {}\n", "t.yml:3:1: a second document; one is expected"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_load_fails(cases[i].text, NULL, cases[i].message);
}

static void syntax_errors_have_a_place(void **state)
{
    struct sample s = {0};
    struct err e = {0};

    (void)state;
    assert_int_not_equal(load("s:\n  name: [a\n", NULL, &s, NULL, &e), 0);
    assert_memory_equal(e.msg, "t.yml:3:1: ", strlen("t.yml:3:1: "));
    assert_int_not_equal(load("s: \xff\xfe\xff", NULL, &s, NULL, &e), 0);
    assert_memory_equal(e.msg, "t.yml: ", strlen("t.yml: "));
    assert_int_not_equal(load("s: *nowhere", NULL, &s, NULL, &e), 0);
    assert_memory_equal(e.msg, "t.yml:1:4: ", strlen("t.yml:1:4: "));
}

static void anchors_and_merge(void **state)
{
    static const char text[] = "s:\n"
                               "  <<: [*a, *b]\n"
                               "  count: 3\n";
    static const char good[] = "x: [&a {count: 1, name: from-a}, &b {name: from-b, wait: 1s}]\n"
                               "s:\n"
                               "  <<: [*a, *b]\n"
                               "  count: 3\n";
    CLEANUP(conf_free) struct conf *c = NULL;
    struct sample s = {0};
    struct err e = {0};

    (void)state;
    assert_int_not_equal(load(text, NULL, &s, NULL, &e), 0);
    assert_int_equal(conf_parse("t.yml", good, NULL, &c, &e), 0);
    assert_int_equal(yaml_count(conf_yaml(c, "x")), 2);
    assert_int_equal(conf_section(c, "s", keys, &s, &e), 0);
    assert_int_equal(conf_finish(c, &e), 0);
    assert_int_equal(s.count, 3);
    assert_string_equal(s.name, "from-a");
    assert_int_equal(s.wait, 1000);
}

/* Each line doubles what it stands for nine times over: 9^9 values if nobody counts. */
static void alias_bomb(void **state)
{
    static const char text[] = "a: &a [x,x,x,x,x,x,x,x,x]\n"
                               "b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
                               "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
                               "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
                               "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\n"
                               "f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
                               "g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n";
    struct sample s = {0};
    struct err e = {0};

    (void)state;
    assert_int_not_equal(load(text, NULL, &s, NULL, &e), 0);
    assert_non_null(strstr(e.msg, "more than 200000 values once aliases are expanded"));
    assert_int_not_equal(load("s: &a [*a]", NULL, &s, NULL, &e), 0);
    assert_non_null(strstr(e.msg, "nested deeper than 64"));
}

static void sets_win_and_are_checked(void **state)
{
    static const char *const sets[] = {"s.count=1", "s.count=9", "s.list=p,,q , r", NULL};
    static const char *const typo[] = {"s.cuont=9", NULL};
    static const char *const wrong[] = {"s.count=many", NULL};
    static const char *const shape[] = {"s.count", NULL};
    CLEANUP(conf_free) struct conf *c = NULL;
    struct sample s = {0};

    (void)state;
    assert_int_equal(load("s: {count: 3}", sets, &s, &c, NULL), 0);
    assert_int_equal(s.count, 9);
    assert_int_equal(s.list.n, 3);
    assert_string_equal(list_at(&s.list, 1), "q");
    assert_load_fails("", typo, "--set s.cuont: there is no such setting");
    assert_load_fails(
        "", wrong, "--set: s.count: a whole number from 0 to 4294967295 is expected, not \"many\"");
    assert_load_fails("", shape, "--set s.count: section.key=value is expected");
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static char *dir_new(char path[32])
{
    (void)snprintf(path, 32, "/tmp/test_conf.XXXXXX");
    return mkdtemp(path);
}

static void environment(void **state)
{
    CLEANUP(conf_free) struct conf *c = NULL;
    struct sample s = {0}, n = {0}, root = {0};
    struct err e = {0};

    (void)state;
    assert_int_equal(setenv("TOCSIN__S__COUNT", "11", 1), 0);
    assert_int_equal(setenv("TOCSIN__S__LIST", "u,v", 1), 0);
    assert_int_equal(setenv("TOCSIN__NODES__MY_NODE_X__NAME", "node", 1), 0);
    assert_int_equal(setenv("TOCSIN__NAME", "root", 1), 0);
    assert_int_equal(setenv("TOCSIN_HOME", "not ours", 1), 0);
    assert_int_equal(conf_open(NULL, NULL, &c, &e), 0);
    assert_int_equal(conf_section(c, "", required, &root, &e), 0);
    assert_int_equal(conf_section(c, "s", keys, &s, &e), 0);
    assert_null(conf_yaml(c, "nodes"));
    assert_int_equal(conf_node(c, NULL, "nodes.my-node_x", keys, NULL, &n, &e), 0);
    assert_int_equal(conf_finish(c, &e), 0);
    assert_null(conf_warning(c, 0));
    assert_int_equal(s.count, 11);
    assert_int_equal(s.list.n, 2);
    assert_string_equal(n.name, "node");
    assert_string_equal(root.name, "root");
    (void)unsetenv("TOCSIN__NAME");
    (void)unsetenv("TOCSIN__S__COUNT");
    (void)unsetenv("TOCSIN__S__LIST");
    (void)unsetenv("TOCSIN__NODES__MY_NODE_X__NAME");
}

static void environment_typos(void **state)
{
    CLEANUP(conf_free) struct conf *c = NULL, *tree = NULL, *loaded = NULL;
    struct sample s = {0};
    struct err e = {0};

    (void)state;
    assert_int_equal(setenv("TOCSIN__S__CUONT", "11", 1), 0);
    assert_int_equal(conf_open(NULL, NULL, &c, &e), 0);
    assert_int_equal(conf_section(c, "s", keys, &s, &e), 0);
    assert_int_not_equal(conf_finish(c, &e), 0);
    assert_string_equal(e.msg, "environment: TOCSIN__S__CUONT: there is no such setting");

    /* A section that this process does not load is not judged ... */
    assert_int_equal(conf_open(NULL, NULL, &tree, &e), 0);
    assert_null(conf_yaml(tree, "s"));
    assert_int_equal(conf_finish(tree, &e), 0);
    assert_null(conf_warning(tree, 0));

    /* ... and one that it does load gets a warning. */
    assert_int_equal(conf_open(NULL, NULL, &loaded, &e), 0);
    assert_null(conf_yaml(loaded, "s"));
    assert_int_equal(conf_node(loaded, NULL, "s.x", keys, NULL, &s, &e), 0);
    assert_int_equal(conf_finish(loaded, &e), 0);
    assert_string_equal(conf_warning(loaded, 0),
                        "TOCSIN__S__CUONT has no effect: nothing below \"s\" has that name");
    assert_null(conf_warning(loaded, 1));
    (void)unsetenv("TOCSIN__S__CUONT");
}

static void secrets_from_files(void **state)
{
    CLEANUP(conf_free) struct conf *c = NULL, *env = NULL;
    char dir[32], path[64], secret[64], text[128];
    struct sample s = {0};
    struct err e = {0};

    (void)state;
    assert_non_null(dir_new(dir));
    (void)snprintf(path, sizeof(path), "%s/t.yml", dir);
    (void)snprintf(secret, sizeof(secret), "%s/secret", dir);
    write_file(secret, "one two\nthree\n");
    write_file(path, "s:\n  password_file: secret\n");

    /* Relative to the configuration's directory; only the last newline goes. */
    assert_int_equal(conf_open(path, NULL, &c, &e), 0);
    assert_int_equal(conf_section(c, "s", keys, &s, &e), 0);
    assert_string_equal(s.password, "one two\nthree");

    /* The environment's file wins over the file's value; a list has one element a line. */
    write_file(path, "s:\n  list: [x]\n");
    assert_int_equal(setenv("TOCSIN__S__LIST_FILE", secret, 1), 0);
    assert_int_equal(conf_open(path, NULL, &env, &e), 0);
    assert_int_equal(conf_section(env, "s", tokens, &s, &e), 0);
    assert_int_equal(conf_finish(env, &e), 0);
    assert_int_equal(s.list.n, 2);
    assert_string_equal(list_at(&s.list, 0), "one two");
    assert_string_equal(list_at(&s.list, 1), "three");
    (void)unsetenv("TOCSIN__S__LIST_FILE");

    (void)snprintf(text, sizeof(text), "s:\n  password: x\n  password_file: %s\n", secret);
    assert_load_fails(text, NULL,
                      "t.yml:3:18: s.password_file: given both as a value and as a file");
    (void)unlink(secret);
    (void)unlink(path);
    (void)rmdir(dir);
    assert_load_fails("s: {password_file: /nonexistent/x}", NULL,
                      "t.yml:1:20: s.password_file: cannot read /nonexistent/x: No such file or "
                      "directory");
}

static void secrets_stay_out_of_errors(void **state)
{
    static const struct conf_key secret_number[] = {
        CONF(struct sample, count, CONF_U32, NULL, CONF_SECRET, "a PIN"),
        CONF_END,
    };
    CLEANUP(conf_free) struct conf *c = NULL;
    struct sample s = {0};
    struct err e = {0};

    (void)state;
    assert_int_equal(conf_parse("t.yml", "s: {count: hunter2}", NULL, &c, &e), 0);
    assert_int_not_equal(conf_section(c, "s", secret_number, &s, &e), 0);
    assert_string_equal(e.msg,
                        "t.yml:1:12: s.count: a whole number from 0 to 4294967295 is expected");
}

static void required_keys(void **state)
{
    CLEANUP(conf_free) struct conf *c = NULL;
    struct sample s = {0};
    struct err e = {0};

    (void)state;
    assert_int_equal(conf_parse("t.yml", "s: {}\nt: {name: }\n", NULL, &c, &e), 0);
    assert_int_not_equal(conf_section(c, "s", required, &s, &e), 0);
    assert_string_equal(e.msg, "t.yml:1:4: \"s.name\" is missing");
    assert_int_not_equal(conf_section(c, "t", required, &s, &e), 0);
    assert_string_equal(e.msg, "t.yml:2:4: \"t.name\" is missing");
    assert_int_not_equal(conf_section(c, "u", required, &s, &e), 0);
    assert_string_equal(e.msg, "t.yml: \"u.name\" is missing");
}

static void trees(void **state)
{
    static const char text[] = "route:\n"
                               "  receiver: 'null'\n"
                               "  empty:\n"
                               "  routes:\n"
                               "    - matchers: [a=b]\n"
                               "      name: inner\n"
                               "      bad: 1\n";
    static const char *const known[] = {"receiver", "routes", "empty", NULL};
    static const char *const inner[] = {"matchers", "bat", NULL};
    static const char *const all[] = {"matchers", "bad", NULL};
    CLEANUP(conf_free) struct conf *c = NULL;
    const struct yaml *route, *first;
    struct sample s = {0};
    struct err e = {0};

    (void)state;
    assert_int_equal(conf_parse("t.yml", text, NULL, &c, &e), 0);
    route = conf_yaml(c, "route");
    assert_int_equal(yaml_kind(route), YAML_MAP);
    assert_int_equal(yaml_count(route), 3);
    assert_string_equal(yaml_key(route, 2), "routes");
    assert_string_equal(yaml_scalar(yaml_get(route, "receiver")), "null");
    assert_null(yaml_get(route, "empty"));
    assert_int_equal(yaml_kind(yaml_at(route, 1)), YAML_ABSENT);
    assert_int_equal(yaml_only(route, known, &e), 0);

    first = yaml_at(yaml_get(route, "routes"), 0);
    assert_null(yaml_key(yaml_get(route, "routes"), 0));
    assert_int_not_equal(yaml_only(first, inner, &e), 0);
    assert_string_equal(e.msg, "t.yml:6:7: unknown key \"name\"");
    assert_int_not_equal(conf_node(c, first, "route.routes.0", required, inner, &s, &e), 0);
    assert_string_equal(
        e.msg,
        "t.yml:7:7: unknown key \"bad\" in section \"route.routes.0\"; did you mean \"bat\"?");
    assert_int_equal(conf_node(c, first, "route.routes.0", required, all, &s, &e), 0);
    assert_string_equal(s.name, "inner");
    assert_int_not_equal(yaml_err(first, &e, "no %s", "way"), 0);
    assert_string_equal(e.msg, "t.yml:5:7: no way");
    assert_int_equal(conf_finish(c, &e), 0);
}

static void absent_is_safe(void **state)
{
    (void)state;
    assert_int_equal(yaml_kind(NULL), YAML_ABSENT);
    assert_null(yaml_scalar(NULL));
    assert_int_equal(yaml_count(NULL), 0);
    assert_null(yaml_at(NULL, 0));
    assert_null(yaml_key(NULL, 0));
    assert_null(yaml_get(NULL, "x"));
}

static void printing(void **state)
{
    static const char text[] = "s:\n  name: 'yes'\n  password: hunter2\n  count: 3\n";
    static const char *const sets[] = {"s.wait=2m", "s.list=a b,c", NULL};
    static const char expected[] = "s.name: \"yes\"  # t.yml:2\n"
                                   "s.password: <secret>  # t.yml:3\n"
                                   "s.count: 3  # t.yml:4\n"
                                   "s.on: false  # default\n"
                                   "s.size: 64k  # default\n"
                                   "s.wait: 2m  # --set\n"
                                   "s.ratio: 0.5  # default\n"
                                   "s.level: low  # default\n"
                                   "s.list: [\"a b\", c]  # --set\n";
    CLEANUP(conf_free) struct conf *c = NULL, *again = NULL;
    CLEANUP(free) char *out = NULL;
    size_t len;
    struct sample s = {0};
    FILE *f;

    (void)state;
    assert_int_equal(load(text, sets, &s, &c, NULL), 0);
    f = open_memstream(&out, &len);
    assert_non_null(f);
    conf_print(c, f);
    assert_int_equal(fclose(f), 0);
    assert_string_equal(out, expected);
    assert_int_equal(conf_parse("printed.yml", out, NULL, &again, NULL), 0);
    assert_string_equal(yaml_scalar(conf_yaml(again, "s.name")), "yes");
}

static void errors_found_later(void **state)
{
    static const char *const sets[] = {"s.wait=2m", NULL};
    CLEANUP(conf_free) struct conf *c = NULL;
    struct sample s = {0};
    struct err e = {0};

    (void)state;
    assert_int_equal(load("s: {count: 3}", sets, &s, &c, &e), 0);
    assert_int_not_equal(conf_key_err(c, "s.count", &e, "too %s", "small"), 0);
    assert_string_equal(e.msg, "t.yml:1:12: s.count: too small");
    assert_int_not_equal(conf_key_err(c, "s.wait", &e, "too long"), 0);
    assert_string_equal(e.msg, "--set: s.wait: too long");
    assert_int_not_equal(conf_key_err(c, "s.size", &e, "too big"), 0);
    assert_string_equal(e.msg, "s.size: too big");
    assert_int_equal(conf_warn(c, conf_yaml(c, "s"), "odd"), 0);
    assert_string_equal(conf_warning(c, 0), "t.yml:1:4: odd");
}

static void unreadable_file(void **state)
{
    struct conf *c = NULL;
    struct err e = {0};

    (void)state;
    assert_int_not_equal(conf_open("/nonexistent/t.yml", NULL, &c, &e), 0);
    assert_string_equal(e.msg, "cannot read /nonexistent/t.yml: No such file or directory");
    assert_int_not_equal(conf_open("/tmp", NULL, &c, &e), 0);
    assert_string_equal(e.msg, "cannot read /tmp: Is a directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(file_values),
        cmocka_unit_test(list_of_one_and_null),
        cmocka_unit_test(wrong_values),
        cmocka_unit_test(unknown_and_duplicate),
        cmocka_unit_test(syntax_errors_have_a_place),
        cmocka_unit_test(anchors_and_merge),
        cmocka_unit_test(alias_bomb),
        cmocka_unit_test(sets_win_and_are_checked),
        cmocka_unit_test(environment),
        cmocka_unit_test(environment_typos),
        cmocka_unit_test(secrets_from_files),
        cmocka_unit_test(secrets_stay_out_of_errors),
        cmocka_unit_test(required_keys),
        cmocka_unit_test(trees),
        cmocka_unit_test(absent_is_safe),
        cmocka_unit_test(printing),
        cmocka_unit_test(errors_found_later),
        cmocka_unit_test(unreadable_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
