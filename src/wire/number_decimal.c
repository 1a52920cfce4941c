#include "wire/number_decimal.h"

#include "base/attr.h"
#include "base/bytes.h"
#include "base/check.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef unsigned __int128 u128;

enum { FIVE_POWER_MAX = 27 /* the last power of five below 2^63 */ };

static const uint64_t powers_of_five[FIVE_POWER_MAX + 1] = {
    UINT64_C(1),
    UINT64_C(5),
    UINT64_C(25),
    UINT64_C(125),
    UINT64_C(625),
    UINT64_C(3125),
    UINT64_C(15625),
    UINT64_C(78125),
    UINT64_C(390625),
    UINT64_C(1953125),
    UINT64_C(9765625),
    UINT64_C(48828125),
    UINT64_C(244140625),
    UINT64_C(1220703125),
    UINT64_C(6103515625),
    UINT64_C(30517578125),
    UINT64_C(152587890625),
    UINT64_C(762939453125),
    UINT64_C(3814697265625),
    UINT64_C(19073486328125),
    UINT64_C(95367431640625),
    UINT64_C(476837158203125),
    UINT64_C(2384185791015625),
    UINT64_C(11920928955078125),
    UINT64_C(59604644775390625),
    UINT64_C(298023223876953125),
    UINT64_C(1490116119384765625),
    UINT64_C(7450580596923828125),
};

/* ---- decimal to double ---- */

static double power_of_two(int exponent) {
    CHECK(exponent > -1023 && exponent < 1024);
    uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static int bit_length(u128 n) {
    uint64_t high = (uint64_t)(n >> 64);
    return high != 0 ? 128 - __builtin_clzll(high) : 64 - __builtin_clzll((uint64_t)n);
}

/* n * 2^exponent (a little more if `more`), rounded to nearest even. The result is far from the
   ends of the exponent range. */
static double round_to_double(u128 n, bool more, int exponent) {
    int drop = bit_length(n) - 53;
    if (drop <= 0)
        return (double)(uint64_t)n * power_of_two(exponent);
    uint64_t kept = (uint64_t)(n >> drop);
    u128 rest = n & (((u128)1 << drop) - 1);
    u128 half = (u128)1 << (drop - 1);
    if (rest > half || (rest == half && (more || (kept & 1) != 0)))
        kept++;
    return (double)kept * power_of_two(exponent + drop);
}

/* |exponent| <= FIVE_POWER_MAX: the product or quotient with a power of five fits in 128 bits, and
   of a quotient the remainder says on which side of it the number is. */
static double scale_exactly(uint64_t digits, int exponent) {
    if (exponent >= 0)
        return round_to_double((u128)digits * powers_of_five[exponent], false, exponent);
    int shift = __builtin_clzll(digits);
    u128 numerator = (u128)(digits << shift) << 64;
    uint64_t five = powers_of_five[-exponent];
    return round_to_double(numerator / five, numerator % five != 0, exponent - shift - 64);
}

/* `text` is terminated and in the form of the C locale. */
static double library_parse(const char *text) {
    /* glibc and musl hand out a constant for "C": nothing is allocated and it cannot fail. */
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    CHECK(c_locale != (locale_t)0);
    double value = strtod_l(text, NULL, c_locale);
    freelocale(c_locale);
    return value;
}

double number_decimal_to_double(uint64_t digits, int exponent) {
    static const double powers_of_ten[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                           1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                           1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (digits == 0)
        return 0;
    /* Both sides are exact doubles, so the one operation rounds correctly (Clinger 1990). */
    if (digits <= UINT64_C(1) << 53 && exponent >= -22 && exponent <= 22)
        return exponent < 0 ? (double)digits / powers_of_ten[-exponent]
                            : (double)digits * powers_of_ten[exponent];
    if (exponent >= -FIVE_POWER_MAX && exponent <= FIVE_POWER_MAX)
        return scale_exactly(digits, exponent);
    char text[40];
    (void)!snprintf(text, sizeof(text), "%llue%d", (unsigned long long)digits, exponent);
    return library_parse(text);
}

/* ---- text to double ---- */

/* A number's text, taken apart: sign, digits with at most one point among them, exponent. */
struct number_text {
    bool negative;
    bool hexadecimal;
    str digits;       /* as written, with the point */
    size_t count;     /* digits without the point */
    size_t fraction;  /* digits after the point */
    int64_t exponent; /* of ten, or of two; bounded */
};

/* No text that fits in memory can undo an exponent of this size with its digits. */
#define EXPONENT_BOUND (INT64_C(1) << 50)

static bool is_digit(char c) {
    return (uint8_t)(c - '0') < 10;
}

static bool is_digit_of(char c, bool hexadecimal) {
    return is_digit(c) || (hexadecimal && (uint8_t)((c | 0x20) - 'a') < 6);
}

/* Java's trim: everything up to the space. */
static str trim(str text) {
    while (text.n > 0 && (uint8_t)text.p[0] <= ' ')
        text = str_from(text, 1);
    while (text.n > 0 && (uint8_t)text.p[text.n - 1] <= ' ')
        text.n--;
    return text;
}

static void take_mantissa(str *text, struct number_text *number) {
    const char *start = text->p;
    bool point = false;
    size_t i = 0;
    for (; i < text->n; i++) {
        if (is_digit_of(text->p[i], number->hexadecimal)) {
            number->count++;
            number->fraction += point;
        } else if (text->p[i] == '.' && !point) {
            point = true;
        } else {
            break;
        }
    }
    number->digits = (str){start, i};
    *text = str_from(*text, i);
}

/* After the letter: an optional sign and digits, at least one. */
static bool take_exponent(str *text, struct number_text *number) {
    bool negative = text->n > 0 && text->p[0] == '-';
    size_t i = text->n > 0 && (negative || text->p[0] == '+');
    size_t first = i;
    int64_t exponent = 0;
    for (; i < text->n && is_digit(text->p[i]); i++)
        if (exponent < EXPONENT_BOUND)
            exponent = exponent * 10 + (text->p[i] - '0');
    number->exponent = negative ? -exponent : exponent;
    *text = str_from(*text, i);
    return i > first;
}

static bool take_apart(str text, struct number_text *number) {
    text = trim(text);
    if (text.n > 0 && (text.p[0] == '-' || text.p[0] == '+')) {
        number->negative = text.p[0] == '-';
        text = str_from(text, 1);
    }
    if (text.n > 1 && text.p[0] == '0' && (text.p[1] | 0x20) == 'x') {
        number->hexadecimal = true;
        text = str_from(text, 2);
    }
    take_mantissa(&text, number);
    if (number->count == 0)
        return false;
    bool letter = text.n > 0 && (text.p[0] | 0x20) == (number->hexadecimal ? 'p' : 'e');
    if (letter) {
        text = str_from(text, 1);
        if (!take_exponent(&text, number))
            return false;
    } else if (number->hexadecimal) {
        return false;
    }
    if (text.n == 1 && ((text.p[0] | 0x20) == 'f' || (text.p[0] | 0x20) == 'd'))
        text.n = 0;
    return text.n == 0;
}

/* n * 2^exponent (a little more if `more`), rounded once, subnormal or not. n < 2^60, not 0. */
static double round_binary(uint64_t n, bool more, int64_t exponent) {
    int bits = bit_length(n);
    int64_t log2 = bits - 1 + exponent;
    if (log2 > 1023)
        return INFINITY;
    if (log2 < -1075)
        return 0;
    int kept_bits = log2 >= -1022 ? 53 : (int)(log2 + 1075);
    int drop = bits - kept_bits;
    if (drop <= 0)
        return ldexp((double)n, (int)exponent);
    uint64_t kept = n >> drop;
    uint64_t rest = n & ((UINT64_C(1) << drop) - 1);
    uint64_t half = UINT64_C(1) << (drop - 1);
    if (rest > half || (rest == half && (more || (kept & 1) != 0)))
        kept++;
    return ldexp((double)kept, (int)exponent + drop);
}

/* Not with the library: glibc 2.36 rounds some subnormal hexadecimals the wrong way. */
static double parse_hexadecimal(const struct number_text *number) {
    uint64_t digits = 0;
    int64_t dropped = 0;
    bool more = false;
    for (size_t i = 0; i < number->digits.n; i++) {
        char c = number->digits.p[i];
        if (c == '.')
            continue;
        if (digits >> 56 == 0) {
            digits = digits << 4 | (uint64_t)(is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
        } else {
            dropped++;
            more |= c != '0';
        }
    }
    if (digits == 0)
        return 0;
    return round_binary(digits, more, 4 * (dropped - (int64_t)number->fraction) + number->exponent);
}

/* Any length: the first digits, and behind them a 1 that stands for whatever else is not zero. No
   double, nor the middle between two, has more than 767 significant digits, so the rest can only
   say on which side of one the number is. */
static double parse_at_length(const struct number_text *number) {
    enum { KEPT = 780 };
    char out[KEPT + 48] = "";
    size_t n = 0;
    int64_t dropped = 0;
    bool more = false;
    for (size_t i = 0; i < number->digits.n; i++) {
        char c = number->digits.p[i];
        if (c == '.' || (n == 0 && c == '0'))
            continue;
        if (n < KEPT) {
            out[n++] = c;
        } else {
            dropped++;
            more |= c != '0';
        }
    }
    if (n == 0)
        return 0;
    int64_t exponent = dropped - (int64_t)number->fraction + number->exponent;
    if (more) {
        out[n++] = '1';
        exponent--;
    }
    if (exponent > 99999)
        exponent = 99999;
    if (exponent < -99999)
        exponent = -99999;
    (void)!snprintf(out + n, sizeof(out) - n, "e%d", (int)exponent);
    return library_parse(out);
}

static double magnitude_of(const struct number_text *number) {
    /* 19 digits always fit in 64 bits. */
    if (number->hexadecimal)
        return parse_hexadecimal(number);
    if (number->count > 19 || number->exponent > 1000 || number->exponent < -1000)
        return parse_at_length(number);
    uint64_t digits = 0;
    for (size_t i = 0; i < number->digits.n; i++)
        if (number->digits.p[i] != '.')
            digits = digits * 10 + (uint8_t)(number->digits.p[i] - '0');
    return number_decimal_to_double(digits, (int)number->exponent - (int)number->fraction);
}

bool number_decimal_parse(str text, double *value) {
    struct number_text number = {0};
    if (!take_apart(text, &number))
        return false;
    double magnitude = magnitude_of(&number);
    *value = number.negative ? -magnitude : magnitude;
    return true;
}

/* ---- double to decimal ---- */

struct binary {
    uint64_t mantissa; /* value = mantissa * 2^exponent */
    int exponent;
    bool narrow_below; /* the next smaller double is only half as far as the next larger one */
};

static struct binary binary_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    uint64_t fraction = bits & ((UINT64_C(1) << 52) - 1);
    int exponent = (int)(bits >> 52 & 0x7ff);
    if (exponent == 0)
        return (struct binary){fraction, -1074, false};
    return (struct binary){fraction | UINT64_C(1) << 52, exponent - 1075,
                           fraction == 0 && exponent > 1};
}

/* The decimals that round to a value, scaled to integers: all between low and high, included. */
struct interval {
    uint64_t low;
    uint64_t high;
    uint64_t power; /* of ten, that was taken away so far */
    int removed;    /* its exponent */
};

/* Takes `count` digits away, power = 10^count, if that leaves an integer between the bounds.
   Inlined, so that the divisions are by constants. */
static inline bool remove_digits(struct interval *interval, int count, uint64_t power) {
    uint64_t low = interval->low / power + (interval->low % power != 0);
    uint64_t high = interval->high / power;
    if (low > high)
        return false;
    interval->low = low;
    interval->high = high;
    interval->power *= power;
    interval->removed += count;
    return true;
}

/* The value is `at` plus `rest` / 2^shift: without the digits that were taken away, `power` in all,
   and rounded. */
static inline uint64_t round_off(const struct interval *interval, uint64_t at, u128 rest, int shift,
                                 uint64_t power) {
    uint64_t digits = at / power;
    uint64_t last = at % power;
    uint64_t half = power / 2;
    bool up, tie;
    if (half == 0) {
        u128 twice = rest << 1, one = (u128)1 << shift;
        up = twice > one;
        tie = twice == one;
    } else {
        up = last > half || (last == half && rest != 0);
        tie = last == half && rest == 0;
    }
    if (up || (tie && (digits & 1) != 0))
        digits++;
    return digits < interval->low    ? interval->low
           : digits > interval->high ? interval->high
                                     : digits;
}

/* As many last digits are taken away as leave an integer between the bounds. Most doubles that get
   here have all their digits: where two cannot be taken away no more need be tried. */
static uint64_t shorten(struct interval *interval, uint64_t at, u128 rest, int shift) {
    if (!remove_digits(interval, 2, 100))
        return remove_digits(interval, 1, 10) ? round_off(interval, at, rest, shift, 10)
                                              : round_off(interval, at, rest, shift, 1);
    remove_digits(interval, 16, UINT64_C(10000000000000000));
    remove_digits(interval, 8, 100000000);
    remove_digits(interval, 4, 10000);
    remove_digits(interval, 2, 100);
    remove_digits(interval, 1, 10);
    return round_off(interval, at, rest, shift, interval->power);
}

/* Scales the value and the middles to its neighbours by 10^k, so that the value has 17 or 18
   digits before the point, in exact 128-bit arithmetic: 4m * 5^k < 2^118. False where k is not in
   0 .. 27, that is outside about 1e-11 .. 1e17. */
static bool shortest_exactly(struct binary b, uint64_t *digits, int *exponent) {
    int log2 = b.exponent + 52;
    int log10 = log2 * 78913 >> 18; /* floor(log2 * log10(2)) */
    int k = 16 - log10;
    if (k < 0 || k > FIVE_POWER_MAX || b.mantissa < UINT64_C(1) << 52)
        return false;
    u128 five = powers_of_five[k];
    u128 below = five * (4 * b.mantissa - (b.narrow_below ? 1 : 2));
    u128 middle = five * (4 * b.mantissa);
    u128 above = five * (4 * b.mantissa + 2);
    int shift = -(b.exponent + k - 2);
    if (shift < 0) {
        below <<= -shift;
        middle <<= -shift;
        above <<= -shift;
        shift = 0;
    }
    u128 mask = ((u128)1 << shift) - 1;
    /* A middle belongs to the double whose mantissa is even. */
    bool even = (b.mantissa & 1) == 0;
    struct interval interval = {.power = 1};
    interval.low = (uint64_t)(below >> shift) + ((below & mask) != 0 || !even);
    interval.high = (uint64_t)(above >> shift) - ((above & mask) == 0 && !even);
    *digits = shorten(&interval, (uint64_t)(middle >> shift), middle & mask, shift);
    *exponent = interval.removed - k;
    return true;
}

/* The value rounded to `count` digits, by the library: any double, slowly. */
static void round_to_digits(double value, int count, uint64_t *digits, int *exponent) {
    char text[40];
    (void)!snprintf(text, sizeof(text), "%.*e", count - 1, value);
    *digits = 0;
    const char *p = text;
    for (; *p != 'e'; p++) /* skips the point, whatever the locale writes for it */
        if (is_digit(*p))
            *digits = *digits * 10 + (uint8_t)(*p - '0');
    *exponent = (int)strtol(p + 1, NULL, 10) - (count - 1);
}

/* By trying. 15 digits survive the way through any normal double, so nothing shorter needs to be
   tried for those; a subnormal one has fewer. Java shows two digits at least, hence not from 1. */
static void shortest_by_trial(double value, struct binary b, uint64_t *digits, int *exponent) {
    int count = b.mantissa < UINT64_C(1) << 52 ? 2 : 15;
    for (; count <= 17; count++) {
        round_to_digits(value, count, digits, exponent);
        if (number_decimal_to_double(*digits, *exponent) == value)
            break;
        /* Where the gap below is the narrow one, the next decimal above may still be inside. */
        if (b.narrow_below && number_decimal_to_double(*digits + 1, *exponent) == value) {
            ++*digits;
            break;
        }
    }
    while (*digits % 10 == 0) {
        *digits /= 10;
        ++*exponent;
    }
}

/* Values of at most six decimals below 1e9, the usual ones. They have at most 15 digits: such
   decimals all read as different doubles, so the one that reads as the value is the shortest once
   its zeros are gone. The division rounds correctly, as both of its sides are exact. */
static bool shortest_of_few_decimals(double value, uint64_t *digits, int *exponent) {
    if (!(value < 1e9))
        return false;
    uint64_t scaled = (uint64_t)(value * 1e6 + 0.5);
    if (scaled == 0 || (double)scaled / 1e6 != value)
        return false;
    *exponent = -6;
    if (scaled % 10000 == 0) {
        scaled /= 10000;
        *exponent += 4;
    }
    while (scaled % 10 == 0) {
        scaled /= 10;
        ++*exponent;
    }
    *digits = scaled;
    return true;
}

void number_decimal_shortest(double value, uint64_t *digits, int *exponent) {
    if (shortest_of_few_decimals(value, digits, exponent))
        return;
    struct binary b = binary_of(value);
    if (!shortest_exactly(b, digits, exponent))
        shortest_by_trial(value, b, digits, exponent);
}
