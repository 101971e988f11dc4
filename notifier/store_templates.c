/* A template of the user's that gave nothing, so that the plain message was sent: an alert until it
 * gives something. */
#include <errno.h>

#include "common/clock.h"
#include "common/failing.h"
#include "notifier/store_ending.h"
#include "notifier/store_record.h"

#define FAULTLESS_FOR (10 * MS_MINUTE) /* some messages break it, and some do not */

#define TEMPLATE_RECORD(extra)                                                                     \
    ALERT_RECORD("$4", "template", " || ' ' || f.kind", "warning",                                 \
                 "A template of receiver %s gives nothing: %s",                                    \
                 "'alertname', '" FAILING_TEMPLATE "', 'receiver', f.receiver, 'message', f.kind", \
                 extra)

/* A template is judged by kind of message, since what each has differs. */
static const char faults_sql[] =
    "WITH u AS (SELECT DISTINCT ON (receiver, integration, kind) * FROM unnest($1, $2, $3, $5, $6)"
    "  AS u (receiver, integration, channel, kind, why) ORDER BY receiver, integration, kind),"
    " f AS (INSERT INTO failing_templates AS t (receiver, integration, channel, kind, since, "
    "failed_at) SELECT receiver, integration, channel, kind, " CLOCK ", " CLOCK
    "  FROM u ORDER BY receiver, integration, kind"
    "  ON CONFLICT (receiver, integration, kind) DO UPDATE SET failed_at = excluded.failed_at"
    "  RETURNING t.*, t.xmax = 0 AS fresh)" TEMPLATE_RECORD(
        FIRES("u.why")) " FROM f JOIN u USING (receiver, integration, kind) WHERE "
                        "f.fresh";
static const char faultless_sql[] =
    "WITH old AS (SELECT w.receiver, w.integration, w.kind FROM failing_templates w WHERE EXISTS "
    "(SELECT FROM unnest($1, $2, $3, $5) AS u (receiver, integration, channel, kind) WHERE "
    "u.receiver = w.receiver AND u.integration = w.integration AND u.kind = w.kind)"
    " AND w.failed_at < " CLOCK " - $6 ORDER BY w.receiver, w.integration, w.kind FOR UPDATE OF w),"
    " f AS (DELETE FROM failing_templates w USING old WHERE w.receiver = old.receiver"
    "  AND w.integration = old.integration AND w.kind = old.kind RETURNING w.*)" TEMPLATE_RECORD(
        IS_OVER) " FROM f";
static const char forget_templates_sql[] =
    "WITH f AS (DELETE FROM failing_templates w WHERE NOT EXISTS (SELECT FROM unnest($1, $2, $3)"
    "  AS u (receiver, integration, channel) WHERE u.receiver = w.receiver"
    "  AND u.integration = w.integration AND u.channel = w.channel) RETURNING w.*)" TEMPLATE_RECORD(
        IS_OVER) " FROM f";

static struct pg_args *whom(struct arena *a, const struct slice *receivers,
                            const int32_t *integrations, const struct slice *channels, size_t n)
{
    struct pg_args *args = pg_args(a);

    pg_texts(args, receivers, n);
    pg_int4s(args, integrations, n);
    pg_texts(args, channels, n);
    return args;
}

/* Those that were told by a template of the user's: with a fault, or without. */
static int send_templates(struct ending *x, bool faulty, struct err *e)
{
    struct table t;
    int r = table_new(x->a, x->n, &t, e);

    if (r < 0)
        return r;
    for (size_t i = 0; i < x->n; i++) {
        const struct job *j = x->jobs[i];
        if (!x->still[i] || !j->rendered || (j->fault != NULL) != faulty ||
            !outlet_templated(j->outlet))
            continue;
        size_t k = table_add(&t, slice_of(j->outlet->receiver->name), j->id.b);
        t.ints[k] = j->outlet->integration;
        t.texts[k] = slice_of(j->kind);
        t.texts2[k] =
            slice_of(faulty ? arena_printf(x->a, "%s; the plain message is sent", j->fault) : "");
        t.numbers[k] = (int64_t)i;
    }
    if (t.n == 0)
        return 0;
    struct slice *channels = arena_array(x->a, t.n, struct slice);
    if (!channels)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t k = 0; k < t.n; k++)
        channels[k] = slice_of(x->jobs[t.numbers[k]]->outlet->channel->name);
    struct pg_args *args = whom(x->a, t.tenants, t.ints, channels, t.n);
    pg_text(args, slice_of(x->st->s->tenant));
    pg_texts(args, t.texts, t.n);
    if (faulty)
        pg_texts(args, t.texts2, t.n);
    else
        pg_int(args, FAULTLESS_FOR);
    return pg_send(x->st->pg, faulty ? faults_sql : faultless_sql, args, NULL, e);
}

int templates_write(struct ending *x, struct err *e)
{
    int r = send_templates(x, true, e);

    return r < 0 ? r : send_templates(x, false, e);
}

int store_forget_templates(struct store *st, struct err *e)
{
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)1 << 20);
    struct slice *receivers = a ? arena_array(a, st->outlets->n + 1, struct slice) : NULL;
    struct slice *channels = a ? arena_array(a, st->outlets->n + 1, struct slice) : NULL;
    int32_t *integrations = a ? arena_array(a, st->outlets->n + 1, int32_t) : NULL;
    size_t n = 0;

    if (!receivers || !channels || !integrations)
        return err_set(e, -ENOMEM, "out of memory");
    for (size_t i = 0; i < st->outlets->n; i++) {
        const struct outlet *o = &st->outlets->v[i];
        if (!outlet_templated(o))
            continue;
        receivers[n] = slice_of(o->receiver->name);
        channels[n] = slice_of(o->channel->name);
        integrations[n++] = o->integration;
    }
    struct pg_args *args = whom(a, receivers, integrations, channels, n);
    pg_text(args, slice_of(st->s->tenant));
    return pg_query(st->pg, forget_templates_sql, args, NULL, e);
}
