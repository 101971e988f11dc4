/*
 * The YAML tree as conf.c sees it; everybody else goes through the yaml_*() accessors of
 * common/conf.h. Nodes are immutable and live in the arena they were loaded into.
 */
#pragma once

#include <stdint.h>

#include "common/arena.h"
#include "common/conf.h"

struct yaml_member {
    const char *key; /* NULL in a sequence */
    uint32_t line, column;
    const struct yaml *value; /* never NULL; kind YAML_ABSENT for null */
};

struct yaml {
    enum yaml_kind kind;
    const char *file;
    uint32_t line, column; /* from 1 */
    const char *scalar;
    size_t n;
    struct yaml_member *v;
};

/* One document; *ret is NULL when the text is empty. `file` must live as long as the arena. Aliases
 * and merge keys are expanded; duplicate keys, tags of an application, too deep or too large trees
 * are -EINVAL. */
int yaml_load(const char *file, struct slice text, struct arena *a, const struct yaml **ret,
              struct err *e) MUST_CHECK;

/* The best guess at what `word` should have been. */
struct nearest {
    const char *word, *best; /* best: NULL when nothing is near */
    size_t distance;
};
struct nearest nearest_to(const char *word);
void nearest_try(struct nearest *n, const char *candidate);
