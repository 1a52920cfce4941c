#include "store/key_cache.h"

#include "base/attr.h"
#include "base/check.h"
#include "base/hash.h"
#include "os/thread.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/*
 * Entries stand in chunks in the order they were added, which is the order collectors send them:
 * the prediction mostly goes to the next entry in memory, where the processor's own prefetching
 * helps. An entry is its header followed by the metric's and the tags' bytes, without padding
 * between them.
 *
 * Batches hold `use` for reading. What they read while one of them adds: an entry is complete
 * before a slot or another entry points to it (release, acquire), and never changes but for the two
 * pointers in its header; a table that has become too small stays as it is behind its successor.
 * Only who holds `use` for writing takes anything away.
 */

enum {
    CHUNK_BYTES_MIN = 16 << 10,
    CHUNK_BYTES_MAX = 1 << 20,
    SLOTS_MIN = 256,
    KEY_BYTES_MAX = 8 << 10, /* longer ones are not worth a place; fits 16 bits */
    ENTRY_ALIGN = 8
};

struct key_cache_entry {
    _Atomic(struct series *) series;
    _Atomic(struct key_cache_entry *) next; /* what followed last time, whoever looked it up */
    uint16_t metric_n;
    uint16_t tags_n;
    uint32_t protocol; /* `next` is of the same */
    char bytes[];      /* metric, tags */
};

struct chunk {
    struct chunk *next;
    size_t size;
};

struct slot {
    uint64_t hash;
    _Atomic(struct key_cache_entry *) entry; /* NULL: empty */
};

/* Open addressing. */
struct table {
    struct table *smaller; /* its predecessor */
    size_t mask;
    struct slot slots[];
};

struct key_cache {
    struct rwlock use; /* guards everything against being forgotten */
    uint64_t generation;
    uint64_t round; /* how often everything was forgotten */
    _Atomic(struct table *) table;

    struct mutex adding;  /* guards the rest */
    struct chunk *chunks; /* newest first */
    size_t used;          /* bytes used of the newest */
    size_t bytes_max;
    struct budget *budget;
    _Atomic bool full; /* the last growth was refused because of bytes_max, not by the budget */
    struct key_cache_stats stats;
};

struct key_cache *key_cache_new(size_t bytes_max, struct budget *budget) {
    struct key_cache *cache = calloc(1, sizeof(*cache));
    if (cache == NULL)
        return NULL;
    cache->bytes_max = bytes_max;
    cache->budget = budget;
    rwlock_init(&cache->use);
    mutex_init(&cache->adding);
    return cache;
}

static void give_back(struct key_cache *cache, size_t bytes) {
    budget_release(cache->budget, bytes);
    cache->stats.bytes -= bytes;
}

static size_t table_bytes(size_t slots) {
    return sizeof(struct table) + slots * sizeof(struct slot);
}

static struct table *table_of(const struct key_cache *cache) {
    return atomic_load_explicit(&cache->table, memory_order_acquire);
}

static void forget_everything(struct key_cache *cache) {
    while (cache->chunks != NULL) {
        struct chunk *chunk = cache->chunks;
        cache->chunks = chunk->next;
        give_back(cache, chunk->size);
        free(chunk);
    }
    for (struct table *table = table_of(cache), *smaller; table != NULL; table = smaller) {
        smaller = table->smaller;
        give_back(cache, table_bytes(table->mask + 1));
        free(table);
    }
    atomic_store_explicit(&cache->table, NULL, memory_order_relaxed);
    atomic_store_explicit(&cache->full, false, memory_order_relaxed);
    cache->used = 0;
    cache->stats.entries = 0;
    cache->round++;
    CHECK(cache->stats.bytes == 0);
}

void key_cache_free(struct key_cache *cache) {
    if (cache == NULL)
        return;
    forget_everything(cache);
    mutex_fini(&cache->adding);
    rwlock_fini(&cache->use);
    free(cache);
}

/* ---- batches ---- */

void key_cache_open(struct key_cache *cache, uint32_t protocol, struct key_cache_cursor *cursor) {
    *cursor = (struct key_cache_cursor){.cache = cache, .protocol = protocol};
}

static bool is_of_use(const struct key_cache *cache, uint64_t generation) {
    return cache->generation == generation &&
           !atomic_load_explicit(&cache->full, memory_order_relaxed);
}

void key_cache_begin(struct key_cache_cursor *cursor, uint64_t generation) {
    struct key_cache *cache = cursor->cache;
    rwlock_read(&cache->use);
    while (UNLIKELY(!is_of_use(cache, generation))) {
        rwlock_unlock(&cache->use);
        rwlock_write(&cache->use);
        if (!is_of_use(cache, generation))
            forget_everything(cache);
        cache->generation = generation;
        rwlock_unlock(&cache->use);
        rwlock_read(&cache->use);
    }
    if (cursor->round != cache->round)
        cursor->last = NULL;
    cursor->round = cache->round;
}

void key_cache_end(struct key_cache_cursor *cursor) {
    rwlock_unlock(&cursor->cache->use);
}

/* ---- look-ups ---- */

struct key {
    uint32_t protocol;
    str metric;
    str tags;
};

/* Apart from the protocol. */
static inline bool entry_is(const struct key_cache_entry *entry, str metric, str tags) {
    return str_eq((str){entry->bytes + entry->metric_n, entry->tags_n}, tags) &&
           str_eq((str){entry->bytes, entry->metric_n}, metric);
}

static uint64_t key_hash(const struct key *key) {
    /* The length keeps "ab" + "c" and "a" + "bc" apart. */
    return hash_chain(hash_bytes(key->tags.p, key->tags.n) + key->metric.n, key->metric.p,
                      key->metric.n);
}

/* Slot of a key, or the empty one where it belongs. *entry is what it holds. */
static struct slot *find_slot(struct table *table, uint64_t hash, const struct key *key,
                              struct key_cache_entry **entry) {
    for (size_t at = hash & table->mask;; at = (at + 1) & table->mask) {
        struct slot *slot = &table->slots[at];
        *entry = atomic_load_explicit(&slot->entry, memory_order_acquire);
        if (*entry == NULL || (slot->hash == hash && (*entry)->protocol == key->protocol &&
                               entry_is(*entry, key->metric, key->tags)))
            return slot;
    }
}

static inline struct series *series_of(const struct key_cache_entry *entry) {
    return atomic_load_explicit(&entry->series, memory_order_relaxed);
}

/* What followed the last one is this one. */
static void learn_order(struct key_cache_cursor *cursor, struct key_cache_entry *entry) {
    if (cursor->last != NULL)
        atomic_store_explicit(&cursor->last->next, entry, memory_order_release);
    cursor->last = entry;
}

static __attribute__((noinline)) struct series *find_by_hash(struct key_cache_cursor *cursor,
                                                             str metric, str tags) {
    struct table *table = table_of(cursor->cache);
    struct key key = {cursor->protocol, metric, tags};
    struct key_cache_entry *entry = NULL;
    if (table != NULL)
        (void)find_slot(table, key_hash(&key), &key, &entry);
    if (entry == NULL) {
        cursor->missed++;
        return NULL;
    }
    cursor->hashed++;
    learn_order(cursor, entry);
    return series_of(entry);
}

static inline struct key_cache_entry *next_of(const struct key_cache_entry *entry) {
    return atomic_load_explicit(&entry->next, memory_order_acquire);
}

static inline struct series *take(struct key_cache_cursor *cursor,
                                  struct key_cache_entry *expected) {
    __builtin_prefetch(next_of(expected));
    cursor->last = expected;
    cursor->predicted++;
    return series_of(expected);
}

struct series *key_cache_find(struct key_cache_cursor *cursor, str metric, str tags) {
    struct key_cache_entry *expected = cursor->last == NULL ? NULL : next_of(cursor->last);
    if (LIKELY(expected != NULL && entry_is(expected, metric, tags)))
        return take(cursor, expected);
    return find_by_hash(cursor, metric, tags);
}

bool key_cache_expected(struct key_cache_cursor *cursor, str *metric, str *tags) {
    struct key_cache_entry *expected = cursor->last == NULL ? NULL : next_of(cursor->last);
    cursor->expected = expected;
    if (UNLIKELY(expected == NULL))
        return false;
    *metric = (str){expected->bytes, expected->metric_n};
    *tags = (str){expected->bytes + expected->metric_n, expected->tags_n};
    return true;
}

struct series *key_cache_take_expected(struct key_cache_cursor *cursor) {
    return take(cursor, cursor->expected);
}

/* ---- growth, under the lock of those who add ---- */

static bool charge(struct key_cache *cache, size_t bytes) {
    bool full = cache->stats.bytes + bytes > cache->bytes_max;
    atomic_store_explicit(&cache->full, full, memory_order_relaxed);
    if (full || !budget_charge(cache->budget, bytes))
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

static void copy_slots(const struct table *from, struct table *to) {
    for (size_t i = 0; i <= from->mask; i++) {
        struct key_cache_entry *entry =
            atomic_load_explicit(&from->slots[i].entry, memory_order_relaxed);
        if (entry == NULL)
            continue;
        size_t at = from->slots[i].hash & to->mask;
        while (atomic_load_explicit(&to->slots[at].entry, memory_order_relaxed) != NULL)
            at = (at + 1) & to->mask;
        to->slots[at].hash = from->slots[i].hash;
        atomic_store_explicit(&to->slots[at].entry, entry, memory_order_relaxed);
    }
}

static bool grow_table(struct key_cache *cache) {
    struct table *smaller = table_of(cache);
    size_t slots = smaller == NULL ? SLOTS_MIN : (smaller->mask + 1) * 4;
    size_t bytes = table_bytes(slots);
    if (!charge(cache, bytes))
        return false;
    struct table *table = calloc(1, bytes);
    if (table == NULL) {
        give_back(cache, bytes);
        return false;
    }
    table->smaller = smaller;
    table->mask = slots - 1;
    if (smaller != NULL)
        copy_slots(smaller, table);
    atomic_store_explicit(&cache->table, table, memory_order_release);
    return true;
}

/* Room for one entry of `size` bytes and its slot. */
static bool make_room(struct key_cache *cache, size_t size) {
    const struct table *table = table_of(cache);
    bool crowded = table == NULL || (cache->stats.entries + 1) * 4 > (table->mask + 1) * 3;
    if (crowded && !grow_table(cache))
        return false;
    return (cache->chunks != NULL && cache->chunks->size - cache->used >= size) || add_chunk(cache);
}

static struct key_cache_entry *new_entry(struct key_cache *cache, size_t size,
                                         const struct key *key, struct series *series) {
    str metric = key->metric, tags = key->tags;
    struct key_cache_entry *entry = (void *)((char *)cache->chunks + cache->used);
    cache->used += size;
    cache->stats.entries++;
    atomic_init(&entry->series, series);
    atomic_init(&entry->next, NULL);
    entry->metric_n = (uint16_t)metric.n;
    entry->tags_n = (uint16_t)tags.n;
    entry->protocol = key->protocol;
    if (metric.n > 0)
        memcpy(entry->bytes, metric.p, metric.n);
    if (tags.n > 0)
        memcpy(entry->bytes + metric.n, tags.p, tags.n);
    return entry;
}

/* The entry of a key, new or not; NULL if there is no room. */
static struct key_cache_entry *put(struct key_cache *cache, const struct key *key,
                                   struct series *series) {
    size_t bytes = offsetof(struct key_cache_entry, bytes) + key->metric.n + key->tags.n;
    size_t size = (bytes + ENTRY_ALIGN - 1) & ~(size_t)(ENTRY_ALIGN - 1);
    if (!make_room(cache, size))
        return NULL;
    uint64_t hash = key_hash(key);
    struct key_cache_entry *entry;
    struct slot *slot = find_slot(table_of(cache), hash, key, &entry);
    if (entry != NULL) {
        atomic_store_explicit(&entry->series, series, memory_order_relaxed);
        return entry;
    }
    entry = new_entry(cache, size, key, series);
    slot->hash = hash;
    atomic_store_explicit(&slot->entry, entry, memory_order_release);
    return entry;
}

void key_cache_add(struct key_cache_cursor *cursor, str metric, str tags, struct series *series) {
    struct key_cache *cache = cursor->cache;
    if (metric.n > KEY_BYTES_MAX || tags.n > KEY_BYTES_MAX - metric.n ||
        atomic_load_explicit(&cache->full, memory_order_relaxed))
        return;
    struct key key = {cursor->protocol, metric, tags};
    mutex_lock(&cache->adding);
    struct key_cache_entry *entry = put(cache, &key, series);
    mutex_unlock(&cache->adding);
    if (entry != NULL)
        learn_order(cursor, entry);
}

void key_cache_stats(struct key_cache *cache, struct key_cache_stats *stats) {
    mutex_lock(&cache->adding);
    *stats = cache->stats;
    mutex_unlock(&cache->adding);
}
