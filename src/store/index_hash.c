#include "store/index_hash.h"

#include "base/check.h"
#include "store/index_probe.h"

#include <stdlib.h>

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
    struct index_hash_slot *fresh =
        index_account_calloc(table->account, slots * sizeof(*table->slots));
    if (fresh == NULL)
        return false;
    struct index_hash old = *table;
    table->slots = fresh;
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
    uint64_t want = index_probe_slots(slots, (uint64_t)table->count + more);
    return want == slots || grow(table, want);
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
    /* Close the gap. */
    for (uint32_t at = (hole + 1) & mask; table->slots[at].id != 0; at = (at + 1) & mask) {
        if (!index_probe_moves(at, table->slots[at].hash & mask, hole, mask))
            continue;
        table->slots[hole] = table->slots[at];
        hole = at;
    }
    table->slots[hole] = (struct index_hash_slot){0};
}
