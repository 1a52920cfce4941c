/*
 * The manifest: what a store consists of, as one checksummed value of the medium's catalog.
 * docs/format/manifest.md has the byte table.
 *
 * Segments and names are immutable objects; a change of the store is a new manifest put in place of
 * the old one in one step. An object no manifest names does not exist.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"
#include "store/index.h"
#include "store/internal.h"

#include <stdint.h>

enum { MANIFEST_NAME_MAX = 100, MANIFEST_ID_BYTES = 16 };

/* An object the store consists of. */
struct manifest_object {
    char name[MANIFEST_NAME_MAX + 1];
    uint16_t shard;    /* segments only */
    uint64_t sequence; /* segments only */
    uint64_t bytes;
    uint64_t checksum;
};
VEC_DECLARE(manifest_objects, struct manifest_object)

struct manifest_tombstone {
    uint32_t series_id;
    struct tombstone range;
};
VEC_DECLARE(manifest_tombstones, struct manifest_tombstone)

/* A zeroed struct is an empty manifest. */
struct manifest {
    uint8_t store_id[MANIFEST_ID_BYTES]; /* random; given when the store is created */
    uint32_t shards;
    uint32_t uid_width[INDEX_KINDS];
    uint64_t epoch;                /* of the last opening; fences the log */
    uint64_t log_start;            /* replay begins here */
    uint64_t sequence_next;        /* of the next segment that a checkpoint writes */
    struct manifest_objects names; /* apply in this order */
    struct manifest_objects segments;
    struct manifest_tombstones tombstones; /* ascending by series */
};

void manifest_fini(struct manifest *manifest);

/* Appends the encoded manifest to `out` (sticky failure: look at out->failed). */
void manifest_encode(const struct manifest *manifest, struct buf *out);

/* Fills *manifest (zeroed by the caller). RC_CORRUPT if the bytes are not a manifest,
   RC_UNSUPPORTED if a newer version wrote it; then *manifest is empty. */
enum rc manifest_decode(const uint8_t *bytes, size_t n, struct manifest *manifest,
                        struct err *err) MUST_USE;
