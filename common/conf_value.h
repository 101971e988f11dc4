/* The types of configuration values: text in, a field out. Pure; for conf.c only. */
#pragma once

#include "common/arena.h"
#include "common/buf.h"
#include "common/conf.h"

/* Any type but CONF_STRS into `field`; false when the text does not fit. A string is not copied. */
bool conf_value_parse(const struct conf_key *key, const char *text, void *field) MUST_CHECK;
/* What a key without default is: "", 0, false. */
void conf_value_zero(const struct conf_key *key, void *field);
/* "a whole number", for a message; NULL when out of memory. */
const char *conf_value_expected(const struct conf_key *key, struct arena *a);
/* A YAML scalar that reads back as this string. */
void conf_value_quote(struct buf *b, const char *text);
