#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/utf8.h"

#include <string.h>

static void every_scalar_value_survives(void **state) {
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        if (c >= 0xd800 && c <= 0xdfff)
            continue;
        char text[UTF8_BYTES_MAX];
        size_t n = utf8_encode(text, c);
        uint32_t back = UINT32_MAX;
        assert_int_equal(utf8_decode(text, n, &back), n);
        assert_int_equal(back, c);
        for (size_t cut = 0; cut < n; cut++)
            assert_int_equal(utf8_decode(text, cut, &back), 0);
    }
}

/* The naive rule: decode bits, then look whether the canonical encoding gives the same bytes. */
static size_t naive_decode(const uint8_t *b, uint32_t *c) {
    size_t n = b[0] < 0x80 ? 1 : b[0] < 0xc0 ? 0 : b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;
    if (n == 0 || b[0] >= 0xf8)
        return 0;
    *c = n == 1 ? b[0] : b[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((b[i] & 0xc0) != 0x80)
            return 0;
        *c = *c << 6 | (b[i] & 0x3f);
    }
    char again[UTF8_BYTES_MAX];
    if (*c > 0x10ffff || (*c >= 0xd800 && *c <= 0xdfff) || utf8_encode(again, *c) != n)
        return 0;
    return n;
}

static void decoding_agrees_with_a_naive_decoder_on_all_three_byte_texts(void **state) {
    for (uint32_t word = 0; word < 1u << 24; word++) {
        uint8_t b[4] = {(uint8_t)(word >> 16), (uint8_t)(word >> 8), (uint8_t)word, 0x80};
        uint32_t expected = 0, got = 0;
        size_t n = naive_decode(b, &expected);
        if (utf8_decode((char *)b, sizeof(b), &got) != n || (n > 0 && got != expected))
            fail_msg("%02x %02x %02x", b[0], b[1], b[2]);
    }
}

static void bad_bytes_are_measured_as_unicode_recommends(void **state) {
    assert_int_equal(utf8_bad_length("\x80\x80", 2), 1);
    assert_int_equal(utf8_bad_length("\xc0\xaf", 2), 1);
    assert_int_equal(utf8_bad_length("\xe1\x80\xe2", 3), 2);
    assert_int_equal(utf8_bad_length("\xf0\x91\x92\xf1", 4), 3);
    assert_int_equal(utf8_bad_length("\xed\xa0\x80", 3), 1);
    assert_int_equal(utf8_bad_length("\xf4", 1), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_scalar_value_survives),
        cmocka_unit_test(decoding_agrees_with_a_naive_decoder_on_all_three_byte_texts),
        cmocka_unit_test(bad_bytes_are_measured_as_unicode_recommends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
