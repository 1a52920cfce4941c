#include "store/head_memory.h"

#include <stdint.h>
#include <stdlib.h>

enum { BATCH = 64 };

struct head_retired {
    struct head_retired *next;
    uint64_t stamp; /* of all its blocks; not while it is being filled */
    uint32_t count;
    uint32_t size[BATCH];
    void *blocks[BATCH];
};

void *head_memory_take(struct head_memory *memory, size_t size) {
    void *block = head_pool_take(&memory->pool, size);
    if (block == NULL)
        return NULL;
    size_t charge = head_pool_charge(size);
    budget_force(memory->budget, charge);
    memory->used += charge;
    if (memory->used > memory->peak)
        memory->peak = memory->used;
    return block;
}

static void release(struct head_memory *memory, size_t charge) {
    budget_release(memory->budget, charge);
    memory->used -= charge;
}

void head_memory_give(struct head_memory *memory, void *block, size_t size) {
    head_pool_give(&memory->pool, block, size);
    release(memory, head_pool_charge(size));
}

void head_memory_settle(struct head_memory *memory) {
    memory->peak = memory->used;
}

static void give_batch(struct head_memory *memory, const struct head_retired *batch) {
    size_t charged = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        head_pool_give(&memory->pool, batch->blocks[i], batch->size[i]);
        charged += head_pool_charge(batch->size[i]);
    }
    release(memory, charged);
}

static void stamp_open(struct head_memory *memory) {
    struct head_retired *batch = memory->open;
    batch->stamp = epoch_stamp(memory->epochs);
    batch->next = NULL;
    if (memory->newest == NULL)
        memory->oldest = batch;
    else
        memory->newest->next = batch;
    memory->newest = batch;
    memory->open = NULL;
}

/* Gives back the batches that were stamped up to `stamp`. */
static void give_until(struct head_memory *memory, uint64_t stamp) {
    while (memory->oldest != NULL && memory->oldest->stamp <= stamp) {
        struct head_retired *batch = memory->oldest;
        memory->oldest = batch->next;
        if (memory->oldest == NULL)
            memory->newest = NULL;
        give_batch(memory, batch);
        free(memory->spare);
        memory->spare = batch;
    }
}

void head_memory_collect(struct head_memory *memory) {
    if (memory->open != NULL && memory->open->count > 0)
        stamp_open(memory);
    if (memory->oldest != NULL)
        give_until(memory, epoch_passed(memory->epochs));
}

static struct head_retired *open_batch(struct head_memory *memory) {
    struct head_retired *batch = memory->spare != NULL ? memory->spare : malloc(sizeof(*batch));
    memory->spare = NULL;
    if (batch != NULL)
        batch->count = 0;
    return batch;
}

void head_memory_retire(struct head_memory *memory, void *block, size_t size) {
    if (block == NULL)
        return;
    if (memory->open == NULL)
        memory->open = open_batch(memory);
    struct head_retired *batch = memory->open;
    /* Without memory to remember it the block leaks: a reader may still hold it. */
    if (batch == NULL)
        return;
    batch->blocks[batch->count] = block;
    batch->size[batch->count++] = (uint32_t)size;
    if (batch->count == BATCH)
        head_memory_collect(memory);
}

void head_memory_fini(struct head_memory *memory) {
    give_until(memory, UINT64_MAX);
    if (memory->open != NULL)
        give_batch(memory, memory->open);
    free(memory->open);
    free(memory->spare);
    memory->open = memory->spare = NULL;
    head_pool_fini(&memory->pool);
}
