#include "common/rules.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/digest.h"
#include "common/glob.h"

#define SEPARATOR '\n' /* of words and of names: neither holds one */

/* ---- matching ---- */

/* The first word of `*rest`, which loses it; false when there is none. */
static bool next_word(struct slice *rest, struct slice *ret)
{
    const char *end;

    if (rest->len == 0)
        return false;
    end = memchr(rest->p, SEPARATOR, rest->len);
    *ret = (struct slice){rest->p, end ? (size_t)(end - rest->p) : rest->len};
    rest->p += ret->len + (end != NULL);
    rest->len -= ret->len + (end != NULL);
    return true;
}

/* The words one by one: the sender's, else those that name the problem. */
struct words {
    struct slice own, made[2];
    size_t made_n, at;
};

static struct words words_of(const struct rule_facts *f)
{
    struct words w = {.own = f->fingerprint};
    struct anomaly an;

    if (f->fingerprint.len > 0)
        return w;
    anomaly_parts(f->labels, &an);
    const struct slice made[] = {an.service, an.error_type.len > 0 ? an.error_type : an.alert_name};
    for (size_t i = 0; i < 2; i++)
        if (made[i].len > 0)
            w.made[w.made_n++] = made[i];
    return w;
}

static bool words_next(struct words *w, struct slice *ret)
{
    if (w->at < w->made_n) {
        *ret = w->made[w->at++];
        return true;
    }
    return next_word(&w->own, ret);
}

static bool fingerprint_matches(const struct rule *rule, const struct rule_facts *f)
{
    struct words w;
    struct slice word;

    if (rule->fingerprint.n == 0)
        return true;
    w = words_of(f);
    for (size_t i = 0; i < rule->fingerprint.n - rule->takes_rest; i++)
        if (!words_next(&w, &word) || !glob_match(rule->fingerprint.v[i], word))
            return false;
    return rule->takes_rest || !words_next(&w, &word);
}

static struct slice category_of(const struct rules *r, const struct rule_facts *f)
{
    const struct slice said = labels_get(f->labels, "category");
    const struct source_entry *entry;

    if (said.len > 0)
        return said;
    entry = source_entry_find(r->sources, f->source);
    return entry && entry->type->application ? SLICE_LIT("application")
                                             : SLICE_LIT("infrastructure");
}

static bool category_matches(const struct rules *r, const struct rule *rule,
                             const struct rule_facts *f)
{
    for (size_t i = 0; i < rule->categories.n; i++)
        if (slice_is(category_of(r, f), rule->categories.v[i]))
            return true;
    return rule->categories.n == 0;
}

/* But for its rate. */
static bool matches(const struct rules *r, const struct rule *rule, const struct rule_facts *f)
{
    return (rule->levels == 0 || (rule->levels >> f->severity & 1)) &&
           fingerprint_matches(rule, f) && category_matches(r, rule, f) &&
           matchers_match(rule->matchers, f->labels);
}

static uint64_t bit_of(const struct rule *rule)
{
    return UINT64_C(1) << rule->rate.bit;
}

const struct rule *rules_match(const struct rules *r, const struct rule_facts *f)
{
    for (size_t i = 0; r && i < r->n; i++) {
        const struct rule *rule = &r->v[i];
        if ((rule->rate.least == 0 || (f->crossed & bit_of(rule))) && matches(r, rule, f))
            return rule;
    }
    return NULL;
}

uint64_t rules_rated(const struct rules *r, const struct rule_facts *f)
{
    uint64_t rated = 0;

    for (size_t i = 0; r && r->rated_n > 0 && i < r->n; i++) {
        if (!matches(r, &r->v[i], f))
            continue;
        if (r->v[i].rate.least == 0)
            break;
        rated |= bit_of(&r->v[i]);
    }
    return rated;
}

const struct rule *rules_cross(const struct rules *r, uint64_t rated, uint64_t crossed,
                               const struct frequency *f, int64_t now_ms, uint64_t *ret_count)
{
    for (size_t i = 0; r && i < r->rated_n; i++) {
        const struct rule *rule = r->rated[i];
        if (!(rated & bit_of(rule)))
            continue;
        if (crossed & bit_of(rule))
            return NULL;
        *ret_count = frequency_within(f, now_ms, rule->rate.window_ms);
        if (*ret_count >= rule->rate.least)
            return rule;
    }
    return NULL;
}

struct slice rules_crossed_text(const struct rules *r, uint64_t crossed, struct arena *a)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT((RULE_NAME_MAX + (size_t)1) * RULES_RATED_MAX);

    for (size_t i = 0; r && i < r->rated_n; i++) {
        if (!(crossed & bit_of(r->rated[i])))
            continue;
        if (b.len > 0)
            buf_putc(&b, SEPARATOR);
        buf_puts(&b, r->rated[i]->name);
    }
    if (b.len == 0)
        return SLICE_LIT("");
    return b.failed ? (struct slice){NULL, 0} : arena_slice(a, (struct slice){b.p, b.len});
}

static const struct rule *find_rule(const struct rules *r, struct slice name)
{
    for (size_t i = 0; r && i < r->n; i++)
        if (slice_is(name, r->v[i].name))
            return &r->v[i];
    return NULL;
}

uint64_t rules_crossed_parse(const struct rules *r, struct slice text)
{
    uint64_t crossed = 0;
    struct slice name;

    while (next_word(&text, &name)) {
        const struct rule *rule = find_rule(r, name);
        if (rule && rule->rate.least > 0)
            crossed |= bit_of(rule);
    }
    return crossed;
}

/* ---- routes as a rule says ---- */

static bool is_named(const struct rule *rule, const char *channel)
{
    for (size_t i = 0; i < rule->channels.n; i++)
        if (strcmp(rule->channels.v[i], channel) == 0)
            return true;
    return false;
}

/* The receiver's entries for the rule's channels. One that has none of them is told on all it has:
 * no rule leaves an alert unheard by accident. */
static uint64_t entries_of(const struct rule *rule, const struct receiver *receiver)
{
    uint64_t entries = 0;

    for (size_t i = 0; i < receiver->n; i++)
        if (is_named(rule, receiver->v[i].channel))
            entries |= UINT64_C(1) << i;
    return entries;
}

static void set_timing(enum rule_action action, struct route *r)
{
    switch (action) {
    case RULE_AS_ROUTED:
        break;
    case RULE_IMMEDIATE:
        r->group_wait_ms = 0;
        r->digest = (struct digest_when){.at_minute = -1};
        break;
    case RULE_HOURLY:
        r->digest = (struct digest_when){.period_ms = MS_HOUR, .at_minute = -1};
        break;
    case RULE_DAILY:
        if (r->digest.period_ms != MS_DAY)
            r->digest = (struct digest_when){.period_ms = MS_DAY, .at_minute = -1};
        break;
    }
}

/* A rule that says when is a route of its own, whichever it was made of: a severity that is raised
 * under it moves nothing. */
static int apply(const struct rule *rule, const struct route *base, struct arena *a,
                 const struct route **ret)
{
    struct route *r;

    if (rule->action == RULE_AS_ROUTED && !rule->receiver && rule->channels.n == 0) {
        *ret = base;
        return 0;
    }
    if (!(r = arena_new_of(a, struct route)))
        return -ENOMEM;
    *r = *base;
    r->children = NULL;
    r->child_n = 0;
    r->base = base;
    r->rule = rule->name;
    if (rule->receiver)
        r->receiver = rule->receiver;
    r->entries = entries_of(rule, r->receiver);
    r->page_only = rule->page_only && r->entries == 0;
    set_timing(rule->action, r);
    r->path = rule->action == RULE_AS_ROUTED
                  ? arena_printf(a, "{rule=\"%s\"}/%s", rule->name, base->path)
                  : arena_printf(a, "{rule=\"%s\"}", rule->name);
    *ret = r;
    return r->path ? route_name(r) : -ENOMEM;
}

static bool among(const struct route *const *v, size_t n, const struct route *r)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(v[i]->id, r->id, sizeof(r->id)) == 0)
            return true;
    return false;
}

int rules_route(const struct rules *r, const struct route *root, const struct rule_facts *f,
                struct arena *a, const struct route **out, size_t *ret_n)
{
    size_t found = route_match(root, f->labels, out), n = 0;
    const struct rule *rule = found > 0 ? rules_match(r, f) : NULL;

    if (rule && rule->receiver && found > 1)
        found = 1; /* one receiver is told once */
    for (size_t i = 0; rule && i < found; i++) {
        const struct route *made;
        int rc = apply(rule, out[i], a, &made);

        if (rc < 0)
            return rc;
        if (!among(out, n, made))
            out[n++] = made;
    }
    *ret_n = rule ? n : found;
    return 0;
}

/* "ID", or "ID BASE name of the rule". */
#define ID_LEN (2 * sizeof(((struct route *)NULL)->id))

struct slice rules_route_key(const struct route *route, struct arena *a)
{
    char id[ID_LEN + 1], base[ID_LEN + 1];

    (void)hex_encode(route->id, sizeof(route->id), id);
    if (!route->rule)
        return slice_of(arena_strndup(a, id, ID_LEN));
    (void)hex_encode(route->base->id, sizeof(route->base->id), base);
    return slice_of(arena_printf(a, "%s %s %s", id, base, route->rule));
}

int rules_route_find(const struct rules *r, const struct route *root, struct slice key,
                     struct arena *a, const struct route **ret)
{
    unsigned char id[16], base_id[16];
    const size_t name_at = 2 * (ID_LEN + 1);
    const struct rule *rule;
    const struct route *base, *made;
    int rc;

    *ret = NULL;
    if (key.len < ID_LEN || !hex_decode((struct slice){key.p, ID_LEN}, id, sizeof(id)))
        return 0;
    if (key.len == ID_LEN) {
        *ret = route_find(root, id);
        return 0;
    }
    if (key.len <= name_at || !root ||
        !hex_decode((struct slice){key.p + ID_LEN + 1, ID_LEN}, base_id, sizeof(base_id)) ||
        !(rule = find_rule(r, (struct slice){key.p + name_at, key.len - name_at})))
        return 0;
    base = route_find(root, base_id);
    if ((rc = apply(rule, base ? base : root, a, &made)) < 0)
        return rc;
    if (memcmp(made->id, id, sizeof(id)) == 0)
        *ret = made;
    return 0;
}
