#include "testing.h"

#include <string.h>

#include "common/metrics.h"
#include "ingest/tally.h"

/* Dashboards made for Alertmanager sum over both labels and tell firing from resolved. */
static void alerts_are_counted_as_alertmanager_counts_them(void **state)
{
    static const struct source_entries none;
    const struct filing f = {.alerts = 5, .resolved = 2, .invalid = 1};
    CLEANUP(buf_release) struct buf text = BUF_INIT(1 << 16);
    struct tally *t = tally_new(&none);

    (void)state;
    assert_non_null(t);
    tally_alerts(t, NULL, &f);
    tally_free(t);
    metrics_render(&text);
    static const char *const lines[] = {
        "\nalertmanager_alerts_received_total{status=\"firing\",version=\"v2\"} 3\n",
        "\nalertmanager_alerts_received_total{status=\"resolved\",version=\"v2\"} 2\n",
        "\nalertmanager_alerts_invalid_total{version=\"v2\"} 1\n"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
        if (!strstr(buf_str(&text), lines[i]))
            fail_msg("%s is not in\n%s", lines[i], buf_str(&text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alerts_are_counted_as_alertmanager_counts_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
