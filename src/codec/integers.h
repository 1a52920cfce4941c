/*
 * Integer columns: 1 .. LIMIT_VECTOR_POINTS 64-bit integers as bytes.
 *
 * A column is a frame of reference (base + packed offsets) over the values, or over the differences
 * of neighbours. Arithmetic is modulo 2^64, so any values round-trip. docs/format/vector.md has the
 * byte table.
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "codec/kernels.h"
#include "codec/vector.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    INTEGERS_DELTA = 1,   /* the column is of differences */
    INTEGERS_SHIFT = 2,   /* a shift byte follows the width */
    INTEGERS_PATCHED = 4, /* patches follow the offsets */
    INTEGERS_ENTROPY = 8, /* the offsets are entropy-coded but for `width` low bits */
    INTEGERS_FLAGS = 15,
    INTEGERS_LOW_BITS_MAX = 12, /* INTEGERS_ENTROPY: largest width */
};

/* A column found in a payload; borrows its bytes. */
struct integers {
    uint32_t n;
    uint32_t flags;
    uint32_t width;                 /* bits of a packed offset, 0 .. 64 */
    uint32_t shift;                 /* low zero bits that the offsets leave out */
    uint64_t base;                  /* added to each offset */
    uint64_t start;                 /* of differences: what stands before the first value */
    uint32_t book;                  /* INTEGERS_ENTROPY */
    uint32_t stream_bytes;          /* INTEGERS_ENTROPY */
    const uint8_t *stream;          /* INTEGERS_ENTROPY */
    const uint8_t *packed;          /* packed_bytes(n, width) bytes */
    uint32_t patches;               /* values (or differences) that are not base + offset */
    struct bytes_reader patches_at; /* validated */
};

/* Most bytes of a column of n values. */
size_t integers_bound(uint32_t n);

/* Writes a column of n >= 1 values at `out` and returns the position after it. `known` is their
   range, or NULL if the caller has not looked at them. */
uint8_t *integers_encode(const uint64_t *values, uint32_t n, const struct kernels_range *known,
                         enum vector_effort effort, uint8_t *out);

/* Reads the head of a column of n values and moves the reader past the column. */
enum rc integers_open(struct bytes_reader *reader, uint32_t n, struct integers *column) MUST_USE;

/* Writes the n values. */
enum rc integers_decode(const struct integers *column, uint64_t *values) MUST_USE;

/* Whether the values are a number below 2^49 in magnitude plus offsets of 32 bits. */
bool integers_is_narrow(const struct integers *column);

/* For a narrow column: stores value / divisor as n doubles at `out`, without making the integers.
   The divisor is a power of ten up to 10^15. */
enum rc integers_decode_narrow(const struct integers *column, double divisor, void *out) MUST_USE;

/* The exact sum of values [from, to) as signed integers, without making them where possible. */
enum rc integers_sum(const struct integers *column, uint32_t from, uint32_t to,
                     __int128 *sum) MUST_USE;
