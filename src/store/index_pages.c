#include "store/index_pages.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

struct index_page index_pages_gone_page;

void index_pages_init(struct index_pages *pages, uint32_t element_bytes,
                      struct index_account *account) {
    *pages = (struct index_pages){.element_bytes = element_bytes, .account = account};
}

static size_t page_bytes(const struct index_pages *pages) {
    return sizeof(struct index_page) + (size_t)INDEX_PAGE_ELEMENTS * pages->element_bytes;
}

void index_pages_fini(struct index_pages *pages) {
    for (uint32_t i = 0; i < pages->directory_count; i++) {
        if (pages->directory[i] == NULL || pages->directory[i] == &index_pages_gone_page)
            continue;
        free(pages->directory[i]);
        index_account_release(pages->account, page_bytes(pages));
    }
    index_account_release(pages->account, pages->directory_count * sizeof(*pages->directory));
    free(pages->directory);
    *pages = (struct index_pages){0};
}

static bool ensure_directory(struct index_pages *pages, uint32_t number) {
    if (number < pages->directory_count)
        return true;
    uint32_t count = pages->directory_count + pages->directory_count / 2;
    if (count <= number)
        count = number + 1;
    size_t more = (size_t)(count - pages->directory_count) * sizeof(*pages->directory);
    if (!index_account_charge(pages->account, more))
        return false;
    struct index_page **directory = realloc(pages->directory, count * sizeof(*directory));
    if (directory == NULL) {
        index_account_release(pages->account, more);
        return false;
    }
    memset(directory + pages->directory_count, 0, more);
    pages->directory = directory;
    pages->directory_count = count;
    return true;
}

bool index_pages_ensure(struct index_pages *pages, uint32_t id) {
    uint32_t number = id / INDEX_PAGE_ELEMENTS;
    if (!ensure_directory(pages, number))
        return false;
    CHECK(pages->directory[number] != &index_pages_gone_page);
    if (pages->directory[number] != NULL)
        return true;
    struct index_page *page = index_account_calloc(pages->account, page_bytes(pages));
    if (page == NULL)
        return false;
    page->gone = number == 0; /* id 0 is never given */
    pages->directory[number] = page;
    return true;
}

void index_pages_count_gone(struct index_pages *pages, uint32_t id) {
    uint32_t number = id / INDEX_PAGE_ELEMENTS;
    struct index_page *page = pages->directory[number];
    CHECK(page != NULL && page != &index_pages_gone_page);
    if (++page->gone < INDEX_PAGE_ELEMENTS)
        return;
    free(page);
    index_account_release(pages->account, page_bytes(pages));
    pages->directory[number] = &index_pages_gone_page;
}

bool index_pages_skip(struct index_pages *pages, uint32_t id) {
    uint32_t number = id / INDEX_PAGE_ELEMENTS;
    if (!ensure_directory(pages, number))
        return false;
    CHECK(pages->directory[number] == NULL);
    pages->directory[number] = &index_pages_gone_page;
    return true;
}
