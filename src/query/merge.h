/*
 * Merging the series of a group: the union of their timestamps, and at each timestamp the
 * aggregate of what every series contributes, exactly or by interpolation.
 *
 * No heap of iterators: the timeline is made first, then each series in turn walks it and adds its
 * contributions to accumulators. A timeline may be cut into slices that are merged independently,
 * on different threads; the result does not depend on the cut.
 */
#pragma once

#include "model/points.h"
#include "query/aggregator.h"
#include "query/scratch.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A series as it enters the merge: after downsampling and rate. Ascending, no time twice. */
struct merge_column {
    const int64_t *time_ms;
    const uint64_t *bits;
    const uint64_t *float_mask; /* POINTS_MIXED only */
    size_t count;
    enum points_kind kind;
    bool has_before; /* rates: `before` stands for every timestamp earlier than the first */
    double before;
};

static inline bool merge_column_is_float(const struct merge_column *column, size_t i) {
    return column->kind == POINTS_DOUBLES ||
           (column->kind == POINTS_MIXED && (column->float_mask[i / 64] >> (i % 64) & 1) != 0);
}

/* Index of the first of the ascending times that is >= `time`; `count` if there is none. */
size_t merge_lower_bound(const int64_t *times, size_t count, int64_t time);

/* ---- timeline ---- */

/* Zero it and set the budgets of the three scratches: that is an empty timeline. */
struct merge_timeline {
    struct scratch times; /* sorted, unique */
    struct scratch pending;
    struct scratch spare;
    size_t count;
    size_t pending_count;
};

void merge_timeline_init(struct merge_timeline *timeline, struct budget *budget);
void merge_timeline_fini(struct merge_timeline *timeline);
void merge_timeline_reset(struct merge_timeline *timeline);

/* Adds ascending times. False when memory is out. Cost: linear when they are there already, else
   amortised n log n. */
bool merge_timeline_add(struct merge_timeline *timeline, const int64_t *time_ms,
                        size_t count) MUST_USE;

/* Settles what was added; then `times` holds `count` times. */
bool merge_timeline_finish(struct merge_timeline *timeline) MUST_USE;

/* ---- slices ---- */

enum merge_mode {
    MERGE_INTEGERS, /* every value of the group is an integer */
    MERGE_DOUBLES,  /* every value is a double */
    MERGE_MIXED     /* decided at each timestamp */
};

enum { MERGE_SLICE_UNIT = 64 }; /* slices start at multiples of this: a word of the mask */

struct merge_slice {
    enum aggregator aggregator;
    enum interpolation interpolation;
    bool rate;
    enum merge_mode mode;
    const int64_t *time_ms;
    size_t count;
    size_t series_max;
    struct scratch memory;
    /* All in `memory`. Doubles and integers are aggregated side by side in MERGE_MIXED. */
    double *a, *b, *c;    /* of the doubles; what they hold depends on the aggregator */
    double *ia, *ib, *ic; /* of the integers, where doubles are needed */
    int64_t *x, *y, *z;   /* of the integers */
    double *values;       /* aggregators that need all values: series_max per timestamp */
    int64_t *integers;
    uint32_t *value_count;
    uint64_t *contribution;
    uint8_t *float_seen; /* MERGE_MIXED: a buffered value is a double */
};

/* Prepares an empty slice that charges `budget`. */
void merge_slice_init(struct merge_slice *slice, struct budget *budget);
void merge_slice_fini(struct merge_slice *slice);

/* How many timestamps a slice of this aggregator over so many series should have: bounded memory,
   a multiple of MERGE_SLICE_UNIT. */
size_t merge_slice_length(enum aggregator aggregator, size_t series);

/* Starts on `count` timestamps (borrowed until the end). False when memory is out. */
bool merge_slice_begin(struct merge_slice *slice, enum aggregator aggregator, bool rate,
                       enum merge_mode mode, const int64_t *time_ms, size_t count,
                       size_t series_max) MUST_USE;

/* Adds the contributions of one series; at most series_max calls, in series order. */
void merge_slice_add(struct merge_slice *slice, const struct merge_column *column);

/* Writes the aggregates: `count` values, and (count + 63) / 64 words of mask where it is not NULL
   (required unless the mode is MERGE_DOUBLES). A timestamp nobody contributed to gets NaN. */
void merge_slice_end(struct merge_slice *slice, uint64_t *bits, uint64_t *float_mask);

/* ---- one series ---- */

/* What a slice over a single series gives at the series' own timestamps, all values of one kind,
   without the slice. False, and nothing written, for aggregators and kinds where that is not simply
   the values. */
bool merge_alone(enum aggregator aggregator, enum points_kind kind, const uint64_t *bits,
                 size_t count, uint64_t *out) MUST_USE;
