/*
 * Labels out of an image archive, read in one pass from a file or a pipe.
 *
 * Understood are `docker save` and `podman save` (manifest.json) and OCI layouts (index.json), each
 * as a tar file (ustar, pax, GNU long names), plain or compressed by gzip. Small JSON documents are
 * kept until the end, because each of them may stand before or after what refers to it; layers are
 * passed over.
 *
 * The tar reader is our own: Debian's libarchive brings libxml2 and ICU with it, more than the
 * 16 MiB that the whole image may have, to read headers of 512 bytes.
 */
#pragma once

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "kube/labels.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    IMAGE_ARCHIVE_DETECT_BYTES = 512,       /* what image_archive_detect wants to see */
    IMAGE_ARCHIVE_DOCUMENT_MAX = 4 << 20,   /* bytes of one JSON document */
    IMAGE_ARCHIVE_DOCUMENTS_MAX = 64 << 20, /* of all of them */
    IMAGE_ARCHIVE_COUNT_MAX = 4096,         /* JSON documents */
    IMAGE_ARCHIVE_IMAGES_MAX = 64           /* platforms of one image */
};

/* True if a file that begins with these bytes is an archive or a compressed file, not text. */
bool image_archive_detect(const void *bytes, size_t n);

struct image_archive;

/* RC_NOMEM or RC_OK. The archive belongs to the caller. */
enum rc image_archive_new(struct image_archive **archive, struct err *err) MUST_USE;
void image_archive_free(struct image_archive *archive);

/* Takes the next bytes of the file. RC_INVALID: this is no archive, or damaged; the text says. */
enum rc image_archive_push(struct image_archive *archive, const void *bytes, size_t n,
                           struct err *err) MUST_USE;

/* After the last byte: stores the labels that labels_is_ours says are ours, and the name the image
   was saved under (empty if none), both in `arena`. RC_INVALID: there is no image, more than one,
   or its parts are missing. Several platforms of one image are fine if their labels are equal. */
enum rc image_archive_finish(struct image_archive *archive, struct arena *arena,
                             struct labels *labels, str *image, struct err *err) MUST_USE;
