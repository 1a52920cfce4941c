/*
 * From the raw bytes of a series in a request to the series, without parsing them again.
 *
 * Collectors send the same series in the same order every interval. The cache maps the exact bytes
 * they use (metric span and tags span, of one protocol) to the series, and predicts: each entry
 * remembers which entry followed it last time, so the usual look-up is one comparison of bytes.
 *
 * All writers of a server share one cache: what one has learnt the others need not learn, and it is
 * in memory once. The same bytes may mean another series, or nothing, to another protocol: an entry
 * is found only by writers of the protocol that added it. Each has a cursor of its own that says
 * where in the order it is, and uses it between key_cache_begin and key_cache_end; look-ups take no
 * lock. The cache is bounded: past its maximum it forgets everything and starts again, at the next
 * begin. Entries die when the store removes series: the caller passes the store's removal
 * generation to key_cache_begin.
 */
#pragma once

#include "base/budget.h"
#include "base/str.h"
#include "store/series.h"

#include <stdbool.h>
#include <stdint.h>

struct key_cache;

/* `bytes_max`: about how much memory it may take; charged to `budget` as it grows (over budget it
   stops growing). NULL when memory is out. */
struct key_cache *key_cache_new(size_t bytes_max, struct budget *budget);

/* NULL is harmless. No cursor is used any more. */
void key_cache_free(struct key_cache *cache);

/* One writer's place. Belongs to one thread at a time. */
struct key_cache_cursor {
    struct key_cache *cache;
    uint32_t protocol;
    struct key_cache_entry *last;       /* found or added last; NULL: nothing to predict from */
    struct key_cache_entry *expected;   /* what key_cache_expected has told */
    uint64_t round;                     /* of the cache when `last` was set */
    uint64_t predicted, hashed, missed; /* look-ups since key_cache_open */
};

/* `protocol`: any number that stands for how this writer's bytes are to be read. */
void key_cache_open(struct key_cache *cache, uint32_t protocol, struct key_cache_cursor *cursor);

/* Starts a batch: forgets all entries if `generation` differs from the last batch's. No batch of
   another generation is under way: the store waits for writers before it removes series. Waits for
   all other batches if everything is to be forgotten. */
void key_cache_begin(struct key_cache_cursor *cursor, uint64_t generation);
void key_cache_end(struct key_cache_cursor *cursor);

/* The series of these bytes, or NULL. Hit by prediction: two comparisons; else one hash. */
struct series *key_cache_find(struct key_cache_cursor *cursor, str metric, str tags);

/* What the next look-up is predicted to be for, so that its bytes can be compared where they stand:
   false, or texts that stay until the end of the batch. */
bool key_cache_expected(struct key_cache_cursor *cursor, str *metric, str *tags);

/* The series of what key_cache_expected has just told, as if it had been found. */
struct series *key_cache_take_expected(struct key_cache_cursor *cursor);

/* Remembers (copies the bytes) after a miss. Takes a lock. */
void key_cache_add(struct key_cache_cursor *cursor, str metric, str tags, struct series *series);

struct key_cache_stats {
    uint64_t entries;
    uint64_t bytes;
};
void key_cache_stats(struct key_cache *cache, struct key_cache_stats *stats);
