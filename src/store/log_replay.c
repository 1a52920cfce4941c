/*
 * Replay. Each file is read from its first record to its end, in order of position.
 *
 * What is not a good record is *bad* until it is known what it means: followed by a good record, or
 * before the start of the next file, it is damage; at or after the start of the next file it is the
 * torn tail of an earlier run, which ended there; at the very end of the last file it is the torn
 * tail of the last run.
 */
#include "base/hash.h"
#include "store/log_internal.h"

#include <stdlib.h>
#include <string.h>

enum { WINDOW = 1 << 20, BLOCK = 4096, TRIES = 3 };

/* ---- which files there are ---- */

enum rc log_replay_add_file(struct log_files *files, const struct log_file *file) {
    if (files->n == files->capacity) {
        size_t capacity = files->capacity == 0 ? 16 : 2 * files->capacity;
        struct log_file *p = realloc(files->p, capacity * sizeof(*p));
        if (p == NULL)
            return RC_NOMEM;
        files->p = p;
        files->capacity = capacity;
    }
    files->p[files->n++] = *file;
    return RC_OK;
}

static enum rc add_listed(void *context, const char *name, uint64_t size) {
    struct log_file file = {.size = size};
    if (!log_record_file_parse(name, &file))
        return RC_OK;
    return log_replay_add_file(context, &file);
}

enum rc log_replay_files(struct medium *medium, struct log_files *files, struct err *err) {
    /* Byte order of the names is the order of (start, sequence). */
    enum rc rc = medium_list(medium, MEDIUM_LOGS, add_listed, files, err);
    if (rc == RC_NOMEM)
        err_set(err, rc, "cannot list the log: out of memory");
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

static void reader_open(struct reader *reader, const struct log_file *file) {
    log_record_file_name(file, reader->name);
    reader->size = file->size;
    reader->n = 0;
    reader->from = 0;
}

/* ---- records ---- */

struct replay {
    struct reader reader;
    uint64_t from;
    enum rc (*apply)(void *context, enum log_record_kind kind, uint64_t position,
                     const uint8_t *bytes, size_t n);
    void *context;
    struct log_replay_report *report;
    uint64_t good_end; /* position after the last good record */
    uint64_t bad_from; /* the bad stretch [bad_from, bad_to) since the last good record */
    uint64_t bad_to;
    uint64_t bad_records;
    uint64_t bad_header_bytes; /* the header of the file is bad, and no good record followed yet */
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

static void add_bad(struct replay *replay, uint64_t from, uint64_t to, uint64_t records) {
    if (replay->bad_to == replay->bad_from)
        replay->bad_from = from;
    replay->bad_to = to;
    replay->bad_records += records;
}

/* The bad stretch turns out to be damage as far as it lies before `limit`. */
static void settle_damage(struct replay *replay, uint64_t limit) {
    uint64_t to = replay->bad_to < limit ? replay->bad_to : limit;
    if (replay->bad_from < to) {
        replay->report->damaged_bytes += to - replay->bad_from;
        replay->report->damaged_records += replay->bad_records;
    }
    replay->bad_from = replay->bad_to = 0;
    replay->bad_records = 0;
}

static enum rc accept(struct replay *replay, uint64_t offset, uint64_t position, uint32_t length,
                      uint64_t limit) {
    uint64_t end = position + LOG_RECORD_HEADER + length;
    settle_damage(replay, limit);
    replay->report->damaged_bytes += replay->bad_header_bytes;
    replay->bad_header_bytes = 0;
    if (end > replay->good_end)
        replay->good_end = end;
    if (position < replay->from)
        return RC_OK;
    replay->report->records++;
    replay->report->bytes += length;
    const uint8_t *record = bytes_at(&replay->reader, offset, LOG_RECORD_HEADER + length);
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
            TRY(accept(replay, offset, position, length, limit));
        else
            add_bad(replay, position, position + (next - offset), position < limit);
        offset = next;
    }
    return RC_OK;
}

static enum rc check_file_header(struct replay *replay, const struct log_file *file) {
    const uint8_t *header = bytes_at(&replay->reader, 0, LOG_FILE_HEADER);
    if (header == NULL)
        return replay->reader.rc;
    switch (log_record_file_header_check(header, file->start)) {
    case LOG_FILE_HEADER_GOOD:
        break;
    case LOG_FILE_HEADER_NEWER:
        return err_set(replay->reader.err, RC_UNSUPPORTED,
                       "log %s was written by a newer version; start that version",
                       replay->reader.name);
    case LOG_FILE_HEADER_BAD:
        /* The name tells the start, so the records can be read nevertheless. */
        replay->bad_header_bytes = LOG_FILE_HEADER;
        break;
    }
    return RC_OK;
}

static uint64_t file_end(const struct log_file *file) {
    return file->start + (file->size > LOG_FILE_HEADER ? file->size - LOG_FILE_HEADER : 0);
}

static enum rc replay_file(struct replay *replay, const struct log_file *file, uint64_t limit) {
    reader_open(&replay->reader, file);
    replay->bad_header_bytes = 0;
    TRY(check_file_header(replay, file));
    uint64_t offset = LOG_FILE_HEADER;
    if (replay->from > file->start)
        offset += replay->from - file->start;
    TRY(replay_records(replay, file, offset, limit));
    if (limit == UINT64_MAX)
        return RC_OK;
    uint64_t end = file_end(file);
    if (end < replay->from)
        end = replay->from;
    if (end < limit)
        add_bad(replay, end, limit, replay->bad_from == replay->bad_to);
    settle_damage(replay, limit);
    return RC_OK;
}

static enum rc replay_files(struct replay *replay, const struct log_files *files) {
    size_t first = 0;
    while (first + 1 < files->n && files->p[first + 1].start <= replay->from &&
           file_end(&files->p[first]) <= replay->from)
        first++;
    if (files->n > 0 && files->p[0].start > replay->from) {
        add_bad(replay, replay->from, files->p[0].start, 1);
        settle_damage(replay, UINT64_MAX);
    }
    for (size_t i = first; i < files->n; i++) {
        bool last = i + 1 == files->n;
        TRY(replay_file(replay, &files->p[i], last ? UINT64_MAX : files->p[i + 1].start));
    }
    return RC_OK;
}

enum rc log_replay(struct medium *medium, const struct log_files *files, uint64_t from,
                   enum rc (*apply)(void *context, enum log_record_kind kind, uint64_t position,
                                    const uint8_t *bytes, size_t n),
                   void *context, struct log_replay_report *report, uint64_t *end,
                   struct err *err) {
    *report = (struct log_replay_report){0};
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
    report->torn_tail_bytes = replay.bad_to - replay.bad_from + replay.bad_header_bytes;
    *end = replay.good_end;
    if (files->n > 0 && files->p[files->n - 1].start > *end)
        *end = files->p[files->n - 1].start;
    return rc;
}
