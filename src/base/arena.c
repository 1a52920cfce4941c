#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES_MIN = 4096, BLOCK_BYTES_MAX = 1 << 20 };

struct arena_block {
    struct arena_block *older;
    size_t size; /* payload bytes */
    alignas(max_align_t) char payload[];
};

void arena_init(struct arena *arena, struct budget *budget) {
    *arena = (struct arena){.budget = budget};
}

static void free_block(struct arena *arena, struct arena_block *block) {
    size_t bytes = sizeof(*block) + block->size;
    arena->total -= bytes;
    if (arena->budget != NULL)
        budget_release(arena->budget, bytes);
    free(block);
}

void arena_fini(struct arena *arena) {
    for (struct arena_block *block = arena->blocks, *older; block != NULL; block = older) {
        older = block->older;
        free_block(arena, block);
    }
    arena->blocks = NULL;
    arena->used = 0;
}

void arena_reset(struct arena *arena) {
    struct arena_block *keep = arena->blocks;
    if (keep == NULL)
        return;
    for (struct arena_block *block = keep->older, *older; block != NULL; block = older) {
        older = block->older;
        free_block(arena, block);
    }
    keep->older = NULL;
    arena->used = 0;
}

static bool add_block(struct arena *arena, size_t size) {
    size_t payload = arena->blocks == NULL ? BLOCK_BYTES_MIN : arena->blocks->size * 2;
    if (payload > BLOCK_BYTES_MAX)
        payload = BLOCK_BYTES_MAX;
    if (payload < size)
        payload = size;
    size_t bytes = sizeof(struct arena_block) + payload;
    if (arena->budget != NULL && !budget_charge(arena->budget, bytes))
        return false;
    struct arena_block *block = malloc(bytes);
    if (block == NULL) {
        if (arena->budget != NULL)
            budget_release(arena->budget, bytes);
        return false;
    }
    block->older = arena->blocks;
    block->size = payload;
    arena->blocks = block;
    arena->used = 0;
    arena->total += bytes;
    return true;
}

void *arena_alloc(struct arena *arena, size_t size) {
    size_t unit = alignof(max_align_t);
    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + unit - 1) / unit * unit;
    if (arena->blocks == NULL || arena->blocks->size - arena->used < size)
        if (!add_block(arena, size))
            return NULL;
    void *p = arena->blocks->payload + arena->used;
    arena->used += size;
    memset(p, 0, size);
    return p;
}

void *arena_array(struct arena *arena, size_t count, size_t size) {
    if (size != 0 && count > SIZE_MAX / 2 / size)
        return NULL;
    return arena_alloc(arena, count * size);
}

str arena_str(struct arena *arena, str s) {
    char *p = arena_alloc(arena, s.n + 1);
    if (p == NULL)
        return (str){NULL, 0};
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    return (str){p, s.n};
}
