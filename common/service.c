#include "common/service.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/service_impl.h"

#define DRAIN_JOIN_S 2
#define FLAGS_MAX 16 /* of a service's own, tasks among them */
#define TASK_ARGS_MAX 4
#define WRITE_OUT_MS (2 * MS_SECOND) /* for answers on their way, once everything is drained */

enum mode { MODE_RUN = 1, MODE_CHECK, MODE_PRINT, MODE_TASK, MODE_VERSION, MODE_HELP };

struct options {
    enum mode mode;
    const char *config;
    const char **sets; /* NULL-terminated; room for one per argument */
    size_t set_n;
    char **own; /* those that came as flags of the service; room as `sets` */
    const struct service_task *task;
    const char *args[TASK_ARGS_MAX];
};

struct service {
    const struct service_type *type;
    const struct options *options;
    struct conf *conf;
    struct settings settings;
    void *own, *self;
    struct probes *probes;
    struct httpd *httpd;
    int64_t drain_timeout;
    int signal_fd, event_fd;
    bool draining;
    pthread_t drainer;
    _Atomic bool drained, failed;
};

/* The one service of this process, for service_fail(). */
static struct service *_Atomic current;

static void wake(const struct service *s)
{
    const uint64_t one = 1;

    if (write(s->event_fd, &one, sizeof(one)) < 0)
        log_error(EV("wake_failed"), KV("error", strerror(errno)));
}

void service_fail(const struct err *why)
{
    struct service *s = atomic_load(&current);

    log_error(EV("service_failed"), KV("reason", why->msg));
    if (!s)
        return;
    atomic_store(&s->failed, true);
    wake(s);
}

/* --- flags --- */

static void usage_of(FILE *out, const char *name, const char *values, const char *help)
{
    const int width = (int)(strlen("--set section.key=value") - strlen(name) - strlen("-- "));
    (void)fprintf(out, "  --%s %-*s    %s\n", name, width > 0 ? width : 0, values, help);
}

static void usage(FILE *out, const struct service_type *type)
{
    (void)fprintf(
        out,
        "%s: %s\n\n"
        "  --config FILE              configuration (YAML); without it: defaults and environment\n"
        "  --set section.key=value    override one setting; may be given several times\n"
        "  --check-config             check the configuration and exit\n"
        "  --print-config             print every setting with its origin and exit\n"
        "  --version                  print the version and exit\n"
        "  --help                     print this and exit\n",
        type->name, type->summary);
    for (const struct service_flag *f = type->flags; f && f->name; f++)
        usage_of(out, f->name, f->value, f->help);
    for (const struct service_task *t = type->tasks; t && t->name; t++)
        usage_of(out, t->name, t->values, t->help);
    (void)fputs("\nAny setting may also come from the environment: TOCSIN__SECTION__KEY=value\n",
                out);
}

static void options_release(struct options *o)
{
    for (size_t i = 0; o->own && i < o->set_n; i++)
        free(o->own[i]);
    free(o->own);
    free(o->sets);
}
#define options_release_p options_release

/* A flag of the service as what --set would say. */
static bool add_own(struct options *o, const struct service_flag *f, const char *value)
{
    size_t len = strlen(f->key) + strlen(value) + sizeof("=");
    char *set = malloc(len);

    if (!set)
        return false;
    (void)snprintf(set, len, "%s=%s", f->key, value);
    o->own[o->set_n] = set;
    o->sets[o->set_n++] = set;
    return true;
}

/* What getopt_long() left is the task's. */
static bool take_args(int argc, char **argv, struct options *o)
{
    const int left = argc - optind, wanted = o->task->arg_n - 1;

    if (left != wanted) {
        (void)fprintf(stderr, "%s: --%s wants %s\n", argv[0], o->task->name, o->task->values);
        return false;
    }
    for (int i = 0; i < left && i + 1 < TASK_ARGS_MAX; i++)
        o->args[i + 1] = argv[optind + i];
    return true;
}

static bool options_parse(const struct service_type *type, int argc, char **argv,
                          struct options *ret)
{
    static const struct option common[] = {
        {"config", required_argument, NULL, 'c'}, {"set", required_argument, NULL, 's'},
        {"check-config", no_argument, NULL, 'k'}, {"print-config", no_argument, NULL, 'p'},
        {"version", no_argument, NULL, 'v'},      {"help", no_argument, NULL, 'h'},
    };
    struct option flags[sizeof(common) / sizeof(*common) + FLAGS_MAX + 1] = {0};
    const size_t n = sizeof(common) / sizeof(*common);
    const struct service_flag *own = type->flags;
    const struct service_task *tasks = type->tasks;
    size_t own_n = 0;
    int c, which = 0;

    memcpy(flags, common, sizeof(common));
    for (; own && own[own_n].name && own_n < FLAGS_MAX; own_n++)
        flags[n + own_n] = (struct option){own[own_n].name, required_argument, NULL, 'o'};
    for (size_t i = 0; tasks && tasks[i].name && own_n + i < FLAGS_MAX; i++)
        flags[n + own_n + i] = (struct option){tasks[i].name, required_argument, NULL, 't'};
    ret->mode = MODE_RUN;
    while ((c = getopt_long(argc, argv, "", flags, &which)) != -1) {
        switch (c) {
        case 'o':
            if (!own || !add_own(ret, &own[(size_t)which - n], optarg))
                return false;
            break;
        case 't':
            ret->mode = MODE_TASK;
            ret->task = &tasks[(size_t)which - n - own_n];
            ret->args[0] = optarg;
            break;
        case 'c':
            ret->config = optarg;
            break;
        case 's':
            ret->sets[ret->set_n++] = optarg;
            break;
        case 'k':
            ret->mode = MODE_CHECK;
            break;
        case 'p':
            ret->mode = MODE_PRINT;
            break;
        case 'v':
            ret->mode = MODE_VERSION;
            break;
        case 'h':
            ret->mode = MODE_HELP;
            break;
        default:
            return false;
        }
    }
    if (ret->mode == MODE_TASK && ret->task)
        return take_args(argc, argv, ret);
    if (optind < argc)
        (void)fprintf(stderr, "%s: unexpected argument \"%s\"\n", argv[0], argv[optind]);
    return optind == argc;
}

/* --- configuration --- */

/* The whole file, for this service and for all others, as far as it can be judged without opening
 * anything. */
static int load(const struct service_type *type, const struct options *o, struct conf **ret_conf,
                struct settings *ret, void **ret_own, struct err *e)
{
    CLEANUP(conf_free) struct conf *c = NULL;
    int r = conf_open(o->config, o->sets, &c, e);

    if (r == 0)
        r = settings_load(c, ret, e);
    if (r == 0 && type->configure)
        r = type->configure(ret, ret_own, e);
    if (r == 0)
        r = settings_finish(c, e);
    if (r == 0)
        *ret_conf = TAKE(c);
    return r;
}

static int use_and_end(const struct service *s)
{
    const char *w;
    int code = 0;

    for (size_t i = 0; (w = conf_warning(s->conf, i)); i++)
        (void)fprintf(stderr, "warning: %s\n", w);
    if (s->options->mode == MODE_PRINT)
        conf_print(s->conf, stdout);
    else if (s->options->mode == MODE_TASK)
        code = s->options->task->run(&s->settings, s->own, s->options->args);
    else
        (void)puts("ok");
    return fflush(stdout) == 0 ? code : 1;
}

static void log_warnings(const struct service *s)
{
    const char *w;

    for (size_t i = 0; (w = conf_warning(s->conf, i)); i++)
        log_warn(EV("config_warning"), KV("warning", w));
}

/* A running service keeps what it started with; a reload tells whether a restart would work. */
static void reload(const struct service *s)
{
    CLEANUP(conf_free) struct conf *c = NULL;
    struct settings settings;
    void *own = NULL;
    struct err e = {0};

    if (load(s->type, s->options, &c, &settings, &own, &e) < 0)
        log_error(EV("config_invalid"), KV("reason", e.msg),
                  KV("effect", "none: the service goes on with what it has; a restart would fail"));
    else
        log_warn(EV("config_valid"),
                 KV("effect", "none yet: a restart of the service applies the file"));
}

/* --- life --- */

static int signals_open(struct service *s, struct err *e)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->signal_fd < 0 || s->event_fd < 0)
        return err_set(e, -errno, "signalfd: %s", strerror(errno));
    return 0;
}

/* From here on a further signal kills: nobody should have to wait for a stop() that hangs. */
static void signals_to_default(void)
{
    sigset_t set;

    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGINT, SIG_DFL);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* The soft limit is 1024 nearly everywhere, which is less than the connections we allow. */
static void raise_file_limit(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
}

static void *drainer_main(void *arg)
{
    struct service *s = arg;

    if (s->type->drain)
        s->type->drain(s->self);
    atomic_store(&s->drained, true);
    wake(s);
    return NULL;
}

static void drain_begin(struct service *s)
{
    int r;

    log_info(EV("drain_started"), KV("timeout_ms", s->drain_timeout));
    probes_drain(s->probes);
    r = pthread_create(&s->drainer, NULL, drainer_main, s);
    s->draining = r == 0;
    if (r)
        log_error(EV("drain_failed"), KV("error", strerror(r)));
}

enum step { STEP_ON = 1, STEP_DRAIN, STEP_END };

static enum step read_signals(struct service *s)
{
    struct signalfd_siginfo info;
    enum step step = STEP_ON;

    while (read(s->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGHUP)
            reload(s);
        else
            step = s->draining || step == STEP_DRAIN ? STEP_END : STEP_DRAIN;
    }
    return step;
}

static void wait_for_event(struct service *s, int64_t deadline)
{
    struct pollfd fds[] = {{.fd = s->signal_fd, .events = POLLIN},
                           {.fd = s->event_fd, .events = POLLIN}};
    const int64_t left = deadline - clock_monotonic_ms();
    uint64_t count;

    (void)poll(fds, 2,
               !s->draining ? -1
               : left > 0   ? (int)(left < INT32_MAX ? left : INT32_MAX)
                            : 0);
    if (fds[1].revents & POLLIN && read(s->event_fd, &count, sizeof(count)) < 0)
        log_error(EV("wake_failed"), KV("error", strerror(errno)));
}

/* Until the service has drained (true), or must end for another reason. */
static bool run(struct service *s)
{
    int64_t deadline = 0;

    for (;;) {
        wait_for_event(s, deadline);
        if (atomic_load(&s->failed))
            return false;
        if (atomic_load(&s->drained))
            return true;
        switch (read_signals(s)) {
        case STEP_ON:
            break;
        case STEP_DRAIN:
            drain_begin(s);
            if (!s->draining)
                return false;
            deadline = clock_monotonic_ms() + s->drain_timeout;
            break;
        case STEP_END:
            log_warn(EV("drain_cut_short"), KV("reason", "a second signal"));
            return false;
        }
        if (s->draining && !atomic_load(&s->drained) && clock_monotonic_ms() >= deadline) {
            log_warn(EV("drain_cut_short"), KV("reason", "the drain timeout has passed"));
            return false;
        }
    }
}

/* stop() has told drain() to return; it may still answer requests until it has. */
static void drain_join(const struct service *s)
{
    struct timespec soon;

    if (!s->draining)
        return;
    (void)clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_sec += DRAIN_JOIN_S;
    if (pthread_timedjoin_np(s->drainer, NULL, &soon) != 0)
        log_error(EV("drain_stuck"), KV("effect", "its thread ends with the process"));
}

/* Handlers out first, then what they use, then the server, which answers what was left. */
static void end(struct service *s, bool drained)
{
    signals_to_default();
    httpd_quiesce(s->httpd);
    (void)httpd_finish(s->httpd, drained ? WRITE_OUT_MS : 0);
    s->type->stop(s->self);
    drain_join(s);
    httpd_stop(s->httpd);
}

static int start(struct service *s, struct err *e)
{
    struct httpd_options o = {0};
    int r;

    s->drain_timeout = 20 * MS_SECOND;
    s->type->listen(&s->settings, &o, &s->drain_timeout);
    if ((r = s->type->start(&s->settings, s->own, &s->self, e)) < 0)
        return r;
    s->probes = probes_new(s->type->name, s->type->health, s->self);
    const struct http_route *own =
        s->type->own_routes ? s->type->own_routes(s->self) : s->type->routes;
    r = s->probes ? httpd_start(&o, probe_routes, s->probes, own, s->self, &s->httpd, e)
                  : err_set(e, -ENOMEM, "out of memory");
    if (r < 0) {
        s->type->stop(s->self);
        return r;
    }
    log_info(EV("service_started"), KV("version", TOCSIN_VERSION), KV("port", httpd_port(s->httpd)),
             KV("pid", getpid()));
    return 0;
}

static int live(struct service *s)
{
    struct err e = {0};
    bool drained = false;
    int code = 1;

    log_init(s->type->name, (enum log_level)(s->settings.log_level + 1));
    log_warnings(s);
    (void)json_object_seed(0); /* before threads, or the first two parse at once and race for it */
    raise_file_limit();
    if (signals_open(s, &e) < 0) {
        log_error(EV("start_failed"), KV("reason", e.msg));
        return 1;
    }
    atomic_store(&current, s);
    if (start(s, &e) < 0) {
        log_error(EV("start_failed"), KV("reason", e.msg));
    } else {
        drained = run(s);
        end(s, drained);
        code = drained && !atomic_load(&s->failed) ? 0 : 1;
        log_info(EV("service_stopped"), KV("code", code));
    }
    atomic_store(&current, NULL);
    return code;
}

static int load_and_go(struct service *s)
{
    struct err e = {0};
    int code;

    log_init(s->type->name, LVL_INFO);
    if (load(s->type, s->options, &s->conf, &s->settings, &s->own, &e) < 0) {
        if (s->options->mode == MODE_RUN)
            log_error(EV("config_invalid"), KV("reason", e.msg));
        else
            (void)fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    code = s->options->mode == MODE_RUN ? live(s) : use_and_end(s);
    probes_free(s->probes);
    conf_free(s->conf);
    return code;
}

int service_main(const struct service_type *type, int argc, char **argv)
{
    CLEANUP(options_release)
    struct options o = {.sets = calloc((size_t)argc + 1, sizeof(*o.sets)),
                        .own = calloc((size_t)argc + 1, sizeof(*o.own))};
    static struct service s; /* static: a drain that is stuck may outlive this function */

    s = (struct service){.type = type, .options = &o, .signal_fd = -1, .event_fd = -1};
    if (!o.sets || !o.own)
        return 1;
    if (!options_parse(type, argc, argv, &o)) {
        usage(stderr, type);
        return 1;
    }
    switch (o.mode) {
    case MODE_HELP:
        usage(stdout, type);
        return 0;
    case MODE_VERSION:
        (void)printf("%s %s\n", type->name, TOCSIN_VERSION);
        return 0;
    case MODE_RUN:
    case MODE_CHECK:
    case MODE_PRINT:
    case MODE_TASK:
        break;
    }
    return load_and_go(&s);
}
