#include "store/manifest.h"

#include "base/bytes.h"
#include "base/hash.h"

#include <string.h>

static const uint8_t MAGIC[8] = {'B', 'G', 'M', 'A', 'N', 'I', 'F', '\n'};

enum {
    VERSION = 1,
    SHARDS_MAX = 64,
    UID_WIDTH_MAX = 8,
    CHECKSUM_BYTES = 8,
    HEADER_BYTES = 8 + 4,
    OBJECT_BYTES_MIN = 1 + 1 + 2 + 8 + 8 + 8, /* a name of one byte */
    TOMBSTONE_BYTES = 4 + 8 + 8 + 8
};

void manifest_fini(struct manifest *manifest) {
    manifest_objects_fini(&manifest->names);
    manifest_objects_fini(&manifest->segments);
    manifest_tombstones_fini(&manifest->tombstones);
    *manifest = (struct manifest){0};
}

/* ---- encoding ---- */

static void put_u16(struct buf *out, uint16_t v) {
    buf_add(out, &v, sizeof(v));
}

static void put_u32(struct buf *out, uint32_t v) {
    buf_add(out, &v, sizeof(v));
}

static void put_u64(struct buf *out, uint64_t v) {
    buf_add(out, &v, sizeof(v));
}

static void put_objects(struct buf *out, const struct manifest_objects *objects) {
    put_u32(out, (uint32_t)objects->n);
    for (size_t i = 0; i < objects->n; i++) {
        const struct manifest_object *object = &objects->p[i];
        size_t n = strlen(object->name);
        buf_char(out, (char)n);
        buf_add(out, object->name, n);
        put_u16(out, object->shard);
        put_u64(out, object->sequence);
        put_u64(out, object->bytes);
        put_u64(out, object->checksum);
    }
}

void manifest_encode(const struct manifest *manifest, struct buf *out) {
    size_t begin = out->n;
    buf_add(out, MAGIC, sizeof(MAGIC));
    put_u32(out, VERSION);
    buf_add(out, manifest->store_id, MANIFEST_ID_BYTES);
    put_u32(out, manifest->shards);
    for (int i = 0; i < INDEX_KINDS; i++)
        put_u32(out, manifest->uid_width[i]);
    put_u64(out, manifest->epoch);
    put_u64(out, manifest->log_start);
    put_u64(out, manifest->sequence_next);
    put_objects(out, &manifest->names);
    put_objects(out, &manifest->segments);
    put_u32(out, (uint32_t)manifest->tombstones.n);
    for (size_t i = 0; i < manifest->tombstones.n; i++) {
        const struct manifest_tombstone *tombstone = &manifest->tombstones.p[i];
        put_u32(out, tombstone->series_id);
        put_u64(out, (uint64_t)tombstone->range.from_ms);
        put_u64(out, (uint64_t)tombstone->range.to_ms);
        put_u64(out, tombstone->range.sequence);
    }
    if (!out->failed)
        put_u64(out, hash_checksum(out->p + begin, out->n - begin));
}

/* ---- decoding ---- */

static bool name_ok(const char *name, size_t n) {
    if (n == 0 || n > MANIFEST_NAME_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        bool ok =
            (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
        if (!ok)
            return false;
    }
    return true;
}

static uint16_t take_u16(struct bytes_reader *reader) {
    const uint8_t *p = bytes_take(reader, 2);
    return p == NULL ? 0 : bytes_u16(p);
}

/* Fails the reader unless `count` things of at least `size` bytes can follow: nothing is allocated
   for a count that cannot be true. */
static uint32_t take_count(struct bytes_reader *reader, size_t size) {
    uint32_t count = bytes_take_u32(reader);
    if (count > bytes_left(reader) / size)
        reader->failed = true;
    return reader->failed ? 0 : count;
}

static enum rc take_objects(struct bytes_reader *reader, uint32_t shards,
                            struct manifest_objects *objects) {
    uint32_t count = take_count(reader, OBJECT_BYTES_MIN);
    if (!manifest_objects_reserve(objects, count))
        return RC_NOMEM;
    for (uint32_t i = 0; i < count; i++) {
        struct manifest_object object = {0};
        size_t n = bytes_take_u8(reader);
        const uint8_t *name = bytes_take(reader, n);
        if (name == NULL || !name_ok((const char *)name, n))
            return RC_CORRUPT;
        memcpy(object.name, name, n);
        object.shard = take_u16(reader);
        object.sequence = bytes_take_u64(reader);
        object.bytes = bytes_take_u64(reader);
        object.checksum = bytes_take_u64(reader);
        if (reader->failed || object.shard >= shards)
            return RC_CORRUPT;
        objects->p[objects->n++] = object;
    }
    return reader->failed ? RC_CORRUPT : RC_OK;
}

static enum rc take_tombstones(struct bytes_reader *reader, struct manifest_tombstones *out) {
    uint32_t count = take_count(reader, TOMBSTONE_BYTES);
    if (!manifest_tombstones_reserve(out, count))
        return RC_NOMEM;
    uint32_t before = 1;
    for (uint32_t i = 0; i < count; i++) {
        struct manifest_tombstone tombstone = {.series_id = bytes_take_u32(reader)};
        tombstone.range.from_ms = (int64_t)bytes_take_u64(reader);
        tombstone.range.to_ms = (int64_t)bytes_take_u64(reader);
        tombstone.range.sequence = bytes_take_u64(reader);
        if (tombstone.series_id < before || tombstone.range.from_ms > tombstone.range.to_ms)
            return RC_CORRUPT;
        before = tombstone.series_id;
        out->p[out->n++] = tombstone;
    }
    return reader->failed ? RC_CORRUPT : RC_OK;
}

static enum rc take_body(struct bytes_reader *reader, struct manifest *manifest) {
    const uint8_t *id = bytes_take(reader, MANIFEST_ID_BYTES);
    if (id == NULL)
        return RC_CORRUPT;
    memcpy(manifest->store_id, id, MANIFEST_ID_BYTES);
    manifest->shards = bytes_take_u32(reader);
    for (int i = 0; i < INDEX_KINDS; i++) {
        manifest->uid_width[i] = bytes_take_u32(reader);
        if (manifest->uid_width[i] < 1 || manifest->uid_width[i] > UID_WIDTH_MAX)
            return RC_CORRUPT;
    }
    manifest->epoch = bytes_take_u64(reader);
    manifest->log_start = bytes_take_u64(reader);
    manifest->sequence_next = bytes_take_u64(reader);
    if (reader->failed || manifest->shards < 1 || manifest->shards > SHARDS_MAX)
        return RC_CORRUPT;
    TRY(take_objects(reader, manifest->shards, &manifest->names));
    TRY(take_objects(reader, manifest->shards, &manifest->segments));
    TRY(take_tombstones(reader, &manifest->tombstones));
    return bytes_left(reader) == 0 ? RC_OK : RC_CORRUPT;
}

enum rc manifest_decode(const uint8_t *bytes, size_t n, struct manifest *manifest,
                        struct err *err) {
    if (n < HEADER_BYTES + CHECKSUM_BYTES || memcmp(bytes, MAGIC, sizeof(MAGIC)) != 0)
        return err_set(err, RC_CORRUPT, "the manifest does not begin like one");
    if (bytes_u64(bytes + n - CHECKSUM_BYTES) != hash_checksum(bytes, n - CHECKSUM_BYTES))
        return err_set(err, RC_CORRUPT, "the manifest does not match its checksum");
    uint32_t version = bytes_u32(bytes + sizeof(MAGIC));
    if (version != VERSION)
        return err_set(err, RC_UNSUPPORTED,
                       "the manifest has version %u; this program reads version %d", version,
                       VERSION);
    struct bytes_reader reader =
        bytes_reader_of(bytes + HEADER_BYTES, n - HEADER_BYTES - CHECKSUM_BYTES);
    enum rc rc = take_body(&reader, manifest);
    if (rc == RC_OK)
        return RC_OK;
    manifest_fini(manifest);
    return err_set(err, rc, rc == RC_NOMEM ? "out of memory" : "the manifest is not well formed");
}
