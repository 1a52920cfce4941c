/*
 * The slots of a segment: reading, verifying and expanding groups and payload blocks, and giving
 * their memory back.
 */
#include "store/segment_state.h"

#include "base/hash.h"

#include <stdlib.h>
#include <zstd.h>

/* A payload block in memory of ours; the slot points at its bytes. */
struct block {
    size_t bytes; /* charged */
    uint8_t data[];
};

struct segment_group segment_damaged_group;
const uint8_t segment_damaged_block[1];

/* ---- memory ---- */

static void charge(struct segment *segment, size_t bytes) {
    if (segment->budget == NULL || budget_charge(segment->budget, bytes))
        return;
    /* Over budget: give back what this segment holds. What is being read must be held anyway. */
    segment_trim(segment);
    budget_force(segment->budget, bytes);
}

static void release_group(void *pointer, void *budget) {
    struct segment_group *group = pointer;
    if (budget != NULL)
        budget_release(budget, group->bytes);
    free(group);
}

static void release_block(void *pointer, void *budget) {
    struct block *block = pointer;
    if (budget != NULL)
        budget_release(budget, block->bytes);
    free(block);
}

/* The memory behind a slot's pointer, or NULL if it is mapped, damaged or not there. */
static struct block *block_owned(const struct segment *segment, const uint8_t *data) {
    bool mapped =
        segment->map != NULL && data >= segment->map && data < segment->map + segment->footer.bytes;
    if (data == NULL || data == segment_damaged_block || mapped)
        return NULL;
    return (struct block *)(void *)(uintptr_t)(data - offsetof(struct block, data));
}

/* Empties the slots and passes what was in them to `give`. */
static size_t empty_slots(struct segment *segment,
                          void (*give)(struct segment *segment, void *pointer,
                                       void (*release)(void *pointer, void *budget))) {
    size_t bytes = 0;
    for (uint32_t g = 0; g < segment->footer.group_count; g++) {
        struct segment_group *group = atomic_load(&segment->group_slots[g]);
        if (group == NULL || group == &segment_damaged_group ||
            !atomic_compare_exchange_strong(&segment->group_slots[g], &group, NULL))
            continue;
        bytes += group->bytes;
        give(segment, group, release_group);
    }
    for (uint32_t b = 0; b < segment->footer.block_count; b++) {
        const uint8_t *data = atomic_load(&segment->block_slots[b]);
        struct block *block = block_owned(segment, data);
        if (block == NULL || !atomic_compare_exchange_strong(&segment->block_slots[b], &data, NULL))
            continue;
        bytes += block->bytes;
        give(segment, block, release_block);
    }
    return bytes;
}

static void give_now(struct segment *segment, void *pointer,
                     void (*release)(void *pointer, void *budget)) {
    release(pointer, segment->budget);
}

static void give_later(struct segment *segment, void *pointer,
                       void (*release)(void *pointer, void *budget)) {
    epoch_retire(segment->epochs, pointer, release, segment->budget);
}

size_t segment_trim(struct segment *segment) {
    return segment->epochs == NULL ? 0 : empty_slots(segment, give_later);
}

/* ---- groups and blocks ---- */

static enum rc damage(struct segment *segment) {
    atomic_fetch_add(&segment->damaged, 1);
    return RC_CORRUPT;
}

/* The stored bytes at `offset`: in the map, or read into *copy, which the caller frees. */
static enum rc fetch(struct segment *segment, uint64_t offset, size_t n, const uint8_t **bytes,
                     uint8_t **copy) {
    *copy = NULL;
    if (segment->map != NULL) {
        *bytes = segment->map + offset;
        return medium_object_map_check(segment->object, offset, n, NULL);
    }
    *copy = malloc(n + 1);
    if (*copy == NULL)
        return RC_NOMEM;
    *bytes = *copy;
    return medium_object_read(segment->object, offset, *copy, n, NULL);
}

static enum rc inflate(const uint8_t *stored, size_t stored_bytes, uint8_t *raw, size_t raw_bytes) {
    size_t got = ZSTD_decompress(raw, raw_bytes, stored, stored_bytes);
    return got == raw_bytes ? RC_OK : RC_CORRUPT;
}

static uint32_t group_block_count(const struct segment *segment, uint32_t g) {
    uint32_t end = g + 1 < segment->footer.group_count ? segment->groups[g + 1].first_block
                                                       : segment->footer.block_count;
    return end - segment->groups[g].first_block;
}

static enum rc group_unpack(const struct segment *segment, uint32_t g, const uint8_t *stored,
                            struct segment_group **out) {
    const struct segment_group_entry *entry = &segment->groups[g];
    const struct segment_block_entry *blocks = &segment->blocks[entry->first_block];
    uint32_t block_count = group_block_count(segment, g);
    if (entry->raw_bytes == entry->stored_bytes)
        return segment_group_unpack(stored, entry, blocks, block_count, &segment->footer, out);
    uint8_t *raw = malloc((size_t)entry->raw_bytes + 1);
    if (raw == NULL)
        return RC_NOMEM;
    enum rc rc = inflate(stored, entry->stored_bytes, raw, entry->raw_bytes);
    if (rc == RC_OK)
        rc = segment_group_unpack(raw, entry, blocks, block_count, &segment->footer, out);
    free(raw);
    return rc;
}

/* Verifies and expands a group from the medium. */
static enum rc group_read(struct segment *segment, uint32_t g, struct segment_group **out) {
    const struct segment_group_entry *entry = &segment->groups[g];
    const uint8_t *stored;
    uint8_t *copy;
    enum rc rc = fetch(segment, entry->offset, entry->stored_bytes, &stored, &copy);
    if (rc == RC_OK && hash_checksum(stored, entry->stored_bytes) != entry->checksum)
        rc = RC_CORRUPT;
    if (rc == RC_OK)
        rc = group_unpack(segment, g, stored, out);
    free(copy);
    return rc;
}

enum rc segment_slot_fill_group(struct segment *segment, uint32_t g, struct segment_group **out) {
    struct segment_group *fresh = NULL, *found = NULL;
    enum rc rc = group_read(segment, g, &fresh);
    if (rc < 0 && rc != RC_CORRUPT)
        return rc;
    if (fresh != NULL)
        charge(segment, fresh->bytes);
    struct segment_group *want = fresh == NULL ? &segment_damaged_group : fresh;
    /* Release: whoever finds the pointer finds the group complete. */
    if (atomic_compare_exchange_strong_explicit(&segment->group_slots[g], &found, want,
                                                memory_order_acq_rel, memory_order_acquire)) {
        *out = fresh;
        return fresh == NULL ? damage(segment) : RC_OK;
    }
    if (fresh != NULL)
        release_group(fresh, segment->budget);
    *out = found;
    return found == &segment_damaged_group ? RC_CORRUPT : RC_OK;
}

/* Copies (or inflates) a block into memory of ours. */
static enum rc block_expand(const struct segment_block_entry *entry, const uint8_t *stored,
                            const uint8_t **out) {
    struct block *block = malloc(sizeof(*block) + entry->raw_bytes);
    if (block == NULL)
        return RC_NOMEM;
    block->bytes = sizeof(*block) + entry->raw_bytes;
    if (entry->stored_bytes == entry->raw_bytes) {
        memcpy(block->data, stored, entry->raw_bytes);
    } else if (inflate(stored, entry->stored_bytes, block->data, entry->raw_bytes) < 0) {
        free(block);
        return RC_CORRUPT;
    }
    *out = block->data;
    return RC_OK;
}

static enum rc block_read(struct segment *segment, uint32_t b, const uint8_t **out) {
    const struct segment_block_entry *entry = &segment->blocks[b];
    const uint8_t *stored;
    uint8_t *copy;
    enum rc rc = fetch(segment, entry->offset, entry->stored_bytes, &stored, &copy);
    if (rc == RC_OK && hash_checksum(stored, entry->stored_bytes) != entry->checksum)
        rc = RC_CORRUPT;
    if (rc == RC_OK && segment->map != NULL && entry->stored_bytes == entry->raw_bytes)
        *out = stored;
    else if (rc == RC_OK)
        rc = block_expand(entry, stored, out);
    free(copy);
    return rc;
}

enum rc segment_slot_fill_block(struct segment *segment, uint32_t b, const uint8_t **out) {
    const uint8_t *fresh = NULL, *found = NULL;
    enum rc rc = block_read(segment, b, &fresh);
    if (rc < 0 && rc != RC_CORRUPT)
        return rc;
    struct block *owned = block_owned(segment, fresh);
    if (owned != NULL)
        charge(segment, owned->bytes);
    const uint8_t *want = fresh == NULL ? segment_damaged_block : fresh;
    if (atomic_compare_exchange_strong_explicit(&segment->block_slots[b], &found, want,
                                                memory_order_acq_rel, memory_order_acquire)) {
        *out = fresh;
        return fresh == NULL ? damage(segment) : RC_OK;
    }
    if (owned != NULL)
        release_block(owned, segment->budget);
    *out = found;
    return found == segment_damaged_block ? RC_CORRUPT : RC_OK;
}

/* ---- scrubbing ---- */

/* Remembers what a scrub found, unless readers hold a good copy already. */
static void mark_group(struct segment *segment, uint32_t g) {
    struct segment_group *expected = NULL;
    if (atomic_compare_exchange_strong(&segment->group_slots[g], &expected, &segment_damaged_group))
        damage(segment);
}

static void mark_block(struct segment *segment, uint32_t b) {
    const uint8_t *data = atomic_load(&segment->block_slots[b]);
    if (data == segment_damaged_block || block_owned(segment, data) != NULL)
        return;
    if (atomic_compare_exchange_strong(&segment->block_slots[b], &data, segment_damaged_block))
        damage(segment);
}

enum rc segment_slot_scrub_group(struct segment *segment, uint32_t g) {
    struct segment_group *group = NULL;
    enum rc rc = group_read(segment, g, &group);
    if (rc == RC_CORRUPT)
        mark_group(segment, g);
    free(group);
    return rc;
}

enum rc segment_slot_scrub_block(struct segment *segment, uint32_t b) {
    const uint8_t *data = NULL;
    enum rc rc = block_read(segment, b, &data);
    if (rc == RC_CORRUPT)
        mark_block(segment, b);
    free(block_owned(segment, data));
    return rc;
}

void segment_slot_free_all(struct segment *segment) {
    empty_slots(segment, give_now);
}
