/*
 * A set of series ids: two in place, then a sorted array, then a CRoaring bitmap.
 *
 * A zeroed set is empty.
 */
#pragma once

#include "base/attr.h"
#include "store/index_account.h"

#include <stdbool.h>
#include <stdint.h>

enum { INDEX_SET_INLINE = 2, INDEX_SET_ARRAY_MAX = 64 };

struct index_bitmap;

struct index_set {
    uint32_t count;
    uint32_t capacity; /* 0: in place; UINT32_MAX: bitmap; else of the array */
    union {
        uint32_t in_place[INDEX_SET_INLINE];
        uint32_t *array;
        struct index_bitmap *bitmap;
    };
};
_Static_assert(sizeof(struct index_set) == 16, "there is one for each pair of tag key and value");

/* Makes room for one more id; false over budget (the set is as before). */
bool index_set_reserve(struct index_set *set, struct index_account *account) MUST_USE;

/* Adds an id for which room was reserved. No effect if it is there. */
void index_set_add(struct index_set *set, uint32_t id);

/* Removes an id. No effect if it is not there. */
void index_set_remove(struct index_set *set, uint32_t id, struct index_account *account);

/* Frees the memory; the set is empty afterwards. */
void index_set_fini(struct index_set *set, struct index_account *account);

/* Writes the ids, ascending, at `ids` (room for set->count). */
void index_set_list(const struct index_set *set, uint32_t *ids);
