/* What can be done with a configuration without Kafka and Postgres: look at a message, send a test
 * one. */
#pragma once

#include "notifier/outlets.h"

/* --render CHANNEL FILE: the message, and the first request with its secrets hidden, on standard
 * output. FILE is a data model (docs/templates.md) or an incident as the API gives it. An exit
 * code. */
int task_render(const struct settings *s, const struct outlets *all, const char *const *args);
/* --send-test RECEIVER: one message on each of its channels; says what each answered. 1 unless all
 * of them took it. */
int task_send_test(const struct settings *s, const struct outlets *all, const char *const *args);
