/*
 * A series as the engine sees it: identity from the index, data in the head.
 *
 * Allocated by the index, found through it, never moved. id, metric_uid, tag_count, tags and shard
 * never change while the series is in the index. `head` belongs to the shard (store/head.h).
 */
#pragma once

#include "store/head.h"

#include <stdbool.h>
#include <stdint.h>

/* One tag by UID. Sorted by key_uid within a series, as in a TSUID. */
struct series_tag {
    uint32_t key_uid;
    uint32_t value_uid;
};

/* One cache line, on which an append touches everything but the points; the tags follow it. */
enum { SERIES_ALIGN = 64 };

struct series {
    uint32_t id;         /* dense, ascending in order of creation; never 0 */
    uint32_t metric_uid; /* never 0 */
    uint16_t shard;
    uint8_t tag_count;
    bool removed; /* no longer in the index; changed and read under the removal lock */
    bool listed;  /* in its shard's list of series with a head; shard's lock */
    const struct series_tag *tags;
    struct head head;
};
_Static_assert(sizeof(struct series) <= SERIES_ALIGN, "one cache line");
