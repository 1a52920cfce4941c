/*
 * The JSON of one query result, as OpenTSDB 2.4 lays it out: metric, tags, aggregateTags, [query],
 * [tsuids], dps, [stats].
 */
#pragma once

#include "base/buf.h"
#include "query/query.h"
#include "store/index.h"

#include <stdbool.h>

struct query_json {
    struct index *index;
    bool arrays; /* dps as [[time, value], ...] */
};

/* A query_sink's format; context is a struct query_json. */
void query_json_format(void *context, const struct query *query, const struct query_result *result,
                       struct buf *out);

/* {"statsSummary":{...}} */
void query_json_summary(const struct query *query, const struct query_counters *counters,
                        struct buf *out);
