/*
 * Jira Cloud, REST API v3. A group is one issue, which bears a label of the group's name: it is
 * looked for by that before one is made, so that an answer that was lost makes no second issue.
 * News is commented, and an end or a new beginning moves the issue by the transitions that are
 * configured.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "notifier/channel.h"
#include "notifier/http_auth.h"
#include "notifier/layout.h"
#include "notifier/program.h"

#define SUMMARY_MAX 255
#define KEY_MAX 64
/* Until a search finds what was just made. */
#define INDEX_LAG (10 * MS_SECOND)
#define API "/rest/api/"

struct jira_cfg {
    const char *api_url, *project, *issue_type, *priority;
    const char *resolve_transition, *reopen_transition, *wont_fix_resolution;
    int64_t reopen_duration;
    json_t *labels, *fields;
    struct http_auth auth;
};

#define T struct jira_cfg
static const struct conf_key keys[] = {
    CONF(T, api_url, CONF_STR, NULL, 0, "the site; default: global.jira_api_url"),
    CONF(T, project, CONF_STR, NULL, CONF_REQUIRED, "key of the project"),
    CONF(T, issue_type, CONF_STR, NULL, CONF_REQUIRED, "Bug, Task, Incident ..."),
    CONF(T, priority, CONF_STR, NULL, 0, "a name, or none; default: High, Medium, Low by severity"),
    CONF(T, resolve_transition, CONF_STR, NULL, 0, "the transition that ends an issue"),
    CONF(T, reopen_transition, CONF_STR, NULL, 0,
         "the one that re-opens it; else a new one is made"),
    CONF(T, reopen_duration, CONF_DURATION, "0s", 0, "no longer after its end than this; 0: ever"),
    CONF(T, wont_fix_resolution, CONF_STR, NULL, 0, "an issue with this resolution stays closed"),
    CONF_END,
};
#undef T

static const char *const foreign[] = {"summary", "description", "api_type", "timeout", NULL};
static const char *const trees[] = {"labels", "fields", "http_config", NULL};

static bool given(const char *s)
{
    return s && *s;
}

static int check_texts(struct jira_cfg *j, const struct check_input *in, struct err *e)
{
    struct {
        const char *name, **value;
    } texts[] = {
        {"priority", &j->priority},
        {"resolve_transition", &j->resolve_transition},
        {"reopen_transition", &j->reopen_transition},
        {"wont_fix_resolution", &j->wont_fix_resolution},
    };
    int r = 0;

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts) && r == 0; i++)
        r = program_plain(in, texts[i].name, texts[i].value, e);
    if (r == 0 && (r = program_tree(in, "labels", false, &j->labels, e)) == 0 &&
        (r = program_tree(in, "fields", true, &j->fields, e)) == 0)
        r = http_auth_load(&j->auth, in, e);
    return r;
}

/* Labels cannot hold blanks. */
static bool are_labels(const json_t *labels)
{
    for (size_t i = 0; i < json_array_size(labels); i++) {
        const char *s = json_string_value(json_array_get(labels, i));
        if (!given(s) || s[strcspn(s, " \t")])
            return false;
    }
    return !labels || json_is_array(labels);
}

/* Alertmanager's address ends in the API's path and version; ours is the site's. */
static const char *site_of(struct conf *c, const char *url)
{
    char *copy = conf_strdup(c, url), *api = copy ? strstr(copy, API) : NULL;
    const char *version = api ? api + sizeof(API) - 1 : "";
    const char *rest = version + strcspn(version, "/");

    if (api && (!*rest || strcmp(rest, "/") == 0))
        *api = '\0';
    return copy;
}

static int check(void *cfg, const struct check_input *in, struct err *e)
{
    struct jira_cfg *j = cfg;
    int r = check_texts(j, in, e);

    if (r < 0)
        return r;
    if (!given(j->api_url))
        j->api_url = in->global->jira_api_url;
    if (!given(j->api_url))
        return err_set(e, -EINVAL, "jira: api_url is missing, and global.jira_api_url too");
    if (!given(j->project) || j->project[strcspn(j->project, "\"\\{ \t\n")])
        return err_set(e, -EINVAL, "jira: this is no key of a project");
    if (!given(j->issue_type) || strstr(j->issue_type, "{{"))
        return err_set(e, -EINVAL, "jira: this is no issue_type");
    if (!are_labels(j->labels))
        return err_set(e, -EINVAL, "jira: labels are a list of texts without blanks");
    if (j->fields && !json_is_object(j->fields))
        return err_set(e, -EINVAL, "jira: fields are a map");
    j->api_url = site_of(in->conf, j->api_url);
    return j->api_url ? check_http_url("jira: api_url", j->api_url, e)
                      : err_set(e, -ENOMEM, "jira: the configuration is too large");
}

static void destination(const void *cfg, struct buf *out)
{
    const struct jira_cfg *j = cfg;

    canonical_url(j->api_url, out);
    buf_printf(out, " %s", j->project);
    http_auth_identity(&j->auth, out);
}

static void place(const void *cfg, struct buf *out)
{
    const struct jira_cfg *j = cfg;

    buf_printf(out, "%s at ", j->project);
    host_of_url(j->api_url, out);
}

/* How far the conversation is: what is asked next, and what is known by now. */
enum act { ACT_LOOK = 1, ACT_SEARCH, ACT_CREATE, ACT_COMMENT, ACT_LIST, ACT_MOVE, ACT_DONE };
struct talk {
    enum act act;
    const char *issue;      /* its key; NULL: none yet */
    const char *move;       /* name of the transition to make; NULL: none */
    const char *transition; /* its id */
    bool told;              /* this message is in the issue */
    struct outcome outcome;
};

/* "OPS-17"; anything else has no place in a path. */
static bool is_key(const char *s)
{
    size_t len = s ? strlen(s) : 0;

    return len > 0 && len <= KEY_MAX &&
           strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == len;
}

static struct talk begin(const struct step_input *in)
{
    const struct jira_cfg *j = in->cfg;
    const char *of = json_string_value(json_object_get(in->reference, "of"));
    const char *issue = json_string_value(json_object_get(in->reference, "issue"));
    const char *said = json_string_value(json_object_get(in->reference, "said"));
    struct talk talk = {.act = ACT_SEARCH};

    if (is_replaceable(in->notification) && of && strcmp(of, j->project) == 0 && is_key(issue)) {
        talk.act = ACT_LOOK;
        talk.issue = issue;
        talk.told = said && strcmp(said, in->notification->id) == 0;
    }
    return talk;
}

/* ---- requests ---- */

static json_t *text_node(const char *s, size_t len, const char *link)
{
    json_t *node = json_pack("{s:s, s:s%}", "type", "text", "text", s, len);

    if (node && link)
        (void)json_object_set_new(
            node, "marks", json_pack("[{s:s, s:{s:s}}]", "type", "link", "attrs", "href", link));
    return node;
}

/* A line's words; our own link is one that can be clicked. */
static void add_line(json_t *paragraph, struct slice line, const char *link)
{
    size_t n = strlen(link);
    const char *at = n > 0 && line.len >= n ? memmem(line.p, line.len, link, n) : NULL;
    size_t before = at ? (size_t)(at - line.p) : line.len;

    if (json_array_size(paragraph) > 0)
        (void)json_array_append_new(paragraph, json_pack("{s:s}", "type", "hardBreak"));
    if (before > 0)
        (void)json_array_append_new(paragraph, text_node(line.p, before, NULL));
    if (at)
        (void)json_array_append_new(paragraph, text_node(at, n, link));
    if (at && before + n < line.len)
        (void)json_array_append_new(paragraph, text_node(at + n, line.len - before - n, NULL));
}

/* Text as a document of Atlassian's: an empty line begins a paragraph. */
static json_t *document(const char *text, const char *link)
{
    json_t *content = json_array(), *paragraph = NULL;

    for (const char *p = text; *p;) {
        size_t len = strcspn(p, "\n");
        if (len == 0) {
            paragraph = NULL;
        } else {
            if (!paragraph) {
                paragraph = json_array();
                (void)json_array_append_new(
                    content, json_pack("{s:s, s:o}", "type", "paragraph", "content", paragraph));
            }
            add_line(paragraph, (struct slice){p, len}, link);
        }
        p += len + (p[len] == '\n');
    }
    return json_pack("{s:s, s:i, s:o}", "type", "doc", "version", 1, "content", content);
}

static const char *label_of(const struct notification *n, struct arena *a)
{
    return arena_printf(a, "tocsin-%s", program_key(n));
}

static const char *priority(const struct jira_cfg *j, const struct notification *n)
{
    const char *severity = program_text(n, "severity");

    if (given(j->priority))
        return strcasecmp(j->priority, "none") == 0 ? NULL : j->priority;
    if (strcmp(severity, "critical") == 0 || strcmp(severity, "error") == 0)
        return "High";
    return strcmp(severity, "warning") == 0 ? "Medium" : "Low";
}

static json_t *issue(const struct jira_cfg *j, const struct notification *n, struct arena *a)
{
    const char *level = priority(j, n), *label = label_of(n, a);
    const char *summary = program_title(n, SUMMARY_MAX, a);
    json_t *labels = j->labels ? json_deep_copy(j->labels) : json_array();
    json_t *fields = json_object();

    program_merge(fields, j->fields);
    if (label)
        (void)json_array_append_new(labels, json_string(label));
    json_t *ours = json_pack("{s:{s:s}, s:{s:s}, s:s, s:o, s:o}", "project", "key", j->project,
                             "issuetype", "name", j->issue_type, "summary", summary, "description",
                             document(n->text, program_text(n, "link")), "labels", labels);
    if (!ours || !label || json_object_update(fields, ours) < 0) {
        json_decref(ours);
        json_decref(fields);
        return NULL;
    }
    json_decref(ours);
    if (level)
        (void)json_object_set_new(fields, "priority", json_pack("{s:s}", "name", level));
    return json_pack("{s:o}", "fields", fields);
}

static json_t *search(const struct jira_cfg *j, const struct notification *n, struct arena *a)
{
    const char *label = label_of(n, a);
    const char *jql =
        label ? arena_printf(a, "project = \"%s\" AND labels = \"%s\" ORDER BY created DESC",
                             j->project, label)
              : NULL;

    return jql ? json_pack("{s:s, s:[s,s,s], s:i}", "jql", jql, "fields", "status", "resolution",
                           "resolutiondate", "maxResults", 10)
               : NULL;
}

static json_t *body(const struct talk *talk, const struct step_input *in, struct arena *a)
{
    const struct notification *n = in->notification;

    switch (talk->act) {
    case ACT_SEARCH:
        return search(in->cfg, n, a);
    case ACT_CREATE:
        return issue(in->cfg, n, a);
    case ACT_COMMENT:
        return json_pack("{s:o}", "body",
                         document(n->news ? n->news : n->text, program_text(n, "link")));
    case ACT_MOVE:
        return json_pack("{s:{s:s}}", "transition", "id", talk->transition);
    case ACT_LOOK:
    case ACT_LIST:
    case ACT_DONE:
        break;
    }
    return NULL;
}

static const char *path(const struct talk *talk, struct arena *a)
{
    switch (talk->act) {
    case ACT_SEARCH:
        return "/rest/api/3/search/jql";
    case ACT_CREATE:
        return "/rest/api/3/issue";
    case ACT_COMMENT:
        return arena_printf(a, "/rest/api/3/issue/%s/comment", talk->issue);
    case ACT_LIST:
    case ACT_MOVE:
        return arena_printf(a, "/rest/api/3/issue/%s/transitions", talk->issue);
    case ACT_LOOK:
        return arena_printf(a, "/rest/api/3/issue/%s?fields=status,resolution,resolutiondate",
                            talk->issue);
    case ACT_DONE:
        break;
    }
    return NULL;
}

static int ask(const struct talk *talk, const struct step_input *in, struct arena *a,
               struct request *ret, struct err *e)
{
    const struct jira_cfg *j = in->cfg;
    bool get = talk->act == ACT_LOOK || talk->act == ACT_LIST, auth = http_auth_given(&j->auth);
    struct ask asks = {.channel = "jira",
                       .method = get ? "GET" : "POST",
                       .url = program_url(a, j->api_url, path(talk, a)),
                       .authorization = auth ? http_auth_value(&j->auth, a) : NULL};
    json_t *doc = body(talk, in, a);

    if ((auth && !asks.authorization) || (!get && !doc)) {
        json_decref(doc);
        return err_set(e, -ENOMEM, "jira: the message does not fit in its memory");
    }
    return program_ask(&asks, doc, a, ret, e);
}

/* ---- answers ---- */

static void finish(struct talk *talk, const char *words)
{
    talk->act = ACT_DONE;
    talk->outcome.verdict = VERDICT_DELIVERED;
    if (words)
        talk->outcome.words = words;
}

/* "2026-01-02T03:04:05.000+0000": its offset has no colon. */
static int64_t jira_time(const char *s, struct arena *a)
{
    size_t len = s ? strlen(s) : 0;
    int64_t ms = 0;

    if (len < 6)
        return 0;
    if (s[len - 5] == '+' || s[len - 5] == '-')
        s = arena_printf(a, "%.*s:%s", (int)(len - 2), s, s + len - 2);
    return s && rfc3339_parse(slice_of(s), &ms) ? ms : 0;
}

static bool is_done(const json_t *found)
{
    const json_t *status = json_object_get(json_object_get(found, "fields"), "status");
    const char *category =
        json_string_value(json_object_get(json_object_get(status, "statusCategory"), "key"));

    return category && strcmp(category, "done") == 0;
}

static bool may_reopen(const struct jira_cfg *j, const json_t *found, int64_t now, struct arena *a)
{
    const json_t *fields = json_object_get(found, "fields");
    const char *resolution =
        json_string_value(json_object_get(json_object_get(fields, "resolution"), "name"));
    int64_t at = jira_time(json_string_value(json_object_get(fields, "resolutiondate")), a);

    if (!given(j->reopen_transition))
        return false;
    if (given(j->wont_fix_resolution) && resolution &&
        strcasecmp(resolution, j->wont_fix_resolution) == 0)
        return false;
    return j->reopen_duration == 0 || at == 0 || now - at <= j->reopen_duration;
}

/* There is an issue: what is to be done with it? False: it is not for this message. */
static bool take(struct talk *talk, const struct step_input *in, const json_t *found, bool searched,
                 struct arena *a)
{
    const struct jira_cfg *j = in->cfg;
    const struct notification *n = in->notification;
    const char *key = json_string_value(json_object_get(found, "key"));
    bool over = program_over(n), done = is_done(found);
    bool again = json_is_true(json_object_get(n->data, "possible_duplicate"));

    if (!is_key(key) || (done && !over && !may_reopen(j, found, n->now, a)))
        return false;
    talk->issue = key;
    if (done && over) {
        finish(talk, arena_printf(a, "%s is done already", key));
        return true;
    }
    talk->move = over ? j->resolve_transition : done ? j->reopen_transition : NULL;
    /* An earlier attempt made it, and its answer was lost. */
    talk->told = talk->told || (searched && again && program_first(n));
    talk->act = !talk->told ? ACT_COMMENT : given(talk->move) ? ACT_LIST : ACT_DONE;
    if (talk->act == ACT_DONE)
        finish(talk, arena_printf(a, "%s was told already", key));
    return true;
}

static void make(struct talk *talk, const struct step_input *in)
{
    const struct notification *n = in->notification;

    talk->issue = NULL;
    talk->told = false;
    if (program_over(n) && !program_missed(n))
        finish(talk, "there is no issue of it");
    else
        talk->act = ACT_CREATE;
}

static void hear_search(struct talk *talk, const struct step_input *in, const json_t *doc,
                        struct arena *a)
{
    const json_t *issues = json_object_get(doc, "issues"), *one;
    size_t i;

    if (!json_is_array(issues)) {
        talk->act = ACT_DONE;
        talk->outcome.verdict = VERDICT_RETRY; /* somebody else's answer */
        return;
    }
    /* One that is still open, before those that are done. */
    for (int done = 0; done < 2; done++)
        json_array_foreach (issues, i, one)
            if (is_done(one) == (done == 1) && take(talk, in, one, true, a))
                return;
    make(talk, in);
}

static void hear_created(struct talk *talk, const struct step_input *in, const json_t *doc)
{
    const struct jira_cfg *j = in->cfg;
    const char *key = json_string_value(json_object_get(doc, "key"));

    if (!is_key(key)) {
        talk->act = ACT_DONE;
        talk->outcome.verdict = VERDICT_RETRY;
        return;
    }
    talk->issue = key;
    talk->told = true;
    talk->move = program_over(in->notification) ? j->resolve_transition : NULL;
    talk->act = given(talk->move) ? ACT_LIST : ACT_DONE;
}

static void hear_transitions(struct talk *talk, const json_t *doc, struct arena *a)
{
    const json_t *all = json_object_get(doc, "transitions"), *one;
    const char *names = "";
    size_t i;

    json_array_foreach (all, i, one) {
        const char *name = json_string_value(json_object_get(one, "name"));
        const char *id = json_string_value(json_object_get(one, "id"));
        if (name && id && strcasecmp(name, talk->move) == 0) {
            talk->transition = id;
            talk->act = ACT_MOVE;
            return;
        }
        const char *longer =
            arena_printf(a, "%s%s%s", names, *names ? ", " : "", name ? name : "?");
        names = longer ? longer : names;
    }
    finish(talk, NULL);
    talk->outcome.refused =
        arena_printf(a, "the transition \"%s\"; there are: %s", talk->move, names);
}

/* What was not delivered. */
static void stop(struct talk *talk, const struct response *r, struct arena *a)
{
    enum act act = talk->act;

    talk->act = ACT_DONE;
    if (act == ACT_LOOK && r->status == 404) {
        talk->issue = NULL;
        talk->told = false;
        talk->act = ACT_SEARCH;
    } else if (act == ACT_MOVE && talk->outcome.verdict == VERDICT_REJECT) {
        /* It is told; where the issue stands is people's affair. */
        talk->outcome.verdict = VERDICT_DELIVERED;
        talk->outcome.refused =
            arena_printf(a, "the transition \"%s\": %s", talk->move, talk->outcome.words);
    } else if (act == ACT_CREATE && talk->outcome.verdict == VERDICT_RETRY &&
               talk->outcome.wait_ms < INDEX_LAG) {
        talk->outcome.wait_ms = INDEX_LAG;
    }
}

static void hear(struct talk *talk, const struct step_input *in, const struct response *r,
                 struct arena *a)
{
    const json_t *doc = answer_json(r, a);

    talk->outcome = classify_http(r, a);
    if (talk->outcome.verdict != VERDICT_DELIVERED) {
        stop(talk, r, a);
        return;
    }
    switch (talk->act) {
    case ACT_LOOK:
        if (!take(talk, in, doc, false, a))
            talk->act = ACT_SEARCH;
        break;
    case ACT_SEARCH:
        hear_search(talk, in, doc, a);
        break;
    case ACT_CREATE:
        hear_created(talk, in, doc);
        break;
    case ACT_COMMENT:
        talk->told = true;
        talk->act = given(talk->move) ? ACT_LIST : ACT_DONE;
        break;
    case ACT_LIST:
        hear_transitions(talk, doc, a);
        break;
    case ACT_MOVE:
    case ACT_DONE:
        talk->act = ACT_DONE;
        break;
    }
}

static const json_t *keep(const struct talk *talk, const struct step_input *in, struct arena *a)
{
    const struct jira_cfg *j = in->cfg;

    if (!talk->issue || !is_replaceable(in->notification))
        return NULL;
    return json_owned(json_pack("{s:s, s:s, s:s}", "of", j->project, "issue", talk->issue, "said",
                                talk->told ? in->notification->id : ""),
                      a);
}

static int step(const struct step_input *in, struct arena *a, struct step *ret, struct err *e)
{
    struct talk talk = begin(in);

    for (size_t i = 0; i < in->past_n && talk.act != ACT_DONE; i++)
        hear(&talk, in, &in->past[i].response, a);
    *ret = (struct step){.done = talk.act == ACT_DONE};
    if (!ret->done)
        return ask(&talk, in, a, &ret->request, e);
    ret->outcome = talk.outcome;
    ret->outcome.keep = keep(&talk, in, a);
    if (!ret->outcome.words)
        ret->outcome.words = "";
    return 0;
}

#define DETAILS "{{word.details}}{{word.colon}}{{{link}}}"

const struct channel channel_jira = {
    .name = "jira",
    .summary = "Jira Cloud, REST API v3",
    .cfg_size = sizeof(struct jira_cfg),
    .keys = keys,
    .foreign = foreign,
    .trees = trees,
    .for_programs = true,
    .send_resolved = true,
    .news_layout = LAYOUT_NEWS("", "", "", "※ ", "", DETAILS),
    .max_text = 30000,
    .unit = UNIT_UTF16,
    .check = check,
    .destination = destination,
    .place = place,
    .step = step,
};
