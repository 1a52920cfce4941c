/*
 * The 35 aggregators of OpenTSDB 2.4, their interpolation, and their arithmetic.
 */
#pragma once

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* X(identifier, name in the API, interpolation) */
#define AGGREGATOR_TABLE(X)                                                                        \
    X(SUM, "sum", LERP)                                                                            \
    X(PFSUM, "pfsum", PREV)                                                                        \
    X(ZIMSUM, "zimsum", ZIM)                                                                       \
    X(MIN, "min", LERP)                                                                            \
    X(MAX, "max", LERP)                                                                            \
    X(MIMMIN, "mimmin", MAX)                                                                       \
    X(MIMMAX, "mimmax", MIN)                                                                       \
    X(AVG, "avg", LERP)                                                                            \
    X(MEDIAN, "median", LERP)                                                                      \
    X(MULT, "mult", LERP)                                                                          \
    X(DEV, "dev", LERP)                                                                            \
    X(DIFF, "diff", LERP)                                                                          \
    X(COUNT, "count", ZIM)                                                                         \
    X(SQUARESUM, "squareSum", ZIM)                                                                 \
    X(FIRST, "first", ZIM)                                                                         \
    X(LAST, "last", ZIM)                                                                           \
    X(NONE, "none", ZIM)                                                                           \
    X(P50, "p50", LERP)                                                                            \
    X(P75, "p75", LERP)                                                                            \
    X(P90, "p90", LERP)                                                                            \
    X(P95, "p95", LERP)                                                                            \
    X(P99, "p99", LERP)                                                                            \
    X(P999, "p999", LERP)                                                                          \
    X(EP50R3, "ep50r3", LERP)                                                                      \
    X(EP75R3, "ep75r3", LERP)                                                                      \
    X(EP90R3, "ep90r3", LERP)                                                                      \
    X(EP95R3, "ep95r3", LERP)                                                                      \
    X(EP99R3, "ep99r3", LERP)                                                                      \
    X(EP999R3, "ep999r3", LERP)                                                                    \
    X(EP50R7, "ep50r7", LERP)                                                                      \
    X(EP75R7, "ep75r7", LERP)                                                                      \
    X(EP90R7, "ep90r7", LERP)                                                                      \
    X(EP95R7, "ep95r7", LERP)                                                                      \
    X(EP99R7, "ep99r7", LERP)                                                                      \
    X(EP999R7, "ep999r7", LERP)

enum aggregator {
#define X(identifier, name, interpolation) AGGREGATOR_##identifier,
    AGGREGATOR_TABLE(X)
#undef X
        AGGREGATOR_COUNT_OF
};

enum interpolation {
    INTERPOLATION_LERP,
    INTERPOLATION_ZIM,
    INTERPOLATION_MAX,
    INTERPOLATION_MIN,
    INTERPOLATION_PREV
};

/* Finds an aggregator by its exact name; false if there is none. */
bool aggregator_find(str name, enum aggregator *aggregator);
const char *aggregator_name(enum aggregator aggregator);
enum interpolation aggregator_interpolation(enum aggregator aggregator);

/* Aggregates values of one timestamp in series order, with OpenTSDB's integer rules (wrapping,
   truncating) and double rules (NaN skipped where it skips). `n` >= 1. `values` may be reordered.
 */
int64_t aggregator_run_ints(enum aggregator aggregator, int64_t *values, uint32_t n);
double aggregator_run_doubles(enum aggregator aggregator, double *values, uint32_t n);
