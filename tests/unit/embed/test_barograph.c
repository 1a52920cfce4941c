#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "barograph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 5000, SERIES = 3 };

static const int64_t start_ms = INT64_C(1700006400000);

struct fixture {
    barograph *db;
    barograph_series series[SERIES];
    barograph_point points[COUNT];
    barograph_error error;
};

/* Points of three series in turn: integers, doubles, and both. */
static int open_memory(void **state) {
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    barograph_options options;
    barograph_options_default(&options);
    assert_int_equal(barograph_open(&options, &f->db, &f->error), BAROGRAPH_OK);
    for (int i = 0; i < SERIES; i++) {
        const barograph_tag tag = {"room", (const char *const[]){"a", "b", "c"}[i]};
        assert_int_equal(barograph_series_open(f->db, "heat", &tag, 1, &f->series[i], &f->error),
                         BAROGRAPH_OK);
    }
    for (int i = 0; i < COUNT; i++) {
        barograph_point *point = &f->points[i];
        *point = (barograph_point){.series = f->series[i % SERIES],
                                   .is_double = i % SERIES == 1 || i % 7 == 0,
                                   .time_ms = start_ms + i};
        if (point->is_double)
            point->value.real = i + 0.5;
        else
            point->value.integer = i;
    }
    *state = f;
    return 0;
}

static int close_memory(void **state) {
    struct fixture *f = *state;
    assert_int_equal(barograph_close(f->db, &f->error), BAROGRAPH_OK);
    free(f);
    return 0;
}

struct sum {
    size_t points;
    double values;
};

static int add_result(void *context, const barograph_result *result) {
    struct sum *sum = context;
    sum->points += result->count;
    for (size_t i = 0; i < result->count; i++)
        sum->values += result->values[i];
    return 0;
}

static struct sum ask(struct fixture *f) {
    struct sum sum = {0};
    int rc = barograph_query(f->db, "2023/11/15", "2023/11/16", "none:1ms-sum:heat", add_result,
                             &sum, &f->error);
    if (rc != BAROGRAPH_NOT_FOUND)
        assert_int_equal(rc, BAROGRAPH_OK);
    return sum;
}

static void what_is_put_is_answered(void **state) {
    struct fixture *f = *state;
    double expected = 0;
    for (int i = 0; i < COUNT; i++)
        expected += f->points[i].is_double ? i + 0.5 : i;
    assert_int_equal(barograph_put(f->db, f->points, COUNT, BAROGRAPH_DURABLE, &f->error),
                     BAROGRAPH_OK);
    struct sum sum = ask(f);
    assert_int_equal(sum.points, COUNT);
    assert_true(sum.values == expected);
}

static void assert_refused(struct fixture *f, int code, const char *message) {
    assert_int_equal(barograph_put(f->db, f->points, COUNT, 0, &f->error), code);
    assert_string_equal(f->error.message, message);
}

static void the_first_point_that_cannot_be_put_is_named(void **state) {
    struct fixture *f = *state;
    barograph_point good = f->points[1];
    f->points[1].series = 4;
    assert_refused(f, BAROGRAPH_NOT_FOUND, "point 1: there is no series 4; open it");
    f->points[1].series = 0;
    assert_refused(f, BAROGRAPH_NOT_FOUND, "point 1: there is no series 0; open it");
    f->points[1].series = UINT32_MAX;
    assert_refused(f, BAROGRAPH_NOT_FOUND, "point 1: there is no series 4294967295; open it");
    f->points[1] = good;
    f->points[1].time_ms = 0;
    assert_refused(f, BAROGRAPH_INVALID, "point 1: time 0 is not in 1 .. 9999999999999 ms");
    f->points[1].time_ms = INT64_MIN;
    f->points[0].series = 9;
    assert_refused(f, BAROGRAPH_NOT_FOUND, "point 0: there is no series 9; open it");
    f->points[0].series = f->series[0];
    f->points[1].time_ms = INT64_C(10000000000000);
    assert_refused(f, BAROGRAPH_INVALID,
                   "point 1: time 10000000000000 is not in 1 .. 9999999999999 ms");
    f->points[1] = good;
    f->points[1].value.real = (double)INFINITY;
    assert_refused(f, BAROGRAPH_INVALID, "point 1: the value is not finite");
    f->points[1].value.real = (double)-NAN;
    assert_refused(f, BAROGRAPH_INVALID, "point 1: the value is not finite");
    f->points[1].is_double = 256;
    assert_refused(f, BAROGRAPH_INVALID, "point 1: is_double is neither 0 nor 1");
    assert_int_equal(ask(f).points, 0);
    f->points[1].is_double = 0; /* any integer is an integer */
    assert_int_equal(barograph_put(f->db, f->points, COUNT, 0, &f->error), BAROGRAPH_OK);
    assert_int_equal(ask(f).points, COUNT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_put_is_answered, open_memory, close_memory),
        cmocka_unit_test_setup_teardown(the_first_point_that_cannot_be_put_is_named, open_memory,
                                        close_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
