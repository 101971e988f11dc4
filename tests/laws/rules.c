/* The rules of incidents: of such a change, when the incident is so, this comes of it. */
#include "rules.h"

#include "law.h"

/* ---- before ---- */

static struct seen see(const struct incident *i)
{
    return i ? (struct seen){i, *i} : (struct seen){0};
}

static bool is_open(const struct seen *i)
{
    return i->row && i->was.status != INCIDENT_RESOLVED;
}

static bool is_resolved(const struct seen *i)
{
    return i->row && i->was.status == INCIDENT_RESOLVED;
}

static bool is_resolved_by_hand(const struct seen *i)
{
    return is_resolved(i) && i->was.resolved_by == RESOLVED_BY_PERSON;
}

static bool is_long_over(const struct turn *t, const struct seen *i)
{
    return is_resolved(i) && t->change->at - i->was.resolved_at > t->window;
}

/* An alert that fires stays where it is while that is open. */
static bool stays(const struct turn *t)
{
    const struct seen in = see(t->was.incident);

    return t->was.firing && is_open(&in);
}

/* It would have to open an incident of its own anomaly, of which a tenant may have so many. */
static bool needs_room(const struct turn *t)
{
    return t->was.anomaly->room && !stays(t) && (!t->own.row || is_long_over(t, &t->own));
}

static bool lacks_room(const struct turn *t)
{
    return needs_room(t) && t->left <= 0;
}

static const struct incident *target_of(const struct turn *t)
{
    if (t->change->kind == CHANGE_ENDED || stays(t))
        return t->was.incident;
    return lacks_room(t) ? t->was.anomaly->room->overflow->incident : t->own.row;
}

void rules_before(struct turn *ret, const struct alert_row *alert, const struct change *c,
                  const struct news_list *news, int64_t window)
{
    const struct anomaly_state *an = alert->anomaly;

    *ret = (struct turn){.change = c,
                         .alert = alert,
                         .news = news,
                         .window = window,
                         .was = *alert,
                         .own = see(an->incident),
                         .occurrences = an->occurrences,
                         .left = an->room ? an->room->left : 0,
                         .told = news->n};
    ret->target = see(target_of(ret));
}

/* ---- what kind of change ---- */

enum kind {
    OCCURRENCE = 1, /* counted */
    FLAP = 2,       /* fires again, and was counted before */
    UNHEARD = 4,    /* such a flap while a manual resolve holds */
    REPEAT = 8,     /* counted before, and nothing else changes */
    END = 16,
    ANY = 31
};

static enum kind kind_of(const struct turn *t)
{
    const struct change *c = t->change;

    if (c->kind == CHANGE_ENDED)
        return END;
    if (c->counted)
        return OCCURRENCE;
    if (c->past || c->kind == CHANGE_AGAIN)
        return REPEAT;
    return is_resolved_by_hand(&t->own) || is_resolved_by_hand(&t->target) ? UNHEARD : FLAP;
}

/* ---- when ---- */

static bool always(const struct turn *t)
{
    return t != NULL;
}

static bool none_yet(const struct turn *t)
{
    return !t->target.row;
}

static bool while_open(const struct turn *t)
{
    return is_open(&t->target);
}

/* Begun and over before this was known, and before the incident was over. */
static bool over_by_then(const struct turn *t)
{
    return t->change->past && is_resolved(&t->target) && t->change->at <= t->target.was.resolved_at;
}

static bool within_a_window(const struct turn *t)
{
    return is_resolved(&t->target) && !is_long_over(t, &t->target) && !over_by_then(t);
}

static bool at_just_a_window(const struct turn *t)
{
    return within_a_window(t) && t->change->at - t->target.was.resolved_at == t->window;
}

static bool after_a_window(const struct turn *t)
{
    return is_long_over(t, &t->target);
}

static bool with_room(const struct turn *t)
{
    return needs_room(t) && t->left > 0;
}

static bool without_room(const struct turn *t)
{
    return lacks_room(t);
}

static bool opening_none(const struct turn *t)
{
    return t->was.anomaly->room && !(kind_of(t) & (OCCURRENCE | FLAP) && needs_room(t));
}

/* An end of nothing: the alert fired unheard, or does not fire. */
static bool in_none(const struct turn *t)
{
    return !t->was.firing || !t->target.row;
}

static bool before_the_last(const struct turn *t)
{
    return !in_none(t) && (!is_open(&t->target) || t->target.was.alerts_firing > 1);
}

static bool as_the_last(const struct turn *t)
{
    return !in_none(t) && is_open(&t->target) && t->target.was.alerts_firing == 1;
}

static bool as_the_last_known_late(const struct turn *t)
{
    return as_the_last(t) && t->change->at > t->change->order.at;
}

static bool as_the_last_but_not_the_latest(const struct turn *t)
{
    return as_the_last(t) && t->change->at < t->target.was.updated_at;
}

/* ---- what comes of it ---- */

static const struct news *told(const struct turn *t, size_t i)
{
    return t->told + i < t->news->n ? &t->news->v[t->told + i] : NULL;
}

static bool tells_nothing(const struct turn *t)
{
    return !told(t, 0) && t->was.anomaly->occurrences == t->occurrences &&
           t->alert->incident == t->was.incident;
}

/* That first, then nothing but that it made the incident more severe. */
static bool tells(const struct turn *t, enum news_kind kind)
{
    const struct news *n = told(t, 0);

    if (!n || n->kind != kind || n->incident != t->alert->incident ||
        n->counted != t->change->counted)
        return false;
    for (size_t i = 1; (n = told(t, i)); i++)
        if (n->kind != NEWS_SEVERITY && n->kind != NEWS_CROSSED)
            return false;
    return true;
}

static bool target_is_untouched(const struct turn *t)
{
    const struct incident *now = t->target.row, *was = &t->target.was;

    return !now || (now->status == was->status && now->episode == was->episode &&
                    now->resolved_at == was->resolved_at && now->occurrences == was->occurrences);
}

static bool opens(const struct turn *t)
{
    const struct incident *in = t->alert->incident;

    return tells(t, NEWS_OPENED) && in != t->target.row && in->is_new && in->episode == 1 &&
           in->opened_at == t->change->at && target_is_untouched(t);
}

static bool reopens(const struct turn *t)
{
    const struct incident *in = t->alert->incident;

    return tells(t, NEWS_REOPENED) && in == t->target.row && in->status == INCIDENT_OPEN &&
           in->episode == t->target.was.episode + 1 && in->resolved_at == 0;
}

static bool joins(const struct turn *t)
{
    const struct incident *in = t->alert->incident;

    return tells(t, NEWS_RECURRED) && in == t->target.row && in->status == t->target.was.status &&
           in->episode == t->target.was.episode && in->resolved_at == t->target.was.resolved_at;
}

/* The incident's own count before: of one that is joined. */
static int64_t counted_before(const struct turn *t)
{
    return t->alert->incident == t->target.row ? t->target.was.occurrences : 0;
}

static bool counts_once(const struct turn *t)
{
    return t->was.anomaly->occurrences == t->occurrences + 1 &&
           t->alert->incident->occurrences == counted_before(t) + 1;
}

static bool counts_nothing(const struct turn *t)
{
    for (size_t i = 0; told(t, i); i++)
        if (told(t, i)->kind == NEWS_CROSSED || told(t, i)->counted)
            return false;
    return t->was.anomaly->occurrences == t->occurrences &&
           t->alert->incident->occurrences == counted_before(t);
}

static bool takes_a_place(const struct turn *t)
{
    return t->was.anomaly->room->left == t->left - 1 &&
           t->alert->incident->anomaly == t->was.anomaly;
}

static bool takes_no_place(const struct turn *t)
{
    return t->was.anomaly->room->left == t->left;
}

static bool goes_to_the_overflow(const struct turn *t)
{
    return takes_no_place(t) && t->alert->incident->anomaly == t->was.anomaly->room->overflow;
}

static bool only_ends(const struct turn *t)
{
    return told(t, 0) && told(t, 0)->kind == NEWS_ALERT_ENDED && !told(t, 1) &&
           target_is_untouched(t);
}

static bool resolves(const struct turn *t)
{
    const struct incident *in = t->target.row, *was = &t->target.was;
    const int64_t at = t->change->at > was->updated_at ? t->change->at : was->updated_at;

    return told(t, 0) && told(t, 0)->kind == NEWS_ALERT_ENDED && told(t, 1) &&
           told(t, 1)->kind == NEWS_RESOLVED && !told(t, 2) && in->status == INCIDENT_RESOLVED &&
           in->resolved_at == at;
}

/* ---- the rules ---- */

static struct claim {
    unsigned of; /* enum kind */
    bool (*when)(const struct turn *t), (*then)(const struct turn *t);
    const char *says;
    uint64_t kept;
} rules[] = {
    {.of = OCCURRENCE | FLAP,
     .when = none_yet,
     .then = opens,
     .says = "where there was no incident, firing opens one"},
    {.of = OCCURRENCE,
     .when = while_open,
     .then = joins,
     .says = "while the incident is open an occurrence joins it"},
    {.of = FLAP,
     .when = while_open,
     .then = joins,
     .says = "while the incident is open a flap joins it"},
    {.of = OCCURRENCE,
     .when = within_a_window,
     .then = reopens,
     .says = "an occurrence up to a window after the end re-opens the incident"},
    {.of = FLAP,
     .when = within_a_window,
     .then = reopens,
     .says = "a flap up to a window after the end re-opens the incident"},
    {.of = OCCURRENCE | FLAP,
     .when = at_just_a_window,
     .then = reopens,
     .says = "at exactly one window after the end firing still re-opens the incident"},
    {.of = OCCURRENCE,
     .when = after_a_window,
     .then = opens,
     .says = "an occurrence later than a window after the end opens a new incident"},
    {.of = FLAP,
     .when = after_a_window,
     .then = opens,
     .says = "a flap later than a window after the end opens a new incident"},
    {.of = OCCURRENCE,
     .when = over_by_then,
     .then = joins,
     .says = "what was over when the incident was re-opens nothing"},
    {.of = OCCURRENCE,
     .when = always,
     .then = counts_once,
     .says = "an occurrence counts once, where it is told"},
    {.of = FLAP,
     .when = always,
     .then = counts_nothing,
     .says = "a flap counts nothing and crosses nothing"},
    {.of = REPEAT,
     .when = always,
     .then = tells_nothing,
     .says = "what was counted before, and changes nothing, tells nothing"},
    {.of = UNHEARD,
     .when = always,
     .then = tells_nothing,
     .says = "a flap tells nothing while a manual resolve holds"},
    {.of = OCCURRENCE | FLAP,
     .when = with_room,
     .then = takes_a_place,
     .says = "with room an anomaly's incident is its own, and takes one place"},
    {.of = OCCURRENCE | FLAP,
     .when = without_room,
     .then = goes_to_the_overflow,
     .says = "without room it is the overflow's, which takes none"},
    {.of = ANY,
     .when = opening_none,
     .then = takes_no_place,
     .says = "what opens nothing takes and gives no place"},
    {.of = END,
     .when = in_none,
     .then = tells_nothing,
     .says = "an end of what nobody was told of tells nothing"},
    {.of = END,
     .when = before_the_last,
     .then = only_ends,
     .says = "an end resolves nothing while other alerts fire, or what is resolved"},
    {.of = END,
     .when = as_the_last,
     .then = resolves,
     .says = "the end of the last alert resolves the incident"},
    {.of = END,
     .when = as_the_last_known_late,
     .then = resolves,
     .says = "one that became known late resolves it at its own time"},
    {.of = END,
     .when = as_the_last_but_not_the_latest,
     .then = resolves,
     .says = "when a later time was told already, it is over since then"},
};
#define RULES (sizeof(rules) / sizeof(rules[0]))

const char *rules_after(const struct turn *t)
{
    const enum kind kind = kind_of(t);

    for (size_t i = 0; i < RULES; i++) {
        struct claim *r = &rules[i];
        if (!(r->of & kind) || !r->when(t))
            continue;
        if (!r->then(t))
            return r->says;
        r->kept++;
    }
    return NULL;
}

void rules_tried(void)
{
    for (size_t i = 0; i < RULES; i++)
        law_tried(rules[i].says, rules[i].kept);
}
