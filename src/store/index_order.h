/*
 * The names of one kind in byte order, for completion.
 *
 * Built when first asked, under its own lock: creating names does not touch it. Names that are
 * newer than the order are few and looked through, or else merged in.
 */
#pragma once

#include "base/err.h"
#include "os/thread.h"
#include "store/index.h"
#include "store/index_names.h"

#include <stdint.h>

struct index_order_item {
    uint64_t head; /* first 8 bytes, big-endian: decides most comparisons without the name */
    uint32_t uid;
};

struct index_order {
    struct mutex lock; /* taken before the index's lock */
    struct index_order_item *items;
    size_t count;
    size_t capacity;
    uint32_t through;  /* UIDs up to this one are in the order */
    uint64_t disorder; /* of the names, when the order was built */
    struct index_account account;
};

void index_order_init(struct index_order *order, struct budget *budget);
void index_order_fini(struct index_order *order);

/* Appends to `out` up to `max` names that begin with `prefix`, in byte order. `lock` guards the
   names, and the caller is pinned to the domain their texts are retired to. Cost: logarithmic, but
   linear in all names the first time and after removals. */
enum rc index_order_suggest(struct index_order *order, struct index_names *names,
                            struct rwlock *lock, str prefix, uint32_t max,
                            struct str_vec *out) MUST_USE;
