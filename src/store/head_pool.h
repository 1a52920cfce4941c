/*
 * Memory of the heads of one shard: small blocks, many, short-lived, given back from any thread.
 *
 * Blocks of one size are cut from a page; a page whose blocks are all back is freed. The writer of
 * the shard takes blocks without a lock; whoever releases a block that readers no longer hold
 * pushes it on a stack, which the writer empties. Larger blocks are malloc's.
 */
#pragma once

#include "base/attr.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HEAD_POOL_BLOCK_MAX = 576, HEAD_POOL_GRAIN = 16 };
enum { HEAD_POOL_CLASSES = HEAD_POOL_BLOCK_MAX / HEAD_POOL_GRAIN + 1 };

struct head_page;
struct head_block;

/* Zeroed it is empty. */
struct head_pool {
    uint32_t since_collect;                       /* blocks taken */
    _Atomic(struct head_block *) returned;        /* from any thread */
    struct head_page *partial[HEAD_POOL_CLASSES]; /* pages with a free block; writer only */
    struct head_page *spare;                      /* an empty page, kept */
};

/* What a block of `size` bytes takes. */
size_t head_pool_charge(size_t size);

/* A block of `size` bytes, 16-aligned and not zeroed, or NULL. Writer only. */
void *head_pool_take(struct head_pool *pool, size_t size) MUST_USE;

/* Gives back a block of the size it was asked with. Any thread. */
void head_pool_give(struct head_pool *pool, void *block, size_t size);

/* Frees what is not needed. Writer only. */
void head_pool_trim(struct head_pool *pool);

/* All blocks have been given back; nobody uses the pool. */
void head_pool_fini(struct head_pool *pool);
