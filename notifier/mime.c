#include "notifier/mime.h"

#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "common/digest.h"
#include "common/zone.h"
#include "notifier/text.h"

#define WORD_BYTES 42 /* 56 in base64, 68 with =?UTF-8?B??=: within the 75 of RFC 2047 */
#define LINE_BYTES 57 /* 76 in base64 */
#define ADDRESSES_MAX 100

static bool ascii(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s >= 0x7f)
            return false;
    return true;
}

static void encoded_words(struct buf *out, struct slice s)
{
    char b64[4 * ((WORD_BYTES + 2) / 3) + 1];

    for (size_t n; s.len > 0; s.p += n, s.len -= n) {
        n = utf8_fit(s, WORD_BYTES);
        if (n == 0)
            n = s.len < WORD_BYTES ? s.len : WORD_BYTES;
        (void)base64_encode(s.p, n, b64);
        buf_printf(out, "=?UTF-8?B?%s?=%s", b64, n < s.len ? "\r\n " : "");
    }
}

void mail_header(struct buf *out, const char *name, const char *value)
{
    CLEANUP(buf_release) struct buf clean = BUF_INIT(8192);

    for (const char *p = value; *p; p++)
        if ((unsigned char)*p >= ' ' && *p != 0x7f)
            buf_putc(&clean, *p);
    buf_printf(out, "%s: ", name);
    if (ascii(buf_str(&clean)))
        buf_puts(out, buf_str(&clean));
    else
        encoded_words(out, (struct slice){clean.p, clean.len});
    buf_puts(out, "\r\n");
}

/* "Name <a@b>": the name may need encoding, the address must not be. */
static void address_header(struct buf *out, const char *name, const char *value)
{
    const char *angle = strrchr(value, '<');

    if (ascii(value) || !angle || strchr(value, ',')) {
        mail_header(out, name, value);
        return;
    }
    size_t len = (size_t)(angle - value);
    while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '"'))
        len--;
    size_t skip = value[0] == '"' ? 1 : 0;
    buf_printf(out, "%s: ", name);
    encoded_words(out, (struct slice){value + skip, len - skip});
    buf_printf(out, " %.*s\r\n", (int)strcspn(angle, "\r\n"), angle);
}

static void date_header(struct buf *out, int64_t ms)
{
    static const char *const days[] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct local_time t = zone_local(NULL, ms);
    int64_t day = ms / MS_DAY;

    buf_printf(out, "Date: %s, %d %s %d %02d:%02d:%02d +0000\r\n", days[day >= 0 ? day % 7 : 0],
               t.day, months[t.month - 1], t.year, t.hour, t.minute, t.second);
}

static void body_part(struct buf *out, const char *boundary, const char *type, const char *text)
{
    char b64[4 * ((LINE_BYTES + 2) / 3) + 1];
    size_t len = strlen(text);

    buf_printf(
        out, "--%s\r\nContent-Type: %s; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        boundary, type);
    for (size_t i = 0; i < len; i += LINE_BYTES) {
        (void)base64_encode(text + i, len - i < LINE_BYTES ? len - i : LINE_BYTES, b64);
        buf_printf(out, "%s\r\n", b64);
    }
}

void mail_write(struct buf *out, const struct mail *m)
{
    char boundary[70] = "=_";
    size_t n = 2;

    /* base64 never contains "=_", so no body can contain the boundary. */
    for (const char *p = m->message_id; *p && *p != '@' && n < sizeof(boundary) - 1; p++)
        boundary[n++] = *p;
    boundary[n] = '\0';
    address_header(out, "From", m->from);
    address_header(out, "To", m->to);
    mail_header(out, "Subject", m->subject);
    date_header(out, m->at_ms);
    buf_printf(out, "Message-ID: <%s>\r\n", m->message_id);
    if (m->thread_id)
        buf_printf(out, "In-Reply-To: <%s>\r\nReferences: <%s>\r\n", m->thread_id, m->thread_id);
    buf_puts(out, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n");
    for (size_t i = 0; i < m->header_n; i++)
        mail_header(out, m->headers[i][0], m->headers[i][1]);
    buf_printf(out, "Content-Type: multipart/alternative; boundary=\"%s\"\r\n\r\n", boundary);
    body_part(out, boundary, "text/plain", m->text);
    body_part(out, boundary, "text/html", m->html);
    buf_printf(out, "--%s--\r\n", boundary);
}

/* The bare address of one element, {NULL,0} when it is none. */
static struct slice bare(struct slice one)
{
    const char *open = memchr(one.p, '<', one.len);

    if (open) {
        size_t left = one.len - (size_t)(open + 1 - one.p);
        const char *close = memchr(open + 1, '>', left);
        if (!close)
            return (struct slice){0};
        one = (struct slice){open + 1, (size_t)(close - open - 1)};
    }
    while (one.len > 0 && *one.p == ' ') {
        one.p++;
        one.len--;
    }
    while (one.len > 0 && one.p[one.len - 1] == ' ')
        one.len--;
    const char *at = one.len ? memchr(one.p, '@', one.len) : NULL;
    if (!at || at == one.p || at == one.p + one.len - 1)
        return (struct slice){0};
    for (size_t i = 0; i < one.len; i++)
        if ((unsigned char)one.p[i] <= ' ' || strchr("<>,;\"\x7f", one.p[i]))
            return (struct slice){0};
    return one;
}

int mail_addresses(const char *list, struct arena *a, const char *const **ret, struct err *e)
{
    const char **v = arena_array(a, ADDRESSES_MAX, const char *);
    int n = 0;

    if (!v)
        return err_set(e, -ENOMEM, "too many addresses");
    for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',') {
        struct slice one = {p, strcspn(p, ",")}, address = bare(one);
        if (!address.p)
            return err_set(e, -EINVAL, "not a mail address: %.*s",
                           (int)(one.len < 100 ? one.len : 100), one.p);
        if (n == ADDRESSES_MAX || !(v[n++] = arena_strndup(a, address.p, address.len)))
            return err_set(e, -ENOMEM, "too many addresses");
    }
    if (n == 0)
        return err_set(e, -EINVAL, "no mail address");
    *ret = v;
    return n;
}
