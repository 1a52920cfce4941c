/*
 * From the raw bytes of a series in a request to the series, without parsing them again.
 *
 * Collectors send the same series in the same order every interval. The cache maps the exact bytes
 * they use (metric span and tags span, of one protocol) to the series, and predicts: each entry
 * remembers which entry followed it last time, so the usual look-up is one comparison of bytes.
 *
 * A cache belongs to one thread at a time (one per telnet loop thread; HTTP requests borrow one
 * from a pool). It is bounded: past its maximum it forgets everything and starts again. Entries die
 * when the store removes series: the caller passes the store's removal generation to
 * key_cache_begin.
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
void key_cache_free(struct key_cache *cache);

/* Starts a batch: forgets all entries if `generation` differs from the last batch's. */
void key_cache_begin(struct key_cache *cache, uint64_t generation);

/* The series of these bytes, or NULL. Hit by prediction: two comparisons; else one hash. */
struct series *key_cache_find(struct key_cache *cache, str metric, str tags);

/* What the next look-up is predicted to be for, so that its bytes can be compared where they stand:
   false, or texts that stay until the next call for this cache. */
bool key_cache_expected(const struct key_cache *cache, str *metric, str *tags);

/* The series of what key_cache_expected has just told, as if it had been found. */
struct series *key_cache_take_expected(struct key_cache *cache);

/* Remembers (copies the bytes) after a miss. May forget everything before. */
void key_cache_add(struct key_cache *cache, str metric, str tags, struct series *series);

struct key_cache_stats {
    uint64_t predicted;
    uint64_t hashed;
    uint64_t missed;
    uint64_t entries;
    uint64_t bytes;
};
void key_cache_stats(const struct key_cache *cache, struct key_cache_stats *stats);
