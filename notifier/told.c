#include "notifier/told.h"

#include <stdio.h>
#include <string.h>

static json_t *of(const json_t *told, int64_t integration)
{
    char key[24];

    (void)snprintf(key, sizeof(key), "%lld", (long long)integration);
    return json_object_get(told, key);
}

static int64_t seq_of(const json_t *state)
{
    const json_t *seq = json_object_get(state, "seq");

    return json_is_integer(seq) ? json_integer_value(seq) : -1;
}

int64_t told_delivered_seq(const json_t *told, int64_t integration)
{
    return seq_of(json_object_get(of(told, integration), "delivered"));
}

bool told_firing(const json_t *told, int64_t integration)
{
    const json_t *delivered = json_object_get(of(told, integration), "delivered");
    const char *status = json_string_value(json_object_get(delivered, "status"));

    return status && strcmp(status, "firing") == 0;
}

bool told_same_word(const json_t *told, int64_t integration, const json_t *state)
{
    const json_t *delivered = json_object_get(of(told, integration), "delivered");
    const json_t *word = json_object_get(state, "word");

    return json_is_string(word) && json_equal(json_object_get(delivered, "word"), word);
}

/* They ascend, as their numbers do. */
static bool lists(const json_t *fingerprints, const char *fp)
{
    size_t from = 0, n = json_array_size(fingerprints);

    while (from < n) {
        const size_t mid = from + (n - from) / 2;
        const char *at = json_string_value(json_array_get(fingerprints, mid));
        const int order = strcmp(at ? at : "", fp);

        if (order == 0)
            return true;
        if (order < 0)
            from = mid + 1;
        else
            n = mid;
    }
    return false;
}

bool told_untold(const json_t *told, int64_t integration, const json_t *about, const char *fp)
{
    const json_t *delivered = json_object_get(of(told, integration), "delivered");

    if (lists(json_object_get(about, "missed"), fp))
        return true;
    return told && !json_object_get(about, "fallback") &&
           !lists(json_object_get(delivered, "alerts"), fp);
}

bool told_any_untold(const json_t *told, int64_t integration, const json_t *about)
{
    const json_t *over = json_object_get(json_object_get(about, "state"), "resolved_alerts");
    size_t i;
    json_t *fp;

    json_array_foreach (over, i, fp)
        if (json_is_string(fp) && told_untold(told, integration, about, json_string_value(fp)))
            return true;
    return false;
}

bool told_all_firing(const json_t *told, int64_t integration, const json_t *state)
{
    const json_t *delivered = json_object_get(of(told, integration), "delivered");
    size_t i;
    json_t *fp;

    json_array_foreach (json_object_get(state, "alerts"), i, fp)
        if (!json_is_string(fp) ||
            !lists(json_object_get(delivered, "alerts"), json_string_value(fp)))
            return false;
    return true;
}

bool told_deliver(json_t *told, int64_t integration, json_t *state)
{
    json_t *entry = of(told, integration);
    char key[24];

    if (seq_of(state) < 0 || seq_of(state) <= told_delivered_seq(told, integration))
        return false;
    if (!entry) {
        (void)snprintf(key, sizeof(key), "%lld", (long long)integration);
        (void)json_object_set_new(told, key, json_object());
        entry = of(told, integration);
    }
    return json_object_set(entry, "delivered", state) == 0;
}

bool told_fail(json_t *told, int64_t integration, int64_t seq)
{
    json_t *entry = of(told, integration);
    json_t *delivered = json_object_get(entry, "delivered");

    if (seq_of(json_object_get(entry, "last")) != seq)
        return false;
    if (delivered)
        (void)json_object_set(entry, "last", delivered);
    else
        (void)json_object_del(entry, "last");
    return true;
}

bool told_refute(json_t *told, int64_t integration, int64_t seq, json_t *before)
{
    json_t *entry = of(told, integration);

    if (seq_of(json_object_get(entry, "delivered")) == seq) {
        if (before)
            (void)json_object_set(entry, "delivered", before);
        else
            (void)json_object_del(entry, "delivered");
    }
    return told_fail(told, integration, seq);
}

bool told_shrink(json_t *told, int64_t integration, json_t *state)
{
    json_t *entry = of(told, integration), *delivered = json_object_get(entry, "delivered");

    if (!delivered || seq_of(delivered) >= seq_of(state))
        return false;
    json_t *left = json_copy(state);
    (void)json_object_set(left, "seq", json_object_get(delivered, "seq"));
    (void)json_object_set(left, "at", json_object_get(delivered, "at"));
    (void)json_object_set_new(entry, "delivered", left);
    return seq_of(json_object_get(entry, "last")) == seq_of(state) &&
           json_object_set(entry, "last", left) == 0;
}

void told_withhold(json_t *told, int64_t integration, json_t *state)
{
    if (!told_fail(told, integration, seq_of(state)))
        return;
    json_t *entry = of(told, integration);
    if (seq_of(json_object_get(entry, "withheld")) < seq_of(state)) /* a flush withheld more */
        (void)json_object_set(entry, "withheld", state);
}

bool told_catch_up(json_t *told, int64_t integration)
{
    json_t *entry = of(told, integration);
    json_t *delivered = json_object_get(entry, "delivered");

    if (seq_of(json_object_get(entry, "last")) >= seq_of(delivered))
        return false;
    return json_object_set(entry, "last", delivered) == 0;
}
