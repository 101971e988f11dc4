/* Every case under channels/<channel>/: facts and configuration in, the exact requests out. A case
 * may have a "reference" that an earlier message left, a "token", and "answers" [{status, body}].
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/locale.h"
#include "golden/channel_case.h"

#define DIR_NAME SOURCE_DIR "/tests/golden/channels"
#define FILE_MAX ((size_t)1 << 20)

static int failed, run;
static bool spoken[LOCALES];

/* JSON bodies are compared as they are but shown indented; what a person reads is shown beside. */
static void write_request(struct buf *out, const struct request *r)
{
    json_t *body = json_loadb(r->body.p, r->body.len, 0, NULL);

    buf_printf(out, "%s %s\n", r->method ? r->method : "MAIL", r->url);
    for (size_t i = 0; i < r->header_n; i++)
        buf_printf(out, "%s: %s\n", r->headers[i].name, r->headers[i].value);
    if (r->mail_from)
        buf_printf(out, "MAIL FROM:<%s>\n", r->mail_from);
    for (size_t i = 0; i < r->mail_to_n; i++)
        buf_printf(out, "RCPT TO:<%s>\n", r->mail_to[i]);
    buf_printf(out, "\n");
    if (body) {
        char *text = json_dumps(body, JSON_INDENT(2));
        buf_puts(out, text);
        free(text);
    } else {
        for (size_t i = 0; i < r->body.len; i++)
            if (r->body.p[i] != '\r')
                buf_putc(out, r->body.p[i]);
    }
    buf_printf(out, "\n");
    json_decref(body);
}

static void write_text(struct buf *out, const struct notification *n)
{
    buf_printf(out, "--- as a person reads it\n%s\n%s", n->title, n->text);
    if (n->news)
        buf_printf(out, "--- who has the first message\n%s", n->news);
    if (n->html)
        buf_printf(out, "---\n%s", n->html);
}

static const char *const verdicts[] = {"", "delivered", "retry", "reject"};

static void write_outcome(struct buf *out, const struct outcome *o)
{
    char *keep = o->keep ? json_dumps(o->keep, JSON_SORT_KEYS) : NULL;

    buf_printf(out, "--- %s: %s%s%s%s%s\n", verdicts[o->verdict], o->words,
               o->refused ? "; refused for " : "", o->refused ? o->refused : "",
               keep ? "; keeps " : "", keep ? keep : "");
    free(keep);
}

static struct response answer(const struct channel_case *c, size_t i, struct arena *a)
{
    const json_t *one = json_array_get(json_object_get(c->doc, "answers"), i);
    char *text = json_dumps(json_object_get(one, "body"), JSON_COMPACT | JSON_ENCODE_ANY);
    struct response r = {.status = (int)json_integer_value(json_object_get(one, "status")),
                         .transport = "",
                         .body = arena_slice(a, slice_of(text)),
                         .retry_after_ms = -1};

    free(text);
    return r;
}

/* One request after the other as far as there are answers, then the outcome. */
static int converse(const struct channel_case *c, const struct notification *n, struct arena *a,
                    struct buf *out, struct err *e)
{
    struct exchange past[8];
    struct step_input in = {.cfg = c->outlet->cfg,
                            .notification = n,
                            .reference = json_object_get(c->doc, "reference"),
                            .token = json_string_value(json_object_get(c->doc, "token")),
                            .past = past};
    size_t answers = json_array_size(json_object_get(c->doc, "answers"));
    struct step step;
    int r;

    while ((r = channel_step(c->outlet->channel, &in, a, &step, e)) == 0 && !step.done) {
        write_request(out, &step.request);
        if (in.past_n == answers)
            return 0;
        past[in.past_n] = (struct exchange){step.request, answer(c, in.past_n, a)};
        in.past_n++;
    }
    if (r == 0)
        write_outcome(out, &step.outcome);
    return r;
}

/* Which languages there are cases of. */
static void note_language(const struct words *w)
{
    for (size_t i = 0; words_at(i); i++)
        spoken[i] = spoken[i] || words_at(i) == w;
}

static int produce(const char *file, const char *channel, struct buf *out)
{
    struct channel_case c;
    CLEANUP(arena_free) struct arena *a = arena_new((size_t)8 << 20);
    struct notification n;
    struct err e = {0};
    int r = channel_case_load(file, channel, &c);

    if (r == 0 && (r = channel_case_render(&c, a, &n, &e)) == 0)
        r = converse(&c, &n, a, out, &e);
    if (r == 0) {
        write_text(out, &n);
        note_language(c.outlet->words);
    } else
        (void)fprintf(stderr, "%s: %s\n", file, e.msg);
    channel_case_free(&c);
    return r;
}

static void compare(const char *expected_file, const struct buf *got)
{
    CLEANUP(buf_release) struct buf want = BUF_INIT(FILE_MAX);
    char chunk[4096];
    size_t n;
    FILE *f = fopen(expected_file, getenv("UPDATE_GOLDEN") ? "w+e" : "re");

    if (f && getenv("UPDATE_GOLDEN")) {
        (void)fwrite(got->p, 1, got->len, f);
        rewind(f);
    }
    while (f && (n = fread(chunk, 1, sizeof(chunk), f)) > 0)
        buf_add(&want, chunk, n);
    if (f)
        (void)fclose(f);
    if (want.len == got->len && got->len > 0 && memcmp(want.p, got->p, got->len) == 0)
        return;
    failed++;
    (void)fprintf(stderr, "%s differs; this came out:\n%s\n", expected_file, buf_str(got));
}

static void run_case(const char *channel, const char *name)
{
    CLEANUP(buf_release)
    struct buf in = BUF_INIT(1024), expected = BUF_INIT(1024), got = BUF_INIT(FILE_MAX);
    size_t stem = strlen(name) - strlen(".json");

    run++;
    buf_printf(&in, DIR_NAME "/%s/%s", channel, name);
    buf_printf(&expected, DIR_NAME "/%s/%.*s.request", channel, (int)stem, name);
    if (produce(buf_str(&in), channel, &got) < 0)
        failed++;
    else
        compare(buf_str(&expected), &got);
}

int main(void)
{
    size_t channels = 0, locales = 0;

    for (size_t i = 0; channel_at(i); i++, channels++) {
        CLEANUP(buf_release) struct buf path = BUF_INIT(1024);
        buf_printf(&path, DIR_NAME "/%s", channel_at(i)->name);
        DIR *dir = opendir(buf_str(&path));
        for (struct dirent *d; dir && (d = readdir(dir));)
            if (strlen(d->d_name) > 5 && strcmp(d->d_name + strlen(d->d_name) - 5, ".json") == 0 &&
                strcmp(d->d_name, "vendor.json") != 0) /* contract_channels.c */
                run_case(channel_at(i)->name, d->d_name);
        if (dir)
            (void)closedir(dir);
    }
    for (size_t i = 0; words_at(i); i++) {
        if (spoken[i]) {
            locales++;
            continue;
        }
        (void)fprintf(stderr, "no case in %s\n", words_at(i)->locale);
        failed++;
    }
    (void)printf("tried by golden.channels: %zu channels, %d cases in %zu locales; %d failed\n",
                 channels, run, locales, failed);
    return failed || run == 0;
}
