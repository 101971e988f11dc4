#include "notifier/sms.h"

#include <stdint.h>
#include <string.h>

enum { GSM_ONE = 160, GSM_PART = 153, UTF16_ONE = 70, UTF16_PART = 67 };

static uint32_t code_point(struct slice c)
{
    const unsigned char *u = (const unsigned char *)c.p;

    if (c.len == 2)
        return (uint32_t)(u[0] & 0x1f) << 6 | (u[1] & 0x3f);
    if (c.len == 3)
        return (uint32_t)(u[0] & 0x0f) << 12 | (uint32_t)(u[1] & 0x3f) << 6 | (u[2] & 0x3f);
    return c.len == 1 ? u[0] : 0x10000;
}

/* Signs of the basic alphabet beyond ASCII. */
static bool is_gsm_sign(uint32_t c)
{
    static const uint16_t signs[] = {
        0xa1, 0xa3, 0xa4, 0xa5,  0xa7,  0xbf,  0xc4,  0xc5,  0xc6,  0xc7,  0xc9,  0xd1,  0xd6,
        0xd8, 0xdc, 0xdf, 0xe0,  0xe4,  0xe5,  0xe6,  0xe8,  0xe9,  0xec,  0xf1,  0xf2,  0xf6,
        0xf8, 0xf9, 0xfc, 0x393, 0x394, 0x398, 0x39b, 0x39e, 0x3a0, 0x3a3, 0x3a6, 0x3a8, 0x3a9};

    for (size_t i = 0; i < sizeof(signs) / sizeof(*signs); i++)
        if (signs[i] == c)
            return true;
    return false;
}

/* 1; 2 behind an escape; 0: it has none. */
static size_t in_gsm(uint32_t c)
{
    if (c == 0x20ac || (c < 0x80 && c && strchr("^{}\\[~]|\f", (int)c)))
        return 2;
    if (c == '\n' || c == '\r' || (c >= ' ' && c < 0x7f && c != '`'))
        return 1;
    return is_gsm_sign(c);
}

/* What does not fit at the end of a part begins the next. */
static void place(size_t *parted, size_t n, size_t part)
{
    const size_t left = part - *parted % part;

    *parted += n + (n > left ? left : 0);
}

void sms_add(struct sms *m, struct slice character)
{
    const size_t gsm = in_gsm(code_point(character)), utf16 = character.len == 4 ? 2 : 1;

    m->beyond = m->beyond || gsm == 0;
    m->gsm += gsm;
    m->utf16 += utf16;
    place(&m->gsm_parted, gsm, GSM_PART);
    place(&m->utf16_parted, utf16, UTF16_PART);
}

size_t sms_parts(const struct sms *m)
{
    const size_t all = m->beyond ? m->utf16 : m->gsm;
    const size_t parted = m->beyond ? m->utf16_parted : m->gsm_parted;
    const size_t one = m->beyond ? UTF16_ONE : GSM_ONE, part = m->beyond ? UTF16_PART : GSM_PART;

    return all <= one ? all > 0 : (parted + part - 1) / part;
}
