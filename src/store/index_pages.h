/*
 * An array addressed by dense ids that are never given twice, in pages that do not move.
 *
 * An element is absent, alive (its owner says how that looks) or gone. A page whose elements are
 * all gone takes no memory, so ids may be used up for ever.
 */
#pragma once

#include "base/attr.h"
#include "store/index_account.h"

#include <stdbool.h>
#include <stdint.h>

enum { INDEX_PAGE_ELEMENTS = 1024 };

struct index_page {
    uint32_t gone;
    ALIGNED(8) unsigned char bytes[]; /* INDEX_PAGE_ELEMENTS elements, zeroed at first */
};

struct index_pages {
    struct index_page **directory;
    uint32_t directory_count;
    uint32_t element_bytes;
    struct index_account *account;
};

/* Stands for every page whose elements are all gone. */
extern struct index_page index_pages_gone_page;

void index_pages_init(struct index_pages *pages, uint32_t element_bytes,
                      struct index_account *account);
void index_pages_fini(struct index_pages *pages);

/* Element `id`, or NULL if its page is absent or gone. */
static inline void *index_pages_at(const struct index_pages *pages, uint32_t id) {
    uint32_t number = id / INDEX_PAGE_ELEMENTS;
    if (UNLIKELY(number >= pages->directory_count))
        return NULL;
    struct index_page *page = pages->directory[number];
    if (UNLIKELY(page == NULL || page == &index_pages_gone_page))
        return NULL;
    return page->bytes + (size_t)(id % INDEX_PAGE_ELEMENTS) * pages->element_bytes;
}

/* True if the whole page of `id` is gone. */
static inline bool index_pages_page_gone(const struct index_pages *pages, uint32_t id) {
    uint32_t number = id / INDEX_PAGE_ELEMENTS;
    return number < pages->directory_count && pages->directory[number] == &index_pages_gone_page;
}

/* Makes the page of `id` present; false over budget. The page must not be gone. */
bool index_pages_ensure(struct index_pages *pages, uint32_t id) MUST_USE;

/* Counts element `id`, whose page is present, as gone; frees the page with its last. */
void index_pages_count_gone(struct index_pages *pages, uint32_t id);

/* Makes the whole page of `id`, which is absent, gone; false over budget. */
bool index_pages_skip(struct index_pages *pages, uint32_t id) MUST_USE;
