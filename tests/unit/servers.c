#include "servers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <hiredis/hiredis.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct server {
    char dir[64], url[256];
    int port;
    pid_t watcher, pid;
    int leash; /* the watcher acts when it is written to or closed */
};

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "servers: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

/* PostgreSQL refuses to run as root. The death signal is lost by a change of user, so it comes
 * after. */
static void drop_privileges(const char *dir)
{
    if (geteuid() == 0) {
        const struct passwd *nobody = getpwnam("nobody");
        if (!nobody || setgroups(0, NULL) || setgid(nobody->pw_gid) || setuid(nobody->pw_uid))
            _exit(126);
    }
    if (chdir(dir) || prctl(PR_SET_PDEATHSIG, SIGKILL))
        _exit(126);
}

static pid_t spawn(const char *dir, char *const argv[])
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    drop_privileges(dir);
    int out = open("log", O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (out < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0)
        _exit(126);
    execv(argv[0], argv);
    _exit(127);
}

/* The life of the watcher: prepare (initdb), serve, clean up. Only async-safe company: the test has
 * no threads yet. */
static _Noreturn void watch(const char *dir, int leash, int tell, char *const prepare[],
                            char *const serve[])
{
    signal(SIGINT, SIG_IGN); /* of the terminal: the leash tells when */
    int status = 0;
    if (prepare)
        waitpid(spawn(dir, prepare), &status, 0);
    pid_t pid = status == 0 ? spawn(dir, serve) : -1;
    if (write(tell, &pid, sizeof pid) != (ssize_t)sizeof pid)
        pid = pid > 0 ? pid : -1;
    char byte;
    while (read(leash, &byte, 1) < 0 && errno == EINTR)
        ;
    if (pid > 0) {
        kill(pid, SIGCONT);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    _exit(0);
}

static void print_log(const struct server *s)
{
    char path[96];
    snprintf(path, sizeof path, "%s/log", s->dir);
    FILE *f = fopen(path, "re");
    char line[512];
    while (f && fgets(line, sizeof line, f))
        fprintf(stderr, "servers: %s", line);
    if (f)
        fclose(f);
}

static struct server *server_new(void)
{
    struct server *s = calloc(1, sizeof *s);
    if (!s)
        give_up("memory");
    snprintf(s->dir, sizeof s->dir, "/tmp/tocsin-unit-XXXXXX");
    if (!mkdtemp(s->dir))
        give_up("mkdtemp");
    const struct passwd *nobody = geteuid() == 0 ? getpwnam("nobody") : NULL;
    if (nobody && chown(s->dir, nobody->pw_uid, nobody->pw_gid))
        give_up("chown");
    return s;
}

static void start(struct server *s, char *const prepare[], char *const serve[])
{
    int leash[2], tell[2];
    if (pipe2(leash, O_CLOEXEC) || pipe2(tell, O_CLOEXEC))
        give_up("pipe");
    s->watcher = fork();
    if (s->watcher == 0) {
        close(leash[1]);
        close(tell[0]);
        watch(s->dir, leash[0], tell[1], prepare, serve);
    }
    close(leash[0]);
    close(tell[1]);
    s->leash = leash[1];
    if (read(tell[0], &s->pid, sizeof s->pid) != (ssize_t)sizeof s->pid || s->pid < 0) {
        print_log(s);
        give_up(serve[0]);
    }
    close(tell[0]);
}

static void wait_ready(struct server *s, bool (*ready)(const struct server *))
{
    for (int i = 0; i < 1200; i++) {
        if (ready(s))
            return;
        nanosleep(&(struct timespec){.tv_nsec = 25000000}, NULL);
    }
    print_log(s);
    errno = ETIMEDOUT;
    give_up(s->url);
}

static bool postgres_ready(const struct server *s)
{
    return PQping(s->url) == PQPING_OK;
}

struct server *server_postgres(void)
{
    glob_t found;
    if (glob("/usr/lib/postgresql/*/bin", 0, NULL, &found) || found.gl_pathc == 0)
        give_up("no PostgreSQL under /usr/lib/postgresql");
    const char *bin = found.gl_pathv[found.gl_pathc - 1];
    char initdb[256], postgres[256];
    snprintf(initdb, sizeof initdb, "%s/initdb", bin);
    snprintf(postgres, sizeof postgres, "%s/postgres", bin);
    globfree(&found);

    struct server *s = server_new();
    snprintf(s->url, sizeof s->url, "host=%s user=postgres dbname=postgres", s->dir);
    char data[96];
    snprintf(data, sizeof data, "%s/data", s->dir);
    char *prepare[] = {initdb,
                       (char[]){"-N"},
                       (char[]){"-Atrust"},
                       (char[]){"-Upostgres"},
                       (char[]){"--no-locale"},
                       (char[]){"-EUTF8"},
                       (char[]){"-D"},
                       data,
                       NULL};
    /* -F: nothing here outlives the test. */
    char *serve[] = {
        postgres, (char[]){"-F"}, (char[]){"-D"}, data,           (char[]){"-k"},
        s->dir,   (char[]){"-h"}, (char[]){""},   (char[]){"-c"}, (char[]){"shared_buffers=32MB"},
        NULL};
    start(s, prepare, serve);
    wait_ready(s, postgres_ready);
    return s;
}

static int free_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) ||
        getsockname(fd, (struct sockaddr *)&a, &len))
        give_up("no free port");
    close(fd);
    return ntohs(a.sin_port);
}

static bool redis_ready(const struct server *s)
{
    redisContext *c = redisConnect("127.0.0.1", s->port);
    bool ok = c && !c->err;
    if (c)
        redisFree(c);
    return ok;
}

struct server *server_redis(int port, const char *password)
{
    struct server *s = server_new();
    s->port = port ? port : free_port();
    snprintf(s->url, sizeof s->url, "redis://%s%s%s127.0.0.1:%d", password ? ":" : "",
             password ? password : "", password ? "@" : "", s->port);
    char text[16], path[96], secret[64];
    snprintf(text, sizeof text, "%d", s->port);
    snprintf(path, sizeof path, "%s/redis.sock", s->dir);
    snprintf(secret, sizeof secret, "%s", password ? password : "");
    char *serve[] = {(char[]){"/usr/bin/redis-server"},
                     (char[]){"--bind"},
                     (char[]){"127.0.0.1"},
                     (char[]){"--port"},
                     text,
                     (char[]){"--save"},
                     (char[]){""},
                     (char[]){"--unixsocket"},
                     path,
                     (char[]){"--requirepass"},
                     secret,
                     NULL};
    start(s, NULL, serve);
    wait_ready(s, redis_ready);
    return s;
}

const char *server_url(const struct server *s)
{
    return s->url;
}

int server_port(const struct server *s)
{
    return s->port;
}

pid_t server_pid(const struct server *s)
{
    return s->pid;
}

void server_stop(struct server *s)
{
    if (!s)
        return;
    /* A byte, not only the end of the pipe: watchers started later hold a copy of it. */
    if (write(s->leash, "", 1) != 1)
        kill(s->watcher, SIGTERM);
    close(s->leash);
    waitpid(s->watcher, NULL, 0);
    free(s);
}
