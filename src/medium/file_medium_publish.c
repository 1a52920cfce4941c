/*
 * Objects and catalog values: written beside, synced, renamed into place, directory synced. The
 * format of a catalog value is docs/format/catalog.md.
 */
#include "base/bytes.h"
#include "base/hash.h"
#include "medium/file_medium_internal.h"

#include <stdlib.h>
#include <string.h>

enum { WRITE_BUFFER = 256 << 10, CHECK_BYTES = 16 << 10 };

struct writer {
    struct medium_object_writer base;
    struct file file; /* the temporary one */
    uint64_t written;
    size_t pending; /* bytes in `buffer`, which follow what is written */
    char name[MEDIUM_NAME_MAX + 1];
    uint8_t buffer[WRITE_BUFFER];
};

struct object {
    struct medium_object base;
    struct file file;
    uint64_t size;
    const uint8_t *map; /* NULL: cannot be mapped */
};

static struct file_medium *medium_of(struct medium *medium) {
    return (struct file_medium *)medium;
}

/* ---- objects ---- */

static enum rc taken(const char *name, struct err *err) {
    return err_set(err, RC_CONFLICT, "object %s exists already", name);
}

enum rc file_medium_object_create(struct medium *base, const char *name,
                                  struct medium_object_writer **out, struct err *err) {
    struct file_medium *medium = medium_of(base);
    char path[FILE_PATH_MAX];
    file_medium_path(medium, MEDIUM_OBJECTS, name, path);
    if (file_stat(path, NULL, NULL) == RC_OK)
        return taken(name, err);
    struct writer *writer = malloc(sizeof(*writer));
    if (writer == NULL)
        return err_set(err, RC_NOMEM, "cannot create object %s: out of memory", name);
    writer->base.medium = base;
    writer->written = 0;
    writer->pending = 0;
    memcpy(writer->name, name, strlen(name) + 1);
    file_medium_temporary_path(medium, MEDIUM_OBJECTS, name, path);
    enum rc rc = file_open(path, FILE_CREATE_NEW, &writer->file, err);
    if (rc != RC_OK) {
        free(writer);
        return rc;
    }
    *out = &writer->base;
    return RC_OK;
}

static enum rc write_through(struct writer *writer, const void *bytes, size_t n, struct err *err) {
    TRY(file_write_at(&writer->file, writer->written, bytes, n, err));
    writer->written += n;
    return RC_OK;
}

static enum rc flush(struct writer *writer, struct err *err) {
    TRY(write_through(writer, writer->buffer, writer->pending, err));
    writer->pending = 0;
    return RC_OK;
}

enum rc file_medium_object_write(struct medium_object_writer *base, const void *bytes, size_t n,
                                 struct err *err) {
    struct writer *writer = (struct writer *)base;
    if (n > WRITE_BUFFER - writer->pending)
        TRY(flush(writer, err));
    if (n >= WRITE_BUFFER)
        return write_through(writer, bytes, n, err);
    if (n > 0)
        memcpy(writer->buffer + writer->pending, bytes, n);
    writer->pending += n;
    return RC_OK;
}

/* The temporary file gets its name; if that cannot be made durable, it loses it again. */
static enum rc publish(struct file_medium *medium, const struct writer *writer, struct err *err) {
    char path[FILE_PATH_MAX];
    file_medium_path(medium, MEDIUM_OBJECTS, writer->name, path);
    if (file_stat(path, NULL, NULL) == RC_OK)
        return taken(writer->name, err);
    TRY(file_rename(writer->file.path, path, err));
    enum rc rc = file_medium_sync_folder(medium, MEDIUM_OBJECTS, err);
    if (rc != RC_OK)
        (void)!file_remove(path, NULL);
    return rc;
}

enum rc file_medium_object_commit(struct medium_object_writer *base, struct err *err) {
    struct writer *writer = (struct writer *)base;
    struct file_medium *medium = medium_of(base->medium);
    enum rc rc = flush(writer, err);
    if (rc == RC_OK)
        rc = file_sync(&writer->file, err);
    if (rc == RC_OK) {
        mutex_lock(&medium->publish);
        rc = publish(medium, writer, err);
        mutex_unlock(&medium->publish);
    }
    if (rc != RC_OK) {
        file_medium_object_abort(base);
        return rc;
    }
    file_close(&writer->file);
    free(writer);
    return RC_OK;
}

void file_medium_object_abort(struct medium_object_writer *base) {
    struct writer *writer = (struct writer *)base;
    (void)!file_remove(writer->file.path, NULL);
    file_close(&writer->file);
    free(writer);
}

enum rc file_medium_object_open(struct medium *base, const char *name, struct medium_object **out,
                                struct err *err) {
    static const uint8_t nothing[1];
    struct object *object = calloc(1, sizeof(*object));
    if (object == NULL)
        return err_set(err, RC_NOMEM, "cannot open object %s: out of memory", name);
    object->base.medium = base;
    char path[FILE_PATH_MAX];
    file_medium_path(medium_of(base), MEDIUM_OBJECTS, name, path);
    enum rc rc = file_open(path, FILE_READ, &object->file, err);
    if (rc == RC_OK)
        rc = file_size(&object->file, &object->size, err);
    if (rc != RC_OK) {
        file_close(&object->file);
        free(object);
        return rc;
    }
    if (object->size == 0)
        object->map = nothing;
    else if (file_map(&object->file, object->size, &object->map, NULL) != RC_OK)
        object->map = NULL;
    *out = &object->base;
    return RC_OK;
}

uint64_t file_medium_object_size(const struct medium_object *object) {
    return ((const struct object *)object)->size;
}

/* Not from the mapping: a failing disk is an error here and a signal there. */
enum rc file_medium_object_read(struct medium_object *base, uint64_t offset, void *bytes, size_t n,
                                struct err *err) {
    const struct object *object = (const struct object *)base;
    size_t got = 0;
    TRY(file_read_at(&object->file, offset, bytes, n, &got, err));
    if (got < n)
        return err_set(err, RC_CORRUPT, "%s ends before byte %llu", object->file.path,
                       (unsigned long long)offset + n);
    return RC_OK;
}

const uint8_t *file_medium_object_map(struct medium_object *object) {
    return ((const struct object *)object)->map;
}

/* Reading says what is wrong where the mapping raises a signal, and leaves the pages in memory. */
enum rc file_medium_object_map_check(struct medium_object *base, uint64_t offset, size_t n,
                                     struct err *err) {
    uint8_t bytes[CHECK_BYTES];
    for (size_t at = 0; at < n; at += sizeof(bytes)) {
        size_t part = n - at < sizeof(bytes) ? n - at : sizeof(bytes);
        TRY(file_medium_object_read(base, offset + at, bytes, part, err));
    }
    return RC_OK;
}

void file_medium_object_close(struct medium_object *base) {
    struct object *object = (struct object *)base;
    if (object->map != NULL && object->size > 0)
        file_unmap(object->map, object->size);
    file_close(&object->file);
    free(object);
}

/* ---- catalog ---- */

static const char value_magic[8] = {'B', 'G', 'C', 'A', 'T', '0', '0', '1'};
enum { MAGIC_FAMILY = 5 }; /* what versions of the format share */

static uint64_t value_checksum(const uint8_t *header, const void *bytes, size_t n) {
    return hash_chain(hash_checksum(header, 24), n == 0 ? "" : bytes, n);
}

static void value_header(uint8_t header[FILE_MEDIUM_VALUE_HEADER], uint64_t version,
                         const void *bytes, size_t n) {
    memcpy(header, value_magic, 8);
    bytes_put_u64(header + 8, version);
    bytes_put_u64(header + 16, n);
    bytes_put_u64(header + 24, value_checksum(header, bytes, n));
}

/* Whatever the version of the format says. */
static bool value_holds(const uint8_t *file, size_t n) {
    return n >= FILE_MEDIUM_VALUE_HEADER && memcmp(file, value_magic, MAGIC_FAMILY) == 0 &&
           bytes_u64(file + 8) >= 1 && bytes_u64(file + 16) == n - FILE_MEDIUM_VALUE_HEADER &&
           bytes_u64(file + 24) ==
               value_checksum(file, file + FILE_MEDIUM_VALUE_HEADER, n - FILE_MEDIUM_VALUE_HEADER);
}

/* The whole file of a key, verified, into `file`. */
static enum rc read_value(struct file_medium *medium, const char *key, struct buf *file,
                          uint64_t *version, struct err *err) {
    char path[FILE_PATH_MAX];
    file_medium_path(medium, MEDIUM_CATALOG, key, path);
    size_t most = (size_t)MEDIUM_CATALOG_BYTES_MAX + FILE_MEDIUM_VALUE_HEADER;
    enum rc rc = file_read_all(path, most, file, err);
    if (rc == RC_NOT_FOUND)
        return err_set(err, rc, "there is no catalog value %s", key);
    if (rc != RC_OK && rc != RC_LIMIT)
        return rc;
    if (rc == RC_LIMIT || !value_holds((const uint8_t *)file->p, file->n))
        return err_set(err, RC_CORRUPT, "%s fails its checksum", path);
    if (memcmp(file->p, value_magic, sizeof(value_magic)) != 0)
        return err_set(err, RC_UNSUPPORTED, "%s was written by a newer version; start that version",
                       path);
    *version = bytes_u64(file->p + 8);
    return RC_OK;
}

enum rc file_medium_catalog_get(struct medium *base, const char *key, struct buf *value,
                                uint64_t *version, struct err *err) {
    struct buf file = {0};
    enum rc rc = read_value(medium_of(base), key, &file, version, err);
    if (rc == RC_OK)
        buf_add(value, file.p + FILE_MEDIUM_VALUE_HEADER, file.n - FILE_MEDIUM_VALUE_HEADER);
    buf_fini(&file);
    if (rc == RC_OK && value->failed)
        return err_set(err, RC_NOMEM, "cannot read catalog value %s: out of memory", key);
    return rc;
}

static char *find_unconfirmed(struct file_medium *medium, const char *key) {
    for (size_t i = 0; i < COUNT_OF(medium->unconfirmed); i++)
        if (strcmp(medium->unconfirmed[i], key) == 0)
            return medium->unconfirmed[i];
    return NULL;
}

static void set_unconfirmed(struct file_medium *medium, const char *key, bool unconfirmed) {
    char *slot = find_unconfirmed(medium, key);
    if (slot == NULL && unconfirmed)
        slot = find_unconfirmed(medium, "");
    if (slot != NULL)
        memcpy(slot, unconfirmed ? key : "", unconfirmed ? strlen(key) + 1 : 1);
}

static enum rc check_version(struct file_medium *medium, const char *key, uint64_t expected,
                             struct err *err) {
    struct buf file = {0};
    uint64_t version = 0;
    enum rc rc = read_value(medium, key, &file, &version, err);
    buf_fini(&file);
    if (rc != RC_OK && rc != RC_NOT_FOUND)
        return rc;
    if (version == expected)
        return RC_OK;
    if (version == expected + 1 && find_unconfirmed(medium, key) != NULL)
        return RC_OK;
    return err_set(err, RC_CONFLICT, "catalog value %s has version %llu, not %llu", key,
                   (unsigned long long)version, (unsigned long long)expected);
}

static enum rc write_value(const char *path, const void *bytes, size_t n, uint64_t version,
                           struct err *err) {
    uint8_t header[FILE_MEDIUM_VALUE_HEADER];
    value_header(header, version, bytes, n);
    struct file file;
    TRY(file_open(path, FILE_REPLACE, &file, err));
    enum rc rc = file_write_at(&file, 0, header, sizeof(header), err);
    if (rc == RC_OK)
        rc = file_write_at(&file, sizeof(header), bytes, n, err);
    if (rc == RC_OK)
        rc = file_sync(&file, err);
    file_close(&file);
    return rc;
}

static enum rc put(struct file_medium *medium, const char *key, const void *bytes, size_t n,
                   uint64_t expected, struct err *err) {
    TRY(check_version(medium, key, expected, err));
    char path[FILE_PATH_MAX], temporary[FILE_PATH_MAX];
    file_medium_path(medium, MEDIUM_CATALOG, key, path);
    file_medium_temporary_path(medium, MEDIUM_CATALOG, key, temporary);
    enum rc rc = write_value(temporary, bytes, n, expected + 1, err);
    if (rc == RC_OK)
        rc = file_rename(temporary, path, err);
    if (rc != RC_OK) {
        (void)!file_remove(temporary, NULL);
        return rc;
    }
    rc = file_medium_sync_folder(medium, MEDIUM_CATALOG, err);
    set_unconfirmed(medium, key, rc != RC_OK);
    if (rc != RC_NO_SPACE)
        return rc;
    /* The new value is in place: that is not what RC_NO_SPACE tells the caller. */
    if (err != NULL)
        err->rc = RC_IO;
    return RC_IO;
}

enum rc file_medium_catalog_put(struct medium *base, const char *key, const void *bytes, size_t n,
                                uint64_t expected, struct err *err) {
    struct file_medium *medium = medium_of(base);
    mutex_lock(&medium->publish);
    enum rc rc = put(medium, key, bytes, n, expected, err);
    mutex_unlock(&medium->publish);
    return rc;
}
