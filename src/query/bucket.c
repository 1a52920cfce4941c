#include "query/bucket.h"

#include "query/bucket_loop.h"

#include <math.h>
#include <string.h>

enum fold {
    FOLD_SUM,
    FOLD_AVG,
    FOLD_COUNT,
    FOLD_MIN,
    FOLD_MAX,
    FOLD_FIRST,
    FOLD_LAST,
    FOLD_DIFF,
    FOLD_MULT,
    FOLD_SQUARE,
    FOLD_DEV,
    FOLD_COLLECT
};

static enum fold fold_of(enum aggregator function) {
    switch (function) {
    case AGGREGATOR_SUM:
    case AGGREGATOR_PFSUM:
    case AGGREGATOR_ZIMSUM:
        return FOLD_SUM;
    case AGGREGATOR_AVG:
        return FOLD_AVG;
    case AGGREGATOR_COUNT:
        return FOLD_COUNT;
    case AGGREGATOR_MIN:
    case AGGREGATOR_MIMMIN:
        return FOLD_MIN;
    case AGGREGATOR_MAX:
    case AGGREGATOR_MIMMAX:
        return FOLD_MAX;
    case AGGREGATOR_FIRST:
        return FOLD_FIRST;
    case AGGREGATOR_LAST:
        return FOLD_LAST;
    case AGGREGATOR_DIFF:
        return FOLD_DIFF;
    case AGGREGATOR_MULT:
        return FOLD_MULT;
    case AGGREGATOR_SQUARESUM:
        return FOLD_SQUARE;
    case AGGREGATOR_DEV:
        return FOLD_DEV;
    default:
        return FOLD_COLLECT;
    }
}

void bucket_init(struct bucket_run *run, const struct downsample *downsample,
                 const struct bucket_window *window, struct budget *budget) {
    memset(run, 0, offsetof(struct bucket_run, decoded_ms));
    run->downsample = downsample;
    run->window = *window;
    run->fold = fold_of(downsample->function);
    run->collected.budget = budget;
    run->times.budget = budget;
    run->values.budget = budget;
}

void bucket_fini(struct bucket_run *run) {
    scratch_fini(&run->collected);
    scratch_fini(&run->times);
    scratch_fini(&run->values);
}

static bool fills(const struct bucket_run *run) {
    return run->downsample->fill != FILL_NONE && !run->downsample->all;
}

/* The bucket that holds `time_ms`, as [from, to). Calendar buckets cost a look into the calendar.
 */
static void bucket_of(const struct bucket_run *run, int64_t time_ms, int64_t *from_ms,
                      int64_t *to_ms) {
    const struct downsample *downsample = run->downsample;
    if (downsample->calendar) {
        *from_ms = downsample_bucket(downsample, time_ms);
        *to_ms = downsample_next(downsample, *from_ms);
        /* Whatever the calendar says, the walk goes on. */
        if (*to_ms <= time_ms)
            *to_ms = time_ms + 1;
        return;
    }
    *from_ms = time_ms - time_ms % downsample->interval_ms;
    if (__builtin_add_overflow(*from_ms, downsample->interval_ms, to_ms))
        *to_ms = INT64_MAX;
}

void bucket_begin(struct bucket_run *run) {
    run->open = false;
    run->bucket_count = 0;
    run->gap_met = false;
    run->failed = false;
    if (!fills(run))
        return;
    int64_t to_ms;
    bucket_of(run, run->window.scan_from_ms, &run->expected_ms, &to_ms);
    if (run->expected_ms < run->window.scan_from_ms)
        run->expected_ms = to_ms;
}

/* ---- output ---- */

static bool more_room(struct bucket_run *run) {
    size_t n = run->bucket_count + 1;
    if (SCRATCH_ARRAY(&run->times, int64_t, n) == NULL ||
        SCRATCH_ARRAY(&run->values, uint64_t, n) == NULL) {
        run->failed = true;
        return false;
    }
    size_t smaller = run->times.bytes < run->values.bytes ? run->times.bytes : run->values.bytes;
    run->bucket_room = smaller / sizeof(int64_t);
    return true;
}

static inline void emit(struct bucket_run *run, int64_t time_ms, double value) {
    if (UNLIKELY(run->bucket_count == run->bucket_room) && !more_room(run))
        return;
    ((int64_t *)run->times.p)[run->bucket_count] = time_ms;
    ((uint64_t *)run->values.p)[run->bucket_count] = points_bits_of(value);
    run->bucket_count++;
}

/* Fills the empty buckets before `to_ms`. */
static void fill_until(struct bucket_run *run, int64_t to_ms) {
    while (run->expected_ms < to_ms && !run->failed) {
        if (run->downsample->fill == FILL_SCALAR) {
            run->gap_met = true;
            return;
        }
        emit(run, run->expected_ms, run->downsample->fill == FILL_ZERO ? 0.0 : NAN);
        int64_t from_ms;
        bucket_of(run, run->expected_ms, &from_ms, &run->expected_ms);
    }
}

static double result(struct bucket_run *run) {
    switch ((enum fold)run->fold) {
    case FOLD_SUM:
    case FOLD_MULT:
    case FOLD_SQUARE:
        return run->sum;
    case FOLD_AVG:
        return run->sum / (double)run->count;
    case FOLD_COUNT:
        return (double)run->count;
    case FOLD_MIN:
        return run->min;
    case FOLD_MAX:
        return run->max;
    case FOLD_FIRST:
        return run->first;
    case FOLD_LAST:
        return run->last;
    case FOLD_DIFF:
        return run->last - run->first;
    case FOLD_DEV:
        return sqrt(run->distances / (double)run->count);
    case FOLD_COLLECT:
        break;
    }
    return aggregator_run_doubles(run->downsample->function, run->collected.p,
                                  (uint32_t)run->count);
}

static void close_bucket(struct bucket_run *run) {
    if (!run->open)
        return;
    run->open = false;
    /* Nothing came in if all its vectors were damaged. */
    if (!run->wanted || run->failed || run->count == 0)
        return;
    if (fills(run)) {
        fill_until(run, run->from_ms);
        run->expected_ms = run->to_ms;
    }
    emit(run, run->from_ms, result(run));
}

/* Makes the bucket of `time_ms` the open one. Times ascend, so an open bucket is never met again.
 */
static void enter(struct bucket_run *run, int64_t time_ms) {
    if (run->open && time_ms < run->to_ms)
        return;
    close_bucket(run);
    const struct bucket_window *window = &run->window;
    if (run->downsample->all) {
        run->wanted = time_ms >= window->start_ms && time_ms < window->end_ms;
        run->from_ms = time_ms < window->start_ms ? INT64_MIN : window->start_ms;
        run->to_ms = time_ms < window->start_ms ? window->start_ms : window->end_ms;
        if (time_ms >= window->end_ms)
            run->to_ms = INT64_MAX;
    } else {
        bucket_of(run, time_ms, &run->from_ms, &run->to_ms);
        run->wanted = run->from_ms >= window->scan_from_ms;
    }
    run->open = true;
    run->count = 0;
    run->sum = run->fold == FOLD_MULT ? 1 : 0;
    run->min = INFINITY;
    run->max = -INFINITY;
    run->distances = 0;
}

/* ---- folding ---- */

static void collect(struct bucket_run *run, const double *values, size_t n) {
    /* aggregator_run_doubles counts in 32 bits. */
    double *all = NULL;
    if (run->count + n <= UINT32_MAX)
        all = SCRATCH_ARRAY(&run->collected, double, run->count + n);
    if (all == NULL)
        run->failed = true;
    else
        memcpy(all + run->count, values, n * sizeof(*all));
}

static void deviate(struct bucket_run *run, const double *values, size_t n) {
    double count = (double)run->count;
    for (size_t i = 0; i < n; i++) {
        count++;
        if (count == 1) {
            run->mean = values[i];
            continue;
        }
        double old = run->mean;
        run->mean = old + (values[i] - old) / count;
        run->distances += (values[i] - old) * (values[i] - run->mean);
    }
}

/* Folds `n` >= 1 values into the open bucket; `ints` if they all were integers. */
static void add(struct bucket_run *run, const double *values, size_t n, bool ints) {
    if (!run->wanted || run->failed)
        return;
    switch ((enum fold)run->fold) {
    case FOLD_SUM:
    case FOLD_AVG:
        if (ints)
            run->sum += bucket_loop_sum(values, n);
        else
            for (size_t i = 0; i < n; i++)
                run->sum += values[i];
        break;
    case FOLD_MIN:
        run->min = bucket_loop_min(values, n, run->min);
        break;
    case FOLD_MAX:
        run->max = bucket_loop_max(values, n, run->max);
        break;
    case FOLD_MULT:
        for (size_t i = 0; i < n; i++)
            run->sum *= values[i];
        break;
    case FOLD_SQUARE:
        for (size_t i = 0; i < n; i++)
            run->sum += values[i] * values[i];
        break;
    case FOLD_DEV:
        deviate(run, values, n);
        break;
    case FOLD_COLLECT:
        collect(run, values, n);
        break;
    case FOLD_COUNT:
    case FOLD_FIRST:
    case FOLD_LAST:
    case FOLD_DIFF:
        break;
    }
    if (run->count == 0)
        run->first = values[0];
    run->last = values[n - 1];
    run->count += n;
}

/* Index of the first of the ascending times that is not before `time_ms`. */
static size_t end_of(const int64_t *times, size_t from, size_t count, int64_t time_ms) {
    if (times[count - 1] < time_ms)
        return count;
    size_t low = from, high = count - 1;
    while (low < high) {
        size_t half = low + (high - low) / 2;
        if (times[half] < time_ms)
            low = half + 1;
        else
            high = half;
    }
    return low;
}

static void add_columns(struct bucket_run *run, const int64_t *times, const double *values,
                        size_t count, bool ints) {
    for (size_t i = 0; i < count;) {
        enter(run, times[i]);
        size_t to = end_of(times, i, count, run->to_ms);
        add(run, values + i, to - i, ints);
        i = to;
    }
}

void bucket_add_points(struct bucket_run *run, const struct points *points) {
    for (uint32_t from = 0; from < points->count;) {
        uint32_t n = points->count - from;
        if (n > LIMIT_VECTOR_POINTS)
            n = LIMIT_VECTOR_POINTS;
        for (uint32_t i = 0; i < n; i++)
            run->decoded[i] = points_as_double(points, from + i);
        add_columns(run, points->time_ms + from, run->decoded, n, points->kind == POINTS_INTEGERS);
        from += n;
    }
}

/* ---- vectors ---- */

static bool summary_suffices(const struct bucket_run *run) {
    return run->fold <= FOLD_DIFF;
}

bool bucket_add_summary(struct bucket_run *run, const struct vector_summary *summary) {
    enter(run, summary->time_first_ms);
    if (summary->time_last_ms >= run->to_ms)
        return false;
    if (!run->wanted)
        return true;
    if (!summary_suffices(run))
        return false;
    run->sum += summary->sum;
    run->min = summary->min < run->min ? summary->min : run->min;
    run->max = summary->max > run->max ? summary->max : run->max;
    if (run->count == 0)
        run->first = summary->first;
    run->last = summary->last;
    run->count += summary->count;
    return true;
}

/* End of the open bucket in a vector with a constant step, from point `i` on. */
static uint32_t step_end(const struct bucket_run *run, const struct vector_summary *summary,
                         int64_t step_ms) {
    if (summary->time_last_ms < run->to_ms || step_ms <= 0)
        return summary->count;
    int64_t before = run->to_ms - summary->time_first_ms; /* > 0: the first point is inside */
    return (uint32_t)((before + step_ms - 1) / step_ms);
}

/* Adds `n` values by number and sum. */
static void add_sum(struct bucket_run *run, uint32_t n, double sum) {
    run->sum += sum;
    run->count += n;
}

static void add_counts(struct bucket_run *run, const struct vector_summary *summary,
                       int64_t step_ms) {
    for (uint32_t i = 0; i < summary->count;) {
        enter(run, summary->time_first_ms + i * step_ms);
        uint32_t to = step_end(run, summary, step_ms);
        add_sum(run, to - i, 0);
        i = to;
    }
}

/* Whether a vector is cut once by a bucket's end and its sums are exact: then the sum of the first
   part tells that of the second, and no value is decoded. *cut gets the first point of the second
   part. The bucket of the first point is open. */
static bool is_cut_once(const struct bucket_run *run, const struct vector_summary *summary,
                        int64_t step_ms, uint32_t *cut) {
    static const double exact = 0x1p53;
    if ((run->fold != FOLD_SUM && run->fold != FOLD_AVG) || run->downsample->all ||
        summary->kind != POINTS_INTEGERS || !(fabs(summary->min) < exact / LIMIT_VECTOR_POINTS) ||
        !(fabs(summary->max) < exact / LIMIT_VECTOR_POINTS))
        return false;
    *cut = step_end(run, summary, step_ms);
    if (*cut == summary->count)
        return false;
    int64_t from_ms, to_ms;
    bucket_of(run, summary->time_first_ms + *cut * step_ms, &from_ms, &to_ms);
    return summary->time_last_ms < to_ms;
}

static enum rc add_cut(struct bucket_run *run, const struct vector_summary *summary,
                       const uint8_t *payload, int64_t step_ms, uint32_t cut) {
    double sum;
    TRY(vector_sum(summary, payload, 0, cut, &sum));
    add_sum(run, cut, sum);
    enter(run, summary->time_first_ms + cut * step_ms);
    add_sum(run, summary->count - cut, summary->sum - sum);
    return RC_OK;
}

/* Points of a whole bucket in a vector of this step; 0 if that is not constant. */
static uint32_t points_per_bucket(const struct bucket_run *run, int64_t step_ms) {
    const struct downsample *downsample = run->downsample;
    if (downsample->all || downsample->calendar || step_ms <= 0 ||
        downsample->interval_ms % step_ms != 0 ||
        downsample->interval_ms / step_ms > LIMIT_VECTOR_POINTS)
        return 0;
    return (uint32_t)(downsample->interval_ms / step_ms);
}

/* The result of a bucket whose values are all there. False for functions that take the long way. */
static inline bool fold_whole(const struct bucket_run *run, const double *values, uint32_t n,
                              bool ints, double *whole) {
    double sum = 0;
    switch ((enum fold)run->fold) {
    case FOLD_SUM:
    case FOLD_AVG:
        sum = ints ? bucket_loop_sum(values, n) : bucket_loop_sum_in_order(values, n);
        *whole = run->fold == FOLD_SUM ? sum : sum / n;
        return true;
    case FOLD_COUNT:
        *whole = n;
        return true;
    case FOLD_MIN:
        *whole = bucket_loop_min(values, n, INFINITY);
        return true;
    case FOLD_MAX:
        *whole = bucket_loop_max(values, n, -INFINITY);
        return true;
    case FOLD_FIRST:
        *whole = values[0];
        return true;
    case FOLD_LAST:
        *whole = values[n - 1];
        return true;
    default:
        return false;
    }
}

/* Point `i` is the first of its bucket: emits whole buckets as long as a later point shows that
   they are complete. Returns the first point not taken. */
static uint32_t add_whole(struct bucket_run *run, const struct vector_summary *summary,
                          int64_t step_ms, uint32_t per_bucket, uint32_t i) {
    double value;
    bool ints = summary->kind == POINTS_INTEGERS;
    if (per_bucket == 0 || i + per_bucket >= summary->count ||
        !fold_whole(run, run->decoded + i, 1, ints, &value))
        return i;
    close_bucket(run);
    int64_t interval_ms = run->downsample->interval_ms;
    int64_t time_ms = summary->time_first_ms + i * step_ms;
    int64_t from_ms = time_ms - time_ms % interval_ms;
    for (; i + per_bucket < summary->count; i += per_bucket, from_ms += interval_ms) {
        if (from_ms < run->window.scan_from_ms || run->failed)
            continue;
        if (fills(run)) {
            fill_until(run, from_ms);
            run->expected_ms = from_ms + interval_ms;
        }
        (void)fold_whole(run, run->decoded + i, per_bucket, ints, &value);
        emit(run, from_ms, value);
    }
    return i;
}

/* Decodes and folds a vector with a constant step, bucket after bucket. */
static void add_stepped(struct bucket_run *run, const struct vector_summary *summary,
                        int64_t step_ms) {
    bool ints = summary->kind == POINTS_INTEGERS;
    uint32_t per_bucket = points_per_bucket(run, step_ms);
    for (uint32_t i = 0; i < summary->count;) {
        if (i > 0)
            i = add_whole(run, summary, step_ms, per_bucket, i);
        enter(run, summary->time_first_ms + i * step_ms);
        uint32_t to = step_end(run, summary, step_ms);
        add(run, run->decoded + i, to - i, ints);
        i = to;
    }
}

enum rc bucket_add_vector(struct bucket_run *run, const struct vector_summary *summary,
                          const uint8_t *payload) {
    int64_t step_ms;
    uint32_t cut;
    bool stepped = vector_step(summary, payload, &step_ms);
    if (stepped && run->fold == FOLD_COUNT) {
        add_counts(run, summary, step_ms);
        return RC_OK;
    }
    enter(run, summary->time_first_ms);
    if (stepped && is_cut_once(run, summary, step_ms, &cut))
        return add_cut(run, summary, payload, step_ms, cut);
    TRY(vector_decode_doubles(summary, payload, run->decoded));
    if (stepped) {
        add_stepped(run, summary, step_ms);
        return RC_OK;
    }
    TRY(vector_decode_times(summary, payload, run->decoded_ms));
    add_columns(run, run->decoded_ms, run->decoded, summary->count,
                summary->kind == POINTS_INTEGERS);
    return RC_OK;
}

void bucket_end(struct bucket_run *run, struct merge_column *column) {
    close_bucket(run);
    if (fills(run)) {
        int64_t last_ms, to_ms;
        bucket_of(run, run->window.scan_to_ms, &last_ms, &to_ms);
        fill_until(run, last_ms);
    }
    *column = (struct merge_column){
        .time_ms = run->times.p,
        .bits = run->values.p,
        .count = run->failed ? 0 : run->bucket_count,
        .kind = POINTS_DOUBLES,
    };
}
