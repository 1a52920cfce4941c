#include "base/check.h"
#include "base/hash.h"
#include "store/index_internal.h"

#include <stdlib.h>
#include <string.h>

/*
 * Selection has two steps. Under the lock, the smallest set that holds all answers is copied out as
 * series. Then, without the lock, the rest of the conditions is checked on the tags of each series,
 * which do not change; the series and the names stay because the caller is pinned. So a slow match
 * function holds up nobody.
 */

/* What a match function said of the values met so far. */
struct memo {
    struct memo_slot {
        uint32_t value_uid; /* 0: empty */
        bool matches;
    } * slots;
    uint64_t mask;
    uint64_t count;
};

static struct memo_slot *memo_slot(const struct memo *memo, uint32_t value_uid) {
    uint64_t at = hash_u64(value_uid) & memo->mask;
    while (memo->slots[at].value_uid != 0 && memo->slots[at].value_uid != value_uid)
        at = (at + 1) & memo->mask;
    return &memo->slots[at];
}

static bool memo_reserve(struct memo *memo) {
    uint64_t slots = memo->slots == NULL ? 0 : memo->mask + 1;
    if (memo->count * 2 < slots)
        return true;
    struct memo fresh = {.mask = (slots == 0 ? 64 : slots * 4) - 1, .count = memo->count};
    fresh.slots = calloc(fresh.mask + 1, sizeof(*fresh.slots));
    if (fresh.slots == NULL)
        return false;
    for (uint64_t i = 0; i < slots; i++)
        if (memo->slots[i].value_uid != 0)
            *memo_slot(&fresh, memo->slots[i].value_uid) = memo->slots[i];
    free(memo->slots);
    *memo = fresh;
    return true;
}

static enum rc matches(struct index *index, const struct index_condition *condition,
                       struct memo *memo, uint32_t value_uid, bool *answer) {
    if (!memo_reserve(memo))
        return RC_NOMEM;
    struct memo_slot *slot = memo_slot(memo, value_uid);
    if (slot->value_uid == 0) {
        str value = index_name(index, INDEX_TAGV, value_uid);
        *slot = (struct memo_slot){value_uid,
                                   value.p != NULL && condition->match(condition->context, value)};
        memo->count++;
    }
    *answer = slot->matches;
    return RC_OK;
}

static bool is_in(const uint32_t *sorted, uint32_t count, uint32_t value) {
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (sorted[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && sorted[low] == value;
}

static enum rc meets(struct index *index, const struct series *series,
                     const struct index_condition *condition, struct memo *memo, bool *answer) {
    uint32_t value_uid = index_tag_value(series, condition->key_uid);
    switch (condition->kind) {
    case INDEX_HAS_KEY:
        *answer = value_uid != 0;
        return RC_OK;
    case INDEX_LACKS_KEY:
        *answer = value_uid == 0;
        return RC_OK;
    case INDEX_VALUE_IN:
        *answer = value_uid != 0 && is_in(condition->value_uids, condition->value_count, value_uid);
        return RC_OK;
    case INDEX_VALUE_MATCH:
        *answer = false;
        return value_uid == 0 ? RC_OK : matches(index, condition, memo, value_uid, answer);
    }
    CHECK(false);
    return RC_INVALID;
}

/* Keeps those from `first` on that meet the conditions. */
static enum rc filter(struct index *index, uint32_t metric_uid,
                      const struct index_condition *conditions, uint32_t condition_count,
                      int key_count, struct memo *memos, size_t first, struct series_vec *out) {
    enum { AHEAD = 16 };
    size_t kept = first;
    enum rc rc = RC_OK;
    for (size_t i = first; i < out->n && rc == RC_OK; i++) {
        if (i + AHEAD < out->n) {
            __builtin_prefetch(out->p[i + AHEAD]);
            __builtin_prefetch((const char *)out->p[i + AHEAD] + SERIES_ALIGN); /* its tags */
        }
        struct series *series = out->p[i];
        bool keep = (metric_uid == 0 || series->metric_uid == metric_uid) &&
                    (key_count < 0 || series->tag_count == key_count);
        for (uint32_t c = 0; c < condition_count && keep && rc == RC_OK; c++)
            rc = meets(index, series, &conditions[c], &memos[c], &keep);
        if (keep)
            out->p[kept++] = series;
    }
    out->n = rc == RC_OK ? kept : first;
    return rc;
}

/* ---- candidates ---- */

static const struct index_set *pair_set(const struct index *index, uint32_t key_uid,
                                        uint32_t value_uid) {
    static const struct index_set empty;
    const struct index_set *set = index_pairs_find(&index->pairs, key_uid, value_uid);
    return set == NULL ? &empty : set;
}

static uint64_t union_size(const struct index *index, const struct index_condition *condition,
                           uint64_t enough) {
    uint64_t size = 0;
    for (uint32_t i = 0; i < condition->value_count && size < enough; i++)
        size += pair_set(index, condition->key_uid, condition->value_uids[i])->count;
    return size;
}

static int compare_ids(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Appends the series of the ids. */
static enum rc add_ids(const struct index *index, const uint32_t *ids, size_t count,
                       struct series_vec *out) {
    if (!series_vec_reserve(out, out->n + count))
        return RC_NOMEM;
    for (size_t i = 0; i < count; i++) {
        bool gone;
        struct series *series = index_lookup(index, ids[i], &gone);
        CHECK(series != NULL);
        out->p[out->n++] = series;
    }
    return RC_OK;
}

/* Appends the series of the sets, ascending; the sets have nothing in common. */
static enum rc add_sets(const struct index *index, uint32_t key_uid, const uint32_t *value_uids,
                        uint32_t value_count, uint64_t size, struct series_vec *out) {
    uint32_t *ids = malloc((size + 1) * sizeof(*ids));
    if (ids == NULL)
        return RC_NOMEM;
    size_t n = 0;
    bool sorted = true;
    for (uint32_t i = 0; i < value_count; i++) {
        const struct index_set *set = pair_set(index, key_uid, value_uids[i]);
        index_set_list(set, ids + n);
        sorted = sorted && (n == 0 || set->count == 0 || ids[n - 1] < ids[n]);
        n += set->count;
    }
    if (!sorted)
        qsort(ids, n, sizeof(*ids), compare_ids);
    enum rc rc = add_ids(index, ids, n, out);
    free(ids);
    return rc;
}

static enum rc add_all(const struct index *index, struct series_vec *out) {
    if (!series_vec_reserve(out, out->n + index->series_count))
        return RC_NOMEM;
    for (uint64_t id = 1; id <= index->series_id_max; id++) {
        bool gone;
        if (index_pages_at(&index->series_pages, (uint32_t)id) == NULL) {
            id |= INDEX_PAGE_ELEMENTS - 1; /* no page: nothing alive */
            continue;
        }
        struct series *series = index_lookup(index, (uint32_t)id, &gone);
        if (series != NULL)
            out->p[out->n++] = series;
    }
    return RC_OK;
}

/* Appends a set of series, ascending by id, that holds all answers. The lock is held. */
static enum rc add_candidates(const struct index *index, uint32_t metric_uid,
                              const struct index_condition *conditions, uint32_t condition_count,
                              struct series_vec *out) {
    uint64_t least = metric_uid == 0 ? index->series_count
                                     : pair_set(index, INDEX_METRIC_KEY, metric_uid)->count;
    const struct index_condition *best = NULL;
    for (uint32_t i = 0; i < condition_count; i++) {
        if (conditions[i].kind != INDEX_VALUE_IN)
            continue;
        uint64_t size = union_size(index, &conditions[i], least);
        if (size < least) {
            least = size;
            best = &conditions[i];
        }
    }
    if (best != NULL)
        return add_sets(index, best->key_uid, best->value_uids, best->value_count, least, out);
    if (metric_uid != 0)
        return add_sets(index, INDEX_METRIC_KEY, &metric_uid, 1, least, out);
    return add_all(index, out);
}

enum rc index_select(struct index *index, uint32_t metric_uid,
                     const struct index_condition *conditions, uint32_t condition_count,
                     int key_count, struct series_vec *out) {
    struct memo *memos = calloc(condition_count + 1, sizeof(*memos));
    if (memos == NULL)
        return RC_NOMEM;
    size_t first = out->n;
    epoch_pin(index->options.readers);
    rwlock_read(&index->lock);
    enum rc rc = add_candidates(index, metric_uid, conditions, condition_count, out);
    rwlock_unlock(&index->lock);
    if (rc == RC_OK)
        rc = filter(index, metric_uid, conditions, condition_count, key_count, memos, first, out);
    else
        out->n = first;
    epoch_unpin(index->options.readers);
    for (uint32_t i = 0; i < condition_count; i++)
        free(memos[i].slots);
    free(memos);
    return rc;
}
