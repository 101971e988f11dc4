/*
 * Any text as the configuration: every section and tree that all services share loads, or one
 * reason is given. What loaded can be printed, and its routes take every alert, the same ones
 * however often the file is read, as the same rule says; and a group's row finds each again.
 */
#include "common/rules.h"
#include "fuzz.h"

struct loaded {
    struct conf *conf;
    struct settings settings;
    struct source_entries entries;
    struct receivers receivers;
    const struct route *root;
    const struct rules *rules;
};

static int load(const char *text, struct loaded *l, struct err *e)
{
    int rc = conf_parse("fuzz", text, NULL, &l->conf, e);
    if (rc == 0)
        rc = settings_load(l->conf, &l->settings, e);
    if (rc == 0)
        rc = source_entries_load(&l->settings, &l->entries, e);
    if (rc == 0)
        rc = receivers_load(&l->settings, &l->receivers, e);
    if (rc == 0)
        rc = route_load(&l->settings, &l->receivers, &l->root, e);
    if (rc == 0)
        rc = rules_load(&l->settings, &l->entries, &l->receivers, l->root, &l->rules, e);
    if (rc == 0)
        rc = settings_finish(l->conf, e);
    MUST(rc == 0 || (rc < 0 && rc == e->code && e->msg[0]));
    return rc;
}

static void check_print(const struct conf *c)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    MUST(f);
    conf_print(c, f);
    MUST(fclose(f) == 0 && len > 0);
    free(text);
}

static void check_routes(const struct loaded *x, const struct loaded *y)
{
    static const struct label pairs[] = {{{"a", 1}, {"b", 1}}, {{"severity", 8}, {"critical", 8}}};
    const struct labels labels = {pairs, 2};
    MUST((x->root != NULL) == (y->root != NULL));
    if (!x->root)
        return;
    struct arena *a = fuzz_arena(1, (size_t)4 << 20);
    const struct route **taken = arena_array(a, x->root->most, const struct route *),
                       **again = arena_array(a, y->root->most, const struct route *);
    MUST(taken && again);
    const size_t n = route_match(x->root, labels, taken);
    MUST(n >= 1 && n <= x->root->most && route_match(y->root, labels, again) == n);
    for (size_t i = 0; i < n; i++) {
        MUST(taken[i]->receiver && taken[i]->group_wait_ms >= 0 &&
             taken[i]->repeat_interval_ms > 0);
        MUST(memcmp(taken[i]->id, again[i]->id, sizeof(again[i]->id)) == 0);
        MUST(route_find(x->root, taken[i]->id));
    }
}

/* Any words and any rates: the first bytes of the text, which hold whatever the fuzzer likes. */
static void check_rules(const struct loaded *x, const struct loaded *y, struct slice text)
{
    static const struct label pairs[] = {{{"a", 1}, {"b", 1}}, {{"severity", 8}, {"critical", 8}}};
    struct arena *a = fuzz_arena(1, (size_t)4 << 20);
    const struct route *found;
    size_t n = 0, m = 0;
    const struct rule_facts f = {.labels = {pairs, 2},
                                 .severity = SEVERITY_CRITICAL,
                                 .source = SLICE_LIT("sentry"),
                                 .fingerprint = {text.p, text.len < 40 ? text.len : 40},
                                 .crossed = text.len > 40 ? (unsigned char)text.p[40] : 0};
    if (!x->root)
        return;
    const struct route **taken = arena_array(a, x->root->most, const struct route *),
                       **again = arena_array(a, y->root->most, const struct route *);
    MUST(taken && again);
    MUST(rules_route(x->rules, x->root, &f, a, taken, &n) == 0 && n >= 1 && n <= x->root->most);
    MUST(rules_route(y->rules, y->root, &f, a, again, &m) == 0 && m == n);
    MUST(!rules_match(x->rules, &f) == !rules_match(y->rules, &f));
    for (size_t i = 0; i < n; i++) {
        MUST(memcmp(taken[i]->id, again[i]->id, sizeof(again[i]->id)) == 0);
        MUST(rules_route_find(y->rules, y->root, rules_route_key(taken[i], a), a, &found) == 0);
        MUST(found && memcmp(found->id, taken[i]->id, sizeof(found->id)) == 0);
    }
    const uint64_t rated = rules_rated(x->rules, &f);
    MUST(rules_crossed_parse(y->rules, rules_crossed_text(x->rules, rated, a)) == rated);
}

static void check_loaded(const struct loaded *l)
{
    check_print(l->conf);
    for (size_t i = 0; i < l->entries.n; i++)
        MUST(source_entry_find(&l->entries, slice_of(l->entries.v[i].name)) == &l->entries.v[i]);
    for (size_t i = 0; i < l->receivers.n; i++)
        MUST(receiver_find(&l->receivers, slice_of(l->receivers.v[i].name)) == &l->receivers.v[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = arena_strndup(fuzz_arena(0, (size_t)1 << 20), (const char *)data, size);
    struct loaded one = {0}, two = {0};
    struct err e = {0}, again = {0};
    MUST(text);
    const int rc = load(text, &one, &e);
    MUST(load(text, &two, &again) == rc && strcmp(e.msg, again.msg) == 0);
    if (rc == 0) {
        check_loaded(&one);
        check_routes(&one, &two);
        check_rules(&one, &two, (struct slice){(const char *)data, size});
    }
    if (one.conf)
        conf_free(one.conf);
    if (two.conf)
        conf_free(two.conf);
    return 0;
}
