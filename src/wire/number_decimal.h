/*
 * Between decimals and doubles, inside number.h.
 */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* digits * 10^exponent, rounded to the nearest double (ties to even). Exact arithmetic for
   exponents -27 .. 27, strtod beyond. */
double number_decimal_to_double(uint64_t digits, int exponent);

/* What Java's Double.parseDouble takes, except the words NaN and Infinity. False if `text` is
   something else. Too large texts give infinities. */
bool number_decimal_parse(str text, double *value);

/* The shortest digits that read back as `value` (finite, above 0), the nearest to it if there are
   several: value = *digits * 10^*exponent, no trailing zeros. */
void number_decimal_shortest(double value, uint64_t *digits, int *exponent);
