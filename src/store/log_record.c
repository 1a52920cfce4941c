/*
 * Names and bytes of the log, as in docs/format/log.md.
 */
#include "base/hash.h"
#include "store/log_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char magic[8] = {'B', 'G', 'L', 'O', 'G', '0', '0', '1'};
enum { MAGIC_FAMILY = 5, FILE_SUM = LOG_FILE_HEADER - 8 };

/* No log gets there; sums of positions and sizes cannot overflow below. */
static const uint64_t POSITION_MAX = UINT64_C(1) << 62;

void log_record_file_name(const struct log_file *file, char name[LOG_NAME_SIZE]) {
    snprintf(name, LOG_NAME_SIZE, "log-%016" PRIx64 "-%08" PRIx32, file->start, file->sequence);
}

static bool parse_hex(const char *text, size_t n, uint64_t *value) {
    *value = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (c >= '0' && c <= '9')
            *value = *value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            *value = *value << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    return true;
}

bool log_record_file_parse(const char *name, struct log_file *file) {
    uint64_t start, sequence;
    if (strlen(name) != LOG_NAME_SIZE - 1 || memcmp(name, "log-", 4) != 0 || name[20] != '-')
        return false;
    if (!parse_hex(name + 4, 16, &start) || !parse_hex(name + 21, 8, &sequence))
        return false;
    if (start > POSITION_MAX)
        return false;
    file->start = start;
    file->sequence = (uint32_t)sequence;
    return true;
}

void log_record_file_header(uint8_t header[LOG_FILE_HEADER], uint64_t start, uint64_t epoch,
                            uint64_t proven) {
    memcpy(header, magic, 8);
    bytes_put_u64(header + 8, start);
    bytes_put_u64(header + 16, epoch);
    bytes_put_u64(header + 24, proven);
    bytes_put_u64(header + FILE_SUM, hash_checksum(header, FILE_SUM));
}

uint64_t log_record_file_proven(const uint8_t header[LOG_FILE_HEADER]) {
    return bytes_u64(header + 24);
}

enum log_file_header_state log_record_file_header_check(const uint8_t header[LOG_FILE_HEADER],
                                                        uint64_t start) {
    if (bytes_u64(header + FILE_SUM) != hash_checksum(header, FILE_SUM) ||
        memcmp(header, magic, MAGIC_FAMILY) != 0)
        return LOG_FILE_HEADER_BAD;
    if (memcmp(header, magic, 8) != 0)
        return LOG_FILE_HEADER_NEWER;
    return bytes_u64(header + 8) == start ? LOG_FILE_HEADER_GOOD : LOG_FILE_HEADER_BAD;
}

/* The position is the seed, so that a record is good only where it was written. */
static uint64_t header_check(const uint8_t *header, uint64_t position) {
    return hash_chain(position, header + 8, LOG_RECORD_HEADER - 8);
}

void log_record_header(uint8_t header[LOG_RECORD_HEADER], enum log_record_kind kind, uint32_t n,
                       uint64_t sum, uint64_t position) {
    bytes_put_u32(header + 8, n);
    bytes_put_u32(header + 12, (uint32_t)kind);
    bytes_put_u64(header + 16, sum);
    bytes_put_u64(header, header_check(header, position));
}

void log_record_begins_commit(uint8_t header[LOG_RECORD_HEADER], uint64_t position) {
    header[13] |= 1;
    bytes_put_u64(header, header_check(header, position));
}

bool log_record_header_holds(const uint8_t header[LOG_RECORD_HEADER], uint64_t position) {
    /* Cheap tests first: a search tries every byte of a damaged stretch. */
    return header[12] != 0 && header[13] <= 1 && header[14] == 0 && header[15] == 0 &&
           log_record_length(header) <= LOG_RECORD_BYTES_MAX &&
           bytes_u64(header) == header_check(header, position);
}
