/* A history as a person reads it. */
#include "history.h"

#include <inttypes.h>

static const char *clock_text(int64_t at, char out[32])
{
    const int64_t ms = at - BASE, whole = ms < 0 ? -ms : ms;

    (void)snprintf(out, 32, "%c%" PRId64 ".%03d", ms < 0 ? '-' : '+', whole / 1000,
                   (int)(whole % 1000));
    return out;
}

static void print_report(const struct report *r, FILE *to)
{
    char starts[32], ends[32];

    clock_text(r->starts_at, starts);
    clock_text(r->ends_at, ends);
    if (r->kind == REPORT_FIRING)
        (void)fprintf(to, "fires since %s, promised until %s", r->starts_at ? starts : "now",
                      r->ends_at ? ends : "ever");
    else if (r->kind == REPORT_RESOLVED)
        (void)fprintf(to, "is over since %s", r->ends_at ? ends : "now");
    else if (r->kind == REPORT_OCCURRED)
        (void)fprintf(to, "had event \"%.*s\"", SLICE_FMT(r->event_id));
    else
        (void)fputs(r->kind == REPORT_OPENED ? "was opened" : "has a note", to);
}

void history_print(const struct history *h, FILE *to)
{
    char at[32];

    (void)fprintf(to, "  seconds after the beginning, window %" PRId64 " s, caps %u and %u\n",
                  h->limits.window_ms / 1000, h->limits.starts, h->limits.marks);
    for (size_t i = 0; i < h->n; i++) {
        const struct said *s = &h->v[i];
        const unsigned char *id = s->report.order.request.b;
        (void)fprintf(to, "  %2zu. %-10s %02x%02x%02x%02x.%u p%u alert %u ", i + 1,
                      clock_text(s->report.order.at, at), id[0], id[1], id[2], id[3],
                      s->report.order.index, s->partition, s->alert);
        if (s->input == SAID)
            print_report(&s->report, to);
        else
            (void)fputs(s->input == SILENCE ? "ends by silence" : "'s incident is resolved by hand",
                        to);
        (void)fprintf(to, "%s%s\n", s->earlier ? " (earlier)" : "", s->cut ? " |" : "");
    }
}
