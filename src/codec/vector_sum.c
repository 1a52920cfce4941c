#include "codec/vector.h"

#include "base/check.h"
#include "codec/vector_layout.h"

static enum rc sum_doubles(const struct vector_summary *summary, const uint8_t *payload,
                           uint32_t from, uint32_t to, double *sum) {
    double values[LIMIT_VECTOR_POINTS];
    TRY(vector_decode_doubles(summary, payload, values));
    *sum = 0;
    for (uint32_t i = from; i < to; i++)
        *sum += values[i];
    return RC_OK;
}

enum rc vector_sum(const struct vector_summary *summary, const uint8_t *payload, uint32_t from,
                   uint32_t to, double *sum) {
    CHECK(from < to && to <= summary->count);
    struct vector_layout layout;
    if (from == 0 && to == summary->count) {
        *sum = summary->sum;
        return RC_OK;
    }
    TRY(vector_layout_values(summary, payload, &layout));
    if (summary->kind == POINTS_INTEGERS) {
        __int128 exact;
        TRY(integers_sum(&layout.bits, from, to, &exact));
        *sum = (double)exact;
        return RC_OK;
    }
    if (layout.values_method == VECTOR_VALUES_DECIMAL)
        return doubles_sum(&layout.doubles, from, to, sum);
    return sum_doubles(summary, payload, from, to, sum);
}
