/*
 * Where the columns of a vector stand in its payload. Internal to the vector_*.c files.
 *
 *   byte 0          bits 0-1 enum vector_times, bits 2-3 enum vector_values, bits 4-7 scale
 *   if not a step   u16 length and the column of times
 *   if mixed        a byte enum vector_mask, and the mask if it is stored
 *   the rest        the column of values
 */
#pragma once

#include "codec/doubles.h"
#include "codec/integers.h"
#include "codec/vector.h"

#include <stdbool.h>
#include <stdint.h>

enum vector_times {
    VECTOR_TIMES_STEP,    /* nothing stored: the step follows from first, last and count */
    VECTOR_TIMES_MS,      /* an integer column of time - first */
    VECTOR_TIMES_SECONDS, /* the same, divided by 1000 */
};

enum vector_values {
    VECTOR_VALUES_BITS,           /* an integer column of the 64 bits of each value */
    VECTOR_VALUES_DECIMAL,        /* a decimal column; integers of a mixed vector converted */
    VECTOR_VALUES_DECIMAL_EXCEPT, /* a decimal column with exceptions */
};

enum vector_mask {
    VECTOR_MASK_STORED,   /* ceil(n / 8) bytes: bit i % 8 of byte i / 8 set, value i is a double */
    VECTOR_MASK_INTEGRAL, /* decimal only: exactly the integral values are integers */
};

struct vector_layout {
    enum vector_times times_method;
    int64_t step_ms; /* VECTOR_TIMES_STEP */
    struct integers times;
    enum vector_values values_method;
    enum vector_mask mask_method;
    const uint8_t *mask;
    struct integers bits;
    struct doubles doubles;
};

/* Finds the column of times, or those of the values. Whatever bytes: RC_OK or RC_CORRUPT. */
enum rc vector_layout_times(const struct vector_summary *summary, const uint8_t *payload,
                            struct vector_layout *layout) MUST_USE;
enum rc vector_layout_values(const struct vector_summary *summary, const uint8_t *payload,
                             struct vector_layout *layout) MUST_USE;
