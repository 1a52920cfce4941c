#include "store/log.h"

#include "base/check.h"
#include "base/hash.h"
#include "os/clock.h"
#include "store/log_internal.h"

#include <stdlib.h>
#include <string.h>

static const int64_t PUSH_WAIT_NS = 1000000000;

/* ---- opening and closing ---- */

static struct log *log_new(struct medium *medium, uint64_t epoch,
                           const struct log_options *options) {
    struct log *log = calloc(1, sizeof(*log));
    if (log == NULL)
        return NULL;
    log->medium = medium;
    log->epoch = epoch;
    log->options = *options;
    if (options->commit_interval_ms == 0)
        log->options.commit_interval_ms = 50;
    if (options->retry_interval_ms == 0)
        log->options.retry_interval_ms = 1000;
    if (options->file_bytes_max == 0)
        log->options.file_bytes_max = 64 << 20;
    if (options->buffer_bytes_max == 0)
        log->options.buffer_bytes_max = 64 << 20;
    mutex_init(&log->lock);
    condition_init(&log->work);
    condition_init(&log->done);
    return log;
}

static void log_free(struct log *log) {
    medium_log_close(log->file);
    log_buffer_fini(&log->active, log->options.budget);
    log_buffer_fini(&log->flushing, log->options.budget);
    condition_fini(&log->done);
    condition_fini(&log->work);
    mutex_fini(&log->lock);
    log_files_fini(&log->files);
    free(log);
}

/* Files of earlier runs that got no record: a start that is repeated must not leave one each time.
   Called before the thread runs. What cannot be removed stays. */
static void remove_empty_files(struct log *log) {
    size_t kept = 0;
    for (size_t i = 0; i < log->files.n; i++) {
        const struct log_file *file = &log->files.p[i];
        char name[LOG_NAME_SIZE];
        log_record_file_name(file, name);
        bool current = log->file != NULL && file->sequence == log->file_name.sequence;
        bool empty = !current && file->size <= LOG_FILE_HEADER && log->file != NULL;
        if (!empty || medium_remove(log->medium, MEDIUM_LOGS, name, NULL) != RC_OK)
            log->files.p[kept++] = *file;
    }
    log->files.n = kept;
}

static enum rc start(struct log *log, uint64_t end, uint64_t proven, struct err *err) {
    log->end = log->durable = end;
    log->gap_from = proven;
    log->gap_to = end;
    for (size_t i = 0; i < log->files.n; i++)
        if (log->files.p[i].sequence > log->sequence)
            log->sequence = log->files.p[i].sequence;
    TRY(log_commit_start(log, err));
    remove_empty_files(log);
    return thread_start(&log->thread, "log", log_commit_run, log, err);
}

enum rc log_open(struct medium *medium, uint64_t epoch, uint64_t from,
                 const struct log_options *options,
                 enum rc (*apply)(void *context, enum log_record_kind kind, uint64_t position,
                                  const uint8_t *bytes, size_t n),
                 void *context, struct log_replay_report *report, struct log **out,
                 struct err *err) {
    struct log *log = log_new(medium, epoch, options);
    if (log == NULL)
        return err_set(err, RC_NOMEM, "cannot open the log: out of memory");
    uint64_t end = from;
    uint64_t proven = from;
    enum rc rc = log_replay_files(medium, &log->files, err);
    if (rc == RC_OK)
        rc = log_replay(medium, &log->files, from, apply, context, report, &end, &proven, err);
    if (rc == RC_OK)
        rc = start(log, end, proven, err);
    if (rc != RC_OK) {
        log_free(log);
        return rc;
    }
    *out = log;
    return RC_OK;
}

enum rc log_close(struct log *log, struct err *err) {
    if (log == NULL)
        return RC_OK;
    mutex_lock(&log->lock);
    log->stopping = true;
    condition_signal(&log->work);
    mutex_unlock(&log->lock);
    thread_join(&log->thread);
    enum rc rc = log->failing ? log->failure.rc : RC_OK;
    if (rc != RC_OK && err != NULL)
        *err = log->failure;
    log_free(log);
    return rc;
}

/* ---- pushing and waiting ---- */

static enum rc failing(const struct log *log, struct err *err) {
    return err_set(err, log->failure.rc, "the log cannot be written: %s", log->failure.message);
}

static bool has_room(struct log *log, size_t n) {
    size_t used = log->active.n + log->flushing_bytes;
    return used <= log->options.buffer_bytes_max && n <= log->options.buffer_bytes_max - used &&
           log_buffer_reserve(&log->active, n, log->options.budget);
}

/* With the lock held. */
static enum rc wait_for_room(struct log *log, size_t n, struct err *err) {
    int64_t deadline = clock_monotonic_ns() + PUSH_WAIT_NS;
    while (!has_room(log, n)) {
        if (log->failing)
            return failing(log, err);
        if (log->wanted < log->end)
            log->wanted = log->end;
        condition_signal(&log->work);
        if (!condition_wait_until(&log->done, &log->lock, deadline) && !has_room(log, n))
            return err_set(err, RC_THROTTLE,
                           "the log cannot keep up: %zu bytes wait to be written; retry later",
                           log->active.n + log->flushing_bytes);
    }
    return RC_OK;
}

static enum rc push(struct log *log, enum log_record_kind kind, const void *bytes, size_t n,
                    uint64_t sum, uint64_t *position_end, struct err *err) {
    if (UNLIKELY(log->stopping))
        return err_set(err, RC_CLOSED, "the log is closed");
    if (UNLIKELY(log->failing))
        return failing(log, err);
    size_t whole = LOG_RECORD_HEADER + n;
    if (UNLIKELY(!has_room(log, whole)))
        TRY(wait_for_room(log, whole, err));
    uint8_t *at = log->active.p + log->active.n;
    log_record_header(at, kind, (uint32_t)n, sum, log->end);
    if (n > 0)
        memcpy(at + LOG_RECORD_HEADER, bytes, n);
    bool first = log->active.n == 0;
    size_t hurry = log->options.buffer_bytes_max / 4;
    bool passes = log->active.n <= hurry && log->active.n + whole > hurry;
    if (first)
        log->pending_since_ns = clock_monotonic_ns();
    log->active.n += whole;
    log->end += whole;
    if (position_end != NULL)
        *position_end = log->end;
    if (first || passes)
        condition_signal(&log->work);
    return RC_OK;
}

enum rc log_push(struct log *log, enum log_record_kind kind, const void *bytes, size_t n,
                 uint64_t *position_end, struct err *err) {
    CHECK((unsigned)kind >= 1 && (unsigned)kind <= 255);
    size_t most = log->options.buffer_bytes_max;
    most = most > LOG_RECORD_HEADER ? most - LOG_RECORD_HEADER : 0;
    if (most > LOG_RECORD_BYTES_MAX)
        most = LOG_RECORD_BYTES_MAX;
    if (n > most)
        return err_set(err, RC_LIMIT, "a log record of %zu bytes; at most %zu are possible", n,
                       most);
    uint64_t sum = hash_checksum(n > 0 ? bytes : "", n); /* the costly part, outside the lock */
    mutex_lock(&log->lock);
    enum rc rc = push(log, kind, bytes, n, sum, position_end, err);
    mutex_unlock(&log->lock);
    return rc;
}

static enum rc wait_durable(struct log *log, uint64_t position, int64_t deadline_ns,
                            struct err *err) {
    while (log->durable < position) {
        if (log->failing)
            return failing(log, err);
        if (log->wanted < position) {
            log->wanted = position;
            condition_signal(&log->work);
        }
        if (deadline_ns == INT64_MAX)
            condition_wait(&log->done, &log->lock);
        else if (!condition_wait_until(&log->done, &log->lock, deadline_ns) &&
                 log->durable < position)
            return err_set(err, RC_TIMEOUT, "the log has not been synced in time");
    }
    return RC_OK;
}

enum rc log_wait(struct log *log, uint64_t position, uint32_t timeout_ms, struct err *err) {
    int64_t deadline_ns = INT64_MAX;
    if (timeout_ms > 0)
        deadline_ns = clock_monotonic_ns() + (int64_t)timeout_ms * 1000000;
    mutex_lock(&log->lock);
    CHECK(position <= log->end);
    enum rc rc = wait_durable(log, position, deadline_ns, err);
    mutex_unlock(&log->lock);
    return rc;
}

/* ---- the rest ---- */

uint64_t log_end(struct log *log) {
    mutex_lock(&log->lock);
    uint64_t end = log->end;
    mutex_unlock(&log->lock);
    return end;
}

/* The oldest file if all its records lie before `position` or are repeated in the next file. */
static bool oldest_obsolete(struct log *log, uint64_t position, struct log_file *file) {
    mutex_lock(&log->lock);
    bool obsolete = log->files.n > 1 && log->files.p[1].start <= position &&
                    log->files.p[1].start <= log->durable;
    if (obsolete)
        *file = log->files.p[0];
    mutex_unlock(&log->lock);
    return obsolete;
}

static void forget_oldest(struct log *log, const struct log_file *file) {
    mutex_lock(&log->lock);
    struct log_file *first = log->files.p;
    if (log->files.n > 0 && first->sequence == file->sequence) {
        log->files.n--;
        memmove(first, first + 1, log->files.n * sizeof(*first));
    }
    mutex_unlock(&log->lock);
}

enum rc log_truncate(struct log *log, uint64_t position, struct err *err) {
    struct log_file file;
    while (oldest_obsolete(log, position, &file)) {
        char name[LOG_NAME_SIZE];
        log_record_file_name(&file, name);
        enum rc rc = medium_remove(log->medium, MEDIUM_LOGS, name, err);
        if (rc != RC_OK && rc != RC_NOT_FOUND)
            return rc;
        forget_oldest(log, &file);
    }
    return RC_OK;
}

void log_stats(struct log *log, struct log_stats *stats) {
    mutex_lock(&log->lock);
    *stats = (struct log_stats){
        .end = log->end,
        .durable = log->durable,
        .start = log->files.n > 0 ? log->files.p[0].start : log->durable,
        .commits = log->commits,
        .failures = log->failures,
        .commit_ns_total = log->commit_ns_total,
        .failing = log->failing,
    };
    mutex_unlock(&log->lock);
}
