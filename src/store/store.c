#include "store/store_state.h"

#include "base/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { MIB = 1 << 20, DAY_MS = 86400000, LOG_MIB = 96 /* replayed in about a second */ };

void store_options_default(struct store_options *options, size_t memory_limit_bytes) {
    size_t limit = memory_limit_bytes != 0 ? memory_limit_bytes : (size_t)1024 * MIB;
    uint64_t log_bytes_max = limit / 2 < LOG_MIB * MIB ? limit / 2 : LOG_MIB * MIB;
    *options = (struct store_options){
        .shards = 4,
        .head_bytes_max = limit / 4,
        .index_bytes_max = limit / 2,
        .log = {.commit_interval_ms = 50,
                .file_bytes_max = 64 * MIB,
                .buffer_bytes_max = limit / 16 < 64 * MIB ? limit / 16 : 64 * MIB},
        .log_bytes_max = log_bytes_max,
        .checkpoint_interval_s = 600,
        .window_ms = DAY_MS,
        .uid_width = {3, 3, 3},
        .auto_create = {true, true, true},
        .clock_patience_s = 3600,
        .throttle_ms = 5000,
        .background = true,
    };
}

struct index *store_index(struct store *store) {
    return store->index;
}

struct budget *store_budget(struct store *store) {
    return store->options.budget;
}

struct epoch_domain *store_epochs(struct store *store) {
    return store->epochs;
}

struct medium *store_medium(struct store *store) {
    return store->options.medium;
}

bool store_is_durable(const struct store *store) {
    return medium_is_durable(store->options.medium);
}

uint64_t store_writers_enter(struct store *store) {
    rwlock_read(&store->removal);
    return atomic_load_explicit(&store->generation, memory_order_relaxed);
}

void store_writers_leave(struct store *store) {
    rwlock_unlock(&store->removal);
}

void store_readers_enter(struct store *store) {
    epoch_pin(store->epochs);
}

void store_readers_leave(struct store *store) {
    epoch_unpin(store->epochs);
}

static void tell(struct store *store, bool problem, const char *format, va_list arguments) {
    if (store->options.report == NULL)
        return;
    char line[1024];
    vsnprintf(line, sizeof(line), format, arguments);
    store->options.report(store->options.report_context, problem, line);
}

void store_report(struct store *store, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    tell(store, true, format, arguments);
    va_end(arguments);
}

void store_note(struct store *store, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    tell(store, false, format, arguments);
    va_end(arguments);
}

void store_damage(struct store *store, const char *what) {
    atomic_fetch_add(&store->damaged, 1);
    store_report(store, "damaged and left out: %s", what);
}

void store_segment_name(struct store *store, uint32_t shard, char *name, size_t size) {
    snprintf(name, size, "seg-%02u-%08" PRIx64 "-%08x", shard, store->manifest.epoch,
             atomic_fetch_add(&store->object_next, 1));
}

enum rc store_commit_wait(struct store *store, uint64_t commit, uint32_t timeout_ms,
                          struct err *err) {
    if (store->log == NULL || commit == 0)
        return RC_OK;
    return log_wait(store->log, commit, timeout_ms, err);
}

/* ---- statistics ---- */

static void add_segments(struct store *store, struct store_stats *stats) {
    epoch_pin(store->epochs);
    for (uint32_t shard = 0; shard < store->shard_count; shard++) {
        const struct segment_list *list = store_segments(store, shard);
        for (uint32_t i = 0; i < list->count; i++) {
            stats->segments++;
            stats->segment_bytes += segment_info(list->segments[i])->bytes;
        }
    }
    epoch_unpin(store->epochs);
}

void store_stats(struct store *store, struct store_stats *stats) {
    struct index_memory memory;
    index_memory(store->index, &memory);
    *stats = (struct store_stats){
        .points_rejected = atomic_load(&store->points_rejected),
        .head_bytes = budget_used(&store->heads),
        .names_bytes = memory.names_bytes,
        .checkpoints = atomic_load(&store->checkpoints),
        .compactions = atomic_load(&store->compactions),
        .damaged_blocks = atomic_load(&store->damaged),
        .deleted_points = atomic_load(&store->deleted_points),
        .replay = store->replay,
    };
    for (uint32_t i = 0; i < store->shard_count; i++)
        stats->points_appended += atomic_load(&store->shards[i].points_appended);
    add_segments(store, stats);
    if (store->log != NULL)
        log_stats(store->log, &stats->log);
}

enum rc store_scrub(struct store *store, uint64_t *damaged, struct err *err) {
    *damaged = 0;
    mutex_lock(&store->maintenance);
    for (uint32_t shard = 0; shard < store->shard_count; shard++) {
        const struct segment_list *list = store_segments_now(store, shard);
        for (uint32_t i = 0; i < list->count; i++) {
            uint64_t bad = segment_scrub(list->segments[i]);
            *damaged += bad;
            if (bad > 0)
                store_report(store, "scrub: %" PRIu64 " damaged blocks in %s", bad,
                             segment_info(list->segments[i])->name);
        }
    }
    *damaged += store->isolated.n;
    mutex_unlock(&store->maintenance);
    return RC_OK;
}

/* ---- memory ---- */

void store_collect(struct store *store) {
    epoch_collect(store->epochs);
    for (uint32_t i = 0; i < store->shard_count; i++) {
        struct shard *shard = &store->shards[i];
        mutex_lock(&shard->lock);
        head_memory_collect(&shard->memory);
        mutex_unlock(&shard->lock);
    }
}

void store_pools_trim(struct store *store) {
    for (uint32_t i = 0; i < store->shard_count; i++) {
        struct shard *shard = &store->shards[i];
        mutex_lock(&shard->lock);
        head_pool_trim(&shard->memory.pool);
        mutex_unlock(&shard->lock);
    }
}

/* ---- the end ---- */

static void free_heads(struct store *store) {
    uint32_t last = index_series_id_max(store->index);
    for (uint32_t id = 1; id != 0 && id <= last; id++) {
        struct series *series = index_by_id(store->index, id);
        if (series != NULL)
            head_fini(&series->head, &store->shards[series->shard].memory);
    }
}

static void free_shards(struct store *store) {
    for (uint32_t i = 0; i < store->shard_count; i++) {
        struct shard *shard = &store->shards[i];
        store_segments_free(atomic_load(&shard->segments));
        u32_vec_fini(&shard->listed);
        mutex_fini(&shard->lock);
    }
}

void store_free(struct store *store) {
    if (store->index != NULL)
        free_heads(store);
    store_leftovers_free(&store->leftovers);
    store_tombstones_free(store);
    store_retention_free(store);
    free_shards(store);
    index_free(store->index);
    epoch_domain_free(store->epochs);
    for (uint32_t i = 0; i < store->shard_count; i++)
        head_memory_fini(&store->shards[i].memory);
    free(store->shards);
    store_scratch_free(store);
    manifest_fini(&store->manifest);
    manifest_objects_fini(&store->isolated);
    buf_fini(&store->manifest_stored);
    free((void *)store->options.retention);
    rwlock_fini(&store->removal);
    mutex_fini(&store->define);
    mutex_fini(&store->scratch_lock);
    mutex_fini(&store->maintenance);
    mutex_fini(&store->wake_lock);
    condition_fini(&store->wake);
    condition_fini(&store->room);
    free(store);
}

enum rc store_close(struct store *store, struct err *err) {
    if (store == NULL)
        return RC_OK;
    store_maintain_stop(store);
    struct err checkpoint_err;
    if (store_is_durable(store) && store_checkpoint(store, &checkpoint_err) < 0)
        store_report(store, "no checkpoint at the end (the log has everything): %s",
                     checkpoint_err.message);
    enum rc rc = store->log == NULL ? RC_OK : log_close(store->log, err);
    store->log = NULL;
    store_free(store);
    return rc;
}
