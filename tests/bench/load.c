/* tocsin-bench-load: sends one workload to one server and says, as one line of JSON, how it was
 * answered. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

struct options {
    const char *traffic;
    struct client_options client;
    struct alerts_options alerts;
    struct mixture_options mixture;
    double alerts_per_second;
    const char *path;
};

static const char usage[] =
    "usage: tocsin-bench-load [OPTION]... ADDRESS:PORT\n"
    "  --traffic alerts|mixture|reads  what to send (alerts)\n"
    "  --rate N            alerts, or requests of the others, a second; 0: as fast as answers "
    "come\n"
    "  --seconds N         for so long; --linger N: then wait so long for answers (10)\n"
    "  --connections N     kept alive (64)\n"
    "  --seed N            the same seed sends the same\n"
    "  --path PATH         of alerts (/api/v2/alerts) and reads\n"
    "  --run TEXT          label `namespace` of what is sent\n"
    "  --keys N            label sets (20000); --names N: alert names that they share (as many)\n"
    "alerts:\n"
    "  --group TEXT        label `bench`; --severity TEXT: label (critical)\n"
    "  --batch N           alerts in one request, at most 256 (1)\n"
    "  --zipf X            exponent (0: all keys alike); --resolved X: share that says \"over\" "
    "(0)\n"
    "  --fresh             each key once, in order\n"
    "mixture:\n"
    "  --secret TEXT       of the source sentry\n"
    "  --malformed X --oversize X --forged X   shares of what must be refused\n"
    "  --oversize-bytes N  (1200000)\n";

enum flag {
    TRAFFIC = 1,
    RATE,
    SECONDS,
    LINGER,
    CONNECTIONS,
    SEED,
    PATH,
    RUN,
    KEYS,
    NAMES,
    GROUP,
    SEVERITY,
    BATCH,
    ZIPF,
    RESOLVED,
    FRESH,
    SECRET,
    MALFORMED_SHARE,
    OVERSIZE_SHARE,
    FORGED_SHARE,
    OVERSIZE_BYTES
};

static const struct option options[] = {
    {"traffic", required_argument, NULL, TRAFFIC},
    {"rate", required_argument, NULL, RATE},
    {"seconds", required_argument, NULL, SECONDS},
    {"linger", required_argument, NULL, LINGER},
    {"connections", required_argument, NULL, CONNECTIONS},
    {"seed", required_argument, NULL, SEED},
    {"path", required_argument, NULL, PATH},
    {"run", required_argument, NULL, RUN},
    {"keys", required_argument, NULL, KEYS},
    {"names", required_argument, NULL, NAMES},
    {"group", required_argument, NULL, GROUP},
    {"severity", required_argument, NULL, SEVERITY},
    {"batch", required_argument, NULL, BATCH},
    {"zipf", required_argument, NULL, ZIPF},
    {"resolved", required_argument, NULL, RESOLVED},
    {"fresh", no_argument, NULL, FRESH},
    {"secret", required_argument, NULL, SECRET},
    {"malformed", required_argument, NULL, MALFORMED_SHARE},
    {"oversize", required_argument, NULL, OVERSIZE_SHARE},
    {"forged", required_argument, NULL, FORGED_SHARE},
    {"oversize-bytes", required_argument, NULL, OVERSIZE_BYTES},
    {0},
};

static int64_t microseconds(const char *seconds)
{
    return (int64_t)(strtod(seconds, NULL) * 1e6);
}

static size_t count(const char *text)
{
    return (size_t)strtoull(text, NULL, 10);
}

/* What to send. */
static bool set_words(struct options *o, int option)
{
    const struct {
        int option;
        const char **text;
    } texts[] = {{TRAFFIC, &o->traffic},          {PATH, &o->path},
                 {RUN, &o->alerts.run},           {GROUP, &o->alerts.group},
                 {SEVERITY, &o->alerts.severity}, {SECRET, &o->mixture.secret}};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].option == option) {
            *texts[i].text = optarg;
            return true;
        }
    }
    return false;
}

static bool set_number(struct options *o, int option)
{
    const struct {
        int option;
        double *share;
        size_t *count;
    } numbers[] = {
        {RATE, &o->alerts_per_second, NULL},
        {ZIPF, &o->alerts.exponent, NULL},
        {RESOLVED, &o->alerts.resolved, NULL},
        {MALFORMED_SHARE, &o->mixture.malformed, NULL},
        {OVERSIZE_SHARE, &o->mixture.oversize, NULL},
        {FORGED_SHARE, &o->mixture.forged, NULL},
        {CONNECTIONS, NULL, &o->client.connections},
        {KEYS, NULL, &o->alerts.keys},
        {NAMES, NULL, &o->alerts.names},
        {BATCH, NULL, &o->alerts.batch},
        {OVERSIZE_BYTES, NULL, &o->mixture.oversize_bytes},
    };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (numbers[i].option != option)
            continue;
        if (numbers[i].share)
            *numbers[i].share = strtod(optarg, NULL);
        else
            *numbers[i].count = count(optarg);
        return true;
    }
    return false;
}

static bool set_option(struct options *o, int option)
{
    switch (option) {
    case SECONDS:
        o->client.run_us = microseconds(optarg);
        return true;
    case LINGER:
        o->client.linger_us = microseconds(optarg);
        return true;
    case SEED:
        o->client.seed = strtoull(optarg, NULL, 10);
        return true;
    case FRESH:
        o->alerts.fresh = true;
        return true;
    default:
        return set_words(o, option) || set_number(o, option);
    }
}

static bool set_address(struct options *o, char *text)
{
    char *colon = strrchr(text, ':');

    if (!colon)
        return false;
    *colon = '\0';
    o->client.address.sin_family = AF_INET;
    o->client.address.sin_port = htons((uint16_t)count(colon + 1));
    return inet_pton(AF_INET, text, &o->client.address.sin_addr) == 1;
}

/* NULL, or what is wrong. */
static const char *settle(struct options *o)
{
    if (o->alerts.names == 0)
        o->alerts.names = o->alerts.keys;
    o->alerts.path = o->path;
    o->alerts.seed = o->client.seed + 1;
    o->mixture.seed = o->client.seed + 1;
    o->mixture.run = o->alerts.run;
    o->mixture.keys = o->alerts.keys;
    o->client.rate = strcmp(o->traffic, "alerts") == 0
                         ? o->alerts_per_second / (double)o->alerts.batch
                         : o->alerts_per_second;
    if (o->alerts.batch == 0 || o->alerts.batch > SAID_MAX)
        return "--batch wants 1 to 256";
    if (o->alerts.keys == 0 || o->client.connections == 0 || o->client.run_us <= 0)
        return "--keys, --connections and --seconds want more than 0";
    return NULL;
}

static void print_durations(struct buf *b, const char *name, const struct durations *d)
{
    static const struct {
        const char *name;
        double q;
    } points[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};

    buf_printf(b, ",\"%s\":{\"n\":%llu,\"mean\":%.3f", name, (unsigned long long)d->n,
               durations_mean(d) / 1000);
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++)
        buf_printf(b, ",\"%s\":%.3f", points[i].name,
                   (double)durations_quantile(d, points[i].q) / 1000);
    buf_printf(b, ",\"max\":%.3f}", (double)d->max / 1000);
}

static int print_result(const struct client_result *r, const struct traffic *t)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(65536);

    buf_printf(&b,
               "{\"began_ms\":%lld,\"seconds\":%.6f,\"due\":%llu,\"requests\":%llu,\"unsent\":%llu,"
               "\"unanswered\":%llu,\"received_bytes\":%llu",
               (long long)r->began_ms, (double)r->us / 1e6, (unsigned long long)r->due,
               (unsigned long long)r->made, (unsigned long long)r->unsent,
               (unsigned long long)r->unanswered, (unsigned long long)r->received);
    print_durations(&b, "ms", &r->good);
    print_durations(&b, "refused_ms", &r->other);
    buf_puts(&b, ",\"statuses\":{");
    for (size_t i = 0; i < r->status_n; i++)
        buf_printf(&b, "%s\"%s %u\":%llu", i ? "," : "", t->kinds[r->statuses[i].kind],
                   r->statuses[i].status, (unsigned long long)r->statuses[i].n);
    buf_putc(&b, '}');
    t->report(t->self, &b);
    buf_putc(&b, '}');
    if (b.failed)
        return -ENOMEM;
    (void)puts(buf_str(&b));
    return 0;
}

static int run(const struct options *o, const struct traffic *t, struct err *e)
{
    CLEANUP(free) struct client_result *result = calloc(1, sizeof(*result));
    int rc = result ? client_run(&o->client, t, result, e) : err_set(e, -ENOMEM, "out of memory");

    return rc < 0 ? rc : print_result(result, t);
}

static int run_traffic(const struct options *o, struct err *e)
{
    if (strcmp(o->traffic, "reads") == 0) {
        const struct traffic reads = reads_traffic(o->path);
        return run(o, &reads, e);
    }
    if (strcmp(o->traffic, "mixture") == 0) {
        CLEANUP(mixture_free) struct mixture *m = mixture_new(&o->mixture);
        const struct traffic t = m ? mixture_traffic(m) : (struct traffic){0};
        return m ? run(o, &t, e) : err_set(e, -ENOMEM, "out of memory");
    }
    CLEANUP(alerts_free) struct alerts *a = alerts_new(&o->alerts);
    const struct traffic t = a ? alerts_traffic(a) : (struct traffic){0};
    return a ? run(o, &t, e) : err_set(e, -ENOMEM, "out of memory");
}

int main(int argc, char **argv)
{
    struct options o = {.traffic = "alerts",
                        .path = "/api/v2/alerts",
                        .client = {.connections = 64, .run_us = 10000000, .linger_us = 10000000},
                        .alerts = {.run = "bench",
                                   .group = "incident",
                                   .severity = "critical",
                                   .keys = 20000,
                                   .batch = 1},
                        .mixture = {.secret = "", .oversize_bytes = 1200000}};
    struct err e = {0};
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (!set_option(&o, option))
            break;
    const char *wrong = settle(&o);
    if (option != -1 || optind + 1 != argc || wrong || !set_address(&o, argv[optind])) {
        (void)fprintf(stderr, "%s%s%s", wrong ? wrong : "", wrong ? "\n" : "", usage);
        return 2;
    }
    if (run_traffic(&o, &e) < 0) {
        (void)fprintf(stderr, "tocsin-bench-load: %s\n", e.msg);
        return 1;
    }
    return 0;
}
