/*
 * Hashes and checksums (xxHash). Not for secrets.
 */
#pragma once

#include "base/str.h"

#include <stdint.h>

/* XXH3, 64 bits: hash tables and placement. Stable across releases and machines. */
uint64_t hash_bytes(const void *bytes, size_t n);

/* XXH3 of `bytes`, continued from an earlier hash: hash_chain(hash_bytes(a), b) depends on both. */
uint64_t hash_chain(uint64_t before, const void *bytes, size_t n);

/* A cheap mix of one 64-bit word (for integer keys). */
static inline uint64_t hash_u64(uint64_t x) {
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return x ^ (x >> 32);
}

/* The checksum of every stored block and record: XXH3, 64 bits, as written in docs/format. */
uint64_t hash_checksum(const void *bytes, size_t n);
