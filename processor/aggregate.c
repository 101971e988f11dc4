/* The life of an incident as its alerts drive it. */
#include "processor/aggregate.h"

#include <inttypes.h>
#include <string.h>

const char *news_name(enum news_kind k)
{
    static const char *const names[] = {
        [NEWS_OPENED] = "opened",     [NEWS_REOPENED] = "reopened", [NEWS_RECURRED] = "occurrence",
        [NEWS_CROSSED] = "crossing",  [NEWS_SEVERITY] = "severity", [NEWS_ALERT_ENDED] = "ended",
        [NEWS_RESOLVED] = "resolved", [NEWS_RULE] = "rule"};
    return names[k];
}

void news_tell(struct news_list *l, struct news n)
{
    if (l->n == l->cap) {
        const size_t cap = l->cap ? 2 * l->cap : 16;
        struct news *v = arena_array(l->a, cap, struct news);
        if (!v) {
            l->failed = true;
            return;
        }
        if (l->n)
            memcpy(v, l->v, l->n * sizeof(*v));
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = n;
}

static enum severity one_step_up(enum severity s)
{
    return s < SEVERITY_CRITICAL ? s + 1 : s;
}

/* Deterministic, so that replay and a retried batch name the incident alike. */
static struct uuid incident_id(const struct anomaly_state *an, const struct order *cause)
{
    unsigned char sum[SHA256_LEN], text[ANOMALY_KEY_LEN + 16 + 12];
    struct uuid id;

    memcpy(text, an->id.key, ANOMALY_KEY_LEN);
    memcpy(text + ANOMALY_KEY_LEN, cause->request.b, 16);
    for (unsigned i = 0; i < 8; i++)
        text[ANOMALY_KEY_LEN + 16 + i] = (unsigned char)((uint64_t)cause->at >> (8 * i));
    for (unsigned i = 0; i < 4; i++)
        text[ANOMALY_KEY_LEN + 24 + i] = (unsigned char)(cause->index >> (8 * i));
    sha256(text, sizeof(text), sum);
    memcpy(id.b, sum, sizeof(id.b));
    id.b[6] = (unsigned char)((id.b[6] & 0x0f) | 0x80); /* RFC 9562 version 8: ours */
    id.b[8] = (unsigned char)((id.b[8] & 0x3f) | 0x80);
    return id;
}

/* Count one occurrence. The level that the last 24 h now reach, seen from the newest occurrence, so
 * that late ones change no past. */
static enum escalation_level count(struct anomaly_state *an, int64_t at,
                                   const struct frequency_settings *s)
{
    frequency_add(&an->frequency, at);
    an->occurrences++;
    if (an->first_seen == 0 || at < an->first_seen)
        an->first_seen = at;
    if (at > an->last_seen)
        an->last_seen = at;
    an->dirty = true;
    return frequency_level(s, frequency_count(&an->frequency, an->last_seen).h24);
}

static void open_incident(struct incident *i, struct anomaly_state *an, const struct change *c,
                          const struct incident_words *w, enum severity severity)
{
    *i = (struct incident){
        .tenant = an->tenant,
        .id = incident_id(an, &c->order),
        .status = INCIDENT_OPEN,
        .severity = severity,
        .episode = 1,
        .opened_at = c->at,
        .episode_at = c->at,
        .window_start = c->at,
        .impact_users = w->impact_users,
        .impact_events = w->impact_events,
        .title = w->title,
        .description = w->description,
        .source = w->source,
        .environment = w->environment,
        .link = w->link,
        .words = w->words,
        .alert_name = an->id.alert_name,
        .service = an->id.service,
        .namespace = an->id.namespace,
        .error_type = an->id.error_type,
        .anomaly = an,
        .is_new = true,
        .dirty = true,
    };
    an->incident = i;
    an->dirty = true;
}

static void reopen(struct incident *i, int64_t at)
{
    i->status = INCIDENT_OPEN;
    i->resolved_by = 0;
    i->resolved_at = 0;
    i->episode++;
    i->episode_at = at;
    i->crossed = 0;
    i->owner = (struct slice){"", 0};
}

/* An alert enters its anomaly's incident; leaving another (resolved meanwhile) behind. */
static void join(struct alert_row *alert, struct incident *i)
{
    const bool moves = alert->incident != i;

    if (moves && alert->incident && alert->firing) {
        alert->incident->alerts_firing--;
        alert->incident->dirty = true;
    }
    i->alerts_total += moves;
    i->alerts_firing += moves || !alert->firing;
    alert->incident = i;
}

static void cross(struct incident *i, enum escalation_level reached, struct news base,
                  struct news_list *news)
{
    while (i->level < reached) {
        i->level++;
        base.kind = NEWS_CROSSED;
        base.level = i->level;
        base.count_24h =
            frequency_count(&base.alert->anomaly->frequency, base.alert->anomaly->last_seen).h24;
        base.severity_before = i->severity;
        i->severity = one_step_up(i->severity);
        base.severity = i->severity;
        news_tell(news, base);
    }
}

/* The opening message tells the level it opens at; only a level first reached by this very
 * occurrence raises the severity. */
static void open_at_level(struct incident *i, enum escalation_level before,
                          enum escalation_level reached)
{
    for (enum escalation_level l = before; l < reached; l++)
        i->severity = one_step_up(i->severity);
    i->level = i->opened_level = reached;
}

/* Begun and over before the incident was, and known only now: it counts, but opens nothing again.
 */
static bool joins_past(const struct incident *i, const struct change *c)
{
    return c->past && i && i->status == INCIDENT_RESOLVED && c->at <= i->resolved_at;
}

static bool is_past(const struct incident *i, const struct change *c,
                    const struct aggregate_rules *rules)
{
    return !i || (i->status == INCIDENT_RESOLVED && c->at - i->resolved_at > rules->window_ms);
}

/* Whose incident an occurrence joins: the anomaly's own, or past the limit the overflow's; and a
 * firing alert stays where it is while that is open. */
static struct anomaly_state *home_of(const struct alert_row *alert, const struct change *c,
                                     const struct aggregate_rules *rules, struct incident **ret)
{
    struct anomaly_state *own = alert->anomaly;
    const struct room *room = own->room;

    *ret = own->incident;
    if (alert->firing && alert->incident && alert->incident->status != INCIDENT_RESOLVED) {
        *ret = alert->incident;
    } else if (room && room->overflow && room->left <= 0 && is_past(own->incident, c, rules)) {
        *ret = room->overflow->incident;
        return room->overflow;
    }
    return own;
}

/* A manual resolve holds until a new occurrence. */
static bool is_held(const struct incident *i, const struct change *c)
{
    return i && i->status == INCIDENT_RESOLVED && i->resolved_by == RESOLVED_BY_PERSON &&
           !c->counted;
}

/* While a manual resolve holds, the alert is listed as firing all the same. */
static void fire_unheard(struct alert_row *alert, const struct change *c)
{
    if (!alert->incident || c->kind != CHANGE_BEGAN)
        return;
    alert->incident->alerts_firing++;
    alert->incident->dirty = true;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* What an occurrence adds to the incident that it joins. */
static void absorb(struct incident *i, const struct change *c, const struct incident_words *w)
{
    i->dirty = true;
    i->occurrences += c->counted;
    i->last_seen = later(i->last_seen, c->at);
    i->updated_at = later(i->updated_at, c->at);
    if (c->at < i->window_start)
        i->window_start = c->at;
    if (i->words.len == 0)
        i->words = w->words;
    i->impact_users = later(i->impact_users, w->impact_users);
    i->impact_events = later(i->impact_events, w->impact_events);
}

static void began(struct alert_row *alert, const struct change *c, const struct incident_words *w,
                  const struct aggregate_rules *rules, struct news_list *news)
{
    struct anomaly_state *an = alert->anomaly;
    struct incident *i = NULL;
    struct anomaly_state *home = home_of(alert, c, rules, &i);
    const enum severity severity = c->again ? w->severity_again : w->severity;
    struct news n = {.kind = NEWS_RECURRED,
                     .alert = alert,
                     .change = c,
                     .severity = severity,
                     .counted = c->counted};
    enum escalation_level before = LEVEL_NONE, reached;

    if (is_held(an->incident, c) || is_held(i, c)) {
        fire_unheard(alert, c);
        return;
    }
    before = frequency_level(rules->frequency,
                             frequency_count(&an->frequency, later(c->at, an->last_seen)).h24);
    reached = c->counted ? count(an, c->at, rules->frequency) : before;

    if (is_past(i, c, rules)) {
        i = arena_new_of(news->a, struct incident);
        if (!i) {
            news->failed = true;
            return;
        }
        open_incident(i, home, c, w, severity);
        if (home->room)
            home->room->left--;
        open_at_level(i, before, reached);
        n.kind = NEWS_OPENED;
        n.severity = i->severity;
    } else if (i->status == INCIDENT_RESOLVED && !joins_past(i, c)) {
        reopen(i, c->at);
        n.kind = NEWS_REOPENED;
    }
    n.incident = i;
    join(alert, i);
    absorb(i, c, w);
    news_tell(news, n);
    if (severity > i->severity) {
        n.kind = NEWS_SEVERITY;
        n.severity_before = i->severity;
        i->severity = n.severity = severity;
        news_tell(news, n);
    }
    if (reached > i->level && c->counted)
        cross(i, reached, n, news);
}

static void ended(struct alert_row *alert, const struct change *c, struct news_list *news)
{
    struct incident *i = alert->incident;
    struct news n = {.kind = NEWS_ALERT_ENDED, .incident = i, .alert = alert, .change = c};

    if (!i)
        return; /* it fired only inside a manual resolve of an incident that it never joined */
    n.severity = i->severity;
    i->alerts_firing--;
    i->dirty = true;
    if (c->at > i->updated_at)
        i->updated_at = c->at;
    news_tell(news, n);
    if (i->alerts_firing > 0 || i->status == INCIDENT_RESOLVED)
        return;
    i->status = INCIDENT_RESOLVED;
    i->resolved_by = c->by_silence ? RESOLVED_BY_SILENCE : RESOLVED_BY_ALERTS;
    i->resolved_at = i->updated_at; /* the latest end, whichever came to us last */
    n.kind = NEWS_RESOLVED;
    news_tell(news, n);
}

void aggregate_apply(struct alert_row *alert, const struct change *c,
                     const struct incident_words *words, const struct aggregate_rules *rules,
                     struct news_list *news)
{
    if (c->kind == CHANGE_ENDED) {
        if (alert->firing)
            ended(alert, c, news);
        alert->firing = false;
        return;
    }
    if ((c->past || c->kind == CHANGE_AGAIN) && !c->counted)
        return;
    began(alert, c, words, rules, news);
    alert->firing = true;
}

bool aggregate_acknowledge(struct alert_row *alert, int64_t at_ms, struct slice actor)
{
    struct incident *i = alert->incident;

    if (!i || !alert->firing || i->status != INCIDENT_OPEN || i->episode_at > at_ms)
        return false;
    i->status = INCIDENT_ACKNOWLEDGED;
    i->updated_at = later(i->updated_at, at_ms);
    if (actor.len > 0)
        i->owner = actor;
    i->dirty = true;
    return true;
}

void aggregate_uncount(struct alert_row *alert, int64_t at_ms)
{
    struct anomaly_state *an = alert->anomaly;

    frequency_remove(&an->frequency, at_ms);
    an->occurrences -= an->occurrences > 0;
    an->dirty = true;
    if (alert->incident && alert->incident->occurrences > 0) {
        alert->incident->occurrences--;
        alert->incident->dirty = true;
    }
}
