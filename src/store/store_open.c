#include "store/store_state.h"

#include "base/check.h"
#include "base/hash.h"
#include "store/batch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the parts of an empty store ---- */

static bool copy_retention(struct store *store, const struct store_options *options) {
    size_t bytes = options->retention_count * sizeof(struct store_retention);
    for (uint32_t i = 0; i < options->retention_count; i++)
        bytes += options->retention[i].pattern.n;
    struct store_retention *copy = malloc(bytes + 1);
    if (copy == NULL)
        return false;
    char *text = (char *)(copy + options->retention_count);
    for (uint32_t i = 0; i < options->retention_count; i++) {
        copy[i] = options->retention[i];
        copy[i].pattern.p = text;
        if (copy[i].pattern.n > 0)
            memcpy(text, options->retention[i].pattern.p, copy[i].pattern.n);
        text += copy[i].pattern.n;
    }
    store->options.retention = copy;
    return true;
}

static struct store *store_new(const struct store_options *options) {
    struct store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return NULL;
    store->options = *options;
    store->options.retention = NULL;
    budget_init(&store->heads, 0, options->budget);
    rwlock_init(&store->removal);
    mutex_init(&store->define);
    mutex_init(&store->scratch_lock);
    mutex_init(&store->maintenance);
    mutex_init(&store->wake_lock);
    condition_init(&store->wake);
    condition_init(&store->room);
    atomic_store(&store->generation, 1);
    store->epochs = epoch_domain_new();
    if (store->epochs != NULL && copy_retention(store, options))
        return store;
    store_free(store);
    return NULL;
}

static enum rc make_shards(struct store *store, uint32_t count, struct err *err) {
    store->shards = aligned_alloc(64, count * sizeof(struct shard));
    if (store->shards == NULL)
        return err_set(err, RC_NOMEM, "out of memory for shards");
    memset(store->shards, 0, count * sizeof(struct shard));
    for (; store->shard_count < count; store->shard_count++) {
        struct shard *shard = &store->shards[store->shard_count];
        mutex_init(&shard->lock);
        shard->memory = (struct head_memory){.budget = &store->heads, .epochs = store->epochs};
    }
    return RC_OK;
}

static enum rc make_index(struct store *store, struct err *err) {
    budget_init(&store->names, store->options.index_bytes_max, store->options.budget);
    struct index_options options = {
        .shards = store->manifest.shards, .budget = &store->names, .readers = store->epochs};
    for (int kind = 0; kind < INDEX_KINDS; kind++) {
        options.uid_width[kind] = store->manifest.uid_width[kind];
        options.auto_create[kind] = store->options.auto_create[kind];
    }
    enum rc rc = index_new(&options, &store->index);
    return rc < 0 ? err_set(err, rc, "out of memory for the index") : RC_OK;
}

/* ---- what there is ---- */

/* Not a secret and not random: only different from that of any other store. */
static void make_store_id(const struct store *store, uint8_t *id) {
    int64_t seed[3] = {clock_wall_ms(store->options.clock), clock_monotonic_ns(), (intptr_t)store};
    for (int i = 0; i < MANIFEST_ID_BYTES / 8; i++) {
        seed[2] += i + 1;
        uint64_t word = hash_bytes(seed, sizeof(seed));
        memcpy(id + i * 8, &word, sizeof(word));
    }
}

static void make_manifest(const struct store *store, struct manifest *manifest) {
    make_store_id(store, manifest->store_id);
    manifest->shards = store->options.shards;
    for (int kind = 0; kind < INDEX_KINDS; kind++)
        manifest->uid_width[kind] = store->options.uid_width[kind];
    manifest->sequence_next = 1;
}

static bool is_segment(const char *name) {
    return strncmp(name, "seg-", 4) == 0;
}

static bool is_names(const char *name) {
    return strncmp(name, "names-", 6) == 0;
}

static bool is_copy(const char *name) {
    size_t n = strlen(name);
    return n > 5 && strcmp(name + n - 5, ".copy") == 0;
}

/* The opening that made an object, from its name; 0 if the name is another. */
static uint64_t epoch_of(const char *name) {
    uint64_t epoch;
    unsigned number;
    const char *at = is_segment(name) ? name + sizeof("seg-00-") - 1 : name + sizeof("names-") - 1;
    bool long_enough = strlen(name) > (size_t)(at - name);
    return long_enough && sscanf(at, "%" SCNx64 "-%x", &epoch, &number) == 2 ? epoch : 0;
}

/* Takes whatever is there as part of the store; wrong entries show when they are opened. */
static enum rc adopt(void *context, const char *name, uint64_t size) {
    struct manifest *manifest = context;
    struct manifest_object object = {.bytes = size};
    size_t n = strlen(name);
    if (n > MANIFEST_NAME_MAX || is_copy(name) || (!is_segment(name) && !is_names(name)))
        return RC_OK;
    memcpy(object.name, name, n);
    uint64_t epoch = epoch_of(name);
    manifest->epoch = epoch > manifest->epoch ? epoch : manifest->epoch;
    bool ok = is_segment(name) ? manifest_objects_push(&manifest->segments, object)
                               : manifest_objects_push(&manifest->names, object);
    return ok ? RC_OK : RC_NOMEM;
}

/* Both manifests are lost: puts together what the objects say. Deletes and retention that were not
   yet worked into segments are lost with the manifest. Epochs go on, so that no name is given
   twice. */
static enum rc rebuild(struct store *store, struct manifest *manifest, struct err *err) {
    struct medium *medium = store->options.medium;
    TRY(log_epoch_last(medium, &manifest->epoch, err));
    TRY(medium_list(medium, MEDIUM_OBJECTS, adopt, manifest, err));
    if (manifest->segments.n + manifest->names.n > 0)
        store_report(store, "no manifest: taking the %zu segments and %zu names there are",
                     manifest->segments.n, manifest->names.n);
    bool shaped = false;
    for (size_t i = 0; i < manifest->names.n && !shaped; i++) {
        struct manifest shape;
        shaped = store_names_load(store, manifest->names.p[i].name, &shape, NULL) == RC_OK &&
                 shape.shards >= 1 && shape.shards <= STORE_SHARDS_MAX;
        if (shaped)
            manifest->shards = shape.shards;
        for (int kind = 0; shaped && kind < INDEX_KINDS; kind++)
            manifest->uid_width[kind] = shape.uid_width[kind];
    }
    for (size_t i = 0; i < manifest->segments.n; i++) {
        struct segment *segment;
        if (segment_open(medium, manifest->segments.p[i].name, &segment, NULL) < 0)
            continue;
        const struct segment_info *info = segment_info(segment);
        manifest->segments.p[i] = store_segments_object(segment);
        if (info->sequence >= manifest->sequence_next)
            manifest->sequence_next = info->sequence + 1;
        if (!shaped && info->shard >= manifest->shards)
            manifest->shards = info->shard + 1;
        segment_unref(segment);
    }
    return RC_OK;
}

static enum rc find_manifest(struct store *store, struct err *err) {
    bool found;
    struct manifest *manifest = &store->manifest;
    TRY(store_manifest_load(store, manifest, &found, err));
    if (!found) {
        make_manifest(store, manifest);
        TRY(rebuild(store, manifest, err));
    }
    manifest->epoch++;
    return RC_OK;
}

/* ---- names and segments ---- */

static enum rc load_names(struct store *store, struct err *err) {
    const struct manifest_objects *names = &store->manifest.names;
    for (size_t i = 0; i < names->n; i++) {
        struct err why;
        enum rc rc = store_names_load(store, names->p[i].name, NULL, &why);
        if (rc == RC_NOMEM || rc == RC_UNSUPPORTED)
            return err_set(err, rc, "%s", why.message);
        if (rc < 0)
            store_damage(store, why.message);
    }
    store->names_sequence = index_sequence(store->index);
    return RC_OK;
}

static bool is_as_listed(const struct segment *segment, const struct manifest_object *object) {
    const struct segment_info *info = segment_info(segment);
    return info->checksum == object->checksum && info->sequence == object->sequence &&
           info->shard == object->shard;
}

/* Opens a segment, or isolates it: the start goes on without it. */
static enum rc open_segment(struct store *store, const struct manifest_object *object,
                            struct segment_vec *opened, struct err *err) {
    struct err why;
    struct segment *segment;
    enum rc rc = segment_open(store->options.medium, object->name, &segment, &why);
    if (rc == RC_OK && !is_as_listed(segment, object)) {
        segment_unref(segment);
        rc = err_set(&why, RC_CORRUPT, "%s is not the segment the manifest names", object->name);
    }
    if (rc == RC_NOMEM || rc == RC_UNSUPPORTED)
        return err_set(err, rc, "%s", why.message);
    if (rc < 0) {
        store_damage(store, why.message);
        return manifest_objects_push(&store->isolated, *object)
                   ? RC_OK
                   : err_set(err, RC_NOMEM, "out of memory for the list of segments");
    }
    segment_use_memory(segment, store->options.budget, store->epochs);
    /* Should names be lost, their points must not show under those that come. */
    index_skip_ids(store->index, segment_series_id_max(segment));
    if (segment_vec_push(opened, segment))
        return RC_OK;
    segment_unref(segment);
    return err_set(err, RC_NOMEM, "out of memory for the list of segments");
}

static enum rc open_segments(struct store *store, struct err *err) {
    const struct manifest_objects *segments = &store->manifest.segments;
    struct segment_vec opened = {0};
    enum rc rc = RC_OK;
    for (size_t i = 0; i < segments->n && rc == RC_OK; i++)
        rc = open_segment(store, &segments->p[i], &opened, err);
    for (uint32_t shard = 0; shard < store->shard_count && rc == RC_OK; shard++) {
        struct segment_list *list;
        rc = store_segments_plan(store, shard, NULL, &opened, &list);
        if (rc == RC_OK)
            store_segments_swap(store, shard, list);
        else
            err_set(err, rc, "out of memory for the list of segments");
    }
    for (size_t i = 0; i < opened.n; i++)
        segment_unref(opened.p[i]);
    segment_vec_fini(&opened);
    return rc;
}

/* ---- the log ---- */

/* Series found so far by id: one look-up a series, not one a point. */
struct replay {
    struct store *store;
    struct series **by_id;
    uint32_t by_id_count;
    struct batch_points points;
    struct series **series; /* of the points of the batch at hand */
    size_t heads_max;       /* what heads may take before they are written out */
};

enum {
    REPLAY_PREFETCH_SERIES = 32, /* points ahead whose series is brought into cache */
    REPLAY_PREFETCH_TAIL = 16    /* points ahead whose tail is */
};

static struct series *replay_series(struct replay *replay, uint32_t id) {
    if (id >= replay->by_id_count)
        return index_by_id(replay->store->index, id);
    if (replay->by_id[id] == NULL)
        replay->by_id[id] = index_by_id(replay->store->index, id);
    return replay->by_id[id];
}

/* Makes room for all ids there are, and forgets series that were removed, with their points: the
   log still has points of theirs from before. The caller is pinned since before the removal. */
static bool replay_refresh(struct replay *replay, bool removed_some) {
    struct store *store = replay->store;
    for (uint32_t id = 0; removed_some && id < replay->by_id_count; id++) {
        struct series *series = replay->by_id[id];
        if (series == NULL || !series->removed)
            continue;
        head_fini(&series->head, &store->shards[series->shard].memory);
        replay->by_id[id] = NULL;
    }
    uint32_t count = index_series_id_max(store->index) + 1;
    if (count <= replay->by_id_count)
        return true;
    count += count / 2;
    struct series **bigger = realloc(replay->by_id, count * sizeof(*bigger));
    if (bigger == NULL)
        return false;
    memset(bigger + replay->by_id_count, 0, (count - replay->by_id_count) * sizeof(*bigger));
    replay->by_id = bigger;
    replay->by_id_count = count;
    return true;
}

static enum rc replay_define(struct replay *replay, const uint8_t *bytes, size_t n) {
    struct store *store = replay->store;
    struct err why;
    uint32_t id_max = index_series_id_max(store->index);
    uint64_t count = index_series_count(store->index);
    epoch_pin(store->epochs);
    enum rc rc = index_apply(store->index, bytes, n, &why);
    uint64_t created = index_series_id_max(store->index) - id_max;
    bool removed_some = index_series_count(store->index) < count + created;
    if (!replay_refresh(replay, removed_some))
        rc = RC_NOMEM;
    epoch_unpin(store->epochs);
    if (rc == RC_CORRUPT)
        store_damage(store, why.message);
    return rc == RC_CORRUPT ? RC_OK : rc;
}

/* Finds the series of the batch; returns how many points have none. Their ids are not given again:
   the next replay would take these points for those of another series. */
static uint32_t replay_resolve(struct replay *replay) {
    uint32_t lost = 0;
    uint32_t id_max = 0;
    for (uint32_t i = 0; i < replay->points.count; i++) {
        uint32_t id = replay->points.series_id[i];
        replay->series[i] = replay_series(replay, id);
        if (replay->series[i] != NULL)
            continue;
        lost++;
        id_max = id > id_max ? id : id_max;
    }
    if (lost > 0)
        index_skip_ids(replay->store->index, id_max);
    return lost;
}

/* What the log holds may need more memory than there is, not least when the limit is lower than it
   was: heads go into segments on the way. If they cannot, they take what they need: a full disk is
   no reason not to start. */
static void replay_give_back(struct replay *replay) {
    struct store *store = replay->store;
    size_t used = budget_used(&store->heads);
    if (used <= replay->heads_max / 4 || (used <= replay->heads_max && !store_memory_short(store)))
        return;
    struct err why;
    if (store_checkpoint_heads(store, &why) == RC_OK)
        return;
    store_report(store, "no memory was given back during the replay: %s", why.message);
    replay->heads_max = used > SIZE_MAX / 8 ? SIZE_MAX : used * 8;
}

static enum rc replay_points(struct replay *replay, uint64_t position, const uint8_t *bytes,
                             size_t n) {
    struct store *store = replay->store;
    struct batch_points *points = &replay->points;
    if (batch_decode_points(bytes, n, points) < 0) {
        store_damage(store, "a batch of points in the log is not well formed");
        return RC_OK;
    }
    uint32_t lost = replay_resolve(replay);
    for (uint32_t i = 0; i < points->count; i++) {
        struct series *series = replay->series[i];
        if (i + REPLAY_PREFETCH_SERIES < points->count)
            __builtin_prefetch(replay->series[i + REPLAY_PREFETCH_SERIES], 1);
        if (i + REPLAY_PREFETCH_TAIL < points->count &&
            replay->series[i + REPLAY_PREFETCH_TAIL] != NULL)
            head_prefetch(&replay->series[i + REPLAY_PREFETCH_TAIL]->head);
        if (series != NULL &&
            !store_apply(&store->shards[series->shard], series, points->time_ms[i], points->bits[i],
                         points->is_float[i]))
            return RC_NOMEM;
    }
    /* Where their names were in an unfinished write, the points were acknowledged to nobody. */
    if (lost > 0 && !store->replay.after_gap) {
        char line[128];
        snprintf(line, sizeof(line),
                 "%" PRIu32 " points of unknown series at %" PRIu64 " in the log", lost, position);
        store_damage(store, line);
    }
    replay_give_back(replay);
    return RC_OK;
}

static enum rc replay_delete(struct replay *replay, const uint8_t *bytes, size_t n) {
    struct store *store = replay->store;
    struct batch_delete batch;
    if (batch_decode_delete(bytes, n, &batch) < 0) {
        store_damage(store, "a delete in the log is not well formed");
        return RC_OK;
    }
    struct manifest_tombstone tombstones[BATCH_DELETE_SERIES];
    for (uint32_t i = 0; i < batch.count; i++) {
        struct series *series = replay_series(replay, batch.series_id[i]);
        struct tombstone range = {batch.from_ms, batch.to_ms, store->manifest.sequence_next - 1};
        tombstones[i] = (struct manifest_tombstone){batch.series_id[i], range};
        if (series != NULL && !head_delete(&series->head, &store->shards[series->shard].memory,
                                           batch.from_ms, batch.to_ms, NULL))
            return RC_NOMEM;
    }
    return store_tombstones_add(store, tombstones, batch.count);
}

static enum rc replay_record(void *context, enum log_record_kind kind, uint64_t position,
                             const uint8_t *bytes, size_t n) {
    struct replay *replay = context;
    switch (kind) {
    case LOG_DEFINE:
        return replay_define(replay, bytes, n);
    case LOG_POINTS:
        return replay_points(replay, position, bytes, n);
    case LOG_DELETE:
        return replay_delete(replay, bytes, n);
    }
    store_damage(replay->store, "a log record of a kind this program does not know");
    return RC_OK;
}

static void tell_of_log(void *context, const struct err *failure) {
    struct store *store = context;
    if (failure != NULL)
        store_report(store, "nothing more is stored, and writers are refused: %s",
                     failure->message);
    else
        store_note(store, "what is written is stored again");
}

static enum rc replay_log(struct store *store, struct replay *replay, struct err *err) {
    const size_t n = LIMIT_BATCH_POINTS;
    struct batch_points *points = &replay->points;
    points->series_id = malloc(n * sizeof(*points->series_id));
    points->time_ms = malloc(n * sizeof(*points->time_ms));
    points->bits = malloc(n * sizeof(*points->bits));
    points->is_float = malloc(n);
    replay->series = malloc(n * sizeof(struct series *));
    enum rc rc = RC_NOMEM;
    if (replay->series != NULL && points->series_id != NULL && points->time_ms != NULL &&
        points->bits != NULL && points->is_float != NULL && replay_refresh(replay, false)) {
        struct log_options options = store->options.log;
        options.budget = store->options.budget;
        options.tell = tell_of_log;
        options.tell_context = store;
        rc = log_open(store->options.medium, store->manifest.epoch, store->manifest.log_start,
                      &options, replay_record, replay, &store->replay, &store->log, err);
    }
    if (rc == RC_NOMEM)
        err_set(err, rc, "out of memory while replaying the log");
    free(points->series_id);
    free(points->time_ms);
    free(points->bits);
    free(points->is_float);
    free(replay->series);
    free(replay->by_id);
    return rc;
}

static enum rc open_log(struct store *store, struct err *err) {
    if (!store_is_durable(store))
        return RC_OK;
    struct replay replay = {.store = store, .heads_max = store->options.head_bytes_max};
    TRY(replay_log(store, &replay, err));
    atomic_store(&store->defined, index_sequence(store->index));
    atomic_store(&store->checkpoint_log, store->manifest.log_start);
    const struct log_replay_report *report = &store->replay;
    if (report->files == 0 && store->manifest.epoch > 1)
        store_damage(store, "the log: no file of it is there; what came after the last checkpoint "
                            "is lost");
    if (report->records > 0)
        store_note(store, "log: %" PRIu64 " records of %" PRIu64 " bytes replayed", report->records,
                   report->bytes);
    if (report->torn_tail_bytes > 0)
        store_note(store, "log: an unfinished write of %" PRIu64 " bytes at the end was cut off",
                   report->torn_tail_bytes);
    if (report->gap_bytes > 0)
        store_report(store,
                     "log: %" PRIu64 " bytes inside the last commit are unfinished or damaged and "
                     "were left out",
                     report->gap_bytes);
    if (report->damaged_records > 0)
        store_report(store, "log: %" PRIu64 " damaged records (%" PRIu64 " bytes) were left out",
                     report->damaged_records, report->damaged_bytes);
    return RC_OK;
}

/* ---- taking possession ---- */

/* Stores the manifest with this opening's epoch. A full medium is no reason not to start: reads
   work, and the next checkpoint stores it. */
static enum rc claim(struct store *store, struct err *err) {
    struct manifest draft = {0};
    struct segment_list *lists[STORE_SHARDS_MAX] = {0};
    struct err why;
    enum rc rc = store_manifest_draft(store, &draft);
    if (rc == RC_OK)
        rc = store_manifest_add_segments(store, &draft, lists);
    if (rc < 0)
        return err_set(err, rc, "out of memory for the manifest");
    rc = store_manifest_commit(store, &draft, NULL, &why);
    manifest_fini(&draft);
    if (rc == RC_CONFLICT)
        return err_set(err, rc, "another process has changed the store: %s", why.message);
    if (rc < 0)
        store_report(store, "the manifest could not be stored: %s", why.message);
    return RC_OK;
}

struct orphans {
    const struct manifest *manifest;
    struct manifest_objects found;
};

static bool is_named(const struct manifest_objects *objects, const char *name, size_t n) {
    for (size_t i = 0; i < objects->n; i++)
        if (strlen(objects->p[i].name) == n && memcmp(objects->p[i].name, name, n) == 0)
            return true;
    return false;
}

static enum rc find_orphan(void *context, const char *name, uint64_t size) {
    struct orphans *orphans = context;
    struct manifest_object object = {.bytes = size};
    size_t n = strlen(name);
    if (n > MANIFEST_NAME_MAX || (!is_segment(name) && !is_names(name)))
        return RC_OK;
    const struct manifest_objects *live =
        is_segment(name) ? &orphans->manifest->segments : &orphans->manifest->names;
    if (is_named(live, name, is_copy(name) ? n - 5 : n))
        return RC_OK;
    memcpy(object.name, name, n);
    return manifest_objects_push(&orphans->found, object) ? RC_OK : RC_NOMEM;
}

/* Removes what a crash left behind. Failing to is not worth more than a line. */
static void remove_orphans(struct store *store) {
    struct orphans orphans = {.manifest = &store->manifest};
    struct err why;
    enum rc rc = medium_list(store->options.medium, MEDIUM_OBJECTS, find_orphan, &orphans, &why);
    for (size_t i = 0; i < orphans.found.n && rc == RC_OK; i++)
        rc = medium_remove(store->options.medium, MEDIUM_OBJECTS, orphans.found.p[i].name, &why);
    if (rc < 0)
        store_report(store, "objects nobody needs could not be removed: %s", why.message);
    manifest_objects_fini(&orphans.found);
}

static enum rc recover(struct store *store, struct err *err) {
    TRY(find_manifest(store, err));
    if (store->manifest.shards != store->options.shards)
        store_note(store, "the store keeps the %u shards it was made with; %u are configured",
                   store->manifest.shards, store->options.shards);
    TRY(make_shards(store, store->manifest.shards, err));
    TRY(make_index(store, err));
    TRY(load_names(store, err));
    TRY(open_segments(store, err));
    TRY(open_log(store, err));
    if (store_tombstones_publish(store) < 0)
        return err_set(err, RC_NOMEM, "out of memory for the list of deletes");
    TRY(claim(store, err));
    if (store_is_durable(store))
        remove_orphans(store);
    atomic_store(&store->checkpoint_ns, clock_monotonic_ns());
    return store->options.background ? store_maintain_start(store, err) : RC_OK;
}

enum rc store_open(const struct store_options *options, struct store **out, struct err *err) {
    CHECK(options->medium != NULL && options->clock != NULL && options->budget != NULL);
    if (options->shards < 1 || options->shards > STORE_SHARDS_MAX)
        return err_set(err, RC_INVALID, "a store has 1 to %d shards, not %u", STORE_SHARDS_MAX,
                       options->shards);
    if (options->window_ms < 1)
        return err_set(err, RC_INVALID, "the time window of a segment must be positive");
    struct store *store = store_new(options);
    if (store == NULL)
        return err_set(err, RC_NOMEM, "out of memory for the store");
    enum rc rc = recover(store, err);
    if (rc < 0) {
        if (store->log != NULL)
            (void)log_close(store->log, NULL);
        store_free(store);
        return rc;
    }
    *out = store;
    return RC_OK;
}
