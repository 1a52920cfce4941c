/*
 * Vectors: up to 1024 points of one series as compressed columns.
 *
 * A vector is a summary and a payload. The summary says what most aggregates over whole buckets
 * need, so they touch no payload. The payload is the two columns, times and values, each encoded on
 * its own. docs/format/vector.md has the byte tables.
 *
 *   times    constant step (nothing stored at all), or an integer column, in seconds if it can be
 *   values   integers: frame of reference or deltas, bit-packed, with patches for outliers or
 *            entropy-coded (VECTOR_TIGHT); a constant or a slope takes a few bytes;
 *            doubles that are decimals as scaled integers with exceptions (the idea of ALP:
 *            Afroozeh, Kuffo and Boncz, SIGMOD 2023); other doubles as the integers their bits are;
 *            mixed columns as decimals or bits, and a mask
 *
 * Bit-packing is vertical: value i stands in lane i % 8, row i / 8, so that plain C loops over the
 * 8 lanes vectorise (the idea of FastLanes: Afroozeh and Boncz, VLDB 2023).
 *
 * Decoding validates: any bytes give either the points they stand for or RC_CORRUPT, never a read
 * or write out of bounds. Encoding is lossless to the bit (-0.0 included) and cannot fail.
 */
#pragma once

#include "base/err.h"
#include "model/limits.h"
#include "model/points.h"

#include <stddef.h>
#include <stdint.h>

/* 64 bytes, stored as it is, little-endian. sum, min, max, first, last are of the values as
   doubles; sum is the exact integer sum, rounded once, when all values are integers; else the
   doubles added in order of time. */
struct vector_summary {
    int64_t time_first_ms;
    int64_t time_last_ms;
    double min;
    double max;
    double sum;
    double first;
    double last;
    uint16_t count;   /* 1 .. LIMIT_VECTOR_POINTS */
    uint8_t kind;     /* enum points_kind */
    uint8_t reserved; /* 0 */
    uint32_t payload_bytes;
};
_Static_assert(sizeof(struct vector_summary) == 64, "stored format");

enum vector_effort {
    VECTOR_FAST, /* the write path: one pass to choose, no search */
    VECTOR_TIGHT /* compaction: tries the alternatives and keeps the smallest */
};

/* Most bytes that vector_encode writes as payload for `count` points. */
size_t vector_payload_bound(uint32_t count);

/* Encodes 1 .. LIMIT_VECTOR_POINTS points (ascending times). Fills *summary and writes
   summary->payload_bytes bytes at `payload` (room: vector_payload_bound). Allocates nothing. */
void vector_encode(const struct points *points, enum vector_effort effort,
                   struct vector_summary *summary, uint8_t *payload);

/* Decodes all columns into points->time_ms, ->bits, ->float_mask (room for LIMIT_VECTOR_POINTS
   each, float_mask LIMIT_VECTOR_POINTS / 64 words) and sets count and kind. RC_CORRUPT if the
   payload is not what vector_encode could have written for this summary. */
enum rc vector_decode(const struct vector_summary *summary, const uint8_t *payload,
                      struct points *points) MUST_USE;

/* Decodes only the times. */
enum rc vector_decode_times(const struct vector_summary *summary, const uint8_t *payload,
                            int64_t *time_ms) MUST_USE;

/* Decodes only the values, all converted to doubles (integers beyond 2^53 are rounded). */
enum rc vector_decode_doubles(const struct vector_summary *summary, const uint8_t *payload,
                              double *values) MUST_USE;

/* If the times have a constant step, stores it (0 for one point) and returns true: then point i is
   at time_first_ms + i * step, and nobody needs to decode times. */
bool vector_step(const struct vector_summary *summary, const uint8_t *payload, int64_t *step_ms);

/* Sum of the values [from, to) as a double. Integers and decimals are summed exactly, as integers
   before scaling; the sum of the whole is that of the summary. `from < to <= count`. */
enum rc vector_sum(const struct vector_summary *summary, const uint8_t *payload, uint32_t from,
                   uint32_t to, double *sum) MUST_USE;

/* Fills *summary from points (all fields but payload_bytes, which becomes 0). */
void vector_summarise(const struct points *points, struct vector_summary *summary);
