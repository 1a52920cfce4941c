#include "base/hash.h"

#include <xxhash.h>

uint64_t hash_bytes(const void *bytes, size_t n) {
    return XXH3_64bits(bytes, n);
}

uint64_t hash_chain(uint64_t before, const void *bytes, size_t n) {
    return XXH3_64bits_withSeed(bytes, n, before);
}

uint64_t hash_checksum(const void *bytes, size_t n) {
    return XXH3_64bits(bytes, n);
}
