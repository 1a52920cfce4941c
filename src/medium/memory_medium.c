/*
 * Everything under one lock: logs, listing, removal. See memory_medium_internal.h for the rest.
 */
#include "medium/memory_medium.h"

#include "base/check.h"
#include "medium/memory_medium_internal.h"
#include "os/clock.h"

#include <stdlib.h>
#include <string.h>

struct memory_log {
    struct medium_log base;
    struct memory_entry *entry;
    uint64_t epoch;
};

static struct memory_medium *medium_of(struct medium *medium) {
    return (struct memory_medium *)medium;
}

/* ---- logs ---- */

static enum rc check_epoch(const struct memory_medium *medium, uint64_t epoch, struct err *err) {
    return epoch < medium->epoch ? medium_fenced(epoch, medium->epoch, err) : RC_OK;
}

static enum rc add_entry(struct memory_medium *medium, enum medium_kind kind, const char *name,
                         struct memory_entry **out, struct err *err) {
    if (memory_medium_find(medium, kind, name) != NULL)
        return err_set(err, RC_CONFLICT, "%s %s exists already", medium_kind_text(kind), name);
    struct memory_entry *entry = memory_medium_entry_new(name);
    if (entry == NULL)
        return memory_medium_out_of_memory(err);
    enum rc rc = memory_medium_insert(&medium->tables[kind], entry, err);
    memory_medium_entry_unref(medium, entry);
    *out = entry;
    return rc;
}

static enum rc create_log(struct memory_medium *medium, const char *name, uint64_t epoch,
                          struct memory_log *log, struct err *err) {
    TRY(check_epoch(medium, epoch, err));
    enum memory_outcome outcome = memory_medium_operation(medium);
    if (outcome == MEMORY_OUTCOME_DEAD)
        return memory_medium_crashed(err);
    bool done = outcome == MEMORY_OUTCOME_DONE;
    if (!done && memory_medium_chance(medium, 50))
        return memory_medium_crashed(err);
    if (done)
        TRY(memory_medium_sync_fault(medium, err));
    TRY(add_entry(medium, MEDIUM_LOGS, name, &log->entry, err));
    if (!done)
        return memory_medium_crashed(err);
    medium->epoch = epoch;
    medium->handles++;
    log->entry->refs++;
    return RC_OK;
}

static enum rc log_create(struct medium *base, const char *name, uint64_t epoch,
                          struct medium_log **out, struct err *err) {
    struct memory_medium *medium = medium_of(base);
    struct memory_log *log = calloc(1, sizeof(*log));
    if (log == NULL)
        return memory_medium_out_of_memory(err);
    *log = (struct memory_log){.base.medium = base, .epoch = epoch};
    mutex_lock(&medium->lock);
    enum rc rc = create_log(medium, name, epoch, log, err);
    mutex_unlock(&medium->lock);
    if (rc != RC_OK)
        free(log);
    else
        *out = &log->base;
    return rc;
}

/* The prefix that a failing append leaves behind. */
static enum rc append_part(struct memory_medium *medium, struct memory_log *log, const void *bytes,
                           size_t n) {
    return memory_medium_entry_add(medium, log->entry, bytes, memory_medium_room(medium, n), NULL);
}

static enum rc append(struct memory_medium *medium, struct memory_log *log, const void *bytes,
                      size_t n, struct err *err) {
    TRY(check_epoch(medium, log->epoch, err));
    switch (memory_medium_operation(medium)) {
    case MEMORY_OUTCOME_DEAD:
        return memory_medium_crashed(err);
    case MEMORY_OUTCOME_CRASH:
        (void)!append_part(medium, log, bytes, memory_medium_random(medium, n + 1));
        return memory_medium_crashed(err);
    case MEMORY_OUTCOME_DONE:
        break;
    }
    if (memory_medium_chance(medium, medium->faults.write_short_percent)) {
        (void)!append_part(medium, log, bytes, memory_medium_random(medium, n));
        return err_set(err, RC_IO, "the memory medium wrote only a part (injected fault)");
    }
    if (memory_medium_room(medium, n) < n) {
        (void)!append_part(medium, log, bytes, n);
        return memory_medium_no_room(err);
    }
    return memory_medium_entry_add(medium, log->entry, bytes, n, err);
}

static enum rc log_append(struct medium_log *base, const void *bytes, size_t n, struct err *err) {
    struct memory_medium *medium = medium_of(base->medium);
    mutex_lock(&medium->lock);
    enum rc rc = append(medium, (struct memory_log *)base, bytes, n, err);
    mutex_unlock(&medium->lock);
    return rc;
}

static enum rc sync_log(struct memory_medium *medium, struct memory_log *log, struct err *err) {
    TRY(check_epoch(medium, log->epoch, err));
    struct memory_entry *entry = log->entry;
    if (memory_medium_operation(medium) != MEMORY_OUTCOME_DONE)
        return memory_medium_crashed(err);
    enum rc rc = memory_medium_sync_fault(medium, err);
    if (rc == RC_OK) {
        entry->durable = entry->n;
    } else if (entry->durable < entry->n) {
        if (entry->lost_from == entry->lost_to)
            entry->lost_from = entry->durable;
        entry->lost_to = entry->n;
    }
    return rc;
}

static enum rc log_sync(struct medium_log *base, struct err *err) {
    struct memory_medium *medium = medium_of(base->medium);
    mutex_lock(&medium->lock);
    int64_t takes_ns = (int64_t)medium->faults.sync_takes_ms * 1000000;
    if (takes_ns > 0) {
        mutex_unlock(&medium->lock);
        clock_sleep_ns(takes_ns);
        mutex_lock(&medium->lock);
    }
    enum rc rc = sync_log(medium, (struct memory_log *)base, err);
    mutex_unlock(&medium->lock);
    return rc;
}

static void cut(struct memory_medium *medium, struct memory_entry *entry, size_t size) {
    medium->used -= entry->n - size;
    entry->n = size;
    if (entry->durable > size)
        entry->durable = size;
    if (entry->lost_to > size)
        entry->lost_to = size;
    if (entry->lost_from > entry->lost_to)
        entry->lost_from = entry->lost_to;
}

static enum rc truncate_log(struct memory_medium *medium, struct memory_log *log, uint64_t size,
                            struct err *err) {
    TRY(check_epoch(medium, log->epoch, err));
    if (size > log->entry->n)
        return err_set(err, RC_INVALID, "log %s is shorter than %llu bytes", log->entry->name,
                       (unsigned long long)size);
    enum memory_outcome outcome = memory_medium_operation(medium);
    if (outcome == MEMORY_OUTCOME_DONE ||
        (outcome == MEMORY_OUTCOME_CRASH && memory_medium_chance(medium, 50)))
        cut(medium, log->entry, (size_t)size);
    return outcome == MEMORY_OUTCOME_DONE ? RC_OK : memory_medium_crashed(err);
}

static enum rc log_truncate(struct medium_log *base, uint64_t size, struct err *err) {
    struct memory_medium *medium = medium_of(base->medium);
    mutex_lock(&medium->lock);
    enum rc rc = truncate_log(medium, (struct memory_log *)base, size, err);
    mutex_unlock(&medium->lock);
    return rc;
}

static void log_close(struct medium_log *base) {
    struct memory_log *log = (struct memory_log *)base;
    memory_medium_close_handle(base->medium, log->entry);
    free(log);
}

static enum rc read_log(struct memory_medium *medium, const char *name, uint64_t offset,
                        void *bytes, size_t n, size_t *got, struct err *err) {
    struct memory_entry *entry;
    TRY(memory_medium_require(medium, MEDIUM_LOGS, name, &entry, err));
    TRY(memory_medium_read_fault(medium, name, err));
    if (offset >= entry->n)
        return RC_OK;
    size_t left = entry->n - (size_t)offset;
    *got = left < n ? left : n;
    memcpy(bytes, entry->bytes + offset, *got);
    return RC_OK;
}

static enum rc log_read(struct medium *base, const char *name, uint64_t offset, void *bytes,
                        size_t n, size_t *got, struct err *err) {
    struct memory_medium *medium = medium_of(base);
    mutex_lock(&medium->lock);
    enum rc rc = read_log(medium, name, offset, bytes, n, got, err);
    mutex_unlock(&medium->lock);
    return rc;
}

static enum rc settle(struct memory_medium *medium, const char *name, struct err *err) {
    struct memory_entry *entry;
    TRY(memory_medium_require(medium, MEDIUM_LOGS, name, &entry, err));
    if (memory_medium_operation(medium) != MEMORY_OUTCOME_DONE)
        return memory_medium_crashed(err);
    TRY(memory_medium_sync_fault(medium, err));
    entry->durable = entry->n;
    return RC_OK;
}

static enum rc log_settle(struct medium *base, const char *name, struct err *err) {
    struct memory_medium *medium = medium_of(base);
    mutex_lock(&medium->lock);
    enum rc rc = settle(medium, name, err);
    mutex_unlock(&medium->lock);
    return rc;
}

/* ---- all kinds ---- */

struct listed {
    size_t n;
    struct memory_entry **p;
};

/* A copy of the table, so that `each` may use the medium. */
static enum rc snapshot(struct memory_medium *medium, enum medium_kind kind, struct listed *listed,
                        struct err *err) {
    const struct memory_table *table = &medium->tables[kind];
    *listed = (struct listed){.n = table->n};
    if (table->n == 0)
        return RC_OK;
    listed->p = malloc(table->n * sizeof(struct memory_entry *));
    if (listed->p == NULL)
        return memory_medium_out_of_memory(err);
    for (size_t i = 0; i < table->n; i++) {
        listed->p[i] = table->p[i];
        listed->p[i]->refs++;
    }
    return RC_OK;
}

static enum rc list(struct medium *base, enum medium_kind kind,
                    enum rc (*each)(void *context, const char *name, uint64_t size), void *context,
                    struct err *err) {
    struct memory_medium *medium = medium_of(base);
    struct listed listed;
    mutex_lock(&medium->lock);
    enum rc rc = snapshot(medium, kind, &listed, err);
    mutex_unlock(&medium->lock);
    TRY(rc);
    for (size_t i = 0; i < listed.n && rc == RC_OK; i++) {
        mutex_lock(&medium->lock);
        uint64_t size = listed.p[i]->n;
        mutex_unlock(&medium->lock);
        rc = each(context, listed.p[i]->name, size);
    }
    mutex_lock(&medium->lock);
    for (size_t i = 0; i < listed.n; i++)
        memory_medium_entry_unref(medium, listed.p[i]);
    mutex_unlock(&medium->lock);
    free(listed.p);
    return rc;
}

static void table_remove(struct memory_medium *medium, struct memory_table *table, size_t at) {
    struct memory_entry *entry = table->p[at];
    memmove(table->p + at, table->p + at + 1, (table->n - at - 1) * sizeof(*table->p));
    table->n--;
    memory_medium_entry_unref(medium, entry);
}

static enum rc remove_entry(struct memory_medium *medium, enum medium_kind kind, const char *name,
                            struct err *err) {
    struct memory_entry *entry;
    TRY(memory_medium_require(medium, kind, name, &entry, err));
    enum memory_outcome outcome = memory_medium_operation(medium);
    if (outcome == MEMORY_OUTCOME_DONE ||
        (outcome == MEMORY_OUTCOME_CRASH && memory_medium_chance(medium, 50))) {
        bool found;
        struct memory_table *table = &medium->tables[kind];
        table_remove(medium, table, memory_medium_position(table, name, &found));
    }
    return outcome == MEMORY_OUTCOME_DONE ? RC_OK : memory_medium_crashed(err);
}

static enum rc remove_named(struct medium *base, enum medium_kind kind, const char *name,
                            struct err *err) {
    struct memory_medium *medium = medium_of(base);
    mutex_lock(&medium->lock);
    enum rc rc = remove_entry(medium, kind, name, err);
    mutex_unlock(&medium->lock);
    return rc;
}

static enum rc space(struct medium *base, uint64_t *free_bytes, uint64_t *used_bytes,
                     struct err *err) {
    struct memory_medium *medium = medium_of(base);
    mutex_lock(&medium->lock);
    *used_bytes = medium->used;
    *free_bytes = UINT64_MAX;
    if (medium->faults.space_bytes != 0)
        *free_bytes = memory_medium_room(medium, SIZE_MAX);
    mutex_unlock(&medium->lock);
    if (medium->budget != NULL) {
        size_t left = budget_left(medium->budget);
        if (left != SIZE_MAX && left < *free_bytes)
            *free_bytes = left;
    }
    return RC_OK;
}

static void close_medium(struct medium *base) {
    struct memory_medium *medium = medium_of(base);
    CHECK(medium->handles == 0);
    for (size_t kind = 0; kind < MEMORY_MEDIUM_KINDS; kind++) {
        struct memory_table *table = &medium->tables[kind];
        for (size_t i = 0; i < table->n; i++)
            memory_medium_entry_unref(medium, table->p[i]);
        free(table->p);
    }
    mutex_fini(&medium->lock);
    free(medium);
}

static const struct medium_ops ops = {
    .close = close_medium,
    .log_create = log_create,
    .log_append = log_append,
    .log_sync = log_sync,
    .log_truncate = log_truncate,
    .log_close = log_close,
    .log_read = log_read,
    .log_settle = log_settle,
    .object_create = memory_medium_object_create,
    .object_write = memory_medium_object_write,
    .object_commit = memory_medium_object_commit,
    .object_abort = memory_medium_object_abort,
    .object_open = memory_medium_object_open,
    .object_size = memory_medium_object_size,
    .object_read = memory_medium_object_read,
    .object_map = memory_medium_object_map,
    .object_close = memory_medium_object_close,
    .catalog_get = memory_medium_catalog_get,
    .catalog_put = memory_medium_catalog_put,
    .list = list,
    .remove = remove_named,
    .space = space,
};

enum rc memory_medium_open(struct budget *budget, struct medium **out, struct err *err) {
    struct memory_medium *medium = calloc(1, sizeof(*medium));
    if (medium == NULL)
        return memory_medium_out_of_memory(err);
    medium->base.ops = &ops;
    medium->budget = budget;
    mutex_init(&medium->lock);
    *out = &medium->base;
    return RC_OK;
}
