#include <errno.h>
#include <stdlib.h>

#include "common/clock.h"
#include "ingest/door.h"
#include "ingest/ingest.h"
#include "ingest/repairs.h"

/* A request at the door, and then waiting for its record to be safe; in the request's arena, so it
 * ends with the answer. */
struct visit {
    struct ingest *self;
    struct http_request *r;
    const struct source_entry *entry; /* NULL: a repair */
    struct hook hook;
    int64_t at;
    struct uuid id;
    bool deferred; /* the answer may come from any thread */
    struct filing filing;
    struct spool_record record;
    struct slice reply;
};

static const char *content_type_of(const struct visit *v)
{
    return v->filing.content_type.len > 0 ? v->filing.content_type.p : NULL;
}

/* From any thread. Nothing of the visit is left after the answer. */
static void on_outcome(void *ctx, enum outcome o)
{
    struct visit *v = ctx;
    struct tally *t = v->self->tally;
    switch (o) {
    case OUTCOME_ACKNOWLEDGED:
    case OUTCOME_SPOOLED:
        if (v->entry)
            tally_alerts(t, v->entry, &v->filing);
        tally_answer(t, v->entry, v->filing.status);
        http_reply(v->r, v->filing.status, content_type_of(v), v->reply.p, v->reply.len);
        return;
    case OUTCOME_REFUSED:
        tally_answer(t, v->entry, 503);
        http_reply_error(v->r, 503, "unavailable",
                         "neither Kafka nor the spool could take it; try again");
        return;
    case OUTCOME_UNFIT:
        tally_answer(t, v->entry, 413);
        http_reply_error(v->r, 413, "too_large", "larger than a record of Kafka may be");
        return;
    }
}

static const char *hook_header(const struct hook *h, const char *name)
{
    return http_header(h->transport, name);
}

static const char *hook_query(const struct hook *h, const char *name)
{
    return http_query(h->transport, name);
}

static const char *hook_param(const struct hook *h, const char *name)
{
    return http_param(h->transport, name);
}

static void defer(struct visit *v)
{
    if (!v->deferred)
        http_defer(v->r);
    v->deferred = true;
}

static void publish_visit(struct visit *v, const struct spool_record *record)
{
    struct publisher *p = v->self->publisher;
    defer(v); /* the answer may come before publish() returns */
    publish(p, record, on_outcome, v);
}

static void too_large(struct ingest *self, struct http_request *r, const struct source_entry *entry)
{
    tally_answer(self->tally, entry, 413);
    http_reply_error(r, 413, "too_large", "the request needs more memory than one may");
}

static void reply_refusal(struct ingest *self, struct http_request *r,
                          const struct source_entry *entry, const struct entrance *in)
{
    tally_answer(self->tally, entry, in->status);
    if (in->status == 401)
        http_reply_header(r, "WWW-Authenticate", "Bearer");
    if (!in->own_words) {
        http_reply_error(r, in->status, in->code, "%s", in->why.msg);
        return;
    }
    const struct visit words = {.filing = in->filing};
    http_reply(r, in->status, content_type_of(&words), in->filing.reply.p, in->filing.reply.len);
}

static struct hook hook_of(struct http_request *r)
{
    return (struct hook){.param = hook_param,
                         .path_token = http_param(r, "token"),
                         .header = hook_header,
                         .query = hook_query,
                         .body = http_body(r),
                         .is_get = strcmp(http_method(r), "GET") == 0,
                         .query_string = http_query_string(r),
                         .transport = r};
}

static void enter(struct visit *v);

static void unavailable(struct visit *v)
{
    tally_answer(v->self->tally, v->entry, 503);
    http_reply_error(v->r, 503, "unavailable",
                     "source %s could not fetch what the request points to; try again",
                     v->entry->name);
}

static void on_fetched(void *ctx, struct slice body)
{
    struct visit *v = ctx;
    if (!body.p) {
        unavailable(v);
        return;
    }
    v->hook.fetched = body;
    enter(v);
}

static void on_acted(void *ctx, struct slice body)
{
    struct visit *v = ctx;
    if (!body.p)
        unavailable(v);
    else
        publish_visit(v, &v->record);
}

/* On the server's thread, or the fetcher's. */
static void enter(struct visit *v)
{
    struct ingest *self = v->self;
    struct arena *a = http_arena(v->r);
    struct entrance in;
    door_enter(v->entry, &v->hook, self->settings, v->at, &v->id, a, &in);
    if (in.status != 0) {
        reply_refusal(self, v->r, v->entry, &in);
        return;
    }
    if (in.wants.url) {
        defer(v);
        fetcher_get(self->fetcher, &in.wants, a, on_fetched, v);
        return;
    }
    v->filing = in.filing;
    v->record = in.record;
    v->reply = door_reply(&in.filing, &v->id, a);
    if (in.filing.default_reply && !v->reply.p) {
        too_large(self, v->r, v->entry);
        return;
    }
    if (in.filing.act.url) {
        defer(v);
        fetcher_get(self->fetcher, &in.filing.act, a, on_acted, v);
        return;
    }
    publish_visit(v, &v->record);
}

static void take(struct ingest *self, struct http_request *r, const struct source_entry *entry,
                 const struct hook *h)
{
    struct visit *v = arena_new_of(http_arena(r), struct visit);
    if (!v) {
        too_large(self, r, entry);
        return;
    }
    const int64_t now = clock_now_ms();
    *v = (struct visit){
        .self = self, .r = r, .entry = entry, .hook = *h, .at = now, .id = uuid7_new(now)};
    enter(v);
}

static void no_source(struct ingest *self, struct http_request *r, const char *name)
{
    tally_answer(self->tally, NULL, 404);
    http_reply_error(r, 404, "unknown_source", "there is no source %.64s under `sources:`", name);
}

/* Before the body is read: is there such a source? handle_webhook() finds it as the request's data.
 */
static void admit_as(struct ingest *self, struct http_request *r, const char *name)
{
    const struct source_entry *entry = source_entry_find(self->entries, slice_of(name));
    if (!entry) {
        no_source(self, r, name);
        return;
    }
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): away with const, and back */
    http_set_data(r, (void *)(uintptr_t)entry);
}

static void admit_webhook(void *ctx, struct http_request *r)
{
    admit_as(ctx, r, http_param(r, "source"));
}

/* Only senders that can do no better may ask to be heard by GET; HEAD says nothing. */
static void admit_get(void *ctx, struct http_request *r)
{
    struct ingest *self = ctx;
    admit_as(self, r, http_param(r, "source"));
    const struct source_entry *entry = http_data(r);
    if (http_answered(r) || (entry->type->takes_gets && strcmp(http_method(r), "GET") == 0))
        return;
    tally_answer(self->tally, entry, 405);
    http_reply_header(r, "Allow", entry->type->takes_gets ? "GET, POST, PUT" : "POST, PUT");
    http_reply_error(r, 405, "method_not_allowed", "source %s is not told anything by %s",
                     entry->name, http_method(r));
}

static void handle_webhook(void *ctx, struct http_request *r)
{
    const struct hook h = hook_of(r);
    take(ctx, r, http_data(r), &h);
}

static void refuse_repair(struct ingest *self, struct http_request *r, const struct err *why)
{
    const unsigned status = why->code == -EOPNOTSUPP ? 415 : why->code == -EBADMSG ? 400 : 413;
    tally_answer(self->tally, NULL, status);
    http_reply_error(r, status,
                     status == 415   ? "unsupported_encoding"
                     : status == 400 ? "bad_request"
                                     : "too_large",
                     "%s", why->msg);
}

static void handle_repair(void *ctx, struct http_request *r)
{
    struct ingest *self = ctx;
    struct arena *a = http_arena(r);
    enum repair_token token =
        repair_token(&self->settings->repairs, http_header(r, "Authorization"));
    if (token == REPAIR_TOKEN_NONE) {
        tally_answer(self->tally, NULL, 401);
        http_reply_header(r, "WWW-Authenticate", "Bearer");
        http_reply_error(r, 401, "unauthenticated",
                         "a repair is reported with one of repairs.tokens");
        return;
    }
    const struct repair_post post = {.body = http_body(r),
                                     .encoding = http_header(r, "Content-Encoding"),
                                     .may_verify = token == REPAIR_TOKEN_VERIFIES,
                                     .now_ms = clock_now_ms(),
                                     .id = uuid7_new(clock_now_ms())};
    struct spool_record record;
    struct err e = {0};
    struct visit *v = arena_new_of(a, struct visit);
    int rc = v ? repair_record(&post, self->settings, a, &record, &e)
               : err_set(&e, -E2BIG, "the request needs more memory than one may");
    if (rc < 0 || !v) {
        refuse_repair(self, r, &e);
        return;
    }
    *v = (struct visit){.self = self, .r = r, .filing = {.status = 202, .default_reply = true}};
    v->reply = door_reply(&v->filing, &post.id, a);
    publish_visit(v, &record);
}

static const struct http_route ours[] = {
    {"POST", "/webhook/{source}", admit_webhook, handle_webhook},
    {"POST", "/webhook/{source}/{token}", admit_webhook, handle_webhook},
    {"PUT", "/webhook/{source}", admit_webhook, handle_webhook}, /* Grafana may be told to */
    {"PUT", "/webhook/{source}/{token}", admit_webhook, handle_webhook},
    {"GET", "/webhook/{source}", admit_get, handle_webhook}, /* and Uptime Kuma this */
    {"GET", "/webhook/{source}/{token}", admit_get, handle_webhook},
    {"POST", "/api/v1/repairs", NULL, handle_repair},
};
#define OURS (sizeof(ours) / sizeof(ours[0]))

/* ---- the addresses that sources have of their own ---- */

struct routes {
    struct http_route *v; /* ours, theirs, and the end */
    struct owner {
        const struct source *type;
        const struct source_route *route; /* of what it is told */
        const struct source_read *read;   /* or of what it is asked */
    } * owners;                           /* of v[OURS] and on */
};

static const struct owner *owner_of(const struct ingest *self, const struct http_request *r)
{
    return &self->routes->owners[http_matched(r) - self->routes->v - (ptrdiff_t)OURS];
}

/* Before the body is read, which may say for which of its entries it is. */
static void admit_owned(void *ctx, struct http_request *r)
{
    struct ingest *self = ctx;
    const struct source *type = owner_of(self, r)->type;
    for (size_t i = 0; i < self->entries->n; i++)
        if (self->entries->v[i].type == type)
            return;
    no_source(self, r, type->name);
}

static void handle_owned(void *ctx, struct http_request *r)
{
    struct ingest *self = ctx;
    const struct owner *owner = owner_of(self, r);
    struct hook h = hook_of(r);
    h.route = owner->route;
    const struct source_entry *entry = door_choose(self->entries, owner->type, &h, clock_now_ms());
    if (entry)
        take(self, r, entry, &h);
    else
        no_source(self, r, owner->type->name);
}

/* From within relay_get(), or on the relay's thread. */
static void on_relayed(void *ctx, const struct relayed *answer)
{
    struct visit *v = ctx;
    if (answer->status == 0) {
        tally_answer(v->self->tally, v->entry, 503);
        http_reply_error(v->r, 503, "console_unavailable", "%s", answer->why);
        return;
    }
    tally_answer(v->self->tally, v->entry, answer->status);
    http_reply_header(v->r, "Cache-Control", "no-store");
    http_reply(v->r, answer->status, answer->content_type, answer->body.p, answer->body.len);
}

static void not_to_be_asked(struct ingest *self, struct http_request *r,
                            const struct source_entry *entry, const char *why)
{
    tally_answer(self->tally, entry, 404);
    http_reply_error(r, 404, "not_found", "%s", why);
}

static void pass_on(struct ingest *self, struct http_request *r, const struct source_entry *entry)
{
    const struct source_read *read = owner_of(self, r)->read;
    const char *id = http_param(r, "id");
    const char *path =
        arena_printf(http_arena(r), "%.*s%s", (int)strcspn(read->pattern, "{"), read->pattern, id);
    struct visit *v = arena_new_of(http_arena(r), struct visit);
    if (!path || !v) {
        too_large(self, r, entry);
    } else if (!read->is_id(slice_of(id))) {
        not_to_be_asked(self, r, entry, "there is no such request");
    } else if (!self->relay) {
        not_to_be_asked(self, r, entry,
                        "the console answers this: ask it, or set ingest.console_url to have it "
                        "asked from here");
    } else {
        *v = (struct visit){.self = self, .r = r, .entry = entry};
        defer(v);
        relay_get(self->relay, path, on_relayed, v);
    }
}

/* The console answers whoever reaches it; here the secret opens it, as it does for what is told. */
static void handle_read(void *ctx, struct http_request *r)
{
    struct ingest *self = ctx;
    const struct source *type = owner_of(self, r)->type;
    const struct hook h = hook_of(r);
    const int64_t now = clock_now_ms();
    const struct source_entry *entry = door_choose(self->entries, type, &h, now);
    struct entrance in;
    if (!entry) {
        no_source(self, r, type->name);
        return;
    }
    door_show(entry, &h, now, http_arena(r), &in);
    if (in.status != 0)
        reply_refusal(self, r, entry, &in);
    else
        pass_on(self, r, entry);
}

static void add(struct routes *t, size_t n, const struct http_route *route, struct owner owner)
{
    if (!t)
        return;
    t->v[OURS + n] = *route;
    t->owners[n] = owner;
}

/* How many there are; into `t` where it is given. */
static size_t add_owned(struct routes *t)
{
    const struct source *type;
    size_t n = 0;
    for (size_t i = 0; (type = source_at(i)); i++) {
        for (const struct source_route *own = type->routes; own && own->method; own++) {
            const struct http_route told = {own->method, own->pattern, admit_owned, handle_owned};
            add(t, n++, &told, (struct owner){.type = type, .route = own});
        }
        for (const struct source_read *own = type->reads; own && own->pattern; own++) {
            const struct http_route asked = {"GET", own->pattern, admit_owned, handle_read};
            add(t, n++, &asked, (struct owner){.type = type, .read = own});
        }
    }
    return n;
}

struct routes *routes_new(void)
{
    const size_t n = add_owned(NULL);
    struct routes *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->v = calloc(OURS + n + 1, sizeof(*t->v));
    t->owners = calloc(n + 1, sizeof(*t->owners));
    if (!t->v || !t->owners) {
        routes_free(t);
        return NULL;
    }
    memcpy(t->v, ours, sizeof(ours));
    (void)add_owned(t);
    return t;
}

void routes_free(struct routes *t)
{
    if (!t)
        return;
    free(t->v);
    free(t->owners);
    free(t);
}

const struct http_route *ingest_routes(const void *self)
{
    return ((const struct ingest *)self)->routes->v;
}
