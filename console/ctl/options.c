#include <errno.h>
#include <string.h>

#include "ctl.h"

static bool set_switch(const struct option_switch *s, const char *arg)
{
    for (; s && s->name; s++) {
        if (strncmp(arg, "--", 2) == 0 && strcmp(arg + 2, s->name) == 0) {
            *s->on = true;
            return true;
        }
    }
    return false;
}

int options_load(int argc, char **argv, const struct option_switch *switches, struct options *ret,
                 struct err *e)
{
    CLEANUP(free) const char **sets = calloc((size_t)argc + 1, sizeof *sets);
    if (!sets)
        return err_set(e, -ENOMEM, "out of memory");
    const char *file = NULL;
    size_t n = 0;
    for (int i = 1; i < argc; i++) {
        bool value = i + 1 < argc;
        if (strcmp(argv[i], "--config") == 0 && value)
            file = argv[++i];
        else if (strcmp(argv[i], "--set") == 0 && value)
            sets[n++] = argv[++i];
        else if (!set_switch(switches, argv[i]))
            return err_set(e, -EINVAL, "%s: what is %s?", argv[0], argv[i]);
    }
    CLEANUP(conf_free) struct conf *conf = NULL;
    int rc = conf_open(file, sets, &conf, e);
    if (rc == 0)
        rc = settings_load(conf, &ret->settings, e);
    if (rc == 0)
        ret->conf = TAKE(conf);
    return rc;
}

void options_release(struct options *o)
{
    conf_free(o->conf);
    o->conf = NULL;
}
