/*
 * A request target from the network to a query: whatever it holds, the query is whole or the error
 * has a text.
 */
#include "base/check.h"
#include "query/query.h"
#include "wire/http_uri.h"

#include <stddef.h>
#include <stdint.h>

static void check_sub(const struct query_sub *sub, const struct query *query) {
    enum aggregator aggregator;
    CHECK(aggregator_find(sub->aggregator_name, &aggregator) && aggregator == sub->aggregator);
    CHECK((sub->metric.n == 0) != (sub->tsuid_count == 0));
    for (uint32_t i = 0; i < sub->filter_count; i++) {
        (void)filter_matches(&sub->filters[i], sub->metric);
        (void)!filter_check(&sub->filters[i], NULL);
    }
    if (!sub->downsampled || sub->downsample.all)
        return;
    int64_t start = downsample_bucket(&sub->downsample, query->start_ms);
    CHECK(start <= query->start_ms);
    CHECK(downsample_next(&sub->downsample, start) > query->start_ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct query_parse_context context = {.now_ms = 1357002000000};
    struct budget budget;
    budget_init(&budget, 8 << 20, NULL);
    struct arena arena;
    arena_init(&arena, &budget);
    struct http_uri uri;
    if (http_uri_parse((str){(const char *)data, size}, &arena, &uri, NULL) == RC_OK) {
        struct query_parameter parameters[URI_PARAMETERS_MAX];
        for (uint32_t i = 0; i < uri.parameter_count; i++)
            parameters[i] =
                (struct query_parameter){uri.parameters[i].name, uri.parameters[i].value};
        struct query query;
        struct err err = {0};
        enum rc rc =
            query_parse_get(parameters, uri.parameter_count, &context, &arena, &query, &err);
        CHECK(rc == RC_OK || (err.rc == rc && err.message[0] != '\0'));
        CHECK(rc != RC_OK || (query.sub_count > 0 && query.start_ms < query.end_ms));
        for (uint32_t i = 0; rc == RC_OK && i < query.sub_count; i++)
            check_sub(&query.subs[i], &query);
    }
    arena_fini(&arena);
    return 0;
}
