/*
 * Opening a segment: nothing in footer or directory is believed before it is checked, so that what
 * reads groups and blocks may rely on it.
 */
#include "store/segment_state.h"

#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>

static enum rc corrupt(struct err *err, const char *name, const char *what) {
    return err_set(err, RC_CORRUPT, "segment %s: %s", name, what);
}

static bool footer_holds(const struct segment_footer *footer, uint64_t size) {
    uint64_t directory_bytes = (uint64_t)footer->group_count * sizeof(struct segment_group_entry) +
                               (uint64_t)footer->block_count * sizeof(struct segment_block_entry);
    bool good =
        footer->magic == SEGMENT_FOOTER_MAGIC && footer->version == SEGMENT_VERSION &&
        footer->checksum == hash_checksum(footer, offsetof(struct segment_footer, checksum)) &&
        footer->bytes == size && footer->vector_count <= UINT32_MAX &&
        footer->series_count <= footer->vector_count &&
        (footer->vector_count == 0 || footer->time_first_ms <= footer->time_last_ms);
    for (int copy = 0; copy < 2; copy++)
        good = good && footer->directory_offset[copy] <= size &&
               directory_bytes <= size - footer->directory_offset[copy];
    return good;
}

/* Reads the last footer that holds. A larger version is told apart from damage. */
static enum rc read_footer(struct segment *segment, const char *name, struct err *err) {
    uint64_t size = medium_object_size(segment->object);
    struct segment_footer *footer = &segment->footer;
    if (size < SEGMENT_HEADER_BYTES + 2 * sizeof(*footer))
        return corrupt(err, name, "too short");
    for (int copy = 1; copy <= 2; copy++) {
        TRY(medium_object_read(segment->object, size - (unsigned)copy * sizeof(*footer), footer,
                               sizeof(*footer), err));
        if (footer_holds(footer, size))
            return RC_OK;
        if (footer->magic == SEGMENT_FOOTER_MAGIC && footer->version > SEGMENT_VERSION &&
            footer->checksum == hash_checksum(footer, offsetof(struct segment_footer, checksum)))
            return err_set(err, RC_UNSUPPORTED,
                           "segment %s: written by a newer release (format %u)", name,
                           footer->version);
    }
    return corrupt(err, name, "no valid footer");
}

static bool extent_holds(const struct segment *segment, uint64_t offset, uint32_t stored,
                         uint32_t raw) {
    return offset >= SEGMENT_HEADER_BYTES && offset <= segment->footer.bytes &&
           stored <= segment->footer.bytes - offset && stored <= raw &&
           (stored == raw || raw / SEGMENT_RATIO_MAX <= stored);
}

static bool blocks_hold(const struct segment *segment) {
    uint64_t vectors = 0;
    for (uint32_t b = 0; b < segment->footer.block_count; b++) {
        const struct segment_block_entry *entry = &segment->blocks[b];
        if (!extent_holds(segment, entry->offset, entry->stored_bytes, entry->raw_bytes) ||
            entry->raw_bytes > SEGMENT_BLOCK_BYTES_MAX || entry->first_vector != vectors ||
            entry->vector_count == 0)
            return false;
        vectors += entry->vector_count;
    }
    return vectors == segment->footer.vector_count;
}

static bool groups_hold(const struct segment *segment) {
    uint64_t vectors = 0, series = 0;
    for (uint32_t g = 0; g < segment->footer.group_count; g++) {
        const struct segment_group_entry *entry = &segment->groups[g];
        if (!extent_holds(segment, entry->offset, entry->stored_bytes, entry->raw_bytes) ||
            entry->first_vector != vectors || entry->series_count == 0 ||
            entry->vector_count < entry->series_count ||
            entry->last_series - entry->first_series < entry->series_count - 1 ||
            entry->last_series < entry->first_series ||
            (g > 0 && entry->first_series <= entry[-1].last_series) ||
            entry->first_block >= segment->footer.block_count ||
            segment->blocks[entry->first_block].first_vector != vectors)
            return false;
        vectors += entry->vector_count;
        series += entry->series_count;
    }
    return vectors == segment->footer.vector_count && series == segment->footer.series_count;
}

/* Reads a copy of the directory into `bytes` (groups and blocks are one allocation). */
static enum rc read_directory(struct segment *segment, int copy, const char *name,
                              struct err *err) {
    const struct segment_footer *footer = &segment->footer;
    size_t bytes = footer->group_count * sizeof(struct segment_group_entry) +
                   footer->block_count * sizeof(struct segment_block_entry);
    TRY(medium_object_read(segment->object, footer->directory_offset[copy], segment->groups, bytes,
                           err));
    if (hash_checksum(segment->groups, bytes) != footer->directory_checksum)
        return corrupt(err, name, "the directory fails its checksum");
    if (!blocks_hold(segment) || !groups_hold(segment))
        return corrupt(err, name, "the directory contradicts itself");
    return RC_OK;
}

static enum rc open_directory(struct segment *segment, const char *name, struct err *err) {
    size_t groups = segment->footer.group_count, blocks = segment->footer.block_count;
    segment->groups =
        malloc(groups * sizeof(*segment->groups) + blocks * sizeof(*segment->blocks) + 1);
    segment->group_series = malloc((groups + 1) * 2 * sizeof(uint32_t));
    segment->group_slots = calloc(groups + 1, sizeof(*segment->group_slots));
    segment->block_slots = calloc(blocks + 1, sizeof(*segment->block_slots));
    if (segment->groups == NULL || segment->group_series == NULL || segment->group_slots == NULL ||
        segment->block_slots == NULL)
        return err_set(err, RC_NOMEM, "segment %s: out of memory", name);
    segment->blocks = (struct segment_block_entry *)(void *)(segment->groups + groups);
    segment->group_vector = segment->group_series + groups + 1;
    enum rc rc = read_directory(segment, 0, name, err);
    if (rc == RC_CORRUPT)
        rc = read_directory(segment, 1, name, err);
    TRY(rc);
    for (size_t g = 0; g < groups; g++) {
        segment->group_series[g] = segment->groups[g].first_series;
        segment->group_vector[g] = segment->groups[g].first_vector;
    }
    return RC_OK;
}

static void fill_info(struct segment *segment, const char *name) {
    const struct segment_footer *footer = &segment->footer;
    struct segment_info *info = &segment->info;
    snprintf(info->name, sizeof(info->name), "%s", name);
    info->shard = footer->shard;
    info->sequence = footer->sequence;
    info->window_from_ms = footer->window_from_ms;
    info->window_to_ms = footer->window_to_ms;
    info->time_first_ms = footer->time_first_ms;
    info->time_last_ms = footer->time_last_ms;
    info->series_count = footer->series_count;
    info->vector_count = footer->vector_count;
    info->point_count = footer->point_count;
    info->bytes = footer->bytes;
    info->checksum = footer->checksum;
    info->tight = (footer->flags & SEGMENT_FLAG_TIGHT) != 0;
}

void segment_close(struct segment *segment) {
    if (segment->group_slots != NULL && segment->block_slots != NULL)
        segment_slot_free_all(segment);
    medium_object_close(segment->object);
    if (atomic_load(&segment->discard)) {
        struct err ignored; /* what stays behind is removed by the next open: nothing names it */
        (void)!medium_remove(segment->medium, MEDIUM_OBJECTS, segment->info.name, &ignored);
    }
    free(segment->groups);
    free(segment->group_series);
    free(segment->group_slots);
    free(segment->block_slots);
    free(segment);
}

enum rc segment_open(struct medium *medium, const char *name, struct segment **out,
                     struct err *err) {
    struct segment *segment = calloc(1, sizeof(*segment));
    if (segment == NULL)
        return err_set(err, RC_NOMEM, "segment %s: out of memory", name);
    atomic_store(&segment->references, 1);
    segment->medium = medium;
    enum rc rc = medium_object_open(medium, name, &segment->object, err);
    if (rc < 0) {
        free(segment);
        return rc;
    }
    segment->map = medium_object_map(segment->object);
    rc = read_footer(segment, name, err);
    if (rc == RC_OK)
        rc = open_directory(segment, name, err);
    if (rc < 0) {
        segment->footer.group_count = segment->footer.block_count = 0;
        segment_close(segment);
        return rc;
    }
    fill_info(segment, name);
    *out = segment;
    return RC_OK;
}
