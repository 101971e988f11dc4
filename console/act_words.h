/* What the page at a signed link says, in each language. */
#pragma once

#include "common/act.h"
#include "common/incident.h"
#include "common/locale.h"

struct act_word {
    const char *question, *explained, *button, *done, *was_done;
};

struct act_words {
    const char *locale;
    struct act_word verbs[ACT_VERBS];
    const char *status[INCIDENT_RESOLVED + 1];
    const char *name_label, *details, *until;
    const char *is_over, *gone;
    const char *forged, *forged_why, *expired, *expired_why;
    const char *wrong_method, *wrong_method_why, *trouble, *trouble_why;
};

const struct act_words *act_words(enum locale l);
