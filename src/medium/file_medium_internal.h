/*
 * What the two files of the file medium share.
 */
#pragma once

#include "medium/medium_ops.h"
#include "os/file.h"
#include "os/thread.h"

#include <stdatomic.h>

enum {
    FILE_MEDIUM_VALUE_HEADER = 32,
    /* Unconfirmed catalog keys remembered; far more than there are keys in use. */
    FILE_MEDIUM_UNCONFIRMED_MAX = 16
};

struct file_medium {
    struct medium base;
    char *directory;
    struct file lock;
    _Atomic uint64_t epoch; /* greatest of any log created */
    struct mutex publish;   /* orders "is the name free" with the rename, and puts of the catalog */
    /* Keys renamed into place whose directory sync failed: a put of the version before is accepted.
       Guarded by `publish`. */
    char unconfirmed[FILE_MEDIUM_UNCONFIRMED_MAX][MEDIUM_NAME_MAX + 1];
};

void file_medium_path(const struct file_medium *medium, enum medium_kind kind, const char *name,
                      char path[FILE_PATH_MAX]);
void file_medium_temporary_path(const struct file_medium *medium, enum medium_kind kind,
                                const char *name, char path[FILE_PATH_MAX]);
enum rc file_medium_sync_folder(const struct file_medium *medium, enum medium_kind kind,
                                struct err *err) MUST_USE;

/* The operations of file_medium_publish.c, as in struct medium_ops. */
enum rc file_medium_object_create(struct medium *medium, const char *name,
                                  struct medium_object_writer **out, struct err *err);
enum rc file_medium_object_write(struct medium_object_writer *writer, const void *bytes, size_t n,
                                 struct err *err);
enum rc file_medium_object_commit(struct medium_object_writer *writer, struct err *err);
void file_medium_object_abort(struct medium_object_writer *writer);
enum rc file_medium_object_open(struct medium *medium, const char *name, struct medium_object **out,
                                struct err *err);
uint64_t file_medium_object_size(const struct medium_object *object);
enum rc file_medium_object_read(struct medium_object *object, uint64_t offset, void *bytes,
                                size_t n, struct err *err);
const uint8_t *file_medium_object_map(struct medium_object *object);
enum rc file_medium_object_map_check(struct medium_object *object, uint64_t offset, size_t n,
                                     struct err *err);
void file_medium_object_close(struct medium_object *object);
enum rc file_medium_catalog_get(struct medium *medium, const char *key, struct buf *value,
                                uint64_t *version, struct err *err);
enum rc file_medium_catalog_put(struct medium *medium, const char *key, const void *bytes, size_t n,
                                uint64_t expected, struct err *err);
