/*
 * The directory: lock, logs, listing, removal. Objects and catalog values are in
 * file_medium_publish.c.
 */
#include "medium/file_medium.h"

#include "base/check.h"
#include "base/vec.h"
#include "medium/file_medium_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const folder_name[] = {
    [MEDIUM_LOGS] = "logs", [MEDIUM_OBJECTS] = "objects", [MEDIUM_CATALOG] = "catalog"};

struct file_log {
    struct medium_log base;
    struct file file;
    uint64_t size;
    uint64_t epoch;
};

static struct file_medium *medium_of(struct medium *medium) {
    return (struct file_medium *)medium;
}

static struct file_log *log_of(struct medium_log *log) {
    return (struct file_log *)log;
}

void file_medium_path(const struct file_medium *medium, enum medium_kind kind, const char *name,
                      char path[FILE_PATH_MAX]) {
    int n = snprintf(path, FILE_PATH_MAX, "%s/%s/%s", medium->directory, folder_name[kind], name);
    CHECK(n > 0 && n < FILE_PATH_MAX);
}

void file_medium_temporary_path(const struct file_medium *medium, enum medium_kind kind,
                                const char *name, char path[FILE_PATH_MAX]) {
    int n =
        snprintf(path, FILE_PATH_MAX, "%s/%s/.%s.tmp", medium->directory, folder_name[kind], name);
    CHECK(n > 0 && n < FILE_PATH_MAX);
}

enum rc file_medium_sync_folder(const struct file_medium *medium, enum medium_kind kind,
                                struct err *err) {
    char path[FILE_PATH_MAX];
    int n = snprintf(path, sizeof(path), "%s/%s", medium->directory, folder_name[kind]);
    CHECK(n > 0 && n < FILE_PATH_MAX);
    return file_sync_directory(path, err);
}

/* ---- logs ---- */

/* The epoch lives in this process only: no other can have the directory open. */
static enum rc check_epoch(const struct file_log *log, struct err *err) {
    const struct file_medium *medium = medium_of(log->base.medium);
    uint64_t newest = atomic_load_explicit(&medium->epoch, memory_order_acquire);
    return log->epoch < newest ? medium_fenced(log->epoch, newest, err) : RC_OK;
}

static enum rc raise_epoch(struct file_medium *medium, uint64_t epoch, struct err *err) {
    uint64_t newest = atomic_load_explicit(&medium->epoch, memory_order_acquire);
    while (newest < epoch)
        if (atomic_compare_exchange_weak(&medium->epoch, &newest, epoch))
            return RC_OK;
    return newest > epoch ? medium_fenced(epoch, newest, err) : RC_OK;
}

static enum rc log_create(struct medium *base, const char *name, uint64_t epoch,
                          struct medium_log **out, struct err *err) {
    struct file_medium *medium = medium_of(base);
    TRY(raise_epoch(medium, epoch, err));
    struct file_log *log = calloc(1, sizeof(*log));
    if (log == NULL)
        return err_set(err, RC_NOMEM, "cannot create log %s: out of memory", name);
    *log = (struct file_log){.base.medium = base, .epoch = epoch};
    char path[FILE_PATH_MAX];
    file_medium_path(medium, MEDIUM_LOGS, name, path);
    enum rc rc = file_open(path, FILE_CREATE_NEW, &log->file, err);
    if (rc != RC_OK)
        goto failed_open;
    rc = file_medium_sync_folder(medium, MEDIUM_LOGS, err);
    if (rc != RC_OK)
        goto failed_sync;
    *out = &log->base;
    return RC_OK;

failed_sync:
    (void)!file_remove(path, NULL);
    file_close(&log->file);
failed_open:
    free(log);
    return rc;
}

static enum rc log_append(struct medium_log *base, const void *bytes, size_t n, struct err *err) {
    struct file_log *log = log_of(base);
    TRY(check_epoch(log, err));
    TRY(file_write_at(&log->file, log->size, bytes, n, err));
    log->size += n;
    return RC_OK;
}

static enum rc log_sync(struct medium_log *base, struct err *err) {
    struct file_log *log = log_of(base);
    TRY(check_epoch(log, err));
    return file_sync(&log->file, err);
}

static enum rc log_truncate(struct medium_log *base, uint64_t size, struct err *err) {
    struct file_log *log = log_of(base);
    TRY(check_epoch(log, err));
    if (size > log->size)
        return err_set(err, RC_INVALID, "%s is shorter than %llu bytes", log->file.path,
                       (unsigned long long)size);
    TRY(file_truncate(&log->file, size, err));
    log->size = size;
    return RC_OK;
}

static void log_close(struct medium_log *base) {
    struct file_log *log = log_of(base);
    file_close(&log->file);
    free(log);
}

static enum rc log_read(struct medium *base, const char *name, uint64_t offset, void *bytes,
                        size_t n, size_t *got, struct err *err) {
    char path[FILE_PATH_MAX];
    file_medium_path(medium_of(base), MEDIUM_LOGS, name, path);
    struct file file;
    TRY(file_open(path, FILE_READ, &file, err));
    enum rc rc = file_read_at(&file, offset, bytes, n, got, err);
    file_close(&file);
    return rc;
}

static enum rc log_settle(struct medium *base, const char *name, struct err *err) {
    char path[FILE_PATH_MAX];
    file_medium_path(medium_of(base), MEDIUM_LOGS, name, path);
    struct file file;
    TRY(file_open(path, FILE_READ, &file, err));
    enum rc rc = file_sync(&file, err);
    file_close(&file);
    return rc;
}

/* ---- all kinds ---- */

struct name {
    char text[MEDIUM_NAME_MAX + 1];
    uint64_t size;
};

VEC_DECLARE(name_vec, struct name)

struct listing {
    struct name_vec names;
    enum medium_kind kind;
};

static enum rc collect(void *context, const char *text, uint64_t size) {
    struct listing *listing = context;
    if (!medium_name_ok(text))
        return RC_OK;
    bool framed = listing->kind == MEDIUM_CATALOG && size >= FILE_MEDIUM_VALUE_HEADER;
    struct name name = {.size = framed ? size - FILE_MEDIUM_VALUE_HEADER : size};
    memcpy(name.text, text, strlen(text) + 1);
    return name_vec_push(&listing->names, name) ? RC_OK : RC_NOMEM;
}

static int by_text(const void *a, const void *b) {
    return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

static enum rc read_names(const struct file_medium *medium, enum medium_kind kind,
                          struct name_vec *names, struct err *err) {
    char path[FILE_PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", medium->directory, folder_name[kind]);
    struct listing listing = {.kind = kind};
    enum rc rc = file_list(path, collect, &listing, err);
    *names = listing.names;
    if (rc == RC_NOMEM)
        err_set(err, rc, "cannot list %s: out of memory", path);
    if (rc == RC_OK && names->n > 1)
        qsort(names->p, names->n, sizeof(*names->p), by_text);
    return rc;
}

static enum rc list(struct medium *base, enum medium_kind kind,
                    enum rc (*each)(void *context, const char *name, uint64_t size), void *context,
                    struct err *err) {
    struct name_vec names;
    enum rc rc = read_names(medium_of(base), kind, &names, err);
    for (size_t i = 0; rc == RC_OK && i < names.n; i++)
        rc = each(context, names.p[i].text, names.p[i].size);
    name_vec_fini(&names);
    return rc;
}

static enum rc remove_named(struct medium *base, enum medium_kind kind, const char *name,
                            struct err *err) {
    struct file_medium *medium = medium_of(base);
    char path[FILE_PATH_MAX];
    file_medium_path(medium, kind, name, path);
    mutex_lock(&medium->publish);
    enum rc rc = file_remove(path, err);
    if (rc == RC_OK)
        rc = file_medium_sync_folder(medium, kind, err);
    mutex_unlock(&medium->publish);
    return rc;
}

static enum rc space(struct medium *base, uint64_t *free_bytes, uint64_t *used_bytes,
                     struct err *err) {
    struct file_medium *medium = medium_of(base);
    TRY(file_space(medium->directory, free_bytes, err));
    *used_bytes = 0;
    for (enum medium_kind kind = MEDIUM_LOGS; kind <= MEDIUM_CATALOG; kind++) {
        struct name_vec names;
        enum rc rc = read_names(medium, kind, &names, err);
        for (size_t i = 0; rc == RC_OK && i < names.n; i++)
            *used_bytes += names.p[i].size;
        name_vec_fini(&names);
        TRY(rc);
    }
    return RC_OK;
}

/* ---- opening ---- */

static void close_medium(struct medium *base) {
    struct file_medium *medium = medium_of(base);
    file_close(&medium->lock);
    mutex_fini(&medium->publish);
    free(medium->directory);
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
    .object_create = file_medium_object_create,
    .object_write = file_medium_object_write,
    .object_commit = file_medium_object_commit,
    .object_abort = file_medium_object_abort,
    .object_open = file_medium_object_open,
    .object_size = file_medium_object_size,
    .object_read = file_medium_object_read,
    .object_map = file_medium_object_map,
    .object_map_check = file_medium_object_map_check,
    .object_close = file_medium_object_close,
    .catalog_get = file_medium_catalog_get,
    .catalog_put = file_medium_catalog_put,
    .list = list,
    .remove = remove_named,
    .space = space,
};

static enum rc take_lock(struct file_medium *medium, struct err *err) {
    char path[FILE_PATH_MAX];
    snprintf(path, sizeof(path), "%s/lock", medium->directory);
    TRY(file_open(path, FILE_OPEN, &medium->lock, err));
    enum rc rc = file_lock(&medium->lock, err);
    if (rc == RC_CONFLICT)
        err_set(err, rc,
                "data directory %s is in use by another process; stop it, or choose another "
                "directory",
                medium->directory);
    return rc;
}

struct sweep {
    const char *folder;
    struct err *err;
};

static enum rc remove_temporary(void *context, const char *name, uint64_t size) {
    const struct sweep *sweep = context;
    size_t n = strlen(name);
    if (name[0] != '.' || n < 5 || strcmp(name + n - 4, ".tmp") != 0)
        return RC_OK;
    char path[FILE_PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s/%s", sweep->folder, name);
    if (length < 0 || (size_t)length >= sizeof(path))
        return RC_OK;
    return file_remove(path, sweep->err);
}

static enum rc prepare_folders(const struct file_medium *medium, struct err *err) {
    for (enum medium_kind kind = MEDIUM_LOGS; kind <= MEDIUM_CATALOG; kind++) {
        char path[FILE_PATH_MAX];
        snprintf(path, sizeof(path), "%s/%s", medium->directory, folder_name[kind]);
        TRY(file_make_directory(path, err));
        struct sweep sweep = {path, err};
        TRY(file_list(path, remove_temporary, &sweep, err));
        /* A name that the last process gave just before it was killed may not be durable yet. */
        TRY(file_sync_directory(path, err));
    }
    return RC_OK;
}

static enum rc start(struct file_medium *medium, struct err *err) {
    TRY(file_make_directory(medium->directory, err));
    TRY(take_lock(medium, err));
    return prepare_folders(medium, err);
}

enum rc file_medium_open(const char *directory, struct medium **out, struct err *err) {
    enum { LONGEST_BELOW = 32 + MEDIUM_NAME_MAX };
    if (strlen(directory) + LONGEST_BELOW >= FILE_PATH_MAX)
        return err_set(err, RC_INVALID, "the path of the data directory is too long");
    struct file_medium *medium = calloc(1, sizeof(*medium));
    char *copy = strdup(directory);
    if (medium == NULL || copy == NULL) {
        free(medium);
        free(copy);
        return err_set(err, RC_NOMEM, "cannot open %s: out of memory", directory);
    }
    medium->base.ops = &ops;
    medium->base.durable = true;
    medium->directory = copy;
    medium->lock.fd = -1;
    mutex_init(&medium->publish);
    enum rc rc = start(medium, err);
    if (rc != RC_OK) {
        if (rc != RC_CONFLICT)
            err_context(err, "data directory %s", directory);
        close_medium(&medium->base);
        return rc;
    }
    *out = &medium->base;
    return RC_OK;
}
