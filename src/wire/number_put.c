#include "wire/number.h"

#include "wire/number_decimal.h"

#include <math.h>

/* A double takes at most 24 characters ("-1.2345678901234567E-308"); digits are copied in blocks of
   DIGITS_ROOM, whatever their number, so some room is needed behind them. */
enum { DIGITS_MAX = 20, DIGITS_ROOM = 24, DOUBLE_ROOM = 4 * DIGITS_ROOM };

/* How many digits `n` has; 0 has one. */
static inline int count_digits(uint64_t n) {
    static const uint64_t powers_of_ten[DIGITS_MAX] = {
        0,
        UINT64_C(10),
        UINT64_C(100),
        UINT64_C(1000),
        UINT64_C(10000),
        UINT64_C(100000),
        UINT64_C(1000000),
        UINT64_C(10000000),
        UINT64_C(100000000),
        UINT64_C(1000000000),
        UINT64_C(10000000000),
        UINT64_C(100000000000),
        UINT64_C(1000000000000),
        UINT64_C(10000000000000),
        UINT64_C(100000000000000),
        UINT64_C(1000000000000000),
        UINT64_C(10000000000000000),
        UINT64_C(100000000000000000),
        UINT64_C(1000000000000000000),
        UINT64_C(10000000000000000000),
    };
    /* log10(n), or one less: log2 times log10(2). */
    int digits = ((64 - __builtin_clzll(n | 1)) * 1233) >> 12;
    return digits + (n >= powers_of_ten[digits]);
}

/* The eight digits of n < 10^8, the first in the lowest byte: halves of halves, side by side. */
static inline uint64_t eight_digits(uint64_t n) {
    uint64_t fours = n / 10000 | (n % 10000) << 32;
    uint64_t hundreds = (fours * 5243 >> 19) & UINT64_C(0x7f0000007f);
    uint64_t twos = hundreds | (fours - 100 * hundreds) << 16;
    uint64_t tens = (twos * 103 >> 10) & UINT64_C(0x000f000f000f000f);
    return (tens | (twos - 10 * tens) << 8) + UINT64_C(0x3030303030303030);
}

/* Writes the `count` digits of n < 10^8 from `p` on, and behind them what makes eight bytes;
   returns where they end. */
static inline char *put_up_to_eight(char *p, uint64_t n, int count) {
    uint64_t digits = eight_digits(n) >> 8 * (8 - count);
    memcpy(p, &digits, 8);
    return p + count;
}

/* The same for any number. */
static inline char *put_digits(char *p, uint64_t n, int count) {
    const uint64_t power = 100000000;
    if (count <= 8)
        return put_up_to_eight(p, n, count);
    if (count <= 16) {
        p = put_up_to_eight(p, n / power, count - 8);
        return put_up_to_eight(p, n % power, 8);
    }
    p = put_up_to_eight(p, n / (power * power), count - 16);
    p = put_up_to_eight(p, n / power % power, 8);
    return put_up_to_eight(p, n % power, 8);
}

void number_put_int(struct buf *out, int64_t value) {
    char *start = buf_reserve(out, DIGITS_MAX + DIGITS_ROOM);
    if (start == NULL)
        return;
    char *p = start;
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    *p = '-';
    p += value < 0;
    p = put_digits(p, magnitude, count_digits(magnitude));
    out->n += (size_t)(p - start);
}

/* `count` digits of which `before` stand before the point, -2 <= before <= 7; at least one on
   either side. */
static char *lay_out_plain(char *p, const char *digits, int count, int before) {
    if (before <= 0) {
        memcpy(p, "0.000000", 8);
        p += 2 - before;
        memcpy(p, digits, DIGITS_ROOM);
        return p + count;
    }
    memcpy(p, digits, DIGITS_ROOM);
    if (count <= before) {
        memset(p + count, '0', 8);
        p += before;
        memcpy(p, ".0", 2);
        return p + 2;
    }
    p[before] = '.';
    memcpy(p + before + 1, digits + before, DIGITS_ROOM);
    return p + count + 1;
}

static char *lay_out_scientific(char *p, const char *digits, int count, int before) {
    *p++ = digits[0];
    *p++ = '.';
    *p = '0';
    if (count > 1)
        memcpy(p, digits + 1, DIGITS_ROOM);
    p += count == 1 ? 1 : count - 1;
    *p++ = 'E';
    int exponent = before - 1;
    *p = '-';
    p += exponent < 0;
    uint64_t magnitude = (uint64_t)(exponent < 0 ? -exponent : exponent);
    return put_digits(p, magnitude, count_digits(magnitude));
}

static char *put_positive(char *p, double value) {
    uint64_t number;
    int exponent;
    if (value < 1e7 && value == (double)(uint32_t)value) {
        number = (uint32_t)value;
        exponent = 0;
    } else {
        number_decimal_shortest(value, &number, &exponent);
    }
    char digits[2 * DIGITS_ROOM];
    int count = count_digits(number);
    put_digits(digits, number, count);
    int before = count + exponent;
    if (before > -3 && before <= 7)
        return lay_out_plain(p, digits, count, before);
    return lay_out_scientific(p, digits, count, before);
}

void number_put_double(struct buf *out, double value) {
    if (isnan(value)) {
        buf_str(out, STR("NaN"));
        return;
    }
    if (isinf(value)) {
        buf_str(out, value < 0 ? STR("-Infinity") : STR("Infinity"));
        return;
    }
    char *start = buf_reserve(out, DOUBLE_ROOM);
    if (start == NULL)
        return;
    char *p = start;
    *p = '-';
    p += signbit(value) != 0;
    if (value == 0) {
        memcpy(p, "0.0", 3);
        p += 3;
    } else {
        p = put_positive(p, fabs(value));
    }
    out->n += (size_t)(p - start);
}
