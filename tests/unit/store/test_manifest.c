#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "store/manifest.h"

#include <stdio.h>
#include <string.h>

static struct manifest_object object(const char *name, uint16_t shard, uint64_t n) {
    struct manifest_object made = {
        .shard = shard, .sequence = n, .bytes = n * 1000, .checksum = hash_u64(n)};
    snprintf(made.name, sizeof(made.name), "%s-%llu", name, (unsigned long long)n);
    return made;
}

static void fill(struct manifest *manifest) {
    *manifest = (struct manifest){.shards = 4,
                                  .uid_width = {3, 4, 5},
                                  .epoch = 7,
                                  .log_start = UINT64_C(1) << 40,
                                  .sequence_next = 99};
    memcpy(manifest->store_id, "0123456789abcdef", MANIFEST_ID_BYTES);
    for (uint64_t i = 0; i < 20; i++)
        assert_true(manifest_objects_push(&manifest->segments, object("seg", i % 4, i)));
    for (uint64_t i = 0; i < 3; i++)
        assert_true(manifest_objects_push(&manifest->names, object("names", 0, i)));
    for (uint32_t i = 1; i < 10; i++)
        assert_true(manifest_tombstones_push(
            &manifest->tombstones,
            (struct manifest_tombstone){i / 2 + 1, {-(int64_t)i, INT64_MAX - i, i}}));
}

static void assert_same_objects(const struct manifest_objects *a,
                                const struct manifest_objects *b) {
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++) {
        assert_string_equal(a->p[i].name, b->p[i].name);
        assert_int_equal(a->p[i].shard, b->p[i].shard);
        assert_int_equal(a->p[i].sequence, b->p[i].sequence);
        assert_int_equal(a->p[i].bytes, b->p[i].bytes);
        assert_true(a->p[i].checksum == b->p[i].checksum);
    }
}

static void a_manifest_is_read_as_it_was_written(void **state) {
    struct manifest manifest;
    struct manifest decoded = {0};
    struct buf bytes = {0};
    fill(&manifest);
    manifest_encode(&manifest, &bytes);
    assert_false(bytes.failed);
    assert_int_equal(manifest_decode((uint8_t *)bytes.p, bytes.n, &decoded, NULL), RC_OK);
    assert_memory_equal(decoded.store_id, manifest.store_id, MANIFEST_ID_BYTES);
    assert_int_equal(decoded.shards, 4);
    assert_memory_equal(decoded.uid_width, manifest.uid_width, sizeof(manifest.uid_width));
    assert_int_equal(decoded.epoch, 7);
    assert_true(decoded.log_start == UINT64_C(1) << 40);
    assert_int_equal(decoded.sequence_next, 99);
    assert_same_objects(&decoded.names, &manifest.names);
    assert_same_objects(&decoded.segments, &manifest.segments);
    assert_int_equal(decoded.tombstones.n, manifest.tombstones.n);
    for (size_t i = 0; i < decoded.tombstones.n; i++) {
        const struct manifest_tombstone *a = &decoded.tombstones.p[i];
        const struct manifest_tombstone *b = &manifest.tombstones.p[i];
        assert_true(a->series_id == b->series_id && a->range.from_ms == b->range.from_ms &&
                    a->range.to_ms == b->range.to_ms && a->range.sequence == b->range.sequence);
    }
    manifest_fini(&manifest);
    manifest_fini(&decoded);
    buf_fini(&bytes);
}

static void any_flipped_bit_and_any_cut_is_found(void **state) {
    struct manifest manifest;
    struct manifest decoded = {0};
    struct buf bytes = {0};
    fill(&manifest);
    manifest_encode(&manifest, &bytes);
    for (size_t bit = 0; bit < bytes.n * 8; bit++) {
        bytes.p[bit / 8] ^= (char)(1 << (bit % 8));
        assert_int_equal(manifest_decode((uint8_t *)bytes.p, bytes.n, &decoded, NULL), RC_CORRUPT);
        bytes.p[bit / 8] ^= (char)(1 << (bit % 8));
    }
    for (size_t n = 0; n < bytes.n; n++)
        assert_int_equal(manifest_decode((uint8_t *)bytes.p, n, &decoded, NULL), RC_CORRUPT);
    manifest_fini(&manifest);
    buf_fini(&bytes);
}

static void a_newer_version_is_said_to_be_one(void **state) {
    struct manifest manifest;
    struct manifest decoded = {0};
    struct buf bytes = {0};
    struct err err;
    fill(&manifest);
    manifest_encode(&manifest, &bytes);
    bytes_put_u32(bytes.p + 8, 2);
    bytes_put_u64(bytes.p + bytes.n - 8, hash_checksum(bytes.p, bytes.n - 8));
    assert_int_equal(manifest_decode((uint8_t *)bytes.p, bytes.n, &decoded, &err), RC_UNSUPPORTED);
    assert_string_equal(err.message, "the manifest has version 2; this program reads version 1");
    manifest_fini(&manifest);
    buf_fini(&bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_is_read_as_it_was_written),
        cmocka_unit_test(any_flipped_bit_and_any_cut_is_found),
        cmocka_unit_test(a_newer_version_is_said_to_be_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
