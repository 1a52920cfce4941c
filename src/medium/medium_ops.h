/*
 * What an implementation of a medium provides; private to src/medium.
 *
 * Names have been validated when an operation is called. Each implementation embeds these structs
 * as the first member of its own.
 */
#pragma once

#include "medium/medium.h"

struct medium_ops {
    void (*close)(struct medium *medium);

    enum rc (*log_create)(struct medium *medium, const char *name, uint64_t epoch,
                          struct medium_log **out, struct err *err);
    enum rc (*log_append)(struct medium_log *log, const void *bytes, size_t n, struct err *err);
    enum rc (*log_sync)(struct medium_log *log, struct err *err);
    enum rc (*log_truncate)(struct medium_log *log, uint64_t size, struct err *err);
    void (*log_close)(struct medium_log *log);
    enum rc (*log_read)(struct medium *medium, const char *name, uint64_t offset, void *bytes,
                        size_t n, size_t *got, struct err *err);
    enum rc (*log_settle)(struct medium *medium, const char *name, struct err *err);

    enum rc (*object_create)(struct medium *medium, const char *name,
                             struct medium_object_writer **out, struct err *err);
    enum rc (*object_write)(struct medium_object_writer *writer, const void *bytes, size_t n,
                            struct err *err);
    enum rc (*object_commit)(struct medium_object_writer *writer, struct err *err);
    void (*object_abort)(struct medium_object_writer *writer);
    enum rc (*object_open)(struct medium *medium, const char *name, struct medium_object **out,
                           struct err *err);
    uint64_t (*object_size)(const struct medium_object *object);
    enum rc (*object_read)(struct medium_object *object, uint64_t offset, void *bytes, size_t n,
                           struct err *err);
    const uint8_t *(*object_map)(struct medium_object *object);
    enum rc (*object_map_check)(struct medium_object *object, uint64_t offset, size_t n,
                                struct err *err); /* NULL: nothing can go wrong */
    void (*object_close)(struct medium_object *object);

    enum rc (*catalog_get)(struct medium *medium, const char *key, struct buf *value,
                           uint64_t *version, struct err *err);
    enum rc (*catalog_put)(struct medium *medium, const char *key, const void *bytes, size_t n,
                           uint64_t expected, struct err *err);

    enum rc (*list)(struct medium *medium, enum medium_kind kind,
                    enum rc (*each)(void *context, const char *name, uint64_t size), void *context,
                    struct err *err);
    enum rc (*remove)(struct medium *medium, enum medium_kind kind, const char *name,
                      struct err *err);
    enum rc (*space)(struct medium *medium, uint64_t *free_bytes, uint64_t *used_bytes,
                     struct err *err);
};

struct medium {
    const struct medium_ops *ops;
    bool durable; /* what medium_is_durable says */
};

struct medium_log {
    struct medium *medium;
};

struct medium_object {
    struct medium *medium;
};

struct medium_object_writer {
    struct medium *medium;
};

/* True for what may name a thing: 1 to MEDIUM_NAME_MAX of [a-z0-9._-], not beginning with a dot. */
bool medium_name_ok(const char *name);

/* "log", "object", "catalog value". */
const char *medium_kind_text(enum medium_kind kind);

/* Says that a log of `epoch` may not be written because there is one of `newest`: RC_CONFLICT. */
enum rc medium_fenced(uint64_t epoch, uint64_t newest, struct err *err) MUST_USE;
