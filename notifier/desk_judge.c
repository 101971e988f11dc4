#include "notifier/desk_judge.h"

#include <errno.h>

#include "common/clock.h"
#include "common/rate.h"
#include "notifier/model.h"
#include "notifier/plan.h"
#include "notifier/told.h"

static void end_as(struct job *j, enum life_event end, const char *reason)
{
    j->end = end;
    j->reason = reason ? reason : "";
}

/* Which ends it tells of alerts, if it is a group's. */
static void judge_ends(const struct job *j, const json_t *told, struct wanted_input *in)
{
    const json_t *about = job_about(j);

    if (json_object_get(j->facts, "incident"))
        return;
    in->untold = told_any_untold(told, j->integration, about);
    /* What waits before it, a repeat at least, is told by it. */
    in->ends_only = told && json_is_true(json_object_get(about, "ends_only")) &&
                    !json_object_get(about, "fallback") &&
                    !json_object_get(j->facts, "earlier_firing_at") &&
                    told_all_firing(told, j->integration, j->state);
}

bool judge_wanted(struct job *j)
{
    const json_t *told = json_object_get(json_object_get(j->facts, "group"), "told");
    const char *status = json_string_value(json_object_get(j->state, "status")), *reason;

    if (!j->outlet) {
        end_as(j, LIFE_GIVE_UP, "the configuration has no such integration any more");
        return true;
    }
    if (*j->outlet->destination->gone) {
        end_as(j, LIFE_GIVE_UP,
               arena_printf(j->a, "not asked again, the channel is gone: %s",
                            j->outlet->destination->gone));
        return true;
    }
    if (j->merge && json_array_size(json_object_get(j->facts, "members")) == 0) {
        end_as(j, LIFE_SUPERSEDE, "newer messages of all its groups were delivered");
        return true;
    }
    if (j->digest && json_array_size(json_object_get(j->facts, "items")) == 0) {
        end_as(j, LIFE_SUPPRESS, "nothing is left of what it had to tell");
        return true;
    }
    const int64_t newer = json_integer_value(json_object_get(j->facts, "newer_delivered"));
    const int64_t delivered = told_delivered_seq(told, j->integration);
    struct wanted_input in = {
        .own_end = j->merge,
        .resolved = status && strcmp(status, "resolved") == 0,
        .send_resolved = j->outlet->send_resolved,
        .rings = j->outlet->channel->rings,
        .by_person = strcmp(j->kind, "status") == 0,
        .by_edit = j->by_edit,
        .edits = j->outlet->channel->edits && j->outlet->channel->edits(j->outlet->cfg) &&
                 json_is_object(json_object_get(j->facts, "reference")),
        .seq = j->seq,
        .delivered_seq = newer > delivered ? newer : delivered,
    };
    judge_ends(j, told, &in);
    enum life_event end = plan_wanted(&in, &reason);
    if (end)
        end_as(j, end, reason);
    j->shrinks = end == LIFE_SUPPRESS && (in.resolved || in.ends_only) &&
                 strcmp(j->kind, "alerts") == 0 && !json_object_get(job_about(j), "fallback");
    return end != 0;
}

static int render(struct job *j, const struct settings *s, struct err *e)
{
    const struct outlet *o = j->outlet;
    size_t max = o->channel->max_text;
    struct style style = {
        .words = o->words,
        .zone = o->zone,
        .external_url = s->external_url ? s->external_url : "",
        .now_ms = j->now_ms,
        .send_resolved = o->send_resolved,
        .max_alerts = j->merge || j->digest ? s->notifier.digest_items : s->limits.message_alerts,
        .secrets = {slice_of(s->console.link_secret), slice_of(s->console.link_secret_before)},
        .link_ttl_ms = s->console.link_ttl,
        .silence_ms = s->console.silence_for,
        .answers_calls = s->console.twilio_auth_token && *s->console.twilio_auth_token,
        .asks_twilio = o->channel->reports && settings_ask_twilio(s),
    };
    struct layout layout = {
        .channel = o->channel,
        .max_text = max && max < s->limits.payload ? max : s->limits.payload,
        .own = o->own,
        .words = o->words,
    };
    json_t *model = model_build(j->facts, &style, j->a);

    j->awaited = style.asks_twilio;
    j->message = (struct notification){
        .id = j->id_text, .group = j->group_text, .created_at = j->created_at, .now = j->now_ms};
    if (!model)
        return err_set(e, -ENOMEM, "the message does not fit in its memory");
    return message_render(o->messages, &layout, model, j->a, &j->message, e);
}

/* What the line of a member, or of an item, is known by. */
static const json_t *known_by(const struct job *j, const json_t *one)
{
    return json_object_get(j->merge ? one : json_object_get(one, "incident"), "id");
}

static bool seen(const struct job *j, const json_t *lines, const json_t *one)
{
    for (size_t k = 0; k < json_array_size(lines); k++)
        if (json_equal(json_object_get(json_array_get(lines, k), j->merge ? "member" : "incident"),
                       known_by(j, one)))
            return true;
    return false;
}

/* Keep only the members, or the items, whose lines the reader sees. */
static bool keep_shown(struct job *j)
{
    const json_t *lines = json_object_get(j->message.data, "lines");
    const char *list = j->merge ? "members" : "items";
    json_t *all = json_object_get(j->facts, list), *shown = json_array(), *one;
    size_t i;

    if (json_integer_value(json_object_get(j->message.data, "more_n")) > 0)
        json_array_foreach (all, i, one)
            if (seen(j, lines, one))
                (void)json_array_append(shown, one);
    if (json_array_size(shown) == 0) {
        json_decref(shown);
        /* It says how many there are: of a merge, of those that were read. */
        return j->merge && json_object_del(j->facts, "unread") == 0;
    }
    (void)json_object_set_new(j->facts, "members_n",
                              json_integer((json_int_t)json_array_size(shown)));
    (void)json_object_set_new(j->facts, list, shown);
    (void)json_object_del(j->facts, "unread");
    return true;
}

/* What is told in another message is taken out of this one's facts; false: nothing is. Programs are
 * given a digest's items whole, as many as are read at once, and never a merge. A telephone would
 * ring thirty times for what can wait for a digest: there the rest stands on the page. */
static bool goes_on(struct job *j)
{
    const struct channel *ch = j->outlet->channel;

    if (j->digest && (ch->rings || ch->unit == UNIT_SMS))
        return false;
    if (j->digest && ch->for_programs)
        return json_object_del(j->facts, "unread") == 0;
    return (j->merge || j->digest) && keep_shown(j);
}

static struct step_input input_of(const struct job *j)
{
    return (struct step_input){
        .cfg = j->outlet->cfg,
        .notification = &j->message,
        .reference = json_object_get(j->facts, "reference"),
        .token = j->token,
        .past = j->past,
        .past_n = j->past_n,
    };
}

static void judge_retry(struct job *j, const struct settings *s, uint64_t random)
{
    const struct notifier_settings *n = &s->notifier;
    const struct outcome *o = &j->step.outcome;
    int64_t tried = j->first_try ? j->ended_at - j->first_try : 0;

    if (tried >= n->retry_for) {
        end_as(j, LIFE_GIVE_UP,
               arena_printf(j->a, "given up after %lld attempts: %s", (long long)j->attempts + 1,
                            o->words));
        return;
    }
    end_as(j, LIFE_RELEASE, o->words);
    int64_t attempt = j->attempts < 30 ? j->attempts : 30;
    j->wait_ms = backoff_full_jitter((uint32_t)attempt, n->retry_base, n->retry_cap, random);
    if (o->wait_ms > j->wait_ms)
        j->wait_ms = o->wait_ms;
    j->limited = o->limited;
}

static void judge_outcome(struct job *j, const struct settings *s, uint64_t random)
{
    const struct outcome *o = &j->step.outcome;

    j->answer = o->words ? o->words : "";
    j->keep = o->keep;
    j->ill = o->verdict == VERDICT_RETRY && !o->limited;
    j->well = o->verdict == VERDICT_DELIVERED || (o->verdict == VERDICT_REJECT && j->status > 0);
    j->unanswered = o->verdict != VERDICT_DELIVERED && j->transfer.unanswered;
    switch (o->verdict) {
    case VERDICT_DELIVERED:
        end_as(j, LIFE_ACCEPT, o->refused ? arena_printf(j->a, "refused for %s", o->refused) : "");
        break;
    case VERDICT_RETRY:
        judge_retry(j, s, random);
        break;
    case VERDICT_REJECT:
        end_as(j, LIFE_GIVE_UP, j->answer);
        j->gone = o->gone;
        break;
    }
}

int judge_render(struct job *j, const struct settings *s, bool *ret_split)
{
    struct err e = {0};

    *ret_split = false;
    job_missed(j);
    int r = render(j, s, &e);
    if (r == 0 && goes_on(j)) {
        *ret_split = true;
        r = render(j, s, &e);
    }
    struct step_input in = input_of(j);
    if (r == 0)
        r = channel_step(j->outlet->channel, &in, j->a, &j->step, &e);
    if (r < 0) {
        const char *why = arena_printf(j->a, "cannot be rendered: %s", e.msg);
        end_as(j, LIFE_GIVE_UP, why ? why : "cannot be rendered: out of memory");
    }
    j->rendered = r == 0;
    j->fault = j->message.fault ? j->message.fault : j->step.request.fault;
    if (r < 0 || !j->step.done)
        return r;
    j->attempted = true;
    j->ended_at = j->now_ms;
    judge_outcome(j, s, 0);
    return 1;
}

bool judge_answer(struct job *j, const struct settings *s, int64_t now_ms, uint64_t random)
{
    struct err e = {0};

    j->past[j->past_n++] = (struct exchange){j->step.request, j->transfer.response};
    j->duration_ms += j->transfer.duration_ms;
    j->status = j->transfer.response.status;
    j->ended_at = j->now_ms + (now_ms - j->loaded_at);
    struct step_input in = input_of(j);
    int r = channel_step(j->outlet->channel, &in, j->a, &j->step, &e);
    bool more = r == 0 && !j->step.done;
    if (more && j->past_n < EXCHANGES_MAX && now_ms + s->notifier.request_timeout < j->lease_ends)
        return true;
    j->attempted = true;
    if (r < 0 || more) /* no time, no memory: what was said so far may count or not, so ask again */
        j->step = (struct step){
            .done = true,
            .outcome = {.verdict = VERDICT_RETRY,
                        .words = r < 0 ? "the answer cannot be read" : "no time left"}};
    judge_outcome(j, s, random);
    return false;
}

void judge_release(struct job *j)
{
    j->silenced = false;
    end_as(j, LIFE_RELEASE, "");
}
