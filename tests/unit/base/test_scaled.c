#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/scaled.h"

static void a_text_splits_into_its_number_and_what_stands_behind(void **state) {
    static const struct {
        const char *text;
        uint64_t number;
        const char *unit;
    } cases[] = {
        {"0", 0, ""},
        {"10s", 10, "s"},
        {"007Mi", 7, "Mi"},
        {"5 m", 5, " m"},
        {"1.5h", 1, ".5h"},
        {"18446744073709551615", UINT64_MAX, ""},
        {"3-4", 3, "-4"},
        {"00000000000000000000001y", 1, "y"},
        {"12345x6", 12345, "x6"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t number;
        str unit;
        assert_true(scaled_split(str_of(cases[i].text), &number, &unit));
        assert_int_equal(number, cases[i].number);
        assert_true(str_eq(unit, str_of(cases[i].unit)));
    }
}

static void what_begins_with_no_number_of_64_bits_does_not_split(void **state) {
    static const char *const texts[] = {
        "", "s", "-1", "+1", " 1", "18446744073709551616", "99999999999999999999y"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        uint64_t number = 42;
        str unit = STR("kept");
        assert_false(scaled_split(str_of(texts[i]), &number, &unit));
        assert_int_equal(number, 42);
        assert_true(str_eq(unit, STR("kept")));
    }
}

static void a_unit_scales_its_number_in_either_case(void **state) {
    static const struct scaled_unit units[] = {{"k", 1000}, {"Ki", 1024}};
    static const struct {
        const char *text;
        uint64_t value; /* 42: no such number */
    } cases[] = {
        {"7", 7},
        {"7k", 7000},
        {"7K", 7000},
        {"7ki", 7168},
        {"7kI", 7168},
        {"7kib", 42},
        {"7 k", 42},
        {"k", 42},
        {"", 42},
        {"9223372036854775807", INT64_MAX},
        {"9223372036854775808", 42},
        {"9223372036854775k", UINT64_C(9223372036854775000)},
        {"9223372036854776k", 42},
        {"18446744073709552k", 42},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t value = 42;
        bool taken = scaled_parse(str_of(cases[i].text), units, COUNT_OF(units), &value);
        assert_int_equal(value, cases[i].value);
        assert_int_equal(taken, cases[i].value != 42);
    }
}

static void durations_are_milliseconds(void **state) {
    static const struct {
        const char *text;
        uint64_t ms; /* 42: no duration */
    } cases[] = {
        {"0", 0},           {"1500", 1500},    {"500ms", 500},
        {"10s", 10000},     {"5m", 300000},    {"2h", 7200000},
        {"7d", 604800000},  {"1w", 604800000}, {"1y", UINT64_C(31536000000)},
        {"5M", 300000},     {"1Ms", 1},        {"292471208y", UINT64_C(9223372015488000000)},
        {"292471209y", 42}, {"1n", 42},        {"1 s", 42},
        {"1.5s", 42},       {"-1s", 42},       {"s", 42},
        {"", 42},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t ms = 42;
        bool taken = scaled_parse_duration(str_of(cases[i].text), &ms);
        assert_int_equal(ms, cases[i].ms);
        assert_int_equal(taken, cases[i].ms != 42);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_splits_into_its_number_and_what_stands_behind),
        cmocka_unit_test(what_begins_with_no_number_of_64_bits_does_not_split),
        cmocka_unit_test(a_unit_scales_its_number_in_either_case),
        cmocka_unit_test(durations_are_milliseconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
