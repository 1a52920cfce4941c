#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "codec/entropy.h"

enum { N = LIMIT_VECTOR_POINTS };

static uint64_t seed = 3935559000370003845u;

static uint64_t random_below(uint64_t n) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed * 2685821657736338717u >> 11) % n;
}

/* A symbol as often as the book expects it. */
static uint8_t draw(uint32_t book) {
    uint32_t at = (uint32_t)random_below(ENTROPY_STATES);
    uint8_t s = 0;
    while (at >= entropy_books[book][s])
        at -= entropy_books[book][s++];
    return s;
}

static const uint32_t counts[] = {16, 17, 19, 20, 100, 360, 511, 512, 513, 519, 1000, 1023, 1024};

static void every_book_fills_its_states(void **state) {
    for (uint32_t book = 0; book < ENTROPY_BOOKS; book++) {
        uint32_t total = 0;
        for (uint32_t s = 0; s < ENTROPY_SYMBOLS; s++)
            total += entropy_books[book][s];
        assert_int_equal(total, ENTROPY_STATES);
    }
}

static void symbols_come_back_and_no_other_length_of_the_stream_decodes(void **state) {
    static uint8_t symbols[N], stream[ENTROPY_STREAM_BYTES_MAX];
    static uint32_t back[N] ALIGNED(64);
    for (uint32_t book = 0; book < ENTROPY_BOOKS; book++)
        for (size_t c = 0; c < COUNT_OF(counts); c++) {
            uint32_t n = counts[c];
            for (uint32_t i = 0; i < n; i++)
                symbols[i] = draw(book);
            uint32_t bytes = (uint32_t)(entropy_put(book, symbols, n, stream) - stream);
            uint8_t *exact = malloc(bytes);
            assert_non_null(exact);
            memcpy(exact, stream, bytes);
            assert_int_equal(entropy_take(book, exact, bytes, n, back), RC_OK);
            for (uint32_t i = 0; i < n; i++)
                assert_int_equal(back[i], symbols[i]);
            assert_int_equal(entropy_take(book, exact, bytes - 1, n, back), RC_CORRUPT);
            free(exact);
        }
}

static void a_stream_is_near_the_entropy_of_its_book(void **state) {
    static uint8_t symbols[N], stream[ENTROPY_STREAM_BYTES_MAX];
    for (uint32_t book = 0; book < ENTROPY_BOOKS; book++) {
        double bits = 0;
        for (uint32_t i = 0; i < N; i++) {
            symbols[i] = draw(book);
            bits -= log2(entropy_books[book][symbols[i]] / (double)ENTROPY_STATES);
        }
        double stream_bits = 8.0 * (double)(entropy_put(book, symbols, N, stream) - stream);
        /* 8 states, and a percent for whole bits. */
        assert_true(stream_bits < bits * 1.01 + 88);
    }
}

static void the_cheapest_book_is_the_one_that_made_the_symbols(void **state) {
    for (uint32_t book = 0; book < ENTROPY_BOOKS; book++) {
        int16_t counts_of_book[ENTROPY_SYMBOLS];
        uint32_t chosen;
        for (uint32_t s = 0; s < ENTROPY_SYMBOLS; s++)
            counts_of_book[s] = (int16_t)entropy_books[book][s];
        entropy_choose(counts_of_book, &chosen);
        assert_memory_equal(entropy_books[chosen], entropy_books[book],
                            sizeof(entropy_books[book]));
    }
}

static void any_stream_gives_symbols_or_corrupt(void **state) {
    static uint32_t back[N] ALIGNED(64);
    for (int trial = 0; trial < 20000; trial++) {
        uint32_t bytes = (uint32_t)random_below(ENTROPY_STREAM_BYTES_MAX + 1) >> random_below(8);
        uint32_t n = ENTROPY_VALUES_MIN + (uint32_t)random_below(N - ENTROPY_VALUES_MIN + 1);
        uint8_t *stream = malloc(bytes + 1);
        assert_non_null(stream);
        for (uint32_t i = 0; i < bytes; i++)
            stream[i] = (uint8_t)random_below(256);
        uint32_t book = (uint32_t)random_below(ENTROPY_BOOKS);
        enum rc rc = entropy_take(book, stream, bytes, n, back);
        assert_true(rc == RC_OK || rc == RC_CORRUPT);
        for (uint32_t i = 0; rc == RC_OK && i < n; i++)
            assert_true(back[i] < ENTROPY_SYMBOLS && entropy_books[book][back[i]] > 0);
        free(stream);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_book_fills_its_states),
        cmocka_unit_test(symbols_come_back_and_no_other_length_of_the_stream_decodes),
        cmocka_unit_test(a_stream_is_near_the_entropy_of_its_book),
        cmocka_unit_test(the_cheapest_book_is_the_one_that_made_the_symbols),
        cmocka_unit_test(any_stream_gives_symbols_or_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
