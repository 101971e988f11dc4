/* Each test starts this very program again as a service, and treats it as an operator would. */
#include "testing.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/service.h"

/* --- the service --- */

struct toy {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool released;
    struct http_request *waiting;
    atomic_int checks;
    atomic_bool db_down;
};

static struct toy the_toy = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

/* The learner's section stands in for "its own": history 13 is refused, 14 deserves a warning. */
static int toy_configure(struct settings *s, void **ret_own, struct err *e)
{
    int *own = conf_alloc(s->conf, 1, sizeof(*own));

    if (!own)
        return err_set(e, -ENOMEM, "out of memory");
    if (s->learner.history == 13)
        return conf_key_err(s->conf, "learner.history", e, "brings bad luck");
    *own = 7;
    *ret_own = own;
    (void)conf_yaml(s->conf, "route");
    return s->learner.history == 14 ? conf_warn(s->conf, NULL, "nearly thirteen") : 0;
}

static int toy_start(const struct settings *s, void *own, void **ret_self, struct err *e)
{
    if (*(int *)own != 7 || s->learner.batch == 1)
        return err_set(e, -ECONNREFUSED, "nobody answers at 192.0.2.1");
    *ret_self = &the_toy;
    return 0;
}

static void toy_answer(struct toy *t)
{
    if (t->waiting)
        http_reply(t->waiting, 202, "text/plain", "late", 4);
    t->waiting = NULL;
}

static void toy_drain(void *self)
{
    struct toy *t = self;

    (void)pthread_mutex_lock(&t->lock);
    while (!t->released)
        (void)pthread_cond_wait(&t->wake, &t->lock);
    toy_answer(t);
    (void)pthread_mutex_unlock(&t->lock);
}

static void toy_release(struct toy *t)
{
    (void)pthread_mutex_lock(&t->lock);
    t->released = true;
    (void)pthread_cond_broadcast(&t->wake);
    (void)pthread_mutex_unlock(&t->lock);
}

static void toy_stop(void *self)
{
    toy_release(self);
}

static void toy_listen(const struct settings *s, struct httpd_options *ret, int64_t *ret_drain)
{
    *ret = (struct httpd_options){.listen = s->learner.listen,
                                  .threads = 4,
                                  .connections = 64,
                                  .max_body = 1000,
                                  .request_deadline_ms = 10000};
    *ret_drain = s->learner.drain_timeout;
}

static int check_db(void *self, struct err *e)
{
    struct toy *t = self;

    atomic_fetch_add(&t->checks, 1);
    return atomic_load(&t->db_down) ? err_set(e, -ECONNREFUSED, "refused \"now\"") : 0;
}

static int check_redis(void *self, struct err *e)
{
    (void)self;
    (void)e;
    return -ENOTCONN;
}

static void post_release(void *ctx, struct http_request *r)
{
    toy_release(ctx);
    http_reply(r, 200, "text/plain", "released", 8);
}

static void post_fail(void *ctx, struct http_request *r)
{
    struct err why = {0};

    (void)ctx;
    (void)err_set(&why, -EIO, "the disk is gone");
    http_reply(r, 200, NULL, "{}", 2);
    service_fail(&why);
}

static void post_wait(void *ctx, struct http_request *r)
{
    struct toy *t = ctx;

    http_defer(r);
    (void)pthread_mutex_lock(&t->lock);
    t->waiting = r;
    (void)pthread_mutex_unlock(&t->lock);
}

static void get_waiting(void *ctx, struct http_request *r)
{
    struct toy *t = ctx;
    bool waiting;

    (void)pthread_mutex_lock(&t->lock);
    waiting = t->waiting != NULL;
    (void)pthread_mutex_unlock(&t->lock);
    http_reply(r, waiting ? 200 : 404, NULL, "{}", 2);
}

static void post_down(void *ctx, struct http_request *r)
{
    struct toy *t = ctx;

    atomic_store(&t->db_down, true);
    http_reply(r, 200, NULL, "{}", 2);
}

static void get_checks(void *ctx, struct http_request *r)
{
    struct toy *t = ctx;
    char text[16];
    const int n = snprintf(text, sizeof(text), "%d", atomic_load(&t->checks));

    http_reply(r, 200, "text/plain", text, (size_t)n);
}

static const struct health_check toy_health[] = {
    {"db", check_db, true},
    {"redis", check_redis, false},
    {NULL, NULL, false},
};

static const struct http_route toy_routes[] = {
    {"POST", "/release", NULL, post_release},
    {"POST", "/fail", NULL, post_fail},
    {"POST", "/wait", NULL, post_wait},
    {"POST", "/down", NULL, post_down},
    {"GET", "/waiting", NULL, get_waiting},
    {"GET", "/checks", NULL, get_checks},
    {NULL, NULL, NULL, NULL},
};

static const struct service_flag toy_flags[] = {
    {"history", "learner.history", "N", "remember this much"},
    {NULL, NULL, NULL, NULL},
};

static int toy_add(const struct settings *s, void *own, const char *const *args)
{
    (void)own;
    (void)printf("%s: %ld\n", s->tenant, strtol(args[0], NULL, 10) + strtol(args[1], NULL, 10));
    return strcmp(args[1], "7") == 0 ? 1 : 0;
}

static const struct service_task toy_tasks[] = {
    {"add", "A B", "say what both are together", 2, toy_add},
    {0},
};

static const struct service_type toy_type = {
    .tasks = toy_tasks,
    .name = "tocsin-toy",
    .summary = "for tests",
    .flags = toy_flags,
    .configure = toy_configure,
    .start = toy_start,
    .drain = toy_drain,
    .stop = toy_stop,
    .health = toy_health,
    .routes = toy_routes,
    .listen = toy_listen,
};

/* --- its operator --- */

struct process {
    pid_t pid;
    int out, err; /* read ends */
    struct buf out_text, err_text;
    unsigned port;
};

static void process_release(struct process *p)
{
    if (p->pid > 0) {
        (void)kill(p->pid, SIGKILL);
        (void)waitpid(p->pid, NULL, 0);
    }
    (void)close(p->out);
    (void)close(p->err);
    buf_release(&p->out_text);
    buf_release(&p->err_text);
}
#define process_release_p process_release

static struct process launch(const char *const *flags)
{
    struct process p = {.out_text = BUF_INIT(1 << 20), .err_text = BUF_INIT(1 << 20)};
    const char *argv[16] = {"tocsin-toy"};
    int out[2], err[2];

    for (size_t i = 0; flags[i]; i++)
        argv[i + 1] = flags[i];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err, O_CLOEXEC), 0);
    p.pid = fork();
    assert_true(p.pid >= 0);
    if (p.pid == 0) {
        char *const *args;

        memcpy(&args, &(const char *const *){argv}, sizeof(args));
        (void)dup2(out[1], STDOUT_FILENO);
        (void)dup2(err[1], STDERR_FILENO);
        (void)execv("/proc/self/exe", args);
        _exit(127);
    }
    (void)close(out[1]);
    (void)close(err[1]);
    p.out = out[0];
    p.err = err[0];
    return p;
}

static bool hear_more(int fd, struct buf *b)
{
    char chunk[4096];
    const ssize_t n = read(fd, chunk, sizeof(chunk));

    if (n > 0)
        buf_add(b, chunk, (size_t)n);
    return n > 0;
}

/* Until the log says `text`. */
static void await_log(struct process *p, const char *text)
{
    while (!strstr(buf_str(&p->err_text), text))
        if (!hear_more(p->err, &p->err_text))
            fail_msg("no \"%s\" in: %s", text, buf_str(&p->err_text));
}

static int exit_code(struct process *p)
{
    int status;

    while (hear_more(p->err, &p->err_text))
        continue;
    while (hear_more(p->out, &p->out_text))
        continue;
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    p->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static struct process serve(const char *set)
{
    const char *const flags[] = {"--set", "learner.listen=127.0.0.1:0", "--set",
                                 set ? set : "learner.history=20", NULL};
    struct process p = launch(flags);
    const char *port;

    await_log(&p, "\"service_started\"");
    port = strstr(buf_str(&p.err_text), "\"port\":");
    assert_non_null(port);
    p.port = (unsigned)strtoul(port + strlen("\"port\":"), NULL, 10);
    return p;
}

static int dial(const struct process *p)
{
    const struct sockaddr_in a = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)p->port)};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static int ask(const struct process *p, const char *method, const char *path)
{
    const int fd = dial(p);
    char text[256];
    const int n = snprintf(text, sizeof(text),
                           "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", method, path);

    assert_int_equal(send(fd, text, (size_t)n, MSG_NOSIGNAL), n);
    return fd;
}

struct answer {
    unsigned status;
    char text[65536];
    const char *body;
};

static void hear(int fd, struct answer *a)
{
    CLEANUP(buf_release) struct buf b = BUF_INIT(sizeof(a->text) - 1);

    while (hear_more(fd, &b))
        continue;
    (void)close(fd);
    assert_true(b.len > strlen("HTTP/1.1 200") && !b.failed);
    memcpy(a->text, buf_str(&b), b.len + 1);
    a->status = (unsigned)strtoul(a->text + strlen("HTTP/1.1 "), NULL, 10);
    a->body = strstr(a->text, "\r\n\r\n");
    assert_non_null(a->body);
    a->body += 4;
}

static unsigned get(const struct process *p, const char *path, struct answer *a)
{
    hear(ask(p, "GET", path), a);
    return a->status;
}

static void post(const struct process *p, const char *path)
{
    struct answer a;

    hear(ask(p, "POST", path), &a);
    assert_int_equal(a.status, 200);
}

/* --- tests --- */

static void finish_with(struct process *p, int code, const char *out, const char *err)
{
    const int actual = exit_code(p);

    if (actual != code)
        fail_msg("exit code %d, not %d: %s", actual, code, buf_str(&p->err_text));
    if (!strstr(buf_str(&p->out_text), out))
        fail_msg("no \"%s\" in: %s", out, buf_str(&p->out_text));
    if (!strstr(buf_str(&p->err_text), err))
        fail_msg("no \"%s\" in: %s", err, buf_str(&p->err_text));
}

static void flags(void **state)
{
    static const struct {
        const char *flags[6]; /* ended by NULL */
        int code;
        const char *out, *err;
    } cases[] = {
        {{"--version"}, 0, "tocsin-toy ", ""},
        {{"--help"}, 0, "--check-config", ""},
        {{"--nonsense"}, 1, "", "--check-config"},
        {{"argument"}, 1, "", "unexpected argument \"argument\""},
        {{"--check-config"}, 0, "ok\n", ""},
        {{"--check-config", "--set", "learner.history=14"},
         0,
         "ok\n",
         "warning: nearly thirteen\n"},
        {{"--check-config", "--set", "learner.history=13"},
         1,
         "",
         "--set: learner.history: brings bad luck\n"},
        {{"--check-config", "--set", "lerner.history=1"}, 1, "", "there is no such setting\n"},
        {{"--check-config", "--config", "/nonexistent.yml"}, 1, "", "cannot read /nonexistent.yml"},
        {{"--print-config", "--set", "tenant=acme"}, 0, "tenant: acme  # --set\n", ""},
        {{"--help"}, 0, "  --history N                remember this much\n", ""},
        {{"--set", "learner.history=5", "--history", "7", "--print-config"},
         0,
         "learner.history: 7  # --set\n",
         ""},
        {{"--history"}, 1, "", "requires an argument"},
        {{"--help"}, 0, "  --add A B                  say what both are together\n", ""},
        {{"--add", "2", "3", "--set", "tenant=acme"}, 0, "acme: 5\n", ""},
        {{"--add", "2", "7"}, 1, "default: 9\n", ""},
        {{"--add", "2"}, 1, "", "--add wants A B\n"},
        {{"--add", "2", "3", "4"}, 1, "", "--add wants A B\n"},
        {{"--add", "2", "3", "--set", "learner.history=13"}, 1, "", "brings bad luck\n"},
        {{"--print-config"}, 0, "postgres.url: <secret>  # default\n", ""},
        {{"--set", "learner.history=13"}, 1, "", "\"event\":\"config_invalid\""},
        {{"--set", "learner.batch=1"}, 1, "", "nobody answers at 192.0.2.1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        CLEANUP(process_release) struct process p = launch(cases[i].flags);

        finish_with(&p, cases[i].code, cases[i].out, cases[i].err);
    }
}

static void bad_file_names_the_place(void **state)
{
    char path[] = "/tmp/test_service.XXXXXX", expected[128];
    const char *const args[] = {"--config", path, "--check-config", NULL};
    const int fd = mkstemp(path);
    static const char text[] = "kafka:\n  brokers: x:1\n  brokres: y:1\n";

    (void)state;
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)close(fd);
    (void)snprintf(expected, sizeof(expected),
                   "%s:3:3: unknown key \"brokres\" in section \"kafka\"; did you mean "
                   "\"brokers\"?\n",
                   path);
    {
        CLEANUP(process_release) struct process p = launch(args);

        finish_with(&p, 1, "", expected);
    }
    (void)unlink(path);
}

static void health(void **state)
{
    CLEANUP(process_release) struct process p = serve(NULL);
    static struct answer a;

    (void)state;
    assert_int_equal(get(&p, "/healthz", &a), 200);
    assert_int_equal(get(&p, "/readyz", &a), 200);
    assert_int_equal(get(&p, "/health", &a), 200);
    assert_string_equal(a.body, "{\"status\":\"degraded\",\"db\":{\"status\":\"ok\"},\"redis\":{"
                                "\"status\":\"down\",\"reason\":\"Transport endpoint is not "
                                "connected\"}}\n");
    assert_int_equal(get(&p, "/health/db", &a), 200);
    assert_int_equal(get(&p, "/health/redis", &a), 503);
    assert_int_equal(get(&p, "/health/kafka", &a), 404);
    assert_int_equal(get(&p, "/nowhere", &a), 404);
    post(&p, "/down");
    while (get(&p, "/readyz", &a) != 503) /* the last look may be a second old */
        (void)poll(NULL, 0, 50);
    assert_string_equal(
        a.body, "{\"error\":{\"code\":\"not_ready\",\"message\":\"db: refused \\\"now\\\"\"}}\n");
    assert_int_equal(get(&p, "/health", &a), 503);
    assert_int_equal(get(&p, "/health/db", &a), 503);
    assert_string_equal(a.body, "{\"status\":\"down\",\"reason\":\"refused \\\"now\\\"\"}\n");
    assert_int_equal(get(&p, "/healthz", &a), 200);
    post(&p, "/release");
    (void)kill(p.pid, SIGTERM);
    assert_int_equal(exit_code(&p), 0);
}

/* A flood of probes shares looks: not one each. */
static void probes_share_a_look(void **state)
{
    CLEANUP(process_release) struct process p = serve(NULL);
    static struct answer a;
    const int probes = 200;

    (void)state;
    for (int i = 0; i < probes; i++)
        assert_int_equal(get(&p, "/health/db", &a), 200);
    assert_int_equal(get(&p, "/checks", &a), 200);
    assert_in_range(strtoul(a.body, NULL, 10), 1, probes / 2);
}

static void metrics(void **state)
{
    CLEANUP(process_release) struct process p = serve(NULL);
    static struct answer a;

    (void)state;
    assert_int_equal(get(&p, "/health/db", &a), 200);
    assert_int_equal(get(&p, "/metrics", &a), 200);
    assert_non_null(strstr(a.text, "Content-Type: text/plain; version=0.0.4"));
    assert_non_null(strstr(a.body, "tocsin_build_info{service=\"tocsin-toy\",version=\""));
    assert_non_null(strstr(a.body, "\ntocsin_health{check=\"db\"} 1\n"));
    assert_non_null(strstr(a.body, "\nprocess_start_time_seconds "));
    assert_non_null(strstr(a.body, "\nprocess_resident_memory_bytes "));
    assert_null(strstr(a.body, "\nprocess_resident_memory_bytes 0\n"));
    assert_non_null(strstr(a.body, "\ntocsin_http_requests_total{code=\"2xx\"} 1\n"));
}

/* While it drains it is alive, says that it is not ready, and finishes what it has. */
static void drain(void **state)
{
    CLEANUP(process_release) struct process p = serve(NULL);
    static struct answer a;
    int fd;

    (void)state;
    fd = ask(&p, "POST", "/wait");
    while (get(&p, "/waiting", &a) != 200)
        (void)poll(NULL, 0, 5);
    assert_int_equal(get(&p, "/readyz", &a), 200);
    (void)kill(p.pid, SIGTERM);
    await_log(&p, "\"drain_started\"");
    while (get(&p, "/readyz", &a) != 503)
        (void)poll(NULL, 0, 5);
    assert_non_null(strstr(a.body, "\"draining\""));
    assert_int_equal(get(&p, "/healthz", &a), 200);
    post(&p, "/release");
    hear(fd, &a);
    assert_int_equal(a.status, 202);
    assert_string_equal(a.body, "late");
    finish_with(&p, 0, "", "\"service_stopped\"");
}

static void second_signal_ends_at_once(void **state)
{
    CLEANUP(process_release) struct process p = serve(NULL);
    int fd;

    (void)state;
    fd = ask(&p, "POST", "/wait"); /* nobody will answer */
    (void)kill(p.pid, SIGINT);
    await_log(&p, "\"drain_started\"");
    (void)kill(p.pid, SIGTERM);
    finish_with(&p, 1, "", "a second signal");
    (void)close(fd);
}

static void drain_timeout(void **state)
{
    CLEANUP(process_release) struct process p = serve("learner.drain_timeout=50ms");

    (void)state;
    (void)kill(p.pid, SIGTERM);
    finish_with(&p, 1, "", "the drain timeout has passed");
}

static void failure_ends_loudly(void **state)
{
    CLEANUP(process_release) struct process p = serve(NULL);

    (void)state;
    post(&p, "/fail");
    finish_with(&p, 1, "", "\"reason\":\"the disk is gone\"");
}

static void port_taken(void **state)
{
    CLEANUP(process_release) struct process first = serve(NULL);
    char set[64], owner[64];
    const char *const args[] = {"--set", set, NULL};

    (void)state;
    (void)snprintf(set, sizeof(set), "learner.listen=127.0.0.1:%u", first.port);
    (void)snprintf(owner, sizeof(owner), "(pid %d)", (int)first.pid);
    {
        CLEANUP(process_release) struct process second = launch(args);

        finish_with(&second, 1, "", owner);
    }
}

/* SIGHUP judges the file and changes nothing. */
static void reload_only_checks(void **state)
{
    char path[] = "/tmp/test_service.XXXXXX";
    const char *const args[] = {"--config", path, NULL};
    static const char good[] = "learner: {listen: '127.0.0.1:0'}\n",
                      bad[] = "learner: {x: 1}\n  \n\n";
    const int fd = mkstemp(path);
    struct process p;

    (void)state;
    assert_int_equal(pwrite(fd, good, strlen(good), 0), strlen(good));
    p = launch(args);
    await_log(&p, "\"service_started\"");
    (void)kill(p.pid, SIGHUP);
    await_log(&p, "\"config_valid\"");
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, bad, strlen(bad), 0), strlen(bad));
    (void)kill(p.pid, SIGHUP);
    await_log(&p, "unknown key \\\"x\\\" in section \\\"learner\\\"");
    (void)kill(p.pid, SIGTERM);
    await_log(&p, "\"drain_started\"");
    (void)kill(p.pid, SIGTERM);
    assert_int_equal(exit_code(&p), 1);
    process_release(&p);
    (void)close(fd);
    (void)unlink(path);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags),
        cmocka_unit_test(bad_file_names_the_place),
        cmocka_unit_test(health),
        cmocka_unit_test(probes_share_a_look),
        cmocka_unit_test(metrics),
        cmocka_unit_test(drain),
        cmocka_unit_test(second_signal_ends_at_once),
        cmocka_unit_test(drain_timeout),
        cmocka_unit_test(failure_ends_loudly),
        cmocka_unit_test(port_taken),
        cmocka_unit_test(reload_only_checks),
    };

    if (argc > 0 && strcmp(argv[0], "tocsin-toy") == 0)
        return service_main(&toy_type, argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
