/* `receivers:` and `global:`. */
#include "testing.h"

#include <string.h>

#include "common/buf.h"
#include "common/receivers.h"

struct loaded {
    struct conf *conf;
    struct receivers all;
    struct err e;
    int rc;
};

static void load(struct loaded *l, const char *text)
{
    *l = (struct loaded){0};
    assert_int_equal(conf_parse("t.yml", text, NULL, &l->conf, &l->e), 0);
    struct settings s = {.conf = l->conf};
    l->rc = receivers_load(&s, &l->all, &l->e);
}

static void refused(const char *text, const char *place, const char *why)
{
    struct loaded l;

    load(&l, text);
    assert_true(l.rc < 0);
    if (!strstr(l.e.msg, place) || !strstr(l.e.msg, why))
        fail_msg("%s", l.e.msg);
    conf_free(l.conf);
}

static void integrations_go_by_the_file_alone(void **state)
{
    struct loaded l;

    (void)state;
    load(&l, "receivers:\n- name: a\n  locale: zh-CN\n  webhook_configs: [{url: 'http://x/'}]\n  "
             "slack_configs: [{}, {channel: b}]\n"
             "- name: nobody\n");
    assert_int_equal(l.rc, 0);
    assert_int_equal(l.all.n, 2);
    const struct receiver *a = receiver_find(&l.all, SLICE_LIT("a"));
    assert_int_equal(a->n, 3);
    assert_string_equal(a->locale, "zh-CN");
    assert_string_equal(a->time_zone, "");
    assert_string_equal(a->v[0].channel, "webhook");
    assert_string_equal(a->v[0].path, "receivers.0.webhook_configs.0");
    assert_string_equal(a->v[1].path, "receivers.0.slack_configs.0");
    assert_string_equal(a->v[2].path, "receivers.0.slack_configs.1");
    assert_string_equal(yaml_scalar(yaml_get(a->v[2].node, "channel")), "b");
    assert_int_equal(receiver_find(&l.all, SLICE_LIT("nobody"))->n, 0);
    assert_null(receiver_find(&l.all, SLICE_LIT("b")));
    conf_free(l.conf);
}

static void an_alias_is_its_channel(void **state)
{
    struct loaded l;

    (void)state;
    load(&l, "receivers:\n- name: a\n  msteamsv2_configs: [{}, {}]\n  teams_configs: [{}]\n  "
             "weixin_configs: [{}]\n");
    assert_int_equal(l.rc, 0);
    assert_int_equal(l.all.v[0].n, 4);
    assert_string_equal(l.all.v[0].v[1].channel, "teams");
    assert_string_equal(l.all.v[0].v[1].path, "receivers.0.msteamsv2_configs.1");
    assert_string_equal(l.all.v[0].v[2].path, "receivers.0.teams_configs.0");
    assert_string_equal(l.all.v[0].v[3].channel, "wecom");
    conf_free(l.conf);
    assert_string_equal(channel_name_find(SLICE_LIT("weixin")), "wecom");
    assert_string_equal(channel_name_find(SLICE_LIT("wecom")), "wecom");
    assert_null(channel_name_find(SLICE_LIT("wei")));
    for (size_t i = 0; channel_name_at(i); i++)
        assert_string_not_equal(channel_name_at(i), "weixin");
}

static void global_has_alertmanagers_defaults(void **state)
{
    struct loaded l;

    (void)state;
    load(&l, "{}");
    assert_int_equal(l.rc, 0);
    assert_int_equal(l.all.n, 0);
    assert_int_equal(l.all.global.resolve_timeout, 300000);
    assert_true(l.all.global.smtp_require_tls);
    assert_string_equal(l.all.global.smtp_hello, "localhost");
    conf_free(l.conf);
}

static void a_foreign_global_key_is_named_and_loads(void **state)
{
    struct loaded l;

    (void)state;
    load(&l, "global: {victorops_api_url: 'https://x', resolve_timeout: 1m}");
    assert_int_equal(l.rc, 0);
    assert_int_equal(l.all.global.resolve_timeout, 60000);
    assert_non_null(strstr(conf_warning(l.conf, 0), "global.victorops_api_url"));
    assert_null(conf_warning(l.conf, 1));
    conf_free(l.conf);
}

static void mistakes_are_told_with_their_place(void **state)
{
    (void)state;
    refused("global: {resolve_timeuot: 1m}", "t.yml:1:", "resolve_timeuot");
    refused("receivers:\n- name: a\n- name: a\n", "t.yml:3:", "two receivers named a");
    refused("receivers:\n- slack_configs: []\n", "t.yml:2:", "needs a name");
    refused("receivers:\n- name: a\n  carrier_pigeon_configs: [{}]\n",
            "t.yml:3:", "no such channel");
    refused("receivers:\n- name: a\n  slak_configs:\n  - {}\n",
            "t.yml:3:3: ", "did you mean \"slack_configs\"?");
    refused("receivers:\n- name: a\n  locale: fr\n",
            "t.yml:3:11: ", "locale: one of en zh-CN zh-TW is expected, not \"fr\"");
    refused("receivers:\n- name: a\n  slak: 1\n", "t.yml:3:", "slak");
    refused("receivers:\n- name: a\n  slack_configs: {}\n", "t.yml:3:", "a list is expected");
    refused("receivers:\n- name: a\n  msteams_configs: [x]\n",
            "t.yml:3:", "msteams_configs: a list of");
    refused("receivers:\n- name: a\n  slack_configs: [x]\n", "t.yml:3:", "list of maps");
    refused("receivers:\n- name: a\n  time_zone: Asia/Shangai\n",
            "t.yml:3:14: ", "time zone Asia/Shangai: ");
    refused("receivers: {}\n", "t.yml:1:", "a list is expected");
}

#define TO(name, fallback)                                                                         \
    "- name: " name "\n  webhook_configs: [{url: 'http://x/'}]\n  fallback: " fallback "\n"

static void a_fallback_is_another_receiver_and_leads_to_an_end(void **state)
{
    struct loaded l;

    (void)state;
    load(&l, "receivers:\n" TO("a", "b") TO("b", "c") "- name: c\n  webhook_configs: [{url: x}]\n");
    assert_int_equal(l.rc, 0);
    assert_ptr_equal(l.all.v[0].fallback, &l.all.v[1]);
    assert_ptr_equal(l.all.v[1].fallback, &l.all.v[2]);
    assert_null(l.all.v[2].fallback);
    conf_free(l.conf);
    refused("receivers:\n" TO("a", "x"), "t.yml:4:13: ", "there is no receiver x");
    refused("receivers:\n" TO("a", "''"), "t.yml:4:13: ", "the name of a receiver is expected");
    refused("receivers:\n" TO("a", "[b]"), "t.yml:4:13: ", "the name of a receiver is expected");
    refused("receivers:\n" TO("a", "a"), "t.yml:4:13: ", "from a leads back");
    refused("receivers:\n" TO("a", "b") TO("b", "c") TO("c", "b"),
            "t.yml:7:13: ", "from b leads back");
    refused("receivers:\n" TO("a", "b") "- name: b\n", "t.yml:4:13: ", "b has no channel");
}

static void names_and_integrations_are_bounded(void **state)
{
    CLEANUP(buf_release) struct buf text = BUF_INIT(8192);
    struct loaded l;

    (void)state;
    buf_printf(&text, "receivers:\n- name: %0*d\n", RECEIVER_NAME_MAX, 0);
    load(&l, buf_str(&text));
    assert_int_equal(l.rc, 0);
    conf_free(l.conf);
    text.len = 0;
    buf_printf(&text, "receivers:\n- name: %0*d\n", RECEIVER_NAME_MAX + 1, 0);
    refused(buf_str(&text), "t.yml:2:9: ", "at most 200 bytes");
    text.len = 0;
    buf_puts(&text, "receivers:\n- name: a\n  slack_configs: [{}");
    for (int i = 1; i < INTEGRATIONS_MAX; i++)
        buf_puts(&text, ",{}");
    size_t fits = text.len;
    buf_puts(&text, "]\n");
    load(&l, buf_str(&text));
    assert_int_equal(l.rc, 0);
    conf_free(l.conf);
    text.len = fits;
    buf_puts(&text, ",{}]\n");
    refused(buf_str(&text), "t.yml:2:", "a has 65 integrations, more than 64");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integrations_go_by_the_file_alone),
        cmocka_unit_test(an_alias_is_its_channel),
        cmocka_unit_test(global_has_alertmanagers_defaults),
        cmocka_unit_test(a_foreign_global_key_is_named_and_loads),
        cmocka_unit_test(mistakes_are_told_with_their_place),
        cmocka_unit_test(a_fallback_is_another_receiver_and_leads_to_an_end),
        cmocka_unit_test(names_and_integrations_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
