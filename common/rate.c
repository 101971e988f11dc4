#include "common/rate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

int64_t backoff_full_jitter(uint32_t attempt, int64_t base_ms, int64_t cap_ms, uint64_t random)
{
    if (base_ms <= 0 || cap_ms <= 0)
        return 0;
    int64_t ceiling = cap_ms;
    if (attempt < 63 && base_ms <= cap_ms >> attempt)
        ceiling = base_ms << attempt;
    return (int64_t)(random % ((uint64_t)ceiling + 1));
}

static int64_t times(int64_t ms, uint32_t n)
{
    int64_t product = 0;
    return __builtin_mul_overflow(ms, (int64_t)n, &product) ? INT64_MAX / 4 : product;
}

bool gcra_take(int64_t *tat, int64_t now_ms, int64_t interval_ms, uint32_t burst, uint32_t n,
               int64_t *ret_wait_ms)
{
    if (n == 0 || interval_ms <= 0)
        return true;
    int64_t tolerance = times(interval_ms, burst);
    int64_t from = *tat > now_ms ? *tat : now_ms;
    /* No history leads further ahead than this; a clock that stepped back, or a limit that was
     * raised, does. */
    if (from > now_ms + tolerance)
        from = now_ms + tolerance;
    int64_t next = from + times(interval_ms, n);
    if (n <= burst && next - tolerance <= now_ms) {
        *tat = next;
        return true;
    }
    /* More than a burst never goes at once: the wait is for a whole burst then. */
    *ret_wait_ms = n <= burst ? next - tolerance - now_ms : from - now_ms;
    return false;
}

uint64_t random_u64(void)
{
    uint64_t v = 0;
    ssize_t n = 0;
    do {
        n = getrandom(&v, sizeof(v), 0);
    } while (n < 0 && errno == EINTR);
    /* The kernel gives up to 256 bytes whole. Ids and jitter from a predictable value would be
     * worse than a stop. */
    if (n != sizeof(v)) {
        perror("getrandom");
        abort();
    }
    return v;
}
