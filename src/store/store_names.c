#include "store/store_state.h"

#include "base/bytes.h"
#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

/*
 * Names objects: the definitions of series and names, as index_encode_since gives them, compressed.
 * Without them no point can be read, so each is stored twice, the second time under NAME.copy.
 * docs/format/manifest.md has the byte table.
 */

static const uint8_t MAGIC[8] = {'B', 'G', 'N', 'A', 'M', 'E', 'S', '\n'};
enum { VERSION = 1, HEADER_BYTES = 8 + 4 + 4 + 3 * 4 + 8, CHECKSUM_BYTES = 8, LEVEL = 3 };
#define RAW_BYTES_MAX (UINT64_C(4) << 30)

static void copy_name(const char *name, char *copy, size_t size) {
    snprintf(copy, size, "%s.copy", name);
}

/* ---- writing ---- */

/* Compresses `raw` with header and checksum; *size is 0 when memory is out. */
static uint8_t *seal(const struct store *store, const struct buf *raw, size_t *size) {
    size_t bound = ZSTD_compressBound(raw->n);
    uint8_t *bytes = malloc(HEADER_BYTES + bound + CHECKSUM_BYTES);
    *size = 0;
    if (bytes == NULL)
        return NULL;
    uint8_t *at = bytes;
    memcpy(at, MAGIC, sizeof(MAGIC));
    bytes_put_u32(at + 8, VERSION);
    bytes_put_u32(at + 12, store->shard_count);
    for (int i = 0; i < INDEX_KINDS; i++)
        bytes_put_u32(at + 16 + 4 * i, store->manifest.uid_width[i]);
    bytes_put_u64(at + 28, raw->n);
    size_t n = ZSTD_compress(bytes + HEADER_BYTES, bound, raw->p, raw->n, LEVEL);
    if (ZSTD_isError(n)) {
        free(bytes);
        return NULL;
    }
    bytes_put_u64(bytes + HEADER_BYTES + n, hash_checksum(bytes, HEADER_BYTES + n));
    *size = HEADER_BYTES + n + CHECKSUM_BYTES;
    return bytes;
}

static enum rc write_object(struct medium *medium, const char *name, const uint8_t *bytes, size_t n,
                            struct err *err) {
    struct medium_object_writer *writer;
    TRY(medium_object_create(medium, name, &writer, err));
    enum rc rc = medium_object_write(writer, bytes, n, err);
    if (rc < 0) {
        medium_object_abort(writer);
        return rc;
    }
    return medium_object_commit(writer, err);
}

enum rc store_names_write(struct store *store, uint64_t from, struct manifest_object *object,
                          uint64_t *next, struct err *err) {
    struct buf raw = {0};
    struct medium *medium = store->options.medium;
    enum rc rc = index_encode_since(store->index, from, &raw, next);
    if (rc < 0 || raw.failed)
        rc = err_set(err, rc < 0 ? rc : RC_NOMEM, "out of memory for the names of series");
    size_t n = 0;
    uint8_t *bytes = rc == RC_OK ? seal(store, &raw, &n) : NULL;
    if (rc == RC_OK && bytes == NULL)
        rc = err_set(err, RC_NOMEM, "out of memory for the names of series");
    if (rc == RC_OK) {
        *object =
            (struct manifest_object){.bytes = n, .checksum = bytes_u64(bytes + n - CHECKSUM_BYTES)};
        snprintf(object->name, sizeof(object->name), "names-%08" PRIx64 "-%08x",
                 store->manifest.epoch, atomic_fetch_add(&store->object_next, 1));
        char copy[MANIFEST_NAME_MAX + 8];
        copy_name(object->name, copy, sizeof(copy));
        rc = write_object(medium, object->name, bytes, n, err);
        if (rc == RC_OK && (rc = write_object(medium, copy, bytes, n, err)) < 0)
            store_names_remove(store, object->name);
    }
    free(bytes);
    buf_fini(&raw);
    return rc;
}

void store_names_remove(struct store *store, const char *name) {
    char copy[MANIFEST_NAME_MAX + 8];
    copy_name(name, copy, sizeof(copy));
    const char *const both[] = {name, copy};
    for (int i = 0; i < 2; i++) {
        struct err err;
        enum rc rc = medium_remove(store->options.medium, MEDIUM_OBJECTS, both[i], &err);
        if (rc < 0 && rc != RC_NOT_FOUND)
            store_report(store, "%s stays until the next start: %s", both[i], err.message);
    }
}

/* ---- reading ---- */

static enum rc bad(struct err *err, const char *name, const char *why) {
    return err_set(err, RC_CORRUPT, "%s %s", name, why);
}

static enum rc apply_bytes(struct store *store, const char *name, const uint8_t *bytes, size_t n,
                           struct manifest *shape, struct err *err) {
    if (n < HEADER_BYTES + CHECKSUM_BYTES || memcmp(bytes, MAGIC, sizeof(MAGIC)) != 0 ||
        bytes_u64(bytes + n - CHECKSUM_BYTES) != hash_checksum(bytes, n - CHECKSUM_BYTES))
        return bad(err, name, "does not match its checksum");
    if (bytes_u32(bytes + 8) != VERSION)
        return err_set(err, RC_UNSUPPORTED, "%s has version %u; this program reads version %d",
                       name, bytes_u32(bytes + 8), VERSION);
    uint64_t raw_n = bytes_u64(bytes + 28);
    if (raw_n > RAW_BYTES_MAX)
        return bad(err, name, "is not well formed");
    if (shape != NULL) {
        shape->shards = bytes_u32(bytes + 12);
        for (int i = 0; i < INDEX_KINDS; i++)
            shape->uid_width[i] = bytes_u32(bytes + 16 + 4 * i);
        return RC_OK;
    }
    uint8_t *raw = malloc(raw_n + 1);
    if (raw == NULL)
        return err_set(err, RC_NOMEM, "out of memory for the names of series");
    size_t got =
        ZSTD_decompress(raw, raw_n, bytes + HEADER_BYTES, n - HEADER_BYTES - CHECKSUM_BYTES);
    enum rc rc = ZSTD_isError(got) || got != raw_n ? bad(err, name, "does not expand")
                                                   : index_apply(store->index, raw, raw_n, err);
    free(raw);
    return rc;
}

static enum rc load_one(struct store *store, const char *name, struct manifest *shape,
                        struct err *err) {
    struct medium_object *object;
    TRY(medium_object_open(store->options.medium, name, &object, err));
    size_t n = medium_object_size(object);
    uint8_t *bytes = malloc(n + 1);
    enum rc rc = bytes == NULL ? err_set(err, RC_NOMEM, "out of memory for the names of series")
                               : medium_object_read(object, 0, bytes, n, err);
    medium_object_close(object);
    if (rc == RC_OK)
        rc = apply_bytes(store, name, bytes, n, shape, err);
    free(bytes);
    return rc;
}

/* Applies the definitions, or only tells the store's shape if `shape` is not NULL. */
enum rc store_names_load(struct store *store, const char *name, struct manifest *shape,
                         struct err *err) {
    struct err first;
    enum rc rc = load_one(store, name, shape, &first);
    if (rc == RC_OK || rc == RC_NOMEM || rc == RC_UNSUPPORTED) {
        if (rc < 0 && err != NULL)
            *err = first;
        return rc;
    }
    char copy[MANIFEST_NAME_MAX + 8];
    copy_name(name, copy, sizeof(copy));
    store_report(store, "%s; reading its copy", first.message);
    return load_one(store, copy, shape, err);
}
