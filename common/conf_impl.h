/* What the files of the configuration share: conf.c (opening, sections, the end), conf_key.c (one
 * key's value), conf_print.c. */
#pragma once

#include "common/arena.h"
#include "common/conf.h"
#include "common/yaml.h"

#define CONF_FILE_MAX ((size_t)16 << 20)
#define CONF_ENV_PREFIX "TOCSIN__"

/* Highest precedence first: the order in which a key is looked up. */
enum origin { FROM_SET, FROM_ENV, FROM_FILE, FROM_DEFAULT };
#define ORIGINS FROM_DEFAULT

/* One --set or one environment variable; whatever no key takes is a typing error. */
struct override {
    const char *name, *value;
    bool taken;
    struct override *next;
};

/* A key's value before its type has parsed it. */
struct value {
    bool found;
    enum origin origin;
    const char *text;        /* NULL: `node` is a list */
    const struct yaml *node; /* FROM_FILE only */
    const char *name;        /* as the user wrote it: variable, flag or key */
    bool from_twin;          /* text came out of a file: a list has one element a line */
};

/* A key that was loaded: for conf_print() and for errors found later. */
struct record {
    const char *name; /* section.key */
    const struct conf_key *key;
    struct value value;
    struct conf_strs strs; /* CONF_STRS only */
    struct record *next;
};

struct known {
    const char *name;
    bool tree;   /* handed out by conf_yaml(): its environment is not judged ... */
    bool loaded; /* ... unless tables were loaded below it, and then with a warning */
    struct known *next;
};

struct warning {
    const char *text;
    struct warning *next;
};

struct conf {
    struct arena *a;
    const char *file, *dir;
    const struct yaml *root;
    struct override *overrides[2]; /* by enum origin */
    struct record *records, **records_tail;
    struct known *known;
    struct warning *warnings, **warnings_tail;
};

int conf_out_of_memory(struct err *e);
/* The whole of a file; NUL-terminated, in the arena. */
int conf_read_file(struct conf *c, const char *path, size_t max, struct slice *ret,
                   struct err *e) MUST_CHECK;
/* "sources.my-sentry.secret" is TOCSIN__SOURCES__MY_SENTRY__SECRET. NULL when out of memory. */
const char *conf_environment_name(struct conf *c, const char *path);
/* One key of a table, from whatever origin wins, into *out; `node`: its section in the file, may be
 * NULL. */
int conf_load_key(struct conf *c, const struct yaml *node, const char *path,
                  const struct conf_key *key, void *out, struct err *e) MUST_CHECK;
