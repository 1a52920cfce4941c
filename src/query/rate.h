/*
 * From values to rates per second, as OpenTSDB computes them.
 *
 * The first rate is the one between time zero and the first point: nobody sees it at its own
 * timestamp, but it stands for the series at earlier timestamps of others (struct merge_column's
 * `before`).
 */
#pragma once

#include "query/merge.h"
#include "query/query.h"

#include <stdint.h>

/* Replaces `column` by its rates, which lie in `time_ms` and `bits` (room for column->count; they
   may be the arrays of the column itself). A column of fewer than two rates becomes empty. */
void rate_run(const struct query_rate *options, struct merge_column *column, int64_t *time_ms,
              uint64_t *bits);
