#include "store/index_pairs.h"

#include "base/check.h"
#include "base/hash.h"
#include "store/index_probe.h"

#include <stdlib.h>

static uint64_t home_of(const struct index_pairs *pairs, uint32_t key_uid, uint32_t value_uid) {
    return hash_u64((uint64_t)key_uid << 32 | value_uid) & pairs->mask;
}

static size_t slots_bytes(const struct index_pairs *pairs) {
    return pairs->slots == NULL ? 0 : (pairs->mask + 1) * sizeof(*pairs->slots);
}

void index_pairs_fini(struct index_pairs *pairs) {
    for (size_t i = 0; pairs->slots != NULL && i <= pairs->mask; i++)
        if (pairs->slots[i].key_uid != 0)
            index_set_fini(&pairs->slots[i].series, pairs->account);
    index_account_release(pairs->account, slots_bytes(pairs));
    free(pairs->slots);
    *pairs = (struct index_pairs){.account = pairs->account};
}

/* The slot of a pair, or the empty one where it belongs. */
static struct index_pair *slot_of(const struct index_pairs *pairs, uint32_t key_uid,
                                  uint32_t value_uid) {
    for (uint64_t at = home_of(pairs, key_uid, value_uid);; at = (at + 1) & pairs->mask) {
        struct index_pair *slot = &pairs->slots[at];
        if (slot->key_uid == 0 || (slot->key_uid == key_uid && slot->value_uid == value_uid))
            return slot;
    }
}

static bool grow(struct index_pairs *pairs, uint64_t slots) {
    struct index_pair *fresh = index_account_calloc(pairs->account, slots * sizeof(*pairs->slots));
    if (fresh == NULL)
        return false;
    struct index_pairs old = *pairs;
    pairs->slots = fresh;
    pairs->mask = slots - 1;
    for (size_t i = 0; old.slots != NULL && i <= old.mask; i++)
        if (old.slots[i].key_uid != 0)
            *slot_of(pairs, old.slots[i].key_uid, old.slots[i].value_uid) = old.slots[i];
    index_account_release(pairs->account, slots_bytes(&old));
    free(old.slots);
    return true;
}

bool index_pairs_reserve(struct index_pairs *pairs, uint32_t more) {
    uint64_t slots = pairs->slots == NULL ? 0 : pairs->mask + 1;
    uint64_t want = index_probe_slots(slots, pairs->count + more);
    return want == slots || grow(pairs, want);
}

struct index_set *index_pairs_find(const struct index_pairs *pairs, uint32_t key_uid,
                                   uint32_t value_uid) {
    if (pairs->slots == NULL || key_uid == 0)
        return NULL;
    struct index_pair *slot = slot_of(pairs, key_uid, value_uid);
    return slot->key_uid == 0 ? NULL : &slot->series;
}

void index_pairs_add(struct index_pairs *pairs, uint32_t key_uid, uint32_t value_uid, uint32_t id) {
    struct index_pair *slot = slot_of(pairs, key_uid, value_uid);
    if (slot->key_uid == 0) {
        CHECK(pairs->count < pairs->mask);
        *slot = (struct index_pair){.key_uid = key_uid, .value_uid = value_uid};
        pairs->count++;
    }
    index_set_add(&slot->series, id);
}

void index_pairs_remove(struct index_pairs *pairs, uint32_t key_uid, uint32_t value_uid,
                        uint32_t id) {
    struct index_pair *slot = slot_of(pairs, key_uid, value_uid);
    CHECK(slot->key_uid != 0);
    index_set_remove(&slot->series, id, pairs->account);
    if (slot->series.count > 0)
        return;
    pairs->count--;
    uint64_t mask = pairs->mask, hole = (uint64_t)(slot - pairs->slots);
    /* Close the gap. */
    for (uint64_t at = (hole + 1) & mask; pairs->slots[at].key_uid != 0; at = (at + 1) & mask) {
        uint64_t home = home_of(pairs, pairs->slots[at].key_uid, pairs->slots[at].value_uid);
        if (!index_probe_moves(at, home, hole, mask))
            continue;
        pairs->slots[hole] = pairs->slots[at];
        hole = at;
    }
    pairs->slots[hole] = (struct index_pair){0};
}
