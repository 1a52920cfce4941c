/*
 * The log's thread: swaps the buffers, writes and syncs, tells who waits.
 *
 * `flushing` keeps its bytes until they are synced. After any failure the medium log in use is left
 * as it is and the next attempt writes all of `flushing` into a new one that starts at `durable`.
 */
#include "base/check.h"
#include "os/clock.h"
#include "store/log_internal.h"

#include <stdlib.h>

enum { BUFFER_LEAST = 64 << 10, BUFFER_KEPT = 4 << 20 };

/* ---- buffers ---- */

static bool resize(struct log_buffer *buffer, size_t capacity, struct budget *budget) {
    bool more = capacity > buffer->capacity;
    size_t difference = more ? capacity - buffer->capacity : buffer->capacity - capacity;
    if (more && budget != NULL && !budget_charge(budget, difference))
        return false;
    uint8_t *p = realloc(buffer->p, capacity);
    bool done = p != NULL;
    if (done) {
        buffer->p = p;
        buffer->capacity = capacity;
    }
    if (budget != NULL && done != more)
        budget_release(budget, difference);
    return done;
}

bool log_buffer_reserve(struct log_buffer *buffer, size_t n, struct budget *budget) {
    if (n <= buffer->capacity - buffer->n)
        return true;
    size_t capacity = buffer->capacity < BUFFER_LEAST ? BUFFER_LEAST : buffer->capacity;
    while (capacity - buffer->n < n)
        capacity *= 2;
    return resize(buffer, capacity, budget);
}

void log_buffer_fini(struct log_buffer *buffer, struct budget *budget) {
    if (budget != NULL)
        budget_release(budget, buffer->capacity);
    free(buffer->p);
    *buffer = (struct log_buffer){0};
}

/* Empties the buffer; gives memory back step by step after a burst. */
static void recycle(struct log_buffer *buffer, struct budget *budget) {
    bool roomy = buffer->capacity > BUFFER_KEPT && buffer->n < buffer->capacity / 4;
    buffer->n = 0;
    if (roomy)
        (void)!resize(buffer, buffer->capacity / 2, budget);
}

/* ---- files ---- */

static bool same_file(const struct log_file *a, const struct log_file *b) {
    return a->start == b->start && a->sequence == b->sequence;
}

static enum rc list_file(struct log *log, const struct log_file *file) {
    mutex_lock(&log->lock);
    enum rc rc = log_files_push(&log->files, *file) ? RC_OK : RC_NOMEM;
    mutex_unlock(&log->lock);
    return rc;
}

static void unlist_file(struct log *log, const struct log_file *file) {
    mutex_lock(&log->lock);
    CHECK(log->files.n > 0 && same_file(&log->files.p[log->files.n - 1], file));
    log->files.n--;
    mutex_unlock(&log->lock);
}

/* A file that never held anything durable is of no use: all its bytes are in memory. Kept until the
   next attempt, because until then it is the best copy if the process dies. */
static void remove_abandoned(struct log *log) {
    if (!log->has_abandoned)
        return;
    char name[LOG_NAME_SIZE];
    log_record_file_name(&log->abandoned, name);
    enum rc rc = medium_remove(log->medium, MEDIUM_LOGS, name, NULL);
    if (rc == RC_OK || rc == RC_NOT_FOUND)
        unlist_file(log, &log->abandoned);
    log->has_abandoned = false;
}

static void leave_file(struct log *log) {
    medium_log_close(log->file);
    log->file = NULL;
}

static void abandon_file(struct log *log) {
    if (log->file == NULL)
        return;
    leave_file(log);
    log->has_abandoned = log->file_name.start == log->durable;
    log->abandoned = log->file_name;
}

static enum rc begin_file(struct log *log, struct err *err) {
    char name[LOG_NAME_SIZE];
    uint8_t header[LOG_FILE_HEADER];
    struct log_file file = {.start = log->durable, .sequence = ++log->sequence};
    log_record_file_name(&file, name);
    TRY(medium_log_create(log->medium, name, log->epoch, &log->file, err));
    log->file_name = file;
    log->file_bytes = 0;
    enum rc rc = list_file(log, &file);
    if (rc != RC_OK) {
        leave_file(log);
        (void)!medium_remove(log->medium, MEDIUM_LOGS, name, NULL);
        return err_set(err, rc, "cannot begin a log: out of memory");
    }
    uint64_t proven = file.start == log->gap_to ? log->gap_from : file.start;
    log_record_file_header(header, file.start, log->epoch, proven);
    TRY(medium_log_append(log->file, header, sizeof(header), err));
    log->file_bytes = sizeof(header);
    return RC_OK;
}

/* What replay has shown may only be in the kernel's memory. Later records build on it (points on
   the series defined before), so it must be durable before they are. */
static enum rc settle_replayed(struct log *log, struct err *err) {
    if (log->settled)
        return RC_OK;
    for (size_t i = 0;; i++) {
        char name[LOG_NAME_SIZE] = "";
        mutex_lock(&log->lock);
        if (i < log->files.n)
            log_record_file_name(&log->files.p[i], name);
        mutex_unlock(&log->lock);
        if (name[0] == '\0')
            break;
        TRY(medium_log_settle(log->medium, name, err));
    }
    log->settled = true;
    return RC_OK;
}

/* Writes and syncs `flushing`. */
static enum rc attempt(struct log *log, struct err *err) {
    remove_abandoned(log);
    TRY(settle_replayed(log, err));
    if (log->file != NULL && log->file_bytes >= log->options.file_bytes_max)
        leave_file(log);
    enum rc rc = log->file == NULL ? begin_file(log, err) : RC_OK;
    if (rc == RC_OK && log->flushing.n > 0)
        rc = medium_log_append(log->file, log->flushing.p, log->flushing.n, err);
    if (rc == RC_OK)
        rc = medium_log_sync(log->file, err);
    if (rc == RC_OK)
        log->file_bytes += log->flushing.n;
    else
        abandon_file(log);
    return rc;
}

/* ---- the thread ---- */

static bool something_pending(const struct log *log) {
    return log->active.n > 0 || log->flushing.n > 0 || log->failing;
}

/* When to commit next: INT64_MAX if nothing is pending, 0 for at once. */
static int64_t due_ns(const struct log *log, int64_t retry_at_ns) {
    if (!something_pending(log))
        return INT64_MAX;
    if (log->stopping)
        return 0;
    if (log->failing)
        return retry_at_ns;
    if (log->wanted > log->durable || log->active.n > log->options.buffer_bytes_max / 4)
        return 0;
    return log->pending_since_ns + (int64_t)log->options.commit_interval_ms * 1000000;
}

/* False when it is time to end. */
static bool wait_for_work(struct log *log, int64_t retry_at_ns) {
    for (;;) {
        int64_t due = due_ns(log, retry_at_ns);
        if (due == INT64_MAX && log->stopping)
            return false;
        if (due == 0)
            return true;
        if (due == INT64_MAX) {
            condition_wait(&log->work, &log->lock);
            continue;
        }
        if (clock_monotonic_ns() >= due)
            return true;
        (void)!condition_wait_until(&log->work, &log->lock, due);
    }
}

static void swap_buffers(struct log *log) {
    if (log->flushing.n > 0)
        return;
    struct log_buffer empty = log->flushing;
    log->flushing = log->active;
    log->active = empty;
    log->flushing_bytes = log->flushing.n;
    if (log->flushing.n > 0)
        log_record_begins_commit(log->flushing.p, log->durable);
}

/* True if the log began or ceased to fail. */
static bool settle(struct log *log, enum rc rc, const struct err *err, int64_t took_ns) {
    bool turned = log->failing != (rc != RC_OK);
    log->failing = rc != RC_OK;
    if (rc == RC_OK) {
        log->durable += log->flushing_bytes;
        log->flushing_bytes = 0;
        log->commits++;
        log->commit_ns_total += (uint64_t)took_ns;
    } else {
        log->failures++;
        log->failure = *err;
    }
    condition_broadcast(&log->done);
    return turned;
}

/* Once for a failure, however long it lasts: who writes by telnet hears of it nowhere else. */
static void tell(const struct log *log, enum rc rc, const struct err *err) {
    if (log->options.tell != NULL)
        log->options.tell(log->options.tell_context, rc == RC_OK ? NULL : err);
}

void *log_commit_run(void *context) {
    struct log *log = context;
    int64_t retry_ns = (int64_t)log->options.retry_interval_ms * 1000000;
    int64_t retry_at_ns = clock_monotonic_ns() + retry_ns;
    mutex_lock(&log->lock);
    while (wait_for_work(log, retry_at_ns)) {
        swap_buffers(log);
        mutex_unlock(&log->lock);
        struct err err = {0};
        int64_t begin = clock_monotonic_ns();
        enum rc rc = attempt(log, &err);
        int64_t end = clock_monotonic_ns();
        mutex_lock(&log->lock);
        bool turned = settle(log, rc, &err, end - begin);
        retry_at_ns = end + retry_ns;
        if (rc == RC_OK)
            recycle(&log->flushing, log->options.budget);
        else if (log->stopping)
            break;
        if (turned) {
            mutex_unlock(&log->lock);
            tell(log, rc, &err);
            mutex_lock(&log->lock);
        }
    }
    mutex_unlock(&log->lock);
    return NULL;
}

enum rc log_commit_start(struct log *log, struct err *err) {
    struct err failure = {0};
    enum rc rc = attempt(log, &failure);
    if (rc == RC_NO_SPACE || rc == RC_IO) {
        mutex_lock(&log->lock);
        (void)settle(log, rc, &failure, 0);
        mutex_unlock(&log->lock);
        tell(log, rc, &failure);
        return RC_OK;
    }
    if (rc != RC_OK && err != NULL)
        *err = failure;
    return rc;
}
