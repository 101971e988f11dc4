/* Shared by the files that build the model; nobody else includes it. */
#pragma once

#include "common/incident.h"
#include "common/source.h"
#include "notifier/model.h"

struct model {
    json_t *root;
    const json_t *facts, *row, *about, *state, *incident, *group; /* of the facts; may be NULL */
    const struct style *s;
    const struct words *w;
    struct arena *a;
    bool resolved;
};

/* Members of an object as C values: "" and 0 when absent. */
const char *get_str(const json_t *o, const char *key);
int64_t get_int(const json_t *o, const char *key);

/* Nothing is set for NULL or "": a template's section on the name is then left out. */
void put_str(json_t *o, const char *key, const char *value);
void put_int(json_t *o, const char *key, int64_t value);
void put_flag(json_t *o, const char *key, bool value); /* true, or absent */
/* {"name","value"} onto a list; empty values are left out. */
void put_field(json_t *list, const char *name, const char *value);

const char *model_time(const struct model *m, int64_t ms);
const char *model_duration(const struct model *m, int64_t ms); /* whole minutes past a minute */
const char *model_number(const struct model *m, int64_t n);
const char *severity_word(const struct words *w, int64_t severity);
const char *severity_emoji(int64_t severity);
const char *source_word(const struct words *w, const char *source);
const char *source_name(const char *source);
const struct source *source_like(const char *source); /* its type; NULL: unknown */

void model_origin(struct model *m, int64_t severity); /* source, service, time ... and origin */
void model_repair(struct model *m);                   /* repair, and its text */
void model_notes(struct model *m);
void model_acts(struct model *m);    /* buttons, acts, has_acts, NAME_url */
void model_report(struct model *m);  /* twilio_status_url */
void model_alerts(struct model *m);  /* alerts, common_labels, common_annotations, lines */
void model_items(struct model *m);   /* a digest's items, lines */
void model_members(struct model *m); /* a merge's members, lines */
/* Keeps at most s->max_alerts lines. */
void model_lines(struct model *m, json_t *lines, size_t left_out);
