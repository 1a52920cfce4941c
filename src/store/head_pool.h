/*
 * Memory of the heads of one shard: small blocks, many, short-lived.
 *
 * Blocks of one size are cut from a page; a page whose blocks are all back is freed. Larger blocks
 * are malloc's. Everything here is for the writer of the shard.
 */
#pragma once

#include "base/attr.h"

#include <stddef.h>

enum { HEAD_POOL_BLOCK_MAX = 576, HEAD_POOL_GRAIN = 16 };
enum { HEAD_POOL_CLASSES = HEAD_POOL_BLOCK_MAX / HEAD_POOL_GRAIN + 1 };

struct head_page;

/* Zeroed it is empty. */
struct head_pool {
    struct head_page *partial[HEAD_POOL_CLASSES]; /* pages with a free block */
    struct head_page *spare;                      /* an empty page, kept */
};

/* What a block of `size` bytes takes. */
size_t head_pool_charge(size_t size);

/* A block of `size` bytes, 16-aligned and not zeroed, or NULL. */
void *head_pool_take(struct head_pool *pool, size_t size) MUST_USE;

/* Gives back a block of the size it was asked with. */
void head_pool_give(struct head_pool *pool, void *block, size_t size);

/* Frees what is not needed. */
void head_pool_trim(struct head_pool *pool);

/* All blocks have been given back; nobody uses the pool. */
void head_pool_fini(struct head_pool *pool);
