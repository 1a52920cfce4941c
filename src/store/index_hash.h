/*
 * Open-addressing table from hashes to ids, with linear probing.
 *
 * Keys are not in the table: whoever looks up walks the ids with its hash and compares. The 32-bit
 * hash is kept beside the id, so that strangers are rarely compared and growing needs no keys.
 */
#pragma once

#include "base/attr.h"
#include "store/index_account.h"

#include <stdbool.h>
#include <stdint.h>

struct index_hash_slot {
    uint32_t hash;
    uint32_t id; /* 0: empty */
};

struct index_hash {
    struct index_hash_slot *slots; /* mask + 1 of them, or NULL */
    uint32_t mask;
    uint32_t count;
    struct index_account *account;
};

void index_hash_fini(struct index_hash *table);

/* Makes room for `more` additions; false over budget. */
bool index_hash_reserve(struct index_hash *table, uint32_t more) MUST_USE;

/* Adds an id that is not there; room was reserved. */
void index_hash_add(struct index_hash *table, uint32_t hash, uint32_t id);

/* Removes an id that is there. */
void index_hash_remove(struct index_hash *table, uint32_t hash, uint32_t id);

/* Steps through the ids added with `hash`: start with *at = hash; 0 ends it. */
static inline uint32_t index_hash_next(const struct index_hash *table, uint32_t hash,
                                       uint32_t *at) {
    if (UNLIKELY(table->slots == NULL))
        return 0;
    for (;;) {
        const struct index_hash_slot *slot = &table->slots[(*at)++ & table->mask];
        if (slot->id == 0 || slot->hash == hash)
            return slot->id;
    }
}
