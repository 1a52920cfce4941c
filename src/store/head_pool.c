#include "store/head_pool.h"

#include "base/check.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, n) ((void)(at), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(at, n) ((void)(at), (void)(n))
#endif

enum {
    PAGE_ALIGN = 16 << 10,
    PAGE_BYTES = PAGE_ALIGN - 64, /* room for what malloc adds, so that pages stand side by side */
    MALLOC_OVERHEAD = 8           /* what malloc adds to a block, before rounding to 16 */
};

struct head_block {
    struct head_block *next;
};

/* A page with free blocks is in the list of its size; a full one is in none. */
struct head_page {
    struct head_page *next;
    struct head_page *before;
    struct head_block *free;
    uint32_t size; /* of its blocks */
    uint32_t live;
    uint32_t cut; /* bytes from the start that have been cut into blocks */
    ALIGNED(64) unsigned char bytes[];
};

static size_t rounded(size_t size) {
    return (size + HEAD_POOL_GRAIN - 1) & ~(size_t)(HEAD_POOL_GRAIN - 1);
}

size_t head_pool_charge(size_t size) {
    return rounded(size <= HEAD_POOL_BLOCK_MAX ? size : size + MALLOC_OVERHEAD);
}

static struct head_page *page_of(void *block) {
    uintptr_t offset = (uintptr_t)block & (PAGE_ALIGN - 1);
    return (struct head_page *)(void *)((unsigned char *)block - offset);
}

static bool is_full(const struct head_page *page) {
    return page->free == NULL && page->cut + page->size > PAGE_BYTES;
}

static struct head_page **list_of(struct head_pool *pool, const struct head_page *page) {
    return &pool->partial[page->size / HEAD_POOL_GRAIN];
}

static void link_page(struct head_pool *pool, struct head_page *page) {
    struct head_page **list = list_of(pool, page);
    page->before = NULL;
    page->next = *list;
    if (page->next != NULL)
        page->next->before = page;
    *list = page;
}

static void unlink_page(struct head_pool *pool, struct head_page *page) {
    if (page->before != NULL)
        page->before->next = page->next;
    else
        *list_of(pool, page) = page->next;
    if (page->next != NULL)
        page->next->before = page->before;
}

static void free_page(struct head_page *page) {
    if (page != NULL)
        ASAN_UNPOISON_MEMORY_REGION(page, PAGE_BYTES);
    free(page);
}

static struct head_page *add_page(struct head_pool *pool, size_t size) {
    void *memory = pool->spare;
    pool->spare = NULL;
    if (memory == NULL && posix_memalign(&memory, PAGE_ALIGN, PAGE_BYTES) != 0)
        return NULL;
    struct head_page *page = memory;
    *page = (struct head_page){.size = (uint32_t)size, .cut = sizeof(*page)};
    link_page(pool, page);
    return page;
}

void *head_pool_take(struct head_pool *pool, size_t size) {
    if (size > HEAD_POOL_BLOCK_MAX)
        return malloc(size);
    size = rounded(size);
    struct head_page **list = &pool->partial[size / HEAD_POOL_GRAIN];
    struct head_page *page = *list != NULL ? *list : add_page(pool, size);
    if (page == NULL)
        return NULL;
    struct head_block *block = page->free;
    if (block != NULL) {
        page->free = block->next;
    } else {
        block = (struct head_block *)(void *)((unsigned char *)page + page->cut);
        page->cut += page->size;
    }
    page->live++;
    if (is_full(page))
        unlink_page(pool, page);
    ASAN_UNPOISON_MEMORY_REGION(block, size);
    return block;
}

void head_pool_give(struct head_pool *pool, void *memory, size_t size) {
    if (size > HEAD_POOL_BLOCK_MAX) {
        free(memory);
        return;
    }
    struct head_block *block = memory;
    struct head_page *page = page_of(block);
    if (is_full(page))
        link_page(pool, page);
    block->next = page->free;
    page->free = block;
    ASAN_POISON_MEMORY_REGION(block + 1, page->size - sizeof(*block));
    if (--page->live > 0)
        return;
    unlink_page(pool, page);
    free_page(pool->spare);
    pool->spare = page;
}

void head_pool_trim(struct head_pool *pool) {
    free_page(pool->spare);
    pool->spare = NULL;
}

void head_pool_fini(struct head_pool *pool) {
    head_pool_trim(pool);
    for (size_t i = 0; i < HEAD_POOL_CLASSES; i++)
        CHECK(pool->partial[i] == NULL);
}
