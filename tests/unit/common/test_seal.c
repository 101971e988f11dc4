/* What is sealed opens to who says the same, and to nobody else. */
#include "testing.h"

#include <errno.h>

#include "common/cleanup.h"
#include "common/seal.h"

static const unsigned char key[SEAL_KEY] = "0123456789abcdef0123456789abcde";

static void opens_what_was_sealed(void **state)
{
    static const char *const texts[] = {"", "T", "a token of some length, 512 bytes at most"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        CLEANUP(buf_release) struct buf one = BUF_INIT(1024);
        CLEANUP(buf_release) struct buf two = BUF_INIT(1024);
        CLEANUP(buf_release) struct buf open = BUF_INIT(1024);
        assert_int_equal(seal(key, SLICE_LIT("me"), slice_of(texts[i]), &one), 0);
        assert_int_equal(seal(key, SLICE_LIT("me"), slice_of(texts[i]), &two), 0);
        assert_int_equal(one.len, strlen(texts[i]) + SEAL_EXTRA);
        assert_memory_not_equal(one.p, two.p, one.len); /* a nonce of its own */
        assert_true(seal_open(key, SLICE_LIT("me"), (struct slice){one.p, one.len}, &open));
        assert_string_equal(buf_str(&open), texts[i]);
    }
}

static void opens_to_nobody_else(void **state)
{
    CLEANUP(buf_release) struct buf sealed = BUF_INIT(1024), open = BUF_INIT(1024);
    unsigned char other[SEAL_KEY];

    (void)state;
    memcpy(other, key, sizeof(other));
    other[31] ^= 1;
    assert_int_equal(seal(key, SLICE_LIT("me"), SLICE_LIT("token"), &sealed), 0);
    const struct slice s = {sealed.p, sealed.len};
    assert_null(memmem(s.p, s.len, "token", 5));
    assert_false(seal_open(other, SLICE_LIT("me"), s, &open));
    assert_false(seal_open(key, SLICE_LIT("you"), s, &open));
    for (size_t i = 0; i < s.len; i++) {
        assert_false(seal_open(key, SLICE_LIT("me"), (struct slice){s.p, i}, &open));
        sealed.p[i] ^= 1;
        assert_false(seal_open(key, SLICE_LIT("me"), s, &open));
        sealed.p[i] ^= 1;
    }
    assert_int_equal(open.len, 0);
    static const char long_text[SEAL_MAX + 1];
    assert_int_equal(
        seal(key, SLICE_LIT("me"), (struct slice){long_text, sizeof(long_text)}, &open), -E2BIG);
    assert_true(seal_open(key, SLICE_LIT("me"), s, &open));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_what_was_sealed),
        cmocka_unit_test(opens_to_nobody_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
