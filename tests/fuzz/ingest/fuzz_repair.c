/*
 * Any body as a report of a repair. The first byte says whether the token may verify. What is taken
 * is JSON in one form, which taken again is the same; nobody without the right verifies.
 */
#include "ingest/repairs.h"

#include <errno.h>

#include "common/json.h"
#include "fuzz.h"
#include "text.h"

static struct settings settings;

static void load(void)
{
    static struct conf *conf;
    struct err e = {0};
    if (conf)
        return;
    MUST(conf_parse("fuzz", "", NULL, &conf, &e) == 0);
    MUST(settings_load(conf, &settings, &e) == 0);
}

static void check_form(const struct spool_record *r, bool may_verify)
{
    const struct json_limits flat = {.max_depth = 1};
    struct err e = {0};
    struct uuid incident;
    MUST(slice_is(r->topic, "repairs") && uuid_parse(r->key, &incident));
    MUST(json_scan(r->value, &flat, &e) == 0 && is_text(r->value));
    const struct slice verified = json_at(r->value, "verified");
    MUST(slice_is(verified, "false") || (may_verify && slice_is(verified, "true")));
    const struct slice id = json_at(r->value, "incident_id");
    MUST(id.len == r->key.len + 2 && memcmp(id.p + 1, r->key.p, r->key.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = fuzz_arena(0, (size_t)4 << 20);
    struct spool_record r, again;
    struct err e = {0};
    load();
    if (size == 0)
        return 0;
    struct repair_post post = {.body = {(const char *)data + 1, size - 1},
                               .may_verify = data[0] & 1,
                               .now_ms = 1700000000000};
    const int rc = repair_record(&post, &settings, a, &r, &e);
    if (rc < 0) {
        MUST((rc == -EBADMSG || rc == -E2BIG) && e.code == rc && e.msg[0]);
        return 0;
    }
    check_form(&r, post.may_verify);
    post.body = r.value;
    MUST(repair_record(&post, &settings, a, &again, &e) == 0);
    MUST(slice_eq(again.value, r.value) && slice_eq(again.key, r.key));
    return 0;
}
