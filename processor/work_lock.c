/* From reports to locked rows: sort, guess what will change, lock it in the one order. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/locks.h"
#include "processor/work.h"

struct merge_limits work_limits(const struct work *w)
{
    return (struct merge_limits){.window_ms = w->settings->aggregation.window,
                                 .starts = w->settings->limits.starts,
                                 .marks = w->settings->limits.marks};
}

static int no_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "batch: too large for its memory");
}

/* ---- sorting ---- */

static int by_alert(const void *x, const void *y)
{
    const struct input *a = *(const struct input *const *)x, *b = *(const struct input *const *)y;
    int c = slice_cmp(a->tenant, b->tenant);

    if (c == 0 && a->event->fingerprint != b->event->fingerprint)
        c = (int64_t)a->event->fingerprint < (int64_t)b->event->fingerprint ? -1 : 1;
    return c != 0 ? c : order_cmp(&a->report.order, &b->report.order);
}

static bool same_alert(const struct input *a, const struct input *b)
{
    return a->event->fingerprint == b->event->fingerprint && slice_eq(a->tenant, b->tenant);
}

int work_sort(struct work *w, const struct input *inputs, size_t n, struct err *e)
{
    const struct input **sorted = arena_array(w->a, n ? n : 1, const struct input *);
    size_t used = 0, from = 0;

    if (!sorted)
        return no_memory(e);
    w->inputs = inputs;
    w->input_n = n;
    for (size_t i = 0; i < n; i++)
        if (!inputs[i].skip)
            sorted[used++] = &inputs[i];
    qsort(sorted, used, sizeof(const struct input *), by_alert);
    w->alerts = arena_array(w->a, used ? used : 1, struct alert_work);
    if (!w->alerts)
        return no_memory(e);
    for (size_t i = 1; i <= used; i++) {
        if (i < used && same_alert(sorted[from], sorted[i]))
            continue;
        struct alert_work *al = &w->alerts[w->alert_n++];
        al->row.tenant = sorted[from]->tenant;
        al->row.fingerprint = sorted[from]->event->fingerprint;
        al->inputs = &sorted[from];
        al->input_n = i - from;
        anomaly_of(al->row.tenant, sorted[from]->event->labels, &al->signature);
        from = i;
    }
    return 0;
}

static int silence_cmp(const void *x, const void *y)
{
    const struct silence *a = x, *b = y;
    const int c = slice_cmp(a->tenant, b->tenant);

    if (c != 0 || a->fingerprint == b->fingerprint)
        return c;
    return (int64_t)a->fingerprint < (int64_t)b->fingerprint ? -1 : 1;
}

int work_sort_silences(struct work *w, const struct silence *s, size_t n, struct err *e)
{
    struct silence *sorted = arena_array(w->a, n ? n : 1, struct silence);

    w->alerts = arena_array(w->a, n ? n : 1, struct alert_work);
    if (!sorted || !w->alerts)
        return no_memory(e);
    if (n)
        memcpy(sorted, s, n * sizeof(*s));
    qsort(sorted, n, sizeof(*sorted), silence_cmp);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && silence_cmp(&sorted[i - 1], &sorted[i]) == 0)
            continue;
        struct alert_work *al = &w->alerts[w->alert_n++];
        al->row.tenant = sorted[i].tenant;
        al->row.fingerprint = sorted[i].fingerprint;
        al->silent = true;
        al->silence_at = sorted[i].quiet_at;
    }
    return 0;
}

static int find_alert_cmp(const void *key, const void *elem)
{
    const struct silence *k = key;
    const struct alert_work *al = elem;
    const struct silence other = {.tenant = al->row.tenant, .fingerprint = al->row.fingerprint};

    return silence_cmp(k, &other);
}

static struct alert_work *find_alert(struct work *w, struct slice tenant, int64_t fingerprint)
{
    const struct silence key = {.tenant = tenant, .fingerprint = (uint64_t)fingerprint};

    return bsearch(&key, w->alerts, w->alert_n, sizeof(*w->alerts), find_alert_cmp);
}

/* ---- the guess ---- */

static void take_signature(struct alert_work *al, struct slice key)
{
    if (key.len == ANOMALY_KEY_LEN)
        memcpy(al->signature.key, key.p, ANOMALY_KEY_LEN);
}

/* Would these facts change the alert's state? Then its anomaly must be locked. */
static int guess_one(struct work *w, struct alert_work *al, struct slice packed, bool ever,
                     struct err *e)
{
    const struct merge_limits lim = work_limits(w);
    struct facts facts;
    struct report *reports = arena_array(w->a, al->input_n ? al->input_n : 1, struct report);
    size_t n = 0;

    if (!reports)
        return no_memory(e);
    if (facts_unpack(packed, &facts, e) < 0)
        facts_recover(&al->remains, &facts);
    for (size_t i = 0; i < al->input_n; i++)
        if (al->inputs[i]->report.kind != REPORT_NOTE)
            reports[n++] = al->inputs[i]->report;
    if (change_run(&facts, reports, n, ever, &lim, w->a, &al->changes) < 0)
        return no_memory(e);
    al->touched = al->touched || al->changes.n > 0 || al->changes.gone_n > 0;
    return 0;
}

static struct lock_keys alert_keys(struct work *w)
{
    struct slice *tenants = arena_array(w->a, w->alert_n, struct slice);
    int64_t *fps = arena_array(w->a, w->alert_n, int64_t);

    if (!tenants || !fps)
        return (struct lock_keys){0};
    for (size_t i = 0; i < w->alert_n; i++) {
        tenants[i] = w->alerts[i].row.tenant;
        fps[i] = (int64_t)w->alerts[i].row.fingerprint;
    }
    return (struct lock_keys){.tenants = tenants, .numbers = fps, .n = w->alert_n};
}

int work_guess(struct work *w, struct pg *pg, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    const struct lock_keys keys = alert_keys(w);
    struct pg_args *p = pg_args(w->a);

    if (w->alert_n == 0)
        return 0;
    if (keys.n == 0)
        return no_memory(e);
    pg_texts(p, keys.tenants, keys.n);
    pg_ints(p, keys.numbers, keys.n);
    int rc = pg_query(
        pg,
        "SELECT tenant, fingerprint, anomaly_key, incident_id, status, occurrences, facts, "
        "starts_at, ended_at, last_seen FROM alerts "
        "JOIN unnest($1::text[], $2::int8[]) k(tenant, fingerprint) USING (tenant, fingerprint)",
        p, &r, e);
    if (rc < 0)
        return rc;
    for (int i = 0; i < PQntuples(r); i++) {
        struct alert_work *al = find_alert(w, pg_get_text(r, i, 0), pg_get_int(r, i, 1));
        if (!al)
            continue;
        al->known = true;
        take_signature(al, pg_get_text(r, i, 2));
        const unsigned char *incident = pg_get_uuid(r, i, 3);
        al->has_incident = incident != NULL;
        if (incident)
            memcpy(al->incident_id.b, incident, sizeof(al->incident_id.b));
        al->remains = (struct remains){pg_get_int(r, i, 4) == ALERT_FIRING, pg_get_int(r, i, 7),
                                       pg_get_int(r, i, 8), pg_get_int(r, i, 9)};
        if (al->silent)
            al->touched = al->remains.firing;
        else if ((rc = guess_one(w, al, pg_get_text(r, i, 6), pg_get_int(r, i, 5) > 0, e)) < 0)
            return rc;
    }
    for (size_t i = 0; i < w->alert_n; i++)
        if (!w->alerts[i].known && !w->alerts[i].silent &&
            (rc = guess_one(w, &w->alerts[i], (struct slice){NULL, 0}, false, e)) < 0)
            return rc;
    return 0;
}

/* ---- locking ---- */

static int anomaly_cmp(const void *x, const void *y)
{
    const struct anomaly_state *a = x, *b = y;
    const int c = slice_cmp(a->tenant, b->tenant);

    return c != 0 ? c : memcmp(a->id.key, b->id.key, ANOMALY_KEY_LEN);
}

static struct anomaly_state *find_anomaly(struct work *w, struct slice tenant,
                                          const unsigned char *key)
{
    struct anomaly_state k = {.tenant = tenant};

    memcpy(k.id.key, key, ANOMALY_KEY_LEN);
    return bsearch(&k, w->anomalies, w->anomaly_n, sizeof(*w->anomalies), anomaly_cmp);
}

static struct room *room_of(struct work *w, struct slice tenant)
{
    for (size_t i = 0; i < w->room_n; i++)
        if (slice_eq(w->rooms[i].tenant, tenant))
            return &w->rooms[i];
    return NULL;
}

static struct anomaly overflow_of(struct slice tenant)
{
    const struct label name = {SLICE_LIT("alertname"), SLICE_LIT(OVERFLOW_ALERT)};
    struct anomaly an;

    anomaly_of(tenant, (struct labels){&name, 1}, &an);
    return an;
}

static size_t sort_anomalies(struct anomaly_state *v, size_t n)
{
    size_t kept = 0;

    qsort(v, n, sizeof(*v), anomaly_cmp);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || anomaly_cmp(&v[kept - 1], &v[i]) != 0)
            v[kept++] = v[i];
    return kept;
}

/* The overflow's anomaly of each tenant that may not have room for all of these. */
static size_t add_overflows(struct work *w, size_t n)
{
    const size_t touched = n;

    for (size_t i = 0; i < w->room_n && touched > 0; i++)
        if (w->rooms[i].left < (int64_t)touched)
            w->anomalies[n++] = (struct anomaly_state){.tenant = w->rooms[i].tenant,
                                                       .id = overflow_of(w->rooms[i].tenant)};
    return sort_anomalies(w->anomalies, n);
}

static void assign_rooms(struct work *w)
{
    for (size_t i = 0; i < w->room_n; i++) {
        const struct anomaly id = overflow_of(w->rooms[i].tenant);
        w->rooms[i].overflow = find_anomaly(w, w->rooms[i].tenant, id.key);
    }
    for (size_t i = 0; i < w->anomaly_n; i++) {
        struct room *room = room_of(w, w->anomalies[i].tenant);
        if (room && room->overflow != &w->anomalies[i])
            w->anomalies[i].room = room;
    }
}

/* The distinct anomalies of touched alerts, sorted. */
static int collect_anomalies(struct work *w, struct err *e)
{
    size_t n = 0;

    w->anomalies = arena_array(w->a, w->alert_n + w->room_n + 1, struct anomaly_state);
    if (!w->anomalies)
        return no_memory(e);
    for (size_t i = 0; i < w->alert_n; i++)
        if (w->alerts[i].touched)
            w->anomalies[n++] = (struct anomaly_state){.tenant = w->alerts[i].row.tenant,
                                                       .id = w->alerts[i].signature};
    w->anomaly_n = add_overflows(w, sort_anomalies(w->anomalies, n));
    assign_rooms(w);
    return 0;
}

static int insert_anomalies(struct work *w, struct pg *pg, struct lock_keys *ret, struct err *e)
{
    const size_t n = w->anomaly_n;
    struct slice *v = arena_array(w->a, n * 6, struct slice);
    struct pg_args *p = pg_args(w->a);

    if (!v)
        return no_memory(e);
    for (size_t i = 0; i < n; i++) {
        const struct anomaly_state *an = &w->anomalies[i];
        v[i] = an->tenant;
        v[n + i] = (struct slice){(const char *)an->id.key, ANOMALY_KEY_LEN};
        v[2 * n + i] = an->id.alert_name.p ? an->id.alert_name : SLICE_LIT("");
        v[3 * n + i] = an->id.service.p ? an->id.service : SLICE_LIT("");
        v[4 * n + i] = an->id.namespace.p ? an->id.namespace : SLICE_LIT("");
        v[5 * n + i] = an->id.error_type.p ? an->id.error_type : SLICE_LIT("");
    }
    *ret = (struct lock_keys){.tenants = v, .keys = v + n, .n = n};
    pg_texts(p, v, n);
    pg_byteas(p, v + n, n);
    for (size_t c = 2; c < 6; c++)
        pg_texts(p, v + c * n, n);
    return pg_query(pg,
                    "INSERT INTO anomalies (tenant, key, alert_name, service, namespace, "
                    "error_type, first_seen, last_seen) "
                    "SELECT k.*, 0, 0 FROM unnest($1::text[], $2::bytea[], $3::text[], $4::text[], "
                    "$5::text[], $6::text[]) k "
                    "ORDER BY 1, 2 ON CONFLICT DO NOTHING",
                    p, NULL, e);
}

static int load_anomalies(struct work *w, struct pg *pg, struct uuid *ids, bool *has, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    struct lock_keys keys;
    int rc = insert_anomalies(w, pg, &keys, e);

    if (rc == 0)
        rc = lock_anomalies(pg, w->a, &keys, &r, e);
    if (rc < 0)
        return rc;
    for (int i = 0; i < PQntuples(r); i++) {
        struct anomaly_state *an = find_anomaly(w, pg_get_text(r, i, AN_TENANT),
                                                (const unsigned char *)pg_get_text(r, i, AN_KEY).p);
        const unsigned char *incident = pg_get_uuid(r, i, AN_INCIDENT);
        if (!an)
            continue;
        an->first_seen = pg_get_int(r, i, AN_FIRST_SEEN);
        an->last_seen = pg_get_int(r, i, AN_LAST_SEEN);
        an->occurrences = pg_get_int(r, i, AN_OCCURRENCES);
        an->version = pg_get_int(r, i, AN_VERSION);
        if ((rc = frequency_unpack(pg_get_text(r, i, AN_FREQUENCY), &an->frequency, e)) < 0)
            return rc;
        has[an - w->anomalies] = incident != NULL;
        if (incident)
            memcpy(ids[an - w->anomalies].b, incident, 16);
    }
    return 0;
}

static int incident_cmp(const void *x, const void *y)
{
    return uuid_cmp(&((const struct incident *)x)->id, &((const struct incident *)y)->id);
}

static struct incident *find_incident(struct work *w, const struct uuid *id)
{
    const struct incident key = {.id = *id};

    return w->incident_n ? bsearch(&key, w->incidents, w->incident_n, sizeof(key), incident_cmp)
                         : NULL;
}

static struct slice kept(struct work *w, const PGresult *r, int row, int col)
{
    const struct slice s = arena_slice(w->a, pg_get_text(r, row, col));

    return s.p ? s : SLICE_LIT("");
}

static void read_incident(struct work *w, const PGresult *r, int i, struct incident *in)
{
    *in = (struct incident){
        .tenant = kept(w, r, i, IN_TENANT),
        .status = (enum incident_status)pg_get_int(r, i, IN_STATUS),
        .resolved_by = (enum resolved_by)pg_get_int(r, i, IN_RESOLVED_BY),
        .severity = (enum severity)pg_get_int(r, i, IN_SEVERITY),
        .level = (enum escalation_level)pg_get_int(r, i, IN_LEVEL),
        .opened_level = (enum escalation_level)pg_get_int(r, i, IN_OPENED_LEVEL),
        .episode = (int32_t)pg_get_int(r, i, IN_EPISODE),
        .alerts_firing = (int32_t)pg_get_int(r, i, IN_FIRING),
        .alerts_total = (int32_t)pg_get_int(r, i, IN_TOTAL),
        .occurrences = pg_get_int(r, i, IN_OCCURRENCES),
        .opened_at = pg_get_int(r, i, IN_OPENED_AT),
        .episode_at = pg_get_int(r, i, IN_EPISODE_AT),
        .updated_at = pg_get_int(r, i, IN_UPDATED_AT),
        .resolved_at = pg_get_int(r, i, IN_RESOLVED_AT),
        .window_start = pg_get_int(r, i, IN_WINDOW_START),
        .last_seen = pg_get_int(r, i, IN_LAST_SEEN),
        .impact_users = pg_get_int(r, i, IN_IMPACT_USERS),
        .impact_events = pg_get_int(r, i, IN_IMPACT_EVENTS),
        .title = kept(w, r, i, IN_TITLE),
        .source = kept(w, r, i, IN_SOURCE),
        .environment = kept(w, r, i, IN_ENVIRONMENT),
        .owner = kept(w, r, i, IN_OWNER),
        .alert_name = kept(w, r, i, IN_ALERT_NAME),
        .service = kept(w, r, i, IN_SERVICE),
    };
    memcpy(in->id.b, pg_get_uuid(r, i, IN_ID), 16);
}

/* Incidents that may change: the anomalies' own, and those that touched alerts are part of. */
static int load_incidents(struct work *w, struct pg *pg, const struct uuid *ids, const bool *has,
                          struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    const size_t max = w->anomaly_n + w->alert_n;
    struct slice *tenants = arena_array(w->a, max, struct slice);
    struct uuid *keys = arena_array(w->a, max, struct uuid);
    size_t n = 0;

    if (!tenants || !keys)
        return no_memory(e);
    for (size_t i = 0; i < w->anomaly_n; i++) {
        if (has[i]) {
            tenants[n] = w->anomalies[i].tenant;
            keys[n++] = ids[i];
        }
    }
    for (size_t i = 0; i < w->alert_n; i++) {
        if (w->alerts[i].touched && w->alerts[i].has_incident) {
            tenants[n] = w->alerts[i].row.tenant;
            keys[n++] = w->alerts[i].incident_id;
        }
    }
    const struct lock_keys k = {.tenants = tenants, .uuids = keys[0].b, .n = n};
    const int rc = lock_incidents(pg, w->a, &k, &r, e);
    if (rc < 0 || n == 0)
        return rc;
    w->incidents = arena_array(w->a, (size_t)PQntuples(r) + 1, struct incident);
    if (!w->incidents)
        return no_memory(e);
    for (int i = 0; i < PQntuples(r); i++)
        read_incident(w, r, i, &w->incidents[w->incident_n++]);
    qsort(w->incidents, w->incident_n, sizeof(*w->incidents), incident_cmp);
    for (size_t i = 0; i < w->anomaly_n; i++)
        if (has[i])
            w->anomalies[i].incident = find_incident(w, &ids[i]);
    return 0;
}

static void read_alert(struct work *w, const PGresult *r, int i, struct alert_work *al)
{
    const unsigned char *incident = pg_get_uuid(r, i, AL_INCIDENT);

    take_signature(al, pg_get_text(r, i, AL_ANOMALY));
    al->row.anomaly = find_anomaly(w, al->row.tenant, al->signature.key);
    al->row.firing = pg_get_int(r, i, AL_STATUS) == ALERT_FIRING;
    al->row.incident = NULL;
    al->has_incident = incident != NULL;
    if (incident) {
        memcpy(al->incident_id.b, incident, 16);
        al->row.incident = find_incident(w, &al->incident_id);
    }
    al->known = true;
    al->ever = pg_get_int(r, i, AL_OCCURRENCES) > 0;
    al->severity = (enum severity)pg_get_int(r, i, AL_SEVERITY);
    al->quiet_at = pg_get_int(r, i, AL_QUIET_AT);
    al->packed = arena_slice(w->a, pg_get_text(r, i, AL_FACTS));
    al->remains = (struct remains){al->row.firing, pg_get_int(r, i, AL_STARTS_AT),
                                   pg_get_int(r, i, AL_ENDED_AT), pg_get_int(r, i, AL_LAST_SEEN)};
    al->source = kept(w, r, i, AL_SOURCE);
    al->labels_json = kept(w, r, i, AL_LABELS);
}

/* An alert without a row has no lock but its anomaly's: the insert says whether it was alone. */
static int load_alerts(struct work *w, struct pg *pg, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    const struct lock_keys keys = alert_keys(w);
    const int rc = lock_alerts(pg, w->a, &keys, &r, e);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < w->alert_n; i++) {
        struct alert_work *al = &w->alerts[i];
        al->known = false;
        al->row.anomaly = find_anomaly(w, al->row.tenant, al->signature.key);
    }
    for (int i = 0; r && i < PQntuples(r); i++) {
        struct alert_work *al =
            find_alert(w, pg_get_text(r, i, AL_TENANT), pg_get_int(r, i, AL_FINGERPRINT));
        if (al)
            read_alert(w, r, i, al);
    }
    return 0;
}

int work_lock(struct work *w, struct pg *pg, struct err *e)
{
    int rc = collect_anomalies(w, e);

    if (rc < 0)
        return rc;
    struct uuid *ids = arena_array(w->a, w->anomaly_n + 1, struct uuid);
    bool *has = arena_array(w->a, w->anomaly_n + 1, bool);
    if (!ids || !has)
        return no_memory(e);
    if (w->anomaly_n > 0 && ((rc = load_anomalies(w, pg, ids, has, e)) < 0 ||
                             (rc = load_incidents(w, pg, ids, has, e)) < 0))
        return rc;
    return load_alerts(w, pg, e);
}
