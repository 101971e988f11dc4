/* From reports to locked rows: sort, guess what will change, lock it in the one order. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/locks.h"
#include "processor/work.h"

#define SILENCE_NEAR_MS (10 * MS_SECOND) /* clocks differ */

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
        return batch_too_large(e);
    w->inputs = inputs;
    w->input_n = n;
    for (size_t i = 0; i < n; i++)
        if (!inputs[i].skip)
            sorted[used++] = &inputs[i];
    qsort(sorted, used, sizeof(const struct input *), by_alert);
    w->alerts = arena_array(w->a, used ? used : 1, struct alert_work);
    if (!w->alerts)
        return batch_too_large(e);
    for (size_t i = 1; i <= used; i++) {
        if (i < used && same_alert(sorted[from], sorted[i]))
            continue;
        struct alert_work *al = &w->alerts[w->alert_n++];
        al->row.tenant = sorted[from]->tenant;
        al->row.fingerprint = sorted[from]->event->fingerprint;
        al->inputs = &sorted[from];
        al->input_n = i - from;
        for (size_t k = from; k < i; k++)
            al->acknowledges |= sorted[k]->event->acknowledges;
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
        return batch_too_large(e);
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

/* Rows to read: all, or those that must be ours. */
static struct lock_keys alert_keys(struct work *w,
                                   bool (*which)(const struct work *, const struct alert_work *))
{
    struct slice *tenants = arena_array(w->a, w->alert_n + 1, struct slice);
    int64_t *fps = arena_array(w->a, w->alert_n + 1, int64_t);
    struct lock_keys keys = {.tenants = tenants, .numbers = fps};

    if (!tenants || !fps)
        return (struct lock_keys){0};
    for (size_t i = 0; i < w->alert_n; i++) {
        if (which && !which(w, &w->alerts[i]))
            continue;
        tenants[keys.n] = w->alerts[i].row.tenant;
        fps[keys.n++] = (int64_t)w->alerts[i].row.fingerprint;
    }
    return keys;
}

enum {
    GUESS_TENANT,
    GUESS_FINGERPRINT,
    GUESS_ANOMALY,
    GUESS_INCIDENT,
    GUESS_STATUS,
    GUESS_OCCURRENCES,
    GUESS_FACTS,
    GUESS_STARTS_AT,
    GUESS_ENDED_AT,
    GUESS_LAST_SEEN,
    GUESS_SEVERITY,
    GUESS_QUIET_AT
};

static int read_guess(struct work *w, const PGresult *r, int i, struct err *e)
{
    struct alert_work *al =
        find_alert(w, pg_get_text(r, i, GUESS_TENANT), pg_get_int(r, i, GUESS_FINGERPRINT));
    const unsigned char *incident = pg_get_uuid(r, i, GUESS_INCIDENT);

    if (!al)
        return 0;
    al->known = true;
    take_signature(al, pg_get_text(r, i, GUESS_ANOMALY));
    al->has_incident = incident != NULL;
    if (incident)
        memcpy(al->incident_id.b, incident, sizeof(al->incident_id.b));
    al->row.firing = pg_get_int(r, i, GUESS_STATUS) == ALERT_FIRING;
    al->ever = pg_get_int(r, i, GUESS_OCCURRENCES) > 0;
    al->severity = (enum severity)pg_get_int(r, i, GUESS_SEVERITY);
    al->quiet_at = pg_get_int(r, i, GUESS_QUIET_AT);
    al->remains =
        (struct remains){al->row.firing, pg_get_int(r, i, GUESS_STARTS_AT),
                         pg_get_int(r, i, GUESS_ENDED_AT), pg_get_int(r, i, GUESS_LAST_SEEN)};
    const struct slice facts = pg_get_text(r, i, GUESS_FACTS);
    al->facts = arena_slice(w->a, facts);
    return facts.len > 0 && !al->facts.p ? batch_too_large(e) : 0;
}

int work_guess(struct work *w, struct pg *pg, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    const struct lock_keys keys = alert_keys(w, NULL);
    struct pg_args *p = pg_args(w->a);
    int rc;

    if (w->alert_n == 0)
        return 0;
    if (keys.n == 0)
        return batch_too_large(e);
    pg_texts(p, keys.tenants, keys.n);
    pg_ints(p, keys.numbers, keys.n);
    rc = pg_query(
        pg,
        "SELECT tenant, fingerprint, anomaly_key, incident_id, status, occurrences, facts, "
        "starts_at, ended_at, last_seen, severity, quiet_at FROM alerts "
        "JOIN unnest($1::text[], $2::int8[]) k(tenant, fingerprint) USING (tenant, fingerprint)",
        p, &r, e);
    for (int i = 0; rc == 0 && i < PQntuples(r); i++)
        rc = read_guess(w, r, i, e);
    for (size_t i = 0; rc == 0 && i < w->alert_n; i++) {
        struct alert_work *al = &w->alerts[i];
        rc = al->silent ? 0 : alert_change(w, al, e);
        al->touched = al->silent ? al->known && al->row.firing
                                 : al->changes.n > 0 || al->changes.gone_n > 0 ||
                                       (al->known && al->acknowledges);
    }
    return rc;
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
        return batch_too_large(e);
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
        return batch_too_large(e);
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
        .words = kept(w, r, i, IN_WORDS),
        .crossed = rules_crossed_parse(w->rules, pg_get_text(r, i, IN_RULES)),
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
        return batch_too_large(e);
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
        return batch_too_large(e);
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

    al->locked = true;
    take_signature(al, pg_get_text(r, i, AL_ANOMALY));
    al->row.firing = pg_get_int(r, i, AL_STATUS) == ALERT_FIRING;
    al->has_incident = incident != NULL;
    if (incident) {
        memcpy(al->incident_id.b, incident, 16);
        al->row.incident = find_incident(w, &al->incident_id);
    }
    al->ever = pg_get_int(r, i, AL_OCCURRENCES) > 0;
    al->severity = (enum severity)pg_get_int(r, i, AL_SEVERITY);
    al->quiet_at = pg_get_int(r, i, AL_QUIET_AT);
    al->facts = arena_slice(w->a, pg_get_text(r, i, AL_FACTS));
    al->remains = (struct remains){al->row.firing, pg_get_int(r, i, AL_STARTS_AT),
                                   pg_get_int(r, i, AL_ENDED_AT), pg_get_int(r, i, AL_LAST_SEEN)};
    al->source = kept(w, r, i, AL_SOURCE);
    al->labels_json = kept(w, r, i, AL_LABELS);
}

/* What only repeats itself is not worth a lock, unless somebody may be about to end it for its
 * silence; what has no row has none. */
static bool must_be_ours(const struct work *w, const struct alert_work *al)
{
    const bool seems_over = al->quiet_at > 0 && al->quiet_at <= w->now_ms + SILENCE_NEAR_MS;

    return al->known && (w->cautious || al->touched || al->silent || al->recovered || seems_over);
}

static int load_alerts(struct work *w, struct pg *pg, struct err *e)
{
    CLEANUP(PQclear) PGresult *r = NULL;
    const struct lock_keys keys = alert_keys(w, must_be_ours);

    if (!keys.tenants)
        return batch_too_large(e);
    const int rc = lock_alerts(pg, w->a, &keys, &r, e);
    if (rc < 0)
        return rc;
    for (int i = 0; r && i < PQntuples(r); i++) {
        struct alert_work *al =
            find_alert(w, pg_get_text(r, i, AL_TENANT), pg_get_int(r, i, AL_FINGERPRINT));
        if (al)
            read_alert(w, r, i, al);
    }
    for (size_t i = 0; i < w->alert_n; i++) {
        struct alert_work *al = &w->alerts[i];
        al->row.anomaly = find_anomaly(w, al->row.tenant, al->signature.key);
        if (must_be_ours(w, al) && !al->locked && !al->silent)
            return err_set(e, -EAGAIN, "batch: an alert is gone since the guess");
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
        return batch_too_large(e);
    if (w->anomaly_n > 0 && ((rc = load_anomalies(w, pg, ids, has, e)) < 0 ||
                             (rc = load_incidents(w, pg, ids, has, e)) < 0))
        return rc;
    return load_alerts(w, pg, e);
}
