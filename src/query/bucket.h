/*
 * Downsampling one series: runs of a scan in, one double per bucket out.
 *
 * A vector that lies in one bucket costs no more than its summary where the function allows; a
 * vector with a constant step needs no times; everything else is decoded and folded slice by slice.
 * Only the current bucket is kept open, so memory is the output and, for functions that need all
 * values, one bucket's values.
 */
#pragma once

#include "codec/vector.h"
#include "query/downsample.h"
#include "query/merge.h"
#include "query/scratch.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What buckets there are. */
struct bucket_window {
    int64_t scan_from_ms; /* buckets that start earlier are left out */
    int64_t scan_to_ms;   /* fills reach to the bucket that holds this */
    int64_t start_ms;     /* of the query: "0all" takes [start, end) and stands at start */
    int64_t end_ms;
};

struct bucket_run {
    const struct downsample *downsample;
    struct bucket_window window;
    int fold; /* enum fold of bucket.c */
    /* The open bucket: [from_ms, to_ms); `wanted` unless it is left out of the result. */
    int64_t from_ms;
    int64_t to_ms;
    bool open;
    bool wanted;
    uint64_t count;
    double sum; /* sum, product, sum of squares */
    double min;
    double max;
    double first;
    double last;
    double mean;
    double distances;
    struct scratch collected; /* functions that need all values */
    /* The result. */
    int64_t expected_ms; /* next bucket a fill would fill */
    struct scratch times;
    struct scratch values;
    size_t bucket_count;
    size_t bucket_room; /* of times and values */
    bool gap_met;       /* an unsupported fill (scalar) met a gap */
    bool failed;        /* out of memory */
    /* One decoded vector. */
    int64_t decoded_ms[LIMIT_VECTOR_POINTS];
    double decoded[LIMIT_VECTOR_POINTS];
};

/* `downsample` is borrowed. */
void bucket_init(struct bucket_run *run, const struct downsample *downsample,
                 const struct bucket_window *window, struct budget *budget);
void bucket_fini(struct bucket_run *run);

/* Starts a series. */
void bucket_begin(struct bucket_run *run);

/* Adds a run of points. */
void bucket_add_points(struct bucket_run *run, const struct points *points);

/* Adds a vector by its summary alone: false if it does not lie in one bucket or the function needs
   its values; then nothing was added. */
bool bucket_add_summary(struct bucket_run *run, const struct vector_summary *summary) MUST_USE;

/* Adds a vector. RC_CORRUPT if the payload does not decode: nothing was added. */
enum rc bucket_add_vector(struct bucket_run *run, const struct vector_summary *summary,
                          const uint8_t *payload) MUST_USE;

/* Ends the series, fills what the policy fills, and gives the buckets as a column of doubles,
   borrowed until the next bucket_begin. Look at `failed` and `gap_met` afterwards. */
void bucket_end(struct bucket_run *run, struct merge_column *column);
