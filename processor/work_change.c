/* What becomes of one alert. */

#include "common/log.h"
#include "common/metrics.h"
#include "processor/work.h"

struct merge_limits work_limits(const struct work *w)
{
    return (struct merge_limits){.window_ms = w->settings->aggregation.window,
                                 .starts = w->settings->limits.starts,
                                 .marks = w->settings->limits.marks};
}

static int take_inputs(struct work *w, struct alert_work *al, struct report **ret, struct err *e)
{
    struct report *reports = arena_array(w->a, al->input_n + 1, struct report);

    al->said = arena_array(w->a, al->input_n + 1, const struct input *);
    al->said_n = 0;
    al->newest = NULL;
    if (!reports || !al->said)
        return batch_too_large(e);
    for (size_t i = 0; i < al->input_n; i++) {
        const struct input *in = al->inputs[i];
        if (in->report.kind == REPORT_NOTE)
            continue;
        if (!al->known && al->said_n == 0)
            al->severity = in->event->severity;
        reports[al->said_n] = in->report;
        al->said[al->said_n++] = in;
        if (in->report.kind != REPORT_RESOLVED)
            al->newest = in;
        if (in->report.order.at > al->last_seen)
            al->last_seen = in->report.order.at;
    }
    *ret = reports;
    return 0;
}

struct counter *work_recovered(void)
{
    return counter_new("tocsin_alert_facts_unreadable_total",
                       "Alerts whose facts nobody could read, judged by what else was known.", "");
}

/* A live alert must not be hidden because of what is remembered of it: go on from what the row
 * says, and write the column anew. */
static void recover(struct alert_work *al, struct facts *ret, const struct err *why)
{
    static struct log_limit limit = {.per_minute = 60};
    char fingerprint[FINGERPRINT_STR];
    uint32_t dropped;

    al->recovered = true;
    facts_recover(&al->remains, ret);
    if (!al->locked)
        return; /* a guess: it is looked at again */
    counter_add(work_recovered(), 1);
    if (log_allow(&limit, &dropped))
        log_error(EV("facts_unreadable"), KV("tenant", al->row.tenant),
                  KV("fingerprint", fingerprint_format(al->row.fingerprint, fingerprint)),
                  KV("reason", why->msg), KV("dropped", dropped));
}

static int run(struct work *w, struct alert_work *al, struct facts *facts, struct err *e)
{
    const struct merge_limits lim = work_limits(w);
    const struct order heard = facts->newest;
    struct report *reports = NULL;

    if (al->silent)
        return change_silence(facts, al->quiet_at, &lim, w->a, &al->changes);
    if (take_inputs(w, al, &reports, e) < 0)
        return e->code;
    if (al->newest && order_cmp(&al->newest->report.order, &heard) < 0)
        al->newest = NULL; /* late: what is written is newer */
    return change_run(facts, reports, al->said_n, al->ever, &lim, w->a, &al->changes);
}

int alert_change(struct work *w, struct alert_work *al, struct err *e)
{
    struct facts facts;

    if (al->silent && (!al->row.firing || al->quiet_at == 0 || al->quiet_at != al->silence_at))
        return 0;
    if (facts_unpack(al->facts, &facts, e) < 0)
        recover(al, &facts, e);
    if (run(w, al, &facts, e) < 0)
        return batch_too_large(e);
    al->packed = facts_pack(&facts, w->a);
    return al->packed.p ? 0 : batch_too_large(e);
}
