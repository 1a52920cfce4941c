/*
 * An image archive: as it is, and, because random bytes never have the right checksum, as the
 * bodies of well-formed files with the names that count. Read in pieces it says what it says in
 * one.
 */
#include "base/buf.h"
#include "base/check.h"
#include "kube/image_archive.h"

#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_archive(str bytes, size_t piece, struct buf *out) {
    struct image_archive *archive;
    struct arena arena;
    struct labels labels;
    str image;
    struct err err = {0};
    arena_init(&arena, NULL);
    CHECK(image_archive_new(&archive, &err) == RC_OK);
    enum rc rc = RC_OK;
    for (size_t at = 0; rc == RC_OK && at < bytes.n; at += piece)
        rc = image_archive_push(archive, bytes.p + at, bytes.n - at < piece ? bytes.n - at : piece,
                                &err);
    if (rc == RC_OK)
        rc = image_archive_finish(archive, &arena, &labels, &image, &err);
    CHECK(rc == RC_OK || (rc == RC_INVALID && err.message[0] != '\0'));
    buf_str(out, str_of(rc == RC_OK ? "fine" : err.message));
    for (size_t i = 0; rc == RC_OK && i < labels.n; i++) {
        CHECK(labels_is_ours(labels.p[i].name));
        buf_str(out, labels.p[i].value);
    }
    image_archive_free(archive);
    arena_fini(&arena);
}

static void check_archive(str bytes) {
    struct buf whole = {0}, pieces = {0};
    read_archive(bytes, bytes.n + 1, &whole);
    read_archive(bytes, 700, &pieces);
    CHECK(str_eq(buf_view(&whole), buf_view(&pieces)));
    buf_fini(&whole);
    buf_fini(&pieces);
}

static void add_header(struct buf *tar, const char *name, char type, size_t size) {
    char block[512] = {0};
    memcpy(block, name, strlen(name));
    snprintf(block + 124, 12, "%011zo", size);
    memset(block + 148, ' ', 8);
    block[156] = type;
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof(block); i++)
        sum += (unsigned char)block[i];
    snprintf(block + 148, 8, "%06o", sum);
    buf_add(tar, block, sizeof(block));
}

/* Each file takes two bytes of the input, for its name, type and size, and then its body. */
static void make_archive(const uint8_t *data, size_t size, struct buf *tar) {
    static const char *const names[] = {"manifest.json",  "index.json", "blobs/sha256/a",
                                        "blobs/sha256/b", "c",          "./d"};
    static const char types[] = "000000xLg5";
    static const char zeros[512];
    while (size >= 2) {
        const char *name = names[data[0] % COUNT_OF(names)];
        char type = types[(data[0] >> 3) % (sizeof(types) - 1)];
        size_t n = data[1] < size - 2 ? data[1] : size - 2;
        add_header(tar, name, type, n);
        buf_add(tar, data + 2, n);
        buf_add(tar, zeros, (512 - n % 512) % 512);
        data += 2 + n;
        size -= 2 + n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_archive((str){(const char *)data, size});
    struct buf tar = {0};
    make_archive(data, size, &tar);
    check_archive(buf_view(&tar));
    buf_fini(&tar);
    return 0;
}
