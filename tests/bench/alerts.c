#include "traffic.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "schedule.h"

#define PROMISE MS_HOUR /* of what fires: nothing ends by silence while this runs */

/* One label set, as last said. */
struct key {
    int64_t start, end; /* ms; start 0: never mentioned; end 0: fires */
    int64_t counted;    /* the newest start that an answer covers */
    int64_t answered;   /* when the last answer came */
    uint32_t unanswered;
};

struct alerts {
    struct alerts_options o;
    struct zipf *zipf;
    struct dice dice;
    struct key *keys;
    size_t next; /* fresh: the key to come */
    struct buf body;
    uint64_t alerts, starts, covered; /* in requests that were answered 2xx */
};

void request_write(struct request *r, const char *target, struct slice body, const char *headers)
{
    buf_reset(&r->text);
    buf_printf(&r->text,
               "%s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
               "Content-Length: %zu\r\n%s\r\n",
               target, body.len, headers);
    buf_add(&r->text, body.p, body.len);
}

void alert_write(struct buf *b, const struct alert_text *t)
{
    char start[RFC3339_MAX], end[RFC3339_MAX];

    buf_putc(b, '{');
    if (t->status)
        buf_printf(b, "\"status\":\"%s\",", t->status);
    buf_printf(b,
               "\"labels\":{\"alertname\":\"Bench%05zu\",\"bench\":\"%s\",\"cluster\":\"eu-1\","
               "\"instance\":\"%s-%07zu:9100\",\"job\":\"node\",\"namespace\":\"%s\","
               "\"severity\":\"%s\"},"
               "\"annotations\":{\"summary\":\"Load on node-%07zu is above its limit\","
               "\"description\":\"The load has been above 8 for five minutes; look at what runs "
               "there first.\"},",
               t->key % t->o->names, t->o->group, t->o->run, t->key, t->o->run, t->o->severity,
               t->key);
    buf_printf(b,
               "\"startsAt\":\"%s\",\"endsAt\":\"%s\",\"generatorURL\":"
               "\"http://prometheus.example:9090/graph?g0.expr=node_load1+%%3E+8&g0.tab=1\"}",
               rfc3339_format(t->start, start),
               t->end ? rfc3339_format(t->end, end) : "0001-01-01T00:00:00Z");
}

/*
 * A key changes only while nothing about it is under way, so that no order of arrival can turn what
 * was said around, and at a moment after the last answer: a start before what was still said to
 * fire then is no other occurrence. Until then it says the same again.
 */
static void decide(struct alerts *a, struct key *k, int64_t now)
{
    const bool fires = k->end == 0;

    if (k->start == 0) {
        k->start = now;
    } else if (k->unanswered == 0 && now > k->answered && now > k->start && now > k->end) {
        const bool over = dice_unit(&a->dice) <= a->o.resolved;
        if (fires && over) {
            k->end = now;
        } else if (!fires && !over) {
            k->start = now;
            k->end = 0;
        }
    }
    k->unanswered++;
}

static bool make(void *self, int64_t due_ms, struct request *r)
{
    struct alerts *a = self;

    buf_reset(&a->body);
    r->kind = 0;
    for (r->said_n = 0; r->said_n < a->o.batch; r->said_n++) {
        if (a->o.fresh && a->next == a->o.keys)
            break;
        const size_t key = a->o.fresh ? a->next++ : zipf_draw(a->zipf, &a->dice);
        struct key *k = &a->keys[key];
        decide(a, k, due_ms);
        r->said[r->said_n] = (struct said){(uint32_t)key, k->end ? 0 : k->start};
        buf_putc(&a->body, r->said_n ? ',' : '[');
        alert_write(&a->body, &(struct alert_text){.o = &a->o,
                                                   .key = key,
                                                   .start = k->start,
                                                   .end = k->end ? k->end : due_ms + PROMISE});
    }
    if (r->said_n == 0)
        return false;
    buf_putc(&a->body, ']');
    char target[128];
    (void)snprintf(target, sizeof(target), "POST %s", a->o.path);
    request_write(r, target, (struct slice){a->body.p, a->body.len}, "");
    return !r->text.failed && !a->body.failed;
}

static void answered(void *self, const struct request *r, unsigned status, int64_t now_ms)
{
    struct alerts *a = self;
    const bool taken = status >= 200 && status < 300;

    a->alerts += taken ? r->said_n : 0;
    for (size_t i = 0; i < r->said_n; i++) {
        struct key *k = &a->keys[r->said[i].key];
        k->unanswered--;
        k->answered = now_ms;
        if (!taken || r->said[i].start == 0 || r->said[i].start == k->counted)
            continue;
        a->covered += k->counted == 0;
        a->starts++;
        k->counted = r->said[i].start;
    }
}

static void report(void *self, struct buf *json)
{
    const struct alerts *a = self;
    size_t firing = 0;

    for (size_t i = 0; i < a->o.keys; i++)
        firing += a->keys[i].counted != 0 && a->keys[i].end == 0;
    buf_printf(json,
               ",\"alerts\":%llu,\"starts\":%llu,\"keys\":%llu,\"firing\":%zu,\"alert_bytes\":%zu",
               (unsigned long long)a->alerts, (unsigned long long)a->starts,
               (unsigned long long)a->covered, firing, a->body.len / a->o.batch);
}

struct alerts *alerts_new(const struct alerts_options *o)
{
    struct alerts *a = calloc(1, sizeof(*a));

    if (!a)
        return NULL;
    a->o = *o;
    a->dice.state = o->seed;
    a->body.max = REQUEST_MAX;
    a->keys = calloc(o->keys, sizeof(*a->keys));
    a->zipf = o->fresh ? NULL : zipf_new(o->keys, o->exponent);
    if (!a->keys || (!o->fresh && !a->zipf)) {
        alerts_free(a);
        return NULL;
    }
    return a;
}

void alerts_free(struct alerts *a)
{
    if (!a)
        return;
    zipf_free(a->zipf);
    buf_release(&a->body);
    free(a->keys);
    free(a);
}

struct traffic alerts_traffic(struct alerts *a)
{
    static const char *const kinds[] = {"prometheus", NULL};

    return (struct traffic){a, kinds, make, answered, report};
}

/* ---- dashboards ---- */

static bool make_read(void *self, int64_t due_ms, struct request *r)
{
    (void)due_ms;
    buf_reset(&r->text);
    r->kind = 0;
    r->said_n = 0;
    buf_printf(&r->text, "GET %s HTTP/1.1\r\nHost: bench\r\n\r\n", (const char *)self);
    return !r->text.failed;
}

static void read_answered(void *self, const struct request *r, unsigned status, int64_t now_ms)
{
    (void)now_ms;
    (void)self;
    (void)r;
    (void)status;
}

static void report_nothing(void *self, struct buf *json)
{
    (void)self;
    (void)json;
}

struct traffic reads_traffic(const char *path)
{
    static const char *const kinds[] = {"get", NULL};

    /* NOLINTNEXTLINE(performance-no-int-to-ptr): away with const; make_read() only reads it */
    return (struct traffic){(void *)(uintptr_t)path, kinds, make_read, read_answered,
                            report_nothing};
}
