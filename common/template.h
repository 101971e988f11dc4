/*
 * Mustache as notifications need it: {{x}} {{{x}}} {{&x}} {{#x}} {{^x}} {{/x}} {{! }}, dotted
 * names, the implicit iterator {{.}}, and standalone lines as in the Mustache spec. No partials,
 * lambdas or delimiter changes: using one is a compile error. false, null, "" and [] are false to a
 * section; a number is not. A list or object as {{x}} is its JSON text. Compiled once when the
 * configuration is loaded, so that a bad template stops the start and not a page at three in the
 * morning. Pure: no I/O; look-ups only; output is never parsed again.
 */
#pragma once

#include <jansson.h>

#include "common/arena.h"

struct template;

/* What {{x}} does to a value; {{{x}}} never escapes. ANGLE: & < > only (Slack). MARKDOWN: where
 * a backslash escapes nothing (WeCom, DingTalk, Feishu). BACKSLASH: where it does (Discord,
 * Mattermost). JSON: inside of a string. */
enum escape {
    ESCAPE_NONE,
    ESCAPE_ANGLE,
    ESCAPE_HTML,
    ESCAPE_MARKDOWN,
    ESCAPE_BACKSLASH,
    ESCAPE_JSON
};

/* NULL with line:column in `e` on a syntax error, which more than 16 nested sections are too. */
struct template *template_compile(const char *text, struct err *e) MUST_CHECK;
void template_free(struct template *t);

/* NUL-terminated text in the arena; NULL past its cap or past 1 MiB. Missing names render as
 * nothing. */
const char *template_render(const struct template *t, const json_t *data, enum escape escape,
                            struct arena *a, size_t *ret_len) MUST_CHECK;

CLEANUP_DEFINE(struct template *, template_free);
