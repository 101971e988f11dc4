#include "learner/playbooks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "learner/report.h"

#define ID_MAX 512

static int no_memory(struct err *e)
{
    return err_set(e, -ENOMEM, "playbooks: out of memory");
}

static char *join(struct conf *c, const char *prefix, const char *name)
{
    const size_t len = strlen(prefix) + strlen(name) + 1;
    char *id = conf_alloc(c, 1, len);

    if (id)
        (void)snprintf(id, len, "%s%s", prefix, name);
    return id;
}

static int load_match(struct conf *c, const struct yaml *n, const char **ret, struct err *e)
{
    static const char *const known[] = {"alert_name", "service", NULL};
    const struct yaml *node = yaml_get(n, "match");
    const char *word = yaml_scalar(node);

    if (word && strcmp(word, "global") == 0) {
        *ret = "global";
        return 0;
    }
    if (yaml_kind(node) != YAML_MAP)
        return yaml_err(node ? node : n, e,
                        "match is needed: {alert_name: NAME}, {service: NAME} or global");
    int rc = yaml_only(node, known, e);
    if (rc < 0)
        return rc;
    const char *name = yaml_scalar(yaml_at(node, 0));
    if (yaml_count(node) != 1 || !name || !*name || strlen(name) > ID_MAX)
        return yaml_err(node, e, "match takes one of alert_name and service, with a name");
    *ret = join(c, strcmp(yaml_key(node, 0), "service") == 0 ? "service:" : "alert:", name);
    return *ret ? 0 : no_memory(e);
}

static int load_step(struct conf *c, const struct yaml *n, struct step *steps, size_t i,
                     struct err *e)
{
    static const char *const known[] = {"action", "text", NULL};
    const struct yaml *text = yaml_get(n, "text");

    if (yaml_kind(n) != YAML_MAP)
        return yaml_err(n, e, "a step is {action: NAME, text: WORDS}");
    int rc = yaml_only(n, known, e);
    if (rc < 0)
        return rc;
    const struct slice action = slice_of(yaml_scalar(yaml_get(n, "action")));
    if (!action_valid(action))
        return yaml_err(n, e, "a step needs an action of 1 to %zu bytes", ACTION_MAX);
    if (text && !yaml_scalar(text))
        return yaml_err(text, e, "text is one string");
    for (size_t j = 0; j < i; j++)
        if (slice_eq(steps[j].action, action))
            return yaml_err(n, e, "%s is a step of this playbook already", action.p);
    const char *own = conf_strdup(c, action.p);
    const char *words = conf_strdup(c, text ? yaml_scalar(text) : "");
    if (!own || !words)
        return no_memory(e);
    steps[i] = (struct step){
        .action = slice_of(own), .text = slice_of(words), .author_rank = (uint32_t)i + 1};
    return 0;
}

static int load_steps(struct conf *c, uint32_t max, const struct yaml *n, struct playbook *p,
                      struct err *e)
{
    const struct yaml *list = yaml_get(n, "steps");
    const size_t count = yaml_count(list);

    if (yaml_kind(list) != YAML_SEQ || count == 0)
        return yaml_err(list ? list : n, e, "steps is a list of at least one step");
    if (count > max)
        return yaml_err(list, e, "%zu steps, but learner.steps allows %u", count, max);
    struct step *steps = conf_alloc(c, count, sizeof(*steps));
    if (!steps)
        return no_memory(e);
    for (size_t i = 0; i < count; i++) {
        int rc = load_step(c, yaml_at(list, i), steps, i, e);
        if (rc < 0)
            return rc;
    }
    p->steps = steps;
    p->n = count;
    return 0;
}

int playbooks_load(struct settings *s, struct playbooks *ret, struct err *e)
{
    static const char *const known[] = {"match", "steps", NULL};
    const struct yaml *list = conf_yaml(s->conf, "playbooks");
    const size_t n = yaml_count(list);
    int rc = 0;

    *ret = (struct playbooks){NULL, 0};
    if (yaml_kind(list) == YAML_ABSENT || n == 0)
        return 0;
    if (yaml_kind(list) != YAML_SEQ)
        return yaml_err(list, e, "playbooks is a list");
    struct playbook *v = conf_alloc(s->conf, n, sizeof(*v));
    if (!v)
        return no_memory(e);
    for (size_t i = 0; i < n; i++) {
        const struct yaml *node = yaml_at(list, i);
        if (yaml_kind(node) != YAML_MAP)
            return yaml_err(node, e, "a playbook is {match: ..., steps: [...]}");
        if ((rc = yaml_only(node, known, e)) < 0 ||
            (rc = load_match(s->conf, node, &v[i].id, e)) < 0 ||
            (rc = load_steps(s->conf, s->learner.steps, node, &v[i], e)) < 0)
            return rc;
        for (size_t j = 0; j < i; j++)
            if (strcmp(v[j].id, v[i].id) == 0)
                return yaml_err(node, e, "a second playbook for %s", v[i].id);
    }
    *ret = (struct playbooks){v, n};
    return 0;
}

const struct playbook *playbooks_find(const struct playbooks *p, struct slice id)
{
    for (size_t i = 0; i < p->n; i++)
        if (slice_is(id, p->v[i].id))
            return &p->v[i];
    return NULL;
}

static const struct playbook *find_named(const struct playbooks *p, const char *prefix,
                                         struct slice name)
{
    const size_t len = strlen(prefix);

    for (size_t i = 0; i < p->n; i++)
        if (strncmp(p->v[i].id, prefix, len) == 0 && slice_is(name, p->v[i].id + len))
            return &p->v[i];
    return NULL;
}

const struct playbook *playbooks_for(const struct playbooks *p, struct slice alert_name,
                                     struct slice service)
{
    const struct playbook *found = find_named(p, "alert:", alert_name);

    if (!found)
        found = find_named(p, "service:", service);
    return found ? found : playbooks_find(p, SLICE_LIT("global"));
}
