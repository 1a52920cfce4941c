#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kube/yaml.h"

static void expect_scalar(str value, const char *expected) {
    struct buf out = {0};
    struct yaml yaml = {.out = &out};
    yaml_text(&yaml, "k", value);
    buf_char(&out, '\0');
    assert_string_equal(out.p, expected);
    buf_fini(&out);
}

static void texts_that_could_be_misread_are_quoted(void **state) {
    expect_scalar(STR("plain-text_1.2/x"), "k: plain-text_1.2/x\n");
    static const char *const quoted[] = {
        "yes", "No",  "ON",   "off",  "true", "False", "null", "y",         "n",
        "1",   "1e3", "0x1f", "1.5",  "20Gi", "-x",    "~",    "",          " x",
        "a b", "a:b", "a#b",  ".inf", ".NaN", "*a",    "&a",   "!a",        "%a",
        "@a",  "[a]", "{a}",  "a,b",  "1:30", "=",     "<<",   "2001-01-01"};
    for (size_t i = 0; i < COUNT_OF(quoted); i++) {
        struct buf expected = {0};
        buf_printf(&expected, "k: \"%s\"\n", quoted[i]);
        buf_char(&expected, '\0');
        expect_scalar(str_of(quoted[i]), expected.p);
        buf_fini(&expected);
    }
}

static void quotes_and_control_characters_are_escaped(void **state) {
    expect_scalar(STR("a\"b\\c\nd\x7f"), "k: \"a\\\"b\\\\c\\x0ad\\x7f\"\n");
    expect_scalar(STR("\xc3\xa4"), "k: \"\xc3\xa4\"\n");
}

static void maps_and_lists_are_indented(void **state) {
    struct buf out = {0};
    struct yaml yaml = {.out = &out};
    struct yaml *y = &yaml;
    yaml_document(y);
    yaml_open(y, "a");
    yaml_item(y);
    yaml_comment(y, "first\nitem");
    yaml_open(y, "b");
    yaml_number(y, "c", 1);
    yaml_close(y);
    yaml_truth(y, "d", true);
    yaml_close(y);
    yaml_item(y);
    yaml_empty(y, "e");
    yaml_empty_list(y, "f");
    yaml_list(y, "g", STR("x"), STR(""));
    yaml_list(y, "h", STR("x"), STR("y"));
    yaml_close(y);
    yaml_close(y);
    yaml_text(y, "i", STR("x"));
    buf_char(&out, '\0');
    assert_string_equal(out.p, "---\n"
                               "a:\n"
                               "  # first?item\n"
                               "  - b:\n"
                               "      c: 1\n"
                               "    d: true\n"
                               "  - e: {}\n"
                               "    f: []\n"
                               "    g: [x]\n"
                               "    h: [x, \"y\"]\n"
                               "i: x\n");
    buf_fini(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_that_could_be_misread_are_quoted),
        cmocka_unit_test(quotes_and_control_characters_are_escaped),
        cmocka_unit_test(maps_and_lists_are_indented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
