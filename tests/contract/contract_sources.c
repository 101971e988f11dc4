/* What common/source.h promises, asked of every source in the registry. */
#include <errno.h>
#include <glob.h>

#include "common/json.h"
#include "golden/source_case.h"
#include "testing.h"

static struct conf *conf;
static struct settings settings;
static struct source_entries entries;

/* Names that a source itself adds beside those of the sender. */
#define PER_SOURCE_EXTRA 16

typedef void each_body_fn(const struct source_entry *entry, struct slice body);

/* Every golden input of a source; their number. */
static size_t each_body(const struct source_entry *entry, each_body_fn *fn)
{
    char pattern[512];
    glob_t files;
    size_t n = 0;
    (void)snprintf(pattern, sizeof(pattern), "%s/tests/golden/sources/%s/*.json", SOURCE_DIR,
                   entry->type->name);
    assert_int_equal(glob(pattern, 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        if (strstr(files.gl_pathv[i], ".expected.json"))
            continue;
        struct slice body = case_read(files.gl_pathv[i]);
        fn(entry, body);
        free((void *)(uintptr_t)body.p);
        n++;
    }
    globfree(&files);
    return n;
}

static int decode(const struct source_entry *entry, struct slice body, struct arena *a,
                  struct alert_list *ret, struct err *e)
{
    const struct source_case c = {.body = body};
    struct kafka_header kept[16];
    const struct record r = case_record(entry, &c, body, kept);
    return entry->type->decode(entry->cfg, &r, &settings.limits, a, ret, e);
}

static void test_says_what_it_is(void **state)
{
    (void)state;
    for (size_t i = 0; source_at(i); i++) {
        const struct source *s = source_at(i);
        assert_true(strlen(s->name) > 0 && strlen(s->summary) > 0);
        assert_ptr_equal(source_find(s->name), s);
        assert_true(s->cfg_size >= sizeof(struct source_common));
        assert_non_null(s->accept);
        assert_non_null(s->decode);
        size_t n = 0;
        for (const struct conf_key *k = s->keys; k->name; k++, n++)
            if (!k->help || !*k->help)
                fail_msg("%s.%s has no help", s->name, k->name);
        assert_true(n >= 7); /* those that every entry has */
        assert_non_null(source_entry_find(&entries, slice_of(s->name)));
    }
    assert_null(source_at(1000));
    assert_null(source_find("nobody"));
}

/* Nobody takes an address from another, nor from us. */
static void test_addresses_are_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; source_at(i); i++)
        for (const struct source_route *r = source_at(i)->routes; r && r->method; r++) {
            assert_true(r->pattern[0] == '/' && strncmp(r->pattern, "/webhook/", 9) != 0);
            for (size_t k = 0; k <= i; k++)
                for (const struct source_route *o = source_at(k)->routes; o && o->method; o++)
                    assert_true(o == r || strcmp(o->method, r->method) != 0 ||
                                strcmp(o->pattern, r->pattern) != 0);
        }
}

/* What is passed on to the console is an id of ours, whatever somebody asks for. */
static void test_only_ids_are_passed_on(void **state)
{
    static const char *const tricks[] = {
        "",
        "x",
        "..",
        ".",
        "/",
        "?",
        "%2e%2e",
        "ffffffff-ffff-fffe-019b-7b9c0d4000/7",
        "ffffffff-ffff-fffe-019b-7b9c0d40000?",
        "ffffffff-ffff-fffe-019b-7b9c0d400007/",
        "ffffffff-ffff-fffe-019b-7b9c0d400007?x=1",
        "ffffffff-ffff-fffe-019b-7b9c0d400007/../../../api/v1/alerts",
    };
    (void)state;
    for (size_t i = 0; source_at(i); i++)
        for (const struct source_read *r = source_at(i)->reads; r && r->pattern; r++) {
            assert_true(r->pattern[0] == '/' && strncmp(r->pattern, "/webhook/", 9) != 0);
            const char *end = strchr(r->pattern, '{');
            assert_true(end && end[-1] == '/' && strcmp(end, "{id}") == 0);
            assert_null(source_at(i)->wants);
            for (size_t k = 0; k < sizeof(tricks) / sizeof(tricks[0]); k++)
                assert_false(r->is_id(slice_of(tricks[k])));
        }
}

/* Every value within its cap, every event whole. */
static void check_event(const struct alert_event *ev)
{
    const struct limits_settings *lim = &settings.limits;
    assert_true(ev->kind >= REPORT_FIRING && ev->kind <= REPORT_NOTE);
    assert_true(ev->severity >= SEVERITY_INFO && ev->severity <= SEVERITY_CRITICAL);
    assert_true(ev->severity_again >= SEVERITY_INFO && ev->severity_again <= SEVERITY_CRITICAL);
    assert_true(ev->title.len > 0 && !memchr(ev->title.p, '\n', ev->title.len));
    assert_true(ev->labels.n > 0 && ev->labels.n <= lim->labels + (size_t)PER_SOURCE_EXTRA);
    assert_true(ev->starts_at >= 0 && ev->ends_at >= 0);
    for (size_t i = 0; i < ev->labels.n; i++) {
        assert_true(ev->labels.v[i].value.len > 0);
        assert_true(ev->labels.v[i].value.len <= lim->label_value);
        assert_true(ev->labels.v[i].name.len <= lim->label_name);
        if (i > 0)
            assert_true(slice_cmp(ev->labels.v[i - 1].name, ev->labels.v[i].name) < 0);
    }
    for (size_t i = 0; i < ev->annotations.n; i++)
        assert_true(ev->annotations.v[i].value.len <= lim->annotation_value);
}

static void decodes_within_caps(const struct source_entry *entry, struct slice body)
{
    CLEANUP(arena_free) struct arena *a = arena_new(CASE_ARENA);
    struct alert_list list = {.n = 12345};
    struct err e = {0};
    int rc = decode(entry, body, a, &list, &e);
    if (rc < 0) {
        assert_int_equal(rc, e.code);
        assert_true(strlen(e.msg) > 0);
        assert_int_equal(list.n, 12345); /* untouched */
        return;
    }
    for (size_t i = 0; i < list.n; i++)
        check_event(&list.v[i]);
}

static size_t tried;

static void test_every_golden_case_within_caps(void **state)
{
    (void)state;
    for (size_t i = 0; i < entries.n; i++) {
        const size_t n = each_body(&entries.v[i], decodes_within_caps);
        assert_true(n > 0);
        tried += n;
    }
}

/* -ENOMEM, or the same answer as with room for all: never half of it. */
static void survives_caps(const struct source_entry *entry, struct slice body)
{
    CLEANUP(arena_free) struct arena *room = arena_new(CASE_ARENA);
    struct alert_list whole = {0}, some;
    struct err e = {0};
    int expected = decode(entry, body, room, &whole, &e);
    size_t step = arena_used(room) / 40 + 16, passed = 0;
    for (size_t cap = 0; passed < 2; cap += step) {
        CLEANUP(arena_free) struct arena *a = arena_new(cap);
        some = (struct alert_list){0};
        int rc = decode(entry, body, a, &some, &e);
        assert_true(rc == -ENOMEM || rc == expected);
        passed += rc != -ENOMEM;
        if (rc != 0)
            continue;
        assert_int_equal(some.n, whole.n);
        assert_true(slice_eq(some.delivery_id, whole.delivery_id));
        for (size_t i = 0; i < some.n; i++) {
            assert_true(some.v[i].fingerprint == whole.v[i].fingerprint);
            assert_true(labels_eq(some.v[i].labels, whole.v[i].labels));
            assert_true(labels_eq(some.v[i].annotations, whole.v[i].annotations));
            assert_true(slice_eq(some.v[i].title, whole.v[i].title));
            assert_true(slice_eq(some.v[i].note, whole.v[i].note));
            assert_true(slice_eq(some.v[i].link, whole.v[i].link));
        }
    }
}

static void test_every_arena_cap(void **state)
{
    (void)state;
    for (size_t i = 0; i < entries.n; i++)
        (void)each_body(&entries.v[i], survives_caps);
}

/* {"a":0,"b":0,"a":1,"b":2} of {"a":1,"b":2}, to be freed; what is no object as it is. */
static struct slice with_every_key_before(struct slice body)
{
    struct buf b = BUF_INIT(CASE_ARENA);
    size_t pos = 0;
    struct slice key, value;
    const struct slice object = json_at(body, "");
    if (object.len == 0 || object.p[0] != '{') {
        buf_add(&b, body.p, body.len);
        return (struct slice){b.p, b.len};
    }
    buf_putc(&b, '{');
    while (json_next_member(object, &pos, &key, &value))
        buf_printf(&b, "%.*s:0,", SLICE_FMT(key));
    buf_add(&b, object.p + 1, object.len - 1);
    return (struct slice){b.p, b.len};
}

static int accept(const struct source_entry *entry, struct slice body, struct arena *a,
                  struct filing *ret)
{
    const struct source_case c = {.body = body};
    struct hook h = case_hook(&c);
    struct err e = {0};
    h.entry = entry->name;
    *ret = (struct filing){0};
    return entry->type->accept(entry->cfg, &h, &settings.limits, CASE_NOW, a, ret, &e);
}

static void means_the_last(const struct source_entry *entry, struct slice body)
{
    CLEANUP(arena_free) struct arena *a = arena_new(CASE_ARENA);
    const struct json_limits depth = {.max_depth = settings.ingest.max_depth};
    struct filing f, g;
    struct alert_list list = {0}, same = {0};
    struct err e = {0};
    if (json_scan(body, &depth, &e) < 0)
        return;
    const struct slice twice = with_every_key_before(body);
    const int rc = accept(entry, body, a, &f);
    assert_int_equal(accept(entry, twice, a, &g), rc);
    assert_int_equal(g.status, f.status);
    assert_int_equal(g.alerts, f.alerts);
    assert_int_equal(g.resolved, f.resolved);
    assert_true(slice_eq(g.partition_key, f.partition_key));
    const int decoded = decode(entry, f.body.p ? f.body : body, a, &list, &e);
    assert_int_equal(decode(entry, g.body.p ? g.body : twice, a, &same, &e), decoded);
    assert_int_equal(same.n, list.n);
    for (size_t i = 0; i < list.n; i++) {
        assert_int_equal(same.v[i].fingerprint, list.v[i].fingerprint);
        assert_int_equal(same.v[i].kind, list.v[i].kind);
        assert_true(slice_eq(same.v[i].event_id, list.v[i].event_id));
    }
    free((void *)(uintptr_t)twice.p);
}

/* A payload template may name a key twice: the sender hears 2xx, and so there must be an alert. */
static void test_of_equal_keys_the_last_is_meant(void **state)
{
    (void)state;
    for (size_t i = 0; i < entries.n; i++)
        (void)each_body(&entries.v[i], means_the_last);
}

/* The door in front, as in ingest; a fresh allocation of the exact size, so that a read past the
 * end is seen. */
static void try_bytes(const struct source_entry *entry, const char *p, size_t n)
{
    CLEANUP(arena_free) struct arena *a = arena_new(CASE_ARENA);
    const struct json_limits depth = {.max_depth = settings.ingest.max_depth};
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, p, n);
    const struct source_case c = {.body = {copy, n}};
    const struct hook h = case_hook(&c);
    struct filing f = {0};
    struct err e = {0};
    struct alert_list list;
    if (json_scan(c.body, &depth, &e) == 0 &&
        entry->type->accept(entry->cfg, &h, &settings.limits, CASE_NOW, a, &f, &e) == 0)
        assert_true(f.status >= 200 && f.status < 500);
    int rc = decode(entry, c.body, a, &list, &e); /* as replay does, whatever a topic holds */
    assert_true(rc == 0 || rc == e.code);
    free(copy);
}

static void mangle(const struct source_entry *entry, struct slice body)
{
    size_t step = body.len / 60 + 1;
    for (size_t n = 0; n < body.len; n += step)
        try_bytes(entry, body.p, n);
    char *copy = malloc(body.len + 1);
    assert_non_null(copy);
    for (size_t i = 0; i < body.len; i += step) {
        static const char garbage[] = "{}[]\",:0n\\\xff";
        memcpy(copy, body.p, body.len);
        copy[i] = garbage[i % (sizeof(garbage) - 1)];
        try_bytes(entry, copy, body.len);
    }
    free(copy);
}

static void test_garbage_and_torn_bodies(void **state)
{
    (void)state;
    static const char *const wrong[] = {"null",
                                        "1",
                                        "\"x\"",
                                        "[]",
                                        "{}",
                                        "[[]]",
                                        "[null]",
                                        "{\"alerts\":[null]}",
                                        "{\"data\":null}",
                                        "{\"data\":[]}",
                                        "{\"data\":{\"issue\":[]}}"};
    for (size_t i = 0; i < entries.n; i++) {
        (void)each_body(&entries.v[i], mangle);
        for (size_t k = 0; k < sizeof(wrong) / sizeof(wrong[0]); k++)
            try_bytes(&entries.v[i], wrong[k], strlen(wrong[k]));
    }
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
        cmocka_unit_test(test_says_what_it_is),
        cmocka_unit_test(test_addresses_are_its_own),
        cmocka_unit_test(test_only_ids_are_passed_on),
        cmocka_unit_test(test_every_golden_case_within_caps),
        cmocka_unit_test(test_every_arena_cap),
        cmocka_unit_test(test_garbage_and_torn_bodies),
        cmocka_unit_test(test_of_equal_keys_the_last_is_meant),
    };
    const int failed = cmocka_run_group_tests(tests, load, unload);
    size_t sources = 0;

    while (source_at(sources))
        sources++;
    (void)printf("tried by contract.sources: %zu sources, %zu entries, %zu bodies\n", sources,
                 entries.n, tried);
    return failed;
}
