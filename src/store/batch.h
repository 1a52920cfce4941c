/*
 * What the engine puts into the log: batches of points of one shard, and deletes.
 * docs/format/batch.md has the byte tables.
 *
 * Decoding validates everything but the existence of the series.
 */
#pragma once

#include "base/err.h"
#include "model/limits.h"

#include <stddef.h>
#include <stdint.h>

/* `count` points as columns, in order of writing; arrays borrowed. 1 .. LIMIT_BATCH_POINTS. */
struct batch_points {
    uint32_t count;
    uint32_t *series_id;
    int64_t *time_ms;
    uint64_t *bits;
    uint8_t *is_float; /* 0 or 1 each */
};

/* Most bytes batch_encode writes for `count` points. */
size_t batch_points_bound(uint32_t count);

/* Writes a LOG_POINTS record at `out` and returns its size. Cannot fail. */
size_t batch_encode_points(const struct batch_points *points, uint8_t *out);

/* Fills *points, whose arrays have room for LIMIT_BATCH_POINTS each, or returns RC_CORRUPT. */
enum rc batch_decode_points(const uint8_t *bytes, size_t n, struct batch_points *points) MUST_USE;

enum { BATCH_DELETE_SERIES = 256 }; /* most series of one LOG_DELETE record */

/* Delete of [from_ms, to_ms] of some series of one shard. */
struct batch_delete {
    int64_t from_ms;
    int64_t to_ms;
    uint32_t count;
    uint32_t series_id[BATCH_DELETE_SERIES];
};

enum { BATCH_DELETE_BOUND = 32 + BATCH_DELETE_SERIES * 5 };

/* Writes a LOG_DELETE record at `out` (BATCH_DELETE_BOUND bytes) and returns its size. */
size_t batch_encode_delete(const struct batch_delete *batch, uint8_t *out);
enum rc batch_decode_delete(const uint8_t *bytes, size_t n, struct batch_delete *batch) MUST_USE;
