/*
 * The unified message for mark-up that differs in its marks only, as Mustache text. Layouts know no
 * language: names and notes come from the model, docs/templates.md. B and E stand around what is
 * bold, EOL ends a line before its line feed, NOTE and NOTE_E stand around a note, LINK is the last
 * line.
 */
#pragma once

/* Before the details: one line of links by which one acts. LINK is one of them. */
#define LAYOUT_ACTS(LINK, EOL)                                                                     \
    "{{#has_acts}}\n"                                                                              \
    "{{#acts}}{{sep}}" LINK "{{/acts}}" EOL "\n"                                                   \
    "{{/has_acts}}\n"

/* What stands below the headline. */
#define LAYOUT_BODY(B, E, EOL, NOTE, NOTE_E, LINK)                                                 \
    "{{#origin}}\n" B "{{name}}" E "{{word.colon}}{{value}}" EOL "\n"                              \
    "{{/origin}}\n"                                                                                \
    "\n"                                                                                           \
    "{{#details}}\n" B "{{name}}" E "{{word.colon}}{{value}}" EOL "\n"                             \
    "{{/details}}\n"                                                                               \
    "{{#lines}}\n"                                                                                 \
    "{{emoji}} {{text}}" EOL "\n"                                                                  \
    "{{/lines}}\n"                                                                                 \
    "{{#more}}\n"                                                                                  \
    "{{more}}" EOL "\n"                                                                            \
    "{{/more}}\n"                                                                                  \
    "{{#notes}}\n" NOTE "{{.}}" NOTE_E EOL "\n"                                                    \
    "{{/notes}}\n"                                                                                 \
    "{{#link}}\n" LINK EOL "\n"                                                                    \
    "{{/link}}\n"

#define LAYOUT(B, E, EOL, NOTE, NOTE_E, LINK)                                                      \
    B "{{headline}}" E EOL "\n"                                                                    \
      "{{rule}}" EOL "\n" LAYOUT_BODY(B, E, EOL, NOTE, NOTE_E, LINK)

/* What changed, for whom has the first message: when, why, which alerts of a group. */
#define LAYOUT_NEWS_BODY(EOL, NOTE, NOTE_E, LINK)                                                  \
    "{{#time}}\n"                                                                                  \
    "{{word.time}}{{word.colon}}{{time}}" EOL "\n"                                                 \
    "{{/time}}\n"                                                                                  \
    "{{#is_alerts}}\n"                                                                             \
    "{{#lines}}\n"                                                                                 \
    "{{emoji}} {{text}}" EOL "\n"                                                                  \
    "{{/lines}}\n"                                                                                 \
    "{{#more}}\n"                                                                                  \
    "{{more}}" EOL "\n"                                                                            \
    "{{/more}}\n"                                                                                  \
    "{{/is_alerts}}\n"                                                                             \
    "{{#notes}}\n" NOTE "{{.}}" NOTE_E EOL "\n"                                                    \
    "{{/notes}}\n"                                                                                 \
    "{{#link}}\n" LINK EOL "\n"                                                                    \
    "{{/link}}\n"

#define LAYOUT_NEWS(B, E, EOL, NOTE, NOTE_E, LINK)                                                 \
    B "{{headline}}" E EOL "\n" LAYOUT_NEWS_BODY(EOL, NOTE, NOTE_E, LINK)
