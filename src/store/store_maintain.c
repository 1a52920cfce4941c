#include "store/store_state.h"

#include "os/clock.h"
#include "os/machine.h"

#include <inttypes.h>

enum { TICK_MS = 1000, RETENTION_S = 60, MIB = 1 << 20 };

static const int64_t NS_PER_MS = 1000000;
static const int64_t NS_PER_S = 1000000000;

/* ---- memory ---- */

/* What must stay free of the whole limit for everything that cannot be refused. */
static size_t reserve_bytes(const struct store *store) {
    int64_t limit = store->options.budget->limit_bytes;
    return limit / 32 < 32 * MIB ? (size_t)limit / 32 : 32 * MIB;
}

bool store_memory_short(struct store *store) {
    return budget_used(&store->heads) > store->options.head_bytes_max ||
           budget_left(store->options.budget) < 2 * reserve_bytes(store);
}

bool store_memory_full(struct store *store) {
    size_t max = store->options.head_bytes_max;
    return budget_used(&store->heads) > max + max / 2 ||
           budget_left(store->options.budget) < reserve_bytes(store);
}

/* ---- one round ---- */

static bool checkpoint_due(struct store *store) {
    uint64_t log_bytes =
        store->log == NULL ? 0 : log_end(store->log) - atomic_load(&store->checkpoint_log);
    int64_t age_ns = clock_monotonic_ns() - atomic_load(&store->checkpoint_ns);
    uint32_t interval_s = store->options.checkpoint_interval_s;
    return store_memory_short(store) || log_bytes > store->options.log_bytes_max ||
           (interval_s != 0 && age_ns > (int64_t)interval_s * NS_PER_S);
}

static bool retention_due(struct store *store) {
    int64_t now_ns = clock_monotonic_ns();
    if (!store->removal_due && store->retention_ns != 0 &&
        now_ns - store->retention_ns < RETENTION_S * NS_PER_S)
        return false;
    store->retention_ns = now_ns;
    return true;
}

/* Gives back what segments have expanded: it is only a cache. */
static void trim_segments(struct store *store) {
    for (uint32_t shard = 0; shard < store->shard_count; shard++) {
        const struct segment_list *list = store_segments_now(store, shard);
        for (uint32_t i = 0; i < list->count; i++)
            segment_trim(list->segments[i]);
    }
    store_collect(store);
}

void store_trim(struct store *store) {
    if (!mutex_try_lock(&store->maintenance))
        return;
    trim_segments(store);
    mutex_unlock(&store->maintenance);
}

/* How far what the heads take has fallen since memory was last given back. */
static size_t heads_fallen(struct store *store, size_t *peak) {
    size_t used = 0;
    *peak = 0;
    for (uint32_t i = 0; i < store->shard_count; i++) {
        struct shard *shard = &store->shards[i];
        mutex_lock(&shard->lock);
        *peak += shard->memory.peak;
        used += shard->memory.used;
        mutex_unlock(&shard->lock);
    }
    return *peak - used;
}

/* What the heads took at their largest stays with the allocator until it is asked: series sealed
   and merged in step, as collectors make them, take a third less after than before. */
static void give_back(struct store *store) {
    size_t peak;
    size_t fallen = heads_fallen(store, &peak);
    if (fallen < 4 * MIB || fallen < peak / 8)
        return;
    store_pools_trim(store);
    machine_trim_allocator();
    for (uint32_t i = 0; i < store->shard_count; i++) {
        struct shard *shard = &store->shards[i];
        mutex_lock(&shard->lock);
        head_memory_settle(&shard->memory);
        mutex_unlock(&shard->lock);
    }
}

static enum rc checkpoint_if_due(struct store *store, struct err *err) {
    enum rc rc = RC_OK;
    mutex_lock(&store->maintenance);
    store_clock_look(store);
    if (checkpoint_due(store))
        rc = store_checkpoint_run(store, err);
    if (budget_left(store->options.budget) < 2 * reserve_bytes(store))
        trim_segments(store);
    mutex_unlock(&store->maintenance);
    mutex_lock(&store->wake_lock);
    condition_broadcast(&store->room);
    mutex_unlock(&store->wake_lock);
    return rc;
}

static bool is_stopping(struct store *store) {
    mutex_lock(&store->wake_lock);
    bool stopping = store->stopping;
    mutex_unlock(&store->wake_lock);
    return stopping;
}

/* Merges until nothing is worth it; memory that runs short meanwhile goes first. */
static enum rc compact_all_due(struct store *store, struct err *err) {
    bool done = true;
    while (done && !is_stopping(store)) {
        TRY(checkpoint_if_due(store, err));
        mutex_lock(&store->maintenance);
        enum rc rc = store_compact_step(store, &done, err);
        mutex_unlock(&store->maintenance);
        TRY(rc);
    }
    return RC_OK;
}

enum rc store_maintain(struct store *store, struct err *err) {
    TRY(checkpoint_if_due(store, err));
    /* A segment that cannot be read stops merging, but not what makes room. */
    enum rc rc = compact_all_due(store, err);
    mutex_lock(&store->maintenance);
    if (retention_due(store)) {
        enum rc retention_rc = store_retention_run(store, rc == RC_OK ? err : NULL);
        rc = rc == RC_OK ? retention_rc : rc;
    }
    store_collect(store);
    give_back(store);
    mutex_unlock(&store->maintenance);
    return rc;
}

/* ---- the thread ---- */

void store_wake(struct store *store) {
    mutex_lock(&store->wake_lock);
    store->wanted = true;
    condition_signal(&store->wake);
    mutex_unlock(&store->wake_lock);
}

/* Waits for a tick or for somebody to ask; after a failure asking does not shorten the wait.
   False: time to stop. */
static bool wait_for_work(struct store *store, bool failed) {
    int64_t until_ns = clock_monotonic_ns() + TICK_MS * NS_PER_MS;
    mutex_lock(&store->wake_lock);
    while (!store->stopping && (failed || !store->wanted) && clock_monotonic_ns() < until_ns)
        condition_wait_until(&store->wake, &store->wake_lock, until_ns);
    store->wanted = false;
    bool go_on = !store->stopping;
    mutex_unlock(&store->wake_lock);
    return go_on;
}

static void *maintain(void *context) {
    struct store *store = context;
    bool failed = false;
    while (wait_for_work(store, failed)) {
        struct err err;
        enum rc rc = store_maintain(store, &err);
        if (rc < 0 && !failed)
            store_report(store, "maintenance failed and is tried again: %s", err.message);
        failed = rc < 0;
    }
    return NULL;
}

enum rc store_maintain_start(struct store *store, struct err *err) {
    store->running = true;
    enum rc rc = thread_start(&store->thread, "maintain", maintain, store, err);
    if (rc < 0)
        store->running = false;
    return rc;
}

void store_maintain_stop(struct store *store) {
    if (!store->running)
        return;
    mutex_lock(&store->wake_lock);
    store->stopping = true;
    condition_broadcast(&store->wake);
    mutex_unlock(&store->wake_lock);
    thread_join(&store->thread);
    store->running = false;
}
