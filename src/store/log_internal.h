/*
 * What the files of the log share: the record format and the state. docs/format/log.md has the byte
 * table.
 */
#pragma once

#include "base/bytes.h"
#include "base/vec.h"
#include "os/thread.h"
#include "store/log.h"

enum { LOG_FILE_HEADER = 40, LOG_RECORD_HEADER = 24, LOG_NAME_SIZE = 30 };

/* ---- log_record.c: names and bytes ---- */

/* One medium log. The order of files is that of (start, sequence), which is the order of their
   creation; the records of a file that lie at or after the start of the next one are repeated
   there. */
struct log_file {
    uint64_t start;    /* position of its first record */
    uint32_t sequence; /* unique; tells files with the same start apart */
    uint64_t size;     /* as listed when the log was opened */
};

void log_record_file_name(const struct log_file *file, char name[LOG_NAME_SIZE]);

/* False if the name is not one of a log file. Does not touch `size`. */
bool log_record_file_parse(const char *name, struct log_file *file);

/* `proven`: what lay before it was durable when the file was begun; at most `start`. */
void log_record_file_header(uint8_t header[LOG_FILE_HEADER], uint64_t start, uint64_t epoch,
                            uint64_t proven);
uint64_t log_record_file_proven(const uint8_t header[LOG_FILE_HEADER]);

enum log_file_header_state { LOG_FILE_HEADER_GOOD, LOG_FILE_HEADER_BAD, LOG_FILE_HEADER_NEWER };
enum log_file_header_state log_record_file_header_check(const uint8_t header[LOG_FILE_HEADER],
                                                        uint64_t start);

static inline uint64_t log_record_file_epoch(const uint8_t header[LOG_FILE_HEADER]) {
    return bytes_u64(header + 16);
}

/* `sum` is hash_checksum of the contents. */
void log_record_header(uint8_t header[LOG_RECORD_HEADER], enum log_record_kind kind, uint32_t n,
                       uint64_t sum, uint64_t position);

/* Marks the record as the first of its commit: everything before it was durable when it was
   written. */
void log_record_begins_commit(uint8_t header[LOG_RECORD_HEADER], uint64_t position);

/* True if a record header that was written at `position` starts at `header`. */
bool log_record_header_holds(const uint8_t header[LOG_RECORD_HEADER], uint64_t position);

static inline uint32_t log_record_length(const uint8_t *header) {
    return bytes_u32(header + 8);
}

static inline enum log_record_kind log_record_kind_of(const uint8_t *header) {
    return (enum log_record_kind)header[12];
}

static inline bool log_record_is_first(const uint8_t *header) {
    return (header[13] & 1) != 0;
}

static inline uint64_t log_record_sum(const uint8_t *header) {
    return bytes_u64(header + 16);
}

/* ---- log_replay.c ---- */

/* Ascending. */
VEC_DECLARE(log_files, struct log_file)

enum rc log_replay_files(struct medium *medium, struct log_files *files, struct err *err) MUST_USE;

/* Applies all records at or after `from`; *end is where the log goes on, *proven what the next file
   says of it. */
enum rc log_replay(struct medium *medium, const struct log_files *files, uint64_t from,
                   enum rc (*apply)(void *context, enum log_record_kind kind, uint64_t position,
                                    const uint8_t *bytes, size_t n),
                   void *context, struct log_replay_report *report, uint64_t *end, uint64_t *proven,
                   struct err *err) MUST_USE;

/* ---- log.c and log_commit.c ---- */

struct log_buffer {
    uint8_t *p;
    size_t n;
    size_t capacity;
};

struct log {
    struct medium *medium;
    uint64_t epoch;
    struct log_options options;
    struct thread thread;

    struct mutex lock;
    struct condition work; /* for the log's thread: something to commit */
    struct condition done; /* for waiters and pushers: a commit has ended */

    /* Guarded by `lock`. */
    struct log_buffer active; /* records since the last swap; end at `end` */
    uint64_t end;
    uint64_t durable;
    uint64_t wanted;            /* somebody waits for this position */
    size_t flushing_bytes;      /* flushing.n while its commit is not done, else 0 */
    int64_t pending_since_ns;   /* when `active` got its first record */
    struct log_files files;     /* medium logs in use, the last one being written */
    uint64_t commits, failures; /* as in log_stats */
    uint64_t commit_ns_total;
    bool failing;
    bool stopping;
    struct err failure; /* why it is failing, or the last commit failed */

    /* The thread's own: `flushing` holds what is between `durable` and the start of `active`. */
    struct log_buffer flushing;
    bool settled;              /* what replay has shown is durable */
    struct medium_log *file;   /* NULL: begin a new one */
    uint64_t file_bytes;       /* written to it */
    struct log_file file_name; /* what `file` is called */
    uint64_t gap_from; /* replay left a gap from here to gap_to: no proof that it was durable */
    uint64_t gap_to;
    uint32_t sequence;  /* of the last file begun */
    bool has_abandoned; /* `abandoned` holds nothing that is durable and can go */
    struct log_file abandoned;
};

/* Begins the first file; the log is failing if that cannot be done for now. */
enum rc log_commit_start(struct log *log, struct err *err) MUST_USE;

/* The thread: commits until log->stopping. */
void *log_commit_run(void *log);

/* Makes room for `n` more bytes, or false. */
bool log_buffer_reserve(struct log_buffer *buffer, size_t n, struct budget *budget) MUST_USE;
void log_buffer_fini(struct log_buffer *buffer, struct budget *budget);
