/*
 * Numbers as OpenTSDB reads and writes them.
 */
#pragma once

#include "base/buf.h"
#include "base/str.h"
#include "model/points.h"

#include <stdbool.h>
#include <stdint.h>

enum number_outcome {
    NUMBER_OK = 0,
    NUMBER_EMPTY,      /* no text */
    NUMBER_INVALID,    /* not a number; for integers *bad is the offending character */
    NUMBER_TOO_LONG,   /* more than 19 characters of integer, 20 with a sign */
    NUMBER_OVERFLOW,   /* beyond int64 */
    NUMBER_NOT_FINITE, /* too large for a double: *value is an infinity */
    NUMBER_SIGN_ONLY   /* an integer's sign with nothing behind */
};

/* A value: integer unless the text has '.', 'e' or 'E' (decided by the text, not by the number);
   integers take an optional sign; doubles what Java's parseDouble takes (".5", "1.", "1e3", "1.5f",
   "1.5d", hexadecimal, blanks around). Correctly rounded, whatever the locale. *bad (may be NULL)
   is only set for integers: the offending byte, the first of its character; it is 0 when a double
   is not one. Cost: linear in the text, no allocation. */
enum number_outcome number_parse_value(str text, struct value *value, char *bad);

/* A signed decimal integer with optional sign, the whole text. */
enum number_outcome number_parse_int(str text, int64_t *value, char *bad);

/* Appends an integer in decimal. */
void number_put_int(struct buf *out, int64_t value);

/* Appends a double as Java's Double.toString does (1.0, 1.0E7, 1.234E-4, -0.0), with the shortest
   digits that read back the same, as Java does since release 19 (1e23 is 1.0E23, not
   9.999999999999999E22); NaN and infinities as NaN, Infinity, -Infinity (no quotes). */
void number_put_double(struct buf *out, double value);
