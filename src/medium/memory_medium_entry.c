/*
 * Entries, sorted tables of them, and the failures both kinds of operations share.
 */
#include "base/check.h"
#include "medium/memory_medium_internal.h"

#include <stdlib.h>
#include <string.h>

enum rc memory_medium_crashed(struct err *err) {
    return err_set(err, RC_IO, "the memory medium has crashed (injected fault)");
}

enum rc memory_medium_out_of_memory(struct err *err) {
    return err_set(err, RC_NOMEM, "the memory medium is out of memory");
}

struct memory_entry *memory_medium_entry_new(const char *name) {
    struct memory_entry *entry = calloc(1, sizeof(*entry));
    if (entry == NULL)
        return NULL;
    entry->refs = 1;
    memcpy(entry->name, name, strlen(name) + 1);
    return entry;
}

void memory_medium_entry_unref(struct memory_medium *medium, struct memory_entry *entry) {
    if (--entry->refs > 0)
        return;
    if (medium->budget != NULL)
        budget_release(medium->budget, entry->capacity);
    medium->used -= entry->n;
    free(entry->bytes);
    free(entry);
}

enum rc memory_medium_entry_grow(struct memory_medium *medium, struct memory_entry *entry,
                                 size_t need, struct err *err) {
    if (need <= entry->capacity)
        return RC_OK;
    size_t capacity = entry->capacity < 256 ? 256 : entry->capacity;
    while (capacity < need)
        capacity += capacity / 2;
    size_t more = capacity - entry->capacity;
    if (medium->budget != NULL && !budget_charge(medium->budget, more))
        return err_set(err, RC_NO_SPACE, "the memory for stored data is used up");
    uint8_t *bytes = realloc(entry->bytes, capacity);
    if (bytes == NULL) {
        if (medium->budget != NULL)
            budget_release(medium->budget, more);
        return memory_medium_out_of_memory(err);
    }
    entry->bytes = bytes;
    entry->capacity = capacity;
    return RC_OK;
}

enum rc memory_medium_entry_add(struct memory_medium *medium, struct memory_entry *entry,
                                const void *bytes, size_t n, struct err *err) {
    if (n == 0)
        return RC_OK;
    TRY(memory_medium_entry_grow(medium, entry, entry->n + n, err));
    memcpy(entry->bytes + entry->n, bytes, n);
    entry->n += n;
    medium->used += n;
    return RC_OK;
}

size_t memory_medium_position(const struct memory_table *table, const char *name, bool *found) {
    size_t low = 0, high = table->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(table->p[middle]->name, name);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = false;
    return low;
}

enum rc memory_medium_insert(struct memory_table *table, struct memory_entry *entry,
                             struct err *err) {
    if (table->n == table->capacity) {
        size_t capacity = table->capacity == 0 ? 16 : 2 * table->capacity;
        struct memory_entry **p = realloc(table->p, capacity * sizeof(struct memory_entry *));
        if (p == NULL)
            return memory_medium_out_of_memory(err);
        table->p = p;
        table->capacity = capacity;
    }
    bool found;
    size_t at = memory_medium_position(table, entry->name, &found);
    CHECK(!found);
    memmove(table->p + at + 1, table->p + at, (table->n - at) * sizeof(*table->p));
    table->p[at] = entry;
    table->n++;
    entry->refs++;
    return RC_OK;
}

struct memory_entry *memory_medium_find(struct memory_medium *medium, enum medium_kind kind,
                                        const char *name) {
    bool found;
    size_t at = memory_medium_position(&medium->tables[kind], name, &found);
    return found ? medium->tables[kind].p[at] : NULL;
}

enum rc memory_medium_require(struct memory_medium *medium, enum medium_kind kind, const char *name,
                              struct memory_entry **out, struct err *err) {
    *out = memory_medium_find(medium, kind, name);
    if (*out == NULL)
        return err_set(err, RC_NOT_FOUND, "there is no %s %s", medium_kind_text(kind), name);
    return RC_OK;
}

enum rc memory_medium_read_fault(struct memory_medium *medium, const char *name, struct err *err) {
    const char *unreadable = medium->faults.unreadable;
    if (memory_medium_chance(medium, medium->faults.read_fails_percent) ||
        (unreadable != NULL && strcmp(unreadable, name) == 0))
        return err_set(err, RC_IO, "the memory medium cannot read (injected fault)");
    return RC_OK;
}

enum rc memory_medium_sync_fault(struct memory_medium *medium, struct err *err) {
    if (memory_medium_chance(medium, medium->faults.sync_fails_percent))
        return err_set(err, RC_IO, "the memory medium cannot sync (injected fault)");
    return RC_OK;
}

size_t memory_medium_room(const struct memory_medium *medium, size_t n) {
    if (medium->faults.space_bytes == 0)
        return n;
    if (medium->used >= medium->faults.space_bytes)
        return 0;
    uint64_t left = medium->faults.space_bytes - medium->used;
    return left < n ? (size_t)left : n;
}

enum rc memory_medium_no_room(struct err *err) {
    return err_set(err, RC_NO_SPACE, "the memory medium is full (injected fault)");
}

void memory_medium_close_handle(struct medium *base, struct memory_entry *entry) {
    struct memory_medium *medium = (struct memory_medium *)base;
    mutex_lock(&medium->lock);
    memory_medium_entry_unref(medium, entry);
    medium->handles--;
    mutex_unlock(&medium->lock);
}
