#include "wire/number.h"

#include "wire/number_decimal.h"

#include <math.h>

enum { DIGITS_MAX = 20, DOUBLE_TEXT_MAX = 32 };

/* Writes the digits of `n` so that they end before `end`; returns where they begin. */
static char *put_digits(char *end, uint64_t n) {
    static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313"
                                "2333435363738394041424344454647484950515253545556575859606162636"
                                "4656667686970717273747576777879808182838485868788899091929394959"
                                "6979899";
    while (n >= 100) {
        end -= 2;
        memcpy(end, pairs + n % 100 * 2, 2);
        n /= 100;
    }
    if (n >= 10) {
        end -= 2;
        memcpy(end, pairs + n * 2, 2);
    } else {
        *--end = (char)('0' + n);
    }
    return end;
}

void number_put_int(struct buf *out, int64_t value) {
    char text[DIGITS_MAX + 1];
    char *end = text + sizeof(text);
    char *p = put_digits(end, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
    if (value < 0)
        *--p = '-';
    buf_add(out, p, (size_t)(end - p));
}

static char *add_zeros(char *p, int n) {
    for (; n > 0; n--)
        *p++ = '0';
    return p;
}

static char *add(char *p, const char *bytes, int n) {
    memcpy(p, bytes, (size_t)n);
    return p + n;
}

/* `count` digits of which `before` stand before the point, -2 <= before <= 7; at least one on
   either side. */
static char *lay_out_plain(char *p, const char *digits, int count, int before) {
    if (before <= 0) {
        p = add(p, "0.", 2);
        p = add_zeros(p, -before);
        return add(p, digits, count);
    }
    if (count <= before) {
        p = add(p, digits, count);
        p = add_zeros(p, before - count);
        return add(p, ".0", 2);
    }
    p = add(p, digits, before);
    *p++ = '.';
    return add(p, digits + before, count - before);
}

static char *lay_out_scientific(char *p, const char *digits, int count, int before) {
    *p++ = digits[0];
    *p++ = '.';
    p = count == 1 ? add_zeros(p, 1) : add(p, digits + 1, count - 1);
    *p++ = 'E';
    int exponent = before - 1;
    if (exponent < 0)
        *p++ = '-';
    char text[DIGITS_MAX];
    char *end = text + sizeof(text);
    char *start = put_digits(end, (uint64_t)(exponent < 0 ? -exponent : exponent));
    return add(p, start, (int)(end - start));
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
    char text[DIGITS_MAX];
    char *end = text + sizeof(text);
    char *digits = put_digits(end, number);
    int count = (int)(end - digits);
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
    char text[DOUBLE_TEXT_MAX];
    char *p = text;
    if (signbit(value))
        *p++ = '-';
    p = value == 0 ? add(p, "0.0", 3) : put_positive(p, fabs(value));
    buf_add(out, text, (size_t)(p - text));
}
