/* What silences an alert by its labels. */
#include "testing.h"

#include <string.h>

#include "common/alert.h"
#include "common/silence.h"

/* Each of these labels is absent, empty or one of two values. */
static const char *const names[] = {"alertname", "error_type", "job",
                                    "namespace", "reason",     "service"};
enum { NAMES = sizeof(names) / sizeof(*names), EACH = 4, SETS = 1 << (2 * NAMES) };

static struct labels labels_at(int set, struct label out[NAMES])
{
    size_t n = 0;

    for (int i = 0; i < NAMES; i++, set /= EACH)
        if (set % EACH > 0)
            out[n++] =
                (struct label){slice_of(names[i]),
                               slice_of(((const char *const[]){"", "", "a", "b"})[set % EACH])};
    return (struct labels){out, n};
}

/* Does a label of this name say it, in both or in neither? */
static bool alike(struct labels a, struct labels b, const char *name)
{
    return (labels_get(a, name).len > 0) == (labels_get(b, name).len > 0);
}

/* Of every two alerts: the silence of one holds for the other only when they are one anomaly; and
 * then it does, if the same names say so and it has an alert name. */
static void holds_for_the_anomaly_and_no_other(void **state)
{
    struct anomaly *anomalies = calloc(SETS, sizeof(*anomalies));
    struct label one[NAMES], other[NAMES];

    (void)state;
    assert_non_null(anomalies);
    for (int i = 0; i < SETS; i++)
        anomaly_of(SLICE_LIT("t"), labels_at(i, other), &anomalies[i]);
    for (int i = 0; i < SETS; i += 5) { /* 5: each value of each label, with each of the others */
        const struct labels l = labels_at(i, one);
        const bool named = labels_get(l, "alertname").len > 0;
        struct silence_matchers list;
        silence_matchers_of(l, &list);
        CLEANUP(matchers_free) struct matchers *m = silence_matchers_compile(&list, NULL);
        assert_non_null(m);
        assert_true(matchers_match(m, l));
        for (int k = 0; k < SETS; k++) {
            const bool same =
                memcmp(anomalies[i].key, anomalies[k].key, sizeof(anomalies[i].key)) == 0;
            const struct labels o = labels_at(k, other);
            const bool held = matchers_match(m, o);
            if (held ? !same : same && named && alike(l, o, "job") && alike(l, o, "reason"))
                fail_msg("set %d %s set %d", i, held ? "silences" : "does not silence", k);
        }
    }
    free(anomalies);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds_for_the_anomaly_and_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
