#include "console/assets.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"

#define FILE_MAX ((size_t)16 << 20)

static const char missing[] =
    "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Tocsin</title>"
    "<h1>The page is not built</h1><p>The console looks for it in <code>console.web_dir</code>; "
    "build it with <code>npm ci &amp;&amp; npm run build</code> in <code>console/web</code>.</p>"
    "<p>The same data is at <a href=\"/api/v1/incidents\">/api/v1/incidents</a>.</p></html>\n";

static const struct {
    const char *end, *type;
} types[] = {
    {".css", "text/css; charset=utf-8"},
    {".html", "text/html; charset=utf-8"},
    {".ico", "image/x-icon"},
    {".js", "text/javascript; charset=utf-8"},
    {".json", "application/json"},
    {".map", "application/json"},
    {".png", "image/png"},
    {".svg", "image/svg+xml"},
    {".txt", "text/plain; charset=utf-8"},
    {".webmanifest", "application/manifest+json"},
    {".woff2", "font/woff2"},
};

static const char *type_of(const char *name)
{
    const char *end = strrchr(name, '.');

    for (size_t i = 0; end && i < sizeof(types) / sizeof(*types); i++)
        if (strcmp(end, types[i].end) == 0)
            return types[i].type;
    return NULL;
}

/* What a bundler calls its files: no directories, no dot files, nothing else. */
static bool name_valid(const char *name)
{
    static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

    return *name && *name != '.' && strlen(name) < 200 && !name[strspn(name, chars)];
}

static void guard(struct http_request *r)
{
    http_reply_header(r, "Content-Security-Policy",
                      "default-src 'self'; base-uri 'none'; form-action 'none'; "
                      "frame-ancestors 'none'");
    http_reply_header(r, "Referrer-Policy", "no-referrer");
}

/* The whole file; false when it is no plain file of reasonable size. */
static bool read_file(int dir, const char *name, struct buf *ret)
{
    CLEANUP(close) int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    char part[16384];
    struct stat st;
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return false;
    while ((n = read(fd, part, sizeof(part))) != 0) {
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0)
            buf_add(ret, part, (size_t)n);
    }
    return !ret->failed;
}

static int open_dir(const struct console *c, const char *below)
{
    CLEANUP(close) int web = -1;
    const char *path = c->settings->console.web_dir;

    if (!*path)
        return -1;
    web = open(path, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    return web < 0 ? -1 : openat(web, below, O_RDONLY | O_CLOEXEC | O_DIRECTORY | O_NOFOLLOW);
}

void get_page(void *ctx, struct http_request *r)
{
    CLEANUP(close) int dir = open_dir(ctx, ".");
    CLEANUP(buf_release) struct buf text = BUF_INIT(FILE_MAX);

    guard(r);
    http_reply_header(r, "Cache-Control", "no-cache"); /* it names the assets of this build */
    if (dir >= 0 && read_file(dir, "index.html", &text))
        http_reply(r, 200, "text/html; charset=utf-8", buf_str(&text), text.len);
    else
        http_reply(r, 404, "text/html; charset=utf-8", missing, strlen(missing));
}

void get_asset(void *ctx, struct http_request *r)
{
    const char *name = http_param(r, "*");
    const char *type = type_of(name);
    CLEANUP(close) int dir = type && name_valid(name) ? open_dir(ctx, "assets") : -1;
    CLEANUP(buf_release) struct buf text = BUF_INIT(FILE_MAX);

    guard(r);
    if (dir < 0 || !read_file(dir, name, &text)) {
        http_reply_error(r, 404, "not_found", "there is no such file");
        return;
    }
    /* The bundler puts a hash of the content into each name. */
    http_reply_header(r, "Cache-Control", "public, max-age=31536000, immutable");
    http_reply(r, 200, type, buf_str(&text), text.len);
}
