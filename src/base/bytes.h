/*
 * Little-endian integers and varints in byte strings: the alphabet of all stored formats.
 *
 * Loads and stores are unaligned and compile to single moves. A varint is LEB128: seven bits a
 * byte, low bits first, the high bit set on all but the last byte; at most 10 bytes.
 */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "stored formats are little-endian");

#define BYTES_ACCESSOR(bits)                                                                       \
    static inline uint##bits##_t bytes_u##bits(const void *at) {                                   \
        uint##bits##_t v;                                                                          \
        memcpy(&v, at, sizeof(v));                                                                 \
        return v;                                                                                  \
    }                                                                                              \
    static inline void bytes_put_u##bits(void *at, uint##bits##_t v) {                             \
        memcpy(at, &v, sizeof(v));                                                                 \
    }
BYTES_ACCESSOR(16)
BYTES_ACCESSOR(32)
BYTES_ACCESSOR(64)
#undef BYTES_ACCESSOR

enum { BYTES_VARINT_MAX = 10 };

/* Small absolute values become small unsigned ones: 0, -1, 1, -2, ... -> 0, 1, 2, 3, ... */
static inline uint64_t bytes_zigzag(int64_t v) {
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static inline int64_t bytes_unzigzag(uint64_t v) {
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

/* Writes `v` at `at` (room for BYTES_VARINT_MAX) and returns the position after it. */
static inline uint8_t *bytes_put_varint(uint8_t *at, uint64_t v) {
    while (v >= 0x80) {
        *at++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *at++ = (uint8_t)v;
    return at;
}

/* The same for numbers whose lengths vary without a pattern: up to 21 bits without a branch that
   would be mispredicted. */
static inline uint8_t *bytes_put_varint_mixed(uint8_t *at, uint64_t v) {
    if (UNLIKELY(v >> 21 != 0))
        return bytes_put_varint(at, v);
    uint32_t low = (uint32_t)v;
    uint32_t two = low > 0x7f, three = low > 0x3fff;
    uint32_t spread = (low & 0x7f) | (low << 1 & 0x7f00) | (low << 2 & 0x7f0000);
    bytes_put_u32(at, spread | two << 7 | three << 15);
    return at + 1 + two + three;
}

/* A cursor over borrowed bytes. Reading past the end or a malformed varint sets `failed`, and every
   later read returns 0; the reader looks once, at the end. */
struct bytes_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

static inline struct bytes_reader bytes_reader_of(const void *bytes, size_t n) {
    const uint8_t *p = bytes;
    return (struct bytes_reader){p, p + n, false};
}

static inline size_t bytes_left(const struct bytes_reader *reader) {
    return (size_t)(reader->end - reader->at);
}

/* Returns the next `n` bytes, borrowed, or NULL (and fails the reader). */
static inline const uint8_t *bytes_take(struct bytes_reader *reader, size_t n) {
    if (UNLIKELY(reader->failed || bytes_left(reader) < n)) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *p = reader->at;
    reader->at += n;
    return p;
}

static inline uint8_t bytes_take_u8(struct bytes_reader *reader) {
    const uint8_t *p = bytes_take(reader, 1);
    return p == NULL ? 0 : *p;
}

static inline uint32_t bytes_take_u32(struct bytes_reader *reader) {
    const uint8_t *p = bytes_take(reader, 4);
    return p == NULL ? 0 : bytes_u32(p);
}

static inline uint64_t bytes_take_u64(struct bytes_reader *reader) {
    const uint8_t *p = bytes_take(reader, 8);
    return p == NULL ? 0 : bytes_u64(p);
}

static inline uint64_t bytes_take_varint(struct bytes_reader *reader) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = bytes_take_u8(reader);
        if (shift == 63 && byte > 1)
            break;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return reader->failed ? 0 : v;
    }
    reader->failed = true;
    return 0;
}
