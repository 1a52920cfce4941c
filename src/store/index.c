#include "store/index.h"

#include "base/check.h"
#include "store/index_internal.h"

#include <stdlib.h>
#include <string.h>

static const char *const kind_text[INDEX_KINDS] = {"metrics", "tagk", "tagv"};

static bool init_slabs(struct index *index) {
    index->names_slab = index_slab_new(index->options.budget, 8);
    index->series_slab = index_slab_new(index->options.budget, SERIES_ALIGN);
    return index->names_slab != NULL && index->series_slab != NULL;
}

enum rc index_new(const struct index_options *options, struct index **out) {
    CHECK(options->shards > 0 && options->budget != NULL && options->readers != NULL);
    struct index *index = calloc(1, sizeof(*index));
    if (index == NULL)
        return RC_NOMEM;
    index->options = *options;
    if (!init_slabs(index)) {
        index_slab_unref(index->names_slab);
        index_slab_unref(index->series_slab);
        free(index);
        return RC_NOMEM;
    }
    rwlock_init(&index->lock);
    index->names_account.budget = options->budget;
    index->series_account.budget = options->budget;
    index->sets_account.budget = options->budget;
    for (int kind = 0; kind < INDEX_KINDS; kind++) {
        CHECK(options->uid_width[kind] >= 1 && options->uid_width[kind] <= 8);
        struct index_names *names = &index->names[kind];
        names->hash.account = &index->names_account;
        names->slab = index->names_slab;
        index_pages_init(&names->pages, sizeof(struct index_name), &index->names_account);
        index_order_init(&index->orders[kind], options->budget);
    }
    index->pairs.account = &index->sets_account;
    index->series_hash.account = &index->series_account;
    index_pages_init(&index->series_pages, sizeof(struct series *), &index->series_account);
    index_events_init(&index->events, &index->series_account);
    *out = index;
    return RC_OK;
}

void index_free(struct index *index) {
    if (index == NULL)
        return;
    for (int kind = 0; kind < INDEX_KINDS; kind++) {
        index_order_fini(&index->orders[kind]);
        index_hash_fini(&index->names[kind].hash);
        index_pages_fini(&index->names[kind].pages);
    }
    index_pairs_fini(&index->pairs);
    index_hash_fini(&index->series_hash);
    index_pages_fini(&index->series_pages);
    index_events_fini(&index->events);
    index_slab_unref(index->names_slab);
    index_slab_unref(index->series_slab);
    rwlock_fini(&index->lock);
    free(index);
}

enum rc index_over_budget(const struct index *index, struct err *err) {
    const struct budget *tightest = NULL;
    int64_t least = 0;
    for (const struct budget *at = index->options.budget; at != NULL; at = at->parent) {
        if (at->limit_bytes == 0)
            continue;
        int64_t left = at->limit_bytes - (int64_t)budget_used(at);
        if (tightest == NULL || left < least) {
            tightest = at;
            least = left;
        }
    }
    if (tightest == NULL)
        return err_set(err, RC_NOMEM, "out of memory for a new series");
    if (tightest != index->options.budget)
        return err_set(err, RC_THROTTLE,
                       "the memory limit of %lld MiB is reached; new series are refused, existing "
                       "series are still written",
                       (long long)(tightest->limit_bytes >> 20));
    return err_set(err, RC_THROTTLE,
                   "the index has reached its memory limit of %lld MiB; existing series are still "
                   "written",
                   (long long)(tightest->limit_bytes >> 20));
}

/* ---- names ---- */

uint32_t index_uid(struct index *index, enum index_kind kind, str name) {
    uint32_t hash = index_names_hash(name);
    rwlock_read(&index->lock);
    uint32_t uid = index_names_find(&index->names[kind], hash, name);
    rwlock_unlock(&index->lock);
    return uid;
}

static enum rc assign_locked(struct index *index, enum index_kind kind, str name, uint32_t *uid,
                             struct err *err) {
    struct index_names *names = &index->names[kind];
    uint32_t hash = index_names_hash(name);
    *uid = index_names_find(names, hash, name);
    if (*uid != 0)
        return RC_OK;
    if (names->uid_max == INDEX_ID_MAX)
        return err_set(err, RC_LIMIT, "no UIDs are left for '%s'", kind_text[kind]);
    struct index_name_text *text = index_names_copy(names, name);
    if (text == NULL)
        return index_over_budget(index, err);
    if (!index_names_reserve(names, 1) || !index_events_reserve(&index->events, 1)) {
        index_slab_give(index->names_slab, text, index_names_text_bytes(name.n));
        return index_over_budget(index, err);
    }
    *uid = names->uid_max + 1;
    index_create_name(index, kind, *uid, hash, text);
    return RC_OK;
}

enum rc index_assign(struct index *index, enum index_kind kind, str name, uint32_t *uid,
                     struct err *err) {
    if (name.n == 0 || name.n > LIMIT_NAME_BYTES_MAX)
        return err_set(err, RC_INVALID, "a name has 1 to %d bytes, not %zu", LIMIT_NAME_BYTES_MAX,
                       name.n);
    rwlock_write(&index->lock);
    enum rc rc = assign_locked(index, kind, name, uid, err);
    rwlock_unlock(&index->lock);
    return rc;
}

str index_name(struct index *index, enum index_kind kind, uint32_t uid) {
    rwlock_read(&index->lock);
    str name = index_names_name(&index->names[kind], uid);
    rwlock_unlock(&index->lock);
    return name;
}

enum rc index_suggest(struct index *index, enum index_kind kind, str prefix, uint32_t max,
                      struct str_vec *out) {
    epoch_pin(index->options.readers);
    enum rc rc = index_order_suggest(&index->orders[kind], &index->names[kind], &index->lock,
                                     prefix, max, out);
    epoch_unpin(index->options.readers);
    return rc;
}

/* ---- figures ---- */

uint64_t index_series_count(struct index *index) {
    rwlock_read(&index->lock);
    uint64_t count = index->series_count;
    rwlock_unlock(&index->lock);
    return count;
}

uint64_t index_name_count(struct index *index, enum index_kind kind) {
    rwlock_read(&index->lock);
    uint64_t count = index->names[kind].count;
    rwlock_unlock(&index->lock);
    return count;
}

uint32_t index_series_id_max(struct index *index) {
    rwlock_read(&index->lock);
    uint32_t id = index->series_id_max;
    rwlock_unlock(&index->lock);
    return id;
}

void index_skip_ids(struct index *index, uint32_t id) {
    rwlock_write(&index->lock);
    if (id > index->series_id_max)
        index->series_id_max = id < INDEX_ID_MAX ? id : INDEX_ID_MAX;
    rwlock_unlock(&index->lock);
}

uint64_t index_sequence(struct index *index) {
    rwlock_read(&index->lock);
    uint64_t next = index->events.next;
    rwlock_unlock(&index->lock);
    return next;
}

void index_memory(struct index *index, struct index_memory *memory) {
    *memory = (struct index_memory){0};
    for (int kind = 0; kind < INDEX_KINDS; kind++) {
        mutex_lock(&index->orders[kind].lock);
        memory->names_bytes += index->orders[kind].account.bytes;
        mutex_unlock(&index->orders[kind].lock);
    }
    rwlock_read(&index->lock);
    memory->names_bytes += index->names_account.bytes + index_slab_bytes(index->names_slab);
    memory->series_bytes = index->series_account.bytes + index_slab_bytes(index->series_slab);
    memory->sets_bytes = index->sets_account.bytes;
    rwlock_unlock(&index->lock);
}

enum rc index_metrics(struct index *index, struct u32_vec *out) {
    const struct index_names *names = &index->names[INDEX_METRIC];
    enum rc rc = RC_OK;
    rwlock_read(&index->lock);
    for (uint64_t uid = 1; uid <= names->uid_max && rc == RC_OK; uid++) {
        const struct index_name *name = index_names_at(names, (uint32_t)uid);
        if (name == NULL)
            uid |= INDEX_PAGE_ELEMENTS - 1; /* the page is gone */
        else if (name->references > 0 && !u32_vec_push(out, (uint32_t)uid))
            rc = RC_NOMEM;
    }
    rwlock_unlock(&index->lock);
    return rc;
}
