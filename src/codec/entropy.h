/*
 * Entropy coding of small symbols: table-driven asymmetric numeral systems (tANS: Duda,
 * arXiv:1311.2540) with fixed books.
 *
 * A book is a distribution of 16 symbols over 2^10 states. The books are part of the format
 * (entropy_books.c), so a column names one by a byte and carries no table, and decoding builds
 * none. Several states take turns, value i using state i % lanes, so that their chains overlap.
 *
 *   stream   `lanes` initial states of 10 bits each, then for each value but the last `lanes` the
 *            bits that make its state's next one; low bits first, the last byte padded with zeros
 */
#pragma once

#include "base/err.h"
#include "model/limits.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    ENTROPY_SYMBOLS = 16,
    ENTROPY_CENTRE = 7, /* the symbol that most books are centred at */
    ENTROPY_BOOKS = 64,
    ENTROPY_STATE_BITS = 10,
    ENTROPY_STATES = 1 << ENTROPY_STATE_BITS,
    ENTROPY_LANES_MAX = 8,
    ENTROPY_MISS_BITS = 24,  /* what a value costs that is patched beside the stream: a guess */
    ENTROPY_VALUES_MIN = 16, /* shorter columns are never entropy-coded */
    ENTROPY_STREAM_BYTES_MAX =
        (LIMIT_VECTOR_POINTS + ENTROPY_LANES_MAX) * ENTROPY_STATE_BITS / 8 + 1,
};

/* How often each symbol stands in the 1024 states; 0 if the book does not know it. */
extern const uint16_t entropy_books[ENTROPY_BOOKS][ENTROPY_SYMBOLS];

/* States that n values use in turns. */
static inline uint32_t entropy_lanes(uint32_t n) {
    return n >= 512 ? 8 : 4;
}

/* Finds the book that codes values with these symbol counts in the fewest bits, where each value
   whose symbol the book does not know costs ENTROPY_MISS_BITS more. Returns the bits. */
uint32_t entropy_choose(const int16_t counts[ENTROPY_SYMBOLS], uint32_t *book);

/* The most frequent symbol of a book. */
uint32_t entropy_mode(uint32_t book);

/* Writes the stream of n symbols, all known to the book, and returns the position after it. At most
   ENTROPY_STREAM_BYTES_MAX bytes. */
uint8_t *entropy_put(uint32_t book, const uint8_t *symbols, uint32_t n, uint8_t *out);

/* Reads n symbols (symbols: room for LIMIT_VECTOR_POINTS). RC_CORRUPT if the stream does not have
   exactly the length that its symbols need. */
enum rc entropy_take(uint32_t book, const uint8_t *stream, uint32_t stream_bytes, uint32_t n,
                     uint32_t *symbols) MUST_USE;
