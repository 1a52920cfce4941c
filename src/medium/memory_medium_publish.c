/*
 * Objects and catalog values of the memory medium.
 */
#include "base/hash.h"
#include "medium/memory_medium_internal.h"

#include <stdlib.h>
#include <string.h>

/* A writer's entry is not in the table; an object's may have left it. */
struct memory_object {
    union {
        struct medium_object base;
        struct medium_object_writer writer;
    };
    struct memory_entry *entry;
};

static struct memory_medium *medium_of(struct medium *medium) {
    return (struct memory_medium *)medium;
}

/* ---- objects ---- */

static struct memory_object *handle_new(struct memory_medium *medium, struct memory_entry *entry) {
    struct memory_object *object = calloc(1, sizeof(*object));
    if (object == NULL)
        return NULL;
    object->base.medium = &medium->base;
    object->entry = entry;
    entry->refs++;
    medium->handles++;
    return object;
}

static enum rc create_object(struct memory_medium *medium, const char *name,
                             struct memory_object **out, struct err *err) {
    if (memory_medium_find(medium, MEDIUM_OBJECTS, name) != NULL)
        return err_set(err, RC_CONFLICT, "object %s exists already", name);
    struct memory_entry *entry = memory_medium_entry_new(name);
    if (entry == NULL)
        return memory_medium_out_of_memory(err);
    *out = handle_new(medium, entry);
    memory_medium_entry_unref(medium, entry);
    return *out == NULL ? memory_medium_out_of_memory(err) : RC_OK;
}

enum rc memory_medium_object_create(struct medium *base, const char *name,
                                    struct medium_object_writer **out, struct err *err) {
    struct memory_medium *medium = medium_of(base);
    struct memory_object *object = NULL;
    mutex_lock(&medium->lock);
    enum rc rc = create_object(medium, name, &object, err);
    mutex_unlock(&medium->lock);
    if (rc == RC_OK)
        *out = &object->writer;
    return rc;
}

static enum rc write_object(struct memory_medium *medium, struct memory_entry *entry,
                            const void *bytes, size_t n, struct err *err) {
    if (memory_medium_operation(medium) != MEMORY_OUTCOME_DONE)
        return memory_medium_crashed(err);
    if (memory_medium_room(medium, n) < n)
        return memory_medium_no_room(err);
    return memory_medium_entry_add(medium, entry, bytes, n, err);
}

enum rc memory_medium_object_write(struct medium_object_writer *base, const void *bytes, size_t n,
                                   struct err *err) {
    struct memory_medium *medium = medium_of(base->medium);
    mutex_lock(&medium->lock);
    enum rc rc = write_object(medium, ((struct memory_object *)base)->entry, bytes, n, err);
    mutex_unlock(&medium->lock);
    return rc;
}

/* Returns memory that will not be needed: an object no longer grows. */
static void entry_trim(struct memory_medium *medium, struct memory_entry *entry) {
    size_t capacity = entry->n > 0 ? entry->n : 1;
    if (entry->capacity <= capacity)
        return;
    uint8_t *bytes = realloc(entry->bytes, capacity);
    if (bytes == NULL)
        return;
    if (medium->budget != NULL)
        budget_release(medium->budget, entry->capacity - capacity);
    entry->bytes = bytes;
    entry->capacity = capacity;
}

static enum rc commit_object(struct memory_medium *medium, struct memory_entry *entry,
                             struct err *err) {
    if (memory_medium_find(medium, MEDIUM_OBJECTS, entry->name) != NULL)
        return err_set(err, RC_CONFLICT, "object %s exists already", entry->name);
    enum memory_outcome outcome = memory_medium_operation(medium);
    if (outcome == MEMORY_OUTCOME_DEAD)
        return memory_medium_crashed(err);
    if (outcome == MEMORY_OUTCOME_CRASH && memory_medium_chance(medium, 50))
        return memory_medium_crashed(err);
    if (outcome == MEMORY_OUTCOME_DONE)
        TRY(memory_medium_sync_fault(medium, err));
    entry_trim(medium, entry);
    TRY(memory_medium_insert(&medium->tables[MEDIUM_OBJECTS], entry, err));
    return outcome == MEMORY_OUTCOME_DONE ? RC_OK : memory_medium_crashed(err);
}

enum rc memory_medium_object_commit(struct medium_object_writer *base, struct err *err) {
    struct memory_object *object = (struct memory_object *)base;
    struct memory_medium *medium = medium_of(base->medium);
    mutex_lock(&medium->lock);
    enum rc rc = commit_object(medium, object->entry, err);
    mutex_unlock(&medium->lock);
    memory_medium_close_handle(base->medium, object->entry);
    free(object);
    return rc;
}

void memory_medium_object_abort(struct medium_object_writer *base) {
    struct memory_object *object = (struct memory_object *)base;
    memory_medium_close_handle(base->medium, object->entry);
    free(object);
}

enum rc memory_medium_object_open(struct medium *base, const char *name, struct medium_object **out,
                                  struct err *err) {
    struct memory_medium *medium = medium_of(base);
    struct memory_object *object = NULL;
    struct memory_entry *entry;
    mutex_lock(&medium->lock);
    enum rc rc = memory_medium_require(medium, MEDIUM_OBJECTS, name, &entry, err);
    if (rc == RC_OK) {
        object = handle_new(medium, entry);
        if (object == NULL)
            rc = memory_medium_out_of_memory(err);
    }
    mutex_unlock(&medium->lock);
    if (rc == RC_OK)
        *out = &object->base;
    return rc;
}

static const struct memory_entry *object_entry(const struct medium_object *object) {
    return ((const struct memory_object *)object)->entry;
}

uint64_t memory_medium_object_size(const struct medium_object *object) {
    return object_entry(object)->n;
}

enum rc memory_medium_object_read(struct medium_object *base, uint64_t offset, void *bytes,
                                  size_t n, struct err *err) {
    struct memory_medium *medium = medium_of(base->medium);
    const struct memory_entry *entry = object_entry(base);
    mutex_lock(&medium->lock);
    enum rc rc = memory_medium_read_fault(medium, entry->name, err);
    mutex_unlock(&medium->lock);
    TRY(rc);
    if (offset > entry->n || n > entry->n - offset)
        return err_set(err, RC_CORRUPT, "object %s ends before byte %llu", entry->name,
                       (unsigned long long)offset + n);
    if (n > 0)
        memcpy(bytes, entry->bytes + offset, n);
    return RC_OK;
}

const uint8_t *memory_medium_object_map(struct medium_object *object) {
    static const uint8_t nothing[1];
    const struct memory_entry *entry = object_entry(object);
    return entry->n == 0 ? nothing : entry->bytes;
}

void memory_medium_object_close(struct medium_object *base) {
    memory_medium_close_handle(base->medium, ((struct memory_object *)base)->entry);
    free(base);
}

/* ---- catalog ---- */

static enum rc get(struct memory_medium *medium, const char *key, struct buf *value,
                   uint64_t *version, struct err *err) {
    struct memory_entry *entry;
    TRY(memory_medium_require(medium, MEDIUM_CATALOG, key, &entry, err));
    TRY(memory_medium_read_fault(medium, key, err));
    if (hash_checksum(entry->bytes, entry->n) != entry->checksum)
        return err_set(err, RC_CORRUPT, "catalog value %s fails its checksum", key);
    buf_add(value, entry->bytes, entry->n);
    if (value->failed)
        return memory_medium_out_of_memory(err);
    *version = entry->version;
    return RC_OK;
}

enum rc memory_medium_catalog_get(struct medium *base, const char *key, struct buf *value,
                                  uint64_t *version, struct err *err) {
    struct memory_medium *medium = medium_of(base);
    mutex_lock(&medium->lock);
    enum rc rc = get(medium, key, value, version, err);
    mutex_unlock(&medium->lock);
    return rc;
}

static enum rc check_version(struct memory_entry *entry, const char *key, uint64_t expected,
                             struct err *err) {
    uint64_t version = entry == NULL ? 0 : entry->version;
    if (entry != NULL && hash_checksum(entry->bytes, entry->n) != entry->checksum)
        return err_set(err, RC_CORRUPT, "catalog value %s fails its checksum", key);
    if (version == expected || (version == expected + 1 && entry->unconfirmed))
        return RC_OK;
    return err_set(err, RC_CONFLICT, "catalog value %s has version %llu, not %llu", key,
                   (unsigned long long)version, (unsigned long long)expected);
}

/* The new value is a new entry in the place of the old one. */
static enum rc replace(struct memory_medium *medium, const char *key, const void *bytes, size_t n,
                       uint64_t version, bool unconfirmed, struct err *err) {
    struct memory_table *table = &medium->tables[MEDIUM_CATALOG];
    struct memory_entry *entry = memory_medium_entry_new(key);
    if (entry == NULL)
        return memory_medium_out_of_memory(err);
    entry->version = version;
    entry->unconfirmed = unconfirmed;
    enum rc rc = memory_medium_entry_grow(medium, entry, n > 0 ? n : 1, err);
    if (rc == RC_OK)
        rc = memory_medium_entry_add(medium, entry, bytes, n, err);
    if (rc == RC_OK) {
        entry->checksum = hash_checksum(entry->bytes, n);
        bool found;
        size_t at = memory_medium_position(table, key, &found);
        if (found) {
            memory_medium_entry_unref(medium, table->p[at]);
            table->p[at] = entry;
            return RC_OK;
        }
        rc = memory_medium_insert(table, entry, err);
    }
    memory_medium_entry_unref(medium, entry);
    return rc;
}

static enum rc put(struct memory_medium *medium, const char *key, const void *bytes, size_t n,
                   uint64_t expected, struct err *err) {
    struct memory_entry *old = memory_medium_find(medium, MEDIUM_CATALOG, key);
    TRY(check_version(old, key, expected, err));
    enum memory_outcome outcome = memory_medium_operation(medium);
    if (outcome == MEMORY_OUTCOME_DEAD)
        return memory_medium_crashed(err);
    if (memory_medium_room(medium, n) < n)
        return memory_medium_no_room(err);
    enum rc rc = outcome == MEMORY_OUTCOME_CRASH ? memory_medium_crashed(err)
                                                 : memory_medium_sync_fault(medium, err);
    if (rc != RC_OK && memory_medium_chance(medium, 50))
        return rc;
    TRY(replace(medium, key, bytes, n, expected + 1, rc != RC_OK, rc != RC_OK ? NULL : err));
    return rc;
}

enum rc memory_medium_catalog_put(struct medium *base, const char *key, const void *bytes, size_t n,
                                  uint64_t expected, struct err *err) {
    struct memory_medium *medium = medium_of(base);
    mutex_lock(&medium->lock);
    enum rc rc = put(medium, key, bytes, n, expected, err);
    mutex_unlock(&medium->lock);
    return rc;
}
