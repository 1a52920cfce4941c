/*
 * What a segment is made of: the stored entries of its directory, its footer, and its groups,
 * packed and expanded. docs/format/segment.md has the byte tables. Private to segment*.c.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "codec/vector.h"

#include <stddef.h>
#include <stdint.h>

#define SEGMENT_MAGIC UINT64_C(0x0031474553474142)      /* "BAGSEG1\0" */
#define SEGMENT_FOOTER_MAGIC UINT64_C(0x00544f4f464742) /* "BGFOOT\0\0" */

enum {
    SEGMENT_VERSION = 1,
    SEGMENT_FLAG_TIGHT = 1,
    SEGMENT_HEADER_BYTES = 8,
    SEGMENT_BLOCK_BYTES = 64 << 10,    /* a payload block is closed before it grows past this */
    SEGMENT_BLOCK_BYTES_MAX = 1 << 20, /* ... and a longer one is not believed */
    SEGMENT_GROUP_VECTORS = 1024,      /* a group is closed after the series that reaches this */
    SEGMENT_GROUP_PAYLOAD_BYTES = 256 << 10, /* ... or this */
    SEGMENT_RATIO_MAX = 1024, /* what compresses better is stored as it is: bounds what a small
                                 object can make the reader allocate */
    SEGMENT_EXPONENT_MAX = 9,
};

/* A group in the directory. raw_bytes == stored_bytes: not compressed; otherwise zstd. */
struct segment_group_entry {
    uint64_t offset;
    uint64_t checksum; /* of the stored bytes */
    uint32_t stored_bytes;
    uint32_t raw_bytes;
    uint32_t first_series; /* id */
    uint32_t last_series;  /* id */
    uint32_t series_count;
    uint32_t first_vector; /* numbered from 0 in the segment */
    uint32_t vector_count;
    uint32_t first_block; /* a group begins a new payload block */
};
_Static_assert(sizeof(struct segment_group_entry) == 48, "stored format");

/* A payload block in the directory. A vector never spans two blocks. */
struct segment_block_entry {
    uint64_t offset;
    uint64_t checksum;
    uint32_t stored_bytes;
    uint32_t raw_bytes;
    uint32_t first_vector;
    uint32_t vector_count;
};
_Static_assert(sizeof(struct segment_block_entry) == 32, "stored format");

struct segment_footer {
    uint64_t magic;
    uint16_t version;
    uint16_t flags;
    uint32_t shard;
    uint64_t sequence;
    int64_t window_from_ms;
    int64_t window_to_ms;
    int64_t time_first_ms;
    int64_t time_last_ms;
    uint64_t series_count;
    uint64_t vector_count;
    uint64_t point_count;
    uint64_t directory_offset[2]; /* the two copies */
    uint32_t group_count;
    uint32_t block_count;
    uint64_t directory_checksum;
    uint64_t bytes; /* of the whole object */
    uint64_t checksum;
};
_Static_assert(sizeof(struct segment_footer) == 128, "stored format");

/* Where a vector's payload is. */
struct segment_place {
    uint32_t block; /* in the segment */
    uint32_t offset;
};

/* A group expanded in memory: one allocation. Series i has the vectors [firsts[i], firsts[i + 1])
   of the group. */
struct segment_group {
    size_t bytes;
    uint32_t series_count;
    uint32_t vector_count;
    uint32_t *ids;    /* ascending */
    uint32_t *firsts; /* series_count + 1 */
    struct segment_place *places;
    struct vector_summary *summaries;
};

/* Appends the packed form. `firsts` as above. */
void segment_group_pack(const uint32_t *ids, const uint32_t *firsts, uint32_t series_count,
                        const struct vector_summary *summaries, struct buf *out);

/* Expands `raw`, which its checksum vouches for, and still checks all of it: `entry` and the
   `block_count` blocks from `blocks` (the group's own) say what to expect, the footer which times.
   RC_CORRUPT, RC_NOMEM. The caller frees *out. */
enum rc segment_group_unpack(const uint8_t *raw, const struct segment_group_entry *entry,
                             const struct segment_block_entry *blocks, uint32_t block_count,
                             const struct segment_footer *footer,
                             struct segment_group **out) MUST_USE;

/* Appends to `out` either `raw` or, if `level` > 0 and it is at least an eighth smaller, its zstd
   form. Returns the bytes appended; 0 if memory is out. */
size_t segment_group_squeeze(const void *raw, size_t n, int level, struct buf *out);
