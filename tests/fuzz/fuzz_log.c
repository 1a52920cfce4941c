/*
 * Opens a log whose files are whatever the input says, and requires that it opens, hands out only
 * bounded records in order, and keeps what is pushed then.
 *
 * First byte, bit 0: the rest is the contents of the files; else the rest are edits (where, what)
 * to the files of a log that was written properly, so that the checksums mostly hold.
 */
#include "base/bytes.h"
#include "base/check.h"
#include "medium/medium.h"
#include "medium/memory_medium.h"
#include "store/log.h"

#include <stdio.h>
#include <stdlib.h>

enum { FILES = 3, MARK = 200 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t records;
    uint64_t bytes;
    uint8_t last_kind;
    uint8_t last[8];
    size_t last_n;
};

static enum rc see(void *context, enum log_record_kind kind, uint64_t position,
                   const uint8_t *bytes, size_t n) {
    struct seen *seen = context;
    CHECK((unsigned)kind >= 1 && (unsigned)kind <= 255);
    seen->records++;
    seen->bytes += n;
    seen->last_kind = (uint8_t)kind;
    seen->last_n = n;
    /* Touches the first and the last byte, for the sanitizer. */
    if (n > 0)
        seen->last[0] = bytes[0] ^ bytes[n - 1];
    if (n == 8)
        memcpy(seen->last, bytes, 8);
    return RC_OK;
}

static struct log *reopen(struct medium *medium, uint64_t from, struct seen *seen) {
    struct log *log = NULL;
    struct log_replay_report report;
    struct log_options options = {.file_bytes_max = 256};
    *seen = (struct seen){0};
    enum rc rc = log_open(medium, 1, from, &options, see, seen, &report, &log, NULL);
    CHECK(rc == RC_OK || rc == RC_UNSUPPORTED);
    if (rc != RC_OK)
        return NULL;
    CHECK(report.records == seen->records);
    CHECK(report.bytes == seen->bytes);
    return log;
}

static void put_file(struct medium *medium, unsigned index, uint64_t start, const uint8_t *bytes,
                     size_t n) {
    char name[64];
    struct medium_log *file;
    snprintf(name, sizeof(name), "log-%016llx-%08x", (unsigned long long)start, index + 1);
    CHECK(medium_log_create(medium, name, 1, &file, NULL) == RC_OK);
    CHECK(medium_log_append(file, bytes, n, NULL) == RC_OK);
    medium_log_close(file);
}

static void put_raw(struct medium *medium, const uint8_t *data, size_t size) {
    uint64_t start = 0;
    for (unsigned i = 0; i < FILES; i++) {
        size_t n = i + 1 == FILES ? size : size / 2;
        put_file(medium, i, start, data, n);
        start += n > 0 ? data[0] : 1;
        data += n;
        size -= n;
    }
}

struct edits {
    struct medium *medium;
    struct bytes_reader reader;
};

static enum rc edit(void *context, const char *name, uint64_t size) {
    struct edits *edits_left = context;
    struct bytes_reader *reader = &edits_left->reader;
    unsigned edits = bytes_take_u8(reader) % 4;
    while (edits-- > 0 && bytes_left(reader) >= 3) {
        uint64_t at = bytes_take_u8(reader) | (uint64_t)bytes_take_u8(reader) << 8;
        uint8_t what = bytes_take_u8(reader);
        for (unsigned bit = 0; bit < 8 && size > 0; bit++)
            if (what >> bit & 1)
                CHECK(memory_medium_flip_bit(edits_left->medium, MEDIUM_LOGS, name,
                                             at % size * 8 + bit) == RC_OK);
    }
    return RC_OK;
}

static void put_edited(struct medium *medium, const uint8_t *data, size_t size) {
    struct seen seen;
    struct log *log = reopen(medium, 0, &seen);
    uint64_t end = 0;
    uint8_t bytes[100] = {0};
    for (unsigned i = 0; i < 12; i++) {
        bytes[0] = (uint8_t)i;
        CHECK(log_push(log, LOG_POINTS, bytes, i * 8, &end, NULL) == RC_OK);
        CHECK(i % 2 == 0 || log_wait(log, end, 0, NULL) == RC_OK);
    }
    CHECK(log_close(log, NULL) == RC_OK);
    struct edits context = {medium, bytes_reader_of(data, size)};
    CHECK(medium_list(medium, MEDIUM_LOGS, edit, &context, NULL) == RC_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct medium *medium;
    struct seen seen;
    if (size < 2)
        return 0;
    CHECK(memory_medium_open(NULL, &medium, NULL) == RC_OK);
    if (data[0] & 1)
        put_raw(medium, data + 2, size - 2);
    else
        put_edited(medium, data + 2, size - 2);
    uint64_t from = data[0] & 2 ? data[1] : 0;
    struct log *log = reopen(medium, from, &seen);
    if (log != NULL) {
        uint64_t records = seen.records;
        CHECK(log_push(log, (enum log_record_kind)MARK, "the mark", 8, NULL, NULL) == RC_OK);
        CHECK(log_close(log, NULL) == RC_OK);
        log = reopen(medium, from, &seen);
        CHECK(log != NULL && seen.records == records + 1);
        CHECK(seen.last_kind == MARK && seen.last_n == 8 && memcmp(seen.last, "the mark", 8) == 0);
        CHECK(log_close(log, NULL) == RC_OK);
    }
    medium_close(medium);
    return 0;
}
