/* The first byte picks a source, the second a header; the rest is a body, through the door and the
 * decoder. */
#include "common/json.h"
#include "common/source.h"
#include "fuzz.h"

static struct settings settings;
static struct source_entries entries;

static void load(void)
{
    static struct conf *conf;
    struct err e = {0};
    if (conf)
        return;
    MUST(conf_parse("fuzz", "limits: {labels: 16, label_value: 64, annotation_value: 128}\n", NULL,
                    &conf, &e) == 0);
    MUST(settings_load(conf, &settings, &e) == 0);
    MUST(source_entries_load(&settings, &entries, &e) == 0);
}

static const char *no_header(const struct hook *h, const char *name)
{
    (void)h;
    (void)name;
    return NULL;
}

static void check(const struct alert_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        const struct alert_event *ev = &list->v[i];
        MUST(ev->kind >= REPORT_FIRING && ev->kind <= REPORT_NOTE);
        MUST(ev->labels.n > 0 && ev->title.len > 0);
        for (size_t k = 0; k < ev->labels.n; k++)
            MUST(ev->labels.v[k].value.len <= settings.limits.label_value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const resources[] = {
        "", "issue", "event_alert", "error", "metric_alert", "comment", "installation"};
    load();
    if (size < 2)
        return 0;
    const struct source_entry *entry = &entries.v[data[0] % entries.n];
    const char *resource = resources[data[1] % (sizeof(resources) / sizeof(resources[0]))];
    const struct kafka_header kept = {"Sentry-Hook-Resource", slice_of(resource)};
    const struct hook h = {
        .header = no_header, .query = no_header, .body = {(const char *)data + 2, size - 2}};
    const struct json_limits depth = {.max_depth = 32};
    const struct record r = {.tenant = SLICE_LIT("t"),
                             .source = slice_of(entry->name),
                             .received_at = 1700000000000,
                             .body = h.body,
                             .headers = &kept,
                             .header_n = *resource != '\0'};
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)4 << 20);
    struct filing f = {0};
    struct alert_list list = {0};
    struct err e = {0};
    if (!a || json_scan(h.body, &depth, &e) < 0)
        return 0;
    int accepted = entry->type->accept(entry->cfg, &h, &settings.limits, r.received_at, a, &f, &e);
    int rc = entry->type->decode(entry->cfg, &r, &settings.limits, a, &list, &e);
    MUST(rc == 0 || (rc == e.code && e.msg[0]));
    if (rc == 0)
        check(&list);
    if (accepted == 0)
        MUST(f.status >= 200);
    return 0;
}
