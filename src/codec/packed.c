#include "codec/packed.h"

#include "base/attr.h"
#include "base/bytes.h"
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

/* How many rows the 32-bit kernels touch. */
static uint32_t rows_touched(uint32_t rows) {
    if (rows <= KERNELS_FEW_ROWS)
        return rows;
    return (rows + KERNELS_BLOCK_ROWS - 1) / KERNELS_BLOCK_ROWS * KERNELS_BLOCK_ROWS;
}

size_t packed_bytes(uint32_t n, uint32_t width) {
    struct extent extent = extent_of(n, width);
    size_t word_bytes = width <= 32 ? 4 : 8;
    return KERNELS_LANES * (extent.words * word_bytes + extent.tail_bytes);
}

/* The last partial words of the lanes, `bytes` of each, one after the other. Whole words are moved
   as long as the next lanes' bytes cover what that is too much. */
static void put_tails(const uint8_t *words, uint32_t bytes, size_t word_bytes, uint8_t *out) {
    uint32_t lane = 0;
    for (; 2 * bytes >= word_bytes && lane < KERNELS_LANES - 1; lane++) {
        if (word_bytes == 4)
            memcpy(out + lane * bytes, words + lane * 4, 4);
        else
            memcpy(out + lane * bytes, words + lane * 8, 8);
    }
    for (; lane < KERNELS_LANES; lane++)
        for (uint32_t i = 0; i < bytes; i++)
            out[lane * bytes + i] = words[lane * word_bytes + i];
}

static void take_tails(const uint8_t *in, uint32_t bytes, size_t word_bytes, uint8_t *words) {
    uint32_t lane = 0;
    for (; 2 * bytes >= word_bytes && lane < KERNELS_LANES - 1; lane++) {
        if (word_bytes == 4)
            bytes_put_u32(words + lane * 4,
                          bytes_u32(in + lane * bytes) & UINT32_MAX >> (32 - 8 * bytes));
        else
            bytes_put_u64(words + lane * 8,
                          bytes_u64(in + lane * bytes) & UINT64_MAX >> (64 - 8 * bytes));
    }
    for (; lane < KERNELS_LANES; lane++)
        for (uint32_t i = 0; i < word_bytes; i++)
            words[lane * word_bytes + i] = i < bytes ? in[lane * bytes + i] : 0;
}

/* The words are stored as they are; of the row of words after them, `tail_bytes` of each lane. */
static uint8_t *put_words(const void *words, struct extent extent, size_t word_bytes,
                          uint8_t *out) {
    size_t whole = extent.words * word_bytes * KERNELS_LANES;
    memcpy(out, words, whole);
    if (extent.tail_bytes > 0)
        put_tails((const uint8_t *)words + whole, extent.tail_bytes, word_bytes, out + whole);
    return out + whole + KERNELS_LANES * extent.tail_bytes;
}

static void take_words(const uint8_t *bytes, struct extent extent, size_t word_bytes, void *words) {
    size_t whole = extent.words * word_bytes * KERNELS_LANES;
    memcpy(words, bytes, whole);
    if (extent.tail_bytes > 0)
        take_tails(bytes + whole, extent.tail_bytes, word_bytes, (uint8_t *)words + whole);
}

uint8_t *packed_put32(uint32_t *values, uint32_t n, uint32_t width, uint8_t *out) {
    CHECK(n <= KERNELS_VALUES && width <= 32);
    if (width == 0)
        return out;
    uint32_t words[KERNELS_VALUES] ALIGNED(64);
    struct extent extent = extent_of(n, width);
    memset(values + n, 0, (rows_touched(extent.rows) * KERNELS_LANES - n) * sizeof(*values));
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
    /* The kernel may read the words of whole blocks; what comes of those past n is not looked at.
     */
    uint32_t words[KERNELS_VALUES] ALIGNED(64);
    struct extent extent = extent_of(n, width);
    take_words(bytes, extent, sizeof(*words), words);
    if (extent.rows > KERNELS_FEW_ROWS) {
        uint32_t filled = (extent.words + (extent.tail_bytes > 0)) * KERNELS_LANES;
        uint32_t end = rows_touched(extent.rows) / 32 * width * KERNELS_LANES;
        memset(words + filled, 0, (end - filled) * sizeof(*words));
    }
    kernels_best()->unpack32(words, extent.rows, width, values);
}

void packed_take64(const uint8_t *bytes, uint32_t n, uint32_t width, uint64_t *values) {
    CHECK(n <= KERNELS_VALUES && width > 32 && width <= 64);
    uint64_t words[KERNELS_VALUES] ALIGNED(64);
    struct extent extent = extent_of(n, width);
    take_words(bytes, extent, sizeof(*words), words);
    kernels_best()->unpack64(words, extent.rows, width, values);
}
