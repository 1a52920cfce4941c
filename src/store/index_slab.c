#include "store/index_slab.h"

#include "base/check.h"
#include "os/thread.h"

#include <stdint.h>
#include <stdlib.h>

enum {
    GRAIN = 8,
    CLASSES = (INDEX_SLAB_BLOCK_MAX + 64) / GRAIN + 1,
    CHUNK_BYTES_MIN = 8 << 10, /* more than the largest block */
    CHUNK_BYTES_MAX = 256 << 10,
};
_Static_assert((int)CHUNK_BYTES_MIN > (int)INDEX_SLAB_BLOCK_MAX + 64, "a block fits in a chunk");

struct chunk {
    struct chunk *next;
    size_t bytes;
};

struct free_block {
    struct free_block *next;
};

struct index_slab {
    size_t grain;
    struct mutex lock; /* guards everything; nothing else is locked under it */
    uint32_t references;
    struct index_account account;
    struct chunk *chunks; /* newest first */
    size_t used;          /* bytes used of the newest */
    struct free_block *free[CLASSES];
};

struct index_slab *index_slab_new(struct budget *budget, size_t grain) {
    CHECK(grain == GRAIN || grain == 64);
    struct index_slab *slab = calloc(1, sizeof(*slab));
    if (slab == NULL)
        return NULL;
    mutex_init(&slab->lock);
    slab->references = 1;
    slab->grain = grain;
    slab->account.budget = budget;
    return slab;
}

void index_slab_ref(struct index_slab *slab) {
    mutex_lock(&slab->lock);
    slab->references++;
    mutex_unlock(&slab->lock);
}

void index_slab_unref(struct index_slab *slab) {
    if (slab == NULL)
        return;
    mutex_lock(&slab->lock);
    CHECK(slab->references > 0);
    bool last = --slab->references == 0;
    mutex_unlock(&slab->lock);
    if (!last)
        return;
    index_account_release(&slab->account, slab->account.bytes);
    while (slab->chunks != NULL) {
        struct chunk *next = slab->chunks->next;
        free(slab->chunks);
        slab->chunks = next;
    }
    mutex_fini(&slab->lock);
    free(slab);
}

/* The rest of the old chunk goes to the free lists, in the largest pieces they have. */
static void give_rest(struct index_slab *slab) {
    if (slab->chunks == NULL)
        return;
    size_t rest = slab->chunks->bytes - slab->used;
    const size_t largest = INDEX_SLAB_BLOCK_MAX / slab->grain * slab->grain;
    while (rest >= slab->grain) {
        size_t size = rest < largest ? rest / slab->grain * slab->grain : largest;
        struct free_block *block = (void *)((char *)slab->chunks + slab->used);
        block->next = slab->free[size / GRAIN];
        slab->free[size / GRAIN] = block;
        slab->used += size;
        rest -= size;
    }
}

static bool add_chunk(struct index_slab *slab) {
    size_t bytes = slab->account.bytes / 8 & ~(size_t)(CHUNK_BYTES_MIN - 1);
    if (bytes < CHUNK_BYTES_MIN)
        bytes = CHUNK_BYTES_MIN;
    if (bytes > CHUNK_BYTES_MAX)
        bytes = CHUNK_BYTES_MAX;
    if (!index_account_charge(&slab->account, bytes))
        return false;
    struct chunk *chunk = aligned_alloc(64, bytes);
    if (chunk == NULL) {
        index_account_release(&slab->account, bytes);
        return false;
    }
    give_rest(slab);
    *chunk = (struct chunk){slab->chunks, bytes};
    slab->chunks = chunk;
    slab->used = (sizeof(*chunk) + slab->grain - 1) / slab->grain * slab->grain;
    return true;
}

static void *alloc_locked(struct index_slab *slab, size_t size) {
    struct free_block *block = slab->free[size / GRAIN];
    if (block != NULL) {
        slab->free[size / GRAIN] = block->next;
        return block;
    }
    if ((slab->chunks == NULL || slab->chunks->bytes - slab->used < size) && !add_chunk(slab))
        return NULL;
    void *fresh = (char *)slab->chunks + slab->used;
    slab->used += size;
    return fresh;
}

static size_t rounded(const struct index_slab *slab, size_t size) {
    CHECK(size > 0 && size <= INDEX_SLAB_BLOCK_MAX);
    return (size + slab->grain - 1) & ~(slab->grain - 1);
}

void *index_slab_alloc(struct index_slab *slab, size_t size) {
    mutex_lock(&slab->lock);
    void *block = alloc_locked(slab, rounded(slab, size));
    mutex_unlock(&slab->lock);
    return block;
}

void index_slab_give(struct index_slab *slab, void *block, size_t size) {
    struct free_block *freed = block;
    mutex_lock(&slab->lock);
    freed->next = slab->free[rounded(slab, size) / GRAIN];
    slab->free[rounded(slab, size) / GRAIN] = freed;
    mutex_unlock(&slab->lock);
}

size_t index_slab_bytes(struct index_slab *slab) {
    mutex_lock(&slab->lock);
    size_t bytes = slab->account.bytes;
    mutex_unlock(&slab->lock);
    return bytes;
}

void index_slab_force(struct index_slab *slab, bool force) {
    mutex_lock(&slab->lock);
    slab->account.force = force;
    mutex_unlock(&slab->lock);
}
