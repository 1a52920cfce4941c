/*
 * Files out of a tar stream, fed in pieces of any size: ustar, pax (path and size) and GNU long
 * names. Links and devices are passed over.
 */
#pragma once

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TAR_READER_BLOCK = 512,
    TAR_READER_EXTENSION_MAX = 1 << 20 /* bytes of a pax or long-name record */
};

/* Who wants the files. Names come without "./" before them. */
struct tar_reader_sink {
    void *context;
    /* A regular file begins. */
    enum rc (*begin)(void *context, str name, uint64_t size, struct err *err);
    /* The next bytes of it; not called for an empty file. */
    enum rc (*bytes)(void *context, const uint8_t *bytes, size_t n, struct err *err);
    /* It has ended. */
    enum rc (*end)(void *context, struct err *err);
};

struct tar_reader {
    struct tar_reader_sink sink;
    uint8_t block[TAR_READER_BLOCK];
    size_t block_used;
    uint64_t left;        /* bytes of the body still to come */
    uint32_t padding;     /* and of zeros after it */
    char type;            /* of the current entry */
    struct buf extension; /* body of a pax or long-name record */
    struct buf path;      /* name for the next entry, from such a record */
    bool has_path;
    bool has_size;
    uint64_t size; /* for the next entry, from a pax record */
    uint64_t entries;
    bool ended; /* a block of zeros was seen: what follows does not count */
};

void tar_reader_init(struct tar_reader *reader, const struct tar_reader_sink *sink);
void tar_reader_fini(struct tar_reader *reader);

/* True if these 512 bytes are the header of an entry: its checksum is right. */
bool tar_reader_detect(const uint8_t *block);

/* Takes the next bytes. RC_INVALID: not a tar file, or damaged; or what the sink returns. */
enum rc tar_reader_push(struct tar_reader *reader, const uint8_t *bytes, size_t n,
                        struct err *err) MUST_USE;

/* After the last byte: RC_INVALID if the stream stops in the middle of an entry or has none. */
enum rc tar_reader_finish(const struct tar_reader *reader, struct err *err) MUST_USE;
