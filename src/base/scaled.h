/*
 * Numbers with a unit behind them, as configuration has them: 500ms, 10s, 64M.
 *
 * Numbers are decimal digits alone: no sign, no fraction, no blanks. All functions read the whole
 * text, allocate nothing and leave their results alone when they return false.
 */
#pragma once

#include "base/attr.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct scaled_unit {
    const char *name;
    uint64_t factor;
};

/* Takes a text apart into its number and what stands behind, which may be empty. False if it does
   not begin with a digit, or the number has more than 64 bits. */
bool scaled_split(str text, uint64_t *number, str *unit) MUST_USE;

/* The number times the factor of its unit: one of `units`, in upper or lower case, or none, which
   stands for the factor 1. False if the text is no such number, or the product has more than 63
   bits. */
bool scaled_parse(str text, const struct scaled_unit *units, size_t count,
                  uint64_t *value) MUST_USE;

/* A duration in milliseconds, which is also its unit if the text has none: ms, s, m, h, d, w (7
   days) or y (365 days). */
bool scaled_parse_duration(str text, uint64_t *ms) MUST_USE;
