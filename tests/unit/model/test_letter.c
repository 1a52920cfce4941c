#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "model/letter.h"
#include "model/utf8.h"

static bool is_surrogate(uint32_t c) {
    return c >= 0xd800 && c <= 0xdfff;
}

/* PCRE2 brings its own copy of the Unicode tables, perhaps of a later version: letters are added
   over time and never taken away. */
static void every_letter_is_one_to_pcre2_and_old_ones_are_all_there(void **state) {
    int error;
    PCRE2_SIZE offset;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR) "^\\p{L}$", 7, PCRE2_UTF, &error, &offset, NULL);
    assert_non_null(code);
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    uint32_t letters = 0;
    for (uint32_t c = 0x80; c <= 0xffff; c++) {
        if (is_surrogate(c)) {
            assert_false(letter_is(c));
            continue;
        }
        char text[UTF8_BYTES_MAX];
        size_t n = utf8_encode(text, c);
        bool theirs = pcre2_match(code, (PCRE2_SPTR)text, n, 0, 0, match, NULL) > 0;
        letters += letter_is(c);
        if (letter_is(c))
            assert_true(theirs);
        else if (c < 0x870) /* blocks that are full since long */
            assert_false(theirs);
    }
    assert_int_equal(letters, 48913);
    pcre2_match_data_free(match);
    pcre2_code_free(code);
}

static void outside_the_basic_plane_and_in_ascii_nothing_is_a_letter_here(void **state) {
    for (uint32_t c = 0; c < 0x80; c++)
        assert_false(letter_is(c));
    assert_false(letter_is(0x10000));
    assert_false(letter_is(0x1d400));
    assert_false(letter_is(0x10ffff));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_letter_is_one_to_pcre2_and_old_ones_are_all_there),
        cmocka_unit_test(outside_the_basic_plane_and_in_ascii_nothing_is_a_letter_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
