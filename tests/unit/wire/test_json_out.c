#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>

#include "wire/json_out.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Ends, compares and frees what was written. */
static void expect_text(struct buf *out, const char *expected) {
    buf_char(out, '\0');
    assert_string_equal(out->p, expected);
    buf_fini(out);
}

static void commas_stand_between_elements_and_nowhere_else(void **state) {
    struct buf out = {0};
    struct json_out json = {.out = &out};
    json_out_array(&json);
    json_out_object(&json);
    json_out_object_end(&json);
    json_out_object(&json);
    json_out_key(&json, STR("a"));
    json_out_array(&json);
    json_out_array_end(&json);
    json_out_key(&json, STR("b"));
    json_out_int(&json, -1);
    json_out_key(&json, STR("c"));
    json_out_object(&json);
    json_out_key(&json, STR("x"));
    json_out_null(&json);
    json_out_object_end(&json);
    json_out_key(&json, STR("d"));
    json_out_array(&json);
    json_out_bool(&json, true);
    json_out_bool(&json, false);
    json_out_raw(&json, STR("[1]"));
    json_out_string(&json, STR(""));
    json_out_array_end(&json);
    json_out_object_end(&json);
    json_out_int(&json, 2);
    json_out_array_end(&json);
    expect_text(&out, "[{},{\"a\":[],\"b\":-1,\"c\":{\"x\":null},\"d\":[true,false,[1],\"\"]},2]");
}

static void doubles_that_are_not_finite_are_strings(void **state) {
    struct buf out = {0};
    struct json_out json = {.out = &out};
    json_out_array(&json);
    json_out_double(&json, 3);
    json_out_double(&json, 1e10);
    json_out_double(&json, NAN);
    json_out_double(&json, INFINITY);
    json_out_double(&json, -INFINITY);
    json_out_array_end(&json);
    expect_text(&out, "[3.0,1.0E10,\"NaN\",\"Infinity\",\"-Infinity\"]");
}

static void expect_written(str text, const char *expected) {
    struct buf out = {0};
    struct json_out json = {.out = &out};
    json_out_string(&json, text);
    expect_text(&out, expected);
}

static void strings_are_escaped_and_made_utf8(void **state) {
    expect_written(STR("sys.cpu/0"), "\"sys.cpu/0\"");
    expect_written(STR("a\"b\\c"), "\"a\\\"b\\\\c\"");
    expect_written(STR("\b\f\n\r\t\x1f\x7f"), "\"\\b\\f\\n\\r\\t\\u001F\x7f\"");
    expect_written(STR("\0x"), "\"\\u0000x\"");
    expect_written(STR("caf\u00e9 \u20ac \U0001f600"), "\"caf\u00e9 \u20ac \U0001f600\"");
    expect_written(STR("\xff\xe1\x80|\xc3"), "\"\ufffd\ufffd|\ufffd\"");
    expect_written(STR("0123456789abcdef\"0123456789abcdef\n0123456789abcde\xc3\xa9"),
                   "\"0123456789abcdef\\\"0123456789abcdef\\n0123456789abcde\xc3\xa9\"");
}

static void any_character_in_any_place_is_read_back_by_jansson(void **state) {
    for (int c = 0; c < 128; c++) {
        for (size_t at = 0; at < 40; at++) {
            char text[40];
            memset(text, 'x', sizeof(text));
            text[at] = (char)c;
            struct buf out = {0};
            struct json_out json = {.out = &out};
            json_out_string(&json, (str){text, sizeof(text)});
            json_t *back = json_loadb(out.p, out.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
            assert_non_null(back);
            assert_int_equal(json_string_length(back), sizeof(text));
            assert_memory_equal(json_string_value(back), text, sizeof(text));
            json_decref(back);
            buf_fini(&out);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commas_stand_between_elements_and_nowhere_else),
        cmocka_unit_test(doubles_that_are_not_finite_are_strings),
        cmocka_unit_test(strings_are_escaped_and_made_utf8),
        cmocka_unit_test(any_character_in_any_place_is_read_back_by_jansson),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
