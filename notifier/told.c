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
