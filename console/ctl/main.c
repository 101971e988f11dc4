/* tocsinctl VERB: what an operator does by hand or a deployment does once. */
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "ctl.h"

static const struct verb *const verbs[] = {&topics_verb, NULL};

static void usage(FILE *out)
{
    fputs("usage: tocsinctl VERB [ARGUMENTS]\n\n", out);
    for (size_t i = 0; verbs[i]; i++)
        fprintf(out, "  %s %s\n      %s\n", verbs[i]->name, verbs[i]->arguments, verbs[i]->summary);
    fputs("\nEvery verb takes --config FILE and --set section.key=value.\n", out);
}

int main(int argc, char **argv)
{
    log_init("tocsinctl", LVL_ERROR);
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        usage(stdout);
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        puts("tocsinctl " TOCSIN_VERSION);
        return 0;
    }
    for (size_t i = 0; argc > 1 && verbs[i]; i++) {
        if (strcmp(argv[1], verbs[i]->name) == 0)
            return verbs[i]->run(argc - 1, argv + 1);
    }
    usage(stderr);
    return 2;
}
