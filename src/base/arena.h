/*
 * Memory by lifetime: allocations that are given back all at once.
 *
 * An arena belongs to one thread at a time and is passed by the name of its lifetime
 * (`query_arena`, `batch_arena`). Nothing in an arena owns anything outside it. Memory is zeroed.
 * Blocks come from malloc; when a budget is set, whole blocks are charged to it before they are
 * allocated, so an arena over budget fails like one out of memory.
 */
#pragma once

#include "base/budget.h"
#include "base/str.h"

#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    size_t used;                /* bytes used of the newest block */
    size_t total;               /* bytes of all blocks, as charged */
    struct budget *budget;      /* may be NULL */
};

/* Prepares an arena that charges `budget` (NULL: nothing is charged). Allocates nothing. */
void arena_init(struct arena *arena, struct budget *budget);

/* Frees everything and returns the charge. The arena can be used again. */
void arena_fini(struct arena *arena);

/* Forgets all allocations but keeps one block for reuse. */
void arena_reset(struct arena *arena);

/* Returns `size` zeroed bytes aligned for any type, or NULL. Amortised constant cost. */
void *arena_alloc(struct arena *arena, size_t size);

/* `count` elements of `size` bytes, zeroed; NULL also when the product overflows. */
void *arena_array(struct arena *arena, size_t count, size_t size);

/* A terminated copy of `s`; .p is NULL when memory is out. */
str arena_str(struct arena *arena, str s);

#define ARENA_NEW(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
#define ARENA_ARRAY(arena, type, count) ((type *)arena_array((arena), (count), sizeof(type)))
