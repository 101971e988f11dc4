/*
 * What channels have in common whose other side is a program that keeps an alert or a ticket for
 * each group: its name there, requests with a method and a credential, settings that are texts or
 * maps as they stand.
 */
#pragma once

#include "notifier/channel.h"

/* The name of the thing at the other side: the group, or the message itself where that stands for
 * itself. Stable across retries and restarts: what makes a second request find the first. */
const char *program_key(const struct notification *n);
/* One line without emoji, at most `max` characters and then cut; NULL past the arena's cap. */
const char *program_title(const struct notification *n, size_t max, struct arena *a);
/* A member of the model; of its incident, or a label that all alerts share. "" when absent. */
const char *program_text(const struct notification *n, const char *name);
const char *program_incident(const struct notification *n, const char *name);
const char *program_label(const struct notification *n, const char *name);
/* Is it over; and did a person take it on, which this message tells? */
bool program_over(const struct notification *n);
bool program_taken(const struct notification *n);
/* Have the readers heard nothing of it; and is it over although it was never told? */
bool program_first(const struct notification *n);
bool program_missed(const struct notification *n);

struct ask {
    const char *channel, *method, *url; /* url NULL: past the arena's cap */
    const char *authorization;          /* NULL: none */
    const char *wait_header;
};
/* `doc` as JSON, taking the reference; NULL: a request without a body. */
int program_ask(const struct ask *ask, json_t *doc, struct arena *a, struct request *ret,
                struct err *e) MUST_CHECK;

/* `base` without slashes at its end, then `rest`; NULL past the arena's cap. */
const char *program_url(struct arena *a, const char *base, const char *rest);
/* For a place inside a URL; NULL past the arena's cap. */
const char *program_escape(struct arena *a, const char *s);

/* A text that stands in each message as it is. Alertmanager's files have Go templates there, which
 * mean nothing here: a warning, and *value as if it were not given. */
int program_plain(const struct check_input *in, const char *name, const char **value,
                  struct err *e) MUST_CHECK;
/* A map or list of the entry as JSON, owned by the configuration; NULL when absent. Scalars are
 * texts, or what they look like when `typed`. Texts with Go templates are left out with a warning.
 */
int program_tree(const struct check_input *in, const char *name, bool typed, json_t **ret,
                 struct err *e) MUST_CHECK;
/* Each member of `from`, which may be NULL, into `to`. */
void program_merge(json_t *to, const json_t *from);
