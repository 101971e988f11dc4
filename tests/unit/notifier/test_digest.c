/* A digest that does not fit into one message, and one of which something is silenced by now. A
 * real Postgres; a chat that takes 4096 bytes. */
#include <errno.h>

#include "digest_stage.h"

static void names_every_incident_the_critical_first(void **state)
{
    struct worker *w = open_worker("many", 20);

    (void)state;
    add_incidents("many", 120);
    add_digest("many", "d", WECOM, 1, "many", 0, 119);
    start(w);
    until_ended("many");
    each_was_read_once("many", 120);
    json_t *messages = fakes_seen(&fakes, "wecom", "many 1");
    assert_non_null(strstr(json_string_value(json_object_get(json_array_get(messages, 0), "text")),
                           "many 119"));
    json_decref(messages);
    assert_int_equal(fakes_count(&fakes, "wecom", "以及另外"), 0);
    assert_true(INT("SELECT count(*) FROM notifications WHERE receiver = 'many' AND kind = "
                    "'digest' AND state = 'delivered'") >= 3);
    assert_string_equal(told("many", "delivered"), "120 7260");
    assert_int_equal(INT("SELECT (told #> '{0,delivered,seq}')::int FROM groups WHERE receiver = "
                         "'many'"),
                     1);
    /* the ledger knows which of them told it */
    assert_int_equal(INT("SELECT count(*) FROM notification_incidents k JOIN notifications n ON "
                         "n.id = k.notification_id WHERE n.receiver = 'many' AND n.about -> "
                         "'items' @> jsonb_build_array(jsonb_build_object('incident', "
                         "k.incident_id))"),
                     120);
    assert_int_equal(INT("SELECT count(*) FROM notification_incidents k JOIN notifications n ON "
                         "n.id = k.notification_id WHERE n.receiver = 'many'"),
                     120);
    close_worker(w);
}

static void a_program_is_given_all_at_once(void **state)
{
    struct worker *w = open_worker("program", 20);

    (void)state;
    add_incidents("program", 120);
    add_digest("program", "d", WEBHOOK, 1, "program", 0, 119);
    start(w);
    until_ended("program");
    assert_int_equal(INT("SELECT count(*) FROM notifications WHERE receiver = 'program'"), 1);
    assert_int_equal(fakes_count(&fakes, "webhook", "program 000 "), 1);
    assert_int_equal(fakes_count(&fakes, "webhook", "program 119 "), 1);
    close_worker(w);
}

/* Of either part, only what it told itself waits for the next digest. */
static void what_a_part_did_not_tell_is_given_back(void **state)
{
    static const char *const answers[] = {"\"200body:93000\"", "\"ok\", \"200body:93000\""};

    (void)state;
    for (int part = 0; part < 2; part++) {
        const char *name = part ? "second" : "first";
        struct worker *w = open_worker(name, 20);

        add_incidents(name, 60);
        add_digest(name, "d", WECOM, 1, name, 0, 59);
        fakes_order(&fakes, sql("{\"channel\": \"wecom\", \"key\": \"%s\", \"answers\": [%s]}",
                                name, answers[part]));
        start(w);
        until_ended(name);
        assert_string_equal(TEXT("SELECT string_agg(state, ' ' ORDER BY state) FROM notifications "
                                 "WHERE receiver = '%s'",
                                 name),
                            "delivered failed");
        assert_string_equal(
            TEXT("SELECT state FROM notifications WHERE id = md5('%sd')::uuid", name),
            part ? "delivered" : "failed");
        assert_string_equal(TEXT("SELECT count(*) || ' ' || sum(occurrences) FROM digest_items "
                                 "WHERE group_id = md5('%s0g')::uuid",
                                 name),
                            told(name, "failed"));
        assert_int_equal(INT("SELECT count(*) FROM digest_items d JOIN notifications n ON "
                             "n.receiver = '%s' AND n.state = 'delivered' AND n.about -> 'items' "
                             "@> jsonb_build_array(jsonb_build_object('incident', d.incident_id)) "
                             "WHERE d.group_id = md5('%s0g')::uuid",
                             name, name),
                         0);
        assert_int_equal(INT("SELECT count(*) FROM timers WHERE kind = 1 AND subject = "
                             "uuid_send(md5('%s0g')::uuid)",
                             name) > 0,
                         1);
        close_worker(w);
    }
}

static void a_fallback_is_told_the_part_that_was_not_taken(void **state)
{
    struct worker *w = open_worker("spare", 20);

    (void)state;
    add_incidents("spare", 60);
    add_digest("sparef", "d", WECOM, 1, "spare", 0, 59);
    fakes_order(&fakes, "{\"channel\": \"wecom\", \"key\": \"sparef\", \"answers\": [\"ok\", "
                        "\"200body:93000\"]}");
    start(w);
    until_ended("sparef");
    until_ended("spareb");
    assert_string_equal(told("sparef", "failed"), told("spareb", "delivered"));
    assert_int_equal(INT("SELECT count(*) FROM digest_items WHERE group_id = "
                         "md5('sparef0g')::uuid"),
                     0);
    assert_int_equal(INT("SELECT count(*) FROM notifications WHERE receiver = 'spareb' AND about "
                         "#>> '{fallback,group}' = md5('sparef0g')::uuid::text"),
                     1);
    close_worker(w);
}

/* The first try of a digest that tells an older one's items too is lost after it was parted. */
static void tells_an_older_ones_items_once_whatever_is_tried_again(void **state)
{
    struct worker *w = open_worker("again", 20);

    (void)state;
    add_incidents("again", 90);
    add_digest("again", "old", WECOM, 1, "again", 0, 39);
    add_digest("again", "new", WECOM, 2, "again", 30, 89);
    fakes_order(&fakes,
                "{\"channel\": \"wecom\", \"key\": \"again\", \"answers\": [\"500\", \"500\"]}");
    start(w);
    until_ended("again");
    assert_string_equal(TEXT("SELECT state || ' ' || (superseded_by = md5('againnew')::uuid) FROM "
                             "notifications WHERE id = md5('againold')::uuid"),
                        "superseded true");
    /* ten of them stand in both */
    assert_string_equal(told("again", "delivered"), sql("90 %d", 90 * 91 / 2 + 31 * 10 + 45));
    close_worker(w);
}

static const char *who_may_double(const char *receiver)
{
    return TEXT("SELECT string_agg(state || ' ' || possible_duplicate, ', ' ORDER BY state, "
                "possible_duplicate) FROM notifications WHERE receiver = '%s'",
                receiver);
}

/* A worker died while it sent the older one, and who goes on has room for less. */
static void says_so_when_what_it_tells_may_have_arrived(void **state)
{
    struct worker *w = open_worker("perhaps", 20);

    (void)state;
    add_incidents("perhaps", 60);
    add_digest("perhaps", "old", WECOM, 1, "perhaps", 0, 39);
    add_digest("perhaps", "new", WECOM, 2, "perhaps", 40, 59);
    DO("UPDATE notifications SET state = 'sending', lease_by = 'dead', lease_until = 1, attempts "
       "= 1 WHERE id = md5('perhapsold')::uuid");
    start(w);
    until_ended("perhaps");
    assert_string_equal(who_may_double("perhaps"),
                        "delivered true, delivered true, superseded false");
    close_worker(w);
}

/* One was not answered: the newer tells it again; or it did tell the older, which goes before its
 * next try. */
static void says_so_when_the_other_ones_answer_did_not_come(void **state)
{
    static const char *const names[] = {"old", "new"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        const char *name = sql("unheard%d", i);
        struct worker *w = open_worker(name, 20);

        add_incidents(name, 4);
        add_digest(name, "old", WEBHOOK, 1, name, 0, 1);
        add_digest(name, "new", WEBHOOK, 2, name, 2, 3);
        DO("UPDATE notifications SET possible_duplicate = true, attempts = 1, not_before = "
           "(extract(epoch FROM now()) * 1000)::bigint + 3600000 * %d WHERE id = md5('%s%s')::uuid",
           i, name, names[i]);
        start(w);
        if (i > 0) {
            until_count(1, sql("id = md5('%sold')::uuid AND state = 'delivered'", name));
            DO("UPDATE notifications SET not_before = 0 WHERE id = md5('%snew')::uuid", name);
        }
        until_ended(name);
        assert_string_equal(who_may_double(name), i ? "delivered true, delivered true"
                                                    : "delivered true, superseded true");
        close_worker(w);
    }
}

/* In a merge it would be one line; what else waits is merged without it. */
static void waits_for_its_rate_by_itself(void **state)
{
    struct worker *w = open_worker("rate", 1);

    (void)state;
    add_incidents("rate", 6);
    for (int i = 0; i < 3; i++)
        add_digest("rate", sql("d%d", i), WECOM, 1, "rate", i, i);
    DO("UPDATE notifications SET group_id = id, severity = 2 WHERE receiver = 'rate'");
    DO("INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, seq, "
       "kind, severity, incident_id, about, created_at) SELECT 't', id, id, 'rate', 0, 'wecom', 1, "
       "'opened', 3, id, '{\"reason\": \"opened\", \"state\": {\"seq\": 1, \"status\": "
       "\"firing\"}}', 0 FROM incidents WHERE title ~ '^rate 00[345]'");
    start(w);
    until_ended("rate");
    assert_string_equal(TEXT("SELECT string_agg(DISTINCT kind || ' ' || state, ', ' ORDER BY kind "
                             "|| ' ' || state) FROM notifications WHERE receiver = 'rate'"),
                        "digest delivered, merge delivered, opened delivered, opened merged");
    each_was_read_once("rate", 6);
    close_worker(w);
}

/* As a worker of this name has claimed it from an integration of w's. */
static struct job *claimed(struct worker *w, const char *name, int integration, struct store *ret)
{
    struct room room = {.outlet = &w->outlets->v[integration], .n = 9};
    struct err e = {0};
    struct job *j = NULL;

    *ret = (struct store){.s = &w->settings, .outlets = w->outlets, .name = name};
    assert_int_equal(pg_open(&w->settings.postgres, "test", &ret->pg, &e), 0);
    assert_int_equal(pg_connect(ret->pg, &e), 0);
    assert_int_equal(store_claim(ret, &(struct rooms){&room, 1}, &(struct look){0}, 9, &j, &e), 0);
    assert_non_null(j);
    return j;
}

static void is_parted_by_its_holder_alone(void **state)
{
    struct worker *w = open_worker("lease", 20);
    struct store st;
    struct err e = {0};

    (void)state;
    add_incidents("lease", 3);
    add_digest("lease", "d", WECOM, 1, "lease", 0, 2);
    struct job *j = claimed(w, "slow", WECOM, &st);
    json_t *items = json_object_get(j->facts, "items");
    assert_int_equal(json_array_size(items), 3);
    (void)json_array_remove(items, 2);
    DO("UPDATE notifications SET lease_by = 'quick' WHERE receiver = 'lease'");
    assert_int_equal(store_split(&st, j, &e), -ESTALE);
    assert_string_equal(told("lease", "sending"), "3 6");
    assert_int_equal(INT("SELECT count(*) FROM notifications WHERE receiver = 'lease'"), 1);
    DO("UPDATE notifications SET lease_by = 'slow' WHERE receiver = 'lease'");
    assert_int_equal(store_split(&st, j, &e), 0);
    assert_int_equal(strtol(told("lease", "sending"), NULL, 10), 2);
    assert_int_equal(strtol(told("lease", "pending"), NULL, 10), 1);
    job_free_list(j);
    pg_close(st.pg);
    close_worker(w);
}

static long long rows_read(struct store *st)
{
    struct err e = {0};

    assert_int_equal(pg_exec(st->pg, "SELECT pg_stat_force_next_flush()", &e), 0);
    DO("SELECT pg_stat_force_next_flush()");
    return INT("SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_user_tables WHERE relname = "
               "'notifications'");
}

/* What its group was told in all the years before. */
static void reads_no_history_to_be_parted(void **state)
{
    struct worker *w = open_worker("years", 20);
    struct store st;
    struct err e = {0};

    (void)state;
    add_incidents("years", 3);
    add_digest("years", "old", WECOM, 5001, "years", 0, 1);
    add_digest("years", "new", WECOM, 5002, "years", 1, 2);
    DO("INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, seq, "
       "kind, severity, about, state, created_at, ended_at) SELECT 't', md5('years' || i)::uuid, "
       "md5('years0g')::uuid, 'years', 0, 'wecom', i, 'digest', 2, '{}', 'delivered', i, i FROM "
       "generate_series(1, 5000) AS i");
    DO("UPDATE groups SET told = told || '{\"0\": {\"delivered\": {\"seq\": 5000}}}' WHERE id = "
       "md5('years0g')::uuid");
    DO("ANALYZE notifications");
    struct job *j = claimed(w, "me", WECOM, &st);
    (void)json_array_remove(json_object_get(j->facts, "items"), 0);
    const long long before = rows_read(&st);
    assert_int_equal(store_split(&st, j, &e), 0);
    const long long read = rows_read(&st) - before;
    if (read > 100)
        fail_msg("%lld rows were read", read);
    assert_string_equal(TEXT("SELECT state FROM notifications WHERE id = md5('yearsold')::uuid"),
                        "superseded");
    job_free_list(j);
    pg_close(st.pg);
    close_worker(w);
}

/* ---- more than is read at once ---- */

/* The severe and those that go on are there; the rest is a number, and its row not read either. */
static void is_read_in_parts(void **state)
{
    struct worker *w = open_worker("load", 20);
    struct store st;

    (void)state;
    add_incidents("load", 2500);
    add_digest("load", "old", WECOM, 1, "load", 0, 999);
    add_digest("load", "new", WECOM, 2, "load", 900, 2499);
    DO("UPDATE incidents SET status = 4 WHERE title LIKE 'load 0%%'");
    struct job *j = claimed(w, "me", WECOM, &st);
    const json_t *items = json_object_get(j->facts, "items"), *one,
                 *unread = json_object_get(j->facts, "unread"),
                 *row = json_object_get(j->facts, "notification");
    json_int_t occurrences = json_integer_value(json_object_get(unread, "occurrences"));
    size_t i;

    assert_int_equal(json_array_size(items), 1000);
    assert_int_equal(json_integer_value(json_object_get(unread, "n")), 1500);
    assert_null(json_object_get(json_object_get(row, "about"), "items"));
    assert_string_equal(json_string_value(json_object_get(
                            json_object_get(json_array_get(items, 0), "incident"), "title")),
                        "load 2499 disk is filling up faster than anybody cleans it");
    json_array_foreach (items, i, one) {
        assert_int_equal(
            json_integer_value(json_object_get(json_object_get(one, "incident"), "status")), 1);
        occurrences += json_integer_value(json_object_get(one, "occurrences"));
    }
    assert_int_equal(occurrences, 2500 * 2501 / 2 + (901 + 1000) * 50);
    job_free_list(j);
    pg_close(st.pg);
    close_worker(w);
}

static void goes_on_to_a_program_with_what_was_not_read(void **state)
{
    struct worker *w = open_worker("huge", 20);

    (void)state;
    add_incidents("huge", 2500);
    add_digest("huge", "old", WEBHOOK, 1, "huge", 0, 999);
    add_digest("huge", "new", WEBHOOK, 2, "huge", 900, 2499);
    start(w);
    until_ended("huge");
    assert_string_equal(TEXT("SELECT string_agg(state || ' ' || jsonb_array_length(about -> "
                             "'items') || ' ' || severity, ', ' ORDER BY severity, "
                             "jsonb_array_length(about -> 'items'), state) FROM notifications "
                             "WHERE receiver = 'huge'"),
                        "delivered 500 2, delivered 1000 2, delivered 1000 4, superseded 1000 4");
    assert_string_equal(told("huge", "delivered"),
                        sql("2500 %d", 2500 * 2501 / 2 + (901 + 1000) * 50));
    for (int i = 0; i < 2500; i += 100)
        assert_int_equal(fakes_count(&fakes, "webhook", sql("\"huge %03d disk", i)), 1);
    close_worker(w);
}

/* As long as an annotation may be. */
static void goes_on_where_titles_are_long(void **state)
{
    struct worker *w = open_worker("long", 20);

    (void)state;
    add_incidents("long", 1000);
    DO("UPDATE incidents SET title = title || repeat('x', 16000) WHERE title LIKE 'long %%'");
    add_digest("long", "d", WEBHOOK, 1, "long", 0, 999);
    start(w);
    until_ended("long");
    assert_string_equal(told("long", "delivered"), "1000 500500");
    assert_int_equal(INT("SELECT count(*) FROM notifications WHERE receiver = 'long'"), 4);
    close_worker(w);
}

/* The number of a telephone's message stays true: what it names, and how many more there are. */
static void rings_once_for_all_of_it(void **state)
{
    struct worker *w = open_worker("phone", 20);

    (void)state;
    add_incidents("phone", 2500);
    add_digest("phone", "d", SMS, 1, "phone", 0, 2499);
    DO("INSERT INTO notifications (tenant, id, group_id, receiver, integration, channel, seq, "
       "kind, severity, about, created_at) SELECT tenant, md5('phone2')::uuid, "
       "md5('phone2')::uuid, receiver, %d, 'aliyun_sms', seq, kind, severity, about, created_at "
       "FROM notifications WHERE receiver = 'phone'",
       ALIYUN);
    start(w);
    until_ended("phone");
    assert_string_equal(TEXT("SELECT string_agg(channel || ' ' || state || ' ' || "
                             "jsonb_array_length(about -> 'items'), ', ' ORDER BY channel) FROM "
                             "notifications WHERE receiver = 'phone'"),
                        "aliyun_sms delivered 2500, twilio_sms delivered 2500");
    json_t *messages = fakes_seen(&fakes, "twilio_sms", "phone 2499");
    assert_int_equal(json_array_size(messages), 1);
    const char *text = json_string_value(json_object_get(json_array_get(messages, 0), "text"));
    const char *more = strstr(text, "\nand ");
    int named = 0;
    for (const char *p = text; (p = strstr(p, "phone ")); p++)
        named++;
    if (!more || strtol(more + strlen("\nand "), NULL, 10) + named != 2500)
        fail_msg("%d are named in: %s", named, text);
    json_decref(messages);
    close_worker(w);
}

/* What waits for the next digest of the group; and that it is known to who ends the silence, looks
 * when that ends by itself, and once more at once. */
static void waits_in(const char *group, const char *silence, const char *items)
{
    assert_string_equal(
        TEXT("SELECT coalesce(string_agg(i.title || ' ' || d.occurrences || ' ' || d.first_at, "
             "', ' ORDER BY i.title), '') FROM (SELECT incident_id, occurrences, first_at FROM "
             "digest_items WHERE group_id = md5('%s')::uuid AND integration = 0) d JOIN (SELECT "
             "id, substr(title, 1, "
             "strpos(title, ' disk') - 1) AS title FROM incidents) i ON i.id = d.incident_id",
             group),
        items);
    assert_int_equal(INT("SELECT count(*) FROM silenced_groups WHERE group_id = md5('%s')::uuid "
                         "AND silence_id = md5('%s')::uuid",
                         group, silence),
                     1);
    assert_string_equal(TEXT("SELECT count(*) FILTER (WHERE due_at = ends_at) || ' ' || count(*) "
                             "FROM timers, silences s WHERE s.id = md5('%s')::uuid AND subject = "
                             "uuid_send(md5('%s')::uuid)",
                             silence, group),
                        "1 2");
}

/* An end waits as well, as it does where digests are made. */
static void leaves_out_what_is_silenced_meanwhile(void **state)
{
    struct worker *w = open_worker("hushed", 20);

    (void)state;
    add_incidents("hushed", 5);
    silence_some("hushed", "001|002|004");
    DO("UPDATE incidents SET status = 4, resolved_by = 1, resolved_at = 9 WHERE title LIKE 'hushed "
       "004%%'");
    DO("UPDATE alerts SET status = 2, ended_at = 9 WHERE title LIKE 'hushed 004%%'");
    add_digest("hushed", "old", WECOM, 1, "hushed", 0, 1);
    add_digest("hushed", "new", WECOM, 2, "hushed", 1, 4);
    fakes_order(&fakes, "{\"channel\": \"wecom\", \"key\": \"hushed\", \"answers\": [\"500\"]}");
    start(w);
    until_ended("hushed");
    assert_string_equal(TEXT("SELECT string_agg(state, ' ' ORDER BY seq) FROM notifications WHERE "
                             "receiver = 'hushed'"),
                        "superseded delivered");
    assert_string_equal(told("hushed", "delivered"), "2 5");
    assert_int_equal(fakes_count(&fakes, "wecom", "hushed 001 "), 0);
    assert_int_equal(fakes_count(&fakes, "wecom", "hushed 002 "), 0);
    assert_true(fakes_count(&fakes, "wecom", "hushed 000 ") > 0);
    waits_in("hushed0g", "hushed", "hushed 001 4 10, hushed 002 3 10, hushed 004 5 10");
    assert_int_equal(INT("SELECT count(*) FROM notification_incidents WHERE notification_id = "
                         "md5('hushednew')::uuid"),
                     1);
    close_worker(w);
}

/* It is the next part of a digest; the group that waits is the digest's. */
static void is_not_sent_when_all_of_it_is_silenced(void **state)
{
    struct worker *w = open_worker("quiet", 20);

    (void)state;
    add_incidents("quiet", 2);
    silence_some("quiet", "000|001");
    add_digest("quiet", "d", WECOM, 1, "quiet", 0, 1);
    DO("UPDATE notifications SET about = about || jsonb_build_object('continues', "
       "jsonb_build_object('group', group_id, 'integration', 0)), group_id = id WHERE receiver = "
       "'quiet'");
    start(w);
    until_ended("quiet");
    assert_int_equal(INT("SELECT count(*) FROM notifications WHERE receiver = 'quiet' AND state = "
                         "'suppressed' AND reason LIKE 'silence %% of ann until 2%%: known'"),
                     1);
    assert_int_equal(fakes_count(&fakes, "wecom", "quiet 00"), 0);
    waits_in("quiet0g", "quiet", "quiet 000 1 10, quiet 001 2 10");
    assert_int_equal(INT("SELECT count(*) FROM notification_incidents WHERE notification_id = "
                         "md5('quietd')::uuid"),
                     2);
    close_worker(w);
}

/* All that was read of it is silenced; the rest is told. */
static void leaves_out_more_than_is_read_at_once(void **state)
{
    struct worker *w = open_worker("still", 20);

    (void)state;
    add_incidents("still", 1100);
    silence_some("still", "[0-9]{3}");
    DO("UPDATE incidents SET severity = 3 WHERE title ~ '^still [0-9]{3} '");
    DO("UPDATE incidents SET severity = 1 WHERE title ~ '^still [0-9]{4} '");
    add_digest("still", "d", WEBHOOK, 1, "still", 0, 1099);
    start(w);
    until_ended("still");
    assert_string_equal(told("still", "delivered"), sql("100 %d", (1001 + 1100) * 50));
    assert_int_equal(INT("SELECT count(*) FROM notifications WHERE receiver = 'still'"), 1);
    assert_int_equal(fakes_count(&fakes, "webhook", "\"still 1000 disk"), 1);
    assert_int_equal(fakes_count(&fakes, "webhook", "\"still 999 disk"), 0);
    assert_string_equal(TEXT("SELECT count(*) || ' ' || sum(occurrences) FROM digest_items WHERE "
                             "group_id = md5('still1g')::uuid"),
                        "1000 500500");
    assert_int_equal(INT("SELECT count(*) FROM notification_incidents WHERE notification_id = "
                         "md5('stilld')::uuid"),
                     100);
    close_worker(w);
}

/* A worker died between the two: what waits for the next digest is not sent by this one. */
static void ends_when_nothing_is_left_of_it(void **state)
{
    struct worker *w = open_worker("empty", 20);

    (void)state;
    add_incidents("empty", 1);
    add_digest("empty", "d", WECOM, 1, "empty", 0, 0);
    DO("UPDATE notifications SET about = jsonb_set(about, '{items}', '[]') WHERE receiver = "
       "'empty'");
    start(w);
    until_ended("empty");
    assert_string_equal(TEXT("SELECT state || ': ' || reason FROM notifications WHERE receiver = "
                             "'empty'"),
                        "suppressed: nothing is left of what it had to tell");
    close_worker(w);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_every_incident_the_critical_first),
        cmocka_unit_test(a_program_is_given_all_at_once),
        cmocka_unit_test(what_a_part_did_not_tell_is_given_back),
        cmocka_unit_test(a_fallback_is_told_the_part_that_was_not_taken),
        cmocka_unit_test(tells_an_older_ones_items_once_whatever_is_tried_again),
        cmocka_unit_test(says_so_when_what_it_tells_may_have_arrived),
        cmocka_unit_test(says_so_when_the_other_ones_answer_did_not_come),
        cmocka_unit_test(waits_for_its_rate_by_itself),
        cmocka_unit_test(is_parted_by_its_holder_alone),
        cmocka_unit_test(reads_no_history_to_be_parted),
        cmocka_unit_test(is_read_in_parts),
        cmocka_unit_test(goes_on_to_a_program_with_what_was_not_read),
        cmocka_unit_test(rings_once_for_all_of_it),
        cmocka_unit_test(leaves_out_what_is_silenced_meanwhile),
        cmocka_unit_test(is_not_sent_when_all_of_it_is_silenced),
        cmocka_unit_test(leaves_out_more_than_is_read_at_once),
        cmocka_unit_test(ends_when_nothing_is_left_of_it),
        cmocka_unit_test(
            goes_on_where_titles_are_long), /* last: each look at the log reads it all */
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
