/*
 * --try-source NAME FILE: what would come of a body, without any server. The door and the source's
 * decoder say it, as they would of a request; only who sent it is not asked.
 *
 * FILE is a body ("-": stdin), or a request as it was captured: header lines, an empty line, the
 * body. A form is known by its Content-Type or by not being JSON; what begins with a question mark
 * is the query of a GET.
 */
#pragma once

#include <stdio.h>

#include "common/source.h"

/* Prints one JSON object. 0 when it is taken and decoded, 1 when it is not; the exit code. */
int try_source(const struct settings *s, const struct source_entries *entries, const char *name,
               const char *file, FILE *out);
