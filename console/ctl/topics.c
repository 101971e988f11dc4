/* tocsinctl topics: create what is missing, with explicit partitions, so that no broker has to
 * create topics by itself. */
#include <stdio.h>

#include "common/clock.h"
#include "common/kafka.h"
#include "ctl.h"

#define SOURCE(type) {.name = "raw." #type, .retention_ms = 30 * MS_DAY},
#define CHANNEL(type) {.name = "notify." #type, .retention_ms = 7 * MS_DAY},
static const struct kafka_topic topics[] = {
/* clang-format off */
#include "common/sources.def"
#include "common/channels.def"
    /* clang-format on */
    {.name = "beat", .retention_ms = MS_DAY},
    {.name = "repairs", .retention_ms = 90 * MS_DAY},
    {.name = "playbooks", .compacted = true},
    {.name = "dead", .retention_ms = 30 * MS_DAY},
};
enum { TOPICS = sizeof topics / sizeof *topics };

static void print_topic(const struct kafka_settings *s, const char *before, const char *name)
{
    printf("%s%s%s%s\n", before, s->topic_prefix, s->topic_prefix[0] ? "." : "", name);
}

/* One by one, so that each line is true when it is printed and a failure names its topic. */
static int create(const struct kafka_settings *s, struct err *e)
{
    for (size_t i = 0; i < TOPICS; i++) {
        size_t created = 0;
        int rc = kafka_create_topics(s, &topics[i], 1, &created, e);
        if (rc)
            return rc;
        print_topic(s, created ? "created " : "existing ", topics[i].name);
    }
    return 0;
}

static int run(int argc, char **argv)
{
    bool list = false;
    const struct option_switch switches[] = {{"list", &list}, {0}};
    struct options o = {0};
    struct err e = {0};
    int rc = options_load(argc, argv, switches, &o, &e);
    if (rc == 0 && !list)
        rc = create(&o.settings.kafka, &e);
    for (size_t i = 0; rc == 0 && list && i < TOPICS; i++)
        print_topic(&o.settings.kafka, "", topics[i].name);
    options_release(&o);
    if (rc)
        fprintf(stderr, "tocsinctl: %s\n", e.msg);
    return rc ? 1 : 0;
}

const struct verb topics_verb = {
    .name = "topics",
    .arguments = "[--list]",
    .summary = "create the topics that are missing; --list only prints the names",
    .run = run,
};
