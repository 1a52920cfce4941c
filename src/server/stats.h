/*
 * The server's own statistics, in one list for /api/stats, `stats`, /metrics and the recorder that
 * stores them as ordinary series.
 */
#pragma once

#include "server/instance.h"

#include <stdint.h>

/* One statistic: metric without the "tsd." prefix, and at most one tag besides host. */
struct stat {
    const char *metric;
    const char *tag_key; /* or NULL */
    const char *tag_value;
    double value;
    bool counter; /* only grows; else a level */
};

/* Calls `each` for every statistic. */
void stats_each(struct instance *instance, void (*each)(void *context, const struct stat *stat),
                void *context);
