#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "kube/image_archive.h"
#include "kube/tar_reader.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#define P "io.barograph.cluster."

/* ---- archives to read ---- */

static void add_header(struct buf *tar, const char *name, const char *prefix, char type,
                       size_t size) {
    char block[512] = {0};
    memcpy(block, name, strlen(name) < 100 ? strlen(name) : 100);
    snprintf(block + 100, 8, "%07o", 0644);
    snprintf(block + 124, 12, "%011zo", size);
    memset(block + 148, ' ', 8);
    block[156] = type;
    memcpy(block + 257, "ustar\00000", 8);
    memcpy(block + 345, prefix, strlen(prefix));
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof(block); i++)
        sum += (unsigned char)block[i];
    snprintf(block + 148, 8, "%06o", sum);
    buf_add(tar, block, sizeof(block));
}

static void add_body(struct buf *tar, const char *text, size_t n) {
    static const char zeros[512];
    buf_add(tar, text, n);
    buf_add(tar, zeros, (512 - n % 512) % 512);
}

static void add_file(struct buf *tar, const char *name, const char *text) {
    add_header(tar, name, "", '0', strlen(text));
    add_body(tar, text, strlen(text));
}

static void add_end(struct buf *tar) {
    static const char zeros[1024];
    buf_add(tar, zeros, sizeof(zeros));
}

static void compress_to(const struct buf *from, struct buf *to) {
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t bound = deflateBound(&z, from->n);
    char *p = buf_reserve(to, bound);
    assert_non_null(p);
    z.next_in = (Bytef *)from->p;
    z.avail_in = (uInt)from->n;
    z.next_out = (Bytef *)p;
    z.avail_out = (uInt)bound;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    to->n += bound - z.avail_out;
    deflateEnd(&z);
}

/* ---- reading ---- */

/* "image|name=value|..." or the error, read in pieces of `piece` bytes. */
static void describe(const struct buf *bytes, size_t piece, struct buf *out) {
    struct image_archive *archive;
    struct err err = {0};
    struct arena arena;
    struct labels labels;
    str image;
    arena_init(&arena, NULL);
    assert_int_equal(image_archive_new(&archive, &err), RC_OK);
    enum rc rc = RC_OK;
    for (size_t at = 0; rc == RC_OK && at < bytes->n; at += piece)
        rc = image_archive_push(archive, bytes->p + at,
                                bytes->n - at < piece ? bytes->n - at : piece, &err);
    if (rc == RC_OK)
        rc = image_archive_finish(archive, &arena, &labels, &image, &err);
    image_archive_free(archive);
    if (rc == RC_OK) {
        buf_str(out, image);
        for (size_t i = 0; i < labels.n; i++)
            buf_printf(out, "|%.*s=%s%.*s", STR_ARG(labels.p[i].name),
                       labels.p[i].unreadable == NULL ? "" : labels.p[i].unreadable,
                       STR_ARG(labels.p[i].value));
    } else {
        assert_int_equal(rc, RC_INVALID);
        buf_str(out, str_of(err.message));
    }
    buf_char(out, '\0');
    arena_fini(&arena);
}

static void expect_bytes(const struct buf *bytes, const char *expected) {
    static const size_t pieces[] = {1, 7, 511, 512, 513, 100000};
    assert_true(image_archive_detect(bytes->p, bytes->n < 512 ? bytes->n : 512));
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        struct buf out = {0};
        describe(bytes, pieces[i], &out);
        assert_string_equal(out.p, expected);
        buf_fini(&out);
    }
}

/* Plain and compressed. Frees the archive. */
static void expect(struct buf *tar, const char *expected) {
    struct buf packed = {0};
    add_end(tar);
    compress_to(tar, &packed);
    expect_bytes(tar, expected);
    expect_bytes(&packed, expected);
    buf_fini(&packed);
    buf_fini(tar);
}

#define CONFIG "{\"config\":{\"Labels\":{\"" P "name\":\"db\",\"other\":\"x\"}}}"

static void docker_save_is_read(void **state) {
    struct buf tar = {0};
    add_file(&tar, "layer.tar", "not json");
    add_file(&tar, "abc.json", CONFIG);
    add_file(&tar, "manifest.json",
             "[{\"Config\":\"abc.json\",\"RepoTags\":[\"app:latest\",\"app:1\"]}]");
    expect(&tar, "app:1|" P "name=db");
}

static void the_order_of_files_does_not_matter(void **state) {
    struct buf tar = {0};
    add_header(&tar, "./", "", '5', 0);
    add_file(&tar, "./manifest.json", "[{\"Config\":\"abc.json\",\"RepoTags\":null}]");
    add_header(&tar, "link", "", '2', 0);
    add_file(&tar, "./abc.json", "{}");
    add_file(&tar, "./abc.json", CONFIG);
    expect(&tar, "|" P "name=db");
}

static void oci_layouts_are_read(void **state) {
    struct buf tar = {0};
    add_file(&tar, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
    add_file(&tar, "index.json",
             "{\"manifests\":[{\"digest\":\"sha256:aa\",\"annotations\":{"
             "\"org.opencontainers.image.ref.name\":\"app:2\"}}]}");
    add_file(&tar, "blobs/sha256/aa", "{\"config\":{\"digest\":\"sha256:bb\"}}");
    add_file(&tar, "blobs/sha256/bb", CONFIG);
    expect(&tar, "app:2|" P "name=db");
}

#define INDEX                                                                                      \
    "{\"manifests\":[{\"digest\":\"sha256:m1\"},{\"digest\":\"sha256:missing\"},"                  \
    "{\"digest\":\"sha256:m2\"},{\"digest\":\"sha256:at\",\"annotations\":"                        \
    "{\"vnd.docker.reference.type\":\"attestation-manifest\"}}]}"

static void platforms_must_agree(void **state) {
    struct buf tar = {0};
    add_file(&tar, "index.json", "{\"manifests\":[{\"digest\":\"sha256:in\"}]}");
    add_file(&tar, "blobs/sha256/in", INDEX);
    add_file(&tar, "blobs/sha256/at", "{}");
    add_file(&tar, "blobs/sha256/m1", "{\"config\":{\"digest\":\"sha256:c1\"}}");
    add_file(&tar, "blobs/sha256/m2", "{\"config\":{\"digest\":\"sha256:c2\"}}");
    add_file(&tar, "blobs/sha256/c1", CONFIG);
    struct buf differs = {0};
    buf_str(&differs, buf_view(&tar));
    add_file(&tar, "blobs/sha256/c2", CONFIG);
    expect(&tar, "|" P "name=db");
    add_file(&differs, "blobs/sha256/c2", "{\"config\":{\"Labels\":{\"" P "name\":\"other\"}}}");
    expect(&differs, "the archive holds images whose labels differ: save just one of them");
}

static void long_names_are_read(void **state) {
    char name[300];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    struct buf manifest = {0}, pax = {0}, tar = {0};
    buf_printf(&manifest, "[{\"Config\":\"%s\"}]", name);
    buf_char(&manifest, '\0');
    /* GNU */
    add_file(&tar, "manifest.json", manifest.p);
    add_header(&tar, "././@LongLink", "", 'L', sizeof(name));
    add_body(&tar, name, sizeof(name));
    add_file(&tar, "cut off", CONFIG);
    expect(&tar, "|" P "name=db");
    /* pax, with a global header before it */
    add_file(&tar, "manifest.json", manifest.p);
    add_header(&tar, "global", "", 'g', 13);
    add_body(&tar, "13 comment=x\n", 13);
    buf_printf(&pax, "309 path=%s\n13 mtime=1.5\n%zu size=%zu\n", name, sizeof("00 size=00"),
               sizeof(CONFIG) - 1);
    add_header(&tar, "pax", "", 'x', pax.n);
    add_body(&tar, pax.p, pax.n);
    add_file(&tar, "cut off", CONFIG);
    expect(&tar, "|" P "name=db");
    /* ustar: a prefix */
    add_file(&tar, "manifest.json", "[{\"Config\":\"some/where/config\"}]");
    add_header(&tar, "config", "some/where", '0', sizeof(CONFIG) - 1);
    add_body(&tar, CONFIG, sizeof(CONFIG) - 1);
    expect(&tar, "|" P "name=db");
    buf_fini(&manifest);
    buf_fini(&pax);
}

static void labels_that_are_no_text_are_handed_out_with_the_reason(void **state) {
    struct buf tar = {0};
    add_file(&tar, "manifest.json", "[{\"Config\":\"c\"}]");
    add_file(&tar, "c", "{\"config\":{\"Labels\":{\"" P "replicas\":1}}}");
    expect(&tar, "|" P "replicas=not a text");
    add_file(&tar, "manifest.json", "[{\"Config\":\"c\"}]");
    add_file(&tar, "c", "{\"config\":{\"Labels\":null}}");
    expect(&tar, "");
}

static void what_is_no_image_is_refused(void **state) {
    struct buf tar = {0};
    add_file(&tar, "readme", "hello");
    expect(&tar, "this is no image archive: it has neither manifest.json (docker save) nor "
                 "index.json (OCI)");
    add_file(&tar, "manifest.json", "[{\"Config\":\"a\"},{\"Config\":\"b\"}]");
    expect(&tar, "the archive holds 2 images: save just one");
    add_file(&tar, "manifest.json", "[{\"Config\":\"gone\"}]");
    expect(&tar, "the archive is incomplete: it has no configuration \"gone\"");
    add_file(&tar, "manifest.json", "[{\"Layers\":[]}]");
    expect(&tar, "the archive is damaged: manifest.json names no configuration");
    add_file(&tar, "index.json", "{\"manifests\":[]}");
    expect(&tar, "the archive holds no image");
    add_file(&tar, "index.json", "{\"manifests\":[{\"digest\":\"sha256:a\"}]}");
    add_file(&tar, "blobs/sha256/a", "{\"manifests\":[{\"digest\":\"sha256:a\"}]}");
    expect(&tar, "the archive is damaged: indexes nested too deeply");
}

static void damage_is_noticed(void **state) {
    struct buf tar = {0}, packed = {0};
    add_file(&tar, "manifest.json", "[{\"Config\":\"c\"}]");
    add_file(&tar, "c", CONFIG);
    compress_to(&tar, &packed);
    size_t whole = tar.n;
    tar.n = whole - 600;
    expect_bytes(&tar, "the archive ends too early: save the image again");
    tar.n = whole;
    tar.p[1024 + 3] ^= 1;
    expect_bytes(&tar, "the archive is damaged: a bad header");
    packed.n -= 9;
    expect_bytes(&packed, "the archive ends too early: save the image again");
    packed.p[12] ^= 0x55;
    packed.p[13] ^= 0x55;
    packed.p[14] ^= 0x55;
    struct buf out = {0};
    describe(&packed, 512, &out);
    assert_true(str_starts(str_of(out.p), STR("th")));
    buf_fini(&out);
    buf_fini(&tar);
    buf_fini(&packed);
}

static void gzip_members_follow_one_another(void **state) {
    struct buf tar = {0}, all = {0};
    add_file(&tar, "manifest.json", "[{\"Config\":\"c\"}]");
    compress_to(&tar, &all);
    buf_reset(&tar);
    add_file(&tar, "c", CONFIG);
    add_end(&tar);
    compress_to(&tar, &all);
    expect_bytes(&all, "|" P "name=db");
    buf_fini(&tar);
    buf_fini(&all);
}

static void kinds_are_told_by_content(void **state) {
    assert_false(image_archive_detect("FROM x\n", 7));
    assert_false(image_archive_detect("", 0));
    assert_true(image_archive_detect("\x28\xb5\x2f\xfd....", 8));
    struct buf bytes = {0};
    buf_str(&bytes, STR("\x28\xb5\x2f\xfd...."));
    expect_bytes(&bytes, "compressed by zstd, which is not understood: unpack it, or use gzip");
    buf_reset(&bytes);
    for (int i = 0; i < 600; i++)
        buf_char(&bytes, (char)(i % 3));
    expect_bytes(&bytes, "this is neither a Dockerfile nor an image archive");
    buf_fini(&bytes);
}

static void too_many_documents_are_refused(void **state) {
    struct buf tar = {0};
    for (int i = 0; i <= IMAGE_ARCHIVE_COUNT_MAX; i++)
        add_file(&tar, "x", "{}");
    struct buf out = {0};
    describe(&tar, 65536, &out);
    assert_string_equal(out.p, "the archive holds too many JSON documents (over 4096 or 64 MiB) "
                               "for one image");
    buf_fini(&out);
    buf_fini(&tar);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(docker_save_is_read),
        cmocka_unit_test(the_order_of_files_does_not_matter),
        cmocka_unit_test(oci_layouts_are_read),
        cmocka_unit_test(platforms_must_agree),
        cmocka_unit_test(long_names_are_read),
        cmocka_unit_test(labels_that_are_no_text_are_handed_out_with_the_reason),
        cmocka_unit_test(what_is_no_image_is_refused),
        cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(gzip_members_follow_one_another),
        cmocka_unit_test(kinds_are_told_by_content),
        cmocka_unit_test(too_many_documents_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
