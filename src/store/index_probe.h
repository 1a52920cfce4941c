/*
 * What the open-addressing tables of the index share: linear probing over a power of two of slots,
 * of which at most three quarters are taken.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { INDEX_PROBE_SLOTS_MIN = 64 };

/* How many slots `entries` need in a table that has `slots` (0: none yet): as many, or more. */
static inline uint64_t index_probe_slots(uint64_t slots, uint64_t entries) {
    while (entries * 4 > slots * 3)
        slots = slots == 0 ? INDEX_PROBE_SLOTS_MIN : 2 * slots;
    return slots;
}

/* A removal leaves a gap at `hole`, which would hide what was pushed past it. Going up from there
   to the next empty slot, each entry that moves back leaves the gap where it was. True if the entry
   at `at` moves: unless that would take it before `home`, where its search begins. */
static inline bool index_probe_moves(uint64_t at, uint64_t home, uint64_t hole, uint64_t mask) {
    return ((at - home) & mask) >= ((at - hole) & mask);
}
