#include "wire/number.h"

#include "base/attr.h"
#include "wire/digits.h"
#include "wire/number_decimal.h"

#include <math.h>

/* ---- integers ---- */

enum { INTEGER_DIGITS_MAX = 19 };

/* Appends the digits at `p` to *number until something else comes; returns where that is. The
   number wraps beyond 19 digits: callers count them. */
static inline const char *take_digits(const char *p, const char *end, uint64_t *number) {
    uint64_t n = *number;
    while (end - p >= 8 && digits_leading(bytes_u64(p)) == 8) {
        n = n * 100000000 + digits_join(bytes_u64(p), 8);
        p += 8;
    }
    for (; p < end && digits_is(*p); p++)
        n = n * 10 + (uint8_t)(*p - '0');
    *number = n;
    return p;
}

enum number_outcome number_parse_int(str text, int64_t *value, char *bad) {
    if (text.n == 0)
        return NUMBER_EMPTY;
    bool negative = text.p[0] == '-';
    size_t sign = negative || text.p[0] == '+';
    if (text.n == sign)
        return NUMBER_SIGN_ONLY;
    if (text.n - sign > INTEGER_DIGITS_MAX)
        return NUMBER_TOO_LONG;
    uint64_t magnitude = 0;
    const char *end = text.p + text.n;
    const char *stop = take_digits(text.p + sign, end, &magnitude);
    if (stop != end) {
        if (bad != NULL)
            *bad = *stop;
        return NUMBER_INVALID;
    }
    if (magnitude > (uint64_t)INT64_MAX + negative)
        return NUMBER_OVERFLOW;
    *value = (int64_t)(negative ? 0 - magnitude : magnitude);
    return NUMBER_OK;
}

/* ---- values ---- */

static bool looks_like_integer(str text) {
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == '.' || (text.p[i] | 0x20) == 'e')
            return false;
    return true;
}

static enum number_outcome parse_double(str text, struct value *value, char *bad) {
    double number;
    if (bad != NULL)
        *bad = '\0';
    if (!number_decimal_parse(text, &number))
        return NUMBER_INVALID;
    *value = (struct value){points_bits_of(number), true};
    return isfinite(number) ? NUMBER_OK : NUMBER_NOT_FINITE;
}

/* The usual decimal, [-]digits.digits of at most 19 digits in all: false if it is anything else. */
static inline bool parse_plain_decimal(str text, struct value *value) {
    const char *end = text.p + text.n;
    bool negative = text.p[0] == '-';
    const char *start = text.p + negative;
    uint64_t digits = 0;
    const char *point = take_digits(start, end, &digits);
    if (point == end || *point != '.' || end - start > INTEGER_DIGITS_MAX + 1 || end - start < 2)
        return false;
    if (take_digits(point + 1, end, &digits) != end)
        return false;
    double number = number_decimal_to_double(digits, -(int)(end - point - 1));
    *value = (struct value){points_bits_of(negative ? -number : number), true};
    return true;
}

enum number_outcome number_parse_value(str text, struct value *value, char *bad) {
    if (text.n == 0)
        return NUMBER_EMPTY;
    int64_t integer;
    enum number_outcome outcome = number_parse_int(text, &integer, bad);
    if (LIKELY(outcome == NUMBER_OK)) {
        *value = (struct value){(uint64_t)integer, false};
        return NUMBER_OK;
    }
    if (parse_plain_decimal(text, value))
        return NUMBER_OK;
    return looks_like_integer(text) ? outcome : parse_double(text, value, bad);
}
