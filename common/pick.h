/*
 * A pick says what text of a JSON body is wanted, as an operator writes it in the configuration:
 *
 *   /build/status                       what this JSON pointer leads to, from the top of the body
 *   ./status                            the same from the element at hand of a loop, which is "."
 *   "Build {/build/number} of {/name}"  a text with such in it
 *   [/build/url, ./url, none]           the first of these that finds something
 *   {from: /status, values: {OK: resolved, BAD: firing}, default: ignore}      its word in ours
 *   {text: "/etc/{x}"}                  a text in which nothing is a pointer
 *
 * Strings, numbers, true and false are text; anything else is nothing, and so is a text of which
 * one pointer finds nothing. A word that `values` does not list stays as it is, unless `default`
 * says what becomes of every other; nothing stays nothing.
 *
 * Loaded once, and owned by the configuration. Picking is pure and bounded: by the size of the
 * configuration, and each text by the cap of an annotation.
 */
#pragma once

#include "common/pointer.h"
#include "common/source_decode.h"

struct pick;

/* What pointers start from. Without a loop the element is the body. */
struct pick_scope {
    const json_t *body, *element;
    const char *each; /* the loop's pointer as it was written; NULL: none */
    size_t index;
};

/* Does a text of the configuration stand for a pointer? */
bool pick_is_pointer(const char *text);

/* A pointer as a pick writes it, to any value. */
struct pick_pointer {
    const char *text;
    struct pointer p;
    bool of_element;
};
int pick_pointer_load(struct conf *c, const struct yaml *node, struct pick_pointer *ret,
                      struct err *e) MUST_CHECK;
const json_t *pick_pointer_get(const struct pick_pointer *p, const struct pick_scope *at);

/* -EINVAL with file:line:column. */
int pick_load(struct conf *c, const struct yaml *node, const struct pick **ret,
              struct err *e) MUST_CHECK;
/* -EINVAL with file:line:column of a word that it can say by itself and `known` does not know;
 * `expected`: those that it does. */
int pick_words(const struct pick *p, bool (*known)(struct slice word), const char *expected,
               struct err *e) MUST_CHECK;
/* Has it no pointer in it? Then it always says the same. */
bool pick_is_constant(const struct pick *p);

/* "" when it finds nothing. */
struct slice pick_text(struct decoder *d, const struct pick *p, const struct pick_scope *at);
/* Why it does not: "/name finds an object in the body, ./title finds nothing in /alerts/3". */
void pick_explain(const struct pick *p, const struct pick_scope *at, struct buf *b);
/* "the body", "/alerts/3". */
void pick_place(const struct pick_scope *at, bool of_element, struct buf *b);
