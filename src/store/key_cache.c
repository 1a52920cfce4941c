#include "store/key_cache.h"

#include "base/attr.h"
#include "base/check.h"
#include "base/hash.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/*
 * Entries stand in chunks in the order they were added, which is the order collectors send them:
 * the prediction mostly goes to the next entry in memory, where the processor's own prefetching
 * helps. An entry is its header followed by the metric's and the tags' bytes, without padding
 * between them.
 */

enum {
    CHUNK_BYTES_MIN = 16 << 10,
    CHUNK_BYTES_MAX = 1 << 20,
    SLOTS_MIN = 256,
    KEY_BYTES_MAX = 8 << 10, /* longer ones are not worth a place */
    ENTRY_ALIGN = 8
};

struct entry {
    struct series *series;
    struct entry *next; /* what followed last time; the first entry after the last one */
    uint32_t metric_n;
    uint32_t tags_n;
    char bytes[]; /* metric, tags */
};

struct chunk {
    struct chunk *next;
    size_t size;
};

struct slot {
    uint64_t hash;
    struct entry *entry; /* NULL: empty */
};

struct key_cache {
    struct entry *last;   /* found or added last; NULL: nothing to predict from */
    struct chunk *chunks; /* newest first */
    size_t used;          /* bytes used of the newest */
    struct slot *slots;   /* open addressing, mask + 1 of them, or NULL */
    size_t mask;
    size_t bytes_max;
    struct budget *budget;
    uint64_t generation;
    bool full; /* the last growth was refused because of bytes_max, not by the budget */
    struct key_cache_stats stats;
};

struct key_cache *key_cache_new(size_t bytes_max, struct budget *budget) {
    struct key_cache *cache = calloc(1, sizeof(*cache));
    if (cache == NULL)
        return NULL;
    cache->bytes_max = bytes_max;
    cache->budget = budget;
    return cache;
}

static void give_back(struct key_cache *cache, size_t bytes) {
    budget_release(cache->budget, bytes);
    cache->stats.bytes -= bytes;
}

static size_t slots_bytes(const struct key_cache *cache) {
    return cache->slots == NULL ? 0 : (cache->mask + 1) * sizeof(*cache->slots);
}

static void forget_everything(struct key_cache *cache) {
    while (cache->chunks != NULL) {
        struct chunk *chunk = cache->chunks;
        cache->chunks = chunk->next;
        give_back(cache, chunk->size);
        free(chunk);
    }
    give_back(cache, slots_bytes(cache));
    free(cache->slots);
    cache->slots = NULL;
    cache->mask = 0;
    cache->used = 0;
    cache->last = NULL;
    cache->stats.entries = 0;
    CHECK(cache->stats.bytes == 0);
}

void key_cache_free(struct key_cache *cache) {
    if (cache == NULL)
        return;
    forget_everything(cache);
    free(cache);
}

void key_cache_begin(struct key_cache *cache, uint64_t generation) {
    if (cache->generation == generation)
        return;
    forget_everything(cache);
    cache->generation = generation;
}

static inline bool entry_is(const struct entry *entry, str metric, str tags) {
    return str_eq((str){entry->bytes + entry->metric_n, entry->tags_n}, tags) &&
           str_eq((str){entry->bytes, entry->metric_n}, metric);
}

static uint64_t key_hash(str metric, str tags) {
    /* The length keeps "ab" + "c" and "a" + "bc" apart. */
    return hash_chain(hash_bytes(tags.p, tags.n) + metric.n, metric.p, metric.n);
}

/* Slot of a key, or the empty one where it belongs. There are slots. */
static struct slot *find_slot(const struct key_cache *cache, uint64_t hash, str metric, str tags) {
    for (size_t at = hash & cache->mask;; at = (at + 1) & cache->mask) {
        struct slot *slot = &cache->slots[at];
        if (slot->entry == NULL || (slot->hash == hash && entry_is(slot->entry, metric, tags)))
            return slot;
    }
}

static __attribute__((noinline)) struct series *find_by_hash(struct key_cache *cache, str metric,
                                                             str tags) {
    const struct slot *slot =
        cache->slots == NULL ? NULL : find_slot(cache, key_hash(metric, tags), metric, tags);
    if (slot == NULL || slot->entry == NULL) {
        cache->stats.missed++;
        return NULL;
    }
    struct entry *entry = slot->entry;
    cache->stats.hashed++;
    if (cache->last != NULL)
        cache->last->next = entry;
    cache->last = entry;
    return entry->series;
}

static inline struct entry *expected_entry(const struct key_cache *cache) {
    return cache->last == NULL ? NULL : cache->last->next;
}

static inline struct series *take(struct key_cache *cache, struct entry *expected) {
    __builtin_prefetch(expected->next);
    cache->last = expected;
    cache->stats.predicted++;
    return expected->series;
}

struct series *key_cache_find(struct key_cache *cache, str metric, str tags) {
    struct entry *expected = expected_entry(cache);
    if (LIKELY(expected != NULL && entry_is(expected, metric, tags)))
        return take(cache, expected);
    return find_by_hash(cache, metric, tags);
}

bool key_cache_expected(const struct key_cache *cache, str *metric, str *tags) {
    const struct entry *expected = expected_entry(cache);
    if (UNLIKELY(expected == NULL))
        return false;
    *metric = (str){expected->bytes, expected->metric_n};
    *tags = (str){expected->bytes + expected->metric_n, expected->tags_n};
    return true;
}

struct series *key_cache_take_expected(struct key_cache *cache) {
    return take(cache, expected_entry(cache));
}

/* ---- growth ---- */

static bool charge(struct key_cache *cache, size_t bytes) {
    cache->full = cache->stats.bytes + bytes > cache->bytes_max;
    if (cache->full || !budget_charge(cache->budget, bytes))
        return false;
    cache->stats.bytes += bytes;
    return true;
}

static bool add_chunk(struct key_cache *cache) {
    size_t size = cache->stats.bytes / 8;
    size = size < CHUNK_BYTES_MIN   ? CHUNK_BYTES_MIN
           : size > CHUNK_BYTES_MAX ? CHUNK_BYTES_MAX
                                    : size;
    if (!charge(cache, size))
        return false;
    struct chunk *chunk = malloc(size);
    if (chunk == NULL) {
        give_back(cache, size);
        return false;
    }
    *chunk = (struct chunk){cache->chunks, size};
    cache->chunks = chunk;
    cache->used = sizeof(*chunk);
    return true;
}

static bool grow_slots(struct key_cache *cache) {
    size_t count = cache->slots == NULL ? SLOTS_MIN : (cache->mask + 1) * 2;
    if (!charge(cache, count * sizeof(*cache->slots)))
        return false;
    struct slot *slots = calloc(count, sizeof(*slots));
    if (slots == NULL) {
        give_back(cache, count * sizeof(*slots));
        return false;
    }
    for (size_t i = 0; cache->slots != NULL && i <= cache->mask; i++) {
        if (cache->slots[i].entry == NULL)
            continue;
        size_t at = cache->slots[i].hash & (count - 1);
        while (slots[at].entry != NULL)
            at = (at + 1) & (count - 1);
        slots[at] = cache->slots[i];
    }
    give_back(cache, slots_bytes(cache));
    free(cache->slots);
    cache->slots = slots;
    cache->mask = count - 1;
    return true;
}

/* Room for one entry of `size` bytes and its slot. */
static bool make_room(struct key_cache *cache, size_t size) {
    bool crowded = cache->slots == NULL || (cache->stats.entries + 1) * 4 > (cache->mask + 1) * 3;
    if (crowded && !grow_slots(cache))
        return false;
    return (cache->chunks != NULL && cache->chunks->size - cache->used >= size) || add_chunk(cache);
}

void key_cache_add(struct key_cache *cache, str metric, str tags, struct series *series) {
    if (metric.n > KEY_BYTES_MAX || tags.n > KEY_BYTES_MAX - metric.n)
        return;
    size_t size = (offsetof(struct entry, bytes) + metric.n + tags.n + ENTRY_ALIGN - 1) &
                  ~(size_t)(ENTRY_ALIGN - 1);
    if (!make_room(cache, size)) {
        if (!cache->full)
            return; /* the budget is spent elsewhere: keep what there is */
        forget_everything(cache);
        if (!make_room(cache, size))
            return;
    }
    uint64_t hash = key_hash(metric, tags);
    struct slot *slot = find_slot(cache, hash, metric, tags);
    if (slot->entry != NULL) {
        slot->entry->series = series;
        return;
    }
    struct entry *entry = (struct entry *)(void *)((char *)cache->chunks + cache->used);
    cache->used += size;
    *entry = (struct entry){series, NULL, (uint32_t)metric.n, (uint32_t)tags.n};
    if (metric.n > 0)
        memcpy(entry->bytes, metric.p, metric.n);
    if (tags.n > 0)
        memcpy(entry->bytes + metric.n, tags.p, tags.n);
    *slot = (struct slot){hash, entry};
    if (cache->last != NULL)
        cache->last->next = entry;
    cache->last = entry;
    cache->stats.entries++;
}

void key_cache_stats(const struct key_cache *cache, struct key_cache_stats *stats) {
    *stats = cache->stats;
}
