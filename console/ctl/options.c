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

/* `sets` has room for every argument and a NULL. */
static int parse(int argc, char **argv, const struct option_switch *switches, const char **ret_file,
                 const char **sets, struct err *e)
{
    for (int i = 1; i < argc; i++) {
        bool value = i + 1 < argc;
        if (strcmp(argv[i], "--config") == 0 && value)
            *ret_file = argv[++i];
        else if (strcmp(argv[i], "--set") == 0 && value)
            *sets++ = argv[++i];
        else if (!set_switch(switches, argv[i]))
            return err_set(e, -EINVAL, "%s: what is %s?", argv[0], argv[i]);
    }
    return 0;
}

int options_load(int argc, char **argv, const struct option_switch *switches, struct options *ret,
                 struct err *e)
{
    const char **sets = calloc((size_t)argc + 1, sizeof *sets);
    if (!sets)
        return err_set(e, -ENOMEM, "out of memory");
    const char *file = NULL;
    int rc = parse(argc, argv, switches, &file, sets, e);
    if (rc == 0)
        rc = conf_open(file, sets, &ret->conf, e);
    free(sets);
    return rc ? rc : settings_load(ret->conf, &ret->settings, e);
}

void options_release(struct options *o)
{
    conf_free(o->conf);
    o->conf = NULL;
}
