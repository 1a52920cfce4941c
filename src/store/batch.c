#include "store/batch.h"

#include "base/bytes.h"
#include "base/check.h"
#include "codec/doubles.h"

#include <string.h>

/* The first byte of a points record. */
enum {
    FLAG_ONE_TIME = 1, /* all points have the time of the first: no time deltas follow */
    FLAG_INTEGERS = 2, /* at least one integer */
    FLAG_DOUBLES = 4,  /* at least one double; with FLAG_INTEGERS too, a mask follows */
    FLAGS_ALL = 7
};

/* The first byte of a chunk of doubles: a scale, or this for doubles as they are. */
enum { CHUNK_RAW = 255, CHUNK_POINTS = LIMIT_VECTOR_POINTS };

enum {
    HEADER_BYTES = 1 + 3 + BYTES_VARINT_MAX,
    POINT_BYTES = 5 + 7 + 1 + BYTES_VARINT_MAX,
    CHUNK_BYTES = 1 + 3,
    EXCEPTION_BYTES = 3 + 8
};

size_t batch_points_bound(uint32_t count) {
    size_t chunks = count / CHUNK_POINTS + 1;
    /* Digits take less than raw doubles by more than what few exceptions take more. */
    return HEADER_BYTES + (size_t)count * POINT_BYTES + chunks * CHUNK_BYTES;
}

/* ---- encoding ---- */

static uint8_t choose_flags(const struct batch_points *points) {
    const int64_t *time_ms = points->time_ms;
    const uint8_t *is_float = points->is_float;
    uint32_t n = points->count;
    uint64_t time_differs = 0;
    uint32_t floats = 0;
    for (uint32_t i = 0; i < n; i++)
        time_differs |= (uint64_t)(time_ms[i] ^ time_ms[0]);
    for (uint32_t i = 0; i < n; i++)
        floats += is_float[i];
    uint8_t flags = time_differs == 0 ? FLAG_ONE_TIME : 0;
    if (floats > 0)
        flags |= FLAG_DOUBLES;
    if (floats < n)
        flags |= FLAG_INTEGERS;
    return flags;
}

static uint8_t *put_times(const struct batch_points *points, uint8_t flags, uint8_t *at) {
    at = bytes_put_varint(at, (uint64_t)points->time_ms[0]);
    if (flags & FLAG_ONE_TIME)
        return at;
    for (uint32_t i = 1; i < points->count; i++)
        at = bytes_put_varint(at, bytes_zigzag(points->time_ms[i] - points->time_ms[i - 1]));
    return at;
}

/* Whether all differences between neighbours take one byte. */
static bool are_near(const uint32_t *series_id, uint32_t count) {
    uint32_t far = series_id[0] >> 31;
    for (uint32_t i = 1; i < count; i++)
        far |= (series_id[i] - series_id[i - 1] + 64) >> 7 | series_id[i] >> 31;
    return far == 0;
}

static uint8_t *put_series(const uint32_t *series_id, uint32_t count, uint8_t *at) {
    at = bytes_put_varint(at, bytes_zigzag((int64_t)series_id[0]));
    if (are_near(series_id, count)) {
        for (uint32_t i = 1; i < count; i++)
            at[i - 1] = (uint8_t)bytes_zigzag((int8_t)(series_id[i] - series_id[i - 1]));
        return at + count - 1;
    }
    for (uint32_t i = 1; i < count; i++)
        at = bytes_put_varint(at, bytes_zigzag((int64_t)series_id[i] - (int64_t)series_id[i - 1]));
    return at;
}

/* Up to CHUNK_POINTS signed numbers as zigzag varints. Their lengths are not a pattern a processor
   could predict, so how to write them without branches is decided for all of them at once. */
static uint8_t *put_zigzags(const uint64_t *numbers, uint32_t n, uint8_t *at) {
    uint64_t zigzags[CHUNK_POINTS], all = 0;
    for (uint32_t i = 0; i < n; i++) {
        zigzags[i] = bytes_zigzag((int64_t)numbers[i]);
        all |= zigzags[i];
    }
    if (all >> 14 != 0) {
        for (uint32_t i = 0; i < n; i++)
            at = bytes_put_varint_mixed(at, zigzags[i]);
        return at;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t v = (uint32_t)zigzags[i], two = v > 0x7f;
        bytes_put_u16(at, (uint16_t)((v & 0x7f) | two << 7 | (v << 1 & 0x7f00)));
        at += 1 + two;
    }
    return at;
}

/* Eight bytes of 0 or 1 as the bits of one: each is moved to its place by its term of a product. */
static uint8_t gather_bits(const uint8_t *flags) {
    return (uint8_t)(bytes_u64(flags) * UINT64_C(0x0102040810204080) >> 56);
}

static uint8_t *put_mask(const struct batch_points *points, uint8_t *at) {
    uint32_t i = 0;
    for (; i + 8 <= points->count; i += 8)
        *at++ = gather_bits(points->is_float + i);
    uint8_t rest[8] = {0};
    if (i == points->count)
        return at;
    memcpy(rest, points->is_float + i, points->count - i);
    *at++ = gather_bits(rest);
    return at;
}

/* Decimals as digits of one scale, with the few that are none set apart. */
static uint8_t *put_digits(const struct doubles_plan *plan, const uint64_t *bits, uint32_t n,
                           uint8_t *at) {
    *at++ = (uint8_t)plan->scale;
    at = bytes_put_varint(at, plan->exceptions);
    uint32_t next = 0;
    for (uint32_t i = 0; plan->exceptions > 0 && i < n; i++) {
        if (!plan->is_exception[i])
            continue;
        at = bytes_put_varint(at, i - next);
        bytes_put_u64(at, bits[i]);
        at += 8;
        next = i + 1;
    }
    return put_zigzags(plan->digits, n, at);
}

static uint8_t *put_chunk(const uint64_t *bits, uint32_t n, uint8_t *at) {
    struct doubles_plan plan;
    if (n > 0 && doubles_plan(bits, n, &plan))
        return put_digits(&plan, bits, n, at);
    *at++ = CHUNK_RAW;
    memcpy(at, bits, n * sizeof(*bits));
    return at + n * sizeof(*bits);
}

static uint8_t *put_doubles(const struct batch_points *points, uint8_t *at) {
    uint64_t bits[CHUNK_POINTS];
    uint32_t n = 0;
    for (uint32_t i = 0; i < points->count; i++) {
        bits[n] = points->bits[i];
        n += points->is_float[i];
        if (n == CHUNK_POINTS) {
            at = put_chunk(bits, n, at);
            n = 0;
        }
    }
    return n > 0 ? put_chunk(bits, n, at) : at;
}

/* Branch-free: which points are integers follows no pattern. */
static uint32_t pick_integers(const struct batch_points *points, uint32_t from, uint32_t to,
                              uint64_t *bits) {
    uint32_t n = 0;
    for (uint32_t i = from; i < to; i++) {
        bits[n] = points->bits[i];
        n += points->is_float[i] == 0;
    }
    return n;
}

static uint8_t *put_integers(const struct batch_points *points, bool are_all, uint8_t *at) {
    for (uint32_t from = 0; from < points->count; from += CHUNK_POINTS) {
        uint64_t bits[CHUNK_POINTS];
        uint32_t left = points->count - from;
        uint32_t n = left < CHUNK_POINTS ? left : CHUNK_POINTS;
        if (are_all)
            at = put_zigzags(points->bits + from, n, at);
        else
            at = put_zigzags(bits, pick_integers(points, from, from + n, bits), at);
    }
    return at;
}

size_t batch_encode_points(const struct batch_points *points, uint8_t *out) {
    CHECK(points->count >= 1 && points->count <= LIMIT_BATCH_POINTS);
    uint8_t flags = choose_flags(points);
    uint8_t *at = out;
    *at++ = flags;
    at = bytes_put_varint(at, points->count);
    at = put_times(points, flags, at);
    at = put_series(points->series_id, points->count, at);
    if ((flags & FLAG_INTEGERS) && (flags & FLAG_DOUBLES))
        at = put_mask(points, at);
    if (flags & FLAG_INTEGERS)
        at = put_integers(points, (flags & FLAG_DOUBLES) == 0, at);
    if (flags & FLAG_DOUBLES)
        at = put_doubles(points, at);
    return (size_t)(at - out);
}

/* ---- decoding ---- */

static void take_times(struct bytes_reader *reader, uint8_t flags, struct batch_points *points) {
    uint64_t time_ms = bytes_take_varint(reader);
    for (uint32_t i = 0; i < points->count; i++) {
        if (i > 0 && !(flags & FLAG_ONE_TIME))
            time_ms += (uint64_t)bytes_unzigzag(bytes_take_varint(reader));
        if (time_ms < 1 || time_ms > (uint64_t)LIMIT_TIME_MS_MAX)
            reader->failed = true;
        points->time_ms[i] = (int64_t)time_ms;
    }
}

static void take_series(struct bytes_reader *reader, uint32_t *series_id, uint32_t count) {
    uint64_t id = 0;
    for (uint32_t i = 0; i < count; i++) {
        id += (uint64_t)bytes_unzigzag(bytes_take_varint(reader));
        if (id < 1 || id > UINT32_MAX)
            reader->failed = true;
        series_id[i] = (uint32_t)id;
    }
}

static void take_kinds(struct bytes_reader *reader, uint8_t flags, struct batch_points *points) {
    bool mixed = (flags & FLAG_INTEGERS) && (flags & FLAG_DOUBLES);
    if (!mixed) {
        memset(points->is_float, (flags & FLAG_DOUBLES) != 0, points->count);
        return;
    }
    const uint8_t *mask = bytes_take(reader, (points->count + 7) / 8);
    for (uint32_t i = 0; mask != NULL && i < points->count; i++)
        points->is_float[i] = mask[i / 8] >> (i % 8) & 1;
}

static uint64_t take_finite(struct bytes_reader *reader) {
    const uint64_t exponent = UINT64_C(0x7ff) << 52;
    uint64_t bits = bytes_take_u64(reader);
    if ((bits & exponent) == exponent)
        reader->failed = true;
    return bits;
}

static void take_digits(struct bytes_reader *reader, uint32_t scale, uint32_t n, uint64_t *bits) {
    uint64_t digits[CHUNK_POINTS];
    const int64_t limit = INT64_C(1) << 50;
    for (uint32_t i = 0; i < n; i++) {
        digits[i] = (uint64_t)bytes_unzigzag(bytes_take_varint(reader));
        if ((int64_t)digits[i] <= -limit || (int64_t)digits[i] >= limit) {
            reader->failed = true;
            return;
        }
    }
    doubles_from_digits(digits, n, scale, bits);
}

static void take_decimals(struct bytes_reader *reader, uint32_t scale, uint32_t n, uint64_t *bits) {
    uint64_t exceptions = bytes_take_varint(reader);
    struct bytes_reader exceptions_at = *reader;
    for (uint64_t i = 0; i < exceptions && !reader->failed; i++) {
        bytes_take_varint(reader);
        take_finite(reader);
    }
    if (scale > DOUBLES_SCALE_MAX || exceptions > n || reader->failed) {
        reader->failed = true;
        return;
    }
    take_digits(reader, scale, n, bits);
    uint64_t at = 0;
    for (uint64_t i = 0; i < exceptions; i++, at++) {
        uint64_t gap = bytes_take_varint(&exceptions_at);
        if (gap >= n || at + gap >= n) {
            reader->failed = true;
            return;
        }
        at += gap;
        bits[at] = bytes_take_u64(&exceptions_at);
    }
}

static void take_chunk(struct bytes_reader *reader, uint32_t n, uint64_t *bits) {
    uint8_t scale = bytes_take_u8(reader);
    if (scale != CHUNK_RAW) {
        take_decimals(reader, scale, n, bits);
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        bits[i] = take_finite(reader);
}

static void take_doubles(struct bytes_reader *reader, struct batch_points *points) {
    uint32_t left = 0;
    for (uint32_t i = 0; i < points->count; i++)
        left += points->is_float[i];
    for (uint32_t i = 0; left > 0 && !reader->failed;) {
        uint64_t bits[CHUNK_POINTS];
        uint32_t n = left < CHUNK_POINTS ? left : CHUNK_POINTS;
        take_chunk(reader, n, bits);
        left -= n;
        for (uint32_t k = 0; k < n && !reader->failed; i++)
            if (points->is_float[i])
                points->bits[i] = bits[k++];
    }
}

static void take_integers(struct bytes_reader *reader, struct batch_points *points) {
    for (uint32_t i = 0; i < points->count; i++)
        if (!points->is_float[i])
            points->bits[i] = (uint64_t)bytes_unzigzag(bytes_take_varint(reader));
}

enum rc batch_decode_points(const uint8_t *bytes, size_t n, struct batch_points *points) {
    struct bytes_reader reader = bytes_reader_of(bytes, n);
    uint8_t flags = bytes_take_u8(&reader);
    uint64_t count = bytes_take_varint(&reader);
    if (reader.failed || (flags & ~FLAGS_ALL) != 0 ||
        (flags & (FLAG_INTEGERS | FLAG_DOUBLES)) == 0 || count < 1 || count > LIMIT_BATCH_POINTS)
        return RC_CORRUPT;
    points->count = (uint32_t)count;
    take_times(&reader, flags, points);
    take_series(&reader, points->series_id, points->count);
    take_kinds(&reader, flags, points);
    if (reader.failed)
        return RC_CORRUPT;
    take_integers(&reader, points);
    take_doubles(&reader, points);
    return reader.failed || bytes_left(&reader) != 0 ? RC_CORRUPT : RC_OK;
}

/* ---- deletes ---- */

size_t batch_encode_delete(const struct batch_delete *batch, uint8_t *out) {
    CHECK(batch->count >= 1 && batch->count <= BATCH_DELETE_SERIES);
    uint8_t *at = out;
    at = bytes_put_varint(at, bytes_zigzag(batch->from_ms));
    at = bytes_put_varint(at, bytes_zigzag(batch->to_ms));
    at = bytes_put_varint(at, batch->count);
    at = put_series(batch->series_id, batch->count, at);
    return (size_t)(at - out);
}

enum rc batch_decode_delete(const uint8_t *bytes, size_t n, struct batch_delete *batch) {
    struct bytes_reader reader = bytes_reader_of(bytes, n);
    batch->from_ms = bytes_unzigzag(bytes_take_varint(&reader));
    batch->to_ms = bytes_unzigzag(bytes_take_varint(&reader));
    uint64_t count = bytes_take_varint(&reader);
    if (reader.failed || count < 1 || count > BATCH_DELETE_SERIES || batch->from_ms > batch->to_ms)
        return RC_CORRUPT;
    batch->count = (uint32_t)count;
    take_series(&reader, batch->series_id, batch->count);
    return reader.failed || bytes_left(&reader) != 0 ? RC_CORRUPT : RC_OK;
}
