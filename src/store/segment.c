/*
 * Reading a segment: references, and finding vectors and payloads. docs/format/segment.md has the
 * byte tables.
 */
#include "store/segment_state.h"

#include "base/check.h"

void segment_ref(struct segment *segment) {
    atomic_fetch_add_explicit(&segment->references, 1, memory_order_relaxed);
}

void segment_unref(struct segment *segment) {
    /* Acquire and release: the last one sees what all others did with the segment. */
    if (segment != NULL &&
        atomic_fetch_sub_explicit(&segment->references, 1, memory_order_acq_rel) == 1)
        segment_close(segment);
}

const struct segment_info *segment_info(const struct segment *segment) {
    return &segment->info;
}

void segment_discard(struct segment *segment) {
    atomic_store(&segment->discard, true);
}

void segment_use_memory(struct segment *segment, struct budget *budget,
                        struct epoch_domain *epochs) {
    segment->budget = budget;
    segment->epochs = epochs;
}

uint32_t segment_series_id_max(const struct segment *segment) {
    uint64_t count = segment->footer.group_count;
    return count == 0 ? 0 : segment->groups[count - 1].last_series;
}

/* ---- looking up ---- */

/* How many of the ascending `keys` are <= `key`. Guesses by interpolation (series ids of a shard
   are spread evenly), then gallops: constant cost where the guess is near. */
static uint32_t count_at_most(const uint32_t *keys, uint32_t n, uint32_t key) {
    if (n == 0 || key < keys[0])
        return 0;
    if (key >= keys[n - 1])
        return n;
    uint32_t guess = (uint32_t)((uint64_t)(key - keys[0]) * (n - 1) / (keys[n - 1] - keys[0]));
    uint32_t low, high; /* keys[low] <= key < keys[high] */
    if (keys[guess] <= key) {
        low = guess;
        for (uint32_t step = 1;; step *= 2) {
            high = step < n - 1 - low ? low + step : n - 1;
            if (keys[high] > key)
                break;
            low = high;
        }
    } else {
        high = guess;
        for (uint32_t step = 1;; step *= 2) {
            low = step < high ? high - step : 0;
            if (keys[low] <= key)
                break;
            high = low;
        }
    }
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (keys[middle] <= key)
            low = middle;
        else
            high = middle;
    }
    return low + 1;
}

static inline enum rc group_load(struct segment *segment, uint32_t g, struct segment_group **out) {
    struct segment_group *group =
        atomic_load_explicit(&segment->group_slots[g], memory_order_acquire);
    if (UNLIKELY(group == NULL))
        return segment_slot_fill_group(segment, g, out);
    *out = group;
    return UNLIKELY(group == &segment_damaged_group) ? RC_CORRUPT : RC_OK;
}

enum rc segment_vectors(struct segment *segment, uint32_t series_id,
                        const struct vector_summary **summaries, uint32_t *first, uint32_t *count) {
    *summaries = NULL;
    *first = *count = 0;
    uint32_t g = count_at_most(segment->group_series, segment->footer.group_count, series_id);
    if (g == 0 || series_id > segment->groups[g - 1].last_series)
        return RC_OK;
    struct segment_group *group;
    TRY(group_load(segment, g - 1, &group));
    uint32_t s = count_at_most(group->ids, group->series_count, series_id);
    if (s == 0 || group->ids[s - 1] != series_id)
        return RC_OK;
    *summaries = &group->summaries[group->firsts[s - 1]];
    *first = segment->group_vector[g - 1] + group->firsts[s - 1];
    *count = group->firsts[s] - group->firsts[s - 1];
    return RC_OK;
}

void segment_prefetch(const struct segment *segment, uint32_t series_id) {
    uint32_t g = count_at_most(segment->group_series, segment->footer.group_count, series_id);
    const struct segment_group *group =
        g == 0 ? NULL : atomic_load_explicit(&segment->group_slots[g - 1], memory_order_acquire);
    if (group == NULL || group == &segment_damaged_group)
        return;
    uint32_t s = count_at_most(group->ids, group->series_count, series_id);
    const struct vector_summary *summary = &group->summaries[group->firsts[s == 0 ? 0 : s - 1]];
    __builtin_prefetch(summary);
    __builtin_prefetch((const char *)(summary + 1) - 1);
}

enum rc segment_payload(struct segment *segment, uint32_t vector, const uint8_t **payload) {
    CHECK(vector < segment->footer.vector_count);
    uint32_t g = count_at_most(segment->group_vector, segment->footer.group_count, vector) - 1;
    struct segment_group *group;
    TRY(group_load(segment, g, &group));
    struct segment_place place = group->places[vector - segment->group_vector[g]];
    const uint8_t *data =
        atomic_load_explicit(&segment->block_slots[place.block], memory_order_acquire);
    if (UNLIKELY(data == NULL))
        TRY(segment_slot_fill_block(segment, place.block, &data));
    if (UNLIKELY(data == segment_damaged_block))
        return RC_CORRUPT;
    *payload = data + place.offset;
    return RC_OK;
}

/* The cursor is group << 32 | series within the group. */
int segment_next_series(struct segment *segment, uint64_t *cursor, uint32_t *series_id) {
    uint64_t g = *cursor >> 32;
    uint32_t s = (uint32_t)*cursor;
    for (; g < segment->footer.group_count; g++, s = 0) {
        struct segment_group *group;
        enum rc rc = group_load(segment, (uint32_t)g, &group);
        if (rc < 0) {
            *cursor = rc == RC_CORRUPT ? (g + 1) << 32 : g << 32 | s;
            return rc;
        }
        if (s < group->series_count) {
            *series_id = group->ids[s];
            *cursor = g << 32 | (s + 1);
            return 1;
        }
    }
    *cursor = g << 32;
    return 0;
}

/* ---- damage ---- */

uint64_t segment_scrub(struct segment *segment) {
    uint64_t bad = 0;
    for (uint32_t g = 0; g < segment->footer.group_count; g++)
        bad += segment_slot_scrub_group(segment, g) == RC_CORRUPT;
    for (uint32_t b = 0; b < segment->footer.block_count; b++)
        bad += segment_slot_scrub_block(segment, b) == RC_CORRUPT;
    return bad;
}

uint64_t segment_damaged(const struct segment *segment) {
    return atomic_load(&segment->damaged);
}

bool segment_take_damage(struct segment *segment) {
    uint64_t taken = atomic_load(&segment->damage_taken);
    while (taken < atomic_load(&segment->damaged)) {
        if (atomic_compare_exchange_weak(&segment->damage_taken, &taken, taken + 1))
            return true;
    }
    return false;
}
