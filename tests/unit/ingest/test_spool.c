#include "ingest/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ingest/segment.h"
#include "testing.h"

/* ---- a directory, and who waits for answers ---- */

struct place {
    char dir[64];
    pthread_mutex_t lock;
    pthread_cond_t cond;
    size_t good, bad;
};

static void on_done(void *ctx, void *cookie, int rc)
{
    struct place *p = ctx;
    (void)cookie;
    (void)pthread_mutex_lock(&p->lock);
    if (rc == 0)
        p->good++;
    else
        p->bad++;
    (void)pthread_cond_broadcast(&p->cond);
    (void)pthread_mutex_unlock(&p->lock);
}

static void await(struct place *p, size_t answers)
{
    (void)pthread_mutex_lock(&p->lock);
    while (p->good + p->bad < answers)
        (void)pthread_cond_wait(&p->cond, &p->lock);
    (void)pthread_mutex_unlock(&p->lock);
}

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof(*p));
    assert_non_null(p);
    (void)snprintf(p->dir, sizeof(p->dir), "/tmp/test_spool.XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->cond, NULL);
    *state = p;
    return 0;
}

static void remove_tree(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        char sub[600];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        (void)snprintf(sub, sizeof(sub), "%s/%s", path, e->d_name);
        if (unlink(sub) < 0)
            remove_tree(sub);
    }
    if (d)
        (void)closedir(d);
    (void)rmdir(path);
}

static int teardown(void **state)
{
    struct place *p = *state;
    remove_tree(p->dir);
    (void)pthread_mutex_destroy(&p->lock);
    (void)pthread_cond_destroy(&p->cond);
    free(p);
    return 0;
}

static struct spool_options options(struct place *p, const char *id)
{
    return (struct spool_options){
        .dir = p->dir, .id = id, .max = 1 << 20, .done = on_done, .ctx = p};
}

static struct spool *open_spool(const struct spool_options *o)
{
    struct spool *s = NULL;
    struct err e = {0};
    if (spool_open(o, &s, &e) < 0)
        fail_msg("%s", e.msg);
    return s;
}

static int append(struct spool *s, const char *key, const char *value)
{
    static const struct kafka_header headers[] = {{"v", {"1", 1}}, {"tenant", {"", 0}}};
    const struct spool_record r = {.topic = SLICE_LIT("raw.sentry"),
                                   .key = slice_of(key),
                                   .value = slice_of(value),
                                   .headers = headers,
                                   .header_n = 2,
                                   .at = 1700000000123};
    return spool_append(s, &r, NULL);
}

/* The values that are to be drained, in order, as "a,b,c". */
static const char *contents(struct spool *s, char out[512])
{
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 20);
    struct spool_record r[64];
    size_t n = spool_peek(s, a, r, 64, SIZE_MAX), at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < n; i++)
        at +=
            (size_t)snprintf(out + at, 512 - at, "%s%.*s", i > 0 ? "," : "", SLICE_FMT(r[i].value));
    return out;
}

static struct spool_state state_of(struct spool *s)
{
    struct spool_state st;
    spool_state(s, &st);
    return st;
}

/* ---- tests ---- */

static void test_crc32c_known_answers(void **state)
{
    (void)state;
    static const char zeros[32] = {0};
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);       /* the catalogue's check value */
    assert_int_equal(crc32c(0, zeros, sizeof(zeros)), 0x8a9136aa); /* RFC 3720, B.4 */
    assert_int_equal(crc32c(crc32c(0, "12345", 5), "6789", 4), 0xe3069283);
}

static void test_in_order_and_identical(void **state)
{
    struct place *p = *state;
    const struct spool_options o = options(p, "a");
    CLEANUP(spool_close) struct spool *s = open_spool(&o);
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 16);
    struct spool_record r[4];
    char text[512];
    assert_int_equal(append(s, "k", "1"), 0);
    assert_int_equal(append(s, NULL, "2"), 0);
    assert_int_equal(append(s, "", "3"), 0);
    await(p, 3);
    assert_int_equal(p->good, 3);
    assert_string_equal(contents(s, text), "1,2,3");
    assert_int_equal(spool_peek(s, a, r, 4, SIZE_MAX), 3);
    assert_true(slice_is(r[0].topic, "raw.sentry") && slice_is(r[0].key, "k"));
    assert_null(r[1].key.p);
    assert_non_null(r[2].key.p);
    assert_int_equal(r[2].key.len, 0);
    assert_int_equal(r[0].header_n, 2);
    assert_string_equal(r[0].headers[0].name, "v");
    assert_true(slice_is(r[0].headers[0].value, "1"));
    assert_true(r[0].at == 1700000000123);
    assert_true(state_of(s).oldest == 1700000000123);

    assert_true(spool_has_key(s, SLICE_LIT("raw.sentry"), SLICE_LIT("k")));
    assert_false(spool_has_key(s, SLICE_LIT("raw.grafana"), SLICE_LIT("k")));
    assert_false(spool_has_key(s, SLICE_LIT("raw.sentry"), (struct slice){0}));
    spool_pop(s, 1);
    assert_false(spool_has_key(s, SLICE_LIT("raw.sentry"), SLICE_LIT("k")));
    assert_string_equal(contents(s, text), "2,3");
    assert_int_equal(append(s, "k", "4"), 0);
    await(p, 4);
    assert_string_equal(contents(s, text), "2,3,4");
    spool_pop(s, 3);
    assert_int_equal(state_of(s).records, 0);
    assert_true(state_of(s).oldest == 0);
}

static void test_full_says_so_and_recovers(void **state)
{
    struct place *p = *state;
    struct spool_options o = options(p, "a");
    o.max = 1000;
    o.segment = 200;
    CLEANUP(spool_close) struct spool *s = open_spool(&o);
    size_t n = 0;
    int rc = 0;
    for (; n < 100 && (rc = append(s, "k", "0123456789")) == 0; n++)
        await(p, n + 1);
    assert_int_equal(rc, -ENOSPC);
    assert_true(n > 2 && n < 20);
    assert_true(state_of(s).full);
    assert_true(state_of(s).bytes <= o.max);
    spool_pop(s, n);
    assert_false(state_of(s).full);
    assert_int_equal(append(s, "k", "again"), 0);
    await(p, n + 1);
    assert_int_equal(p->good, n + 1);
}

/* A file may grow no further: what a full disk is to the spool. */
static void limit_files(rlim_t bytes)
{
    struct rlimit l;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
    l.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

static void test_a_full_disk_refuses_and_takes_again(void **state)
{
    struct place *p = *state;
    struct spool_options o = options(p, "a");
    CLEANUP(spool_close) struct spool *s = open_spool(&o);
    char text[512];
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(append(s, "k", "1"), 0);
    await(p, 1);
    const size_t bytes = state_of(s).bytes;
    limit_files(bytes + 10); /* the next one fits in part */
    for (size_t n = 0; n < 3; n++) {
        assert_int_equal(append(s, "j", "2"), 0);
        await(p, 2 + n);
    }
    limit_files(RLIM_INFINITY);
    assert_int_equal(p->bad, 3);
    assert_true(state_of(s).full);
    assert_false(state_of(s).ended);
    assert_int_equal(state_of(s).records, 1);
    assert_int_equal(state_of(s).bytes, bytes);
    assert_false(spool_has_key(s, SLICE_LIT("raw.sentry"), SLICE_LIT("j")));

    assert_int_equal(append(s, "k", "3"), 0);
    await(p, 5);
    assert_int_equal(p->good, 2);
    assert_false(state_of(s).full);
    assert_string_equal(contents(s, text), "1,3");
    spool_close(TAKE(s));
    o = options(p, "b");
    s = open_spool(&o);
    assert_string_equal(contents(s, text), "1,3");
    assert_int_equal(state_of(s).damaged, 0);
}

static void test_a_disk_too_full_to_begin(void **state)
{
    struct place *p = *state;
    struct spool_options o = options(p, "a");
    CLEANUP(spool_close) struct spool *s = open_spool(&o);
    char text[512];
    (void)signal(SIGXFSZ, SIG_IGN);
    limit_files(3);
    assert_int_equal(append(s, "k", "1"), 0);
    await(p, 1);
    limit_files(RLIM_INFINITY);
    assert_int_equal(p->bad, 1);
    assert_int_equal(append(s, "k", "2"), 0);
    await(p, 2);
    assert_int_equal(p->good, 1);
    assert_string_equal(contents(s, text), "2");
}

/* No file more may be opened: nothing is in doubt, so it goes on once there is room for one. */
static void test_too_many_open_files_to_begin(void **state)
{
    struct place *p = *state;
    struct spool_options o = options(p, "a");
    CLEANUP(spool_close) struct spool *s = open_spool(&o);
    struct rlimit l;
    char text[512];
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &l), 0);
    const rlim_t most = l.rlim_cur;
    l.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &l), 0);
    assert_int_equal(append(s, "k", "1"), 0);
    await(p, 1);
    l.rlim_cur = most;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &l), 0);
    assert_int_equal(p->bad, 1);
    assert_false(state_of(s).ended);
    assert_int_equal(append(s, "k", "2"), 0);
    await(p, 2);
    assert_int_equal(p->good, 1);
    assert_string_equal(contents(s, text), "2");
}

static int failing_fsync(int fd)
{
    (void)fd;
    errno = EIO;
    return -1;
}

/* A file system that finds only now that it has no room. What is in the file by then is not known.
 */
static int late_fsync(int fd)
{
    (void)fd;
    errno = ENOSPC;
    return -1;
}

static void check_failed_fsync(struct place *p, const char *id, int (*fsync_)(int))
{
    struct spool_options o = options(p, id);
    o.fsync = fsync_;
    p->good = p->bad = 0;
    CLEANUP(spool_close) struct spool *s = open_spool(&o);
    char text[512];
    assert_int_equal(append(s, "k", "1"), 0);
    await(p, 1);
    assert_int_equal(p->good, 0);
    assert_int_equal(p->bad, 1);
    assert_true(state_of(s).ended);
    assert_false(spool_has_key(s, SLICE_LIT("raw.sentry"), SLICE_LIT("k")));
    assert_int_equal(append(s, "k", "2"), -EIO);
    assert_string_equal(contents(s, text), "");
}

static void test_a_failed_fsync_ends_it(void **state)
{
    check_failed_fsync(*state, "a", failing_fsync);
    check_failed_fsync(*state, "b", late_fsync);
}

static size_t count_dirs(const char *path)
{
    DIR *d = opendir(path);
    size_t n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    (void)closedir(d);
    return n;
}

static void test_closed_with_records_is_found_again(void **state)
{
    struct place *p = *state;
    struct spool_options o = options(p, "a");
    o.segment = 150; /* several segments */
    char text[512];
    struct spool *s = open_spool(&o);
    for (int i = 0; i < 5; i++) {
        char value[2] = {(char)('1' + i), '\0'};
        assert_int_equal(append(s, "k", value), 0);
        await(p, (size_t)i + 1);
    }
    spool_pop(s, 1);
    spool_close(s);

    struct spool_options next = options(p, "b");
    s = open_spool(&next);
    assert_true(spool_has_key(s, SLICE_LIT("raw.sentry"), SLICE_LIT("k")));
    assert_int_equal(append(s, "k", "new"), 0);
    await(p, 6);
    const char *got = contents(s, text);
    assert_string_equal(strstr(got, "2,3"),
                        "2,3,4,5,new"); /* what was drained of a segment may come again */
    spool_pop(s, state_of(s).records);
    spool_release(s, "b");
    spool_close(s);
    assert_int_equal(count_dirs(p->dir), 1); /* nobody said farewell for the first one */
}

/* Whoever was killed, and whoever was killed while it took over. */
static void test_a_directory_stands_until_the_farewell(void **state)
{
    struct place *p = *state;
    const struct spool_options a = options(p, "a"), b = options(p, "b"), c = options(p, "c");
    char id[SPOOL_ID], text[512];
    struct spool *s = open_spool(&a);
    assert_int_equal(append(s, "k", "theirs"), 0);
    await(p, 1);
    spool_close(s);
    spool_close(open_spool(&b));

    s = open_spool(&c);
    assert_true(spool_owes(s, id));
    assert_string_equal(id, "b"); /* not yet for "a", of which something is spooled */
    spool_release(s, "b");
    assert_false(spool_owes(s, id));
    assert_int_equal(count_dirs(p->dir), 2);
    assert_string_equal(contents(s, text), "theirs");
    spool_pop(s, 1);
    assert_true(spool_owes(s, id));
    assert_string_equal(id, "a");
    spool_release(s, "a");
    assert_false(spool_owes(s, id));
    assert_int_equal(count_dirs(p->dir), 1);
    spool_release(s, "c");
    spool_close(s);
    assert_int_equal(count_dirs(p->dir), 0);
}

static void test_directories_of_others_are_left_alone(void **state)
{
    struct place *p = *state;
    const struct spool_options a = options(p, "a");
    char path[600], id[SPOOL_ID];
    (void)snprintf(path, sizeof(path), "%s/lost+found", p->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    struct spool *s = open_spool(&a);
    assert_false(spool_owes(s, id));
    spool_release(s, "a");
    spool_close(s);
    assert_int_equal(count_dirs(p->dir), 1);
}

/* ---- set aside ---- */

/* The oldest one moves, or not: before it would be popped. */
static int set_aside(struct spool *s)
{
    CLEANUP(arena_free) struct arena *a = arena_new(1 << 16);
    struct spool_record r;
    assert_int_equal(spool_peek(s, a, &r, 1, SIZE_MAX), 1);
    return spool_set_aside(s, &r);
}

static struct spool *open_with(struct place *p, const char *id, const char *const *values)
{
    struct spool_options o = options(p, id);
    struct spool *s = open_spool(&o);
    for (; *values; values++) {
        assert_int_equal(append(s, "k", *values), 0);
        await(p, p->good + 1);
    }
    return s;
}

static const char *const one_to_three[] = {"1", "2", "3", NULL};
static const char *const nothing[] = {NULL};

static void test_set_aside_is_the_head_of_the_next_queue(void **state)
{
    struct place *p = *state;
    char text[512], id[SPOOL_ID];
    struct spool *s = open_with(p, "a", one_to_three);
    assert_int_equal(set_aside(s), 0);
    spool_pop(s, 1);
    assert_int_equal(set_aside(s), 0);
    spool_pop(s, 1);
    assert_string_equal(contents(s, text), "3");
    assert_int_equal(state_of(s).records, 1);
    assert_int_equal(state_of(s).aside, 2);
    assert_true(state_of(s).aside_at == 1700000000123);
    spool_pop(s, 1);
    assert_false(spool_has_key(s, SLICE_LIT("raw.sentry"), SLICE_LIT("k")));
    assert_true(state_of(s).oldest == 0);
    spool_release(s, "a"); /* even so it stands */
    spool_close(s);

    s = open_with(p, "b", (const char *const[]){"4", NULL});
    assert_string_equal(contents(s, text), "1,2,4");
    assert_int_equal(state_of(s).aside, 0);
    assert_true(spool_has_key(s, SLICE_LIT("raw.sentry"), SLICE_LIT("k")));
    assert_false(spool_owes(s, id));
    spool_pop(s, 2);
    assert_true(spool_owes(s, id));
    spool_release(s, "a");
    spool_pop(s, 1);
    spool_release(s, "b");
    spool_close(s);
    assert_int_equal(count_dirs(p->dir), 0);
}

/* What waits in older directories is newer than what was set aside out of them. */
static void test_set_aside_goes_before_all_that_waits(void **state)
{
    struct place *p = *state;
    char text[512];
    struct spool_options o = options(p, "a");
    o.segment = 150; /* one record each */
    struct spool *s = open_spool(&o);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(append(s, "k", one_to_three[i]), 0);
        await(p, i + 1);
    }
    spool_close(s);
    s = open_with(p, "b", nothing);
    assert_int_equal(set_aside(s), 0); /* among the files of "b" */
    spool_pop(s, 1);
    spool_close(s);
    s = open_with(p, "c", nothing);
    assert_string_equal(contents(s, text), "1,2,3");
    spool_close(s);
}

/* By closing: what is on disk is what a kill would leave. */
static void test_killed_before_it_left_the_queue(void **state)
{
    struct place *p = *state;
    char text[512];
    struct spool *s = open_with(p, "a", one_to_three);
    assert_int_equal(set_aside(s), 0);
    spool_close(s);
    s = open_with(p, "b", nothing);
    assert_string_equal(contents(s, text), "1,2,3");
    assert_int_equal(set_aside(s), 0);
    spool_close(s);
    s = open_with(p, "c", nothing); /* three copies of it are on disk */
    assert_string_equal(contents(s, text), "1,2,3");
    assert_int_equal(state_of(s).records, 3);
    assert_int_equal(set_aside(s), 0);
    spool_pop(s, 1);
    assert_string_equal(contents(s, text), "2,3");
    spool_close(s);
    s = open_with(p, "d", nothing); /* the segment still has it, as what was drained of it */
    assert_string_equal(contents(s, text), "1,2,3");
    spool_pop(s, 3);
    assert_int_equal(state_of(s).bytes, 0);
    spool_close(s);
}

static void test_set_aside_counts_against_the_bound(void **state)
{
    struct place *p = *state;
    struct spool_options o = options(p, "a");
    o.max = 1000;
    o.segment = 200;
    CLEANUP(spool_close) struct spool *s = open_spool(&o);
    size_t n = 0, again = 0;
    for (; append(s, "k", "0123456789") == 0; n++)
        await(p, n + 1);
    assert_true(n > 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(set_aside(s), 0); /* it is full, but they only move */
        spool_pop(s, 1);
    }
    spool_pop(s, n - 2);
    assert_int_equal(state_of(s).records, 0);
    assert_true(state_of(s).bytes > 2 * FRAME_LEN);
    for (; append(s, "k", "0123456789") == 0; again++)
        await(p, n + again + 1);
    assert_true(again > 0 && again <= n - 2);
}

static void test_what_cannot_be_set_aside_stays(void **state)
{
    struct place *p = *state;
    char text[512], dir[100];
    (void)snprintf(dir, sizeof(dir), "%s/a", p->dir);
    (void)signal(SIGXFSZ, SIG_IGN);
    CLEANUP(spool_close) struct spool *s = open_with(p, "a", one_to_three);
    const size_t bytes = state_of(s).bytes;
    for (rlim_t room = 3; room < 60; room += 50) { /* not even its beginning; a part of it */
        limit_files(room);
        assert_int_equal(set_aside(s), -ENOSPC);
        limit_files(RLIM_INFINITY);
        assert_int_equal(state_of(s).aside, 0);
        assert_int_equal(state_of(s).bytes, bytes);
        assert_false(state_of(s).ended);
        assert_int_equal(count_dirs(dir), 2);
    }
    assert_int_equal(set_aside(s), 0);
    limit_files(140); /* the first is in the file, the second fits in part */
    spool_pop(s, 1);
    assert_int_equal(set_aside(s), -ENOSPC);
    limit_files(RLIM_INFINITY);
    assert_int_equal(set_aside(s), 0);
    spool_pop(s, 1);
    assert_string_equal(contents(s, text), "3");
    spool_close(TAKE(s));
    s = open_with(p, "b", nothing);
    assert_int_equal(state_of(s).damaged, 0);
    assert_string_equal(contents(s, text), "1,2,3"); /* of the segment only what is not aside */
}

static int fsync_until_set_aside(int fd)
{
    char link[64], path[600];
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, path, sizeof(path) - 1);
    path[n > 0 ? n : 0] = '\0';
    errno = EIO;
    return strstr(path, ".aside") ? -1 : 0;
}

static void test_a_failed_fsync_sets_nothing_aside(void **state)
{
    struct place *p = *state;
    char text[512];
    struct spool_options o = options(p, "a");
    o.fsync = fsync_until_set_aside;
    CLEANUP(spool_close) struct spool *s = open_spool(&o);
    assert_int_equal(append(s, "k", "1"), 0);
    await(p, 1);
    assert_int_equal(set_aside(s), -EIO);
    assert_int_equal(state_of(s).aside, 0);
    assert_true(state_of(s).ended);
    assert_int_equal(set_aside(s), -EIO);
    assert_string_equal(contents(s, text), "1");
}

/* An outage of last week must not come back with the crash of today. */
static void test_what_was_drained_leaves_the_disk(void **state)
{
    struct place *p = *state;
    const struct spool_options o = options(p, "a");
    char dir[100], text[512];
    (void)snprintf(dir, sizeof(dir), "%s/a", p->dir);
    CLEANUP(spool_close) struct spool *s = open_spool(&o);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(append(s, "k", "x"), 0);
        await(p, i + 1);
        assert_int_equal(count_dirs(dir), 2); /* the lock and a segment */
        assert_string_equal(contents(s, text), "x");
        spool_pop(s, 1);
        assert_int_equal(count_dirs(dir), 1);
        assert_int_equal(state_of(s).bytes, 0);
    }
}

static void test_a_living_process_keeps_its_directory(void **state)
{
    struct place *p = *state;
    const struct spool_options a = options(p, "a"), b = options(p, "b");
    char text[512];
    CLEANUP(spool_close) struct spool *first = open_spool(&a);
    assert_int_equal(append(first, "k", "mine"), 0);
    await(p, 1);
    CLEANUP(spool_close) struct spool *second = open_spool(&b);
    assert_string_equal(contents(second, text), "");
    assert_string_equal(contents(first, text), "mine");
    struct spool *third = NULL;
    struct err e = {0};
    assert_int_equal(spool_open(&a, &third, &e), -EWOULDBLOCK);
}

static const char *goes; /* a directory whose process ends as soon as its lock was opened */

/* Instead of the C library's: what happens between open() and flock() of another process. */
int flock(int fd, int operation)
{
    if (goes)
        remove_tree(goes);
    goes = NULL;
    return (int)syscall(SYS_flock, fd, operation);
}

static void test_a_directory_that_goes_while_it_is_adopted(void **state)
{
    struct place *p = *state;
    const struct spool_options a = options(p, "a"), b = options(p, "b");
    char dir[100], id[SPOOL_ID];
    (void)snprintf(dir, sizeof(dir), "%s/a", p->dir);
    spool_close(open_spool(&a));
    goes = dir;
    CLEANUP(spool_close) struct spool *s = open_spool(&b);
    assert_false(spool_owes(s, id));
}

/* ---- crashes, by the bytes that they leave ---- */

static void write_file(const char *dir, const char *name, const char *p, size_t n)
{
    char path[600];
    (void)mkdir(dir, 0700);
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, p, n), n);
    (void)close(fd);
}

/* A file of three records; their ends. */
static void make_segment(struct buf *b, size_t ends[3])
{
    buf_puts(b, SEGMENT_MAGIC);
    for (int i = 0; i < 3; i++) {
        char value[2] = {(char)('1' + i), '\0'};
        static const struct kafka_header h = {"v", {"1", 1}};
        const struct spool_record r = {.topic = SLICE_LIT("raw.sentry"),
                                       .key = SLICE_LIT("k"),
                                       .value = slice_of(value),
                                       .headers = &h,
                                       .header_n = 1,
                                       .at = 5};
        segment_put(b, &r);
        ends[i] = b->len;
    }
    assert_false(b->failed);
}

static const char *recovered(struct place *p, const char *bytes, size_t n, char out[512],
                             uint64_t *damaged)
{
    char dir[100];
    (void)snprintf(dir, sizeof(dir), "%s/0", p->dir);
    write_file(dir, "lock", "", 0);
    write_file(dir, "00000001.seg", bytes, n);
    const struct spool_options o = options(p, "1");
    CLEANUP(spool_close) struct spool *s = open_spool(&o);
    (void)contents(s, out);
    *damaged = state_of(s).damaged;
    spool_pop(s, state_of(s).records);
    spool_release(s, "0");
    spool_release(s, "1");
    return out;
}

static void test_cut_at_every_byte(void **state)
{
    struct place *p = *state;
    CLEANUP(buf_release) struct buf b = BUF_INIT(65536);
    static const char *const expected[] = {"", "1", "1,2", "1,2,3"};
    size_t ends[3];
    make_segment(&b, ends);
    for (size_t n = 0; n <= b.len; n++) {
        char text[512];
        uint64_t damaged = 0;
        size_t whole = (n >= ends[0]) + (size_t)(n >= ends[1]) + (size_t)(n >= ends[2]);
        if (strcmp(recovered(p, b.p, n, text, &damaged), expected[whole]) != 0)
            fail_msg("cut at %zu of %zu: %s", n, b.len, text);
        assert_int_equal(damaged, 0); /* torn is not damaged */
    }
}

static void test_every_flipped_byte_costs_one_record(void **state)
{
    struct place *p = *state;
    CLEANUP(buf_release) struct buf b = BUF_INIT(65536);
    static const char *const expected[] = {"2,3", "1,3", "1,2"};
    size_t ends[3];
    make_segment(&b, ends);
    for (size_t i = SEGMENT_MAGIC_LEN; i < b.len; i++) {
        char text[512];
        uint64_t damaged = 0;
        size_t hit = (i >= ends[0]) + (size_t)(i >= ends[1]);
        b.p[i] = (char)(b.p[i] ^ 0x41);
        if (strcmp(recovered(p, b.p, b.len, text, &damaged), expected[hit]) != 0)
            fail_msg("flipped %zu: %s", i, text);
        /* The head of the last record: what follows it is what a torn tail looks like. */
        assert_true(damaged == 1 || (hit == 2 && i < ends[1] + FRAME_LEN && damaged == 0));
        b.p[i] = (char)(b.p[i] ^ 0x41);
    }
}

static void test_garbage_is_no_record(void **state)
{
    struct place *p = *state;
    char text[512], garbage[3000];
    uint64_t damaged = 0;
    for (size_t i = 0; i < sizeof(garbage); i++)
        garbage[i] = (char)(i * 7919 >> 3);
    assert_string_equal(recovered(p, garbage, sizeof(garbage), text, &damaged), "");
    assert_string_equal(recovered(p, "", 0, text, &damaged), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c_known_answers),
        cmocka_unit_test_setup_teardown(test_in_order_and_identical, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_says_so_and_recovers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_disk_refuses_and_takes_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_disk_too_full_to_begin, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many_open_files_to_begin, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_failed_fsync_ends_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closed_with_records_is_found_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_drained_leaves_the_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_living_process_keeps_its_directory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_directory_stands_until_the_farewell, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_directory_that_goes_while_it_is_adopted, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_directories_of_others_are_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_set_aside_is_the_head_of_the_next_queue, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_set_aside_goes_before_all_that_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_before_it_left_the_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(test_set_aside_counts_against_the_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_set_aside_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_failed_fsync_sets_nothing_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_at_every_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_flipped_byte_costs_one_record, setup, teardown),
        cmocka_unit_test_setup_teardown(test_garbage_is_no_record, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
