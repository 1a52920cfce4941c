/*
 * Kernels: the hot loops of the codecs, on plain pointers.
 *
 * Packed values are vertical: value i stands in lane i % 8, row i / 8. Each lane is a bit string
 * of its own, low bits first, cut into words; word k of lane l is words[k * 8 + l]. Words have 32
 * bits for widths up to 32 and 64 bits above. The order is the same on every machine, so plain
 * C over 8 lanes becomes vector instructions of whatever size there is (the idea of FastLanes:
 * Afroozeh and Boncz, VLDB 2023).
 *
 * The same source is compiled once for the baseline instruction set and, on x86-64, once for AVX2
 * and BMI2; kernels_best() chooses once at run time. All variants give equal results.
 *
 * Arrays of values and words have room for KERNELS_VALUES elements and are aligned to 64 bytes;
 * kernels with a `rows` argument may read and write up to the next multiple of KERNELS_BLOCK_ROWS
 * rows, but pack32 and unpack32 of at most KERNELS_FEW_ROWS touch no more than those rows and their
 * words. Those with `n` touch n elements, and need no alignment. Arithmetic is modulo 2^32 or 2^64.
 */
#pragma once

#include "model/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    KERNELS_LANES = 8,
    KERNELS_BLOCK_ROWS = 32,
    KERNELS_FEW_ROWS = 8,
    KERNELS_VALUES = LIMIT_VECTOR_POINTS,
    KERNELS_LENGTHS = 65, /* a number has 0 .. 64 bits */
};

/* Smallest and largest of some values, in which bits any of them differs from the first, and their
   sum modulo 2^64. */
struct kernels_range {
    int64_t min;
    int64_t max;
    uint64_t differ;
    uint64_t sum;
};

enum kernels_sign { KERNELS_ABOVE, KERNELS_BELOW, KERNELS_AROUND };

struct kernels {
    /* Widths 1 .. 32. Values are below 2^width. */
    void (*pack32)(const uint32_t *restrict values, uint32_t rows, uint32_t width,
                   uint32_t *restrict words);
    void (*unpack32)(const uint32_t *restrict words, uint32_t rows, uint32_t width,
                     uint32_t *restrict values);

    /* Widths 33 .. 64. */
    void (*pack64)(const uint64_t *restrict values, uint32_t rows, uint32_t width,
                   uint64_t *restrict words);
    void (*unpack64)(const uint64_t *restrict words, uint32_t rows, uint32_t width,
                     uint64_t *restrict values);

    /* values[i] = start + sum over j <= i of (values[j] + base) */
    void (*prefix32)(uint32_t *values, uint32_t rows, uint32_t start, uint32_t base);
    /* values[i] = start + sum over j <= i of values[j] */
    void (*prefix64)(uint64_t *values, uint32_t n, uint64_t start);

    /* out[i] = base + (in[i] << shift) */
    void (*widen)(const uint32_t *restrict in, uint32_t n, uint64_t base, uint32_t shift,
                  uint64_t *restrict out);
    /* out[i] = base + in[i], in[i] as a signed number */
    void (*widen_signed)(const uint32_t *restrict in, uint32_t n, uint64_t base,
                         uint64_t *restrict out);
    /* values[i] = base + (values[i] << shift) */
    void (*rebase)(uint64_t *values, uint32_t n, uint64_t base, uint32_t shift);

    /* out[i] = (in[i] - base) >> shift, which must fit; _delta: of in[i] - in[i - 1], out[0] as
       out[1]. */
    void (*narrow32)(const uint64_t *restrict in, uint32_t n, uint64_t base, uint32_t shift,
                     uint32_t *restrict out);
    void (*narrow64)(const uint64_t *restrict in, uint32_t n, uint64_t base, uint32_t shift,
                     uint64_t *restrict out);

    /* out[i] = in[i] - in[i - 1]; out[0] = out[1]. n >= 2. */
    void (*differences)(const uint64_t *restrict in, uint32_t n, uint64_t *restrict out);

    struct kernels_range (*range)(const uint64_t *values, uint32_t n);
    /* The range of values[i] - values[i - 1], i from 1. n >= 2. */
    struct kernels_range (*step_range)(const uint64_t *values, uint32_t n);
    /* Whether all of these differences are equal. n >= 2. */
    bool (*is_ramp)(const uint64_t *values, uint32_t n);

    uint64_t (*sum32)(const uint32_t *values, uint32_t n);
    int64_t (*sum32_signed)(const uint32_t *values, uint32_t n);

    /* out[i] = first + i * step */
    void (*ramp)(uint64_t first, uint64_t step, uint32_t n, uint64_t *out);
    /* Whether each value is above the one before it. */
    bool (*ascending)(const int64_t *values, uint32_t n);

    /* Decodes n symbols (codec/entropy.h) with 4 or 8 lanes; returns how many bits it took. Reads
       `stream` up to 8 bytes past where n + lanes steps of 10 bits end. */
    uint32_t (*entropy)(const uint32_t *restrict table, const uint8_t *restrict stream, uint32_t n,
                        uint32_t lanes, uint32_t *restrict symbols);
    /* The index of the row of 16 costs whose products with the counts have the least sum, which
       is stored in *cost. Every sum fits 31 bits. */
    uint32_t (*cheapest)(const int16_t *restrict counts, const int16_t *restrict costs,
                         uint32_t rows, uint32_t *restrict cost);
    /* How many of (in[i] - from) >> shift need each count of bits, 0 .. 64: the difference taken as
       it is, its negative, or the zigzag of the signed one. */
    void (*lengths)(const uint64_t *restrict in, uint32_t n, uint64_t from, uint32_t shift,
                    enum kernels_sign sign, uint32_t *restrict lengths);

    /* values[i] += high[i] << shift */
    void (*join)(uint32_t *restrict values, const uint32_t *restrict high, uint32_t n,
                 uint32_t shift);

    /* Converts signed integers to doubles. False, and nothing useful in `out`, if one of them is
       2^51 or more in magnitude. */
    bool (*to_doubles)(const uint64_t *restrict integers, uint32_t n, double *restrict out);

    /* out[i] = (base + in[i]) / divisor as doubles, in[i] as a signed number: n doubles, stored as
       bytes. base + in[i] is below 2^53 in magnitude. */
    void (*offset_doubles)(const uint32_t *restrict in, uint32_t n, double base, double divisor,
                           void *restrict out);

    /* digits[i] = round(doubles[i] * power); misses[i] = 1 where digits[i] / power is not
       doubles[i] to the bit or digits[i] is 2^51 or more, else 0. Returns the number of misses. */
    uint32_t (*to_decimal)(const uint64_t *restrict doubles, uint32_t n, double power,
                           uint64_t *restrict digits, uint8_t *restrict misses);
    /* out[i] = the bits of digits[i] / power; digits are below 2^51 in magnitude. */
    void (*from_decimal)(const uint64_t *restrict digits, uint32_t n, double power,
                         uint64_t *restrict out);
};

/* The best variant for this machine. */
const struct kernels *kernels_best(void);

extern const struct kernels kernels_baseline;
#if defined(__x86_64__)
extern const struct kernels kernels_avx2;

/* Whether this machine can run kernels_avx2. */
bool kernels_avx2_usable(void);
#endif
