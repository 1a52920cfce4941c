/*
 * A header, as POSIX.1-1988 has it: name 0 (100), size 124 (12), checksum 148 (8), type 156,
 * magic 257 (6), prefix 345 (155). Numbers are octal digits, or binary if the first bit is set
 * (GNU). The body follows, filled up with zeros to a whole block.
 */
#include "kube/tar_reader.h"

#include <string.h>

enum {
    NAME_AT = 0,
    NAME_BYTES = 100,
    SIZE_AT = 124,
    SIZE_BYTES = 12,
    SUM_AT = 148,
    SUM_BYTES = 8,
    TYPE_AT = 156,
    MAGIC_AT = 257,
    PREFIX_AT = 345,
    PREFIX_BYTES = 155
};

void tar_reader_init(struct tar_reader *reader, const struct tar_reader_sink *sink) {
    *reader = (struct tar_reader){.sink = *sink};
    reader->extension.max = TAR_READER_EXTENSION_MAX;
    reader->path.max = TAR_READER_EXTENSION_MAX;
}

void tar_reader_fini(struct tar_reader *reader) {
    buf_fini(&reader->extension);
    buf_fini(&reader->path);
}

/* ---- the header ---- */

static bool parse_octal(const uint8_t *field, size_t n, uint64_t *value) {
    size_t at = 0;
    *value = 0;
    while (at < n && field[at] == ' ')
        at++;
    for (; at < n && field[at] >= '0' && field[at] <= '7'; at++) {
        if (*value >> 60 != 0)
            return false;
        *value = *value << 3 | (uint64_t)(field[at] - '0');
    }
    return at == n || field[at] == ' ' || field[at] == '\0';
}

static bool parse_size(const uint8_t *block, uint64_t *value) {
    const uint8_t *field = block + SIZE_AT;
    if ((field[0] & 0x80) == 0)
        return parse_octal(field, SIZE_BYTES, value);
    *value = 0;
    for (size_t i = 0; i < 4; i++)
        if (field[i] != (i == 0 ? 0x80 : 0))
            return false;
    for (size_t i = 4; i < SIZE_BYTES; i++)
        *value = *value << 8 | field[i];
    return *value <= INT64_MAX;
}

bool tar_reader_detect(const uint8_t *block) {
    uint64_t stated;
    if (!parse_octal(block + SUM_AT, SUM_BYTES, &stated))
        return false;
    uint64_t sum = 0;
    for (size_t i = 0; i < TAR_READER_BLOCK; i++)
        sum += i >= SUM_AT && i < SUM_AT + SUM_BYTES ? ' ' : block[i];
    return sum == stated;
}

static str field(const uint8_t *block, size_t at, size_t n) {
    const char *p = (const char *)block + at;
    return (str){p, strnlen(p, n)};
}

static bool is_zero(const uint8_t *block) {
    for (size_t i = 0; i < TAR_READER_BLOCK; i++)
        if (block[i] != 0)
            return false;
    return true;
}

/* The name of the entry in the header, unless a record before it said another. */
static void read_path(struct tar_reader *reader) {
    if (reader->has_path)
        return;
    buf_reset(&reader->path);
    bool posix = memcmp(reader->block + MAGIC_AT, "ustar", 6) == 0;
    str prefix = field(reader->block, PREFIX_AT, PREFIX_BYTES);
    if (posix && prefix.n > 0) {
        buf_str(&reader->path, prefix);
        buf_char(&reader->path, '/');
    }
    buf_str(&reader->path, field(reader->block, NAME_AT, NAME_BYTES));
}

static bool is_file(char type) {
    return type == '0' || type == '\0' || type == '7';
}

static bool is_extension(char type) {
    return type == 'x' || type == 'L';
}

static enum rc begin_file(struct tar_reader *reader, uint64_t size, struct err *err) {
    read_path(reader);
    if (reader->path.failed)
        return err_set(err, RC_NOMEM, "out of memory");
    str name = buf_view(&reader->path);
    while (str_starts(name, STR("./")))
        name = str_from(name, 2);
    return reader->sink.begin(reader->sink.context, name, size, err);
}

static void forget_extensions(struct tar_reader *reader) {
    reader->has_path = false;
    reader->has_size = false;
}

/* ---- records that say more of the next entry ---- */

/* "LENGTH key=value\n", LENGTH being that of the whole record. */
static bool next_record(str *left, str *key, str *value) {
    size_t length = 0;
    size_t digits = 0;
    while (digits < left->n && digits < 8 && left->p[digits] >= '0' && left->p[digits] <= '9')
        length = length * 10 + (size_t)(left->p[digits++] - '0');
    if (digits == 0 || length > left->n || length < digits + 3 || left->p[digits] != ' ' ||
        left->p[length - 1] != '\n')
        return false;
    str record = {left->p + digits + 1, length - digits - 2};
    size_t eq = str_find(record, '=');
    if (eq == record.n)
        return false;
    *key = (str){record.p, eq};
    *value = str_from(record, eq + 1);
    *left = str_from(*left, length);
    return true;
}

static bool parse_decimal(str text, uint64_t *value) {
    *value = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9' || *value > INT64_MAX / 10 - 1)
            return false;
        *value = *value * 10 + (uint64_t)(text.p[i] - '0');
    }
    return text.n > 0;
}

static bool apply_pax(struct tar_reader *reader) {
    str left = buf_view(&reader->extension);
    str key, value;
    while (left.n > 0) {
        if (!next_record(&left, &key, &value))
            return false;
        if (str_eq(key, STR("path"))) {
            buf_reset(&reader->path);
            buf_str(&reader->path, value);
            reader->has_path = true;
        } else if (str_eq(key, STR("size"))) {
            if (!parse_decimal(value, &reader->size))
                return false;
            reader->has_size = true;
        }
    }
    return true;
}

static enum rc apply_extension(struct tar_reader *reader, struct err *err) {
    if (reader->extension.failed)
        return err_set(err, RC_INVALID, "the archive has a name of more than %d bytes",
                       TAR_READER_EXTENSION_MAX);
    if (reader->type == 'x')
        return apply_pax(reader)
                   ? RC_OK
                   : err_set(err, RC_INVALID, "the archive is damaged: a bad pax record");
    buf_reset(&reader->path);
    str name = buf_view(&reader->extension);
    buf_str(&reader->path, (str){name.p, str_find(name, '\0')});
    reader->has_path = true;
    return RC_OK;
}

/* ---- the stream ---- */

static enum rc end_entry(struct tar_reader *reader, struct err *err) {
    if (is_extension(reader->type))
        return apply_extension(reader, err);
    if (!is_file(reader->type))
        return RC_OK;
    return reader->sink.end(reader->sink.context, err);
}

static enum rc read_header(struct tar_reader *reader, struct err *err) {
    if (is_zero(reader->block)) {
        reader->ended = true;
        return RC_OK;
    }
    if (!tar_reader_detect(reader->block) || !parse_size(reader->block, &reader->left))
        return err_set(err, RC_INVALID,
                       reader->entries == 0 ? "this is neither a Dockerfile nor an image archive"
                                            : "the archive is damaged: a bad header");
    reader->entries++;
    reader->type = (char)reader->block[TYPE_AT];
    if (reader->type == 'S')
        return err_set(err, RC_INVALID, "sparse files are not understood: save the image again");
    if (is_extension(reader->type)) {
        buf_reset(&reader->extension);
    } else if (reader->type != 'g' && reader->type != 'K') {
        if (reader->has_size)
            reader->left = reader->size;
        if (is_file(reader->type))
            TRY(begin_file(reader, reader->left, err));
        forget_extensions(reader);
    }
    reader->padding = (uint32_t)(-reader->left & (TAR_READER_BLOCK - 1));
    return reader->left == 0 ? end_entry(reader, err) : RC_OK;
}

/* Hands out or passes over up to `n` bytes of the body; *taken of them are used up. */
static enum rc read_body(struct tar_reader *reader, const uint8_t *bytes, size_t n, size_t *taken,
                         struct err *err) {
    *taken = n < reader->left ? n : (size_t)reader->left;
    reader->left -= *taken;
    if (is_extension(reader->type))
        buf_add(&reader->extension, bytes, *taken);
    else if (is_file(reader->type))
        TRY(reader->sink.bytes(reader->sink.context, bytes, *taken, err));
    return reader->left == 0 ? end_entry(reader, err) : RC_OK;
}

enum rc tar_reader_push(struct tar_reader *reader, const uint8_t *bytes, size_t n,
                        struct err *err) {
    while (n > 0 && !reader->ended) {
        size_t taken;
        if (reader->left > 0) {
            TRY(read_body(reader, bytes, n, &taken, err));
        } else if (reader->padding > 0) {
            taken = n < reader->padding ? n : reader->padding;
            reader->padding -= (uint32_t)taken;
        } else {
            taken = TAR_READER_BLOCK - reader->block_used;
            taken = n < taken ? n : taken;
            memcpy(reader->block + reader->block_used, bytes, taken);
            reader->block_used += taken;
            if (reader->block_used == TAR_READER_BLOCK) {
                reader->block_used = 0;
                TRY(read_header(reader, err));
            }
        }
        bytes += taken;
        n -= taken;
    }
    return RC_OK;
}

enum rc tar_reader_finish(const struct tar_reader *reader, struct err *err) {
    if (reader->left > 0 || reader->padding > 0 || (reader->block_used > 0 && reader->entries > 0))
        return err_set(err, RC_INVALID, "the archive ends too early: save the image again");
    if (reader->entries == 0)
        return err_set(err, RC_INVALID, "this is an empty archive");
    return RC_OK;
}
