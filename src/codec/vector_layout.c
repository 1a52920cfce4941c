#include "codec/vector_layout.h"

#include "model/points.h"

static bool summary_is_possible(const struct vector_summary *summary) {
    return summary->count >= 1 && summary->count <= LIMIT_VECTOR_POINTS &&
           summary->kind <= POINTS_MIXED && summary->reserved == 0;
}

static enum rc check_step(const struct vector_summary *summary, int64_t *step_ms) {
    int64_t span;
    *step_ms = 0;
    if (__builtin_sub_overflow(summary->time_last_ms, summary->time_first_ms, &span))
        return RC_CORRUPT;
    if (summary->count == 1)
        return span == 0 ? RC_OK : RC_CORRUPT;
    if (span <= 0 || span % (summary->count - 1) != 0)
        return RC_CORRUPT;
    *step_ms = span / (summary->count - 1);
    return RC_OK;
}

/* Reads byte 0, and the length of the column of times: the reader stands at that column. */
static enum rc open_head(const struct vector_summary *summary, struct bytes_reader *reader,
                         struct vector_layout *layout, uint32_t *times_bytes) {
    if (!summary_is_possible(summary))
        return RC_CORRUPT;
    uint8_t head = bytes_take_u8(reader);
    layout->times_method = head & 3;
    layout->values_method = head >> 2 & 3;
    layout->doubles.scale = head >> 4;
    if (layout->times_method > VECTOR_TIMES_SECONDS ||
        layout->values_method > VECTOR_VALUES_DECIMAL_EXCEPT)
        return RC_CORRUPT;
    if (layout->values_method == VECTOR_VALUES_BITS && layout->doubles.scale != 0)
        return RC_CORRUPT;
    if (layout->values_method != VECTOR_VALUES_BITS && summary->kind == POINTS_INTEGERS)
        return RC_CORRUPT;
    *times_bytes = 0;
    if (layout->times_method != VECTOR_TIMES_STEP) {
        const uint8_t *length = bytes_take(reader, 2);
        *times_bytes = length == NULL ? 0 : bytes_u16(length);
    }
    return reader->failed ? RC_CORRUPT : RC_OK;
}

enum rc vector_layout_times(const struct vector_summary *summary, const uint8_t *payload,
                            struct vector_layout *layout) {
    struct bytes_reader reader = bytes_reader_of(payload, summary->payload_bytes);
    uint32_t times_bytes;
    TRY(open_head(summary, &reader, layout, &times_bytes));
    if (layout->times_method == VECTOR_TIMES_STEP)
        return check_step(summary, &layout->step_ms);
    const uint8_t *column = bytes_take(&reader, times_bytes);
    if (column == NULL)
        return RC_CORRUPT;
    reader = bytes_reader_of(column, times_bytes);
    TRY(integers_open(&reader, summary->count, &layout->times));
    return bytes_left(&reader) == 0 ? RC_OK : RC_CORRUPT;
}

static enum rc open_mask(const struct vector_summary *summary, struct bytes_reader *reader,
                         struct vector_layout *layout) {
    layout->mask_method = bytes_take_u8(reader);
    if (layout->mask_method > VECTOR_MASK_INTEGRAL)
        return RC_CORRUPT;
    if (layout->mask_method == VECTOR_MASK_STORED)
        layout->mask = bytes_take(reader, (summary->count + 7u) / 8);
    else if (layout->values_method == VECTOR_VALUES_BITS)
        return RC_CORRUPT;
    return reader->failed ? RC_CORRUPT : RC_OK;
}

enum rc vector_layout_values(const struct vector_summary *summary, const uint8_t *payload,
                             struct vector_layout *layout) {
    struct bytes_reader reader = bytes_reader_of(payload, summary->payload_bytes);
    uint32_t times_bytes;
    TRY(open_head(summary, &reader, layout, &times_bytes));
    if (bytes_take(&reader, times_bytes) == NULL)
        return RC_CORRUPT;
    if (summary->kind == POINTS_MIXED)
        TRY(open_mask(summary, &reader, layout));
    if (layout->values_method == VECTOR_VALUES_BITS)
        TRY(integers_open(&reader, summary->count, &layout->bits));
    else
        TRY(doubles_open(&reader, summary->count, layout->doubles.scale,
                         layout->values_method == VECTOR_VALUES_DECIMAL_EXCEPT, &layout->doubles));
    return bytes_left(&reader) == 0 ? RC_OK : RC_CORRUPT;
}
