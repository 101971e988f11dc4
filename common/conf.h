/*
 * Configuration: one YAML file, and one table per section that says how each key is parsed, where
 * it goes, what it defaults to and whether it may be printed. The loader, the environment,
 * --check-config and --print-config all read the tables.
 *
 * Precedence: table default < file < TOCSIN__SECTION__KEY < --set section.key=value. Every
 * CONF_SECRET key has a `<key>_file` twin (file content without its trailing newline); naming a
 * file that cannot be read is an error. Scalars stay text until the table's type parses them.
 * Unknown and duplicate keys are errors with file:line:column. Anchors and aliases are expanded,
 * with a cap. The file is the operator's and trusted; a peer's YAML never comes here.
 *
 * Everything handed out belongs to the struct conf and lives as long as it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/slice.h"

struct conf;

enum conf_type {
    CONF_STR,      /* const char *; "" or NULL default */
    CONF_U32,      /* uint32_t */
    CONF_BOOL,     /* bool: true/false/yes/no/on/off */
    CONF_SIZE,     /* size_t, bytes: 512, 64k, 1m, 2g (powers of 1024) */
    CONF_DURATION, /* int64_t ms: 30s, 5m, 1h30m */
    CONF_FLOAT,    /* double */
    CONF_ENUM,     /* int: index into `choices` */
    CONF_STRS,     /* struct conf_strs: a list of strings, or one */
};

enum conf_flags {
    CONF_REQUIRED = 1 << 0, /* no default; absence is a load error */
    CONF_SECRET = 1 << 1,   /* never printed; has a _file twin */
    CONF_RELOAD = 1 << 2,   /* may change on reload */
};

struct conf_strs {
    const char *const *v;
    size_t n;
};

struct conf_key {
    const char *name; /* NULL ends the table */
    size_t offset;
    const char *def; /* NULL: "" / 0 / false / empty */
    const char *help;
    const char *const *choices; /* CONF_ENUM only, NULL-terminated */
    enum conf_type type;
    enum conf_flags flags;
};

/* CONF(struct kafka_settings, brokers, CONF_STR, "127.0.0.1:9092", 0, "bootstrap servers") */
#define CONF(T, field, type_, def_, flags_, help_)                                                 \
    {                                                                                              \
        .name = #field, .type = (type_), .offset = offsetof(T, field), .def = (def_),              \
        .flags = (enum conf_flags)(flags_), .help = (help_)                                        \
    }
#define CONF_CHOICE(T, field, def_, choices_, help_)                                               \
    {                                                                                              \
        .name = #field, .type = CONF_ENUM, .offset = offsetof(T, field), .def = (def_),            \
        .help = (help_), .choices = (choices_)                                                     \
    }
#define CONF_END                                                                                   \
    {                                                                                              \
        .name = NULL                                                                               \
    }

/*
 * A node of the YAML tree, for what is not a flat table: route, receivers, sources, matchers.
 * NULL stands for "absent" everywhere and is safe to pass.
 */
struct yaml;
enum yaml_kind { YAML_ABSENT = 0, YAML_SCALAR, YAML_SEQ, YAML_MAP };
enum yaml_kind yaml_kind(const struct yaml *n);
const char *yaml_scalar(const struct yaml *n);              /* NULL unless a scalar */
size_t yaml_count(const struct yaml *n);                    /* elements or members */
const struct yaml *yaml_at(const struct yaml *n, size_t i); /* element or member value */
const char *yaml_key(const struct yaml *n, size_t i);       /* member name */
const struct yaml *yaml_get(const struct yaml *n,
                            const char *key); /* member by name, NULL when absent */
/* "file:line:column: " + message into `e`; -EINVAL. */
int yaml_err(const struct yaml *n, struct err *e, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* -EINVAL naming the first member of map `n` (its own position) that is not in the NULL-terminated
 * list. */
int yaml_only(const struct yaml *n, const char *const *known, struct err *e) MUST_CHECK;

/* `file` NULL: defaults and environment only. `sets`: "section.key=value" strings of --set,
 * NULL-terminated, may be NULL. */
int conf_open(const char *file, const char *const *sets, struct conf **ret,
              struct err *e) MUST_CHECK;
/* The same from memory, named `name` in errors: tests and fuzzing. The environment is not read. */
int conf_parse(const char *name, const char *text, const char *const *sets, struct conf **ret,
               struct err *e) MUST_CHECK;
void conf_free(struct conf *c);
CLEANUP_DEFINE(struct conf *, conf_free);

/* Fill *out (already allocated, any content) from the top-level section `section` ("" is the root's
 * own scalars; other root keys are then left to their sections). An absent section gives defaults.
 */
int conf_section(struct conf *c, const char *section, const struct conf_key *keys, void *out,
                 struct err *e) MUST_CHECK;
/* The same for a map node at `path` ("receivers.0.slack_configs.1"); NULL node: defaults. `extra`:
 * further keys that are fine, NULL-terminated, may be NULL. */
int conf_node(struct conf *c, const struct yaml *node, const char *path,
              const struct conf_key *keys, const char *const *extra, void *out,
              struct err *e) MUST_CHECK;
/* Fill *out with the defaults of a table, whatever the file, the environment and --set say. */
int conf_defaults(struct conf *c, const struct conf_key *keys, void *out, struct err *e) MUST_CHECK;
/* The raw subtree of a top-level key, marked as known. */
const struct yaml *conf_yaml(struct conf *c, const char *section);
/* Whether a value that was loaded ("sources.x.password") stands in the file, the environment or a
 * flag. */
bool conf_is_given(const struct conf *c, const char *name);
/* An error about a value that was loaded ("ingest.listen"), with the place it came from:
 * file:line:column, variable or flag; -EINVAL. */
int conf_key_err(const struct conf *c, const char *name, struct err *e, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
/* A top-level key that nobody has asked for yet is an error. */
int conf_check_sections(const struct conf *c, struct err *e) MUST_CHECK;
/* After everything was loaded: a top-level key nobody asked for is an error, and so is an
 * environment variable or --set that no key took. Those below a section of conf_yaml() are not:
 * another service may load them. */
int conf_finish(struct conf *c, struct err *e) MUST_CHECK;

/* Memory that lives as long as the configuration; NULL when out of memory. */
void *conf_alloc(struct conf *c, size_t n, size_t size) MUST_CHECK;
char *conf_strdup(struct conf *c, const char *s) MUST_CHECK;
/* Destroy `obj` with `fn` when the configuration is freed. -ENOMEM, and then `obj` is destroyed at
 * once. */
int conf_defer(struct conf *c, void (*fn)(void *), void *obj) MUST_CHECK;

/* Every key that was loaded: `section.key: value  # origin (default | file:line | environment |
 * --set)`; secrets as "<secret>". */
void conf_print(const struct conf *c, FILE *out);
/* Warnings of the load (keys of Alertmanager that have no effect here): NULL past the end. */
const char *conf_warning(const struct conf *c, size_t i);
int conf_warn(struct conf *c, const struct yaml *n, const char *fmt, ...) PRINTF_LIKE(3, 4);
