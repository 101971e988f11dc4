/* Matchers of anybody's text: their canonical form reads back as itself and matches the same. */
#include "common/matcher.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct label pairs[] = {{{"a", 1}, {"foo-bar 12", 10}},
                                         {{"b", 1}, {"\xc3\xa4", 2}}};
    const struct labels l = {pairs, 2};
    struct err e = {0};
    if (size > 2048)
        return 0;
    struct matchers *m = matchers_parse((struct slice){(const char *)data, size}, &e);
    if (!m) {
        MUST(e.msg[0]);
        return 0;
    }
    struct buf b = BUF_INIT(1 << 20), c = BUF_INIT(1 << 20);
    matchers_format(m, &b);
    struct matchers *again = matchers_parse((struct slice){buf_str(&b), b.len}, &e);
    MUST(again);
    matchers_format(again, &c);
    MUST(b.len == c.len && memcmp(buf_str(&b), buf_str(&c), b.len) == 0);
    MUST(matchers_match(m, l) == matchers_match(again, l));
    matchers_free(m);
    matchers_free(again);
    buf_release(&b);
    buf_release(&c);
    return 0;
}
