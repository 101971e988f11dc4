/* The verbs of tocsinctl and what they share. */
#pragma once

#include "common/settings.h"

struct verb {
    const char *name, *arguments, *summary;
    /* argv[0] is the verb. The exit code: 0 or 1 for a failure that was printed. */
    int (*run)(int argc, char **argv);
};

extern const struct verb topics_verb;

/* --config FILE and --set section.key=value, as the services take them, and a verb's own switches.
 */
struct options {
    struct conf *conf;
    struct settings settings;
};
struct option_switch {
    const char *name; /* "list" for --list; NULL ends */
    bool *on;
};
/* Release it after a failure, too. -EINVAL: wrong arguments. Trees of the configuration that no
 * verb reads are left to the services.
 */
int options_load(int argc, char **argv, const struct option_switch *switches, struct options *ret,
                 struct err *e) MUST_CHECK;
void options_release(struct options *o);
