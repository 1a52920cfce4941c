/*
 * Bit-packed values as bytes: the vertical words of codec/kernels.h, without padding.
 *
 * For `rows` = ceil(n / 8) rows of `width` bits a lane has rows * width bits. The whole words come
 * first, 8 lanes side by side; what is left of each lane (less than a word) follows, cut to whole
 * bytes, lane after lane. So 360 values of 3 bits take 136 bytes.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Bytes of `n` values of `width` (0 .. 64) bits. */
size_t packed_bytes(uint32_t n, uint32_t width);

/* Packs n values below 2^width at `out` and returns the position after them. Width 0 writes
   nothing. `values` has room for KERNELS_VALUES elements, 64-byte aligned; those past n are
   overwritten. */
uint8_t *packed_put32(uint32_t *values, uint32_t n, uint32_t width, uint8_t *out);
uint8_t *packed_put64(uint64_t *values, uint32_t n, uint32_t width, uint8_t *out);

/* Unpacks packed_bytes(n, width) bytes into `values` (room for KERNELS_VALUES elements, 64-byte
   aligned; those past n become anything). Widths up to 32, or from 33. */
void packed_take32(const uint8_t *bytes, uint32_t n, uint32_t width, uint32_t *values);
void packed_take64(const uint8_t *bytes, uint32_t n, uint32_t width, uint64_t *values);
