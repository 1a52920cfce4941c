#include "kube/image_archive.h"

#include "base/buf.h"
#include "base/vec.h"
#include "kube/image_documents.h"
#include "kube/tar_reader.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { PIECE_BYTES = 1 << 16 };

enum packing { PACKING_UNKNOWN, PACKING_NONE, PACKING_GZIP };

struct image_archive {
    struct tar_reader tar;
    struct image_documents documents;
    struct buf start; /* the first bytes, until the packing is known */
    enum packing packing;
    z_stream gzip;
    bool gzip_ended; /* at the end of a member */
    /* the file that is being read */
    struct buf body;
    struct buf name;
    uint64_t size;
    bool keep;
    uint8_t piece[PIECE_BYTES];
};

/* ---- files ---- */

static enum rc on_begin(void *context, str name, uint64_t size, struct err *err) {
    struct image_archive *archive = context;
    buf_reset(&archive->name);
    buf_str(&archive->name, name);
    buf_reset(&archive->body);
    archive->size = size;
    archive->keep = size > 0 && size <= IMAGE_ARCHIVE_DOCUMENT_MAX;
    return archive->name.failed ? err_set(err, RC_NOMEM, "out of memory") : RC_OK;
}

static enum rc on_bytes(void *context, const uint8_t *bytes, size_t n, struct err *err) {
    struct image_archive *archive = context;
    /* JSON documents of images are objects and arrays; anything else is a layer. */
    if (archive->keep && archive->body.n == 0)
        archive->keep = bytes[0] == '{' || bytes[0] == '[';
    if (archive->keep)
        buf_add(&archive->body, bytes, n);
    return archive->body.failed ? err_set(err, RC_NOMEM, "out of memory") : RC_OK;
}

static enum rc on_end(void *context, struct err *err) {
    struct image_archive *archive = context;
    if (!archive->keep)
        return RC_OK;
    return image_documents_add(&archive->documents, buf_view(&archive->name),
                               buf_view(&archive->body), err);
}

enum rc image_archive_new(struct image_archive **archive, struct err *err) {
    struct image_archive *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return err_set(err, RC_NOMEM, "out of memory");
    struct tar_reader_sink sink = {made, on_begin, on_bytes, on_end};
    tar_reader_init(&made->tar, &sink);
    *archive = made;
    return RC_OK;
}

void image_archive_free(struct image_archive *archive) {
    if (archive == NULL)
        return;
    if (archive->packing == PACKING_GZIP)
        inflateEnd(&archive->gzip);
    tar_reader_fini(&archive->tar);
    image_documents_fini(&archive->documents);
    buf_fini(&archive->start);
    buf_fini(&archive->body);
    buf_fini(&archive->name);
    free(archive);
}

/* ---- compression ---- */

static const struct {
    str magic;
    const char *name;
} foreign[] = {
    {{"\x28\xb5\x2f\xfd", 4}, "zstd"},
    {{"\xfd\x37zXZ", 5}, "xz"},
    {{"BZh", 3}, "bzip2"},
};

static bool is_gzip(str start) {
    return str_starts(start, STR("\x1f\x8b"));
}

static const char *foreign_packing(str start) {
    for (size_t i = 0; i < COUNT_OF(foreign); i++)
        if (str_starts(start, foreign[i].magic))
            return foreign[i].name;
    return NULL;
}

bool image_archive_detect(const void *bytes, size_t n) {
    str start = {bytes, n};
    return is_gzip(start) || foreign_packing(start) != NULL ||
           (n > 0 && memchr(bytes, '\0', n) != NULL) ||
           (n >= TAR_READER_BLOCK && tar_reader_detect(bytes));
}

static enum rc choose_packing(struct image_archive *archive, struct err *err) {
    str start = buf_view(&archive->start);
    const char *name = foreign_packing(start);
    if (name != NULL)
        return err_set(err, RC_INVALID,
                       "compressed by %s, which is not understood: unpack it, or use gzip", name);
    if (!is_gzip(start)) {
        archive->packing = PACKING_NONE;
        return RC_OK;
    }
    if (inflateInit2(&archive->gzip, 16 + MAX_WBITS) != Z_OK)
        return err_set(err, RC_NOMEM, "out of memory");
    archive->packing = PACKING_GZIP;
    return RC_OK;
}

/* A file may be several gzip members in a row; what follows the last and is none does not count. */
static enum rc push_gzip(struct image_archive *archive, const uint8_t *bytes, size_t n,
                         struct err *err) {
    z_stream *gzip = &archive->gzip;
    gzip->next_in = (Bytef *)(uintptr_t)bytes;
    gzip->avail_in = (uInt)n;
    do {
        if (archive->gzip_ended && gzip->avail_in > 0) {
            if (gzip->next_in[0] != 0x1f || inflateReset(gzip) != Z_OK)
                return RC_OK;
            archive->gzip_ended = false;
        }
        gzip->next_out = archive->piece;
        gzip->avail_out = PIECE_BYTES;
        int result = archive->gzip_ended ? Z_BUF_ERROR : inflate(gzip, Z_NO_FLUSH);
        if (result == Z_MEM_ERROR)
            return err_set(err, RC_NOMEM, "out of memory");
        if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
            return err_set(err, RC_INVALID, "the archive is damaged: %s",
                           gzip->msg == NULL ? "bad gzip data" : gzip->msg);
        archive->gzip_ended = archive->gzip_ended || result == Z_STREAM_END;
        TRY(tar_reader_push(&archive->tar, archive->piece, PIECE_BYTES - gzip->avail_out, err));
    } while (gzip->avail_out == 0 || gzip->avail_in > 0);
    return RC_OK;
}

static enum rc push_known(struct image_archive *archive, const uint8_t *bytes, size_t n,
                          struct err *err) {
    if (archive->packing == PACKING_NONE)
        return tar_reader_push(&archive->tar, bytes, n, err);
    while (n > 0) {
        size_t part = n < PIECE_BYTES ? n : PIECE_BYTES;
        TRY(push_gzip(archive, bytes, part, err));
        bytes += part;
        n -= part;
    }
    return RC_OK;
}

/* The packing is chosen by the first bytes, which are kept until there are enough of them. */
static enum rc push_start(struct image_archive *archive, struct err *err) {
    TRY(choose_packing(archive, err));
    return push_known(archive, (const uint8_t *)archive->start.p, archive->start.n, err);
}

enum rc image_archive_push(struct image_archive *archive, const void *bytes, size_t n,
                           struct err *err) {
    if (n == 0)
        return RC_OK;
    if (archive->packing != PACKING_UNKNOWN)
        return push_known(archive, bytes, n, err);
    buf_add(&archive->start, bytes, n);
    if (archive->start.failed)
        return err_set(err, RC_NOMEM, "out of memory");
    return archive->start.n < TAR_READER_BLOCK ? RC_OK : push_start(archive, err);
}

enum rc image_archive_finish(struct image_archive *archive, struct arena *arena,
                             struct labels *labels, str *image, struct err *err) {
    if (archive->packing == PACKING_UNKNOWN)
        TRY(push_start(archive, err));
    if (archive->packing == PACKING_GZIP && !archive->gzip_ended)
        return err_set(err, RC_INVALID, "the archive ends too early: save the image again");
    TRY(tar_reader_finish(&archive->tar, err));
    return image_documents_labels(&archive->documents, arena, labels, image, err);
}
