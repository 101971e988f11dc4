#include "sender.h"

#include "notifier/desk.h"
#include "pause.h"

struct sender {
    struct conf *conf;
    struct settings settings;
    struct outlets *outlets;
    const struct channel *channels[32];
    size_t channel_n;
    struct desk *desk;
};

struct sender *sender_open(struct schema *db, const char *config, const char *who)
{
    struct sender *s = calloc(1, sizeof(*s));
    struct err e = {0};

    assert_non_null(s);
    if (conf_parse("races.yml", config, NULL, &s->conf, &e) < 0 ||
        settings_load(s->conf, &s->settings, &e) < 0 ||
        outlets_load(&s->settings, &s->outlets, &e) < 0)
        fail_msg("%s", e.msg);
    s->settings.postgres = db->settings;
    s->settings.postgres.url = pause_url(db, who, NULL);
    for (; channel_at(s->channel_n); s->channel_n++)
        s->channels[s->channel_n] = channel_at(s->channel_n);
    const struct desk_options o = {&s->settings, s->outlets, s->channels, s->channel_n};
    if (desk_new(&o, &s->desk, &e) < 0)
        fail_msg("%s", e.msg);
    return s;
}

void sender_close(struct sender *s)
{
    desk_free(s->desk);
    outlets_free(s->outlets);
    conf_free(s->conf);
    free(s);
}
