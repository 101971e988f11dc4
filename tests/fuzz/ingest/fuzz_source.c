/*
 * One source of the registry (SOURCE), through the door and back out in the core. The input is a
 * body; before it may stand lines "Name: value" of the headers that the source keeps. Where it
 * takes forms, Content-Type is one of these; where it takes a GET, a question mark begins the query
 * of one. A line "Entry: NAME" before all of that posts it to another entry of the same source.
 *
 * What the door takes is a record that the core reads as it was written, with an answer that is
 * JSON; decoding it twice gives the same alerts, within the caps and fit for the database, and as
 * many as the door counted. White space between tokens changes neither key nor alerts.
 */
#include <errno.h>
#include <stdlib.h>
#include <strings.h>

#include "common/json.h"
#include "fuzz.h"
#include "ingest/door.h"
#include "text.h"

#define NOW INT64_C(1700000000000)
#define ARENA ((size_t)4 << 20)
#define KEPT 4
#define ID_MAX 128 /* of what becomes a key */
#define TITLE_MAX                                                                                  \
    256 /* of one that is made of labels; others are annotations, which are shorter here */
#define LAST_MS INT64_C(253402300799999) /* of the year 9999 */

static const struct uuid id = {
    {1, 0x90, 0x0a, 0x5d, 0xac, 0x96, 0x77, 0x4b, 0xbc, 0xce, 0xb3, 2, 9, 0x9a, 0x80, 0x57}};
static struct settings settings;
static struct source_entries entries;
static const struct source_entry *entry;

static void add_file(struct buf *b, const char *path)
{
    char chunk[4096];
    size_t n = 0;
    FILE *f = fopen(path, "r");
    MUST(f);
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
        buf_add(b, chunk, n);
    MUST(!ferror(f) && fclose(f) == 0 && !b->failed);
}

static void load(void)
{
    static const char caps[] = "limits: {labels: 16, label_value: 64, annotation_value: 128}\n"
                               "ingest: {max_alerts: 64}\n";
    static struct conf *conf;
    struct err e = {0};
    if (conf)
        return;
    CLEANUP(buf_release) struct buf yaml = BUF_INIT((size_t)1 << 20);
    buf_puts(&yaml, caps);
    add_file(&yaml, SOURCE_DIR "/deploy/examples/mapping.yml"); /* as the golden tests do */
    add_file(&yaml, SOURCE_DIR "/tests/golden/sources/more.yml");
    MUST(conf_parse("fuzz", buf_str(&yaml), NULL, &conf, &e) == 0);
    MUST(settings_load(conf, &settings, &e) == 0);
    MUST(source_entries_load(&settings, &entries, &e) == 0);
}

/* What is left of the input behind the entry that it names. */
static struct slice choose_entry(struct slice input)
{
    static const char line[] = "Entry: ";
    entry = source_entry_find(&entries, SLICE_LIT(SOURCE));
    MUST(entry);
    if (input.len < sizeof(line) - 1 || memcmp(input.p, line, sizeof(line) - 1) != 0)
        return input;
    const char *name = input.p + sizeof(line) - 1,
               *end = memchr(name, '\n', input.len - (sizeof(line) - 1));
    const struct source_entry *other =
        end ? source_entry_find(&entries, (struct slice){name, (size_t)(end - name)}) : NULL;
    if (!other || other->type != entry->type)
        return input;
    entry = other;
    return (struct slice){end + 1, input.len - (size_t)(end + 1 - input.p)};
}

/* ---- the request ---- */

struct request {
    const char *names[KEPT], *values[KEPT];
    size_t n;
    struct slice body;
    bool is_get; /* then `body` is the query */

    const struct source_route *route; /* of the type's own, by which it comes */
    const char *words;                /* what stands in it and in the query */
};

static const char *header(const struct hook *h, const char *name)
{
    const struct request *r = h->transport;
    for (size_t i = 0; i < r->n; i++)
        if (strcasecmp(r->names[i], name) == 0)
            return r->values[i];
    return NULL;
}

static const char *query(const struct hook *h, const char *name)
{
    (void)h;
    (void)name;
    return NULL;
}

static const char *param(const struct hook *h, const char *name)
{
    (void)name;
    return ((const struct request *)h->transport)->words;
}

static bool is_line_of(struct slice s, const char *name)
{
    const size_t len = strlen(name);
    return s.len > len + 2 && memcmp(s.p, name, len) == 0 && s.p[len] == ':';
}

/* The name of the header line that `s` begins with. */
static const char *line_of(struct slice s)
{
    if (entry->type->takes_forms && is_line_of(s, "Content-Type"))
        return "Content-Type";
    for (const char *const *name = entry->type->keep_headers; name && *name; name++)
        if (is_line_of(s, *name))
            return *name;
    return NULL;
}

/* A value as the server lets one through: no control characters. */
static const char *header_value(struct slice s, struct arena *a)
{
    char *value = arena_strndup(a, s.p, s.len);
    for (char *c = value; c && *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    return value;
}

/* "@1alias", and the rest: the second of the type's routes, with that wherever it has a parameter.
 */
static void read_route(struct arena *a, struct request *ret)
{
    const struct slice s = ret->body;
    const char *end = memchr(s.p, '\n', s.len);
    size_t n = 0;
    if (!end || end - s.p < 2)
        return;
    while (entry->type->routes[n].method)
        n++;
    if (n == 0)
        return;
    ret->route = &entry->type->routes[(unsigned char)(s.p[1] - '0') % n];
    ret->words = header_value((struct slice){s.p + 2, (size_t)(end - s.p - 2)}, a);
    ret->body = (struct slice){end + 1, s.len - (size_t)(end + 1 - s.p)};
}

static void read_request(struct slice input, struct arena *a, struct request *ret)
{
    *ret = (struct request){.body = input};
    if (entry->type->routes && input.len > 0 && input.p[0] == '@')
        read_route(a, ret);
    if (entry->type->takes_gets && input.len > 0 && input.p[0] == '?') {
        ret->is_get = true;
        ret->body = (struct slice){input.p + 1, input.len - 1};
        return;
    }
    for (const char *name = NULL; ret->n < KEPT && (name = line_of(ret->body));) {
        const size_t skip = strlen(name) + 2;
        const struct slice rest = {ret->body.p + skip, ret->body.len - skip};
        const char *end = memchr(rest.p, '\n', rest.len);
        if (!end)
            return;
        const size_t len = (size_t)(end - rest.p);
        ret->names[ret->n] = name;
        ret->values[ret->n] = header_value((struct slice){rest.p, len}, a);
        ret->n += ret->values[ret->n] != NULL;
        ret->body = (struct slice){end + 1, rest.len - len - 1};
    }
}

/* ---- what came of it ---- */

static void check_text(struct slice s, size_t max)
{
    MUST(is_text(s));
    MUST(s.len <= max);
}

static void check_labels(struct labels l, size_t count, size_t value)
{
    MUST(l.n <= count);
    for (size_t i = 0; i < l.n; i++) {
        check_text(l.v[i].name, settings.limits.label_name);
        check_text(l.v[i].value, value);
        MUST(l.v[i].value.len > 0);
        MUST(i == 0 || slice_cmp(l.v[i - 1].name, l.v[i].name) < 0);
    }
}

/* Room for what a decoder adds of its own: labels, words of a note. */
#define OWN 32

static void check_event(const struct alert_event *ev)
{
    const struct limits_settings *lim = &settings.limits;
    MUST(ev->kind >= REPORT_FIRING && ev->kind <= REPORT_NOTE);
    MUST(ev->severity >= SEVERITY_INFO && ev->severity <= SEVERITY_CRITICAL);
    MUST(ev->severity_again >= SEVERITY_INFO && ev->severity_again <= ev->severity);
    MUST(ev->labels.n > 0);
    check_labels(ev->labels, lim->labels + OWN, lim->label_value);
    check_labels(ev->annotations, 2 * (size_t)lim->annotations + OWN, lim->annotation_value);
    MUST(ev->starts_at >= 0 && ev->starts_at <= LAST_MS);
    MUST(ev->ends_at >= 0 && ev->ends_at <= LAST_MS);
    MUST(ev->impact_users >= 0 && ev->impact_events >= 0);
    MUST(ev->title.len > 0 && !memchr(ev->title.p, '\n', ev->title.len));
    check_text(ev->title, TITLE_MAX);
    check_text(ev->description, lim->annotation_value);
    check_text(ev->link, lim->annotation_value);
    check_text(ev->event_id, ID_MAX);
    check_text(ev->actor, lim->annotation_value);
    check_text(ev->note, lim->annotation_value + 2 * OWN);
    if (!entry->type->own_identity)
        MUST(ev->fingerprint == labels_fingerprint(ev->labels));
}

static void check_same(const struct alert_list *x, const struct alert_list *y)
{
    MUST(x->n == y->n);
    for (size_t i = 0; i < x->n; i++) {
        const struct alert_event *a = &x->v[i], *b = &y->v[i];
        MUST(a->kind == b->kind && a->fingerprint == b->fingerprint);
        MUST(a->severity == b->severity && a->severity_again == b->severity_again);
        MUST(a->starts_at == b->starts_at && a->ends_at == b->ends_at);
        MUST(labels_eq(a->labels, b->labels) && labels_eq(a->annotations, b->annotations));
        MUST(slice_eq(a->title, b->title) && slice_eq(a->description, b->description));
        MUST(slice_eq(a->event_id, b->event_id) && slice_eq(a->note, b->note));
        MUST(a->truncated == b->truncated);
    }
}

static int decode(const struct spool_record *stored, struct arena *a, struct alert_list *ret)
{
    struct record r;
    struct err e = {0};
    MUST(record_parse(stored->headers, stored->header_n, stored->value, a, &r, &e) == 0);
    MUST(slice_is(r.source, entry->name) && slice_is(r.tenant, "default"));
    MUST(r.received_at == NOW && uuid_cmp(&r.request_id, &id) == 0);
    const int rc = entry->type->decode(entry->cfg, &r, &settings.limits, a, ret, &e);
    MUST(rc == 0 || (rc == e.code && e.msg[0] && (rc == -EBADMSG || rc == -ENOMEM)));
    return rc;
}

static void enter(const struct request *r, struct slice body, struct arena *a, struct entrance *ret)
{
    const struct hook h = {.path_token = "fuzz",
                           .header = header,
                           .query = query,
                           .param = param,
                           .route = r->route,
                           .body = r->is_get ? (struct slice){"", 0} : body,
                           .is_get = r->is_get,
                           .query_string = body,
                           .transport = (void *)(uintptr_t)r};
    door_enter(entry, &h, &settings, NOW, &id, a, ret);
}

static void check_is_json(struct slice text)
{
    const struct json_limits limits = {.max_depth = 8};
    struct err e = {0};
    MUST(json_scan(text, &limits, &e) == 0);
}

static void check_refusal(const struct entrance *in)
{
    MUST(in->status >= 400 && in->status < 500);
    MUST(in->code && in->code[0] && in->why.msg[0]);
    if (in->own_words)
        check_is_json(in->filing.reply);
}

static void check_accepted(const struct entrance *in, const struct request *r, struct arena *a)
{
    const struct slice body = r->body;
    const struct filing *f = &in->filing;
    struct slice reply = door_reply(f, &id, a);
    MUST(f->status == 200 || f->status == 202 || (f->status == 400 && f->invalid > 0));
    if (reply.len > 0)
        check_is_json(reply);
    MUST(reply.len > 0 || !f->default_reply || arena_used(a) > ARENA / 2);
    MUST(slice_is(in->record.topic, "raw." SOURCE));
    MUST(f->alerts <= settings.ingest.max_alerts);
    MUST(!f->partition_key.p || f->partition_key.len > 0);
    if (!f->body.p) {
        MUST(in->record.value.p == body.p && in->record.value.len == body.len);
        return;
    }
    /* What an address says is stored around the body, which nobody posts. */
    if (r->route && strchr(r->route->pattern, '{'))
        return;
    /* What is left of a mixed post is a good one. */
    struct entrance again;
    const struct request none = {.body = f->body, .route = r->route, .words = r->words};
    enter(&none, f->body, a, &again);
    MUST(again.status == 0 && again.filing.invalid == 0 && again.filing.alerts == f->alerts);
}

static void check_decoded(const struct entrance *in, const struct alert_list *list)
{
    MUST(list->n <= in->filing.alerts + 1); /* one for "more were cut off" */
    MUST(list->n >= in->filing.alerts || list->n == 0);
    check_text(list->delivery_id, ID_MAX);
    for (size_t i = 0; i < list->n; i++)
        check_event(&list->v[i]);
}

/* The same body in other white space: the same key, the same alerts. */
static void check_squeezed(const struct request *r, const struct entrance *in,
                           const struct alert_list *list, int rc)
{
    const struct json_limits depth = {.max_depth = settings.ingest.max_depth};
    struct arena *a = fuzz_arena(2, ARENA);
    const struct slice body = json_squeezed(r->body, a);
    struct entrance again;
    struct alert_list other = {0};
    struct err e;
    if (r->is_get || (entry->type->takes_forms && r->n > 0) || json_scan(r->body, &depth, &e) < 0)
        return; /* a form is no JSON; what was no JSON may become some */
    enter(r, body, a, &again);
    MUST(again.status == in->status);
    if (in->status != 0)
        return;
    MUST(slice_eq(again.filing.partition_key, in->filing.partition_key));
    MUST(again.filing.alerts == in->filing.alerts);
    const int other_rc = decode(&again.record, a, &other);
    if (rc == -ENOMEM || other_rc == -ENOMEM)
        return;
    MUST(other_rc == rc);
    check_same(list, &other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    load();
    struct arena *a = fuzz_arena(0, ARENA), *b = fuzz_arena(1, ARENA);
    struct request r;
    struct entrance in;
    struct alert_list list = {0}, twice = {0};
    int rc = 0;
    read_request(choose_entry((struct slice){(const char *)data, size}), a, &r);
    enter(&r, r.body, a, &in);
    if (in.status != 0) {
        check_refusal(&in);
    } else {
        check_accepted(&in, &r, a);
        rc = decode(&in.record, a, &list);
        if (rc == 0)
            check_decoded(&in, &list);
        const int again = decode(&in.record, b, &twice);
        if (rc == 0 && again == 0)
            check_same(&list, &twice);
        MUST(rc == again || rc == -ENOMEM);
    }
    check_squeezed(&r, &in, &list, rc);
    return 0;
}
