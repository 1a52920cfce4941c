#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "codec/vector.h"

enum { N = LIMIT_VECTOR_POINTS };

static uint64_t seed = 88172645463325252u;

static uint64_t random_bits(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 2685821657736338717u;
}

static uint64_t random_below(uint64_t n) {
    return (random_bits() >> 11) % n;
}

static double random_unit(void) {
    return (double)(random_bits() >> 11) * 0x1p-53;
}

static double random_normal(void) {
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += random_unit();
    return sum;
}

/* One column set in the caller's hands. */
struct sample {
    int64_t time_ms[N];
    uint64_t bits[N];
    uint64_t float_mask[N / 64];
    struct points points;
};

static struct sample sample;

static void start(uint32_t count, enum points_kind kind) {
    memset(&sample, 0, sizeof(sample));
    sample.points = (struct points){count, kind, sample.time_ms, sample.bits, sample.float_mask};
    for (uint32_t i = 0; i < count; i++)
        sample.time_ms[i] = INT64_C(1451606400000) + i * INT64_C(10000);
}

static void set_integer(uint32_t i, int64_t v) {
    sample.bits[i] = (uint64_t)v;
}

static void set_double(uint32_t i, double v) {
    sample.bits[i] = points_bits_of(v);
    if (sample.points.kind == POINTS_MIXED)
        sample.float_mask[i / 64] |= UINT64_C(1) << (i % 64);
}

/* ---- shapes of values ---- */

static void shape_constant(uint32_t i) {
    set_integer(i, 42);
}

static void shape_walk(uint32_t i) {
    static double level;
    level = i == 0 ? 50 : fmin(100, fmax(0, level + random_normal()));
    set_integer(i, (int64_t)level);
}

static void shape_counter(uint32_t i) {
    static int64_t level;
    level = i == 0 ? INT64_C(1) << 45 : level + 100000 + (int64_t)random_below(5000);
    set_integer(i, level);
}

static void shape_slope(uint32_t i) {
    set_integer(i, -7000 + (int64_t)i * 13);
}

static void shape_multiples(uint32_t i) {
    set_integer(i, (int64_t)random_below(1000) * 4096 - 4096 * 300);
}

static void shape_wild(uint32_t i) {
    set_integer(i, (int64_t)random_bits());
}

static void shape_extremes(uint32_t i) {
    const int64_t values[] = {INT64_MAX, INT64_MIN, 0, -1, 1, INT64_MIN + 1, INT64_MAX - 1};
    set_integer(i, values[random_below(COUNT_OF(values))]);
}

static void shape_huge_slope(uint32_t i) {
    set_integer(i, INT64_MAX - (int64_t)i * 3);
}

static void shape_outliers(uint32_t i) {
    set_integer(i, random_below(100) == 0 ? (int64_t)random_bits() >> random_below(60)
                                          : (int64_t)random_below(8));
}

static void shape_steps(uint32_t i) {
    static int64_t level;
    if (i == 0 || random_below(50) == 0)
        level = (int64_t)random_below(1000000);
    set_integer(i, level);
}

static void shape_wide(uint32_t i) {
    set_integer(i, (int64_t)(random_bits() >> 20));
}

static void shape_centi(uint32_t i) {
    static int64_t level;
    level = i == 0 ? 2150 : level + (int64_t)random_below(21) - 10;
    set_double(i, (double)level / 100);
}

static void shape_decimal_signs(uint32_t i) {
    set_double(i, i % 7 == 3 ? (i % 2 ? -0.0 : 0.0) : ((double)random_below(2000) - 1000) / 1000);
}

static void shape_late_digits(uint32_t i) {
    set_double(i, (double)random_below(100) / (i == 37 ? 1e9 : 1e1));
}

static void shape_random_unit(uint32_t i) {
    set_double(i, random_unit());
}

static void shape_single_precision(uint32_t i) {
    set_double(i, (double)(float)(random_unit() * 100));
}

static void shape_double_extremes(uint32_t i) {
    const double values[] = {0x1p1023,
                             -0x1p1023,
                             0x1p-1074,
                             -0.0,
                             0.0,
                             0x1.fffffffffffffp1023,
                             0x1p-1022,
                             1e300,
                             1e22,
                             1e15,
                             9007199254740993.0,
                             0.1,
                             -123.456,
                             1e-5,
                             2.5e-15};
    set_double(i, values[random_below(COUNT_OF(values))]);
}

static void shape_any_bits(uint32_t i) {
    uint64_t bits;
    do
        bits = random_bits();
    while (!isfinite(points_double_of(bits)));
    set_double(i, points_double_of(bits));
}

static void shape_text_without_point(uint32_t i) {
    int64_t tenths = (int64_t)random_below(1000);
    if (tenths % 10 == 0)
        set_integer(i, tenths / 10);
    else
        set_double(i, (double)tenths / 10);
}

static void shape_mixed_any(uint32_t i) {
    if (random_below(2))
        set_integer(i, (int64_t)random_bits());
    else
        set_double(i, random_unit());
}

static void shape_mixed_integral(uint32_t i) {
    if (random_below(2))
        set_integer(i, (int64_t)random_below(100));
    else
        set_double(i, i % 5 ? (double)random_below(100) : -0.0);
}

static const struct {
    void (*value)(uint32_t i);
    enum points_kind kind;
} shapes[] = {
    {shape_constant, POINTS_INTEGERS},     {shape_walk, POINTS_INTEGERS},
    {shape_counter, POINTS_INTEGERS},      {shape_slope, POINTS_INTEGERS},
    {shape_multiples, POINTS_INTEGERS},    {shape_wild, POINTS_INTEGERS},
    {shape_extremes, POINTS_INTEGERS},     {shape_huge_slope, POINTS_INTEGERS},
    {shape_outliers, POINTS_INTEGERS},     {shape_steps, POINTS_INTEGERS},
    {shape_wide, POINTS_INTEGERS},         {shape_centi, POINTS_DOUBLES},
    {shape_decimal_signs, POINTS_DOUBLES}, {shape_late_digits, POINTS_DOUBLES},
    {shape_random_unit, POINTS_DOUBLES},   {shape_single_precision, POINTS_DOUBLES},
    {shape_any_bits, POINTS_DOUBLES},      {shape_double_extremes, POINTS_DOUBLES},
    {shape_mixed_any, POINTS_MIXED},       {shape_text_without_point, POINTS_MIXED},
    {shape_mixed_integral, POINTS_MIXED},
};

/* ---- shapes of times ---- */

static void times_jitter(int64_t *time_ms, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        time_ms[i] += (int64_t)random_below(300);
}

static void times_gap(int64_t *time_ms, uint32_t n) {
    for (uint32_t i = n / 3; i < n; i++)
        time_ms[i] += INT64_C(3000000000000);
}

static void times_whole_seconds(int64_t *time_ms, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        time_ms[i] += (int64_t)random_below(9) * 1000;
}

static void times_wild(int64_t *time_ms, uint32_t n) {
    int64_t at = 1;
    for (uint32_t i = 0; i < n; i++)
        time_ms[i] = at += 1 + (int64_t)(random_bits() >> (31 + random_below(33)));
}

static void times_dense(int64_t *time_ms, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        time_ms[i] = 1 + i;
}

static void times_missing(int64_t *time_ms, uint32_t n) {
    for (uint32_t i = 0, slot = 0; i < n; i++, slot += random_below(40) ? 1 : 2)
        time_ms[i] = time_ms[0] + slot * INT64_C(10000);
}

static void times_even(int64_t *time_ms, uint32_t n) {
}

static void (*const time_shapes[])(int64_t *, uint32_t) = {
    times_even, times_jitter, times_gap,    times_whole_seconds,
    times_wild, times_dense,  times_missing};

static const uint32_t counts[] = {1, 2, 3, 7, 8, 9, 31, 32, 33, 64, 100, 255, 257, 360, 1000, 1024};

/* ---- the naive model ---- */

static void assert_same_double(double a, double b) {
    assert_true(points_bits_of(a) == points_bits_of(b));
}

static void assert_summary_is_naive(const struct vector_summary *summary) {
    const struct points *p = &sample.points;
    uint32_t n = p->count;
    double min = INFINITY, max = -INFINITY, sum = 0;
    __int128 exact = 0;
    for (uint32_t i = 0; i < n; i++) {
        double v = points_as_double(p, i);
        min = v < min ? v : min;
        max = v > max ? v : max;
        sum += v;
        exact += (int64_t)p->bits[i];
    }
    assert_true(summary->time_first_ms == p->time_ms[0]);
    assert_true(summary->time_last_ms == p->time_ms[n - 1]);
    assert_true(summary->min == min && summary->max == max);
    assert_same_double(summary->first, points_as_double(p, 0));
    assert_same_double(summary->last, points_as_double(p, n - 1));
    assert_same_double(summary->sum, p->kind == POINTS_INTEGERS ? (double)exact : sum);
    assert_int_equal(summary->count, n);
    assert_int_equal(summary->kind, p->kind);
    assert_int_equal(summary->reserved, 0);
}

static void assert_sum_is_naive(const struct vector_summary *summary, const uint8_t *payload,
                                uint32_t from, uint32_t to) {
    const struct points *p = &sample.points;
    double sum, magnitude = 0;
    long double naive = 0;
    __int128 exact = 0;
    for (uint32_t i = from; i < to; i++) {
        naive += (long double)points_as_double(p, i);
        magnitude += fabs(points_as_double(p, i)) / (to - from);
        exact += (int64_t)p->bits[i];
    }
    assert_int_equal(vector_sum(summary, payload, from, to, &sum), RC_OK);
    if (p->kind == POINTS_INTEGERS)
        assert_same_double(sum, (double)exact);
    else if (isfinite(sum))
        assert_true(fabs(sum - (double)naive) <= magnitude * 1e-9);
}

static void assert_decodes_to_sample(const struct vector_summary *summary, const uint8_t *payload) {
    static int64_t time_ms[N];
    static uint64_t bits[N], float_mask[N / 64];
    static double doubles[N];
    uint32_t n = sample.points.count;
    struct points out = {0, POINTS_MIXED, time_ms, bits, float_mask};
    memset(float_mask, 0xff, sizeof(float_mask));
    assert_int_equal(vector_decode(summary, payload, &out), RC_OK);
    assert_int_equal(out.count, n);
    assert_int_equal(out.kind, sample.points.kind);
    assert_memory_equal(time_ms, sample.time_ms, n * sizeof(*time_ms));
    assert_memory_equal(bits, sample.bits, n * sizeof(*bits));
    if (out.kind == POINTS_MIXED)
        assert_memory_equal(float_mask, sample.float_mask, (n + 63) / 64 * sizeof(*float_mask));
    memset(time_ms, 0, sizeof(time_ms));
    assert_int_equal(vector_decode_times(summary, payload, time_ms), RC_OK);
    assert_memory_equal(time_ms, sample.time_ms, n * sizeof(*time_ms));
    assert_int_equal(vector_decode_doubles(summary, payload, doubles), RC_OK);
    for (uint32_t i = 0; i < n; i++)
        assert_same_double(doubles[i], points_as_double(&sample.points, i));
}

static void assert_step_is_naive(const struct vector_summary *summary, const uint8_t *payload) {
    uint32_t n = sample.points.count;
    int64_t step = -1, expected = n == 1 ? 0 : sample.time_ms[1] - sample.time_ms[0];
    bool is_constant = true;
    for (uint32_t i = 1; i < n; i++)
        is_constant = is_constant && sample.time_ms[i] - sample.time_ms[i - 1] == expected;
    assert_int_equal(vector_step(summary, payload, &step), is_constant);
    if (is_constant)
        assert_true(step == expected);
}

/* Encodes the sample into exactly as much memory as the payload takes, so that a sanitizer sees
   any read past it, and compares everything that can be asked of it. Returns its bytes. */
static uint32_t assert_round_trip(enum vector_effort effort) {
    static uint8_t room[1 << 16];
    uint32_t n = sample.points.count;
    struct vector_summary summary, alone;
    size_t bound = vector_payload_bound(n);
    assert_true(bound < sizeof(room));
    memset(room, 0xa5, sizeof(room));
    vector_encode(&sample.points, effort, &summary, room);
    assert_true(summary.payload_bytes <= bound);
    for (size_t i = bound; i < bound + 64; i++)
        assert_int_equal(room[i], 0xa5);
    uint8_t *payload = malloc(summary.payload_bytes);
    assert_non_null(payload);
    memcpy(payload, room, summary.payload_bytes);
    assert_summary_is_naive(&summary);
    assert_decodes_to_sample(&summary, payload);
    assert_step_is_naive(&summary, payload);
    assert_sum_is_naive(&summary, payload, 0, n);
    for (int i = 0; i < 4; i++) {
        uint32_t from = (uint32_t)random_below(n);
        assert_sum_is_naive(&summary, payload, from, from + 1 + (uint32_t)random_below(n - from));
    }
    uint32_t bytes = summary.payload_bytes;
    vector_summarise(&sample.points, &alone);
    summary.payload_bytes = 0;
    assert_memory_equal(&summary, &alone, sizeof(summary));
    free(payload);
    return bytes;
}

static void fill(size_t shape, uint32_t count) {
    start(count, shapes[shape].kind);
    for (uint32_t i = 0; i < count; i++)
        shapes[shape].value(i);
}

/* ---- tests ---- */

static void every_shape_of_values_and_times_comes_back_to_the_bit(void **state) {
    for (size_t shape = 0; shape < COUNT_OF(shapes); shape++)
        for (size_t times = 0; times < COUNT_OF(time_shapes); times++)
            for (size_t count = 0; count < COUNT_OF(counts); count++) {
                fill(shape, counts[count]);
                time_shapes[times](sample.time_ms, counts[count]);
                uint32_t fast = assert_round_trip(VECTOR_FAST);
                uint32_t tight = assert_round_trip(VECTOR_TIGHT);
                assert_true(tight <= fast);
            }
}

static void every_width_of_offsets_comes_back(void **state) {
    for (uint32_t width = 1; width <= 64; width++)
        for (int trial = 0; trial < 4; trial++) {
            uint32_t count = 2 + (uint32_t)random_below(N - 1);
            start(count, POINTS_INTEGERS);
            uint64_t base = trial < 2 ? 0 : random_bits();
            for (uint32_t i = 0; i < count; i++)
                sample.bits[i] = base + (random_bits() >> (64 - width));
            assert_round_trip(trial % 2 ? VECTOR_FAST : VECTOR_TIGHT);
            for (uint32_t i = 1; i < count; i++)
                sample.bits[i] += sample.bits[i - 1];
            assert_round_trip(trial % 2 ? VECTOR_FAST : VECTOR_TIGHT);
        }
}

static void a_constant_takes_few_bytes_whatever_its_count(void **state) {
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        start(counts[i], POINTS_INTEGERS);
        for (uint32_t j = 0; j < counts[i]; j++)
            set_integer(j, 42);
        assert_int_equal(assert_round_trip(VECTOR_FAST), 4);
    }
}

static void offsets_are_not_padded_to_a_full_vector(void **state) {
    start(360, POINTS_INTEGERS);
    for (uint32_t i = 0; i < 360; i++)
        set_integer(i, 1000 + (int64_t)((i * 5 + i / 7) % 8));
    uint32_t bytes = assert_round_trip(VECTOR_FAST);
    assert_in_range(bytes, 360 * 3 / 8, 360 * 3 / 8 + 12);
}

static void a_constant_step_is_not_stored(void **state) {
    fill(1, 1024);
    uint32_t even = assert_round_trip(VECTOR_FAST);
    for (uint32_t i = 0; i < 1024; i++)
        sample.time_ms[i] = 1 + i * INT64_C(7777777);
    assert_int_equal(assert_round_trip(VECTOR_FAST), even);
}

static void tight_effort_nears_the_entropy_of_a_walk(void **state) {
    fill(1, 1024);
    /* The differences have 2.147 bits of entropy: 275 bytes. */
    assert_in_range(assert_round_trip(VECTOR_TIGHT), 200, 307);
    assert_in_range(assert_round_trip(VECTOR_FAST), 384, 530);
}

static void tight_effort_sets_outliers_apart(void **state) {
    start(1024, POINTS_INTEGERS);
    for (uint32_t i = 0; i < 1024; i++)
        set_integer(i, i == 100 ? INT64_MAX : i == 700 ? -1000000 : 40 + (int64_t)random_below(8));
    assert_in_range(assert_round_trip(VECTOR_TIGHT), 300, 420);
    assert_true(assert_round_trip(VECTOR_FAST) > 8000);
}

static void tight_effort_makes_rare_changes_cheap(void **state) {
    start(1024, POINTS_INTEGERS);
    for (uint32_t i = 0; i < 1024; i++)
        set_integer(i, 1000 + (i >= 300 ? 77 : 0) - (i >= 800 ? 500000 : 0));
    assert_in_range(assert_round_trip(VECTOR_TIGHT), 5, 24);
}

static void tight_effort_makes_missing_points_cheap(void **state) {
    fill(0, 1024);
    for (uint32_t i = 0; i < 1024; i++)
        sample.time_ms[i] += (i >= 200 ? 10000 : 0) + (i >= 900 ? INT64_C(86400000) : 0);
    assert_in_range(assert_round_trip(VECTOR_TIGHT), 5, 32);
}

static void doubles_that_were_single_precision_leave_out_zero_bits(void **state) {
    start(1024, POINTS_DOUBLES);
    for (uint32_t i = 0; i < 1024; i++)
        set_double(i, (double)(float)(1 + random_unit()));
    assert_in_range(assert_round_trip(VECTOR_FAST), 2900, 3000);
}

static void clients_that_drop_the_point_cost_no_mask(void **state) {
    start(1024, POINTS_MIXED);
    for (uint32_t i = 0; i < 1024; i++)
        shape_text_without_point(i);
    assert_in_range(assert_round_trip(VECTOR_FAST), 1280, 1290);
}

static void a_nan_is_kept_like_any_other_value(void **state) {
    static int64_t time_ms[N];
    static uint64_t bits[N];
    static uint8_t payload[1 << 15];
    const uint64_t odd[] = {0x7ff8000000000000, 0xfff8000000000001, 0x7ff0000000000000,
                            0xfff0000000000000, 0x7ff4000000000000};
    for (size_t k = 0; k < COUNT_OF(odd); k++)
        for (int every = 1; every < 100; every += 33) {
            start(200, POINTS_DOUBLES);
            for (uint32_t i = 0; i < 200; i++)
                sample.bits[i] = i % (uint32_t)every == 0 ? odd[k] : points_bits_of(i / 10.0);
            struct vector_summary summary;
            struct points out = {0, POINTS_DOUBLES, time_ms, bits, NULL};
            vector_encode(&sample.points, VECTOR_TIGHT, &summary, payload);
            assert_int_equal(vector_decode(&summary, payload, &out), RC_OK);
            assert_memory_equal(bits, sample.bits, 200 * sizeof(*bits));
        }
}

/* Whatever the payload, decoding gives points or RC_CORRUPT; never anything else. */
static void decode_damaged(const struct vector_summary *summary, const uint8_t *bytes, size_t n) {
    static int64_t time_ms[N];
    static uint64_t bits[N], float_mask[N / 64];
    static double doubles[N];
    struct points out = {0, POINTS_MIXED, time_ms, bits, float_mask};
    struct vector_summary damaged = *summary;
    damaged.payload_bytes = (uint32_t)n;
    uint8_t *exact = malloc(n + 1);
    assert_non_null(exact);
    memcpy(exact, bytes, n);
    exact = realloc(exact, n > 0 ? n : 1);
    enum rc rc = vector_decode(&damaged, exact, &out);
    assert_true(rc == RC_OK || rc == RC_CORRUPT);
    if (rc == RC_OK) {
        assert_int_equal(out.count, damaged.count);
        for (uint32_t i = 1; i < out.count; i++)
            assert_true(time_ms[i] > time_ms[i - 1]);
    }
    rc = vector_decode_doubles(&damaged, exact, doubles);
    assert_true(rc == RC_OK || rc == RC_CORRUPT);
    int64_t step;
    vector_step(&damaged, exact, &step);
    double sum;
    rc = vector_sum(&damaged, exact, damaged.count / 2, damaged.count, &sum);
    assert_true(rc == RC_OK || rc == RC_CORRUPT);
    free(exact);
}

static void a_truncated_payload_is_corrupt(void **state) {
    static uint8_t payload[1 << 15];
    static int64_t time_ms[N];
    static uint64_t bits[N], float_mask[N / 64];
    for (size_t shape = 0; shape < COUNT_OF(shapes); shape++) {
        fill(shape, 100);
        time_shapes[shape % COUNT_OF(time_shapes)](sample.time_ms, 100);
        struct vector_summary summary;
        vector_encode(&sample.points, shape % 2 ? VECTOR_FAST : VECTOR_TIGHT, &summary, payload);
        uint32_t whole = summary.payload_bytes;
        for (uint32_t n = 0; n < whole; n++) {
            struct points out = {0, POINTS_MIXED, time_ms, bits, float_mask};
            decode_damaged(&summary, payload, n);
            summary.payload_bytes = n;
            assert_int_equal(vector_decode(&summary, payload, &out), RC_CORRUPT);
        }
        struct points out = {0, POINTS_MIXED, time_ms, bits, float_mask};
        payload[whole] = 0;
        summary.payload_bytes = whole + 1;
        assert_int_equal(vector_decode(&summary, payload, &out), RC_CORRUPT);
    }
}

static void damaged_bytes_give_points_or_corrupt(void **state) {
    static uint8_t payload[1 << 15];
    for (size_t shape = 0; shape < COUNT_OF(shapes) * 2; shape++) {
        fill(shape / 2, 90);
        time_shapes[shape % COUNT_OF(time_shapes)](sample.time_ms, 90);
        struct vector_summary summary;
        vector_encode(&sample.points, shape % 2 ? VECTOR_FAST : VECTOR_TIGHT, &summary, payload);
        for (uint32_t i = 0; i < summary.payload_bytes; i++) {
            uint8_t saved = payload[i];
            for (int bit = 0; bit < 8; bit++) {
                payload[i] = (uint8_t)(saved ^ 1 << bit);
                decode_damaged(&summary, payload, summary.payload_bytes);
            }
            payload[i] = (uint8_t)~saved;
            decode_damaged(&summary, payload, summary.payload_bytes);
            payload[i] = saved;
        }
    }
}

static void a_summary_that_cannot_be_is_corrupt(void **state) {
    static uint8_t payload[1 << 15];
    static int64_t time_ms[N];
    static uint64_t bits[N], float_mask[N / 64];
    fill(1, 50);
    struct vector_summary good;
    vector_encode(&sample.points, VECTOR_FAST, &good, payload);
    struct vector_summary bad[] = {good, good, good, good, good, good};
    bad[0].count = 0;
    bad[1].count = N + 1;
    bad[2].kind = 3;
    bad[3].time_last_ms = good.time_first_ms;
    bad[4].time_first_ms = INT64_MIN;
    bad[5].time_last_ms++;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct points out = {0, POINTS_MIXED, time_ms, bits, float_mask};
        assert_int_equal(vector_decode(&bad[i], payload, &out), RC_CORRUPT);
    }
}

/* No encoder makes them: with a shift of 59 the offsets go past the largest number and around. */
static void offsets_that_wrap_are_summed_as_they_are_decoded(void **state) {
    enum { COUNT = 58 };
    static const uint8_t payload[] = {0, 2, 5, 0x3b, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0,
                                      0, 0, 0, 0,    0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                      0, 0, 0, 0,    0, 0, 0, 2, 1, 8, 4, 0, 0, 0, 0};
    struct vector_summary summary = {.count = COUNT,
                                     .kind = POINTS_INTEGERS,
                                     .time_first_ms = 4,
                                     .time_last_ms = 4 + 5 * (COUNT - 1),
                                     .payload_bytes = sizeof(payload)};
    static int64_t time_ms[LIMIT_VECTOR_POINTS];
    static uint64_t bits[LIMIT_VECTOR_POINTS];
    static uint64_t mask[LIMIT_VECTOR_POINTS / 64];
    struct points points = {0, POINTS_MIXED, time_ms, bits, mask};
    __int128 exact = 0;
    double sum;
    assert_int_equal(vector_decode(&summary, payload, &points), RC_OK);
    for (uint32_t i = 1; i < COUNT; i++)
        exact += (int64_t)bits[i];
    assert_int_equal(vector_sum(&summary, payload, 1, COUNT, &sum), RC_OK);
    assert_same_double(sum, (double)exact);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_of_values_and_times_comes_back_to_the_bit),
        cmocka_unit_test(every_width_of_offsets_comes_back),
        cmocka_unit_test(a_constant_takes_few_bytes_whatever_its_count),
        cmocka_unit_test(offsets_are_not_padded_to_a_full_vector),
        cmocka_unit_test(a_constant_step_is_not_stored),
        cmocka_unit_test(tight_effort_nears_the_entropy_of_a_walk),
        cmocka_unit_test(tight_effort_sets_outliers_apart),
        cmocka_unit_test(tight_effort_makes_rare_changes_cheap),
        cmocka_unit_test(tight_effort_makes_missing_points_cheap),
        cmocka_unit_test(doubles_that_were_single_precision_leave_out_zero_bits),
        cmocka_unit_test(clients_that_drop_the_point_cost_no_mask),
        cmocka_unit_test(a_nan_is_kept_like_any_other_value),
        cmocka_unit_test(a_truncated_payload_is_corrupt),
        cmocka_unit_test(damaged_bytes_give_points_or_corrupt),
        cmocka_unit_test(a_summary_that_cannot_be_is_corrupt),
        cmocka_unit_test(offsets_that_wrap_are_summed_as_they_are_decoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
