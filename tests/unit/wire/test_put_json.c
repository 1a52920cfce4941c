#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>

#include "base/buf.h"
#include "wire/put_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_point(struct buf *out, const struct put_json_point *point, struct arena *arena) {
    if (point->error != NULL) {
        buf_printf(out, "<%s>", point->error);
        return;
    }
    struct series_key key;
    struct err err = {0};
    char tags[512];
    if (put_json_key(point, arena, &key, &err) < 0) {
        buf_printf(out, "<%s>", err.message);
        return;
    }
    buf_printf(out, "%.*s %lld ", STR_ARG(key.metric), (long long)point->time_ms);
    if (point->value.is_float)
        buf_printf(out, "f%g ", points_double_of(point->value.bits));
    else
        buf_printf(out, "i%lld ", (long long)point->value.bits);
    buf_str(out, str_of(series_key_tags_text(&key, tags, sizeof(tags))));
}

/* What a body becomes, in one text: its points or their <errors> with "; " between, and behind
   them the body's own !error (details) if there is one. */
static const char *outcome_of(str body) {
    static struct buf out;
    buf_reset(&out);
    struct arena arena;
    arena_init(&arena, NULL);
    struct put_json parser;
    put_json_init(&parser, body, NULL, &arena);
    struct put_json_point point;
    struct err err = {0};
    int rc;
    while ((rc = put_json_next(&parser, &point, &err)) > 0) {
        assert_true(point.raw.p >= body.p && point.raw.n <= body.n);
        if (out.n > 0)
            buf_str(&out, STR("; "));
        add_point(&out, &point, &arena);
    }
    if (rc < 0) {
        assert_int_equal(rc, RC_INVALID);
        assert_int_equal(err_http_status(&err), 400);
        buf_printf(&out, "!%s", err.message);
        if (err.details[0] != '\0')
            buf_printf(&out, " (%s)", err.details);
    }
    arena_fini(&arena);
    buf_char(&out, '\0');
    assert_false(out.failed);
    return out.p;
}

/* On a copy of exactly the body's size, so that reading past it is seen by ASan. */
static const char *outcome_of_copy(const char *body, size_t n) {
    char *copy = malloc(n + (n == 0));
    assert_non_null(copy);
    memcpy(copy, body, n);
    const char *text = outcome_of((str){copy, n});
    free(copy);
    return text;
}

static void expect_outcome(const char *body, const char *expected) {
    assert_string_equal(outcome_of_copy(body, strlen(body)), expected);
}

/* A point whose value, or whose other members, are given. */
#define VALUE(value)                                                                               \
    "{\"metric\":\"m\",\"timestamp\":1365465600,\"value\":" value ",\"tags\":{\"h\":\"a\"}}"
#define POINT(members)                                                                             \
    "{\"metric\":\"m\",\"timestamp\":1,\"value\":42,\"tags\":{\"h\":\"a\"}" members "}"
#define BROKEN "!Unable to parse the given JSON "

static void good_points_are_read(void **state) {
    expect_outcome(VALUE("42"), "m 1365465600000 i42 {h=a}");
    expect_outcome(VALUE("\"4.2\""), "m 1365465600000 f4.2 {h=a}");
    expect_outcome(VALUE("4.2"), "m 1365465600000 f4.2 {h=a}");
    expect_outcome(VALUE("42.0"), "m 1365465600000 f42 {h=a}");
    expect_outcome(VALUE("4e1"), "m 1365465600000 f40 {h=a}");
    expect_outcome(VALUE("-5"), "m 1365465600000 i-5 {h=a}");
    expect_outcome(VALUE("\"+5\""), "m 1365465600000 i5 {h=a}");
    expect_outcome(VALUE("\"4\\u0032\""), "m 1365465600000 i42 {h=a}");
    expect_outcome("[" VALUE("1") "," VALUE("2") "]",
                   "m 1365465600000 i1 {h=a}; m 1365465600000 i2 {h=a}");
    expect_outcome(" \r\n\t[ " VALUE("1") " ,\n" VALUE("2") " ] \n",
                   "m 1365465600000 i1 {h=a}; m 1365465600000 i2 {h=a}");
}

static void members_come_in_any_order_with_any_blanks_and_escapes(void **state) {
    expect_outcome(
        "{ \"tags\" : { \"h\" : \"a\" , \"i\":\"b\" } ,\n\t\"value\" : 1 , \"metric\":\"m\", "
        "\"timestamp\" : 5 }",
        "m 5000 i1 {h=a, i=b}");
    expect_outcome("{\"\\u006detric\":\"caf\\u00e9\\/\\\"\",\"timestamp\":5,\"value\":1,"
                   "\"tags\":{\"\\u0068\":\"a\\tb\"}}",
                   "caf\u00e9/\" 5000 i1 {h=a\tb}");
    expect_outcome("{\"metric\":\"\\ud83d\\ude00\\ud83d!\\ude00\",\"timestamp\":5,\"value\":1,"
                   "\"tags\":{\"h\":\"a\"}}",
                   "\U0001f600\ufffd!\ufffd 5000 i1 {h=a}");
}

static void unknown_members_of_any_shape_are_skipped(void **state) {
    expect_outcome(POINT(",\"tsuid\":\"x\",\"a\":[1,{\"b\":[]},{},[[null,true,false]],-0.5e+3],"
                         "\"metrics\":{\"metric\":\"no\"}"),
                   "m 1000 i42 {h=a}");
    expect_outcome("{\"\":0,\"a\":{},\"b\":[ ]}", "<Metric name was empty>");
}

static void of_a_member_given_twice_the_last_counts(void **state) {
    expect_outcome(POINT(",\"value\":7,\"metric\":\"n\",\"tags\":{\"x\":\"1\",\"x\":\"2\"}"),
                   "n 1000 i7 {x=2}");
    expect_outcome(POINT(",\"tags\":null"), "<Missing tags>");
    expect_outcome(POINT(",\"timestamp\":null"), "<Invalid timestamp>");
}

static void scalars_are_coerced_as_jackson_does(void **state) {
    expect_outcome("{\"metric\":12,\"timestamp\":\"1365465600123\",\"value\":1,"
                   "\"tags\":{\"a\":1.50,\"b\":true}}",
                   "12 1365465600123 i1 {a=1.50, b=true}");
    expect_outcome(
        "{\"metric\":\"m\",\"timestamp\":1365465600.9,\"value\":1,\"tags\":{\"a\":\"b\"}}",
        "m 1365465600000 i1 {a=b}");
    expect_outcome("{\"metric\":\"m\",\"timestamp\":1.3654656e9,\"value\":1,\"tags\":{\"a\":null}}",
                   "m 1365465600000 i1 {a=null}");
    expect_outcome("{\"metric\":\"m\",\"timestamp\":\" 12 \",\"value\":1,\"tags\":{\"a\":\"b\"}}",
                   "m 12000 i1 {a=b}");
    expect_outcome(VALUE("true"), "<Unable to parse value to a number>");
}

static void what_is_wrong_with_a_point_is_told(void **state) {
    expect_outcome(VALUE("\"NaN\""), "<Unable to parse value to a number>");
    expect_outcome(VALUE("\"notanum\""), "<Unable to parse value to a number>");
    expect_outcome(VALUE("\"42bucks\""), "<Unable to parse value to a number>");
    expect_outcome(VALUE("99999999999999999999"), "<Unable to parse value to a number>");
    expect_outcome(VALUE("\"\""), "<Empty value>");
    expect_outcome(VALUE("null"), "<Empty value>");
    expect_outcome(VALUE("1e999"),
                   "<value is NaN or Infinite: Infinity for metric=m timestamp=1365465600>");
    expect_outcome("{\"metric\":\"\",\"timestamp\":1,\"value\":1,\"tags\":{\"a\":\"b\"}}",
                   "<Metric name was empty>");
    expect_outcome("{\"metric\":null}", "<Metric name was empty>");
    expect_outcome("{}", "<Metric name was empty>");
    expect_outcome("{\"metric\":\"m\"}", "<Invalid timestamp>");
    expect_outcome("{\"metric\":\"m\",\"timestamp\":0}", "<Invalid timestamp>");
    expect_outcome("{\"metric\":\"m\",\"timestamp\":-1}", "<Invalid timestamp>");
    expect_outcome("{\"metric\":\"m\",\"timestamp\":\"\"}", "<Invalid timestamp>");
    expect_outcome("{\"metric\":\"m\",\"timestamp\":0.9}", "<Invalid timestamp>");
    expect_outcome("{\"metric\":\"m\",\"timestamp\":1}", "<Empty value>");
    expect_outcome("{\"metric\":\"m\",\"timestamp\":1,\"value\":\"x\"}", "<Missing tags>");
    expect_outcome("{\"metric\":\"m\",\"timestamp\":1,\"value\":\"x\",\"tags\":{ }}",
                   "<Missing tags>");
    expect_outcome(
        "{\"metric\":\"m\",\"timestamp\":99999999999999,\"value\":1,\"tags\":{\"a\":\"b\"}}",
        "<bad timestamp=99999999999999 when trying to add value=[1]/0 to metric=m, "
        "tags={a=b}>");
    expect_outcome("[null," VALUE("1") ",null]",
                   "<Unexpected null datapoint encountered in set.>; m 1365465600000 i1 {h=a}; "
                   "<Unexpected null datapoint encountered in set.>");
}

static void spans_of_the_body_are_kept_for_details(void **state) {
    static const char body[] =
        "[ {\"value\":\"x\",\"tags\": {\"a\":\"b\"} ,\"timestamp\":\"7\",\"metric\":\"m\" } ]";
    struct arena arena;
    arena_init(&arena, NULL);
    struct put_json parser;
    put_json_init(&parser, STR(body), NULL, &arena);
    struct put_json_point point;
    assert_int_equal(put_json_next(&parser, &point, NULL), 1);
    assert_true(str_eq(point.raw, (str){body + 2, sizeof(body) - 1 - 4}));
    assert_true(str_eq(point.metric, STR("m")));
    assert_true(str_eq(point.value_text, STR("x")));
    assert_true(str_eq(point.tags_raw, STR("{\"a\":\"b\"}")));
    assert_true(str_eq(point.timestamp_text, STR("7")));
    assert_int_equal(point.timestamp, 7);
    assert_int_equal(put_json_next(&parser, &point, NULL), 0);
    assert_int_equal(put_json_next(&parser, &point, NULL), 0);
    assert_int_equal(arena.total, 0);
    arena_fini(&arena);
}

static void bodies_that_are_none_are_refused(void **state) {
    expect_outcome("", "!Missing request content");
    expect_outcome(" \n", "!Missing request content");
    expect_outcome("hello", "!The JSON must start as an object or an array");
    expect_outcome("42", "!The JSON must start as an object or an array");
    expect_outcome("\xef\xbb\xbf{}", "!The JSON must start as an object or an array");
    expect_outcome("[]", "!No datapoints found in content");
    expect_outcome(" [ ] ", "!No datapoints found in content");
    expect_outcome("[]x", BROKEN "(something behind the end at byte 2)");
}

static void malformed_json_is_refused_with_its_place(void **state) {
    expect_outcome("{\"metric\":", BROKEN "(unexpected end at byte 10)");
    expect_outcome("{\"metric\"}", BROKEN "(expected ':' at byte 9)");
    expect_outcome("{metric:1}", BROKEN "(expected a string at byte 1)");
    expect_outcome("{'metric':1}", BROKEN "(expected a string at byte 1)");
    expect_outcome("{\"a\":1,}", BROKEN "(expected a string at byte 7)");
    expect_outcome("{,}", BROKEN "(expected a string at byte 1)");
    expect_outcome("[1]", BROKEN "(expected an object at byte 1)");
    expect_outcome("[[]]", BROKEN "(expected an object at byte 1)");
    expect_outcome("[{},]", "<Metric name was empty>" BROKEN "(expected an object at byte 4)");
    expect_outcome("[{}", "<Metric name was empty>" BROKEN "(unexpected end at byte 3)");
    expect_outcome("[{}}", "<Metric name was empty>" BROKEN "(expected ',' or ']' at byte 3)");
    expect_outcome("[{} {}]", "<Metric name was empty>" BROKEN "(expected ',' or ']' at byte 4)");
    expect_outcome("{}{}", "<Metric name was empty>" BROKEN "(something behind the end at byte 2)");
    expect_outcome("{\"a\":nul}", BROKEN "(expected a value at byte 5)");
    expect_outcome("{\"a\":NaN}", BROKEN "(expected a value at byte 5)");
    expect_outcome("{\"a\":\"\n\"}", BROKEN "(control character in a string at byte 6)");
    expect_outcome("{\"a\":\"\\x\"}", BROKEN "(unknown escape at byte 6)");
    expect_outcome("{\"a\":\"\\u12g4\"}", BROKEN "(\\u without four hexadecimal digits at byte 6)");
    expect_outcome("{\"a\":\"\xff\"}", BROKEN "(bytes that are not UTF-8 at byte 6)");
    expect_outcome("{\"a\":\"\xed\xa0\x80\"}", BROKEN "(bytes that are not UTF-8 at byte 6)");
    expect_outcome("{\"a\":\"", BROKEN "(unterminated string at byte 6)");
    expect_outcome("{\"a\":1}\v",
                   "<Metric name was empty>" BROKEN "(something behind the end at byte 7)");
}

static void numbers_are_strict(void **state) {
    expect_outcome(VALUE("012"), BROKEN "(leading zero at byte 45)");
    expect_outcome(VALUE("-012"), BROKEN "(leading zero at byte 46)");
    expect_outcome(VALUE("+5"), BROKEN "(expected a value at byte 45)");
    expect_outcome(VALUE(".5"), BROKEN "(expected a value at byte 45)");
    expect_outcome(VALUE("5."), BROKEN "(expected a digit at byte 47)");
    expect_outcome(VALUE("-"), BROKEN "(expected a digit at byte 46)");
    expect_outcome(VALUE("5e"), BROKEN "(expected a digit at byte 47)");
    expect_outcome(VALUE("5e+"), BROKEN "(expected a digit at byte 48)");
    expect_outcome(VALUE("0x10"), BROKEN "(expected ',' or '}' at byte 46)");
    expect_outcome(VALUE("Infinity"), BROKEN "(expected a value at byte 45)");
    expect_outcome(VALUE("0"), "m 1365465600000 i0 {h=a}");
    expect_outcome(VALUE("-0"), "m 1365465600000 i0 {h=a}");
    expect_outcome(VALUE("0.0"), "m 1365465600000 f0 {h=a}");
}

static void members_of_the_wrong_shape_fail_the_body(void **state) {
    expect_outcome("{\"metric\":[]}", BROKEN "(expected a string or a number at byte 10)");
    expect_outcome(VALUE("{}"), BROKEN "(expected a string or a number at byte 45)");
    expect_outcome("{\"timestamp\":\"x\"}", BROKEN "(timestamp is not an integer at byte 16)");
    expect_outcome("{\"timestamp\":true}", BROKEN "(expected a digit at byte 13)");
    expect_outcome("{\"timestamp\":9223372036854775808}",
                   BROKEN "(timestamp out of range at byte 32)");
    expect_outcome("{\"timestamp\":1e300}", BROKEN "(timestamp out of range at byte 18)");
    expect_outcome("{\"tags\":[]}", BROKEN "(expected an object of tags at byte 8)");
    expect_outcome("{\"tags\":\"\"}", BROKEN "(expected an object of tags at byte 8)");
    expect_outcome("{\"tags\":{\"a\":{}}}", BROKEN "(expected a value at byte 13)");
    expect_outcome("{\"tags\":{\"a\":\"b\" \"c\":\"d\"}}",
                   BROKEN "(expected ',' or '}' at byte 17)");
}

static void repeated_tags_are_only_taken_whole(void **state) {
    expect_outcome(
        "[" VALUE(
            "1") ",{\"metric\":\"m\",\"timestamp\":1,\"value\":1,\"tags\":"
                 "{\"h\":\"a\"},\"x\":1},{\"metric\":\"m\",\"timestamp\":1,\"value\":1,\"tags\":"
                 "{\"h\":\"ab\"}}]",
        "m 1365465600000 i1 {h=a}; m 1000 i1 {h=a}; m 1000 i1 {h=ab}");
    expect_outcome("[" VALUE("1") ",{\"tags\":{\"h\":\"a\"}1}]",
                   "m 1365465600000 i1 {h=a}" BROKEN "(expected ',' or '}' at byte 83)");
}

static struct buf nested(unsigned depth) {
    struct buf body = {0};
    buf_str(&body, STR("[{\"a\":"));
    for (unsigned i = 0; i < depth; i++)
        buf_str(&body, i % 2 == 0 ? STR("[") : STR("{\"k\":"));
    buf_char(&body, '1');
    for (unsigned i = depth; i > 0; i--)
        buf_char(&body, i % 2 == 0 ? '}' : ']');
    buf_str(&body, STR("}]"));
    assert_false(body.failed);
    return body;
}

static void nesting_has_a_limit(void **state) {
    struct buf body = nested(LIMIT_JSON_DEPTH - 2);
    assert_string_equal(outcome_of(buf_view(&body)), "<Metric name was empty>");
    buf_fini(&body);
    body = nested(LIMIT_JSON_DEPTH - 1);
    assert_non_null(strstr(outcome_of(buf_view(&body)), "(nested too deeply at byte "));
    buf_fini(&body);
    for (int i = 0; i < 1 << 20; i++)
        buf_char(&body, '[');
    assert_string_equal(outcome_of(buf_view(&body)), BROKEN "(expected an object at byte 1)");
    buf_fini(&body);
}

static void a_million_tags_are_counted_and_refused(void **state) {
    struct buf body = {0};
    buf_str(&body, STR("{\"metric\":\"m\",\"timestamp\":1,\"value\":1,\"tags\":{\"k0\":\"v\""));
    for (int i = 1; i < 1000000; i++)
        buf_printf(&body, ",\"k%d\":\"v\"", i);
    buf_str(&body, STR("}}"));
    const char *expected = "<Too many tags: 1000000 maximum allowed: 32, tags: {k0=v, k1=v,";
    assert_int_equal(strncmp(outcome_of(buf_view(&body)), expected, strlen(expected)), 0);
    buf_fini(&body);
}

static void an_arena_over_budget_is_an_error(void **state) {
    struct budget budget;
    budget_init(&budget, 100, NULL);
    struct arena arena;
    arena_init(&arena, &budget);
    struct put_json parser;
    put_json_init(&parser, STR("{\"metric\":\"a\\n\"}"), NULL, &arena);
    struct put_json_point point;
    struct err err;
    assert_int_equal(put_json_next(&parser, &point, &err), RC_NOMEM);
    arena_fini(&arena);
}

/* ---- against jansson, a strict reader ---- */

static const char sample[] =
    "[{\"metric\":\"sys.cpu\",\"timestamp\":1365465600,\"value\":-42.5e1,\"tags\":{\"h\":"
    "\"a\\u00e9b\","
    "\"n\":12}}, {\"tags\" : "
    "{\"x\":\"caf\xc3\xa9\"},\"x\":[true,false,null,{\"y\":[]}],\n\"value\":\"7\","
    "\"timestamp\":\"5\",\"metric\":\"m\\/\"}]";

/* True if the body is well-formed JSON that is an object or an array, as far as jansson can tell.
 */
static bool jansson_accepts(const char *body, size_t n) {
    json_t *value = json_loadb(body, n, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
    json_decref(value);
    return value != NULL;
}

/* Jansson refuses what is well-formed but beyond its types: half surrogate pairs, huge reals. */
static bool beyond_jansson(const char *body, size_t n) {
    str text = {body, n};
    for (size_t i = 0; i + 2 < text.n; i++)
        if (text.p[i] == '\\' && text.p[i + 1] == 'u' && (text.p[i + 2] | 0x20) == 'd')
            return true;
    return false;
}

static bool is_malformed(const char *outcome) {
    return strstr(outcome, "!Unable to parse") != NULL ||
           strstr(outcome, "!The JSON must") != NULL || strstr(outcome, "!Missing request") != NULL;
}

/* Well-formed bodies are refused for the shape of a member only; then the details say so. */
static bool is_wrong_shape(const char *outcome) {
    static const char *const shapes[] = {"expected an object at", "expected an object of tags",
                                         "expected a string or a number", "timestamp ",
                                         "must start as"};
    for (size_t i = 0; i < COUNT_OF(shapes); i++)
        if (strstr(outcome, shapes[i]) != NULL)
            return true;
    return false;
}

static void expect_agreement(const char *body, size_t n) {
    const char *outcome = outcome_of_copy(body, n);
    bool ours = !is_malformed(outcome);
    if (memchr(body, '\0', n) != NULL) { /* which jansson loses behind a number */
        assert_false(ours);
        return;
    }
    bool theirs = jansson_accepts(body, n);
    if (ours && !theirs && !beyond_jansson(body, n))
        fail_msg("accepted, not by jansson: %.*s", (int)n, body);
    if (!ours && theirs && !is_wrong_shape(outcome))
        fail_msg("refused (%s), not by jansson: %.*s", outcome, (int)n, body);
}

static void every_beginning_of_a_body_is_refused(void **state) {
    size_t n = sizeof(sample) - 1;
    assert_string_equal(outcome_of_copy(sample, n),
                        "sys.cpu 1365465600000 f-425 {h=a\u00e9b, n=12}; m/ 5000 i7 {x=caf\u00e9}");
    for (size_t cut = 0; cut < n; cut++) {
        assert_true(is_malformed(outcome_of_copy(sample, cut)));
        expect_agreement(sample, cut);
    }
}

static void every_change_of_one_byte_is_judged_as_by_a_strict_reader(void **state) {
    char body[sizeof(sample)];
    size_t n = sizeof(sample) - 1;
    for (size_t at = 0; at < n; at++) {
        for (int byte = 0; byte < 256; byte++) {
            memcpy(body, sample, sizeof(sample));
            body[at] = (char)byte;
            expect_agreement(body, n);
        }
    }
}

static void every_byte_less_or_twice_is_judged_as_by_a_strict_reader(void **state) {
    char body[sizeof(sample) + 1];
    size_t n = sizeof(sample) - 1;
    for (size_t at = 0; at < n; at++) {
        memcpy(body, sample, at);
        memcpy(body + at, sample + at + 1, n - at - 1);
        expect_agreement(body, n - 1);
        memcpy(body, sample, at + 1);
        memcpy(body + at + 1, sample + at, n - at);
        expect_agreement(body, n + 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_points_are_read),
        cmocka_unit_test(members_come_in_any_order_with_any_blanks_and_escapes),
        cmocka_unit_test(unknown_members_of_any_shape_are_skipped),
        cmocka_unit_test(of_a_member_given_twice_the_last_counts),
        cmocka_unit_test(scalars_are_coerced_as_jackson_does),
        cmocka_unit_test(what_is_wrong_with_a_point_is_told),
        cmocka_unit_test(spans_of_the_body_are_kept_for_details),
        cmocka_unit_test(bodies_that_are_none_are_refused),
        cmocka_unit_test(malformed_json_is_refused_with_its_place),
        cmocka_unit_test(numbers_are_strict),
        cmocka_unit_test(members_of_the_wrong_shape_fail_the_body),
        cmocka_unit_test(repeated_tags_are_only_taken_whole),
        cmocka_unit_test(nesting_has_a_limit),
        cmocka_unit_test(a_million_tags_are_counted_and_refused),
        cmocka_unit_test(an_arena_over_budget_is_an_error),
        cmocka_unit_test(every_beginning_of_a_body_is_refused),
        cmocka_unit_test(every_change_of_one_byte_is_judged_as_by_a_strict_reader),
        cmocka_unit_test(every_byte_less_or_twice_is_judged_as_by_a_strict_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
