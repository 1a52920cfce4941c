#include "codec/vector.h"

#include "base/check.h"
#include "codec/kernels.h"
#include "codec/vector_layout.h"

#include <math.h>
#include <string.h>

/* ---- summary ---- */

static void summarise_integers(const struct points *points, const struct kernels_range *range,
                               struct vector_summary *summary) {
    uint32_t n = points->count;
    summary->min = (double)range->min;
    summary->max = (double)range->max;
    const int64_t safe = INT64_MAX / LIMIT_VECTOR_POINTS;
    if (range->min >= -safe && range->max <= safe) {
        summary->sum = (double)(int64_t)range->sum;
        return;
    }
    __int128 sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += (int64_t)points->bits[i];
    summary->sum = (double)sum;
}

static void summarise_doubles(const struct points *points, struct vector_summary *summary) {
    const uint64_t *bits = points->bits;
    double min = summary->first, max = min, sum = 0;
    for (uint32_t i = 0, n = points->count; i < n; i++) {
        double v = points_double_of(bits[i]);
        min = v < min ? v : min;
        max = v > max ? v : max;
        sum += v;
    }
    summary->min = min;
    summary->max = max;
    summary->sum = sum;
}

static void summarise_mixed(const struct points *points, struct vector_summary *summary) {
    uint64_t bits[LIMIT_VECTOR_POINTS];
    for (uint32_t i = 0; i < points->count; i++)
        bits[i] = points_bits_of(points_as_double(points, i));
    struct points doubles = {.count = points->count, .kind = POINTS_DOUBLES, .bits = bits};
    summarise_doubles(&doubles, summary);
}

/* `range`: of the values, if they are integers. */
static void summarise(const struct points *points, const struct kernels_range *range,
                      struct vector_summary *summary) {
    uint32_t n = points->count;
    CHECK(n >= 1 && n <= LIMIT_VECTOR_POINTS);
    *summary = (struct vector_summary){
        .time_first_ms = points->time_ms[0],
        .time_last_ms = points->time_ms[n - 1],
        .first = points_as_double(points, 0),
        .last = points_as_double(points, n - 1),
        .count = (uint16_t)n,
        .kind = (uint8_t)points->kind,
    };
    if (points->kind == POINTS_INTEGERS)
        summarise_integers(points, range, summary);
    else if (points->kind == POINTS_DOUBLES)
        summarise_doubles(points, summary);
    else
        summarise_mixed(points, summary);
}

static struct kernels_range range_of(const struct points *points) {
    return points->kind == POINTS_INTEGERS ? kernels_best()->range(points->bits, points->count)
                                           : (struct kernels_range){0};
}

void vector_summarise(const struct points *points, struct vector_summary *summary) {
    struct kernels_range range = range_of(points);
    summarise(points, &range, summary);
}

/* ---- encoding ---- */

size_t vector_payload_bound(uint32_t count) {
    size_t mask = 1 + (count + 7) / 8;
    return 1 + 2 + integers_bound(count) + mask + integers_bound(count);
}

static uint8_t *encode_times(const struct points *points, enum vector_effort effort,
                             enum vector_times *method, uint8_t *out) {
    uint32_t n = points->count;
    *method = VECTOR_TIMES_STEP;
    if (n <= 2 || kernels_best()->is_ramp((const uint64_t *)points->time_ms, n))
        return out;
    uint64_t times[LIMIT_VECTOR_POINTS];
    uint64_t odd = 0;
    for (uint32_t i = 0; i < n; i++) {
        times[i] = (uint64_t)points->time_ms[i] - (uint64_t)points->time_ms[0];
        odd |= times[i] % 1000;
    }
    for (uint32_t i = 0; odd == 0 && i < n; i++)
        times[i] /= 1000;
    *method = odd == 0 ? VECTOR_TIMES_SECONDS : VECTOR_TIMES_MS;
    uint8_t *end = integers_encode(times, n, NULL, effort, out + 2);
    bytes_put_u16(out, (uint16_t)(end - out - 2));
    return end;
}

static uint8_t *put_mask(const struct points *points, enum vector_mask method, uint8_t *out) {
    *out++ = (uint8_t)method;
    if (method == VECTOR_MASK_INTEGRAL)
        return out;
    size_t bytes = (points->count + 7) / 8;
    memset(out, 0, bytes);
    for (uint32_t i = 0; i < points->count; i++)
        out[i / 8] |= (uint8_t)(points_is_float(points, i) << (i % 8));
    return out + bytes;
}

static bool is_integral(double v) {
    return v == rint(v);
}

/* All values as the bits of doubles; false if that loses an integer. Tells whether exactly the
   integral ones are integers. */
static bool convert_mixed(const struct points *points, uint64_t *bits, enum vector_mask *mask) {
    const int64_t exact = INT64_C(1) << 53;
    *mask = VECTOR_MASK_INTEGRAL;
    for (uint32_t i = 0; i < points->count; i++) {
        bool is_float = points_is_float(points, i);
        int64_t integer = (int64_t)points->bits[i];
        if (!is_float && (integer < -exact || integer > exact))
            return false;
        double v = points_as_double(points, i);
        bits[i] = points_bits_of(v);
        if (is_float == is_integral(v))
            *mask = VECTOR_MASK_STORED;
    }
    return true;
}

/* Writes the values as decimals if they are; NULL if not. Sets the upper bits of `head`. */
static uint8_t *encode_decimal(const struct points *points, enum vector_effort effort,
                               uint8_t *head, uint8_t *out) {
    uint64_t converted[LIMIT_VECTOR_POINTS];
    const uint64_t *bits = points->bits;
    enum vector_mask mask = VECTOR_MASK_STORED;
    if (points->kind == POINTS_MIXED) {
        if (!convert_mixed(points, converted, &mask))
            return NULL;
        bits = converted;
    }
    struct doubles_plan plan;
    if (!doubles_plan(bits, points->count, &plan))
        return NULL;
    if (points->kind == POINTS_MIXED)
        out = put_mask(points, mask, out);
    enum vector_values method =
        plan.exceptions > 0 ? VECTOR_VALUES_DECIMAL_EXCEPT : VECTOR_VALUES_DECIMAL;
    *head |= (uint8_t)(method << 2 | plan.scale << 4);
    return doubles_encode(&plan, bits, points->count, effort, out);
}

void vector_encode(const struct points *points, enum vector_effort effort,
                   struct vector_summary *summary, uint8_t *payload) {
    struct kernels_range range = range_of(points);
    summarise(points, &range, summary);
    enum vector_times times_method;
    uint8_t *end = encode_times(points, effort, &times_method, payload + 1);
    payload[0] = (uint8_t)times_method;
    uint8_t *values_end = NULL;
    if (points->kind != POINTS_INTEGERS)
        values_end = encode_decimal(points, effort, payload, end);
    if (values_end == NULL) {
        if (points->kind == POINTS_MIXED)
            end = put_mask(points, VECTOR_MASK_STORED, end);
        const struct kernels_range *known = points->kind == POINTS_INTEGERS ? &range : NULL;
        values_end = integers_encode(points->bits, points->count, known, effort, end);
    }
    summary->payload_bytes = (uint32_t)(values_end - payload);
    CHECK(summary->payload_bytes <= vector_payload_bound(points->count));
}

/* ---- decoding ---- */

bool vector_step(const struct vector_summary *summary, const uint8_t *payload, int64_t *step_ms) {
    struct vector_layout layout;
    if (vector_layout_times(summary, payload, &layout) != RC_OK ||
        layout.times_method != VECTOR_TIMES_STEP)
        return false;
    *step_ms = layout.step_ms;
    return true;
}

enum rc vector_decode_times(const struct vector_summary *summary, const uint8_t *payload,
                            int64_t *time_ms) {
    struct vector_layout layout;
    TRY(vector_layout_times(summary, payload, &layout));
    uint32_t n = summary->count;
    uint64_t first = (uint64_t)summary->time_first_ms;
    if (layout.times_method == VECTOR_TIMES_STEP) {
        kernels_best()->ramp(first, (uint64_t)layout.step_ms, n, (uint64_t *)time_ms);
        return RC_OK;
    }
    TRY(integers_decode(&layout.times, (uint64_t *)time_ms));
    uint64_t unit = layout.times_method == VECTOR_TIMES_SECONDS ? 1000 : 1;
    for (uint32_t i = 0; i < n; i++)
        time_ms[i] = (int64_t)(first + (uint64_t)time_ms[i] * unit);
    bool is_sound = time_ms[0] == summary->time_first_ms &&
                    time_ms[n - 1] == summary->time_last_ms &&
                    kernels_best()->ascending(time_ms, n);
    return is_sound ? RC_OK : RC_CORRUPT;
}

/* Turns the integers of a mixed vector back from doubles, and makes the mask. */
static enum rc restore_mixed(const struct vector_layout *layout, uint32_t n, uint64_t *bits,
                             uint64_t *float_mask) {
    memset(float_mask, 0, (n + 63) / 64 * sizeof(*float_mask));
    for (uint32_t i = 0; i < n; i++) {
        bool is_float = layout->mask_method == VECTOR_MASK_INTEGRAL
                            ? !is_integral(points_double_of(bits[i]))
                            : (layout->mask[i / 8] >> (i % 8) & 1) != 0;
        float_mask[i / 64] |= (uint64_t)is_float << (i % 64);
        if (is_float || layout->values_method == VECTOR_VALUES_BITS)
            continue;
        double v = points_double_of(bits[i]);
        if (!(fabs(v) <= 0x1p53) || !is_integral(v))
            return RC_CORRUPT;
        bits[i] = (uint64_t)(int64_t)v;
    }
    return RC_OK;
}

static enum rc decode_values(const struct vector_summary *summary,
                             const struct vector_layout *layout, uint64_t *bits,
                             uint64_t *float_mask) {
    if (layout->values_method == VECTOR_VALUES_BITS)
        TRY(integers_decode(&layout->bits, bits));
    else
        TRY(doubles_decode(&layout->doubles, bits));
    if (summary->kind == POINTS_MIXED)
        return restore_mixed(layout, summary->count, bits, float_mask);
    return RC_OK;
}

enum rc vector_decode(const struct vector_summary *summary, const uint8_t *payload,
                      struct points *points) {
    struct vector_layout layout;
    TRY(vector_decode_times(summary, payload, points->time_ms));
    TRY(vector_layout_values(summary, payload, &layout));
    TRY(decode_values(summary, &layout, points->bits, points->float_mask));
    points->count = summary->count;
    points->kind = (enum points_kind)summary->kind;
    return RC_OK;
}

/* The shapes that need no detour over integers or bits; false if this vector has none of them. */
static bool has_direct_doubles(const struct vector_summary *summary,
                               const struct vector_layout *layout) {
    if (summary->kind == POINTS_INTEGERS)
        return integers_is_narrow(&layout->bits);
    return summary->kind == POINTS_DOUBLES && layout->values_method != VECTOR_VALUES_BITS;
}

enum rc vector_decode_doubles(const struct vector_summary *summary, const uint8_t *payload,
                              double *values) {
    struct vector_layout layout;
    TRY(vector_layout_values(summary, payload, &layout));
    if (has_direct_doubles(summary, &layout))
        return summary->kind == POINTS_INTEGERS ? integers_decode_narrow(&layout.bits, 1, values)
                                                : doubles_decode(&layout.doubles, values);
    uint64_t bits[LIMIT_VECTOR_POINTS];
    uint64_t float_mask[LIMIT_VECTOR_POINTS / 64];
    TRY(decode_values(summary, &layout, bits, float_mask));
    struct points points = {summary->count, (enum points_kind)summary->kind, NULL, bits,
                            float_mask};
    if (points.kind == POINTS_DOUBLES) {
        memcpy(values, bits, points.count * sizeof(*values));
    } else if (points.kind == POINTS_INTEGERS) {
        if (kernels_best()->to_doubles(bits, points.count, values))
            return RC_OK;
        for (uint32_t i = 0; i < points.count; i++)
            values[i] = (double)(int64_t)bits[i];
    } else {
        for (uint32_t i = 0; i < points.count; i++)
            values[i] = points_as_double(&points, i);
    }
    return RC_OK;
}
