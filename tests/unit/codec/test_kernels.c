#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "codec/entropy.h"
#include "codec/kernels.h"
#include "codec/packed.h"
#include "model/points.h"

enum { N = KERNELS_VALUES, TRIALS = 8 };

static uint64_t seed = 1181783497276652981u;

static uint64_t random_bits(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 2685821657736338717u;
}

static uint64_t in64[N] ALIGNED(64), out64[N] ALIGNED(64), other64[N] ALIGNED(64);
static uint32_t in32[N] ALIGNED(64), out32[N] ALIGNED(64), other32[N] ALIGNED(64);

static void fill_random(uint32_t width) {
    for (uint32_t i = 0; i < N; i++) {
        in64[i] = random_bits() >> (64 - width);
        in32[i] = (uint32_t)(random_bits() >> 32) >> (width < 32 ? 32 - width : 0);
    }
}

static const struct kernels *const variants[] = {
    &kernels_baseline,
#if defined(__x86_64__)
    &kernels_avx2,
#endif
};

/* The variants this machine can run. */
static size_t variant_count(void) {
#if defined(__x86_64__)
    return kernels_avx2_usable() ? 2 : 1;
#else
    return 1;
#endif
}

/* Bit b of packed value i, straight from the definition of the layout. */
static uint64_t naive_value(const uint8_t *words, uint32_t i, uint32_t width) {
    uint32_t word_bits = width <= 32 ? 32 : 64;
    uint64_t v = 0;
    for (uint32_t b = 0; b < width; b++) {
        uint32_t at = i / 8 * width + b;
        uint32_t word = at / word_bits * 8 + i % 8, bit = at % word_bits;
        v |= (uint64_t)(words[word * (word_bits / 8) + bit / 8] >> (bit % 8) & 1) << b;
    }
    return v;
}

static void packed_words_follow_the_vertical_layout(void **state) {
    for (size_t v = 0; v < variant_count(); v++)
        for (uint32_t width = 1; width <= 64; width++) {
            fill_random(width);
            if (width <= 32) {
                variants[v]->pack32(in32, N / 8, width, other32);
                variants[v]->unpack32(other32, N / 8, width, out32);
                assert_memory_equal(in32, out32, sizeof(in32));
                for (uint32_t i = 0; i < N; i++)
                    assert_true(naive_value((uint8_t *)other32, i, width) == in32[i]);
            } else {
                variants[v]->pack64(in64, N / 8, width, other64);
                variants[v]->unpack64(other64, N / 8, width, out64);
                assert_memory_equal(in64, out64, sizeof(in64));
                for (uint32_t i = 0; i < N; i++)
                    assert_true(naive_value((uint8_t *)other64, i, width) == in64[i]);
            }
        }
}

static void packed_bytes_come_back_for_every_count_and_width(void **state) {
    const uint32_t counts[] = {1, 2, 7, 8, 9, 63, 64, 65, 255, 256, 257, 360, 1023, 1024};
    for (uint32_t width = 0; width <= 64; width++)
        for (size_t c = 0; c < COUNT_OF(counts); c++) {
            uint32_t n = counts[c];
            fill_random(width == 0 ? 1 : width);
            if (width == 0)
                memset(in32, 0, sizeof(in32));
            memcpy(other32, in32, sizeof(in32));
            memcpy(other64, in64, sizeof(in64));
            uint8_t *bytes = malloc(packed_bytes(n, width) + 1);
            assert_non_null(bytes);
            uint8_t *end = width <= 32 ? packed_put32(in32, n, width, bytes)
                                       : packed_put64(in64, n, width, bytes);
            assert_int_equal(end - bytes, packed_bytes(n, width));
            if (width <= 32) {
                packed_take32(bytes, n, width, out32);
                assert_memory_equal(out32, other32, n * sizeof(*out32));
            } else {
                packed_take64(bytes, n, width, out64);
                assert_memory_equal(out64, other64, n * sizeof(*out64));
            }
            free(bytes);
        }
}

static void prefix_sums_equal_adding_one_by_one(void **state) {
    for (size_t v = 0; v < variant_count(); v++)
        for (uint32_t width = 1; width <= 32; width += 3) {
            fill_random(width);
            uint32_t start = (uint32_t)random_bits(), base = (uint32_t)random_bits(), sum = start;
            memcpy(out32, in32, sizeof(in32));
            variants[v]->prefix32(out32, N / 8, start, base);
            for (uint32_t i = 0; i < N; i++)
                assert_true(out32[i] == (sum += in32[i] + base));
            uint64_t sum64 = random_bits();
            memcpy(out64, in64, sizeof(in64));
            variants[v]->prefix64(out64, N, sum64);
            for (uint32_t i = 0; i < N; i++)
                assert_true(out64[i] == (sum64 += in64[i]));
        }
}

static void assert_range(const struct kernels_range *range, const int64_t *values, uint32_t n) {
    struct kernels_range expected = {values[0], values[0], 0, 0};
    for (uint32_t i = 0; i < n; i++) {
        expected.min = values[i] < expected.min ? values[i] : expected.min;
        expected.max = values[i] > expected.max ? values[i] : expected.max;
        expected.differ |= (uint64_t)(values[i] ^ values[0]);
        expected.sum += (uint64_t)values[i];
    }
    assert_memory_equal(range, &expected, sizeof(expected));
}

static void ranges_hold_of_values_and_of_steps(void **state) {
    for (size_t v = 0; v < variant_count(); v++)
        for (uint32_t n = 1; n < 40; n++) {
            fill_random(1 + (n * 11) % 64);
            struct kernels_range range = variants[v]->range(in64, n);
            assert_range(&range, (const int64_t *)in64, n);
            if (n == 1)
                continue;
            for (uint32_t i = 1; i < n; i++)
                out64[i - 1] = in64[i] - in64[i - 1];
            range = variants[v]->step_range(in64, n);
            assert_range(&range, (const int64_t *)out64, n - 1);
        }
}

static void a_ramp_is_one_until_a_step_differs(void **state) {
    for (size_t v = 0; v < variant_count(); v++)
        for (uint32_t n = 2; n < 40; n++) {
            uint64_t first = random_bits(), step = random_bits();
            variants[v]->ramp(first, step, n, out64);
            for (uint32_t i = 0; i < n; i++)
                assert_true(out64[i] == first + i * step);
            assert_true(variants[v]->is_ramp(out64, n));
            out64[n / 2] ^= 1;
            assert_int_equal(variants[v]->is_ramp(out64, n), n == 2);
        }
}

#if defined(__x86_64__)
static void assert_range_equal(uint32_t n) {
    struct kernels_range a = kernels_baseline.range(in64, n), b = kernels_avx2.range(in64, n);
    assert_memory_equal(&a, &b, sizeof(a));
    a = kernels_baseline.step_range(in64, n);
    b = kernels_avx2.step_range(in64, n);
    assert_memory_equal(&a, &b, sizeof(a));
}

static void assert_sums_equal(uint32_t n) {
    assert_true(kernels_baseline.sum32(in32, n) == kernels_avx2.sum32(in32, n));
    assert_true(kernels_baseline.sum32_signed(in32, n) == kernels_avx2.sum32_signed(in32, n));
}

static void assert_maps_equal(uint32_t n, uint32_t shift) {
    const struct kernels *a = &kernels_baseline, *b = &kernels_avx2;
    uint64_t base = random_bits(), step = random_bits();
#define SAME(call, array_a, array_b)                                                               \
    do {                                                                                           \
        a->call;                                                                                   \
        memcpy(array_b, array_a, sizeof(array_a));                                                 \
        memset(array_a, 0, sizeof(array_a));                                                       \
        b->call;                                                                                   \
        assert_memory_equal(array_a, array_b, n * sizeof(*array_a));                               \
    } while (0)
    SAME(widen(in32, n, base, shift, out64), out64, other64);
    SAME(widen_signed(in32, n, base, out64), out64, other64);
    SAME(narrow32(in64, n, base, shift, out32), out32, other32);
    SAME(narrow64(in64, n, base, shift, out64), out64, other64);
    SAME(differences(in64, n, out64), out64, other64);
    SAME(ramp(base, step, n, out64), out64, other64);
#undef SAME
}

static void both_variants_give_equal_results(void **state) {
    if (!kernels_avx2_usable())
        skip();
    for (uint32_t width = 1; width <= 64; width++)
        for (int trial = 0; trial < TRIALS; trial++) {
            uint32_t n = 2 + (uint32_t)(random_bits() % (N - 1));
            fill_random(width);
            assert_range_equal(n);
            assert_sums_equal(n);
            assert_maps_equal(n, width % 20);
            assert_int_equal(kernels_baseline.ascending((int64_t *)in64, n),
                             kernels_avx2.ascending((int64_t *)in64, n));
        }
}

static void both_variants_decode_entropy_streams_alike(void **state) {
    static uint32_t table[ENTROPY_STATES];
    static uint8_t stream[ENTROPY_STREAM_BYTES_MAX + 16];
    if (!kernels_avx2_usable())
        skip();
    for (int trial = 0; trial < 200; trial++) {
        uint32_t n = ENTROPY_VALUES_MIN + (uint32_t)(random_bits() % (N - ENTROPY_VALUES_MIN + 1));
        for (uint32_t i = 0; i < ENTROPY_STATES; i++) {
            uint32_t bits = (uint32_t)random_bits() % (ENTROPY_STATE_BITS + 1);
            uint32_t base = (uint32_t)random_bits() % (ENTROPY_STATES - (1u << bits) + 1);
            table[i] = base << 16 | (uint32_t)(random_bits() & 15) << 8 | bits;
        }
        for (size_t i = 0; i < sizeof(stream); i++)
            stream[i] = (uint8_t)random_bits();
        uint32_t lanes = entropy_lanes(n);
        uint32_t a = kernels_baseline.entropy(table, stream, n, lanes, out32);
        uint32_t b = kernels_avx2.entropy(table, stream, n, lanes, other32);
        assert_int_equal(a, b);
        assert_memory_equal(out32, other32, n * sizeof(*out32));
    }
}

static void bit_lengths_are_counted_from_every_side(void **state) {
    for (size_t v = 0; v < variant_count(); v++)
        for (uint32_t width = 1; width <= 64; width++) {
            uint32_t n = 1 + (uint32_t)(random_bits() % N), shift = width % 7;
            uint32_t counted[KERNELS_LENGTHS], naive[3][KERNELS_LENGTHS] = {{0}};
            fill_random(width);
            uint64_t from = in64[0];
            for (uint32_t i = 0; i < n; i++) {
                uint64_t d = in64[i] - from;
                uint64_t near = (uint64_t)((int64_t)d >> shift);
                uint64_t numbers[] = {d >> shift, (0 - d) >> shift,
                                      near >> 63 ? 2 * ~near + 1 : 2 * near};
                for (int sign = 0; sign < 3; sign++) {
                    uint32_t bits = 0;
                    for (; numbers[sign] != 0; numbers[sign] >>= 1)
                        bits++;
                    naive[sign][bits]++;
                }
            }
            for (int sign = 0; sign < 3; sign++) {
                variants[v]->lengths(in64, n, from, shift, (enum kernels_sign)sign, counted);
                assert_memory_equal(counted, naive[sign], sizeof(counted));
            }
        }
}

/* Both must be the quotient that IEEE division gives. */
static void dividing_offsets_rounds_like_division(void **state) {
    static uint64_t bits[N], digits[N];
    double power = 1;
    for (int scale = 0; scale <= 15; scale++, power *= 10)
        for (uint32_t width = 1; width <= 50; width++) {
            fill_random(width);
            int64_t base = (int64_t)(random_bits() >> (64 - width)) - (INT64_C(1) << (width - 1));
            for (size_t v = 0; v < variant_count(); v++) {
                variants[v]->offset_doubles(in32, N, (double)base, power, bits);
                for (uint32_t i = 0; i < N; i++) {
                    double expected = (double)(base + (int32_t)in32[i]) / power;
                    assert_true(bits[i] == points_bits_of(expected));
                    digits[i] = in64[i] - (random_bits() & 1 ? UINT64_C(1) << (width - 1) : 0);
                }
                variants[v]->from_decimal(digits, N, power, bits);
                for (uint32_t i = 0; i < N; i++)
                    assert_true(bits[i] == points_bits_of((double)(int64_t)digits[i] / power));
            }
        }
}

static void both_variants_convert_to_doubles_alike(void **state) {
    static double a[N], b[N];
    if (!kernels_avx2_usable())
        skip();
    for (uint32_t width = 1; width <= 64; width++) {
        fill_random(width);
        for (uint32_t i = 0; i < N; i += 2)
            in64[i] = -in64[i];
        bool exact = kernels_baseline.to_doubles(in64, N, a);
        assert_int_equal(kernels_avx2.to_doubles(in64, N, b), exact);
        assert_true(exact || width > 51);
        for (uint32_t i = 0; exact && i < N; i++)
            assert_true(a[i] == (double)(int64_t)in64[i] && b[i] == a[i]);
    }
}

static void both_variants_round_decimals_alike(void **state) {
    static uint8_t misses[2][N];
    if (!kernels_avx2_usable())
        skip();
    for (int trial = 0; trial < 200; trial++) {
        uint32_t n = 1 + (uint32_t)(random_bits() % N);
        double power = trial % 3 == 0 ? 1e0 : trial % 3 == 1 ? 1e2 : 1e9;
        for (uint32_t i = 0; i < n; i++)
            in64[i] =
                i % 5 == 0 ? random_bits() : points_bits_of((double)(int32_t)random_bits() / 100);
        uint32_t a = kernels_baseline.to_decimal(in64, n, power, out64, misses[0]);
        uint32_t b = kernels_avx2.to_decimal(in64, n, power, other64, misses[1]);
        assert_int_equal(a, b);
        assert_memory_equal(misses[0], misses[1], n);
        for (uint32_t i = 0; i < n; i++)
            assert_true(misses[0][i] || out64[i] == other64[i]);
        for (uint32_t i = 0; i < n; i++)
            other64[i] = out64[i] = misses[0][i] ? 0 : out64[i];
        static uint64_t back[2][N];
        kernels_baseline.from_decimal(out64, n, power, back[0]);
        kernels_avx2.from_decimal(out64, n, power, back[1]);
        assert_memory_equal(back[0], back[1], n * sizeof(back[0][0]));
        for (uint32_t i = 0; i < n; i++)
            assert_true(misses[0][i] || back[0][i] == in64[i]);
    }
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_words_follow_the_vertical_layout),
        cmocka_unit_test(packed_bytes_come_back_for_every_count_and_width),
        cmocka_unit_test(ranges_hold_of_values_and_of_steps),
        cmocka_unit_test(a_ramp_is_one_until_a_step_differs),
        cmocka_unit_test(prefix_sums_equal_adding_one_by_one),
#if defined(__x86_64__)
        cmocka_unit_test(both_variants_give_equal_results),
        cmocka_unit_test(both_variants_decode_entropy_streams_alike),
        cmocka_unit_test(bit_lengths_are_counted_from_every_side),
        cmocka_unit_test(dividing_offsets_rounds_like_division),
        cmocka_unit_test(both_variants_convert_to_doubles_alike),
        cmocka_unit_test(both_variants_round_decimals_alike),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
