#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "wire/put_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a line becomes, in one text: "metric ms value {tags}" ("i" or "f" before the value), or the
   error, the whole way that a server takes. */
static const char *outcome_of(str line) {
    static char text[1024];
    static const struct series_key_rules rules = {.tags_max = LIMIT_TAGS_DEFAULT};
    struct put_line put;
    struct series_key key;
    struct err err = {0};
    enum rc rc = put_line_parse(line, &put, &err);
    if (rc == RC_OK)
        rc = put_line_key(&put, &key, &err);
    if (rc == RC_OK) {
        rc = series_key_canonicalise(&key, &err);
        if (rc == RC_OK)
            rc = series_key_check(&key, &rules, &err);
        if (rc < 0)
            err_context(&err, "illegal argument");
    }
    if (rc < 0) {
        assert_int_equal(rc, RC_INVALID);
        (void)!snprintf(text, sizeof(text), "%s", err.message);
        return text;
    }
    char tags[512], value[40];
    if (put.value.is_float)
        (void)!snprintf(value, sizeof(value), "f%g", points_double_of(put.value.bits));
    else
        (void)!snprintf(value, sizeof(value), "i%lld", (long long)put.value.bits);
    (void)!snprintf(text, sizeof(text), "%.*s %lld %s %s", STR_ARG(key.metric),
                    (long long)put.time_ms, value, series_key_tags_text(&key, tags, sizeof(tags)));
    return text;
}

/* Runs on a copy that ends where the line ends, so that reading past it is seen by ASan. */
static void expect_outcome(const char *line, const char *expected) {
    size_t n = strlen(line);
    char *copy = malloc(n + (n == 0));
    assert_non_null(copy);
    memcpy(copy, line, n);
    assert_string_equal(outcome_of((str){copy, n}), expected);
    free(copy);
}

static void good_lines_are_points(void **state) {
    expect_outcome("sys.cpu 1356998400 42 host=web01", "sys.cpu 1356998400000 i42 {host=web01}");
    expect_outcome("sys.cpu 1356998400123 42 host=web01 cpu=0",
                   "sys.cpu 1356998400123 i42 {cpu=0, host=web01}");
    expect_outcome("m 1356998400.500 4.25 a=b", "m 1356998400500 f4.25 {a=b}");
    expect_outcome("m 1 -7 a=b  c=d ", "m 1000 i-7 {a=b, c=d}");
    expect_outcome("m 1 +5 a=b a=b", "m 1000 i5 {a=b}");
    expect_outcome("m +1 1e3 a=b", "m 1000 f1000 {a=b}");
    expect_outcome("m 1 42.0   a=b", "m 1000 f42 {a=b}");
    expect_outcome("m 4294967295 1 a=b", "m 4294967295000 i1 {a=b}");
    expect_outcome("m 4294967296 1 a=b", "m 4294967296 i1 {a=b}");
    expect_outcome("m 9999999999999 1 a=b", "m 9999999999999 i1 {a=b}");
    expect_outcome("m 1356998400.5 1 a=b", "m 13569984005 i1 {a=b}");
    expect_outcome("m 1 1.5f a=b", "m 1000 f1.5 {a=b}");
    expect_outcome("caf\u00e9 1 1 ort=M\u00fcnchen", "caf\u00e9 1000 i1 {ort=M\u00fcnchen}");
}

static void too_few_words_are_counted(void **state) {
    expect_outcome("m 1 2", "illegal argument: not enough arguments (need least 4, got 3)");
    expect_outcome("m 1", "illegal argument: not enough arguments (need least 4, got 2)");
    expect_outcome("m", "illegal argument: not enough arguments (need least 4, got 1)");
    expect_outcome("", "illegal argument: not enough arguments (need least 4, got 1)");
    assert_string_equal(outcome_of((str){NULL, 0}),
                        "illegal argument: not enough arguments (need least 4, got 0)");
    expect_outcome("  ", "illegal argument: not enough arguments (need least 4, got 3)");
}

static void words_are_split_at_single_spaces(void **state) {
    expect_outcome(" m 1 2 a=b", "illegal argument: empty metric name");
    expect_outcome("m  1 2 a=b", "invalid value: Empty string");
    expect_outcome("m 1  2 a=b", "illegal argument: empty value");
    expect_outcome("m\t1 2 3 a=b",
                   "illegal argument: Invalid metric name (\"m\t1\"): illegal character: \t");
    expect_outcome("m 1 2 ", "illegal argument: Need at least one tag (metric=m, tags={})");
    expect_outcome("m 1 2    ", "illegal argument: Need at least one tag (metric=m, tags={})");
}

static void bad_timestamps_are_told(void **state) {
    expect_outcome("m 12x4 1 a=b", "invalid value: Invalid character 'x' in 12x4");
    expect_outcome("m 12.x4 1 a=b", "invalid value: Invalid character 'x' in 12x4");
    expect_outcome("m 12\u00e94 1 a=b", "invalid value: Invalid character '\u00e9' in 12\u00e94");
    expect_outcome("m . 1 a=b", "invalid value: Empty string");
    expect_outcome("m - 1 a=b", "invalid value: Just a sign, no value: -");
    expect_outcome("m 12345678901234567890 1 a=b",
                   "invalid value: Value too long: 12345678901234567890");
    expect_outcome("m 9999999999999999999 1 a=b", "invalid value: Overflow in 9999999999999999999");
    expect_outcome("m 0 1 a=b", "illegal argument: invalid timestamp: 0");
    expect_outcome("m -1 1 a=b", "illegal argument: invalid timestamp: -1");
    expect_outcome("m -1.5 1 a=b", "illegal argument: invalid timestamp: -15");
}

static void timestamps_out_of_range_are_told_with_the_stored_value(void **state) {
#define BAD(value, tags)                                                                           \
    "illegal argument: bad timestamp=99999999999999 when trying to add value=" value               \
    " to metric=m, tags=" tags
    expect_outcome("m 99999999999999 1 a=b", BAD("[1]/0", "{a=b}"));
    expect_outcome("m 99999999999999 -1 a=b c=d", BAD("[-1]/0", "{a=b, c=d}"));
    expect_outcome("m 99999999999999 300 a=b", BAD("[1, 44]/1", "{a=b}"));
    expect_outcome("m 99999999999999 70000 a=b", BAD("[0, 1, 17, 112]/3", "{a=b}"));
    expect_outcome("m 99999999999999 4294967296 a=b", BAD("[0, 0, 0, 1, 0, 0, 0, 0]/7", "{a=b}"));
    expect_outcome("m 99999999999999 1.5 a=b", BAD("[63, -64, 0, 0]/11", "{a=b}"));
    expect_outcome("m 99999999999999 4.2 a=b",
                   BAD("[64, 16, -52, -52, -52, -52, -52, -51]/15", "{a=b}"));
    /* Before the number of tags and their characters. */
    expect_outcome("m 99999999999999 1 ", BAD("[1]/0", "{}"));
    expect_outcome("m 99999999999999 1 a=!", BAD("[1]/0", "{a=!}"));
#undef BAD
}

static void bad_values_are_told(void **state) {
    expect_outcome("m 1 abc a=b", "invalid value: Invalid character 'a' in abc");
    expect_outcome("m 1 NaN a=b", "invalid value: Invalid character 'N' in NaN");
    expect_outcome("m 1 4.x a=b", "invalid value: For input string: \"4.x\"");
    expect_outcome("m 1 1_0.0 a=b", "invalid value: For input string: \"1_0.0\"");
    expect_outcome("m 1 1.0L a=b", "invalid value: For input string: \"1.0L\"");
    expect_outcome("m 1 9223372036854775808 a=b", "invalid value: Overflow in 9223372036854775808");
    expect_outcome("m 1 18446744073709551615 a=b",
                   "invalid value: Value too long: 18446744073709551615");
    expect_outcome("m 1 1e999 a=b",
                   "illegal argument: value is NaN or Infinite: Infinity for metric=m timestamp=1");
    expect_outcome(
        "m 1 -1e999 a=b",
        "illegal argument: value is NaN or Infinite: -Infinity for metric=m timestamp=1");
}

static void bad_tags_are_told(void **state) {
    expect_outcome("m 1 1 hostweb01", "illegal argument: invalid tag: hostweb01");
    expect_outcome("m 1 1 host=", "illegal argument: invalid tag: host=");
    expect_outcome("m 1 1 =web01", "illegal argument: invalid tag: =web01");
    expect_outcome("m 1 1 a=b=c", "illegal argument: invalid tag: a=b=c");
    expect_outcome("m 1 1 a=b=", "illegal argument: invalid tag: a=b=");
    expect_outcome("m 1 1 a==b", "illegal argument: invalid tag: a==b");
    expect_outcome("m 1 1 host=a host=b", "illegal argument: duplicate tag: host=b, tags={host=a}");
    expect_outcome("m 1 1 1=a 2=a 3=a 4=a 5=a 6=a 7=a 8=a 9=a",
                   "illegal argument: Too many tags: 9 maximum allowed: 8, tags: {1=a, 2=a, 3=a, "
                   "4=a, 5=a, 6=a, 7=a, 8=a, 9=a}");
    expect_outcome("sys:cpu 1 1 a=b",
                   "illegal argument: Invalid metric name (\"sys:cpu\"): illegal character: :");
    expect_outcome(
        "m 1 1 k!=v",
        "illegal argument: Invalid tag name with value [v] (\"k!\"): illegal character: !");
    expect_outcome(
        "m 1 1 k=v!",
        "illegal argument: Invalid tag value with key [k] (\"v!\"): illegal character: !");
    expect_outcome("m 1 1 k=\xff", "illegal argument: Invalid tag value with key [k] (\"\xff\"): "
                                   "illegal character: \ufffd");
}

static void the_checks_come_in_opentsdbs_order(void **state) {
    expect_outcome(" x y", "illegal argument: not enough arguments (need least 4, got 3)");
    expect_outcome(" x y z", "illegal argument: empty metric name");
    expect_outcome("! x y z", "invalid value: Invalid character 'x' in x");
    expect_outcome("! 0 y z", "illegal argument: invalid timestamp: 0");
    expect_outcome("! 1  z", "illegal argument: empty value");
    expect_outcome("! 99999999999999 y z", "illegal argument: invalid tag: z");
    expect_outcome("! 99999999999999 y z=1 z=2",
                   "illegal argument: duplicate tag: z=2, tags={z=1}");
    expect_outcome("! 99999999999999 y z=!", "invalid value: Invalid character 'y' in y");
    expect_outcome("! 1 1 1=! 2=a 3=a 4=a 5=a 6=a 7=a 8=a 9=a",
                   "illegal argument: Too many tags: 9 maximum allowed: 8, tags: {1=!, 2=a, 3=a, "
                   "4=a, 5=a, 6=a, 7=a, 8=a, 9=a}");
    expect_outcome("! 1 1 k!=v!",
                   "illegal argument: Invalid metric name (\"!\"): illegal character: !");
}

static void the_metric_is_known_even_if_the_rest_is_bad(void **state) {
    struct put_line put = {0};
    assert_int_equal(put_line_parse(STR("sys.cpu x"), &put, NULL), RC_INVALID);
    assert_true(str_eq(put.metric, STR("sys.cpu")));
    assert_int_equal(put_line_parse(STR("sys.cpu x y z=1"), &put, NULL), RC_INVALID);
    assert_true(str_eq(put.metric, STR("sys.cpu")));
}

static struct buf many_tags(uint32_t count, const char *format) {
    struct buf line = {0};
    buf_str(&line, STR("m 1 1"));
    for (uint32_t i = 0; i < count; i++) {
        buf_char(&line, ' ');
        buf_printf(&line, format, i);
    }
    assert_false(line.failed);
    return line;
}

static void a_million_tags_are_counted_and_refused(void **state) {
    struct buf line = many_tags(1000000, "k%u=v");
    const char *text = outcome_of(buf_view(&line));
    const char *expected = "illegal argument: Too many tags: 1000000 maximum allowed: 32, tags: "
                           "{k0=v, k1=v, k2=v,";
    assert_int_equal(strncmp(text, expected, strlen(expected)), 0);
    buf_fini(&line);
}

static void one_tag_a_million_times_is_one_tag(void **state) {
    struct buf line = {0};
    buf_str(&line, STR("m 1 1"));
    for (int i = 0; i < 1000000; i++)
        buf_str(&line, STR(" k=v"));
    assert_string_equal(outcome_of(buf_view(&line)), "m 1000 i1 {k=v}");
    buf_fini(&line);
}

static void a_bad_tag_is_told_before_too_many_tags(void **state) {
    struct buf line = many_tags(100, "k%u=v");
    buf_str(&line, STR(" oops"));
    assert_string_equal(outcome_of(buf_view(&line)), "illegal argument: invalid tag: oops");
    buf_fini(&line);
}

static void a_line_of_a_megabyte_is_read_in_linear_time(void **state) {
    struct buf line = {0};
    buf_str(&line, STR("m 1 1 k="));
    for (int i = 0; i < LIMIT_PUT_LINE_BYTES; i++)
        buf_char(&line, 'x');
    const char *text = outcome_of(buf_view(&line));
    const char *expected = "illegal argument: Invalid tag value with key [k]: 1048576 bytes long, "
                           "maximum 4096";
    assert_int_equal(strncmp(text, expected, strlen(expected)), 0);
    buf_fini(&line);
    struct buf spaces = {0};
    buf_str(&spaces, STR("m 1 1"));
    for (int i = 0; i < LIMIT_PUT_LINE_BYTES; i++)
        buf_char(&spaces, ' ');
    assert_string_equal(outcome_of(buf_view(&spaces)),
                        "illegal argument: Need at least one tag (metric=m, tags={})");
    buf_fini(&spaces);
}

static void expect_time(const char *text, int64_t expected, const char *message) {
    int64_t time_ms = 0;
    struct err err = {0};
    enum rc rc = put_line_time(str_of(text), &time_ms, &err);
    assert_int_equal(rc, *message == '\0' ? RC_OK : RC_INVALID);
    assert_string_equal(err.message, message);
    assert_true(time_ms == expected);
}

static void a_timestamp_is_seconds_or_milliseconds_by_its_size(void **state) {
    expect_time("1356998400", INT64_C(1356998400000), "");
    expect_time("1356998400500", INT64_C(1356998400500), "");
    expect_time("1356998400.500", INT64_C(1356998400500), "");
    expect_time("0", 0, "illegal argument: invalid timestamp: 0");
    expect_time("x", 0, "invalid value: Invalid character 'x' in x");
    expect_time("99999999999999", 0, "illegal argument: bad timestamp=99999999999999");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_lines_are_points),
        cmocka_unit_test(too_few_words_are_counted),
        cmocka_unit_test(words_are_split_at_single_spaces),
        cmocka_unit_test(bad_timestamps_are_told),
        cmocka_unit_test(timestamps_out_of_range_are_told_with_the_stored_value),
        cmocka_unit_test(bad_values_are_told),
        cmocka_unit_test(bad_tags_are_told),
        cmocka_unit_test(the_checks_come_in_opentsdbs_order),
        cmocka_unit_test(the_metric_is_known_even_if_the_rest_is_bad),
        cmocka_unit_test(a_million_tags_are_counted_and_refused),
        cmocka_unit_test(one_tag_a_million_times_is_one_tag),
        cmocka_unit_test(a_bad_tag_is_told_before_too_many_tags),
        cmocka_unit_test(a_line_of_a_megabyte_is_read_in_linear_time),
        cmocka_unit_test(a_timestamp_is_seconds_or_milliseconds_by_its_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
