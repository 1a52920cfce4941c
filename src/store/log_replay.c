/*
 * Replay. Each file is read from its first record to its end, in order of position.
 *
 * What is not a good record is *bad* until it is known what it means. A record that begins a commit
 * proves that all before it was durable once, so what is bad before it is damage; the start of the
 * next file proves the same as far as its header says. At or after the start of the next file it is
 * the torn tail of an earlier run, which ended there. What nothing proves is what the last run was
 * writing when it ended: a torn tail, or a gap where the disk got later sectors but not these.
 */
#include "base/hash.h"
#include "store/log_internal.h"

#include <stdlib.h>
#include <string.h>

enum { WINDOW = 1 << 20, BLOCK = 4096, TRIES = 3 };

/* ---- which files there are ---- */

static enum rc add_listed(void *context, const char *name, uint64_t size) {
    struct log_file file = {.size = size};
    if (!log_record_file_parse(name, &file))
        return RC_OK;
    return log_files_push(context, file) ? RC_OK : RC_NOMEM;
}

enum rc log_replay_files(struct medium *medium, struct log_files *files, struct err *err) {
    /* Byte order of the names is the order of (start, sequence). */
    enum rc rc = medium_list(medium, MEDIUM_LOGS, add_listed, files, err);
    if (rc == RC_NOMEM)
        err_set(err, rc, "cannot list the log: out of memory");
    return rc;
}

enum rc log_epoch_last(struct medium *medium, uint64_t *epoch, struct err *err) {
    struct log_files files = {0};
    *epoch = 0;
    enum rc rc = log_replay_files(medium, &files, err);
    for (size_t i = 0; i < files.n && rc == RC_OK; i++) {
        char name[LOG_NAME_SIZE];
        uint8_t header[LOG_FILE_HEADER];
        size_t got = 0;
        log_record_file_name(&files.p[i], name);
        if (medium_log_read(medium, name, 0, header, sizeof(header), &got, NULL) != RC_OK ||
            got < sizeof(header) ||
            log_record_file_header_check(header, files.p[i].start) != LOG_FILE_HEADER_GOOD)
            continue;
        uint64_t found = log_record_file_epoch(header);
        *epoch = found > *epoch ? found : *epoch;
    }
    log_files_fini(&files);
    return rc;
}

/* ---- reading a file through a window ---- */

struct reader {
    struct medium *medium;
    char name[LOG_NAME_SIZE];
    uint64_t size;
    uint8_t *window;
    size_t capacity;
    uint64_t from; /* the window holds bytes [from, from + n) of the file */
    size_t n;
    enum rc rc; /* sticky failure */
    struct err *err;
};

/* Reads again what failed: a flaky path to the disk must not pass for damage. */
static enum rc read_trying(struct reader *reader, uint64_t offset, uint8_t *bytes, size_t n,
                           size_t *got) {
    enum rc rc = RC_OK;
    for (int i = 0; i < TRIES; i++) {
        rc = medium_log_read(reader->medium, reader->name, offset, bytes, n, got, reader->err);
        if (rc != RC_IO)
            return rc;
    }
    return rc;
}

/* Reads block by block where the whole cannot be read; unreadable blocks become zeros, which are
   no record. Fails only if not a single block can be read: then it is not the disk's surface. */
static enum rc read_isolating(struct reader *reader, uint64_t offset, uint8_t *bytes, size_t n) {
    enum rc worst = RC_OK;
    bool any = false;
    for (size_t at = 0; at < n; at += BLOCK) {
        size_t part = n - at < BLOCK ? n - at : BLOCK;
        size_t got = 0;
        enum rc rc = read_trying(reader, offset + at, bytes + at, part, &got);
        if (rc != RC_OK && rc != RC_IO)
            return rc;
        if (rc == RC_OK)
            any = true;
        else
            worst = rc;
        memset(bytes + at + got, 0, part - got);
    }
    return any ? RC_OK : worst;
}

static enum rc fill(struct reader *reader, uint64_t offset, size_t n) {
    if (n > reader->capacity) {
        uint8_t *window = realloc(reader->window, n);
        if (window == NULL)
            return err_set(reader->err, RC_NOMEM, "cannot replay the log: out of memory");
        reader->window = window;
        reader->capacity = n;
    }
    size_t got = 0;
    enum rc rc = read_trying(reader, offset, reader->window, n, &got);
    if (rc == RC_IO) {
        rc = read_isolating(reader, offset, reader->window, n);
        got = n;
    }
    reader->from = offset;
    reader->n = rc == RC_OK ? got : 0;
    return rc;
}

/* `n` bytes at `offset`, valid until the next call; NULL if the file ends before or cannot be
   read (reader->rc). */
static const uint8_t *bytes_at(struct reader *reader, uint64_t offset, size_t n) {
    if (offset >= reader->from && offset + n <= reader->from + reader->n)
        return reader->window + (offset - reader->from);
    if (reader->rc != RC_OK || offset + n > reader->size)
        return NULL;
    uint64_t left = reader->size - offset;
    size_t want = n > WINDOW ? n : WINDOW;
    reader->rc = fill(reader, offset, left < want ? (size_t)left : want);
    return reader->rc == RC_OK && reader->n >= n ? reader->window : NULL;
}

/* Goes to another file and returns its header, as bytes_at does, with what it is worth: one that is
   not there is bad. */
static const uint8_t *reader_open(struct reader *reader, const struct log_file *file,
                                  enum log_file_header_state *state) {
    log_record_file_name(file, reader->name);
    reader->size = file->size;
    reader->n = 0;
    reader->from = 0;
    const uint8_t *header = bytes_at(reader, 0, LOG_FILE_HEADER);
    *state =
        header == NULL ? LOG_FILE_HEADER_BAD : log_record_file_header_check(header, file->start);
    return header;
}

/* ---- records ---- */

struct replay {
    struct reader reader;
    uint64_t from;
    enum rc (*apply)(void *context, enum log_record_kind kind, uint64_t position,
                     const uint8_t *bytes, size_t n);
    void *context;
    struct log_replay_report *report;
    uint64_t good_end;  /* position after the last good record */
    uint64_t bad_from;  /* where the first bad stretch without proof begins */
    uint64_t bad_bytes; /* in all of them; 0: there is none */
    uint64_t bad_records;
    uint64_t
        bad_header_bytes; /* the header of the file is bad, and nothing proves that it was good */
};

enum found {
    FOUND_GOOD,     /* a record */
    FOUND_BAD_BODY, /* the header holds, the contents do not */
    FOUND_CUT,      /* the header holds, the file ends within the contents */
    FOUND_NOTHING
};

static enum found examine(struct replay *replay, uint64_t offset, uint64_t position,
                          uint32_t *length) {
    const uint8_t *header = bytes_at(&replay->reader, offset, LOG_RECORD_HEADER);
    if (header == NULL || !log_record_header_holds(header, position))
        return FOUND_NOTHING;
    *length = log_record_length(header);
    if (*length > replay->reader.size - offset - LOG_RECORD_HEADER)
        return FOUND_CUT;
    const uint8_t *record = bytes_at(&replay->reader, offset, LOG_RECORD_HEADER + *length);
    if (record == NULL)
        return FOUND_CUT;
    bool holds = hash_checksum(record + LOG_RECORD_HEADER, *length) == log_record_sum(record);
    return holds ? FOUND_GOOD : FOUND_BAD_BODY;
}

/* Positions [from, to) are bad; what lies at or after `limit` is no loss. */
static void add_bad(struct replay *replay, uint64_t from, uint64_t to, uint64_t limit) {
    if (to > limit)
        to = limit;
    if (from >= to)
        return;
    if (replay->bad_bytes == 0)
        replay->bad_from = from;
    replay->bad_bytes += to - from;
    replay->bad_records++;
}

/* Forgets the bad stretches: as damage if what lies before `proven` was durable once. */
static void settle(struct replay *replay, uint64_t proven) {
    if (replay->bad_bytes > 0 && replay->bad_from < proven) {
        replay->report->damaged_bytes += replay->bad_bytes;
        replay->report->damaged_records += replay->bad_records;
    }
    replay->bad_bytes = 0;
    replay->bad_records = 0;
}

static enum rc accept(struct replay *replay, const struct log_file *file, uint64_t offset,
                      uint64_t position, uint32_t length) {
    uint64_t end = position + LOG_RECORD_HEADER + length;
    const uint8_t *record = bytes_at(&replay->reader, offset, LOG_RECORD_HEADER + length);
    if (log_record_is_first(record)) {
        settle(replay, position);
        /* The first commit of a file is synced together with its header. */
        if (position > file->start) {
            replay->report->damaged_bytes += replay->bad_header_bytes;
            replay->bad_header_bytes = 0;
        }
    }
    if (end > replay->good_end)
        replay->good_end = end;
    if (position < replay->from)
        return RC_OK;
    replay->report->records++;
    replay->report->bytes += length;
    replay->report->after_gap = replay->bad_bytes > 0;
    return replay->apply(replay->context, log_record_kind_of(record), position,
                         record + LOG_RECORD_HEADER, length);
}

/* The next offset after `offset` where a record header holds, or the end of the file. */
static uint64_t search(struct replay *replay, uint64_t offset, uint64_t position) {
    uint64_t size = replay->reader.size;
    for (uint64_t at = offset + 1; at + LOG_RECORD_HEADER <= size; at++) {
        const uint8_t *header = bytes_at(&replay->reader, at, LOG_RECORD_HEADER);
        if (header == NULL)
            return size;
        if (log_record_header_holds(header, position + (at - offset)))
            return at;
    }
    return size;
}

/* All records of a file from `offset` on; the next file starts at `limit`. */
static enum rc replay_records(struct replay *replay, const struct log_file *file, uint64_t offset,
                              uint64_t limit) {
    while (offset < file->size) {
        uint64_t position = file->start + (offset - LOG_FILE_HEADER);
        uint32_t length = 0;
        uint64_t next = file->size;
        enum found found = examine(replay, offset, position, &length);
        if (found == FOUND_GOOD || found == FOUND_BAD_BODY)
            next = offset + LOG_RECORD_HEADER + length;
        else if (found == FOUND_NOTHING)
            next = search(replay, offset, position);
        TRY(replay->reader.rc);
        if (found == FOUND_GOOD)
            TRY(accept(replay, file, offset, position, length));
        else
            add_bad(replay, position, position + (next - offset), limit);
        offset = next;
    }
    return RC_OK;
}

static enum rc open_file(struct replay *replay, const struct log_file *file) {
    enum log_file_header_state state;
    const uint8_t *header = reader_open(&replay->reader, file, &state);
    TRY(replay->reader.rc);
    if (state == LOG_FILE_HEADER_NEWER)
        return err_set(replay->reader.err, RC_UNSUPPORTED,
                       "log %s was written by a newer version; start that version",
                       replay->reader.name);
    /* The name tells the start, so the records can be read even if the header is bad. */
    bool bad = header != NULL && state == LOG_FILE_HEADER_BAD;
    replay->bad_header_bytes = bad ? LOG_FILE_HEADER : 0;
    return RC_OK;
}

static uint64_t file_end(const struct log_file *file) {
    return file->start + (file->size > LOG_FILE_HEADER ? file->size - LOG_FILE_HEADER : 0);
}

/* What the header of the file that follows says was durable before it; all, if it says nothing. */
static enum rc read_proven(struct replay *replay, const struct log_file *next, uint64_t *proven) {
    enum log_file_header_state state;
    const uint8_t *header = reader_open(&replay->reader, next, &state);
    *proven = state == LOG_FILE_HEADER_GOOD ? log_record_file_proven(header) : next->start;
    return replay->reader.rc;
}

/* `next` is the file that follows, or NULL. */
static enum rc replay_file(struct replay *replay, const struct log_file *file,
                           const struct log_file *next) {
    uint64_t limit = next == NULL ? UINT64_MAX : next->start;
    uint64_t proven = 0;
    if (next != NULL)
        TRY(read_proven(replay, next, &proven));
    TRY(open_file(replay, file));
    uint64_t offset = LOG_FILE_HEADER;
    if (replay->from > file->start)
        offset += replay->from - file->start;
    TRY(replay_records(replay, file, offset, limit));
    if (next == NULL)
        return RC_OK;
    uint64_t end = file_end(file);
    add_bad(replay, end < replay->from ? replay->from : end, limit, limit);
    settle(replay, proven);
    if (file->start < proven)
        replay->report->damaged_bytes += replay->bad_header_bytes;
    return RC_OK;
}

/* How many files there are but for those at the end that were begun and never synced: they prove
   nothing. */
static enum rc count_files(struct replay *replay, const struct log_files *files, size_t *count) {
    for (*count = files->n; *count > 0; --*count) {
        const struct log_file *last = &files->p[*count - 1];
        if (last->size > LOG_FILE_HEADER)
            return RC_OK;
        enum log_file_header_state state;
        (void)reader_open(&replay->reader, last, &state);
        TRY(replay->reader.rc);
        if (state != LOG_FILE_HEADER_BAD)
            return RC_OK;
    }
    return RC_OK;
}

static enum rc replay_files(struct replay *replay, const struct log_files *files) {
    size_t count;
    TRY(count_files(replay, files, &count));
    size_t first = 0;
    while (first + 1 < count && files->p[first + 1].start <= replay->from &&
           file_end(&files->p[first]) <= replay->from)
        first++;
    if (files->n > 0) {
        add_bad(replay, replay->from, files->p[0].start, UINT64_MAX);
        settle(replay, UINT64_MAX);
    }
    for (size_t i = first; i < count; i++)
        TRY(replay_file(replay, &files->p[i], i + 1 == count ? NULL : &files->p[i + 1]));
    return RC_OK;
}

enum rc log_replay(struct medium *medium, const struct log_files *files, uint64_t from,
                   enum rc (*apply)(void *context, enum log_record_kind kind, uint64_t position,
                                    const uint8_t *bytes, size_t n),
                   void *context, struct log_replay_report *report, uint64_t *end, uint64_t *proven,
                   struct err *err) {
    *report = (struct log_replay_report){.files = files->n};
    struct replay replay = {
        .reader = {.medium = medium, .err = err},
        .from = from,
        .apply = apply,
        .context = context,
        .report = report,
        .good_end = from,
    };
    enum rc rc = replay_files(&replay, files);
    free(replay.reader.window);
    *end = replay.good_end;
    if (files->n > 0 && files->p[files->n - 1].start > *end)
        *end = files->p[files->n - 1].start;
    *proven = *end;
    report->after_gap = false;
    if (replay.bad_bytes > 0 && replay.bad_from < *end) {
        *proven = replay.bad_from;
        report->gap_bytes = replay.bad_bytes;
    } else {
        report->torn_tail_bytes = replay.bad_bytes + replay.bad_header_bytes;
    }
    return rc;
}
