#include "store/index_hash.h"

#include "base/check.h"

#include <stdlib.h>

enum { SLOTS_MIN = 64 };

static size_t slots_bytes(const struct index_hash *table) {
    return table->slots == NULL ? 0 : ((size_t)table->mask + 1) * sizeof(*table->slots);
}

void index_hash_fini(struct index_hash *table) {
    if (table->slots != NULL)
        index_account_release(table->account, slots_bytes(table));
    free(table->slots);
    *table = (struct index_hash){.account = table->account};
}

static bool grow(struct index_hash *table, uint64_t slots) {
    if (slots - 1 > UINT32_MAX)
        return false;
    if (!index_account_charge(table->account, slots * sizeof(*table->slots)))
        return false;
    struct index_hash old = *table;
    table->slots = calloc(slots, sizeof(*table->slots));
    if (table->slots == NULL) {
        index_account_release(table->account, slots * sizeof(*table->slots));
        table->slots = old.slots;
        return false;
    }
    table->mask = (uint32_t)(slots - 1);
    table->count = 0;
    for (size_t i = 0; old.slots != NULL && i <= old.mask; i++)
        if (old.slots[i].id != 0)
            index_hash_add(table, old.slots[i].hash, old.slots[i].id);
    index_account_release(table->account, slots_bytes(&old));
    free(old.slots);
    return true;
}

bool index_hash_reserve(struct index_hash *table, uint32_t more) {
    uint64_t slots = table->slots == NULL ? 0 : (uint64_t)table->mask + 1;
    uint64_t want = (uint64_t)table->count + more;
    if (want * 4 <= slots * 3)
        return true;
    if (slots == 0)
        slots = SLOTS_MIN;
    while (want * 4 > slots * 3)
        slots *= 2;
    return grow(table, slots);
}

void index_hash_add(struct index_hash *table, uint32_t hash, uint32_t id) {
    CHECK(id != 0 && table->count < table->mask);
    uint32_t at = hash & table->mask;
    while (table->slots[at].id != 0)
        at = (at + 1) & table->mask;
    table->slots[at] = (struct index_hash_slot){hash, id};
    table->count++;
}

void index_hash_remove(struct index_hash *table, uint32_t hash, uint32_t id) {
    uint32_t mask = table->mask, hole = hash & mask;
    while (table->slots[hole].id != id) {
        CHECK(table->slots[hole].id != 0);
        hole = (hole + 1) & mask;
    }
    table->count--;
    /* Close the gap: an entry moves back unless that would take it before its home. */
    for (uint32_t at = (hole + 1) & mask; table->slots[at].id != 0; at = (at + 1) & mask) {
        uint32_t home = table->slots[at].hash & mask;
        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        table->slots[hole] = table->slots[at];
        hole = at;
    }
    table->slots[hole] = (struct index_hash_slot){0};
}
