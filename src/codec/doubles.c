#include "codec/doubles.h"

#include "base/check.h"
#include "codec/kernels.h"
#include "model/points.h"

#include <math.h>
#include <string.h>

static const double powers[DOUBLES_SCALE_MAX + 1] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                     1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};

enum {
    /* An exception costs about 10 bytes and digits save at least 12 bits of 64, so with one
       exception in 16 values a decimal column is never larger than the raw doubles. */
    VALUES_PER_EXCEPTION = 16,
    /* How many values are looked at before genuine doubles are given up: a part of the column,
       within these bounds. What the sample misses costs another look at the whole column. */
    SAMPLE_PART = 16,
    SAMPLE_VALUES_LEAST = 8,
    SAMPLE_VALUES_MOST = 64,
    /* By how many digits the sample may be wrong. */
    MISSED_DIGITS = 3,
    DIGITS_BITS = 51
};

static bool is_decimal(uint64_t bits, double power) {
    double value = points_double_of(bits);
    double digits = rint(value * power);
    return fabs(digits) < 0x1p50 && points_bits_of(digits / power) == bits;
}

/* The smallest scale that fits `bits` and is at least `scale`; DOUBLES_SCALE_MAX + 1 if none. */
static uint32_t scale_for(uint64_t bits, uint32_t scale) {
    while (scale <= DOUBLES_SCALE_MAX && !is_decimal(bits, powers[scale]))
        scale++;
    return scale;
}

/* The smallest scale that fits `bits`, looked for from `near` on, where it mostly is. */
static uint32_t scale_of(uint64_t bits, uint32_t near) {
    if (near > DOUBLES_SCALE_MAX || !is_decimal(bits, powers[near]))
        return scale_for(bits, near > DOUBLES_SCALE_MAX ? 0 : near + 1);
    while (near > 0 && is_decimal(bits, powers[near - 1]))
        near--;
    return near;
}

/* The smallest scale that fits all of a sample but a few: every ninth genuine double is near a
   decimal of fifteen digits by chance, and must not decide. DOUBLES_SCALE_MAX + 1 if there is
   none. */
static uint32_t scale_of_sample(const uint64_t *bits, uint32_t n) {
    uint32_t sample = n / SAMPLE_PART;
    if (sample < SAMPLE_VALUES_LEAST)
        sample = SAMPLE_VALUES_LEAST;
    if (sample > SAMPLE_VALUES_MOST)
        sample = SAMPLE_VALUES_MOST;
    uint32_t stride = n > sample ? n / sample : 1;
    uint32_t with_scale[DOUBLES_SCALE_MAX + 2] = {0};
    uint32_t seen = 0, scale = 0;
    for (uint32_t i = 0; i < n; i += stride) {
        scale = scale_of(bits[i], scale);
        with_scale[scale]++;
        seen++;
        uint32_t missed = with_scale[DOUBLES_SCALE_MAX + 1];
        if (missed > 4 && missed * 4 > seen)
            return DOUBLES_SCALE_MAX + 1;
    }
    uint32_t fit = 0;
    for (scale = 0; scale <= DOUBLES_SCALE_MAX; scale++) {
        fit += with_scale[scale];
        if (seen - fit <= seen / 8)
            break;
    }
    return scale;
}

/* An exception takes the digits of the value before it, so that it costs nothing there. */
static void fill_exceptions(struct doubles_plan *plan, uint32_t n) {
    uint32_t i = 0;
    while (i < n && plan->is_exception[i])
        i++;
    uint64_t last = i < n ? plan->digits[i] : 0;
    for (i = 0; i < n; i++) {
        if (plan->is_exception[i])
            plan->digits[i] = last;
        last = plan->digits[i];
    }
}

bool doubles_plan(const uint64_t *bits, uint32_t n, struct doubles_plan *plan) {
    CHECK(n >= 1 && n <= LIMIT_VECTOR_POINTS);
    uint32_t allowed = n / VALUES_PER_EXCEPTION;
    plan->scale = scale_of_sample(bits, n);
    while (plan->scale <= DOUBLES_SCALE_MAX) {
        plan->exceptions = kernels_best()->to_decimal(bits, n, powers[plan->scale], plan->digits,
                                                      plan->is_exception);
        if (plan->exceptions == 0)
            return true;
        /* The sample may have missed the values with the most digits. One that takes many more is
           a genuine double that happens to be near a long decimal. */
        uint32_t needed = plan->scale;
        for (uint32_t i = 0; i < n && needed == plan->scale; i++) {
            uint32_t scale = plan->is_exception[i] ? scale_for(bits[i], plan->scale) : 0;
            if (scale > plan->scale && scale <= plan->scale + MISSED_DIGITS &&
                scale <= DOUBLES_SCALE_MAX)
                needed = scale;
        }
        if (needed == plan->scale)
            break;
        plan->scale = needed;
    }
    if (plan->scale > DOUBLES_SCALE_MAX || plan->exceptions > allowed)
        return false;
    fill_exceptions(plan, n);
    return true;
}

void doubles_from_digits(const uint64_t *digits, uint32_t n, uint32_t scale, uint64_t *bits) {
    CHECK(scale <= DOUBLES_SCALE_MAX);
    kernels_best()->from_decimal(digits, n, powers[scale], bits);
}

uint8_t *doubles_encode(const struct doubles_plan *plan, const uint64_t *bits, uint32_t n,
                        enum vector_effort effort, uint8_t *out) {
    if (plan->exceptions > 0) {
        out = bytes_put_varint(out, plan->exceptions);
        uint32_t next = 0;
        for (uint32_t i = 0; i < n; i++) {
            if (!plan->is_exception[i])
                continue;
            out = bytes_put_varint(out, i - next);
            bytes_put_u64(out, bits[i]);
            out += 8;
            next = i + 1;
        }
    }
    return integers_encode(plan->digits, n, NULL, effort, out);
}

static enum rc check_exceptions(struct bytes_reader *reader, uint32_t n, struct doubles *column) {
    uint64_t count = bytes_take_varint(reader);
    if (count == 0 || count > n)
        return RC_CORRUPT;
    column->exceptions = (uint32_t)count;
    column->exceptions_at = *reader;
    uint64_t next = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t gap = bytes_take_varint(reader);
        bytes_take_u64(reader);
        if (reader->failed || gap >= n || next + gap >= n)
            return RC_CORRUPT;
        next += gap + 1;
    }
    return RC_OK;
}

enum rc doubles_open(struct bytes_reader *reader, uint32_t n, uint32_t scale, bool has_exceptions,
                     struct doubles *column) {
    CHECK(scale <= DOUBLES_SCALE_MAX);
    *column = (struct doubles){.scale = scale};
    if (has_exceptions)
        TRY(check_exceptions(reader, n, column));
    return integers_open(reader, n, &column->digits);
}

static enum rc decode_wide_digits(const struct doubles *column, void *out) {
    uint64_t digits[LIMIT_VECTOR_POINTS], bits[LIMIT_VECTOR_POINTS];
    TRY(integers_decode(&column->digits, digits));
    struct kernels_range range = kernels_best()->range(digits, column->digits.n);
    const int64_t limit = INT64_C(1) << (DIGITS_BITS - 1);
    if (range.min < -limit || range.max > limit)
        return RC_CORRUPT;
    kernels_best()->from_decimal(digits, column->digits.n, powers[column->scale], bits);
    memcpy(out, bits, column->digits.n * sizeof(*bits));
    return RC_OK;
}

enum rc doubles_decode(const struct doubles *column, void *out) {
    if (integers_is_narrow(&column->digits))
        TRY(integers_decode_narrow(&column->digits, powers[column->scale], out));
    else
        TRY(decode_wide_digits(column, out));
    struct bytes_reader reader = column->exceptions_at;
    uint32_t at = 0;
    for (uint32_t i = 0; i < column->exceptions; i++) {
        at += (uint32_t)bytes_take_varint(&reader);
        bytes_put_u64((uint8_t *)out + 8 * (size_t)at++, bytes_take_u64(&reader));
    }
    return RC_OK;
}

enum rc doubles_sum(const struct doubles *column, uint32_t from, uint32_t to, double *sum) {
    CHECK(column->exceptions == 0);
    __int128 digits;
    TRY(integers_sum(&column->digits, from, to, &digits));
    *sum = (double)digits / powers[column->scale];
    return RC_OK;
}
