/*
 * Compiled once a variant, with KERNELS_TABLE the name of the table it defines.
 */
#include "codec/kernels.h"

#include "base/attr.h"

#include <math.h>
#include <string.h>
#if defined(__BMI2__)
#include <immintrin.h>
#endif

typedef uint32_t lanes32 __attribute__((vector_size(32), may_alias));
typedef uint64_t lanes64 __attribute__((vector_size(64), may_alias));

/* The words of 32 rows are `width` words a lane, so a block always starts on a word, and with the
   width known at compile time every shift is a constant. */
#define ROWS_4(ROW, j) ROW(j) ROW((j) + 1) ROW((j) + 2) ROW((j) + 3)
#define ROWS_16(ROW, j)                                                                            \
    ROWS_4(ROW, j) ROWS_4(ROW, (j) + 4) ROWS_4(ROW, (j) + 8) ROWS_4(ROW, (j) + 12)
#define ROWS_32(ROW) ROWS_16(ROW, 0) ROWS_16(ROW, 16)

static ALWAYS_INLINE void unpack_block(const lanes32 *restrict in, const uint32_t width,
                                       lanes32 *restrict out) {
    const uint32_t mask = UINT32_MAX >> (32 - width);
#define ROW(j)                                                                                     \
    {                                                                                              \
        const uint32_t word = (j)*width / 32, shift = (j)*width % 32;                              \
        lanes32 v = in[word] >> shift;                                                             \
        if (shift + width > 32)                                                                    \
            v |= in[word + 1] << ((32 - shift) & 31);                                              \
        out[j] = v & mask;                                                                         \
    }
    ROWS_32(ROW)
#undef ROW
}

static ALWAYS_INLINE void pack_block(const lanes32 *restrict in, const uint32_t width,
                                     lanes32 *restrict out) {
    lanes32 word = {0};
#define ROW(j)                                                                                     \
    {                                                                                              \
        const uint32_t shift = (j)*width % 32;                                                     \
        word |= in[j] << shift;                                                                    \
        if (shift + width >= 32) {                                                                 \
            out[(j)*width / 32] = word;                                                            \
            word = shift + width > 32 ? in[j] >> ((32 - shift) & 31) : (lanes32){0};               \
        }                                                                                          \
    }
    ROWS_32(ROW)
#undef ROW
}

typedef void block_kernel(const uint32_t *restrict in, uint32_t rows, uint32_t *restrict out);

#define WIDTH(width)                                                                               \
    static void unpack_##width(const uint32_t *restrict in, uint32_t rows,                         \
                               uint32_t *restrict out) {                                           \
        for (uint32_t row = 0; row < rows; row += 32)                                              \
            unpack_block((const lanes32 *)(const void *)in + row / 32 * (width), width,            \
                         (lanes32 *)(void *)out + row);                                            \
    }                                                                                              \
    static void pack_##width(const uint32_t *restrict in, uint32_t rows, uint32_t *restrict out) { \
        for (uint32_t row = 0; row < rows; row += 32)                                              \
            pack_block((const lanes32 *)(const void *)in + row, width,                             \
                       (lanes32 *)(void *)out + row / 32 * (width));                               \
    }
#define WIDTHS                                                                                     \
    WIDTH(1)                                                                                       \
    WIDTH(2)                                                                                       \
    WIDTH(3)                                                                                       \
    WIDTH(4)                                                                                       \
    WIDTH(5)                                                                                       \
    WIDTH(6)                                                                                       \
    WIDTH(7) WIDTH(8) WIDTH(9) WIDTH(10) WIDTH(11) WIDTH(12) WIDTH(13) WIDTH(14) WIDTH(15) WIDTH(16)
WIDTHS
#undef WIDTH

enum { UNROLLED_MAX = 16 };

#define WIDTH(width) [width] = unpack_##width,
static block_kernel *const unpack_by_width[UNROLLED_MAX + 1] = {WIDTHS};
#undef WIDTH
#define WIDTH(width) [width] = pack_##width,
static block_kernel *const pack_by_width[UNROLLED_MAX + 1] = {WIDTHS};
#undef WIDTH

static void unpack32(const uint32_t *restrict words, uint32_t rows, uint32_t width,
                     uint32_t *restrict values) {
    if (width <= UNROLLED_MAX && rows > KERNELS_FEW_ROWS) {
        unpack_by_width[width](words, rows, values);
        return;
    }
    const lanes32 *in = (const lanes32 *)(const void *)words;
    lanes32 *out = (lanes32 *)(void *)values;
    const uint32_t mask = UINT32_MAX >> (32 - width);
    for (uint32_t row = 0; row < rows; row++) {
        uint32_t word = row * width / 32, shift = row * width % 32;
        lanes32 v = in[word] >> shift;
        if (shift + width > 32)
            v |= in[word + 1] << (32 - shift);
        out[row] = v & mask;
    }
}

static void pack32(const uint32_t *restrict values, uint32_t rows, uint32_t width,
                   uint32_t *restrict words) {
    if (width <= UNROLLED_MAX && rows > KERNELS_FEW_ROWS) {
        pack_by_width[width](values, rows, words);
        return;
    }
    const lanes32 *in = (const lanes32 *)(const void *)values;
    lanes32 *out = (lanes32 *)(void *)words;
    lanes32 word = {0};
    uint32_t used = 0;
    for (uint32_t row = 0; row < rows; row++) {
        word |= in[row] << used;
        used += width;
        if (used >= 32) {
            *out++ = word;
            used -= 32;
            word = used > 0 ? in[row] >> (width - used) : (lanes32){0};
        }
    }
    if (used > 0)
        *out = word;
}

static void unpack64(const uint64_t *restrict words, uint32_t rows, uint32_t width,
                     uint64_t *restrict values) {
    const lanes64 *in = (const lanes64 *)(const void *)words;
    lanes64 *out = (lanes64 *)(void *)values;
    const uint64_t mask = UINT64_MAX >> (64 - width);
    for (uint32_t row = 0; row < rows; row++) {
        uint32_t word = row * width / 64, shift = row * width % 64;
        lanes64 v = in[word] >> shift;
        if (shift + width > 64)
            v |= in[word + 1] << (64 - shift);
        out[row] = v & mask;
    }
}

static void pack64(const uint64_t *restrict values, uint32_t rows, uint32_t width,
                   uint64_t *restrict words) {
    const lanes64 *in = (const lanes64 *)(const void *)values;
    lanes64 *out = (lanes64 *)(void *)words;
    lanes64 word = {0};
    uint32_t used = 0;
    for (uint32_t row = 0; row < rows; row++) {
        word |= in[row] << used;
        used += width;
        if (used >= 64) {
            *out++ = word;
            used -= 64;
            word = used > 0 ? in[row] >> (width - used) : (lanes64){0};
        }
    }
    if (used > 0)
        *out = word;
}

/* Within a row by doubling distances; the chain from row to row is one addition. */
static void prefix32(uint32_t *values, uint32_t rows, uint32_t start, uint32_t base) {
    lanes32 *at = (lanes32 *)(void *)values;
    const lanes32 zero = {0};
    lanes32 before = zero + start;
    for (uint32_t row = 0; row < rows; row++) {
        lanes32 v = at[row] + base;
        v += __builtin_shufflevector(zero, v, 0, 8, 9, 10, 11, 12, 13, 14);
        v += __builtin_shufflevector(zero, v, 0, 1, 8, 9, 10, 11, 12, 13);
        v += __builtin_shufflevector(zero, v, 0, 1, 2, 3, 8, 9, 10, 11);
        at[row] = v + before;
        before += __builtin_shufflevector(v, v, 7, 7, 7, 7, 7, 7, 7, 7);
    }
}

static void prefix64(uint64_t *values, uint32_t n, uint64_t start) {
    for (uint32_t i = 0; i < n; i++) {
        start += values[i];
        values[i] = start;
    }
}

static void widen(const uint32_t *restrict in, uint32_t n, uint64_t base, uint32_t shift,
                  uint64_t *restrict out) {
    for (uint32_t i = 0; i < n; i++)
        out[i] = base + ((uint64_t)in[i] << shift);
}

static void widen_signed(const uint32_t *restrict in, uint32_t n, uint64_t base,
                         uint64_t *restrict out) {
    for (uint32_t i = 0; i < n; i++)
        out[i] = base + (uint64_t)(int64_t)(int32_t)in[i];
}

static void rebase(uint64_t *values, uint32_t n, uint64_t base, uint32_t shift) {
    for (uint32_t i = 0; i < n; i++)
        values[i] = base + (values[i] << shift);
}

static void narrow32(const uint64_t *restrict in, uint32_t n, uint64_t base, uint32_t shift,
                     uint32_t *restrict out) {
    for (uint32_t i = 0; i < n; i++)
        out[i] = (uint32_t)((in[i] - base) >> shift);
}

static void narrow64(const uint64_t *restrict in, uint32_t n, uint64_t base, uint32_t shift,
                     uint64_t *restrict out) {
    for (uint32_t i = 0; i < n; i++)
        out[i] = (in[i] - base) >> shift;
}

static void differences(const uint64_t *restrict in, uint32_t n, uint64_t *restrict out) {
    for (uint32_t i = 1; i < n; i++)
        out[i] = in[i] - in[i - 1];
    out[0] = out[1];
}

/* What is known of some numbers after the first. */
static ALWAYS_INLINE void range_add(struct kernels_range *range, uint64_t first, uint64_t number) {
    int64_t v = (int64_t)number;
    range->min = v < range->min ? v : range->min;
    range->max = v > range->max ? v : range->max;
    range->differ |= number ^ first;
    range->sum += number;
}

#if defined(__AVX2__)
static ALWAYS_INLINE __m256i four(const uint64_t *at) {
    return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

static ALWAYS_INLINE struct kernels_range range_join(__m256i min, __m256i max, __m256i differ,
                                                     __m256i sum) {
    uint64_t first = (uint64_t)_mm256_extract_epi64(min, 0);
    struct kernels_range range = {(int64_t)first, _mm256_extract_epi64(max, 0), 0, 0};
    range_add(&range, first, (uint64_t)_mm256_extract_epi64(min, 1));
    range_add(&range, first, (uint64_t)_mm256_extract_epi64(min, 2));
    range_add(&range, first, (uint64_t)_mm256_extract_epi64(min, 3));
    range_add(&range, first, (uint64_t)_mm256_extract_epi64(max, 1));
    range_add(&range, first, (uint64_t)_mm256_extract_epi64(max, 2));
    range_add(&range, first, (uint64_t)_mm256_extract_epi64(max, 3));
    __m128i both =
        _mm_or_si128(_mm256_castsi256_si128(differ), _mm256_extracti128_si256(differ, 1));
    range.differ = (uint64_t)_mm_extract_epi64(both, 0) | (uint64_t)_mm_extract_epi64(both, 1);
    both = _mm_add_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    range.sum = (uint64_t)_mm_extract_epi64(both, 0) + (uint64_t)_mm_extract_epi64(both, 1);
    return range;
}

/* Ranges the values of whole fours into *range and returns how many those are. */
static ALWAYS_INLINE uint32_t range_fours(const uint64_t *values, uint32_t n, uint64_t first,
                                          const bool steps, struct kernels_range *range) {
    const __m256i all_first = _mm256_set1_epi64x((int64_t)first);
    __m256i min = all_first, max = all_first;
    __m256i differ = _mm256_setzero_si256(), sum = differ;
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        __m256i v = four(values + i);
        if (steps)
            v = _mm256_sub_epi64(v, four(values + i - 1));
        min = _mm256_blendv_epi8(min, v, _mm256_cmpgt_epi64(min, v));
        max = _mm256_blendv_epi8(max, v, _mm256_cmpgt_epi64(v, max));
        differ = _mm256_or_si256(differ, _mm256_xor_si256(v, all_first));
        sum = _mm256_add_epi64(sum, v);
    }
    *range = range_join(min, max, differ, sum);
    return i;
}
#else
static ALWAYS_INLINE uint32_t range_fours(const uint64_t *values, uint32_t n, uint64_t first,
                                          const bool steps, struct kernels_range *range) {
    (void)values;
    (void)n;
    (void)steps;
    *range = (struct kernels_range){(int64_t)first, (int64_t)first, 0, 0};
    return 0;
}
#endif

static struct kernels_range range(const uint64_t *values, uint32_t n) {
    struct kernels_range range;
    for (uint32_t i = range_fours(values, n, values[0], false, &range); i < n; i++)
        range_add(&range, values[0], values[i]);
    return range;
}

static struct kernels_range step_range(const uint64_t *values, uint32_t n) {
    struct kernels_range range;
    uint64_t first = values[1] - values[0];
    const uint64_t *after = values + 1;
    for (uint32_t i = range_fours(after, n - 1, first, true, &range); i < n - 1; i++)
        range_add(&range, first, after[i] - values[i]);
    return range;
}

static bool is_ramp(const uint64_t *values, uint32_t n) {
    uint64_t first = values[1] - values[0], odd = 0;
    for (uint32_t i = 1; i < n; i++)
        odd |= (values[i] - values[i - 1]) ^ first;
    return odd == 0;
}

static uint64_t sum32(const uint32_t *values, uint32_t n) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += values[i];
    return sum;
}

static int64_t sum32_signed(const uint32_t *values, uint32_t n) {
    int64_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += (int32_t)values[i];
    return sum;
}

static void ramp(uint64_t first, uint64_t step, uint32_t n, uint64_t *out) {
    for (uint32_t i = 0; i < n; i++, first += step)
        out[i] = first;
}

static bool ascending(const int64_t *values, uint32_t n) {
    uint64_t bad = 0;
    for (uint32_t i = 1; i < n; i++)
        bad |= values[i] <= values[i - 1];
    return bad == 0;
}

static ALWAYS_INLINE uint64_t load_bits(const uint8_t *stream, uint32_t at) {
    uint64_t v;
    memcpy(&v, stream + at / 8, sizeof(v));
    return v >> (at % 8);
}

#if defined(__BMI2__)
/* The count is taken from the low byte of `entry` by the instruction itself. */
static ALWAYS_INLINE uint32_t low_bits(uint64_t window, uint32_t entry) {
    return (uint32_t)_bzhi_u64(window, entry);
}
#else
static ALWAYS_INLINE uint32_t low_bits(uint64_t window, uint32_t entry) {
    return (uint32_t)window & ((1u << (entry & 31)) - 1);
}
#endif

/* One step of lane l: keeps its entry, which has the symbol, and goes to its next state by the
   window's low bits. The entries' low bytes, the counts of bits, are added up in `taken`. */
#define STEP(l, state)                                                                             \
    {                                                                                              \
        uint32_t entry = table[state];                                                             \
        out[l] = entry;                                                                            \
        state = (entry >> 16) + low_bits(window, entry);                                           \
        window >>= entry & 63;                                                                     \
        taken += entry;                                                                            \
    }

/* What remains after whole rounds: at most one step a lane, then the last symbols. */
static void entropy_end(const uint32_t *restrict table, const uint8_t *restrict stream,
                        uint32_t *states, uint32_t n, uint32_t lanes, uint32_t i,
                        uint32_t *restrict at_bit, uint32_t *restrict symbols) {
    uint32_t at = *at_bit, rest = n - lanes - i;
    for (uint32_t l = 0; l < rest; l++) {
        uint64_t window = load_bits(stream, at);
        uint32_t taken = 0, *out = symbols + i;
        STEP(l, states[l])
        at += taken & 0xff;
    }
    for (i += rest; i < n; i++)
        symbols[i] = table[states[i % lanes]];
    for (i = 0; i < n; i++)
        symbols[i] = symbols[i] >> 8 & 0xff;
    *at_bit = at;
}

/* Four steps take at most 40 bits, and a window has at least 57. The states are variables of their
   own so that they stay in registers. */
static ALWAYS_INLINE uint32_t entropy_by(const uint32_t *restrict table,
                                         const uint8_t *restrict stream, uint32_t n,
                                         const uint32_t lanes, uint32_t *restrict symbols) {
    uint32_t states[8] = {0}, at = 0;
    for (uint32_t l = 0; l < lanes; l++, at += 10)
        states[l] = (uint32_t)load_bits(stream, at) & 1023;
    uint32_t s0 = states[0], s1 = states[1], s2 = states[2], s3 = states[3];
    uint32_t s4 = states[4], s5 = states[5], s6 = states[6], s7 = states[7];
    uint32_t rounds = n / lanes - 1, *out = symbols;
    const uint32_t *end = symbols + rounds * lanes;
    for (; out != end; out += lanes) {
        uint64_t window = load_bits(stream, at);
        uint32_t taken = 0;
        STEP(0, s0)
        STEP(1, s1)
        STEP(2, s2)
        STEP(3, s3)
        at += taken & 0xff;
        if (lanes == 4)
            continue;
        window = load_bits(stream, at);
        taken = 0;
        STEP(4, s4)
        STEP(5, s5)
        STEP(6, s6)
        STEP(7, s7)
        at += taken & 0xff;
    }
    uint32_t last[8] = {s0, s1, s2, s3, s4, s5, s6, s7};
    entropy_end(table, stream, last, n, lanes, rounds * lanes, &at, symbols);
    return at;
}
#undef STEP

static uint32_t entropy(const uint32_t *restrict table, const uint8_t *restrict stream, uint32_t n,
                        uint32_t lanes, uint32_t *restrict symbols) {
    return lanes == 4 ? entropy_by(table, stream, n, 4, symbols)
                      : entropy_by(table, stream, n, 8, symbols);
}

static uint32_t cheapest(const int16_t *restrict counts, const int16_t *restrict costs,
                         uint32_t rows, uint32_t *restrict cost) {
    uint32_t best = 0;
    int32_t least = INT32_MAX;
    for (uint32_t row = 0; row < rows; row++) {
        int32_t sum = 0;
        for (uint32_t i = 0; i < 16; i++)
            sum += counts[i] * costs[row * 16 + i];
        best = sum < least ? row : best;
        least = sum < least ? sum : least;
    }
    *cost = (uint32_t)least;
    return best;
}

/* Several counters take turns: neighbours often have the same length and would wait for each
   other's increment. */
static ALWAYS_INLINE void count_lengths(const uint64_t *restrict in, uint32_t n, uint64_t from,
                                        uint32_t shift, const enum kernels_sign sign,
                                        uint16_t (*restrict turns)[KERNELS_LENGTHS]) {
    for (uint32_t i = 0; i < n; i++) {
        uint64_t v = in[i] - from;
        if (sign == KERNELS_AROUND) {
            int64_t near = (int64_t)v >> shift;
            v = (uint64_t)near << 1 ^ (uint64_t)(near >> 63);
        } else {
            v = (sign == KERNELS_BELOW ? -v : v) >> shift;
        }
        turns[i % 4][v == 0 ? 0 : 64 - __builtin_clzll(v)]++;
    }
}

static void lengths_of(const uint64_t *restrict in, uint32_t n, uint64_t from, uint32_t shift,
                       enum kernels_sign sign, uint32_t *restrict lengths) {
    uint16_t turns[4][KERNELS_LENGTHS] = {{0}};
    if (sign == KERNELS_ABOVE)
        count_lengths(in, n, from, shift, KERNELS_ABOVE, turns);
    else if (sign == KERNELS_BELOW)
        count_lengths(in, n, from, shift, KERNELS_BELOW, turns);
    else
        count_lengths(in, n, from, shift, KERNELS_AROUND, turns);
    for (uint32_t i = 0; i < KERNELS_LENGTHS; i++)
        lengths[i] = (uint32_t)turns[0][i] + turns[1][i] + turns[2][i] + turns[3][i];
}

static void join(uint32_t *restrict values, const uint32_t *restrict high, uint32_t n,
                 uint32_t shift) {
    for (uint32_t i = 0; i < n; i++)
        values[i] += high[i] << shift;
}

/* 1.5 * 2^52: added to a double below 2^51 in magnitude, it leaves the rounded integer in the low
   bits, and the other way round. Vector instructions for this conversion came with AVX-512 only. */
static const double magic = 6755399441055744.0;
static const uint64_t magic_bits = UINT64_C(0x4338000000000000);

static ALWAYS_INLINE double double_of(uint64_t bits) {
    double d;
    memcpy(&d, &bits, sizeof(d));
    return d;
}

static ALWAYS_INLINE uint64_t bits_of(double d) {
    uint64_t bits;
    memcpy(&bits, &d, sizeof(bits));
    return bits;
}

static bool to_doubles(const uint64_t *restrict integers, uint32_t n, double *restrict out) {
    const uint64_t limit = UINT64_C(1) << 51;
    uint64_t large = 0;
    for (uint32_t i = 0; i < n; i++) {
        large |= (integers[i] + limit) >> 52;
        out[i] = double_of(integers[i] + magic_bits) - magic;
    }
    return large == 0;
}

static uint32_t to_decimal(const uint64_t *restrict doubles, uint32_t n, double power,
                           uint64_t *restrict digits, uint8_t *restrict misses) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < n; i++) {
        double scaled = double_of(doubles[i]) * power;
        uint64_t rounded = bits_of(scaled + magic);
        double back = (double_of(rounded) - magic) / power;
        uint64_t fits = fabs(scaled) < 0x1p50;
        uint64_t same = bits_of(back) == doubles[i];
        digits[i] = rounded - magic_bits;
        misses[i] = (uint8_t)((fits & same) ^ 1);
        count += (fits & same) ^ 1;
    }
    return (uint32_t)count;
}

#if defined(__FMA__)
/* Division by a constant, exactly rounded like the real one, at a third of its cost: `inverse` is
   1 / divisor rounded. The first correction brings the quotient within one unit in the last place;
   from there a second one rounds correctly (Markstein, Computation of elementary functions on the
   IBM RISC System/6000 processor, 1990, theorem on the final step of division). Quotients here are
   far from underflow. */
static ALWAYS_INLINE double divide(double v, double divisor, double inverse) {
    double q = v * inverse;
    q = __builtin_fma(__builtin_fma(-q, divisor, v), inverse, q);
    return __builtin_fma(__builtin_fma(-q, divisor, v), inverse, q);
}
#else
static ALWAYS_INLINE double divide(double v, double divisor, double inverse) {
    (void)inverse;
    return v / divisor;
}
#endif

static void from_decimal(const uint64_t *restrict digits, uint32_t n, double power,
                         uint64_t *restrict out) {
    const double inverse = 1 / power;
    for (uint32_t i = 0; i < n; i++)
        out[i] = bits_of(divide(double_of(digits[i] + magic_bits) - magic, power, inverse));
}

static void offset_doubles(const uint32_t *restrict in, uint32_t n, double base, double divisor,
                           void *restrict out) {
    uint8_t *at = out;
    const double inverse = 1 / divisor;
    if (divisor == 1) {
        for (uint32_t i = 0; i < n; i++) {
            double v = base + (int32_t)in[i];
            memcpy(at + i * sizeof(v), &v, sizeof(v));
        }
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        double v = divide(base + (int32_t)in[i], divisor, inverse);
        memcpy(at + i * sizeof(v), &v, sizeof(v));
    }
}

const struct kernels KERNELS_TABLE = {
    .pack32 = pack32,
    .unpack32 = unpack32,
    .pack64 = pack64,
    .unpack64 = unpack64,
    .prefix32 = prefix32,
    .prefix64 = prefix64,
    .widen = widen,
    .widen_signed = widen_signed,
    .rebase = rebase,
    .narrow32 = narrow32,
    .narrow64 = narrow64,
    .differences = differences,
    .range = range,
    .step_range = step_range,
    .is_ramp = is_ramp,
    .sum32 = sum32,
    .sum32_signed = sum32_signed,
    .ramp = ramp,
    .ascending = ascending,
    .entropy = entropy,
    .cheapest = cheapest,
    .lengths = lengths_of,
    .join = join,
    .to_doubles = to_doubles,
    .to_decimal = to_decimal,
    .from_decimal = from_decimal,
    .offset_doubles = offset_doubles,
};
