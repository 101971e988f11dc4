#include "notifier/outlets.h"

#include <errno.h>
#include <string.h>

#include "common/locale.h"
#include "notifier/text.h"

#define COMMON_KEYS 4
#define NAMES_MAX 64

/* The keys of every channel's entry. */
struct common_cfg {
    bool send_resolved;
    const char *template;
    uint32_t max_per_minute, burst;
};

/* CONF_SECRET gives `template_file`; and a page of Mustache is nothing for --print-config either.
 */
#define T struct common_cfg
static const struct conf_key common_keys[COMMON_KEYS + 1] = {
    CONF(T, send_resolved, CONF_BOOL, "false", 0, "tell the end too"),
    CONF(T, template, CONF_STR, NULL, CONF_SECRET,
         "Mustache text of the message, docs/templates.md"),
    CONF(T, max_per_minute, CONF_U32, "0", 0,
         "messages to this destination in any minute; 0: no limit"),
    CONF(T, burst, CONF_U32, "0", 0, "of these at once; 0: half"),
    CONF_END,
};
#undef T

/* Names that another reader of the same map knows. */
struct names {
    const char *v[NAMES_MAX + 1];
    size_t n;
    char twins[NAMES_MAX][40];
};

static void names_add(struct names *n, const char *name)
{
    if (n->n < NAMES_MAX)
        n->v[n->n++] = name;
}

static void names_add_keys(struct names *n, const struct conf_key *keys)
{
    for (; keys->name; keys++) {
        names_add(n, keys->name);
        if (keys->flags & CONF_SECRET && n->n < NAMES_MAX) {
            (void)snprintf(n->twins[n->n], sizeof(n->twins[0]), "%s_file", keys->name);
            names_add(n, n->twins[n->n]);
        }
    }
}

static void names_add_list(struct names *n, const char *const *list)
{
    for (size_t i = 0; list && list[i]; i++)
        names_add(n, list[i]);
}

static int load_common(struct conf *c, const struct integration *in, const struct channel *ch,
                       struct common_cfg *ret, struct err *e)
{
    struct conf_key keys[COMMON_KEYS + 1];
    struct names own = {.n = 0};
    char per_minute[12], burst[12];

    memcpy(keys, common_keys, sizeof(keys));
    (void)snprintf(per_minute, sizeof(per_minute), "%u", ch->max_per_minute);
    (void)snprintf(burst, sizeof(burst), "%u", ch->burst);
    /* The table outlives this function where it is printed: its texts belong to the configuration.
     */
    struct conf_key *kept = conf_alloc(c, COMMON_KEYS + 1, sizeof(*kept));
    keys[0].def = ch->send_resolved ? "true" : "false";
    keys[2].def = conf_strdup(c, per_minute);
    keys[3].def = conf_strdup(c, burst);
    if (!kept || !keys[2].def || !keys[3].def)
        return err_set(e, -ENOMEM, "receivers: the configuration is too large");
    memcpy(kept, keys, sizeof(keys));
    names_add_keys(&own, ch->keys);
    names_add_list(&own, ch->foreign);
    names_add_list(&own, ch->trees);
    return conf_node(c, in->node, in->path, kept, own.v, ret, e);
}

static int load_channel(const struct settings *s, const struct global_settings *g,
                        const struct integration *in, struct outlet *o, struct err *e)
{
    struct names others = {.n = 0};
    void *cfg = conf_alloc(s->conf, 1, o->channel->cfg_size);
    int r;

    if (!cfg)
        return err_set(e, -ENOMEM, "receivers: the configuration is too large");
    names_add_keys(&others, common_keys);
    names_add_list(&others, o->channel->foreign);
    names_add_list(&others, o->channel->trees);
    if ((r = conf_node(s->conf, in->node, in->path, o->channel->keys, others.v, cfg, e)) < 0 ||
        (r = warn_foreign(s->conf, in->node, in->path, o->channel->foreign)) < 0)
        return r;
    struct check_input input = {g, s->conf, in->node, in->path};
    struct err why = {0};
    if (o->channel->check && (r = o->channel->check(cfg, &input, &why)) < 0)
        /* A reason that has no place yet gets that of the entry. */
        return strncmp(why.msg, o->channel->name, strlen(o->channel->name)) == 0
                   ? yaml_err(in->node, e, "%s", why.msg)
                   : err_set(e, r, "%s", why.msg);
    o->cfg = cfg;
    return 0;
}

static int find_zone(struct outlets *all, const char *name, const struct zone **ret, struct err *e)
{
    for (size_t i = 0; i < all->zone_n; i++)
        if (strcmp(zone_name(all->zones[i]), name) == 0) {
            *ret = all->zones[i];
            return 0;
        }
    int r = zone_open(name, &all->zones[all->zone_n], e);
    if (r == 0)
        *ret = all->zones[all->zone_n++];
    return r;
}

static const char *first_of(const char *a, const char *b, const char *c)
{
    return a && *a ? a : b && *b ? b : c && *c ? c : "";
}

static int set_style(const struct settings *s, struct outlets *all, const struct integration *in,
                     struct outlet *o, struct err *e)
{
    const char *locale = first_of(o->receiver->locale, o->channel->locale, s->locale);
    const char *zone = first_of(o->receiver->time_zone, s->time_zone, "UTC");

    o->words = words_find(*locale ? locale : "en");
    if (!o->words)
        return yaml_err(in->node, e, "locale %s: one of%s is expected", locale, LOCALE_NAMES);
    if (find_zone(all, zone, &o->zone, e) < 0) {
        struct err why = *e;
        return yaml_err(in->node, e, "%s", why.msg);
    }
    return 0;
}

static int set_template(const struct conf *c, struct outlets *all, const struct integration *in,
                        const char *text, struct outlet *o, struct err *e)
{
    struct err why = {0};
    char key[160];

    if (!text || !*text)
        return 0;
    struct template *t = template_compile(text, &why);
    if (!t) {
        (void)snprintf(key, sizeof(key), "%s.template", in->path);
        return conf_key_err(c, key, e, "in its text at %s", why.msg);
    }
    all->templates[all->template_n++] = t;
    o->own = t;
    return 0;
}

/* A hash, because the row is read by others than may read the address; the address holds enough
 * that nobody can guess it. */
static int set_destination(struct outlets *all, const struct common_cfg *c, struct outlet *o,
                           struct err *e)
{
    CLEANUP(buf_release) struct buf what = BUF_INIT((size_t)64 << 10);
    struct destination d = {.per_minute = c->max_per_minute, .burst = c->burst};

    if (d.per_minute && !d.burst)
        d.burst = d.per_minute / 2 ? d.per_minute / 2 : 1;
    if (d.burst > d.per_minute)
        d.burst = d.per_minute;
    buf_printf(&what, "%s ", o->channel->name);
    o->channel->destination(o->cfg, &what);
    if (what.failed)
        return err_set(e, -ENOMEM, "receivers: an address is too long");
    sha256(what.p, what.len, d.id);
    for (size_t i = 0; i < all->destination_n; i++) {
        struct destination *known = &all->destinations[i];
        if (memcmp(known->id, d.id, sizeof(d.id)) != 0)
            continue;
        if (d.per_minute && (!known->per_minute || d.per_minute < known->per_minute)) {
            known->per_minute = d.per_minute;
            known->burst = d.burst;
        }
        o->destination = known;
        return 0;
    }
    o->destination = &all->destinations[all->destination_n];
    all->destinations[all->destination_n++] = d;
    return 0;
}

static int set_credential(struct outlets *all, struct outlet *o, struct err *e)
{
    CLEANUP(buf_release) struct buf what = BUF_INIT((size_t)64 << 10);
    struct credential new = {.token = ""};

    if (!o->channel->credential)
        return 0;
    buf_printf(&what, "%s ", o->channel->name);
    o->channel->credential(o->cfg, &what);
    if (what.failed)
        return err_set(e, -ENOMEM, "receivers: a secret is too long");
    const struct slice all_of_it = {what.p, what.len};
    hmac_sha256(all_of_it, SLICE_LIT("name of the token"), new.id);
    hmac_sha256(all_of_it, SLICE_LIT("seal of the token"), new.key);
    for (size_t i = 0; i < all->credential_n && !o->credential; i++)
        if (memcmp(all->credentials[i].id, new.id, sizeof(new.id)) == 0)
            o->credential = &all->credentials[i];
    if (!o->credential) {
        o->credential = &all->credentials[all->credential_n++];
        *o->credential = new;
    }
    return 0;
}

static int set_place(struct conf *c, struct outlet *o, struct err *e)
{
    CLEANUP(buf_release) struct buf place = BUF_INIT((size_t)64 << 10);

    o->channel->place(o->cfg, &place);
    if (place.failed)
        return err_set(e, -ENOMEM, "receivers: an address is too long");
    if (place.p)
        place.p[utf8_fit((struct slice){place.p, place.len}, PLACE_MAX)] = '\0';
    o->place = conf_strdup(c, buf_str(&place));
    return o->place ? 0 : err_set(e, -ENOMEM, "receivers: the configuration is too large");
}

static int load_outlet(struct settings *s, struct outlets *all, const struct receiver *r, size_t i,
                       struct err *e)
{
    struct outlet *o = &all->v[all->n];
    struct common_cfg common = {0};
    int rc;

    *o = (struct outlet){.receiver = r,
                         .integration = (int32_t)i,
                         .channel = channel_find(r->v[i].channel),
                         .messages = all->messages};
    if ((rc = load_common(s->conf, &r->v[i], o->channel, &common, e)) < 0 ||
        (rc = load_channel(s, &all->receivers.global, &r->v[i], o, e)) < 0 ||
        (rc = set_style(s, all, &r->v[i], o, e)) < 0 ||
        (rc = set_template(s->conf, all, &r->v[i], common.template, o, e)) < 0 ||
        (rc = set_destination(all, &common, o, e)) < 0 || (rc = set_credential(all, o, e)) < 0 ||
        (rc = set_place(s->conf, o, e)) < 0)
        return rc;
    o->send_resolved = common.send_resolved;
    all->n++;
    return 0;
}

static int allocate(struct outlets *all, struct err *e)
{
    size_t n = 1;

    for (size_t i = 0; i < all->receivers.n; i++)
        n += all->receivers.v[i].n;
    all->v = calloc(n, sizeof(*all->v));
    all->destinations = calloc(n, sizeof(*all->destinations));
    all->credentials = calloc(n, sizeof(*all->credentials));
    all->zones = calloc(n, sizeof(struct zone *));
    all->templates = calloc(n, sizeof(struct template *));
    if (!all->v || !all->destinations || !all->credentials || !all->zones || !all->templates)
        return err_set(e, -ENOMEM, "out of memory");
    return 0;
}

int outlets_load(struct settings *s, struct outlets **ret, struct err *e)
{
    CLEANUP(outlets_free) struct outlets *all = calloc(1, sizeof(*all));
    int r;

    if (!all)
        return err_set(e, -ENOMEM, "out of memory");
    if ((r = receivers_load(s, &all->receivers, e)) < 0 || (r = allocate(all, e)) < 0 ||
        (r = messages_new(&all->messages, e)) < 0)
        return r;
    for (size_t i = 0; i < all->receivers.n; i++)
        for (size_t j = 0; j < all->receivers.v[i].n; j++)
            if ((r = load_outlet(s, all, &all->receivers.v[i], j, e)) < 0)
                return r;
    *ret = TAKE(all);
    return 0;
}

void outlets_free(struct outlets *o)
{
    if (!o)
        return;
    for (size_t i = 0; o->zones && i < o->zone_n; i++)
        zone_free(o->zones[i]);
    for (size_t i = 0; o->templates && i < o->template_n; i++)
        template_free(o->templates[i]);
    messages_free(o->messages);
    free(o->v);
    free(o->destinations);
    free(o->credentials);
    free(o->zones);
    free(o->templates);
    free(o);
}

bool outlet_templated(const struct outlet *o)
{
    return o->own || (o->channel->templated && o->channel->templated(o->cfg));
}

struct outlet *outlet_find(const struct outlets *o, struct slice receiver, int64_t integration,
                           struct slice channel)
{
    for (size_t i = 0; i < o->n; i++)
        if (o->v[i].integration == integration && slice_is(receiver, o->v[i].receiver->name) &&
            slice_is(channel, o->v[i].channel->name))
            return &o->v[i];
    return NULL;
}
