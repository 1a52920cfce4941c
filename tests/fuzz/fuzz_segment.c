/*
 * Arbitrary bytes as a segment object: first as they are, then with magic, sizes and checksums
 * repaired, so that what is behind the checksums is reached. Opens it, walks it, reads all of it.
 */
#include "base/hash.h"
#include "codec/vector.h"
#include "medium/memory_medium.h"
#include "store/segment.h"
#include "store/segment_group.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int64_t time_ms[LIMIT_VECTOR_POINTS];
static uint64_t bits[LIMIT_VECTOR_POINTS];
static uint64_t float_mask[LIMIT_VECTOR_POINTS / 64];

static void read_series(struct segment *segment, uint32_t series_id) {
    const struct vector_summary *summaries;
    uint32_t first, count;
    if (segment_vectors(segment, series_id, &summaries, &first, &count) < 0)
        return;
    for (uint32_t v = 0; v < count; v++) {
        const uint8_t *payload;
        struct points points = {.time_ms = time_ms, .bits = bits, .float_mask = float_mask};
        if (segment_payload(segment, first + v, &payload) == RC_OK)
            (void)!vector_decode(&summaries[v], payload, &points);
    }
}

static void read_all(struct medium *medium, const uint8_t *bytes, size_t size) {
    struct medium_object_writer *writer;
    if (medium_object_create(medium, "x", &writer, NULL) < 0)
        abort();
    if (medium_object_write(writer, bytes, size, NULL) < 0 ||
        medium_object_commit(writer, NULL) < 0)
        abort();
    struct segment *segment;
    if (segment_open(medium, "x", &segment, NULL) == RC_OK) {
        uint64_t cursor = 0;
        uint32_t id;
        int outcome;
        while ((outcome = segment_next_series(segment, &cursor, &id)) == 1 ||
               outcome == RC_CORRUPT) {
            if (outcome == 1)
                read_series(segment, id);
        }
        segment_scrub(segment);
        segment_unref(segment);
    }
    if (medium_remove(medium, MEDIUM_OBJECTS, "x", NULL) < 0)
        abort();
}

static uint64_t checksum_at(const uint8_t *bytes, size_t size, uint64_t offset, uint32_t stored) {
    return offset <= size && stored <= size - offset ? hash_checksum(bytes + offset, stored) : 0;
}

/* The last 128 bytes become a footer for what is before them. */
static void repair(uint8_t *bytes, size_t size) {
    struct segment_footer footer;
    size_t end = size - 2 * sizeof(footer);
    memcpy(&footer, bytes + size - sizeof(footer), sizeof(footer));
    footer.magic = SEGMENT_FOOTER_MAGIC;
    footer.version = SEGMENT_VERSION;
    footer.bytes = size;
    footer.group_count %= 4;
    footer.block_count %= 4;
    size_t groups = footer.group_count * sizeof(struct segment_group_entry);
    size_t blocks = footer.block_count * sizeof(struct segment_block_entry);
    if (groups + blocks > end - SEGMENT_HEADER_BYTES)
        return;
    uint8_t *directory = bytes + end - groups - blocks;
    for (uint32_t g = 0; g < footer.group_count; g++) {
        struct segment_group_entry entry;
        memcpy(&entry, directory + g * sizeof(entry), sizeof(entry));
        entry.checksum = checksum_at(bytes, size, entry.offset, entry.stored_bytes);
        memcpy(directory + g * sizeof(entry), &entry, sizeof(entry));
    }
    for (uint32_t b = 0; b < footer.block_count; b++) {
        struct segment_block_entry entry;
        memcpy(&entry, directory + groups + b * sizeof(entry), sizeof(entry));
        entry.checksum = checksum_at(bytes, size, entry.offset, entry.stored_bytes);
        memcpy(directory + groups + b * sizeof(entry), &entry, sizeof(entry));
    }
    footer.directory_offset[0] = footer.directory_offset[1] = end - groups - blocks;
    footer.directory_checksum = hash_checksum(directory, groups + blocks);
    footer.checksum = hash_checksum(&footer, offsetof(struct segment_footer, checksum));
    memcpy(bytes + end, &footer, sizeof(footer));
    memcpy(bytes + end + sizeof(footer), &footer, sizeof(footer));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct medium *medium;
    if (medium == NULL && memory_medium_open(NULL, &medium, NULL) < 0)
        abort();
    read_all(medium, data, size);
    if (size < SEGMENT_HEADER_BYTES + 2 * sizeof(struct segment_footer))
        return 0;
    uint8_t *bytes = malloc(size);
    if (bytes == NULL)
        return 0;
    memcpy(bytes, data, size);
    repair(bytes, size);
    read_all(medium, bytes, size);
    free(bytes);
    return 0;
}
