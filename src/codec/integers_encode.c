/*
 * Choosing how to write an integer column, and writing it.
 *
 * VECTOR_FAST takes the narrower of two frames of reference, over the values and over their
 * differences: two passes for the ranges and no search. VECTOR_TIGHT also tries, for both:
 * narrower frames with the outliers as patches, and entropy coding around the middle.
 */
#include "base/check.h"
#include "codec/entropy.h"
#include "codec/integers.h"
#include "codec/kernels.h"
#include "codec/packed.h"

#include <string.h>

enum {
    SAMPLE_VALUES = 31, /* odd: the median is one of them */
    PATCHED_PART = 4,   /* at most one value in so many is a patch */
    TIGHT_ROOM = 3 + 3 * BYTES_VARINT_MAX + LIMIT_VECTOR_POINTS * 8 +
                 LIMIT_VECTOR_POINTS / PATCHED_PART * (2 + BYTES_VARINT_MAX),
};

/* A way to write n numbers (values or differences), and about how many bits that takes. */
struct plan {
    struct integers column;
    const uint64_t *numbers;
    uint64_t cost;
};

static uint32_t bits_of(uint64_t v) {
    return v == 0 ? 0 : 64 - (uint32_t)__builtin_clzll(v);
}

static uint64_t packed_bits(uint32_t n, uint32_t width) {
    return 8 * packed_bytes(n, width);
}

/* Frame of reference for numbers in `range`: all differ only in bits that are not shifted out. */
static struct plan plan_frame(const uint64_t *numbers, uint32_t n,
                              const struct kernels_range *range) {
    struct plan plan = {.column = {.n = n, .base = (uint64_t)range->min}, .numbers = numbers};
    if (range->differ != 0)
        plan.column.shift = (uint32_t)__builtin_ctzll(range->differ);
    uint64_t span = (uint64_t)range->max - (uint64_t)range->min;
    plan.column.width = bits_of(span >> plan.column.shift);
    if (plan.column.shift > 0)
        plan.column.flags |= INTEGERS_SHIFT;
    plan.cost = packed_bits(n, plan.column.width);
    return plan;
}

/* ---- writing ---- */

/* Whether number i is base + an offset that the column can hold. */
static bool fits(const struct integers *column, uint64_t number) {
    uint64_t offset = (number - column->base) >> column->shift;
    if ((column->flags & INTEGERS_ENTROPY) == 0)
        return column->width == 64 || offset >> column->width == 0;
    uint64_t symbol = offset >> column->width;
    return symbol < ENTROPY_SYMBOLS && entropy_books[column->book][symbol] > 0;
}

static uint8_t *put_patches(const struct plan *plan, uint8_t *out) {
    const struct integers *column = &plan->column;
    uint32_t next = 0;
    out = bytes_put_varint(out, column->patches);
    for (uint32_t i = 0; i < column->n; i++) {
        if (fits(column, plan->numbers[i]))
            continue;
        out = bytes_put_varint(out, i - next);
        out = bytes_put_varint(out, bytes_zigzag((int64_t)(plan->numbers[i] - column->base)));
        next = i + 1;
    }
    return out;
}

static uint8_t *put_entropy(const struct plan *plan, uint32_t *offsets, uint8_t *out) {
    const struct integers *column = &plan->column;
    uint8_t symbols[LIMIT_VECTOR_POINTS], stream[ENTROPY_STREAM_BYTES_MAX];
    for (uint32_t i = 0; i < column->n; i++) {
        symbols[i] = (uint8_t)(offsets[i] >> column->width);
        offsets[i] &= (1u << column->width) - 1;
    }
    uint8_t *end = entropy_put(column->book, symbols, column->n, stream);
    *out++ = (uint8_t)column->book;
    out = bytes_put_varint(out, (uint64_t)(end - stream));
    memcpy(out, stream, (size_t)(end - stream));
    return packed_put32(offsets, column->n, column->width, out + (end - stream));
}

/* What a patched number leaves in its place. */
static uint32_t filler(const struct integers *column) {
    if ((column->flags & INTEGERS_ENTROPY) == 0)
        return 0;
    return entropy_mode(column->book) << column->width;
}

static uint8_t *put_offsets32(const struct plan *plan, uint8_t *out) {
    const struct integers *column = &plan->column;
    uint32_t offsets[KERNELS_VALUES] ALIGNED(64);
    kernels_best()->narrow32(plan->numbers, column->n, column->base, column->shift, offsets);
    for (uint32_t i = 0; column->patches > 0 && i < column->n; i++)
        if (!fits(column, plan->numbers[i]))
            offsets[i] = filler(column);
    if (column->flags & INTEGERS_ENTROPY)
        return put_entropy(plan, offsets, out);
    return packed_put32(offsets, column->n, column->width, out);
}

static uint8_t *put_offsets64(const struct plan *plan, uint8_t *out) {
    const struct integers *column = &plan->column;
    uint64_t offsets[KERNELS_VALUES] ALIGNED(64);
    kernels_best()->narrow64(plan->numbers, column->n, column->base, column->shift, offsets);
    for (uint32_t i = 0; column->patches > 0 && i < column->n; i++)
        if (!fits(column, plan->numbers[i]))
            offsets[i] = 0;
    return packed_put64(offsets, column->n, column->width, out);
}

static uint8_t *put_plan(const struct plan *plan, uint8_t *out) {
    const struct integers *column = &plan->column;
    *out++ = (uint8_t)column->flags;
    *out++ = (uint8_t)column->width;
    if (column->flags & INTEGERS_SHIFT)
        *out++ = (uint8_t)column->shift;
    out = bytes_put_varint(out, bytes_zigzag((int64_t)column->base));
    if (column->flags & INTEGERS_DELTA)
        out = bytes_put_varint(out, bytes_zigzag((int64_t)column->start));
    out = column->width <= 32 ? put_offsets32(plan, out) : put_offsets64(plan, out);
    return column->flags & INTEGERS_PATCHED ? put_patches(plan, out) : out;
}

/* ---- the search for VECTOR_TIGHT ---- */

/* The median, or nearly: of a sample, in order of signed distance from the first number. */
static uint64_t middle_of(const uint64_t *numbers, uint32_t n) {
    int64_t sample[SAMPLE_VALUES];
    for (uint32_t i = 0; i < SAMPLE_VALUES; i++) {
        int64_t v = (int64_t)numbers[(uint64_t)i * n / SAMPLE_VALUES];
        uint32_t at = i;
        for (; at > 0 && sample[at - 1] > v; at--)
            sample[at] = sample[at - 1];
        sample[at] = v;
    }
    return (uint64_t)sample[SAMPLE_VALUES / 2];
}

/* Given how many numbers need how many bits from some anchor, the cheapest width for a frame that
   leaves the longer ones to patches. */
static uint32_t best_width(const uint32_t *lengths, uint32_t n, uint32_t shift, uint64_t *cost,
                           uint32_t *patches) {
    uint64_t patch_bits = 0;
    uint32_t count = 0, best = 64;
    *cost = UINT64_MAX;
    for (uint32_t width = KERNELS_LENGTHS; width-- > 0 && count <= n / PATCHED_PART;) {
        uint64_t bits = packed_bits(n, width) + patch_bits;
        if (bits < *cost) {
            *cost = bits;
            *patches = count;
            best = width;
        }
        count += lengths[width];
        patch_bits += lengths[width] * (uint64_t)(8 + 8 * ((width + shift + 8) / 7));
    }
    return best;
}

/* Moves the frame onto the numbers that it holds, which may let it be narrower. */
static void tighten(struct plan *plan) {
    struct integers *column = &plan->column;
    uint64_t low = UINT64_MAX, high = 0;
    for (uint32_t i = 0; i < column->n; i++) {
        if (!fits(column, plan->numbers[i]))
            continue;
        uint64_t offset = (plan->numbers[i] - column->base) >> column->shift;
        low = offset < low ? offset : low;
        high = offset > high ? offset : high;
    }
    if (low > high)
        return;
    uint32_t width = bits_of(high - low);
    plan->cost -= packed_bits(column->n, column->width) - packed_bits(column->n, width);
    column->base += low << column->shift;
    column->width = width;
}

/* Keeps `best` or replaces it by a patched frame of what is above, below or around `from`. */
static void try_patched(struct plan *best, const struct plan *frame, uint64_t from,
                        enum kernels_sign sign) {
    uint32_t lengths[KERNELS_LENGTHS], patches = 0;
    uint32_t n = frame->column.n, shift = frame->column.shift;
    uint64_t cost;
    kernels_best()->lengths(frame->numbers, n, from, shift, sign, lengths);
    uint32_t width = best_width(lengths, n, shift, &cost, &patches);
    if (cost >= best->cost || patches == 0)
        return;
    *best = *frame;
    best->cost = cost;
    best->column.width = width;
    best->column.flags |= INTEGERS_PATCHED;
    best->column.base = from;
    if (sign == KERNELS_BELOW)
        best->column.base -= ((UINT64_C(1) << width) - 1) << shift;
    if (sign == KERNELS_AROUND && width > 0)
        best->column.base -= UINT64_C(1) << (width - 1) << shift;
    tighten(best);
}

/* Keeps `best` or replaces it by entropy coding with `low` raw bits around `centre`. */
static void try_entropy(struct plan *best, const struct plan *frame, uint64_t centre,
                        uint32_t low) {
    uint32_t n = frame->column.n, shift = frame->column.shift, outside = 0;
    int16_t counts[ENTROPY_SYMBOLS];
    uint16_t turns[4][ENTROPY_SYMBOLS + 1] = {{0}};
    uint64_t below = ((uint64_t)ENTROPY_CENTRE << low) + (low > 0 ? UINT64_C(1) << (low - 1) : 0);
    struct plan plan = *frame;
    plan.column.base = centre - (below << shift);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t symbol = (frame->numbers[i] - plan.column.base) >> shift >> low;
        turns[i % 4][symbol < ENTROPY_SYMBOLS ? symbol : ENTROPY_SYMBOLS]++;
    }
    for (uint32_t s = 0; s < ENTROPY_SYMBOLS; s++)
        counts[s] = (int16_t)(turns[0][s] + turns[1][s] + turns[2][s] + turns[3][s]);
    for (uint32_t turn = 0; turn < 4; turn++)
        outside += turns[turn][ENTROPY_SYMBOLS];
    plan.cost = entropy_choose(counts, &plan.column.book);
    plan.cost += outside * (uint64_t)ENTROPY_MISS_BITS + packed_bits(n, low) + 8 * 5;
    if (plan.cost >= best->cost)
        return;
    plan.column.flags |= INTEGERS_ENTROPY;
    plan.column.width = low;
    *best = plan;
}

/* How far numbers are from the centre on average, leaving out the far ones, and where their mean
   is: numbers are centre + shift steps. */
static uint64_t spread_of(const uint64_t *numbers, uint32_t n, uint64_t centre, uint32_t shift,
                          uint64_t *mean) {
    const int64_t far = INT64_C(1) << 20;
    int64_t sum = 0, distance = 0;
    for (uint32_t i = 0; i < n; i++) {
        int64_t v = (int64_t)(numbers[i] - centre) >> shift;
        v = v > far || v < -far ? 0 : v;
        sum += v;
        distance += v < 0 ? -v : v;
    }
    /* Rounded so that the mean is at most 7/8 above the whole number: the books go to 3/4. */
    int64_t raised = sum + n / 8;
    int64_t whole = raised >= 0 ? raised / n : -((-raised + n - 1) / n);
    *mean = centre + ((uint64_t)whole << shift);
    return (uint64_t)distance / n;
}

static void search_entropy(struct plan *best, const struct plan *frame, uint64_t middle) {
    if (frame->column.n < ENTROPY_VALUES_MIN)
        return;
    uint64_t mean;
    uint64_t spread =
        spread_of(frame->numbers, frame->column.n, middle, frame->column.shift, &mean);
    /* The books reach deviations of 2.8, which is an average distance of about 2. */
    uint32_t low = bits_of(spread / 2);
    if (low > INTEGERS_LOW_BITS_MAX)
        return;
    struct plan entropy = *frame;
    entropy.cost = best->cost * 9 / 10;
    try_entropy(&entropy, frame, middle, low);
    if (mean != middle)
        try_entropy(&entropy, frame, mean, low);
    if (low > 0)
        try_entropy(&entropy, frame, middle, low - 1);
    if (entropy.column.flags & INTEGERS_ENTROPY)
        *best = entropy;
}

/* The cheapest plan for the numbers of `frame`. */
static struct plan search(const struct plan *frame, const struct kernels_range *range) {
    struct plan best = *frame;
    uint64_t middle = middle_of(frame->numbers, frame->column.n);
    try_patched(&best, frame, (uint64_t)range->min, KERNELS_ABOVE);
    try_patched(&best, frame, (uint64_t)range->max, KERNELS_BELOW);
    try_patched(&best, frame, middle, KERNELS_AROUND);
    search_entropy(&best, frame, middle);
    return best;
}

/* Counts what the plan cannot hold and sets its flag. */
static void count_patches(struct plan *plan) {
    plan->column.patches = 0;
    for (uint32_t i = 0; i < plan->column.n; i++)
        plan->column.patches += !fits(&plan->column, plan->numbers[i]);
    plan->column.flags &= ~(uint32_t)INTEGERS_PATCHED;
    if (plan->column.patches > 0)
        plan->column.flags |= INTEGERS_PATCHED;
}

/* Writes the better of two searches if it is really smaller than what [out, end) holds. */
static uint8_t *improve(const struct plan *frames, const struct kernels_range *ranges, uint8_t *out,
                        uint8_t *end) {
    struct plan plain = search(&frames[0], &ranges[0]);
    struct plan delta = search(&frames[1], &ranges[1]);
    struct plan *plan = plain.cost <= delta.cost ? &plain : &delta;
    count_patches(plan);
    if ((plan->column.flags & (INTEGERS_PATCHED | INTEGERS_ENTROPY)) == 0 ||
        plan->column.patches > plan->column.n / PATCHED_PART)
        return end;
    uint8_t tight[TIGHT_ROOM];
    size_t bytes = (size_t)(put_plan(plan, tight) - tight);
    if (bytes >= (size_t)(end - out))
        return end;
    memcpy(out, tight, bytes);
    return out + bytes;
}

/* The frame over the differences of neighbours, which are not made yet. n >= 2. */
static struct plan plan_steps(const uint64_t *values, uint32_t n, struct kernels_range *range) {
    *range = kernels_best()->step_range(values, n);
    struct plan plan = plan_frame(NULL, n, range);
    plan.column.flags |= INTEGERS_DELTA;
    plan.column.start = values[0] - (values[1] - values[0]);
    return plan;
}

uint8_t *integers_encode(const uint64_t *values, uint32_t n, const struct kernels_range *known,
                         enum vector_effort effort, uint8_t *out) {
    CHECK(n >= 1 && n <= KERNELS_VALUES);
    const struct kernels *k = kernels_best();
    struct kernels_range ranges[2];
    struct plan frames[2];
    ranges[0] = known != NULL ? *known : k->range(values, n);
    frames[0] = plan_frame(values, n, &ranges[0]);
    if (n == 1 || frames[0].column.width == 0)
        return put_plan(&frames[0], out);
    frames[1] = plan_steps(values, n, &ranges[1]);
    /* A frame of values is one addition cheaper to decode, so it wins the draw. */
    bool is_plain = frames[0].column.width <= frames[1].column.width;
    if (is_plain && effort == VECTOR_FAST)
        return put_plan(&frames[0], out);
    uint64_t differences[KERNELS_VALUES];
    k->differences(values, n, differences);
    frames[1].numbers = differences;
    uint8_t *end = put_plan(&frames[is_plain ? 0 : 1], out);
    if (effort == VECTOR_FAST || frames[1].column.width == 0)
        return end;
    return improve(frames, ranges, out, end);
}
