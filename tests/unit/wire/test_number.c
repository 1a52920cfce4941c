#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/number.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- reading ---- */

static void expect_integer(const char *text, int64_t expected) {
    int64_t value = 12345;
    assert_int_equal(number_parse_int(str_of(text), &value, NULL), NUMBER_OK);
    assert_true(value == expected);
    struct value as_value = {0};
    assert_int_equal(number_parse_value(str_of(text), &as_value, NULL), NUMBER_OK);
    assert_false(as_value.is_float);
    assert_true((int64_t)as_value.bits == expected);
}

static void integers_are_read_to_the_ends_of_their_range(void **state) {
    expect_integer("0", 0);
    expect_integer("-0", 0);
    expect_integer("+5", 5);
    expect_integer("-5", -5);
    expect_integer("007", 7);
    expect_integer("12345678", 12345678);
    expect_integer("123456789", 123456789);
    expect_integer("1356998400123", INT64_C(1356998400123));
    expect_integer("1234567890123456", INT64_C(1234567890123456));
    expect_integer("9223372036854775807", INT64_MAX);
    expect_integer("+9223372036854775807", INT64_MAX);
    expect_integer("-9223372036854775808", INT64_MIN);
}

static void expect_no_integer(const char *text, enum number_outcome expected, char expected_bad) {
    int64_t value;
    char bad = '\0';
    assert_int_equal(number_parse_int(str_of(text), &value, &bad), expected);
    assert_int_equal(bad, expected_bad);
    struct value as_value;
    bad = '\0';
    assert_int_equal(number_parse_value(str_of(text), &as_value, &bad), expected);
    assert_int_equal(bad, expected_bad);
}

static void what_is_wrong_with_an_integer_is_told(void **state) {
    expect_no_integer("", NUMBER_EMPTY, '\0');
    expect_no_integer("-", NUMBER_SIGN_ONLY, '\0');
    expect_no_integer("+", NUMBER_SIGN_ONLY, '\0');
    expect_no_integer("12x4", NUMBER_INVALID, 'x');
    expect_no_integer("--1", NUMBER_INVALID, '-');
    expect_no_integer("1-", NUMBER_INVALID, '-');
    expect_no_integer(" 1", NUMBER_INVALID, ' ');
    expect_no_integer("12345678/", NUMBER_INVALID, '/');
    expect_no_integer("12345678:", NUMBER_INVALID, ':');
    expect_no_integer("1234567:8", NUMBER_INVALID, ':');
    expect_no_integer("/2345678", NUMBER_INVALID, '/');
    expect_no_integer("NaN", NUMBER_INVALID, 'N');
    expect_no_integer("Infinity", NUMBER_INVALID, 'I');
    expect_no_integer("0x10", NUMBER_INVALID, 'x');
    expect_no_integer("1_000", NUMBER_INVALID, '_');
    expect_no_integer("42bucks", NUMBER_INVALID, 'b');
    expect_no_integer("9223372036854775808", NUMBER_OVERFLOW, '\0');
    expect_no_integer("-9223372036854775809", NUMBER_OVERFLOW, '\0');
    expect_no_integer("9999999999999999999", NUMBER_OVERFLOW, '\0');
    expect_no_integer("99999999999999999999", NUMBER_TOO_LONG, '\0');
    expect_no_integer("-99999999999999999999", NUMBER_TOO_LONG, '\0');
    expect_no_integer("00000000000000000000", NUMBER_TOO_LONG, '\0');
}

static void any_byte_that_is_not_a_digit_is_found_in_any_place(void **state) {
    for (size_t n = 1; n <= 19; n++) {
        for (size_t at = 0; at < n; at++) {
            for (int byte = 0; byte < 256; byte++) {
                if ((byte >= '0' && byte <= '9') || (at == 0 && (byte == '-' || byte == '+')))
                    continue;
                char text[20];
                memset(text, '1', sizeof(text));
                text[at] = (char)byte;
                int64_t value;
                char bad = '\0';
                assert_int_equal(number_parse_int((str){text, n}, &value, &bad), NUMBER_INVALID);
                assert_int_equal((uint8_t)bad, byte);
            }
        }
    }
}

static void expect_double(const char *text, double expected) {
    struct value value = {0};
    assert_int_equal(number_parse_value(str_of(text), &value, NULL), NUMBER_OK);
    assert_true(value.is_float);
    if (value.bits != points_bits_of(expected))
        fail_msg("%s: %a, expected %a", text, points_double_of(value.bits), expected);
}

static void doubles_are_what_java_takes(void **state) {
    expect_double("4.2", 4.2);
    expect_double("42.0", 42.0);
    expect_double("4e1", 40.0);
    expect_double(".5", 0.5);
    expect_double("1.", 1.0);
    expect_double("-1.", -1.0);
    expect_double("1e3", 1000.0);
    expect_double("1E+3", 1000.0);
    expect_double("1e-3", 0.001);
    expect_double("+1.5", 1.5);
    expect_double("1.5f", 1.5);
    expect_double("1.5d", 1.5);
    expect_double("1.5F", 1.5);
    expect_double("1e3D", 1000.0);
    expect_double("-0.0", -0.0);
    expect_double("-.0", -0.0);
    expect_double(" 1.5\t", 1.5);
    expect_double("0x1.8p1", 3.0);
    expect_double("0x.8p0", 0.5);
    expect_double("0XeP0", 14.0);
    expect_double("-0x1.p-1f", -0.5);
    expect_double("0x29995e814c0e1.bp-1072", 0x0.a6657a0530387p-1022);
    expect_double("0x.1p-1074", 0.0);
    expect_double("0x.8p-1074", 0.0);
    expect_double("0x.81p-1074", 4.9e-324);
    expect_double("0x1.8p-1074", 9.9e-324);
    expect_double("0x1.fffffffffffff7p1023", DBL_MAX);
    expect_double("0x0.0p99999999999999999999", 0.0);
    expect_double("1e23", 1e23);
    expect_double("1.7976931348623157e308", DBL_MAX);
    expect_double("4.9e-324", 4.9e-324);
    expect_double("1e-400", 0.0);
    expect_double("0e99999999999999999999", 0.0);
    expect_double("58.1317132304976170", 58.131713230497617);
    expect_double("9007199254740993.0", 9007199254740992.0);
    expect_double("9007199254740993.00000000000000000000000000000001", 9007199254740994.0);
}

static void what_is_not_a_double_is_refused(void **state) {
    static const char *const texts[] = {
        ".",    "-.",    "e",     "e1",    "1e",    "1e+",       "4.x",  "1.2.3", "1_0.0",
        "1.0L", "1.5ff", "0x1.8", "0x.p1", "0x.1p", "1.0 2.0",   "1 .5", "--1.0", "+-1.0",
        "1.e",  "1,5e",  "infe",  "1.0n",  "0b1.1", "\xff.\xff", "nane", "1e1.5"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct value value;
        char bad = 'x';
        if (number_parse_value(str_of(texts[i]), &value, &bad) != NUMBER_INVALID || bad != '\0')
            fail_msg("%s", texts[i]);
    }
    struct value value;
    assert_int_equal(number_parse_value(STR("1e999"), &value, NULL), NUMBER_NOT_FINITE);
    assert_true(points_double_of(value.bits) == INFINITY);
    assert_int_equal(number_parse_value(STR("0x1.fffffffffffff8p1023"), &value, NULL),
                     NUMBER_NOT_FINITE);
    assert_int_equal(number_parse_value(STR("-1.8e308"), &value, NULL), NUMBER_NOT_FINITE);
    assert_true(points_double_of(value.bits) == -INFINITY);
}

enum { LONG = 1 << 20 };

/* "<head>000...000<tail>", or with another byte than 0, read. */
static void expect_long(const char *head, char byte, int count, const char *tail, double expected) {
    struct buf text = {0};
    buf_str(&text, str_of(head));
    for (int i = 0; i < count; i++)
        buf_char(&text, byte);
    buf_str(&text, str_of(tail));
    assert_false(text.failed);
    struct value value = {0};
    assert_int_equal(number_parse_value(buf_view(&text), &value, NULL), NUMBER_OK);
    assert_true(points_double_of(value.bits) == expected);
    buf_fini(&text);
}

static void very_long_texts_are_rounded_correctly(void **state) {
    /* 1 + 2^-53, the middle between 1 and the next double, and a hair more. */
    static const char middle[] = "1.00000000000000011102230246251565404236316680908203125";
    expect_long(middle, '0', LONG, "", 1.0);
    expect_long(middle, '0', LONG, "1", 0x1.0000000000001p0);
    expect_long("0x1.00000000000008", '0', LONG, "p0", 1.0);
    expect_long("0x1.00000000000008", '0', LONG, "1p0", 0x1.0000000000001p0);
    /* Places before and behind the point that the exponent takes back. */
    expect_long("0.", '0', LONG, "15e1048577", 1.5);
    expect_long("", '9', LONG, "e-1048576", 1.0);
    expect_long("", '0', LONG, "1.5", 1.5);
    expect_long("1.5e", '0', LONG, "1", 15.0);
}

static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Digits with a point somewhere, sometimes an exponent. */
static void make_decimal(char *out, size_t size) {
    size_t n = 0;
    int digits = 1 + (int)(next_random() % (next_random() % 4 == 0 ? 40 : 20));
    int point = (int)(next_random() % (uint64_t)(digits + 1));
    if (next_random() % 3 == 0)
        out[n++] = '-';
    for (int i = 0; i < digits; i++) {
        if (i == point)
            out[n++] = '.';
        out[n++] = (char)('0' + next_random() % 10);
    }
    if (point == digits)
        out[n++] = '.';
    out[n] = '\0';
    if (next_random() % 2 == 0)
        (void)!snprintf(out + n, size - n, "e%d",
                        (int)(next_random() % (next_random() % 2 == 0 ? 60 : 660)) - 30);
}

static void random_decimals_are_read_as_strtod_reads_them(void **state) {
    for (int i = 0; i < 300000; i++) {
        char text[64];
        make_decimal(text, sizeof(text));
        double expected = strtod(text, NULL);
        struct value value;
        enum number_outcome outcome = number_parse_value(str_of(text), &value, NULL);
        assert_int_equal(outcome, isinf(expected) ? NUMBER_NOT_FINITE : NUMBER_OK);
        if (value.bits != points_bits_of(expected))
            fail_msg("%s", text);
    }
}

/* Middles between neighbours, and a hair beside them: where rounding goes wrong first. */
static void middles_between_doubles_are_rounded_to_even(void **state) {
    for (int i = 0; i < 20000; i++) {
        int scale = (int)(next_random() % 50);
        uint64_t m = next_random() >> 11 | UINT64_C(1) << 52;
        char text[128];
        unsigned __int128 middle = ((unsigned __int128)m << 1 | 1) << (scale + 1);
        uint64_t high = (uint64_t)(middle / UINT64_C(10000000000000000000));
        uint64_t low = (uint64_t)(middle % UINT64_C(10000000000000000000));
        (void)!snprintf(text, sizeof(text), "%llu%019llu.%s", (unsigned long long)high,
                        (unsigned long long)low, i % 2 == 0 ? "0" : "0000000001");
        expect_double(text, strtod(text, NULL));
    }
}

/* ---- writing ---- */

static const char *written(double value) {
    static char text[64];
    struct buf out = {0};
    number_put_double(&out, value);
    (void)!snprintf(text, sizeof(text), "%.*s", STR_ARG(buf_view(&out)));
    buf_fini(&out);
    return text;
}

static void doubles_are_written_as_java_does(void **state) {
    assert_string_equal(written(1), "1.0");
    assert_string_equal(written(0), "0.0");
    assert_string_equal(written(-0.0), "-0.0");
    assert_string_equal(written(-15), "-15.0");
    assert_string_equal(written(1e7), "1.0E7");
    assert_string_equal(written(9999999), "9999999.0");
    assert_string_equal(written(9999999.5), "9999999.5");
    assert_string_equal(written(12345678), "1.2345678E7");
    assert_string_equal(written(0.001), "0.001");
    assert_string_equal(written(9.999e-4), "9.999E-4");
    assert_string_equal(written(1.234e-4), "1.234E-4");
    assert_string_equal(written(1.0 / 3), "0.3333333333333333");
    assert_string_equal(written(2.0 / 3), "0.6666666666666666");
    assert_string_equal(written(0.1 + 0.2), "0.30000000000000004");
    assert_string_equal(written(100000000.5), "1.000000005E8");
    assert_string_equal(written(1e21), "1.0E21");
    assert_string_equal(written(1e22), "1.0E22");
    assert_string_equal(written(1e23), "1.0E23");
    assert_string_equal(written(2e-3), "0.002");
    assert_string_equal(written(2.2e-322), "2.2E-322");
    assert_string_equal(written(4.9e-324), "4.9E-324");
    assert_string_equal(written(9.9e-324), "9.9E-324");
    assert_string_equal(written(DBL_MIN), "2.2250738585072014E-308");
    assert_string_equal(written(DBL_MAX), "1.7976931348623157E308");
    assert_string_equal(written((double)4.2f), "4.199999809265137");
    assert_string_equal(written(9007199254740993.0), "9.007199254740992E15");
    assert_string_equal(written(0x1p63), "9.223372036854776E18");
    assert_string_equal(written(-1.5e-10), "-1.5E-10");
    assert_string_equal(written(NAN), "NaN");
    assert_string_equal(written(INFINITY), "Infinity");
    assert_string_equal(written(-INFINITY), "-Infinity");
}

/* Significant digits of a text, without trailing zeros. */
static size_t digits_of(const char *text, char *out) {
    size_t n = 0;
    for (; *text != '\0' && *text != 'E' && *text != 'e'; text++)
        if (*text >= '0' && *text <= '9' && (n > 0 || *text != '0'))
            out[n++] = *text;
    while (n > 0 && out[n - 1] == '0')
        n--;
    out[n] = '\0';
    return n;
}

/* The shortest of the library's roundings that reads back the same; Java begins with two. */
static size_t naive_digits(double value, char *out) {
    char text[64];
    for (int count = 2; count <= 17; count++) {
        (void)!snprintf(text, sizeof(text), "%.*e", count - 1, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return digits_of(text, out);
}

static void expect_shortest(double value) {
    const char *text = written(value);
    if (points_bits_of(strtod(text, NULL)) != points_bits_of(value))
        fail_msg("%a is written as %s", value, text);
    char expected[64], got[64];
    size_t expected_count = naive_digits(value, expected);
    size_t count = digits_of(text, got);
    bool power_of_two = (points_bits_of(value) << 12) == 0;
    /* Beside a power of two one that is shorter may lie where rounding does not lead. */
    if (count > expected_count || (!power_of_two && strcmp(expected, got) != 0))
        fail_msg("%a is written as %s, expected the digits %s", value, text, expected);
}

static void written_doubles_are_shortest_and_read_back(void **state) {
    for (int i = 0; i < 60000; i++) {
        double any = points_double_of(next_random());
        if (isfinite(any))
            expect_shortest(any);
        expect_shortest((double)(next_random() % 2000000) / 100);
        expect_shortest((double)(int64_t)next_random() / (double)(1 + next_random() % 1000));
        expect_shortest(points_double_of(next_random() % 1000000)); /* subnormal */
    }
    for (int exponent = -1074; exponent < 1024; exponent++) {
        expect_shortest(ldexp(1, exponent));
        expect_shortest(nextafter(ldexp(1, exponent), 0));
        expect_shortest(nextafter(ldexp(1, exponent), INFINITY));
    }
    for (int exponent = -320; exponent < 308; exponent++) {
        char text[16];
        (void)!snprintf(text, sizeof(text), "1e%d", exponent);
        expect_shortest(strtod(text, NULL));
    }
}

static void integers_are_written_in_full(void **state) {
    static const int64_t values[] = {0,   1,    -1,   9,      10,    99,        100,      101,
                                     999, 1000, -100, 123456, 99999, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        struct buf out = {0};
        number_put_int(&out, values[i]);
        buf_char(&out, '\0');
        char expected[32];
        (void)!snprintf(expected, sizeof(expected), "%lld", (long long)values[i]);
        assert_string_equal(out.p, expected);
        buf_fini(&out);
    }
}

static void the_locale_changes_nothing(void **state) {
    /* Where no such locale is installed there is nothing to see. */
    if (setlocale(LC_ALL, "de_DE.UTF-8") == NULL)
        skip();
    expect_double("1.5e-200", 1.5e-200);
    assert_string_equal(written(1.5e-200), "1.5E-200");
    setlocale(LC_ALL, "C");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_read_to_the_ends_of_their_range),
        cmocka_unit_test(what_is_wrong_with_an_integer_is_told),
        cmocka_unit_test(any_byte_that_is_not_a_digit_is_found_in_any_place),
        cmocka_unit_test(doubles_are_what_java_takes),
        cmocka_unit_test(what_is_not_a_double_is_refused),
        cmocka_unit_test(very_long_texts_are_rounded_correctly),
        cmocka_unit_test(random_decimals_are_read_as_strtod_reads_them),
        cmocka_unit_test(middles_between_doubles_are_rounded_to_even),
        cmocka_unit_test(doubles_are_written_as_java_does),
        cmocka_unit_test(written_doubles_are_shortest_and_read_back),
        cmocka_unit_test(integers_are_written_in_full),
        cmocka_unit_test(the_locale_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
