#include "common/alert.h"

#include <errno.h>
#include <strings.h>

const char *severity_name(enum severity s)
{
    switch (s) {
    case SEVERITY_CRITICAL:
        return "critical";
    case SEVERITY_ERROR:
        return "error";
    case SEVERITY_WARNING:
        return "warning";
    case SEVERITY_INFO:
        return "info";
    }
    return "info";
}

/* Words of the senders we know: Prometheus rules, Sentry, PagerDuty, Opsgenie, Zabbix, Grafana,
 * syslog. */
static const struct {
    const char *word;
    enum severity severity;
} words[] = {
    {"critical", SEVERITY_CRITICAL},
    {"crit", SEVERITY_CRITICAL},
    {"fatal", SEVERITY_CRITICAL},
    {"page", SEVERITY_CRITICAL},
    {"emergency", SEVERITY_CRITICAL},
    {"emerg", SEVERITY_CRITICAL},
    {"alert", SEVERITY_CRITICAL},
    {"disaster", SEVERITY_CRITICAL},
    {"p1", SEVERITY_CRITICAL},
    {"sev1", SEVERITY_CRITICAL},
    {"error", SEVERITY_ERROR},
    {"err", SEVERITY_ERROR},
    {"high", SEVERITY_ERROR},
    {"major", SEVERITY_ERROR},
    {"p2", SEVERITY_ERROR},
    {"sev2", SEVERITY_ERROR},
    {"warning", SEVERITY_WARNING},
    {"warn", SEVERITY_WARNING},
    {"average", SEVERITY_WARNING},
    {"medium", SEVERITY_WARNING},
    {"minor", SEVERITY_WARNING},
    {"p3", SEVERITY_WARNING},
    {"sev3", SEVERITY_WARNING},
    {"moderate", SEVERITY_WARNING},
    {"info", SEVERITY_INFO},
    {"information", SEVERITY_INFO},
    {"informational", SEVERITY_INFO},
    {"low", SEVERITY_INFO},
    {"notice", SEVERITY_INFO},
    {"debug", SEVERITY_INFO},
    {"none", SEVERITY_INFO},
    {"ok", SEVERITY_INFO},
    {"p4", SEVERITY_INFO},
    {"p5", SEVERITY_INFO},
    {"sev4", SEVERITY_INFO},
    {"sev5", SEVERITY_INFO},
};

enum severity severity_parse(struct slice s, enum severity def)
{
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (s.len == strlen(words[i].word) && strncasecmp(s.p, words[i].word, s.len) == 0)
            return words[i].severity;
    return def;
}

static struct slice first_of(struct labels l, const char *name, const char *otherwise)
{
    struct slice v = labels_get(l, name);
    return v.len > 0 ? v : labels_get(l, otherwise);
}

void anomaly_parts(struct labels labels, struct anomaly *ret)
{
    *ret = (struct anomaly){.alert_name = labels_get(labels, "alertname"),
                            .service = first_of(labels, "job", "service"),
                            .namespace = labels_get(labels, "namespace"),
                            .error_type = first_of(labels, "reason", "error_type")};
}

void anomaly_of(struct slice tenant, struct labels labels, struct anomaly *ret)
{
    static const struct slice nul = {"", 1};
    unsigned char digest[SHA256_LEN];
    anomaly_parts(labels, ret);
    const struct slice text[] = {tenant,         nul, ret->alert_name, nul, ret->service, nul,
                                 ret->namespace, nul, ret->error_type, nul};
    sha256_v(text, sizeof(text) / sizeof(text[0]), digest);
    memcpy(ret->key, digest, sizeof(ret->key));
}

static struct slice copied(struct slice s, struct arena *a, bool *failed)
{
    if (s.len == 0)
        return s.p ? SLICE_LIT("") : s;
    const struct slice copy = arena_slice(a, s);
    *failed |= !copy.p;
    return copy;
}

static struct labels labels_copied(struct labels l, struct arena *a, bool *failed)
{
    struct label *v = arena_array(a, l.n + 1, struct label);
    *failed |= !v;
    for (size_t i = 0; v && i < l.n; i++)
        v[i] = (struct label){copied(l.v[i].name, a, failed), copied(l.v[i].value, a, failed)};
    return (struct labels){v, v ? l.n : 0};
}

int alert_list_copy(const struct alert_list *list, struct arena *a, struct alert_list *ret)
{
    struct alert_event *v = arena_array(a, list->n + 1, struct alert_event);
    bool failed = !v;
    for (size_t i = 0; i < list->n && !failed; i++) {
        struct alert_event *to = &v[i];
        *to = list->v[i];
        to->words = copied(to->words, a, &failed);
        to->event_id = copied(to->event_id, a, &failed);
        to->title = copied(to->title, a, &failed);
        to->description = copied(to->description, a, &failed);
        to->link = copied(to->link, a, &failed);
        to->note = copied(to->note, a, &failed);
        to->actor = copied(to->actor, a, &failed);
        to->labels = labels_copied(to->labels, a, &failed);
        to->annotations = labels_copied(to->annotations, a, &failed);
    }
    *ret = (struct alert_list){v, list->n, copied(list->delivery_id, a, &failed)};
    return failed ? -ENOMEM : 0;
}
