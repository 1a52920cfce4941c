#include "codec/packed.h"

#include "base/attr.h"
#include "base/check.h"
#include "codec/kernels.h"

#include <string.h>

/* How many whole words a lane has, and how many bytes of a last partial one. */
struct extent {
    uint32_t rows;
    uint32_t words;
    uint32_t tail_bytes;
};

static struct extent extent_of(uint32_t n, uint32_t width) {
    uint32_t rows = (n + KERNELS_LANES - 1) / KERNELS_LANES;
    uint32_t word_bits = width <= 32 ? 32 : 64;
    uint32_t bits = rows * width;
    return (struct extent){rows, bits / word_bits, (bits % word_bits + 7) / 8};
}

static uint32_t block_end(uint32_t rows) {
    return (rows + KERNELS_BLOCK_ROWS - 1) / KERNELS_BLOCK_ROWS * KERNELS_BLOCK_ROWS;
}

size_t packed_bytes(uint32_t n, uint32_t width) {
    struct extent extent = extent_of(n, width);
    size_t word_bytes = width <= 32 ? 4 : 8;
    return KERNELS_LANES * (extent.words * word_bytes + extent.tail_bytes);
}

/* The words are stored as they are; of the row of words after them, `tail_bytes` of each lane. */
static uint8_t *put_words(const void *words, struct extent extent, size_t word_bytes,
                          uint8_t *out) {
    size_t whole = extent.words * word_bytes * KERNELS_LANES;
    memcpy(out, words, whole);
    out += whole;
    const uint8_t *tail = (const uint8_t *)words + whole;
    for (uint32_t lane = 0; extent.tail_bytes > 0 && lane < KERNELS_LANES; lane++) {
        memcpy(out, tail + lane * word_bytes, extent.tail_bytes);
        out += extent.tail_bytes;
    }
    return out;
}

static void take_words(const uint8_t *bytes, struct extent extent, size_t word_bytes, void *words) {
    size_t whole = extent.words * word_bytes * KERNELS_LANES;
    memcpy(words, bytes, whole);
    if (extent.tail_bytes == 0)
        return;
    uint8_t *tail = (uint8_t *)words + whole;
    memset(tail, 0, word_bytes * KERNELS_LANES);
    for (uint32_t lane = 0; lane < KERNELS_LANES; lane++)
        memcpy(tail + lane * word_bytes, bytes + whole + lane * extent.tail_bytes,
               extent.tail_bytes);
}

uint8_t *packed_put32(uint32_t *values, uint32_t n, uint32_t width, uint8_t *out) {
    CHECK(n <= KERNELS_VALUES && width <= 32);
    if (width == 0)
        return out;
    uint32_t words[KERNELS_VALUES] ALIGNED(64);
    struct extent extent = extent_of(n, width);
    memset(values + n, 0, (block_end(extent.rows) * KERNELS_LANES - n) * sizeof(*values));
    kernels_best()->pack32(values, extent.rows, width, words);
    return put_words(words, extent, sizeof(*words), out);
}

uint8_t *packed_put64(uint64_t *values, uint32_t n, uint32_t width, uint8_t *out) {
    CHECK(n <= KERNELS_VALUES && width > 32 && width <= 64);
    uint64_t words[KERNELS_VALUES] ALIGNED(64);
    struct extent extent = extent_of(n, width);
    memset(values + n, 0, (extent.rows * KERNELS_LANES - n) * sizeof(*values));
    kernels_best()->pack64(values, extent.rows, width, words);
    return put_words(words, extent, sizeof(*words), out);
}

void packed_take32(const uint8_t *bytes, uint32_t n, uint32_t width, uint32_t *values) {
    CHECK(n <= KERNELS_VALUES && width <= 32);
    if (width == 0) {
        memset(values, 0, n * sizeof(*values));
        return;
    }
    /* The kernel reads the words of whole blocks; what comes of those past n is not looked at. */
    uint32_t words[KERNELS_VALUES] ALIGNED(64);
    struct extent extent = extent_of(n, width);
    take_words(bytes, extent, sizeof(*words), words);
    uint32_t filled = (extent.words + (extent.tail_bytes > 0)) * KERNELS_LANES;
    uint32_t end = block_end(extent.rows) / 32 * width * KERNELS_LANES;
    memset(words + filled, 0, (end - filled) * sizeof(*words));
    kernels_best()->unpack32(words, extent.rows, width, values);
}

void packed_take64(const uint8_t *bytes, uint32_t n, uint32_t width, uint64_t *values) {
    CHECK(n <= KERNELS_VALUES && width > 32 && width <= 64);
    uint64_t words[KERNELS_VALUES] ALIGNED(64);
    struct extent extent = extent_of(n, width);
    take_words(bytes, extent, sizeof(*words), words);
    kernels_best()->unpack64(words, extent.rows, width, values);
}
