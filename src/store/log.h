/*
 * The log: what makes an acknowledged write survive.
 *
 * An endless stream of records, addressed by position (bytes since the beginning of time), kept as
 * a sequence of medium logs named by the position they start at. Records are pushed into a buffer
 * in memory by any thread and written by the log's own thread in groups: one write and one sync
 * serve every waiter. A waiter starts a commit at once; the commit interval only bounds how long
 * records stay volatile when nobody waits. docs/format/log.md has the byte table.
 *
 * Failure. When the medium is full or refuses, the log keeps the unsynced records in memory, turns
 * *failing*, tells waiters and later pushes so (RC_NO_SPACE or RC_IO with a text), and retries by
 * itself every second (retry_interval_ms) in a new medium log; when it succeeds, pushes are
 * accepted again. After a failed sync the same medium log is never written again. Replaying a
 * record twice, in order, must therefore be harmless; it is, because the last write wins.
 */
#pragma once

#include "base/budget.h"
#include "base/err.h"
#include "medium/medium.h"

#include <stdint.h>

struct log;

enum { LOG_RECORD_BYTES_MAX = 64 << 20 };

/* Kinds of records, 1 to 255. The log does not look inside. */
enum log_record_kind {
    LOG_DEFINE = 1, /* names and series: index_encode_since */
    LOG_POINTS = 2, /* a batch of points of one shard: batch_encode */
    LOG_DELETE = 3, /* an exact-range delete */
};

/* The defaults named here stand for 0. */
struct log_options {
    uint32_t commit_interval_ms; /* 50 */
    uint64_t file_bytes_max;     /* a new medium log is begun past this size: 64 MiB */
    size_t buffer_bytes_max;     /* unsynced bytes kept; pushes block (at most a second) then fail
                                    with RC_THROTTLE beyond it: 64 MiB */
    uint32_t retry_interval_ms;  /* while failing: 1000 */
    struct budget *budget;       /* charged for the buffers; may be NULL */
    /* Called when the log begins to fail, with the reason, and (NULL) when it is written again.
       From the log's thread or that of log_open, without a lock; may be NULL. */
    void (*tell)(void *context, const struct err *failure);
    void *tell_context;
};

/* What replay found. Damage is reported, never fatal. */
struct log_replay_report {
    uint64_t files;           /* there were */
    uint64_t records;         /* applied; one kept in two medium logs counts twice */
    uint64_t bytes;           /* of their contents */
    uint64_t torn_tail_bytes; /* cut off at the very end: an unfinished write */
    uint64_t gap_bytes;       /* missing inside the last commit, with good records after them: most
                                 likely unfinished, but nothing proves that it was never synced */
    uint64_t damaged_records; /* failed their checksum although they were durable once; skipped */
    uint64_t damaged_bytes;
    bool after_gap; /* during the replay: the record at hand stands behind such a gap */
};

/* Replays every record at or after `from` (the position of a record) in order through `apply` with
   the position it starts at (a negative return stops and is returned), then opens the log for
   appending after the last good record, in a new medium log. Resynchronises after damage by
   searching for the next record whose checksum holds. A medium that is full or refuses writes does
   not fail the open: the log starts failing. RC_CONFLICT if a writer of a greater epoch is there,
   RC_UNSUPPORTED if a newer version wrote the log, RC_IO if it cannot be read at all. `report` is
   valid on RC_OK. */
enum rc log_open(struct medium *medium, uint64_t epoch, uint64_t from,
                 const struct log_options *options,
                 enum rc (*apply)(void *context, enum log_record_kind kind, uint64_t position,
                                  const uint8_t *bytes, size_t n),
                 void *context, struct log_replay_report *report, struct log **out,
                 struct err *err) MUST_USE;

/* The greatest epoch of a writer that the headers of the log's files name, 0 if none does: what to
   go on from when nothing else tells. */
enum rc log_epoch_last(struct medium *medium, uint64_t *epoch, struct err *err) MUST_USE;

/* Commits what is pending, stops the thread and frees the log. NULL is harmless. Returns the
   outcome of the last commit. */
enum rc log_close(struct log *log, struct err *err);

/* Adds a record of at most LOG_RECORD_BYTES_MAX bytes; copies them. *position_end (may be NULL) is
   what log_wait takes. Takes a short lock; safe from any thread; records pushed by one thread keep
   their order. RC_THROTTLE if the buffer stays full (or the budget exhausted) for a second;
   RC_NO_SPACE or RC_IO if the log is failing; RC_LIMIT if the record is too long. */
enum rc log_push(struct log *log, enum log_record_kind kind, const void *bytes, size_t n,
                 uint64_t *position_end, struct err *err) MUST_USE;

/* Waits until everything before `position` is durable, starting a commit if none is under way.
   RC_TIMEOUT after `timeout_ms` (0: no limit); RC_NO_SPACE or RC_IO if the log is failing. */
enum rc log_wait(struct log *log, uint64_t position, uint32_t timeout_ms, struct err *err) MUST_USE;

/* Position after the last record pushed. */
uint64_t log_end(struct log *log);

/* Removes medium logs that hold only records before `position`. */
enum rc log_truncate(struct log *log, uint64_t position, struct err *err) MUST_USE;

struct log_stats {
    uint64_t end;             /* position after the last push */
    uint64_t durable;         /* position up to which all is durable */
    uint64_t start;           /* position of the oldest byte kept */
    uint64_t commits;         /* successful syncs */
    uint64_t failures;        /* failed writes and syncs */
    uint64_t commit_ns_total; /* time spent in write and sync */
    bool failing;
};
void log_stats(struct log *log, struct log_stats *stats);
