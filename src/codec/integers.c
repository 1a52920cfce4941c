#include "codec/integers.h"

#include "base/check.h"
#include "codec/entropy.h"
#include "codec/kernels.h"
#include "codec/packed.h"

#include <string.h>

enum { HEAD_BYTES_MAX = 3 + 2 * BYTES_VARINT_MAX };

size_t integers_bound(uint32_t n) {
    return HEAD_BYTES_MAX + packed_bytes(n, 64);
}

static bool is_delta(const struct integers *column) {
    return (column->flags & INTEGERS_DELTA) != 0;
}

/* ---- opening ---- */

static enum rc open_entropy(struct bytes_reader *reader, struct integers *column) {
    column->book = bytes_take_u8(reader);
    uint64_t bytes = bytes_take_varint(reader);
    if (column->book >= ENTROPY_BOOKS || bytes > ENTROPY_STREAM_BYTES_MAX ||
        column->width > INTEGERS_LOW_BITS_MAX || column->n < ENTROPY_VALUES_MIN)
        return RC_CORRUPT;
    column->stream_bytes = (uint32_t)bytes;
    column->stream = bytes_take(reader, column->stream_bytes);
    return RC_OK;
}

static enum rc open_patches(struct bytes_reader *reader, struct integers *column) {
    uint64_t count = bytes_take_varint(reader);
    if (count == 0 || count > column->n)
        return RC_CORRUPT;
    column->patches = (uint32_t)count;
    column->patches_at = *reader;
    uint64_t next = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t gap = bytes_take_varint(reader);
        bytes_take_varint(reader);
        if (reader->failed || gap >= column->n || next + gap >= column->n)
            return RC_CORRUPT;
        next += gap + 1;
    }
    return RC_OK;
}

enum rc integers_open(struct bytes_reader *reader, uint32_t n, struct integers *column) {
    CHECK(n >= 1 && n <= KERNELS_VALUES);
    *column = (struct integers){.n = n, .flags = bytes_take_u8(reader)};
    column->width = bytes_take_u8(reader);
    if (column->flags & INTEGERS_SHIFT)
        column->shift = bytes_take_u8(reader);
    column->base = (uint64_t)bytes_unzigzag(bytes_take_varint(reader));
    if (is_delta(column))
        column->start = (uint64_t)bytes_unzigzag(bytes_take_varint(reader));
    if (column->flags > INTEGERS_FLAGS || column->width > 64 || column->shift > 63 ||
        column->width + column->shift > 64)
        return RC_CORRUPT;
    if (column->flags & INTEGERS_ENTROPY)
        TRY(open_entropy(reader, column));
    column->packed = bytes_take(reader, packed_bytes(n, column->width));
    if (column->flags & INTEGERS_PATCHED)
        TRY(open_patches(reader, column));
    return reader->failed ? RC_CORRUPT : RC_OK;
}

/* ---- decoding ---- */

/* Whether sums of up to LIMIT_VECTOR_POINTS differences fit a signed 32-bit number: an offset has
   at most 19 bits (entropy-coded: INTEGERS_LOW_BITS_MAX + 4). */
static bool sums_fit_32(const struct integers *column) {
    int64_t base = (int64_t)column->base;
    return column->shift == 0 && column->patches == 0 && column->width <= 19 && base < 1 << 19 &&
           base > -(1 << 19);
}

static uint32_t rows_of(uint32_t n) {
    return (n + KERNELS_LANES - 1) / KERNELS_LANES;
}

/* Offsets of a column that has less than 32 bits of them. */
static enum rc take_offsets(const struct integers *column, uint32_t *offsets) {
    if ((column->flags & INTEGERS_ENTROPY) == 0) {
        packed_take32(column->packed, column->n, column->width, offsets);
        return RC_OK;
    }
    if (column->width == 0)
        return entropy_take(column->book, column->stream, column->stream_bytes, column->n, offsets);
    uint32_t symbols[KERNELS_VALUES] ALIGNED(64);
    TRY(entropy_take(column->book, column->stream, column->stream_bytes, column->n, symbols));
    packed_take32(column->packed, column->n, column->width, offsets);
    kernels_best()->join(offsets, symbols, column->n, column->width);
    return RC_OK;
}

static void apply_patches(const struct integers *column, uint64_t *values) {
    struct bytes_reader reader = column->patches_at;
    uint32_t at = 0;
    for (uint32_t i = 0; i < column->patches; i++) {
        at += (uint32_t)bytes_take_varint(&reader);
        values[at++] = column->base + (uint64_t)bytes_unzigzag(bytes_take_varint(&reader));
    }
}

/* The general way: whatever the width, with patches. */
static enum rc decode_general(const struct integers *column, uint64_t *values) {
    const struct kernels *k = kernels_best();
    uint32_t n = column->n;
    if (column->width <= 32) {
        uint32_t offsets[KERNELS_VALUES] ALIGNED(64);
        TRY(take_offsets(column, offsets));
        k->widen(offsets, n, column->base, column->shift, values);
    } else {
        uint64_t offsets[KERNELS_VALUES] ALIGNED(64);
        packed_take64(column->packed, n, column->width, offsets);
        k->rebase(offsets, n, column->base, column->shift);
        memcpy(values, offsets, n * sizeof(*values));
    }
    apply_patches(column, values);
    if (is_delta(column))
        k->prefix64(values, n, column->start);
    return RC_OK;
}

enum rc integers_decode(const struct integers *column, uint64_t *values) {
    const struct kernels *k = kernels_best();
    if (column->width == 0 && (column->flags & (INTEGERS_ENTROPY | INTEGERS_PATCHED)) == 0) {
        uint64_t step = is_delta(column) ? column->base : 0;
        k->ramp(column->start + column->base, step, column->n, values);
        return RC_OK;
    }
    if (!is_delta(column) || !sums_fit_32(column))
        return decode_general(column, values);
    uint32_t offsets[KERNELS_VALUES] ALIGNED(64);
    TRY(take_offsets(column, offsets));
    k->prefix32(offsets, rows_of(column->n), 0, (uint32_t)column->base);
    k->widen_signed(offsets, column->n, column->start, values);
    return RC_OK;
}

bool integers_is_narrow(const struct integers *column) {
    const int64_t limit = INT64_C(1) << 49;
    int64_t reference = (int64_t)(is_delta(column) ? column->start : column->base);
    if (reference >= limit || reference <= -limit)
        return false;
    if (is_delta(column))
        return sums_fit_32(column);
    return column->width <= 31 && column->shift == 0 && column->patches == 0;
}

enum rc integers_decode_narrow(const struct integers *column, double divisor, void *out) {
    const struct kernels *k = kernels_best();
    uint32_t offsets[KERNELS_VALUES] ALIGNED(64);
    TRY(take_offsets(column, offsets));
    if (is_delta(column))
        k->prefix32(offsets, rows_of(column->n), 0, (uint32_t)column->base);
    double reference = (double)(int64_t)(is_delta(column) ? column->start : column->base);
    k->offset_doubles(offsets, column->n, reference, divisor, out);
    return RC_OK;
}

/* ---- sums ---- */

/* Adds one by one: where values may be so large that nothing shorter is safe. */
static enum rc sum_decoded(const struct integers *column, uint32_t from, uint32_t to,
                           __int128 *sum) {
    uint64_t values[KERNELS_VALUES];
    TRY(integers_decode(column, values));
    *sum = 0;
    for (uint32_t i = from; i < to; i++)
        *sum += (int64_t)values[i];
    return RC_OK;
}

enum { SYMBOL_BITS = 4 };
_Static_assert(ENTROPY_SYMBOLS == 1 << SYMBOL_BITS, "symbols have four bits");

/* Values are base + offset modulo 2^64: whether no offset of the column's width takes one past the
   largest signed number, so that sums need not wrap either. */
static bool never_wraps(const struct integers *column) {
    uint32_t bits = column->width + ((column->flags & INTEGERS_ENTROPY) != 0 ? SYMBOL_BITS : 0);
    if (bits + column->shift > 62)
        return false;
    int64_t span = (int64_t)(((UINT64_C(1) << bits) - 1) << column->shift);
    return (int64_t)column->base <= INT64_MAX - span;
}

enum rc integers_sum(const struct integers *column, uint32_t from, uint32_t to, __int128 *sum) {
    CHECK(from < to && to <= column->n);
    const struct kernels *k = kernels_best();
    uint32_t offsets[KERNELS_VALUES] ALIGNED(64);
    if (!is_delta(column) && column->width <= 32 && column->patches == 0 && never_wraps(column)) {
        TRY(take_offsets(column, offsets));
        *sum = (__int128)(int64_t)column->base * (to - from) +
               ((__int128)k->sum32(offsets + from, to - from) << column->shift);
        return RC_OK;
    }
    /* The start of the differences is exact as a signed number when it is not near the end. */
    int64_t start = (int64_t)column->start;
    if (is_delta(column) && sums_fit_32(column) && start < INT64_MAX / 2 && start > INT64_MIN / 2) {
        TRY(take_offsets(column, offsets));
        k->prefix32(offsets, rows_of(to), 0, (uint32_t)column->base);
        *sum = (__int128)start * (to - from) + k->sum32_signed(offsets + from, to - from);
        return RC_OK;
    }
    return sum_decoded(column, from, to, sum);
}
