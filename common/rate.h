/* Retry delays and rates as pure arithmetic; callers bring the time and the randomness. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Full jitter: uniform in [0, min(cap, base * 2^attempt)], `random` being 64 uniform bits. attempt
 * from 0. */
int64_t backoff_full_jitter(uint32_t attempt, int64_t base_ms, int64_t cap_ms, uint64_t random);

/*
 * GCRA (the generic cell rate algorithm): `burst` at once, then one per `interval_ms`. `tat` is the
 * theoretical arrival time kept by the caller (0 at first). True and a new *tat when `n` may go at
 * `now`; else false and *ret_wait_ms until they may (a whole burst may, when `n` is more than that
 * and never can). This is the shape of the rate row per destination.
 */
bool gcra_take(int64_t *tat, int64_t now_ms, int64_t interval_ms, uint32_t burst, uint32_t n,
               int64_t *ret_wait_ms);

/* 64 random bits from the kernel's generator; for jitter and ids, at the edges. */
uint64_t random_u64(void);
