/*
 * Each series is first expanded into its contributions, an array parallel to a stretch of the
 * timeline, and those are folded into accumulators by loops without branches on the aggregator. A
 * series whose timestamps are the timeline's own needs no expansion.
 */
#include "base/attr.h"
#include "base/check.h"
#include "query/merge.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum fold {
    FOLD_SUM, /* a sum, b count */
    FOLD_AVG,
    FOLD_COUNT,  /* b count */
    FOLD_SQUARE, /* a sum, b count */
    FOLD_MIN,    /* a */
    FOLD_MAX,
    FOLD_MULT,  /* a product, b count */
    FOLD_DEV,   /* a mean, b count, c sum of squared distances (Welford) */
    FOLD_DIFF,  /* a first that is not NaN, c last */
    FOLD_FIRST, /* a, b count */
    FOLD_LAST,  /* a */
    FOLD_ALL    /* needs all values of a timestamp at once */
};

static enum fold fold_of(enum aggregator aggregator) {
    switch (aggregator) {
    case AGGREGATOR_SUM:
    case AGGREGATOR_PFSUM:
    case AGGREGATOR_ZIMSUM:
        return FOLD_SUM;
    case AGGREGATOR_MIN:
    case AGGREGATOR_MIMMIN:
        return FOLD_MIN;
    case AGGREGATOR_MAX:
    case AGGREGATOR_MIMMAX:
        return FOLD_MAX;
    case AGGREGATOR_AVG:
        return FOLD_AVG;
    case AGGREGATOR_MULT:
        return FOLD_MULT;
    case AGGREGATOR_DEV:
        return FOLD_DEV;
    case AGGREGATOR_DIFF:
        return FOLD_DIFF;
    case AGGREGATOR_COUNT:
        return FOLD_COUNT;
    case AGGREGATOR_SQUARESUM:
        return FOLD_SQUARE;
    case AGGREGATOR_FIRST:
    case AGGREGATOR_NONE:
        return FOLD_FIRST;
    case AGGREGATOR_LAST:
        return FOLD_LAST;
    default:
        return FOLD_ALL;
    }
}

/* ---- life ---- */

enum { LENGTH_MAX = 4096, TILE_BYTES = 4 << 20 };

void merge_slice_init(struct merge_slice *slice, struct budget *budget) {
    *slice = (struct merge_slice){.memory.budget = budget};
}

void merge_slice_fini(struct merge_slice *slice) {
    scratch_fini(&slice->memory);
}

size_t merge_slice_length(enum aggregator aggregator, size_t series) {
    if (fold_of(aggregator) != FOLD_ALL)
        return LENGTH_MAX;
    size_t length = TILE_BYTES / sizeof(double) / (series + 1);
    length = length / MERGE_SLICE_UNIT * MERGE_SLICE_UNIT;
    return length > LENGTH_MAX ? LENGTH_MAX : length < MERGE_SLICE_UNIT ? MERGE_SLICE_UNIT : length;
}

static void fill(double *values, size_t n, double value) {
    for (size_t i = 0; i < n; i++)
        values[i] = value;
}

static void clear_doubles(enum fold fold, double *a, double *b, double *c, size_t n) {
    static const double start_of[] = {
        [FOLD_MIN] = INFINITY, [FOLD_MAX] = -INFINITY, [FOLD_MULT] = 1, [FOLD_DIFF] = NAN,
        [FOLD_FIRST] = NAN,    [FOLD_LAST] = NAN,      [FOLD_ALL] = 0};
    fill(a, n, start_of[fold]);
    fill(b, n, 0);
    fill(c, n, fold == FOLD_DIFF ? NAN : 0);
}

static void clear_ints(enum fold fold, struct merge_slice *slice, size_t n) {
    int64_t start = fold == FOLD_MIN    ? INT64_MAX
                    : fold == FOLD_MAX  ? INT64_MIN
                    : fold == FOLD_MULT ? 1
                                        : 0;
    for (size_t i = 0; i < n; i++)
        slice->x[i] = start;
    memset(slice->y, 0, n * sizeof(*slice->y));
    memset(slice->z, 0, n * sizeof(*slice->z));
}

/* Cuts `*at` into arrays of 8-byte elements. */
static void *cut(char **at, size_t count) {
    void *p = *at;
    *at += count * sizeof(uint64_t);
    return p;
}

static bool allocate(struct merge_slice *slice, bool all) {
    size_t n = slice->count;
    size_t values = all ? slice->series_max * n : 0;
    size_t words = 12 * n + 2 * values;
    char *at = scratch_need(&slice->memory, words * sizeof(uint64_t));
    if (at == NULL)
        return false;
    slice->a = cut(&at, n);
    slice->b = cut(&at, n);
    slice->c = cut(&at, n);
    slice->ia = cut(&at, n);
    slice->ib = cut(&at, n);
    slice->ic = cut(&at, n);
    slice->x = cut(&at, n);
    slice->y = cut(&at, n);
    slice->z = cut(&at, n);
    slice->contribution = cut(&at, n);
    slice->values = cut(&at, values);
    slice->integers = cut(&at, values);
    slice->value_count = cut(&at, n);
    slice->float_seen = cut(&at, n);
    return true;
}

bool merge_slice_begin(struct merge_slice *slice, enum aggregator aggregator, bool rate,
                       enum merge_mode mode, const int64_t *time_ms, size_t count,
                       size_t series_max) {
    slice->aggregator = aggregator;
    slice->interpolation = aggregator_interpolation(aggregator);
    slice->rate = rate;
    slice->mode = mode;
    slice->time_ms = time_ms;
    slice->count = count;
    slice->series_max = series_max;
    enum fold fold = fold_of(aggregator);
    if (!allocate(slice, fold == FOLD_ALL))
        return false;
    if (mode != MERGE_INTEGERS)
        clear_doubles(fold, slice->a, slice->b, slice->c, count);
    if (mode != MERGE_DOUBLES) {
        clear_doubles(fold, slice->ia, slice->ib, slice->ic, count);
        clear_ints(fold, slice, count);
    }
    memset(slice->value_count, 0, count * sizeof(*slice->value_count));
    memset(slice->float_seen, 0, count);
    return true;
}

/* ---- expansion ---- */

/* The timestamps of the slice to which a series contributes, and where in the column it begins. */
struct stretch {
    size_t from, to;
    size_t column_from; /* last point at or before time `from`; 0 if there is none */
    bool exact;         /* every timestamp is a point of the series */
};

static struct stretch stretch_of(const struct merge_slice *slice,
                                 const struct merge_column *column) {
    struct stretch stretch = {0};
    const int64_t *times = slice->time_ms;
    size_t n = slice->count;
    if (column->count == 0 || n == 0)
        return stretch;
    if (!column->has_before)
        stretch.from = merge_lower_bound(times, n, column->time_ms[0]);
    stretch.to = merge_lower_bound(times, n, column->time_ms[column->count - 1] + 1);
    if (stretch.from >= stretch.to)
        return stretch;
    size_t at = merge_lower_bound(column->time_ms, column->count, times[stretch.from] + 1);
    stretch.column_from = at == 0 ? 0 : at - 1;
    size_t length = stretch.to - stretch.from;
    stretch.exact = length <= column->count - stretch.column_from &&
                    memcmp(times + stretch.from, column->time_ms + stretch.column_from,
                           length * sizeof(*times)) == 0;
    return stretch;
}

static inline double column_double(const struct merge_column *column, enum points_kind kind,
                                   size_t i) {
    if (kind == POINTS_DOUBLES || (kind == POINTS_MIXED && merge_column_is_float(column, i)))
        return points_double_of(column->bits[i]);
    return (double)(int64_t)column->bits[i];
}

static ALWAYS_INLINE double interpolate_double(enum interpolation interpolation, int64_t time,
                                               int64_t t0, int64_t t1, double y0, double y1) {
    switch (interpolation) {
    case INTERPOLATION_LERP:
        return y0 + (double)(time - t0) * (y1 - y0) / (double)(t1 - t0);
    case INTERPOLATION_PREV:
        return y0;
    case INTERPOLATION_MAX:
        return DBL_MAX;
    case INTERPOLATION_MIN:
        return -DBL_MAX;
    case INTERPOLATION_ZIM:
        break;
    }
    return 0;
}

/* Java's long arithmetic: the product wraps, the division truncates towards zero. */
static inline int64_t interpolate_int(enum interpolation interpolation, int64_t time, int64_t t0,
                                      int64_t t1, uint64_t y0, uint64_t y1) {
    switch (interpolation) {
    case INTERPOLATION_LERP:
        return (int64_t)(y0 + (uint64_t)((int64_t)((uint64_t)(time - t0) * (y1 - y0)) / (t1 - t0)));
    case INTERPOLATION_PREV:
        return (int64_t)y0;
    case INTERPOLATION_MAX:
        return INT64_MAX;
    case INTERPOLATION_MIN:
        return INT64_MIN;
    case INTERPOLATION_ZIM:
        break;
    }
    return 0;
}

/* `kind` is a constant where this is called, so the loop has no branch on it. */
static ALWAYS_INLINE void expand_kind(const struct merge_slice *slice,
                                      const struct merge_column *column, enum points_kind kind,
                                      const struct stretch *stretch, uint64_t *out) {
    const int64_t *times = column->time_ms;
    size_t j = stretch->column_from;
    for (size_t k = stretch->from; k < stretch->to; k++) {
        int64_t time = slice->time_ms[k];
        while (j + 1 < column->count && times[j + 1] <= time)
            j++;
        double value;
        if (time < times[j])
            value = column->before;
        else if (time == times[j] || slice->rate)
            value = column_double(column, kind, j);
        else
            value = interpolate_double(slice->interpolation, time, times[j], times[j + 1],
                                       column_double(column, kind, j),
                                       column_double(column, kind, j + 1));
        *out++ = points_bits_of(value);
    }
}

/* Contributions as doubles, borrowed from the column where it holds them already. */
static const uint64_t *expand_doubles(const struct merge_slice *slice,
                                      const struct merge_column *column,
                                      const struct stretch *stretch) {
    uint64_t *out = slice->contribution;
    const uint64_t *bits = column->bits + stretch->column_from;
    switch (column->kind) {
    case POINTS_DOUBLES:
        if (stretch->exact)
            return bits;
        expand_kind(slice, column, POINTS_DOUBLES, stretch, out);
        break;
    case POINTS_INTEGERS:
        if (stretch->exact)
            for (size_t i = 0; i < stretch->to - stretch->from; i++)
                out[i] = points_bits_of((double)(int64_t)bits[i]);
        else
            expand_kind(slice, column, POINTS_INTEGERS, stretch, out);
        break;
    case POINTS_MIXED:
        expand_kind(slice, column, POINTS_MIXED, stretch, out);
        break;
    }
    return out;
}

/* Contributions as integers. Where a value is a double the result is not used (float_seen). */
static const uint64_t *expand_ints(const struct merge_slice *slice,
                                   const struct merge_column *column,
                                   const struct stretch *stretch) {
    if (stretch->exact)
        return column->bits + stretch->column_from;
    const int64_t *times = column->time_ms;
    uint64_t *out = slice->contribution;
    size_t j = stretch->column_from;
    for (size_t k = stretch->from; k < stretch->to; k++) {
        int64_t time = slice->time_ms[k];
        while (j + 1 < column->count && times[j + 1] <= time)
            j++;
        *out++ = time == times[j]
                     ? column->bits[j]
                     : (uint64_t)interpolate_int(slice->interpolation, time, times[j], times[j + 1],
                                                 column->bits[j], column->bits[j + 1]);
    }
    return slice->contribution;
}

/* OpenTSDB looks at two buffered points of every series that has not ended: the one at or before
   the timestamp and the next one. A series that has not begun has only the latter. */
static void mark_floats(struct merge_slice *slice, const struct merge_column *column, size_t to) {
    if (column->kind == POINTS_INTEGERS || column->count == 0)
        return;
    if (column->kind == POINTS_DOUBLES) {
        memset(slice->float_seen, 1, to);
        return;
    }
    size_t j = 0; /* first point after the timestamp */
    if (to > 0)
        j = merge_lower_bound(column->time_ms, column->count, slice->time_ms[0]);
    for (size_t k = 0; k < to; k++) {
        while (j < column->count && column->time_ms[j] <= slice->time_ms[k])
            j++;
        bool seen = (j > 0 && merge_column_is_float(column, j - 1)) ||
                    (j < column->count && merge_column_is_float(column, j));
        slice->float_seen[k] |= seen;
    }
}

/* ---- folding ---- */

static void fold_dev(double *mean, double *count, double *distances, size_t i, double value) {
    count[i] += 1;
    if (count[i] == 1) {
        mean[i] = value;
        return;
    }
    double old = mean[i];
    mean[i] = old + (value - old) / count[i];
    distances[i] += (value - old) * (value - mean[i]);
}

static void fold_doubles(enum fold fold, double *restrict a, double *restrict b, double *restrict c,
                         const uint64_t *restrict bits, size_t n) {
#define EACH(statement)                                                                            \
    for (size_t i = 0; i < n; i++) {                                                               \
        double v = points_double_of(bits[i]);                                                      \
        statement;                                                                                 \
    }                                                                                              \
    break
    switch (fold) {
    case FOLD_SUM:
    case FOLD_AVG:
        EACH(a[i] += v == v ? v : 0; b[i] += v == v ? 1.0 : 0.0);
    case FOLD_COUNT:
        EACH(b[i] += v == v ? 1.0 : 0.0);
    case FOLD_SQUARE:
        EACH(a[i] += v == v ? v * v : 0; b[i] += v == v ? 1.0 : 0.0);
    case FOLD_MIN:
        EACH(a[i] = v < a[i] ? v : a[i]);
    case FOLD_MAX:
        EACH(a[i] = v > a[i] ? v : a[i]);
    case FOLD_MULT:
        EACH(a[i] *= v; b[i] += 1);
    case FOLD_DEV:
        EACH(if (v == v) fold_dev(a, b, c, i, v));
    case FOLD_DIFF:
        EACH(a[i] = a[i] == a[i] ? a[i] : v; c[i] = v);
    case FOLD_FIRST:
        EACH(a[i] = b[i] == 0 ? v : a[i]; b[i] += 1);
    case FOLD_LAST:
        EACH(a[i] = v);
    case FOLD_ALL:
        break;
    }
#undef EACH
}

/* x holds the result, y whether there is one (or how many), z the last value of FOLD_DIFF. */
static void fold_ints(enum fold fold, int64_t *restrict x, int64_t *restrict y, int64_t *restrict z,
                      const uint64_t *restrict bits, size_t n) {
#define EACH(statement)                                                                            \
    for (size_t i = 0; i < n; i++) {                                                               \
        int64_t v = (int64_t)bits[i];                                                              \
        statement;                                                                                 \
    }                                                                                              \
    break
    switch (fold) {
    case FOLD_SUM:
    case FOLD_AVG:
        EACH(x[i] = (int64_t)((uint64_t)x[i] + (uint64_t)v); y[i]++);
    case FOLD_COUNT:
        EACH((void)v; y[i]++);
    case FOLD_SQUARE:
        EACH(x[i] = (int64_t)((uint64_t)x[i] + (uint64_t)v * (uint64_t)v); y[i]++);
    case FOLD_MIN:
        EACH(x[i] = v < x[i] ? v : x[i]; y[i] = 1);
    case FOLD_MAX:
        EACH(x[i] = v > x[i] ? v : x[i]; y[i] = 1);
    case FOLD_MULT:
        EACH(x[i] = (int64_t)((uint64_t)x[i] * (uint64_t)v); y[i] = 1);
    case FOLD_DIFF:
        EACH(x[i] = y[i] == 0 ? v : x[i]; y[i] = 1; z[i] = v);
    case FOLD_FIRST:
        EACH(x[i] = y[i] == 0 ? v : x[i]; y[i] = 1);
    case FOLD_LAST:
        EACH(x[i] = v; y[i] = 1);
    case FOLD_DEV:
    case FOLD_ALL:
        break;
    }
#undef EACH
}

/* Keeps the values of each timestamp side by side, for aggregators that need them all. */
static void gather(struct merge_slice *slice, const struct stretch *stretch, const uint64_t *bits,
                   bool ints) {
    for (size_t k = stretch->from; k < stretch->to; k++) {
        size_t at = k * slice->series_max + slice->value_count[k];
        if (ints)
            slice->integers[at] = (int64_t)bits[k - stretch->from];
        else
            slice->values[at] = points_double_of(bits[k - stretch->from]);
    }
}

static void add_doubles(struct merge_slice *slice, enum fold fold,
                        const struct merge_column *column, const struct stretch *stretch) {
    const uint64_t *bits = expand_doubles(slice, column, stretch);
    size_t from = stretch->from;
    if (fold == FOLD_ALL)
        gather(slice, stretch, bits, false);
    else
        fold_doubles(fold, slice->a + from, slice->b + from, slice->c + from, bits,
                     stretch->to - from);
}

static void add_ints(struct merge_slice *slice, enum fold fold, const struct merge_column *column,
                     const struct stretch *stretch) {
    const uint64_t *bits = expand_ints(slice, column, stretch);
    size_t from = stretch->from;
    if (fold == FOLD_ALL) {
        gather(slice, stretch, bits, true);
    } else if (fold == FOLD_DEV) {
        /* OpenTSDB computes the deviation of integers in doubles and truncates it. */
        for (size_t k = from; k < stretch->to; k++)
            fold_dev(slice->ia, slice->ib, slice->ic, k, (double)(int64_t)bits[k - from]);
    } else {
        fold_ints(fold, slice->x + from, slice->y + from, slice->z + from, bits,
                  stretch->to - from);
    }
}

void merge_slice_add(struct merge_slice *slice, const struct merge_column *column) {
    enum fold fold = fold_of(slice->aggregator);
    struct stretch stretch = stretch_of(slice, column);
    if (slice->mode == MERGE_MIXED)
        mark_floats(slice, column, stretch.to);
    if (stretch.from >= stretch.to)
        return;
    if (slice->mode != MERGE_INTEGERS)
        add_doubles(slice, fold, column, &stretch);
    if (slice->mode != MERGE_DOUBLES)
        add_ints(slice, fold, column, &stretch);
    if (fold != FOLD_ALL)
        return;
    for (size_t k = stretch.from; k < stretch.to; k++) {
        CHECK(slice->value_count[k] < slice->series_max);
        slice->value_count[k]++;
    }
}

/* ---- results ---- */

static double result_double(struct merge_slice *slice, enum fold fold, size_t k) {
    double a = slice->a[k], b = slice->b[k], c = slice->c[k];
    switch (fold) {
    case FOLD_SUM:
    case FOLD_SQUARE:
        return b == 0 ? NAN : a;
    case FOLD_AVG:
        return b == 0 ? NAN : a / b;
    case FOLD_COUNT:
        return b;
    case FOLD_MIN:
        return a == INFINITY ? NAN : a;
    case FOLD_MAX:
        return a == -INFINITY ? NAN : a;
    case FOLD_MULT:
        return b == 0 ? NAN : a;
    case FOLD_DEV:
        return b == 0 ? NAN : sqrt(c / b);
    case FOLD_DIFF:
        return c - a;
    case FOLD_FIRST:
    case FOLD_LAST:
        return a;
    case FOLD_ALL:
        break;
    }
    if (slice->value_count[k] == 0)
        return NAN;
    return aggregator_run_doubles(slice->aggregator, slice->values + k * slice->series_max,
                                  slice->value_count[k]);
}

/* The deviation of extreme integers reaches 2^63. */
static int64_t clamp_to_int(double value) {
    return value >= 0x1p63 ? INT64_MAX : (int64_t)value;
}

static int64_t result_int(struct merge_slice *slice, enum fold fold, size_t k) {
    switch (fold) {
    case FOLD_AVG:
        return slice->y[k] == 0 ? 0 : slice->x[k] / slice->y[k];
    case FOLD_COUNT:
        return slice->y[k];
    case FOLD_DIFF:
        return (int64_t)((uint64_t)slice->z[k] - (uint64_t)slice->x[k]);
    case FOLD_DEV:
        return slice->ib[k] == 0 ? 0 : clamp_to_int(sqrt(slice->ic[k] / slice->ib[k]));
    case FOLD_ALL:
        return slice->value_count[k] == 0
                   ? 0
                   : aggregator_run_ints(slice->aggregator, slice->integers + k * slice->series_max,
                                         slice->value_count[k]);
    default:
        return slice->x[k];
    }
}

void merge_slice_end(struct merge_slice *slice, uint64_t *bits, uint64_t *float_mask) {
    enum fold fold = fold_of(slice->aggregator);
    CHECK(float_mask != NULL || slice->mode == MERGE_DOUBLES);
    if (float_mask != NULL)
        memset(float_mask, slice->mode == MERGE_DOUBLES ? 0xff : 0,
               (slice->count + 63) / 64 * sizeof(*float_mask));
    for (size_t k = 0; k < slice->count; k++) {
        bool is_float = slice->mode == MERGE_DOUBLES ||
                        (slice->mode == MERGE_MIXED && slice->float_seen[k] != 0);
        if (!is_float) {
            bits[k] = (uint64_t)result_int(slice, fold, k);
            continue;
        }
        bits[k] = points_bits_of(result_double(slice, fold, k));
        if (float_mask != NULL)
            float_mask[k / 64] |= UINT64_C(1) << (k % 64);
    }
}
