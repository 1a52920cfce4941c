#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/attr.h"
#include "base/hash.h"
#include "model/points.h"
#include "store/batch.h"

#include <stdlib.h>
#include <string.h>

struct columns {
    uint32_t series_id[LIMIT_BATCH_POINTS];
    int64_t time_ms[LIMIT_BATCH_POINTS];
    uint64_t bits[LIMIT_BATCH_POINTS];
    uint8_t is_float[LIMIT_BATCH_POINTS];
};

static struct columns *given, *got;
static uint8_t encoded[1 << 20];

static struct batch_points over(struct columns *columns, uint32_t count) {
    return (struct batch_points){count, columns->series_id, columns->time_ms, columns->bits,
                                 columns->is_float};
}

static size_t encode(uint32_t count) {
    struct batch_points points = over(given, count);
    assert_true(batch_points_bound(count) <= sizeof(encoded));
    size_t n = batch_encode_points(&points, encoded);
    assert_true(n <= batch_points_bound(count));
    return n;
}

static void assert_same(uint32_t count, size_t n) {
    memset(got, 0xaa, sizeof(*got));
    struct batch_points points = over(got, 0);
    assert_int_equal(batch_decode_points(encoded, n, &points), RC_OK);
    assert_int_equal(points.count, count);
    assert_memory_equal(got->series_id, given->series_id, count * sizeof(given->series_id[0]));
    assert_memory_equal(got->time_ms, given->time_ms, count * sizeof(given->time_ms[0]));
    assert_memory_equal(got->bits, given->bits, count * sizeof(given->bits[0]));
    assert_memory_equal(got->is_float, given->is_float, count);
}

/* `floats` of 256: how many values are doubles. */
static void fill(uint32_t count, uint64_t seed, uint32_t floats, bool one_time) {
    for (uint32_t i = 0; i < count; i++) {
        uint64_t r = hash_u64(seed + i);
        given->series_id[i] = (uint32_t)hash_u64(r + 1) | 1;
        given->time_ms[i] =
            one_time ? 1700000000000 : (int64_t)(hash_u64(r + 2) % (uint64_t)LIMIT_TIME_MS_MAX) + 1;
        given->is_float[i] = (r & 255) < floats;
        given->bits[i] = hash_u64(r + 3);
        if (given->is_float[i])
            given->bits[i] &= ~(UINT64_C(1) << 62); /* finite */
    }
}

static void batches_survive_the_log(void **state) {
    const uint32_t counts[] = {1, 2, 7, 8, 9, 1000, LIMIT_BATCH_POINTS};
    const uint32_t floats[] = {0, 256, 100};
    for (size_t c = 0; c < 7; c++)
        for (size_t f = 0; f < 3; f++)
            for (int one_time = 0; one_time < 2; one_time++) {
                fill(counts[c], c * 977 + f, floats[f], one_time);
                assert_same(counts[c], encode(counts[c]));
            }
}

static void extreme_values_survive_the_log(void **state) {
    given->series_id[0] = UINT32_MAX;
    given->series_id[1] = 1;
    given->time_ms[0] = 1;
    given->time_ms[1] = LIMIT_TIME_MS_MAX;
    given->bits[0] = (uint64_t)INT64_MIN;
    given->bits[1] = UINT64_C(1) << 63; /* -0.0 */
    given->is_float[0] = 0;
    given->is_float[1] = 1;
    assert_same(2, encode(2));
}

static void near_and_far_series_survive_the_log(void **state) {
    const int64_t steps[] = {0, 1, -1, 63, -64, 64, -65, 4000, -4000};
    const uint32_t starts[] = {5000000, (1u << 31) - 100, UINT32_MAX - 10000};
    for (size_t s = 0; s < COUNT_OF(starts); s++)
        for (size_t step = 0; step < COUNT_OF(steps); step++) {
            fill(20, s + step, 100, true);
            for (uint32_t i = 0; i < 20; i++)
                given->series_id[i] = starts[s] + (i == 13 ? (uint32_t)steps[step] : 2 * i);
            assert_same(20, encode(20));
        }
    given->series_id[0] = UINT32_MAX;
    given->series_id[1] = 1; /* near modulo 2^32 only */
    assert_same(2, encode(2));
}

static void a_collectors_round_takes_two_bytes_a_point_and_its_value(void **state) {
    for (uint32_t i = 0; i < 1000; i++) {
        given->series_id[i] = i * 4 + 1;
        given->time_ms[i] = 1700000000000;
        given->bits[i] = i % 64;
        given->is_float[i] = 0;
    }
    assert_true(encode(1000) < 2100);
}

/* Percentages with two digits, and now and then a genuine double. */
static void fill_decimals(uint32_t count, uint32_t exception_every) {
    for (uint32_t i = 0; i < count; i++) {
        uint64_t r = hash_u64(i + count);
        double value = (double)((int64_t)(r % 20001) - 10000) / 100;
        if (exception_every > 0 && i % exception_every == exception_every / 2)
            value = (double)(r >> 11 | 1) * 0x1p-53;
        given->series_id[i] = i * 4 + 1;
        given->time_ms[i] = 1700000000000;
        given->is_float[i] = r >> 63 != 0 || exception_every > 0;
        given->bits[i] = given->is_float[i] ? points_bits_of(value) : r % 100;
    }
}

static void decimals_take_their_digits_and_survive_the_log(void **state) {
    const uint32_t counts[] = {1, 2, 17, 1023, 1024, 1025, 3000, LIMIT_BATCH_POINTS};
    const uint32_t every[] = {0, 1, 2, 23, 101, 5003};
    for (size_t c = 0; c < 8; c++)
        for (size_t e = 0; e < 6; e++) {
            fill_decimals(counts[c], every[e]);
            size_t n = encode(counts[c]);
            assert_same(counts[c], n);
            if (counts[c] >= 1023 && every[e] >= 23)
                assert_true(n < counts[c] * 5);
        }
}

static void zeroes_and_the_largest_digits_survive_the_log(void **state) {
    const double values[] = {
        0.0,  -0.0,  1e-300, 1125899906842623.0, -1125899906842623.0, 1125899906842624.0, 0.1,
        1e22, 1e300, 5e-324};
    for (uint32_t i = 0; i < 10; i++) {
        given->series_id[i] = 1;
        given->time_ms[i] = 1000 + i;
        given->is_float[i] = 1;
        given->bits[i] = points_bits_of(values[i]);
    }
    for (uint32_t count = 1; count <= 10; count++)
        assert_same(count, encode(count));
}

static void a_record_cut_anywhere_is_corrupt(void **state) {
    fill(20, 5, 128, false);
    size_t n = encode(20);
    struct batch_points points = over(got, 0);
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(batch_decode_points(encoded, cut, &points), RC_CORRUPT);
    encoded[n] = 0;
    assert_int_equal(batch_decode_points(encoded, n + 1, &points), RC_CORRUPT);
    fill_decimals(60, 20);
    n = encode(60);
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(batch_decode_points(encoded, cut, &points), RC_CORRUPT);
}

static void values_that_are_not_finite_are_corrupt(void **state) {
    fill(1, 5, 256, true);
    given->bits[0] = UINT64_C(0x7ff0000000000000);
    size_t n = encode(1);
    struct batch_points points = over(got, 0);
    assert_int_equal(batch_decode_points(encoded, n, &points), RC_CORRUPT);
}

static void deletes_survive_the_log_and_cut_ones_are_corrupt(void **state) {
    struct batch_delete batch = {.from_ms = INT64_MIN, .to_ms = INT64_MAX, .count = 3};
    batch.series_id[0] = 9;
    batch.series_id[1] = 4000000000;
    batch.series_id[2] = 1;
    size_t n = batch_encode_delete(&batch, encoded);
    struct batch_delete decoded = {0};
    assert_int_equal(batch_decode_delete(encoded, n, &decoded), RC_OK);
    assert_memory_equal(&decoded, &batch, sizeof(batch));
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(batch_decode_delete(encoded, cut, &decoded), RC_CORRUPT);
    batch.count = BATCH_DELETE_SERIES;
    for (uint32_t i = 0; i < BATCH_DELETE_SERIES; i++)
        batch.series_id[i] = i % 2 != 0 ? 1 : UINT32_MAX;
    assert_true(batch_encode_delete(&batch, encoded) <= BATCH_DELETE_BOUND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_survive_the_log),
        cmocka_unit_test(extreme_values_survive_the_log),
        cmocka_unit_test(near_and_far_series_survive_the_log),
        cmocka_unit_test(a_collectors_round_takes_two_bytes_a_point_and_its_value),
        cmocka_unit_test(decimals_take_their_digits_and_survive_the_log),
        cmocka_unit_test(zeroes_and_the_largest_digits_survive_the_log),
        cmocka_unit_test(a_record_cut_anywhere_is_corrupt),
        cmocka_unit_test(values_that_are_not_finite_are_corrupt),
        cmocka_unit_test(deletes_survive_the_log_and_cut_ones_are_corrupt),
    };
    given = calloc(1, sizeof(*given));
    got = calloc(1, sizeof(*got));
    int failed = given == NULL || got == NULL || cmocka_run_group_tests(tests, NULL, NULL);
    free(given);
    free(got);
    return failed;
}
