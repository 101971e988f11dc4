#include "processor/batch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/log.h"

struct batch *batch_new(size_t cap, size_t position_cap, size_t memory)
{
    CLEANUP(free) struct batch *b = calloc(1, sizeof(*b));

    if (!b)
        return NULL;
    b->a = arena_new(memory);
    b->scratch = arena_new(memory);
    b->v = calloc(cap, sizeof(*b->v));
    b->positions = calloc(position_cap, sizeof(*b->positions));
    b->cap = cap;
    if (!b->a || !b->scratch || !b->v || !b->positions) {
        batch_free(TAKE(b));
        return NULL;
    }
    return TAKE(b);
}

void batch_free(struct batch *b)
{
    if (!b)
        return;
    for (size_t i = 0; b->v && i < b->n; i++)
        kafka_message_free(&b->v[i].message);
    arena_free(b->a);
    arena_free(b->scratch);
    free(b->positions);
    free(b->v);
    free(b);
}

static void die(struct batch_record *r, const char *stage, const char *reason)
{
    r->fate = FATE_DEAD;
    r->stage = stage;
    r->reason = reason ? reason : "out of memory";
    r->input_n = 0;
}

static bool decode_beat(struct batch *b, struct batch_record *r, struct err *e)
{
    const struct json_limits lim = {.max_depth = 4};

    if (json_scan(r->message.value, &lim, e) < 0)
        return false;
    json_t *doc = json_tree(r->message.value, b->a, e);
    if (!doc)
        return false;
    const int64_t at = json_integer_value(json_object_get(doc, "at"));
    const int64_t age = json_integer_value(json_object_get(doc, "oldest_spooled_ms"));
    r->beat = (struct beat){
        .ingest = json_str(doc, "id", b->a),
        .at = at,
        .oldest_spooled = age > 0 ? at - age : 0,
        .farewell = json_is_true(json_object_get(doc, "farewell")),
    };
    if (r->beat.ingest.len == 0 || r->beat.at <= 0)
        return err_set(e, -EBADMSG, "a beat needs id and at") == 0;
    r->fate = FATE_BEAT;
    return true;
}

static bool make_inputs(struct batch *b, struct batch_record *r, const struct alert_list *list,
                        const struct settings *s)
{
    const struct source_common *cfg = r->source->cfg;
    const char *tenant = cfg->tenant && cfg->tenant[0] ? cfg->tenant : s->tenant;

    r->inputs = arena_array(b->a, list->n + 1, struct input);
    if (!r->inputs)
        return false;
    for (size_t i = 0; i < list->n; i++) {
        const struct alert_event *ev = &list->v[i];
        r->inputs[i] = (struct input){
            .record = &r->record,
            .event = ev,
            .source = r->source,
            .tenant = r->record.tenant.len ? r->record.tenant : slice_of(tenant),
            .report = {.order = {r->record.received_at, r->record.request_id, (uint32_t)i},
                       .kind = ev->kind,
                       .starts_at = ev->starts_at,
                       .ends_at = ev->ends_at,
                       .event_id = ev->event_id},
        };
    }
    r->input_n = list->n;
    r->delivery_id = list->delivery_id;
    return true;
}

static void warn_unknown(struct slice source, const char *type)
{
    static struct log_limit limit = {.per_minute = 6};
    uint32_t dropped;

    if (log_allow(&limit, &dropped))
        log_warn(EV("source_unknown"), KV("source", source), KV("type", type),
                 KV("dropped", dropped));
}

/* The entry it came in by. Ingest may know one that we do not, or not any more: its sender heard
 * 2xx, so what can be read without it is. NULL: it cannot. */
static const struct source_entry *entry_of(struct batch *b, const struct batch_record *r,
                                           const struct source_entries *sources, struct err *e)
{
    const struct slice name = r->record.source;
    const struct source_entry *known = source_entry_find(sources, name);
    const char *dot = strchr(r->message.topic, '.'), *type = dot ? dot + 1 : r->message.topic;

    if (known)
        return known;
    warn_unknown(name, type);
    const struct source_entry *plain = source_entry_plain(sources, type);
    if (!plain) {
        (void)err_set(e, -ENOENT,
                      "source \"%.*s\" is not in the configuration of the processor, and a %s "
                      "cannot be read without it: add it there, restart, then "
                      "write the record to its topic again",
                      SLICE_FMT(name), type);
        return NULL;
    }
    struct source_entry *entry = arena_new_of(b->a, struct source_entry);
    const char *own_name = arena_strndup(b->a, name.p, name.len);
    if (!entry || !own_name) {
        (void)err_set(e, -ENOMEM, "the batch is out of memory");
        return NULL;
    }
    *entry = (struct source_entry){own_name, plain->type, plain->cfg};
    return entry;
}

static bool decode_alerts(struct batch *b, struct batch_record *r, const struct settings *s,
                          const struct source_entries *sources, struct err *e)
{
    struct alert_list decoded = {0}, list = {0};

    r->stage = "envelope";
    if (record_parse(r->headers, r->header_n, r->message.value, b->a, &r->record, e) < 0)
        return false;
    r->source = entry_of(b, r, sources, e);
    if (!r->source)
        return false;
    r->stage = "decode";
    /* The tree goes before the next record's comes: a batch of them would be most of its memory. */
    arena_reset(b->scratch);
    if (r->source->type->decode(r->source->cfg, &r->record, &s->limits, b->scratch, &decoded, e) <
        0)
        return false;
    r->fate = FATE_ALERTS;
    if (alert_list_copy(&decoded, b->a, &list) < 0 || !make_inputs(b, r, &list, s))
        return err_set(e, -ENOMEM, "the batch is out of memory") == 0;
    return true;
}

void batch_add_with(struct batch *b, struct kafka_message *m, const struct kafka_header *headers,
                    size_t n, const struct settings *s, const struct source_entries *sources)
{
    struct batch_record *r = &b->v[b->n++];
    struct err e = {0};

    *r = (struct batch_record){.message = *m, .headers = headers, .header_n = n, .stage = "decode"};
    const bool ok =
        strcmp(m->topic, "beat") == 0 ? decode_beat(b, r, &e) : decode_alerts(b, r, s, sources, &e);
    if (!ok)
        die(r, r->stage, arena_strndup(b->a, e.msg, strlen(e.msg)));
}

void batch_add(struct batch *b, struct kafka_message *m, const struct settings *s,
               const struct source_entries *sources)
{
    struct kafka_header *headers = NULL;
    const size_t n = kafka_message_headers(m, b->a, &headers);

    batch_add_with(b, m, headers, n, s, sources);
}

void batch_add_dead(struct batch *b, struct kafka_message *m, const char *stage, const char *reason)
{
    struct batch_record *r = &b->v[b->n++];

    struct kafka_header *headers = NULL;
    const size_t n = kafka_message_headers(m, b->a, &headers);

    *r = (struct batch_record){.message = *m, .headers = headers, .header_n = n};
    die(r, stage, reason);
}

static struct batch_position *position_of(struct batch_position *v, size_t n,
                                          const struct kafka_message *m)
{
    for (size_t i = 0; i < n; i++)
        if (v[i].partition == m->partition && strcmp(v[i].topic, m->topic) == 0)
            return &v[i];
    return NULL;
}

int batch_positions(const struct batch *b, size_t from, size_t to, struct arena *a,
                    struct batch_position **ret)
{
    struct batch_position *v = arena_array(a, b->position_n + 1, struct batch_position);

    if (!v)
        return -ENOMEM;
    memcpy(v, b->positions, b->position_n * sizeof(*v));
    for (size_t i = 0; i < b->position_n; i++)
        v[i].next = v[i].expected;
    for (size_t i = 0; i < to; i++) {
        struct batch_position *p = position_of(v, b->position_n, &b->v[i].message);
        if (!p)
            return -EINVAL;
        p->next = b->v[i].message.offset + 1;
        if (i < from)
            p->expected = p->next;
    }
    *ret = v;
    return 0;
}
