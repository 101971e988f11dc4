#include "console/perform.h"

#include <errno.h>

#include "common/incident.h"

#define WHO_MAX 80

enum act_check grant_read(const struct console *c, struct slice token, int64_t now_ms,
                          struct arena *a, struct act_grant *ret)
{
    const struct console_settings *s = &c->settings->console;
    const struct act_secrets secrets = {slice_of(s->link_secret), slice_of(s->link_secret_before)};

    return act_read(token, &secrets, now_ms, a, ret);
}

/* One short line of valid UTF-8; what is none is nobody. */
static struct slice name_of(struct arena *a, struct slice who)
{
    size_t from = 0, to = who.len < WHO_MAX ? who.len : WHO_MAX;

    if (who.len == 0 || !utf8_valid(who))
        return SLICE_LIT("");
    while (to < who.len && to > 0 && ((unsigned char)who.p[to] & 0xc0) == 0x80)
        to--;
    char *name = arena_strndup(a, who.p, to);
    for (size_t i = 0; name && i < to; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == '\x7f')
            name[i] = ' ';
    while (name && from < to && name[from] == ' ')
        from++;
    while (name && to > from && name[to - 1] == ' ')
        to--;
    return name ? (struct slice){name + from, to - from} : SLICE_LIT("");
}

/* "Ann (team)", or "team" alone. */
static struct slice actor_of(struct arena *a, const struct act_grant *g, struct slice who)
{
    const struct slice name = name_of(a, who);

    if (name.len == 0)
        return g->receiver.len > 0 ? g->receiver : SLICE_LIT("link");
    return slice_of(arena_printf(a, "%.*s (%.*s)", SLICE_FMT(name), SLICE_FMT(g->receiver)));
}

int perform(struct visit *v, const struct act_grant *g, struct slice who,
            struct incident_silenced *ret, struct err *e)
{
    const struct person_act act = {.to = g->verb == ACT_RESOLVE ? INCIDENT_RESOLVED
                                                                : INCIDENT_ACKNOWLEDGED,
                                   .least = true,
                                   .take = g->verb == ACT_CLAIM,
                                   .actor = actor_of(v->a, g, who),
                                   .at_ms = v->now_ms,
                                   .silence_ms = v->console->settings->console.silence_for};
    int rc;

    if (!act.actor.p)
        return err_set(e, -ENOMEM, "out of memory");
    if (g->verb == ACT_SILENCE)
        rc = incident_silence(v->pg, g->tenant, &g->incident, &act, ret, e);
    else
        rc = incident_act(v->pg, g->tenant, &g->incident, &act, &ret->changed, e);
    /* The request is well formed; it is the incident that does not allow it. */
    return rc == -EINVAL ? err_set(e, -EPERM, "%s", e->msg) : rc;
}
