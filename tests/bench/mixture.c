/* The formats that there are, in turn, and some of what must be refused. */
#include "traffic.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/digest.h"
#include "schedule.h"

enum kind { PROMETHEUS, ALERTMANAGER, GRAFANA, SENTRY, GENERIC, MALFORMED, OVERSIZE, FORGED };

static const char *const kinds[] = {"prometheus", "alertmanager", "grafana", "sentry", "generic",
                                    "malformed",  "oversize",     "forged",  NULL};
static const char *const targets[] = {"POST /api/v2/alerts",        "POST /webhook/alertmanager",
                                      "POST /webhook/grafana",      "POST /webhook/sentry",
                                      "POST /api/v1/alerts",        "POST /webhook/alertmanager",
                                      "POST /webhook/alertmanager", "POST /webhook/sentry"};

struct mixture {
    struct mixture_options o;
    struct alerts_options words;
    struct dice dice;
    struct buf body, headers;
    char *filler; /* what makes a body too large */
    uint64_t sent;
};

static void write_webhook(struct buf *b, const struct alert_text *t, bool grafana)
{
    buf_puts(b, "{\"receiver\":\"tocsin\",\"status\":\"firing\",\"alerts\":[");
    alert_write(b, t);
    buf_printf(b,
               "],\"groupLabels\":{\"alertname\":\"Bench%05zu\"},\"commonLabels\":{},"
               "\"commonAnnotations\":{},\"externalURL\":\"http://am.example:9093\","
               "\"version\":\"%s\",\"groupKey\":\"{}:{alertname=\\\"Bench%05zu\\\"}\","
               "\"truncatedAlerts\":0%s}",
               t->key % t->o->names, grafana ? "1" : "4", t->key % t->o->names,
               grafana ? ",\"orgId\":1,\"title\":\"[FIRING:1]\",\"state\":\"alerting\","
                         "\"message\":\"fires\""
                       : "");
}

static void write_sentry(struct mixture *m, size_t key, uint64_t number)
{
    buf_printf(&m->body,
               "{\"action\":\"triggered\",\"installation\":{\"uuid\":\"7a485448-a9e2\"},\"data\":{"
               "\"event\":{\"event_id\":\"%016" PRIx64 "\",\"issue_id\":\"%zu\",\"title\":"
               "\"ValueError: rank %zu\",\"culprit\":\"api in rank\",\"level\":\"error\","
               "\"platform\":\"python\",\"project\":17,\"url\":"
               "\"https://sentry.example/api/0/projects/acme/%s/events/1/\",\"web_url\":"
               "\"https://sentry.example/organizations/acme/issues/%zu/\","
               "\"tags\":[[\"environment\",\"production\"]]},\"triggered_rule\":\"every event\"},"
               "\"actor\":{\"type\":\"application\",\"id\":\"sentry\",\"name\":\"Sentry\"}}",
               number, key + 1, key, m->o.run, key + 1);
}

/* Signed with another secret when it is forged. */
static void sign(struct mixture *m, uint64_t number, bool forged)
{
    unsigned char mac[SHA256_LEN];
    char hex[2 * SHA256_LEN + 1];

    hmac_sha256(slice_of(forged ? "another secret" : m->o.secret),
                (struct slice){m->body.p, m->body.len}, mac);
    buf_printf(&m->headers,
               "Request-ID: %016" PRIx64 "\r\nSentry-Hook-Resource: event_alert\r\n"
               "Sentry-Hook-Timestamp: 1\r\nSentry-Hook-Signature: %s\r\n",
               number, hex_encode(mac, sizeof(mac), hex));
}

static enum kind draw(struct mixture *m)
{
    const double u = dice_unit(&m->dice);
    const struct mixture_options *o = &m->o;

    if (u <= o->malformed)
        return MALFORMED;
    if (u <= o->malformed + o->oversize)
        return OVERSIZE;
    if (u <= o->malformed + o->oversize + o->forged)
        return FORGED;
    return (enum kind)(dice_next(&m->dice) % (GENERIC + 1));
}

static void write_body(struct mixture *m, enum kind kind, int64_t now)
{
    const size_t key = dice_next(&m->dice) % m->o.keys;
    const struct alert_text api = {&m->words, key, now, now + MS_HOUR, NULL};
    const struct alert_text hook = {&m->words, key, now, 0, "firing"};

    switch (kind) {
    case PROMETHEUS:
        buf_putc(&m->body, '[');
        alert_write(&m->body, &api);
        buf_putc(&m->body, ']');
        break;
    case ALERTMANAGER:
    case GRAFANA:
    case MALFORMED: /* its end is missing */
        write_webhook(&m->body, &hook, kind == GRAFANA);
        m->body.len -= kind == MALFORMED ? 20 : 0;
        break;
    case OVERSIZE:
        buf_add(&m->body, m->filler, m->o.oversize_bytes);
        break;
    case SENTRY:
    case FORGED:
        write_sentry(m, key, m->sent);
        sign(m, m->sent, kind == FORGED);
        break;
    case GENERIC:
        buf_printf(&m->body,
                   "{\"source\":\"cron\",\"id\":\"job-%zu\",\"title\":\"Job %zu is late\","
                   "\"severity\":\"critical\",\"metadata\":{\"service\":\"%s\"}}",
                   key, key, m->o.run);
        break;
    }
}

static bool make(void *self, int64_t due_ms, struct request *r)
{
    struct mixture *m = self;
    const enum kind kind = draw(m);

    m->sent++;
    buf_reset(&m->body);
    buf_reset(&m->headers);
    write_body(m, kind, due_ms);
    r->kind = kind;
    r->said_n = 0;
    request_write(r, targets[kind], (struct slice){m->body.p, m->body.len}, buf_str(&m->headers));
    return !r->text.failed && !m->body.failed;
}

static void answered(void *self, const struct request *r, unsigned status, int64_t now_ms)
{
    (void)now_ms;
    (void)self;
    (void)r;
    (void)status;
}

static void report(void *self, struct buf *json)
{
    (void)self;
    (void)json;
}

struct mixture *mixture_new(const struct mixture_options *o)
{
    struct mixture *m = calloc(1, sizeof(*m));

    if (!m)
        return NULL;
    m->o = *o;
    m->words = (struct alerts_options){
        .run = o->run, .group = "mixed", .severity = "critical", .names = o->keys};
    m->dice.state = o->seed;
    m->body.max = m->headers.max = REQUEST_MAX;
    m->filler = malloc(o->oversize_bytes + 1);
    if (!m->filler) {
        mixture_free(m);
        return NULL;
    }
    memset(m->filler, ' ', o->oversize_bytes + 1);
    return m;
}

void mixture_free(struct mixture *m)
{
    if (!m)
        return;
    buf_release(&m->body);
    buf_release(&m->headers);
    free(m->filler);
    free(m);
}

struct traffic mixture_traffic(struct mixture *m)
{
    return (struct traffic){m, kinds, make, answered, report};
}
