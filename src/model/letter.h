/*
 * Which characters are letters, outside ASCII: what Java's Character.isLetter says of one UTF-16
 * unit, that is general categories Lu, Ll, Lt, Lm and Lo in the basic plane.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* True if `code_point` (U+0080 .. U+FFFF; others are not) is a letter in Unicode 14. A fixed table
   and not a library's: which names a store accepts must not change with the machine it runs on.
   Cost: one binary search. */
bool letter_is(uint32_t code_point);
