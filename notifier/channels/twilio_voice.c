/*
 * Calls by Twilio: somebody hears what is wrong, in the receiver's language, more than once, and
 * acknowledges it by any key where the message can be acted on. Only what must ring calls.
 */
#include <errno.h>
#include <string.h>

#include "common/template_escape.h"
#include "notifier/twilio.h"

#define TWIML_MAX ((size_t)16 << 10)
#define SAID_MAX 600 /* about a minute; escaped, still within the 4,000 signs of inline TwiML */
#define REPEAT_MAX 5

static const char layout[] =
    "{{category}}. {{severity_word}}. {{title}}.{{#resolved}} {{word.resolved}}.{{/resolved}}"
    "{{#service}} {{word.service}}{{word.colon}}{{service}}.{{/service}}\n"
    "{{#lines}}\n"
    "{{text}}.\n"
    "{{/lines}}\n"
    "{{#more}}\n"
    "{{more}}.\n"
    "{{/more}}\n"
    "{{#notes}}\n"
    "{{.}}\n"
    "{{/notes}}\n";

static const struct conf_key keys[] = {
    TWILIO_KEYS,
    CONF(struct twilio_cfg, from, CONF_STR, NULL, CONF_REQUIRED, "a number of the account"),
    CONF(struct twilio_cfg, repeat, CONF_U32, "2", 0, "how often it is said, at most 5"),
    CONF_END,
};

static int check(void *cfg, const struct check_input *in, struct err *e)
{
    const struct twilio_cfg *t = cfg;

    (void)in;
    if (t->repeat < 1 || t->repeat > REPEAT_MAX)
        return err_set(e, -EINVAL, "twilio_voice: repeat: 1 to %d is expected", REPEAT_MAX);
    return twilio_check("twilio_voice", t, e);
}

/* As Twilio names the language that a text is read in. */
static const char *language(const struct notification *n)
{
    const char *locale = json_string_value(json_object_get(n->data, "locale"));

    return !locale || strcmp(locale, "en") == 0 ? "en-US" : locale;
}

/* Whoever picks up and presses nothing hears it to its end. */
static const char *twiml(const struct twilio_cfg *t, const struct notification *n, struct arena *a)
{
    const char *ack = json_string_value(json_object_get(n->data, "acknowledge_call_url"));
    const char *hint = json_string_value(
        json_object_get(json_object_get(n->data, "word"), "press_to_acknowledge"));
    const char *text = text_line(a, slice_of(n->text), TWIML_MAX);
    CLEANUP(buf_release) struct buf out = BUF_INIT(2 * TWIML_MAX);

    if (!text)
        return NULL;
    buf_puts(&out, "<Response>");
    if (ack && hint) {
        buf_puts(&out, "<Gather numDigits=\"1\" method=\"POST\" timeout=\"5\" action=\"");
        template_escape(&out, slice_of(ack), ESCAPE_HTML);
        buf_puts(&out, "\">");
    }
    buf_printf(&out, "<Say language=\"%s\" loop=\"%u\">%s", language(n), t->repeat, text);
    if (ack && hint)
        buf_printf(&out, " %s</Say></Gather>", hint);
    else
        buf_puts(&out, "</Say>");
    buf_puts(&out, "</Response>");
    return out.failed ? NULL : arena_strndup(a, buf_str(&out), out.len);
}

static int step(const struct step_input *in, struct arena *a, struct step *ret, struct err *e)
{
    const struct twilio_cfg *t = in->cfg;
    const struct twilio_field fields[] = {
        {"To", t->to},
        {"From", t->from},
        {"Twiml", twiml(t, in->notification, a)},
        {"StatusCallback", twilio_status_url(in)}, /* of its end alone, unless asked otherwise */
        {NULL, NULL}};

    if (!fields[2].value)
        return err_set(e, -ENOMEM, "twilio_voice: the message does not fit in its memory");
    return twilio_step("twilio_voice", "Calls", fields, in, a, ret, e);
}

const struct channel channel_twilio_voice = {
    .name = "twilio_voice",
    .summary = "Telephone calls by Twilio",
    .cfg_size = sizeof(struct twilio_cfg),
    .keys = keys,
    .reports = true,
    .rings = true,
    .escape = ESCAPE_HTML,
    .layout = layout,
    .max_text = SAID_MAX,
    .unit = UNIT_SHOWN,
    .max_per_minute = 2,
    .burst = 1,
    .check = check,
    .destination = twilio_destination,
    .place = twilio_place,
    .step = step,
};
