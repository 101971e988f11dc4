/*
 * Alertmanager's matchers: name="v" name!="v" name=~"re" name!~"re", UTF-8 names, with or without
 * quotes and braces. A regular expression is anchored at both ends. A label that is absent has the
 * value "". Regular expressions are POSIX extended (regcomp), which has no back-tracking blow-up by
 * input; RE2's \d \w \s classes and (?:) (?i) are translated; what cannot be translated is a load
 * error that names it.
 */
#pragma once

#include "common/labels.h"

struct matcher;
struct matchers; /* all must match; empty matches everything */

/* One matcher from text such as `severity=~"critical|warning"`, or several comma-separated in
 * braces. NULL with a reason. */
struct matchers *matchers_parse(struct slice text, struct err *e) MUST_CHECK;
/* name = value, and name =~ value (the `match` and `match_re` maps of old files). */
struct matchers *matchers_new(void) MUST_CHECK;
int matchers_add(struct matchers *m, struct slice name, struct slice value, bool regex,
                 bool negative, struct err *e) MUST_CHECK;
/* Append the parsed text's matchers. */
int matchers_add_text(struct matchers *m, struct slice text, struct err *e) MUST_CHECK;
void matchers_free(struct matchers *m);
CLEANUP_DEFINE(struct matchers *, matchers_free);

bool matchers_match(const struct matchers *m, struct labels l);
/* Canonical text: {a="b",c=~"d"}: for identity of routes and for people. */
void matchers_format(const struct matchers *m, struct buf *out);
