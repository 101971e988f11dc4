/*
 * The languages that people are written to in. What is said in each stands with who says it
 * (notifier/words.c, console/act_words.c): an array by this.
 */
#pragma once

#include <stdbool.h>

#include "common/slice.h"

#define LOCALE_LIST(X)                                                                             \
    X(EN, "en")                                                                                    \
    X(ZH_CN, "zh-CN")                                                                              \
    X(ZH_TW, "zh-TW")

enum locale {
#define X(id, name) LOCALE_##id,
    LOCALE_LIST(X)
#undef X
        LOCALES
};

/* All names, each after a space; for messages to people who misspelt one. */
#define LOCALE_NAME_(id, name) " " name
#define LOCALE_NAMES LOCALE_LIST(LOCALE_NAME_)

const char *locale_name(enum locale l);
/*
 * Of a language tag in any case, with '-' or '_': "zh-TW", "zh_hant", "en-GB". Chinese is read in
 * traditional characters in Taiwan, Hong Kong and Macau, unless the tag says "Hans", and in
 * simplified ones elsewhere. False: nothing is written in that language here.
 */
bool locale_find(struct slice tag, enum locale *ret);
