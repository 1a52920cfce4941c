#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/attr.h"
#include "query/aggregator.h"

static enum aggregator named(const char *name) {
    enum aggregator aggregator;
    if (!aggregator_find(str_of(name), &aggregator))
        fail_msg("no aggregator %s", name);
    return aggregator;
}

static int64_t run_ints(const char *name, const int64_t *values, uint32_t n) {
    int64_t *copy = test_malloc(n * sizeof(*copy));
    memcpy(copy, values, n * sizeof(*copy));
    int64_t result = aggregator_run_ints(named(name), copy, n);
    test_free(copy);
    return result;
}

static double run_doubles(const char *name, const double *values, uint32_t n) {
    double *copy = test_malloc(n * sizeof(*copy));
    memcpy(copy, values, n * sizeof(*copy));
    double result = aggregator_run_doubles(named(name), copy, n);
    test_free(copy);
    return result;
}

#define INTS(name, ...)                                                                            \
    run_ints(name, (const int64_t[]){__VA_ARGS__},                                                 \
             sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))
#define DOUBLES(name, ...)                                                                         \
    run_doubles(name, (const double[]){__VA_ARGS__},                                               \
                sizeof((const double[]){__VA_ARGS__}) / sizeof(double))

static void assert_same(double actual, double expected) {
    if (isnan(expected) ? !isnan(actual) : actual != expected)
        fail_msg("%.17g is not %.17g", actual, expected);
}

static void all_names_are_found_and_nothing_else(void **state) {
    static const char all[] =
        "sum pfsum zimsum min max mimmin mimmax avg median mult dev diff count squareSum first "
        "last none p50 p75 p90 p95 p99 p999 ep50r3 ep75r3 ep90r3 ep95r3 ep99r3 ep999r3 ep50r7 "
        "ep75r7 ep90r7 ep95r7 ep99r7 ep999r7 ";
    char listed[sizeof(all)];
    size_t n = 0;
    for (int i = 0; i < AGGREGATOR_COUNT_OF; i++) {
        const char *name = aggregator_name((enum aggregator)i);
        assert_int_equal(named(name), i);
        n += (size_t)snprintf(listed + n, sizeof(listed) - n, "%s ", name);
        assert_true(n < sizeof(listed));
    }
    assert_string_equal(listed, all);
    enum aggregator none;
    static const char *const strangers[] = {"",    "SUM",           "squaresum", "multiply",
                                            "raw", "movingAverage", "sum ",      "p9"};
    for (size_t i = 0; i < COUNT_OF(strangers); i++)
        assert_false(aggregator_find(str_of(strangers[i]), &none));
}

static void interpolations_are_those_of_opentsdb(void **state) {
    static const struct {
        const char *name;
        enum interpolation interpolation;
    } rows[] = {
        {"sum", INTERPOLATION_LERP},    {"pfsum", INTERPOLATION_PREV},
        {"zimsum", INTERPOLATION_ZIM},  {"min", INTERPOLATION_LERP},
        {"max", INTERPOLATION_LERP},    {"mimmin", INTERPOLATION_MAX},
        {"mimmax", INTERPOLATION_MIN},  {"avg", INTERPOLATION_LERP},
        {"median", INTERPOLATION_LERP}, {"mult", INTERPOLATION_LERP},
        {"dev", INTERPOLATION_LERP},    {"diff", INTERPOLATION_LERP},
        {"count", INTERPOLATION_ZIM},   {"squareSum", INTERPOLATION_ZIM},
        {"first", INTERPOLATION_ZIM},   {"last", INTERPOLATION_ZIM},
        {"none", INTERPOLATION_ZIM},    {"p999", INTERPOLATION_LERP},
        {"ep50r3", INTERPOLATION_LERP}, {"ep999r7", INTERPOLATION_LERP},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(aggregator_interpolation(named(rows[i].name)), rows[i].interpolation);
}

static void two_series_aggregate_as_documented(void **state) {
    /* One timestamp of two series: 50 and 37, then 60 and 48. */
    static const struct {
        const char *name;
        int64_t first, second;
    } rows[] = {
        {"sum", 87, 108},          {"avg", 43, 54},    {"min", 37, 48},    {"max", 50, 60},
        {"zimsum", 87, 108},       {"dev", 6, 6},      {"diff", -13, -12}, {"mult", 1850, 2880},
        {"median", 50, 60},        {"count", 2, 2},    {"first", 50, 60},  {"last", 37, 48},
        {"squareSum", 3869, 5904}, {"pfsum", 87, 108}, {"mimmin", 37, 48}, {"mimmax", 50, 60},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(INTS(rows[i].name, 50, 37), rows[i].first);
        assert_int_equal(INTS(rows[i].name, 60, 48), rows[i].second);
    }
}

static void one_value_is_itself_except_for_the_measures_of_spread(void **state) {
    for (int i = 0; i < AGGREGATOR_COUNT_OF; i++) {
        enum aggregator aggregator = (enum aggregator)i;
        bool spread = aggregator == AGGREGATOR_DEV || aggregator == AGGREGATOR_DIFF;
        int64_t expected = spread                               ? 0
                           : aggregator == AGGREGATOR_COUNT     ? 1
                           : aggregator == AGGREGATOR_SQUARESUM ? 49
                                                                : -7;
        int64_t integer = -7;
        double real = -7;
        assert_int_equal(aggregator_run_ints(aggregator, &integer, 1), expected);
        assert_same(aggregator_run_doubles(aggregator, &real, 1), (double)expected);
    }
}

static void four_series_have_the_documented_percentiles(void **state) {
    static const struct {
        const char *name;
        int64_t ints;
        double doubles;
    } rows[] = {
        {"p50", 25, 25.0},    {"p75", 37, 37.5},    {"p95", 40, 40.0},
        {"ep50r3", 20, 25.0}, {"ep50r7", 25, 25.0}, {"ep75r3", 30, 37.5},
        {"ep75r7", 32, 37.5}, {"median", 30, 30.0}, {"dev", 11, 11.180339887498949},
        {"avg", 25, 25.0},    {"diff", 30, 30.0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(INTS(rows[i].name, 10, 20, 30, 40), rows[i].ints);
        assert_same(DOUBLES(rows[i].name, 10, 20, 30, 40), rows[i].doubles);
    }
}

static void a_thousand_series_have_their_percentiles_in_place(void **state) {
    static const struct {
        const char *suffix;
        int64_t expected;
    } rows[] = {{"50", 500}, {"75", 750}, {"90", 900}, {"95", 950}, {"99", 990}, {"999", 999}};
    int64_t values[1000];
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        static const char *const forms[] = {"p%s", "ep%sr3", "ep%sr7"};
        for (size_t form = 0; form < COUNT_OF(forms); form++) {
            for (size_t v = 0; v < COUNT_OF(values); v++)
                values[v] = (int64_t)(v * 387 % 1000) + 1;
            char name[16];
            snprintf(name, sizeof(name), forms[form], rows[i].suffix);
            assert_int_equal(run_ints(name, values, COUNT_OF(values)), rows[i].expected);
        }
    }
}

static void the_documented_odds_and_ends_hold(void **state) {
    assert_int_equal(INTS("median", 5, 2, -1, 400, 3), 3);
    assert_int_equal(INTS("median", 5, 2, -1, 400, 3, -42), 3);
    assert_int_equal(INTS("median", 42), 42);
    assert_int_equal(INTS("squareSum", 1, 2), 5);
    assert_int_equal(INTS("dev", 3, 3, 3), 0);
    assert_int_equal(INTS("dev", 1, 2), 0);
    assert_same(DOUBLES("dev", 1, 2), 0.5);
    assert_int_equal(INTS("avg", -1, -2), -1);
    assert_same(DOUBLES("avg", 1, 2), 1.5);
}

static void integers_wrap_at_64_bits(void **state) {
    assert_int_equal(INTS("sum", INT64_MAX, 1), INT64_MIN);
    assert_int_equal(INTS("mult", INT64_MAX, 2), -2);
    assert_int_equal(INTS("diff", INT64_MIN, INT64_MAX), -1);
    assert_int_equal(INTS("squareSum", INT64_C(1) << 32, 3), 9);
    assert_int_equal(INTS("avg", INT64_MAX, 1), INT64_MIN / 2);
    /* The spread of the whole range is 2^63 and does not fit: it stops at the limit. */
    assert_int_equal(INTS("dev", INT64_MIN, INT64_MAX), INT64_MAX);
}

static void nan_is_skipped_except_where_it_is_not(void **state) {
    static const struct {
        const char *name;
        double leading, trailing, only;
    } rows[] = {
        {"sum", 5, 5, NAN},      {"pfsum", 5, 5, NAN},       {"zimsum", 5, 5, NAN},
        {"min", 2, 2, NAN},      {"max", 3, 3, NAN},         {"mimmin", 2, 2, NAN},
        {"mimmax", 3, 3, NAN},   {"avg", 2.5, 2.5, NAN},     {"median", 3, 3, NAN},
        {"mult", NAN, NAN, NAN}, {"dev", 0.5, 0.5, NAN},     {"diff", 1, NAN, NAN},
        {"count", 2, 2, 0},      {"squareSum", 13, 13, NAN}, {"first", NAN, 2, NAN},
        {"last", 3, NAN, NAN},   {"p50", 2.5, 2.5, NAN},     {"ep50r3", 2.5, 2.5, NAN},
        {"ep999r7", 3, 3, NAN},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_same(DOUBLES(rows[i].name, NAN, 2, 3), rows[i].leading);
        assert_same(DOUBLES(rows[i].name, 2, 3, NAN), rows[i].trailing);
        assert_same(DOUBLES(rows[i].name, NAN, NAN), rows[i].only);
    }
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The definition, by sorting. */
static double legacy_percentile(double fraction, const double *sorted, size_t n) {
    double position = fraction * ((double)n + 1);
    if (position < 1)
        return sorted[0];
    if (position >= (double)n)
        return sorted[n - 1];
    size_t below = (size_t)position;
    double part = position - (double)below;
    return sorted[below - 1] + part * (sorted[below] - sorted[below - 1]);
}

static void percentiles_equal_those_of_sorted_values(void **state) {
    static const struct {
        const char *name;
        double fraction;
    } rows[] = {{"p50", 0.5},  {"p75", 0.75}, {"p90", 0.9},
                {"p95", 0.95}, {"p99", 0.99}, {"p999", 0.999}};
    double values[3000], sorted[3000];
    srand(7);
    for (int round = 0; round < 400; round++) {
        size_t n = 1 + (size_t)rand() % COUNT_OF(values);
        /* Few distinct values, many, ascending, descending, and a saw. */
        for (size_t i = 0; i < n; i++) {
            const int shapes[] = {rand() % 5, rand(), (int)i, -(int)i, (int)(i % 17)};
            values[i] = shapes[round % 5] / 8.0;
        }
        memcpy(sorted, values, n * sizeof(double));
        qsort(sorted, n, sizeof(double), compare_doubles);
        for (size_t i = 0; i < COUNT_OF(rows); i++)
            assert_same(run_doubles(rows[i].name, values, (uint32_t)n),
                        legacy_percentile(rows[i].fraction, sorted, n));
        assert_same(run_doubles("median", values, (uint32_t)n), sorted[n / 2]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_names_are_found_and_nothing_else),
        cmocka_unit_test(interpolations_are_those_of_opentsdb),
        cmocka_unit_test(two_series_aggregate_as_documented),
        cmocka_unit_test(one_value_is_itself_except_for_the_measures_of_spread),
        cmocka_unit_test(four_series_have_the_documented_percentiles),
        cmocka_unit_test(a_thousand_series_have_their_percentiles_in_place),
        cmocka_unit_test(the_documented_odds_and_ends_hold),
        cmocka_unit_test(integers_wrap_at_64_bits),
        cmocka_unit_test(nan_is_skipped_except_where_it_is_not),
        cmocka_unit_test(percentiles_equal_those_of_sorted_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
