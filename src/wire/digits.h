/*
 * Runs of ASCII digits, eight at a time; inside wire.
 */
#pragma once

#include "base/attr.h"
#include "base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

static inline bool digits_is(char c) {
    return (uint8_t)(c - '0') < 10;
}

/* How many of the first bytes of a word (little-endian text) are digits, 0 to 8. Of a digit the
   high nibble is 3, and still is when 6 is added; what a byte that is none carries goes into the
   bytes behind it, which no longer matter. */
static inline unsigned digits_leading(uint64_t word) {
    uint64_t high = word & UINT64_C(0xf0f0f0f0f0f0f0f0);
    uint64_t carried = (word + UINT64_C(0x0606060606060606)) & UINT64_C(0xf0f0f0f0f0f0f0f0);
    uint64_t others = (high | carried >> 4) ^ UINT64_C(0x3333333333333333);
    return others == 0 ? 8 : (unsigned)__builtin_ctzll(others) / 8;
}

/* The number that the first `n` bytes of a word are, 1 to 8 digits: neighbours are joined to pairs,
   pairs to fours, fours to eight; digits that are missing are zeros in front. */
static inline uint32_t digits_join(uint64_t word, unsigned n) {
    word = (word ^ UINT64_C(0x3030303030303030)) << (64 - 8 * n);
    word = word * 10 + (word >> 8);
    uint64_t low = (word & UINT64_C(0x000000ff000000ff)) * UINT64_C(0x000f424000000064);
    uint64_t high = (word >> 16 & UINT64_C(0x000000ff000000ff)) * UINT64_C(0x0000271000000001);
    return (uint32_t)((low + high) >> 32);
}

enum { DIGITS_RUN_MAX = 15, DIGITS_RUN_BYTES = 16 };

/* The powers of ten that a run can need. */
static inline uint64_t digits_power(unsigned n) {
    static const uint64_t powers[DIGITS_RUN_MAX + 1] = {1,
                                                        10,
                                                        100,
                                                        1000,
                                                        10000,
                                                        100000,
                                                        1000000,
                                                        10000000,
                                                        100000000,
                                                        1000000000,
                                                        10000000000,
                                                        100000000000,
                                                        1000000000000,
                                                        10000000000000,
                                                        100000000000000,
                                                        1000000000000000};
    return powers[n];
}

/* Reads a run of 1 to DIGITS_RUN_MAX digits and returns how many they are; 0 if there are none or
   more. DIGITS_RUN_BYTES must be readable. Without a branch on the length of short runs, which
   nobody could predict. */
static inline unsigned digits_take(const char *p, uint64_t *number) {
    uint64_t word = bytes_u64(p);
    unsigned n = digits_leading(word);
    if (UNLIKELY(n == 0))
        return 0;
    *number = digits_join(word, n);
    if (n < 8)
        return n;
    word = bytes_u64(p + 8);
    unsigned more = digits_leading(word);
    if (more == 0)
        return 8;
    if (UNLIKELY(more == 8))
        return 0;
    *number = *number * digits_power(more) + digits_join(word, more);
    return 8 + more;
}
