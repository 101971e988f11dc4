/* What Twilio's short messages and calls share: the account, the form, the answer. */
#pragma once

#include "notifier/channel.h"

struct twilio_cfg {
    const char *api_url, *account_sid, *auth_token;
    const char *from, *messaging_service_sid, *to;
    uint32_t repeat; /* calls only */
};

#define TWILIO_KEYS                                                                                \
    CONF(struct twilio_cfg, api_url, CONF_STR, "https://api.twilio.com", 0, "API of Twilio"),      \
        CONF(struct twilio_cfg, account_sid, CONF_STR, NULL, CONF_REQUIRED, "the account, AC..."), \
        CONF(struct twilio_cfg, auth_token, CONF_STR, NULL, CONF_SECRET | CONF_REQUIRED,           \
             "its token"),                                                                         \
        CONF(struct twilio_cfg, to, CONF_STR, NULL, CONF_REQUIRED, "one telephone number, +...")

/* `name`: of the channel, for reasons. */
int twilio_check(const char *name, const struct twilio_cfg *t, struct err *e) MUST_CHECK;
void twilio_destination(const void *cfg, struct buf *out);
void twilio_place(const void *cfg, struct buf *out);

/* Where it is to say what became of this message; NULL: nowhere, or it would not have it. */
const char *twilio_status_url(const struct step_input *in);

struct twilio_field {
    const char *name, *value;
};
/*
 * A POST of the fields that have a value, ended by one without a name, to
 * /Accounts/SID/RESOURCE.json, and its outcome. Where Twilio does not take our StatusCallback it is
 * asked once more without: to be told matters more than to know that one was.
 */
int twilio_step(const char *name, const char *resource, const struct twilio_field *fields,
                const struct step_input *in, struct arena *a, struct step *ret,
                struct err *e) MUST_CHECK;
