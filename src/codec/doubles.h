/*
 * Decimal doubles as scaled integers.
 *
 * A double that came from a decimal text of up to 15 digits is the double nearest to
 * digits / 10^scale, and IEEE division gives exactly that one back when both are exact doubles. So
 * a column of such doubles is a column of small integers, and the few that are not (exceptions) are
 * kept as they are (the idea of ALP: Afroozeh, Kuffo and Boncz, SIGMOD 2023, which multiplies by
 * inverse powers where this divides).
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"
#include "codec/integers.h"
#include "codec/vector.h"

#include <stdbool.h>
#include <stdint.h>

enum { DOUBLES_SCALE_MAX = 15 };

/* A decimal column found in a payload; borrows its bytes. */
struct doubles {
    uint32_t scale;
    uint32_t exceptions;               /* doubles stored as they are */
    struct bytes_reader exceptions_at; /* the exceptions, validated */
    struct integers digits;
};

/* Doubles made into digits. */
struct doubles_plan {
    uint32_t scale;
    uint32_t exceptions;
    uint64_t digits[LIMIT_VECTOR_POINTS];
    uint8_t is_exception[LIMIT_VECTOR_POINTS];
};

/* Looks whether n doubles are decimals but for a few; false if they are not. */
bool doubles_plan(const uint64_t *bits, uint32_t n, struct doubles_plan *plan);

/* The doubles that digits below 2^50 in magnitude stand for. */
void doubles_from_digits(const uint64_t *digits, uint32_t n, uint32_t scale, uint64_t *bits);

/* Writes the column as planned and returns the position after it. The reader is told plan->scale
   and whether there are exceptions by other means. Bound: integers_bound(n). */
uint8_t *doubles_encode(const struct doubles_plan *plan, const uint64_t *bits, uint32_t n,
                        enum vector_effort effort, uint8_t *out);

enum rc doubles_open(struct bytes_reader *reader, uint32_t n, uint32_t scale, bool has_exceptions,
                     struct doubles *column) MUST_USE;

/* Stores the n doubles at `out`. */
enum rc doubles_decode(const struct doubles *column, void *out) MUST_USE;

/* Sum of values [from, to) of a column without exceptions: exact digits, rounded once or twice at
   the end. */
enum rc doubles_sum(const struct doubles *column, uint32_t from, uint32_t to, double *sum) MUST_USE;
