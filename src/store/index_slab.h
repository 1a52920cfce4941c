/*
 * Small blocks of memory that are many, long-lived and returned from any thread: names and series.
 *
 * Blocks are cut from chunks and go back to a free list of their size; chunks are freed with the
 * slab. Blocks that wait in an epoch domain hold a reference to the slab, so the index can be freed
 * before they are released.
 */
#pragma once

#include "base/attr.h"
#include "store/index_account.h"

#include <stddef.h>

struct index_slab;

enum { INDEX_SLAB_BLOCK_MAX = 4104 };

/* A slab with one reference, or NULL. Blocks are aligned to `grain` and take a multiple of it: 8,
   or 64 where a block shall not share cache lines. */
struct index_slab *index_slab_new(struct budget *budget, size_t grain);

void index_slab_ref(struct index_slab *slab);

/* Frees the slab and every block in it with the last reference. */
void index_slab_unref(struct index_slab *slab);

/* A block of `size` (1 .. INDEX_SLAB_BLOCK_MAX) bytes, not zeroed; NULL over budget. */
void *index_slab_alloc(struct index_slab *slab, size_t size);

/* Gives back a block of the size it was asked with. */
void index_slab_give(struct index_slab *slab, void *block, size_t size);

/* Bytes charged. */
size_t index_slab_bytes(struct index_slab *slab);

/* Sets whether chunks are taken past the limit. */
void index_slab_force(struct index_slab *slab, bool force);
