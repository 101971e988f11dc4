/* Short messages by Twilio, to one number: each number's message ends by itself. */
#include <errno.h>

#include "notifier/layout.h"
#include "notifier/twilio.h"

/* Without an emoji, a rule or a mark: one sign beyond the GSM alphabet halves what a part holds. */
static const char layout[] =
    "{{category}}: {{title}}{{#resolved}} ({{word.resolved}}){{/resolved}}\n"
    "{{#is_incident}}\n"
    "{{severity_word}}{{#environment}} {{environment}}{{/environment}}"
    "{{#service}} {{service}}{{/service}}\n"
    "{{/is_incident}}\n"
    "{{#time}}\n"
    "{{time}}\n"
    "{{/time}}\n"
    "{{#lines}}\n"
    "{{text}}\n"
    "{{/lines}}\n"
    "{{#more}}\n"
    "{{more}}\n"
    "{{/more}}\n"
    "{{#notes}}\n"
    "{{.}}\n"
    "{{/notes}}\n"
    "{{#description}}\n"
    "{{description}}\n"
    "{{/description}}\n"
    "{{#link}}\n"
    "{{link}}\n"
    "{{/link}}\n";

static const struct conf_key keys[] = {
    TWILIO_KEYS,
    CONF(struct twilio_cfg, from, CONF_STR, NULL, 0, "sender: a number or name of the account"),
    CONF(struct twilio_cfg, messaging_service_sid, CONF_STR, NULL, 0,
         "instead of from: the service that chooses it, MG..."),
    CONF_END,
};

static int check(void *cfg, const struct check_input *in, struct err *e)
{
    const struct twilio_cfg *t = cfg;
    bool from = t->from && *t->from;
    bool service = t->messaging_service_sid && *t->messaging_service_sid;

    (void)in;
    if (from == service)
        return err_set(e, -EINVAL, "twilio_sms: either from or messaging_service_sid is needed");
    return twilio_check("twilio_sms", t, e);
}

static int step(const struct step_input *in, struct arena *a, struct step *ret, struct err *e)
{
    const struct twilio_cfg *t = in->cfg;
    const struct twilio_field fields[] = {{"To", t->to},
                                          {"From", t->from},
                                          {"MessagingServiceSid", t->messaging_service_sid},
                                          {"Body", in->notification->text},
                                          {"StatusCallback", twilio_status_url(in)},
                                          {NULL, NULL}};

    return twilio_step("twilio_sms", "Messages", fields, in, a, ret, e);
}

const struct channel channel_twilio_sms = {
    .name = "twilio_sms",
    .summary = "Short messages by Twilio",
    .cfg_size = sizeof(struct twilio_cfg),
    .keys = keys,
    .send_resolved = true,
    .reports = true,
    .layout = layout,
    .max_text = 3,
    .unit = UNIT_SMS,
    .max_per_minute = 10, /* nobody reads more of them */
    .burst = 5,
    .check = check,
    .destination = twilio_destination,
    .place = twilio_place,
    .step = step,
};
