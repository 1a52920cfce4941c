#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "query/rate.h"

#define B INT64_C(1356998400)

static const struct query_rate plain = {.counter_max = INT64_MAX};

/* Rates of integers at offsets in seconds after B. */
static void check_rates(const struct query_rate *options, const int64_t *offsets,
                        const int64_t *values, size_t count, double before, const double *expected,
                        size_t expected_count) {
    int64_t time_ms[16];
    uint64_t bits[16];
    for (size_t i = 0; i < count; i++) {
        time_ms[i] = (B + offsets[i]) * 1000;
        bits[i] = (uint64_t)values[i];
    }
    struct merge_column column = {
        .time_ms = time_ms, .bits = bits, .count = count, .kind = POINTS_INTEGERS};
    rate_run(options, &column, time_ms, bits);
    assert_int_equal(column.count, expected_count);
    assert_int_equal(column.kind, POINTS_DOUBLES);
    assert_true(column.has_before);
    assert_true(column.before == before);
    for (size_t i = 0; i < expected_count; i++)
        assert_true(points_double_of(column.bits[i]) == expected[i]);
}

static const int64_t offsets[] = {0, 2000, 3600, 3605, 7200, 9200};
static const int64_t values[] = {40, 50, 40, 50, 40, 50};

static void rates_are_per_second_and_start_from_time_zero(void **state) {
    const double expected[] = {0.005, -0.00625, 2.0, -10.0 / 3595, 0.005};
    check_rates(&plain, offsets, values, 6, 40.0 / (double)B, expected, 5);
}

static void a_counter_that_falls_passed_its_maximum(void **state) {
    const struct query_rate options = {.counter = true, .counter_max = 70};
    const double expected[] = {0.005, 60.0 / 1600, 2.0, 60.0 / 3595, 0.005};
    check_rates(&options, offsets, values, 6, 40.0 / (double)B, expected, 5);
}

static void a_rate_beyond_the_reset_value_is_zero(void **state) {
    const struct query_rate options = {.counter = true, .counter_max = 1000000, .reset_value = 100};
    const double expected[] = {0.005, 0, 2.0, 0, 0.005};
    check_rates(&options, offsets, values, 6, 40.0 / (double)B, expected, 5);
}

static void a_dropped_reset_leaves_a_gap(void **state) {
    const struct query_rate options = {
        .counter = true, .counter_max = INT64_MAX, .drop_resets = true};
    const double expected[] = {0.005, 2.0, 0.005};
    check_rates(&options, offsets, values, 6, 40.0 / (double)B, expected, 3);
}

static void when_the_first_rate_is_dropped_the_next_one_takes_its_place(void **state) {
    const struct query_rate options = {
        .counter = true, .counter_max = INT64_MAX, .drop_resets = true};
    const int64_t times[] = {0, 10, 20}, negative[] = {-50, -40, -20};
    const double expected[] = {2};
    check_rates(&options, times, negative, 3, 1, expected, 1);
}

static void integers_wrap_and_doubles_do_not(void **state) {
    const int64_t times[] = {0, 1}, ends[] = {INT64_MAX, INT64_MIN};
    const double expected[] = {1};
    check_rates(&plain, times, ends, 2, (double)INT64_MAX / (double)B, expected, 1);
    int64_t time_ms[] = {1000, 2000};
    uint64_t bits[] = {points_bits_of(0x1p63), points_bits_of(-0x1p63)};
    struct merge_column column = {
        .time_ms = time_ms, .bits = bits, .count = 2, .kind = POINTS_DOUBLES};
    rate_run(&plain, &column, time_ms, bits);
    assert_true(points_double_of(column.bits[0]) == -0x1p64);
}

static void one_point_has_no_rate(void **state) {
    int64_t time_ms[] = {1000};
    uint64_t bits[] = {7};
    struct merge_column column = {
        .time_ms = time_ms, .bits = bits, .count = 1, .kind = POINTS_INTEGERS};
    rate_run(&plain, &column, time_ms, bits);
    assert_int_equal(column.count, 0);
    assert_false(column.has_before);
    rate_run(&plain, &column, time_ms, bits);
    assert_int_equal(column.count, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_per_second_and_start_from_time_zero),
        cmocka_unit_test(a_counter_that_falls_passed_its_maximum),
        cmocka_unit_test(a_rate_beyond_the_reset_value_is_zero),
        cmocka_unit_test(a_dropped_reset_leaves_a_gap),
        cmocka_unit_test(when_the_first_rate_is_dropped_the_next_one_takes_its_place),
        cmocka_unit_test(integers_wrap_and_doubles_do_not),
        cmocka_unit_test(one_point_has_no_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
