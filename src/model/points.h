/*
 * Points of one series as columns.
 *
 * A value is 64 bits and a flag: an int64 in two's complement, or an IEEE double. Integer-ness is a
 * property of each point because OpenTSDB clients see integers back as integers.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct value {
    uint64_t bits;
    bool is_float;
};

enum points_kind {
    POINTS_INTEGERS, /* every value is an int64 */
    POINTS_DOUBLES,  /* every value is a double */
    POINTS_MIXED     /* float_mask tells: bit i set, value i is a double */
};

/* `count` points in ascending time, no time twice. The arrays are borrowed or owned as the holder
   says. float_mask has (count + 63) / 64 words and is meaningful for POINTS_MIXED only (it may be
   NULL otherwise). */
struct points {
    uint32_t count;
    enum points_kind kind;
    int64_t *time_ms;
    uint64_t *bits;
    uint64_t *float_mask;
};

/* The kind of 1 to 64 values, the doubles of which the low bits of `mask` tell. */
static inline enum points_kind points_kind_of(uint64_t mask, uint32_t count) {
    uint64_t all = UINT64_MAX >> (64 - count);
    mask &= all;
    return mask == 0 ? POINTS_INTEGERS : mask == all ? POINTS_DOUBLES : POINTS_MIXED;
}

static inline double points_double_of(uint64_t bits) {
    double d;
    memcpy(&d, &bits, sizeof(d));
    return d;
}

static inline uint64_t points_bits_of(double d) {
    uint64_t bits;
    memcpy(&bits, &d, sizeof(bits));
    return bits;
}

static inline bool points_is_float(const struct points *points, uint32_t i) {
    return points->kind == POINTS_DOUBLES ||
           (points->kind == POINTS_MIXED && (points->float_mask[i / 64] >> (i % 64) & 1) != 0);
}

/* Value i as a double; integers are converted (rounded to nearest beyond 2^53). */
static inline double points_as_double(const struct points *points, uint32_t i) {
    uint64_t bits = points->bits[i];
    return points_is_float(points, i) ? points_double_of(bits) : (double)(int64_t)bits;
}
