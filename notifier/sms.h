/*
 * How many parts a short message takes: 160 signs of the GSM alphabet (GSM 03.38; some count two)
 * or, with one sign that is not in it, 70 of UTF-16; in each of several 153 or 67, since their
 * number stands there too. A sign is not divided. Pure.
 */
#pragma once

#include <stdbool.h>

#include "common/slice.h"

struct sms {
    bool beyond;            /* a sign that GSM does not have */
    size_t gsm, gsm_parted; /* signs; of these in parts, with what is left empty at an end */
    size_t utf16, utf16_parted;
};

/* One character of UTF-8. */
void sms_add(struct sms *m, struct slice character);
/* 0 for an empty message. */
size_t sms_parts(const struct sms *m);
