/*
 * UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
 */
#pragma once

#include "base/str.h"

#include <stddef.h>
#include <stdint.h>

enum { UTF8_BYTES_MAX = 4 };

/* The replacement character U+FFFD, which stands for bytes that are not UTF-8. */
#define UTF8_REPLACEMENT STR("\xEF\xBF\xBD")

/* Reads the character at the beginning of `n` bytes: its length (1 .. 4) and *code_point, or 0 if
   there is none (n 0, or bytes that are not UTF-8). */
size_t utf8_decode(const char *bytes, size_t n, uint32_t *code_point);

/* Length (at least 1) of the bytes at the beginning that one replacement character stands for:
   the longest beginning of a valid sequence, as Unicode recommends. Only where utf8_decode gives
   0, with n > 0. */
size_t utf8_bad_length(const char *bytes, size_t n);

/* Writes `code_point` (a scalar value) at `out` (room for UTF8_BYTES_MAX); returns the length. */
size_t utf8_encode(char *out, uint32_t code_point);
