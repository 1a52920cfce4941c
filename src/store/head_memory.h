/*
 * The memory of the heads of one shard: charged to a budget as it is taken, and given back when no
 * reader can see it any more.
 *
 * What has been unlinked waits here, with the writer, and not in the epoch domain: tails and
 * vectors come and go with every few points, and all of them belong to one writer at a time. They
 * are stamped a batch at a time, which is later than need be and never too early.
 *
 * Everything here is for the writer (the shard's lock).
 */
#pragma once

#include "base/budget.h"
#include "store/epoch.h"
#include "store/head_pool.h"

#include <stddef.h>

struct head_retired;

/* Zeroed but for budget and epochs it is empty. Both are borrowed. */
struct head_memory {
    struct budget *budget;
    struct epoch_domain *epochs;
    struct head_pool pool;
    size_t used;                 /* charged now, */
    size_t peak;                 /* and at most since head_memory_settle */
    struct head_retired *open;   /* the batch being filled; NULL: none */
    struct head_retired *oldest; /* those stamped, in order */
    struct head_retired *newest;
    struct head_retired *spare;
};

/* A block of `size` bytes, 16-aligned and not zeroed, or NULL. */
void *head_memory_take(struct head_memory *memory, size_t size) MUST_USE;

/* Gives back at once a block that no reader has seen, with the size it was asked with. */
void head_memory_give(struct head_memory *memory, void *block, size_t size);

/* Gives back a block that has been unlinked, once nobody who is pinned now can hold it. NULL is
   harmless. */
void head_memory_retire(struct head_memory *memory, void *block, size_t size);

/* Gives back what is due. */
void head_memory_collect(struct head_memory *memory);

/* From now on `peak` begins with what is used. */
void head_memory_settle(struct head_memory *memory);

/* Gives back everything retired, and the pages: all blocks have been given back or retired, and no
   reader is left. */
void head_memory_fini(struct head_memory *memory);
