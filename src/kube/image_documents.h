/*
 * The JSON documents of an image archive, and the way through them to the labels:
 *
 *     manifest.json -> configuration                          docker save, podman save
 *     index.json -> [index ->] manifest -> configuration      OCI
 */
#pragma once

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/str.h"
#include "base/vec.h"
#include "kube/labels.h"

#include <stddef.h>

struct image_document {
    str name; /* both owned, in one allocation at name.p */
    str text;
};

VEC_DECLARE(image_document_vec, struct image_document)

/* Zeroed: empty. */
struct image_documents {
    struct image_document_vec list;
    size_t bytes;
};

void image_documents_fini(struct image_documents *documents);

/* Keeps copies. RC_INVALID when there are too many (image_archive.h has the limits). */
enum rc image_documents_add(struct image_documents *documents, str name, str text,
                            struct err *err) MUST_USE;

/* As image_archive_finish. */
enum rc image_documents_labels(const struct image_documents *documents, struct arena *arena,
                               struct labels *labels, str *image, struct err *err) MUST_USE;
