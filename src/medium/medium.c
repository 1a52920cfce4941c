#include "medium/medium.h"

#include "medium/medium_ops.h"

#include <string.h>

bool medium_name_ok(const char *name) {
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-");
    return n >= 1 && n <= MEDIUM_NAME_MAX && name[n] == '\0' && name[0] != '.';
}

const char *medium_kind_text(enum medium_kind kind) {
    static const char *const text[] = {
        [MEDIUM_LOGS] = "log", [MEDIUM_OBJECTS] = "object", [MEDIUM_CATALOG] = "catalog value"};
    return text[kind];
}

enum rc medium_fenced(uint64_t epoch, uint64_t newest, struct err *err) {
    return err_set(err, RC_CONFLICT,
                   "the log of epoch %llu is closed: a writer of epoch %llu has taken over",
                   (unsigned long long)epoch, (unsigned long long)newest);
}

static enum rc check_name(enum medium_kind kind, const char *name, struct err *err) {
    if (medium_name_ok(name))
        return RC_OK;
    return err_set(err, RC_INVALID, "%s name \"%.100s\" is not made of 1 to %d of a-z 0-9 . _ -",
                   medium_kind_text(kind), name, MEDIUM_NAME_MAX);
}

void medium_close(struct medium *medium) {
    if (medium != NULL)
        medium->ops->close(medium);
}

enum rc medium_log_create(struct medium *medium, const char *name, uint64_t epoch,
                          struct medium_log **out, struct err *err) {
    TRY(check_name(MEDIUM_LOGS, name, err));
    return medium->ops->log_create(medium, name, epoch, out, err);
}

enum rc medium_log_append(struct medium_log *log, const void *bytes, size_t n, struct err *err) {
    return log->medium->ops->log_append(log, bytes, n, err);
}

enum rc medium_log_sync(struct medium_log *log, struct err *err) {
    return log->medium->ops->log_sync(log, err);
}

enum rc medium_log_truncate(struct medium_log *log, uint64_t size, struct err *err) {
    return log->medium->ops->log_truncate(log, size, err);
}

void medium_log_close(struct medium_log *log) {
    if (log != NULL)
        log->medium->ops->log_close(log);
}

enum rc medium_log_read(struct medium *medium, const char *name, uint64_t offset, void *bytes,
                        size_t n, size_t *got, struct err *err) {
    *got = 0;
    TRY(check_name(MEDIUM_LOGS, name, err));
    return medium->ops->log_read(medium, name, offset, bytes, n, got, err);
}

enum rc medium_log_settle(struct medium *medium, const char *name, struct err *err) {
    TRY(check_name(MEDIUM_LOGS, name, err));
    return medium->ops->log_settle(medium, name, err);
}

enum rc medium_object_create(struct medium *medium, const char *name,
                             struct medium_object_writer **out, struct err *err) {
    TRY(check_name(MEDIUM_OBJECTS, name, err));
    return medium->ops->object_create(medium, name, out, err);
}

enum rc medium_object_write(struct medium_object_writer *writer, const void *bytes, size_t n,
                            struct err *err) {
    return writer->medium->ops->object_write(writer, bytes, n, err);
}

enum rc medium_object_commit(struct medium_object_writer *writer, struct err *err) {
    return writer->medium->ops->object_commit(writer, err);
}

void medium_object_abort(struct medium_object_writer *writer) {
    if (writer != NULL)
        writer->medium->ops->object_abort(writer);
}

enum rc medium_object_open(struct medium *medium, const char *name, struct medium_object **out,
                           struct err *err) {
    TRY(check_name(MEDIUM_OBJECTS, name, err));
    return medium->ops->object_open(medium, name, out, err);
}

uint64_t medium_object_size(const struct medium_object *object) {
    return object->medium->ops->object_size(object);
}

enum rc medium_object_read(struct medium_object *object, uint64_t offset, void *bytes, size_t n,
                           struct err *err) {
    return object->medium->ops->object_read(object, offset, bytes, n, err);
}

const uint8_t *medium_object_map(struct medium_object *object) {
    return object->medium->ops->object_map(object);
}

enum rc medium_object_map_check(struct medium_object *object, uint64_t offset, size_t n,
                                struct err *err) {
    const struct medium_ops *ops = object->medium->ops;
    return ops->object_map_check == NULL ? RC_OK : ops->object_map_check(object, offset, n, err);
}

void medium_object_close(struct medium_object *object) {
    if (object != NULL)
        object->medium->ops->object_close(object);
}

enum rc medium_catalog_get(struct medium *medium, const char *key, struct buf *value,
                           uint64_t *version, struct err *err) {
    TRY(check_name(MEDIUM_CATALOG, key, err));
    return medium->ops->catalog_get(medium, key, value, version, err);
}

enum rc medium_catalog_put(struct medium *medium, const char *key, const void *bytes, size_t n,
                           uint64_t expected, struct err *err) {
    TRY(check_name(MEDIUM_CATALOG, key, err));
    if (n > MEDIUM_CATALOG_BYTES_MAX)
        return err_set(err, RC_LIMIT, "catalog value %s has more than %d bytes", key,
                       MEDIUM_CATALOG_BYTES_MAX);
    return medium->ops->catalog_put(medium, key, bytes, n, expected, err);
}

enum rc medium_list(struct medium *medium, enum medium_kind kind,
                    enum rc (*each)(void *context, const char *name, uint64_t size), void *context,
                    struct err *err) {
    return medium->ops->list(medium, kind, each, context, err);
}

enum rc medium_remove(struct medium *medium, enum medium_kind kind, const char *name,
                      struct err *err) {
    TRY(check_name(kind, name, err));
    return medium->ops->remove(medium, kind, name, err);
}

enum rc medium_space(struct medium *medium, uint64_t *free_bytes, uint64_t *used_bytes,
                     struct err *err) {
    return medium->ops->space(medium, free_bytes, used_bytes, err);
}

bool medium_is_durable(const struct medium *medium) {
    return medium->durable;
}
