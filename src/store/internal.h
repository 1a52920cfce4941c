/*
 * What the files of the engine (store, scan, compact, checkpoint, recover) share and nobody outside
 * src/store includes.
 */
#pragma once

#include "store/segment.h"
#include "store/series.h"
#include "store/store.h"

#include <stdint.h>

/* The live segments of one shard, immutable, ascending by sequence; replaced as a whole under the
   shard's lock, the old list retired. Each list holds a reference to each of its segments. */
struct segment_list {
    uint32_t count;
    struct segment *segments[];
};

/* The current list of a shard; valid while the caller is pinned to store_epochs. Take it after
   head_view: what left the head by then is in the list. */
const struct segment_list *store_segments(struct store *store, uint32_t shard);

/* A deleted range of a series: hides points in segments whose sequence is <= `sequence`. (Heads are
   rewritten at once.) */
struct tombstone {
    int64_t from_ms;
    int64_t to_ms;
    uint64_t sequence;
};

/* The tombstones of a series, borrowed while pinned; *count is 0 in almost all cases. Constant cost
   when the store has none. */
const struct tombstone *store_tombstones(struct store *store, uint32_t series_id, uint32_t *count);

/* Points of this metric older than this (exclusive) are hidden by retention; INT64_MIN: none are.
 */
int64_t store_cutoff_ms(struct store *store, uint32_t metric_uid);

/* The same for what removes points for good: INT64_MIN while the clock is not believed. With the
   maintenance lock held. */
int64_t store_removal_cutoff_ms(struct store *store, uint32_t metric_uid);

/* Where the store's segments are. */
struct medium *store_medium(struct store *store);

/* Counts a damaged block met while reading and reports it once. */
void store_damage(struct store *store, const char *what);

/* ---- compact.c ---- */

/* Merges `count` segments of one shard (ascending by sequence, adjacent in recency within their
   windows) into new ones of windows of `window_ms`, encoded with VECTOR_TIGHT, full vectors, points
   that tombstones or retention hide left out, last write wins. The outputs are committed objects,
   opened; the caller publishes them and discards the inputs. `series_ids` of series that no longer
   exist are dropped. An output gets the largest sequence of the inputs. */
struct compaction {
    struct segment *outputs[64];
    uint32_t output_count;
    uint64_t points_in;
    uint64_t points_out;
};
enum rc compact_segments(struct store *store, uint32_t shard, struct segment *const *inputs,
                         uint32_t count, int64_t window_ms, struct compaction *compaction,
                         struct err *err) MUST_USE;

/* Chooses what to compact next in a shard: fills up to `max` adjacent segments of one window worth
   merging (several small ones, or days that have become cold into a week) and the window to use;
   returns how many, 0 if none. */
uint32_t compact_choose(const struct segment_list *list, int64_t now_ms, int64_t window_ms,
                        struct segment **inputs, uint32_t max, int64_t *output_window_ms);

/* A fresh object name for a segment of a shard. */
void store_segment_name(struct store *store, uint32_t shard, char *name, size_t size);
