/*
 * A POST body to a query: whatever it holds, the query is whole or the error has a text.
 */
#include "base/check.h"
#include "query/query.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct query_parse_context context = {.now_ms = 1357002000000};
    struct budget budget;
    budget_init(&budget, 8 << 20, NULL);
    struct arena arena;
    arena_init(&arena, &budget);
    struct query query;
    struct err err = {0};
    enum rc rc = query_parse_post((str){(const char *)data, size}, &context, &arena, &query, &err);
    CHECK(rc == RC_OK || (err.rc == rc && err.message[0] != '\0'));
    CHECK(rc != RC_OK || (query.sub_count > 0 && query.start_ms < query.end_ms));
    for (uint32_t i = 0; rc == RC_OK && i < query.sub_count; i++) {
        const struct query_sub *sub = &query.subs[i];
        CHECK(sub->index == i);
        for (uint32_t f = 0; f < sub->filter_count; f++)
            CHECK(sub->filters[f].key.n > 0);
    }
    arena_fini(&arena);
    return 0;
}
