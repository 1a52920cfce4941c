#include "query/merge.h"

#include <math.h>
#include <string.h>

#define EACH(value)                                                                                \
    for (size_t i = 0; i < count; i++) {                                                           \
        double v = points_double_of(bits[i]);                                                      \
        out[i] = points_bits_of(value);                                                            \
    }                                                                                              \
    return true

/* What a slice gives: a sum begins at 0.0 and leaves NaN out, the least and the greatest begin at
   an infinity, which then stands for nothing. */
static bool alone_doubles(enum aggregator aggregator, const uint64_t *restrict bits, size_t count,
                          uint64_t *restrict out) {
    switch (aggregator) {
    case AGGREGATOR_SUM:
    case AGGREGATOR_PFSUM:
    case AGGREGATOR_ZIMSUM:
    case AGGREGATOR_AVG:
        EACH(v == v ? v + 0.0 : NAN);
    case AGGREGATOR_MIN:
    case AGGREGATOR_MIMMIN:
        EACH(v < INFINITY ? v : NAN);
    case AGGREGATOR_MAX:
    case AGGREGATOR_MIMMAX:
        EACH(v > -INFINITY ? v : NAN);
    case AGGREGATOR_MULT:
    case AGGREGATOR_FIRST:
    case AGGREGATOR_LAST:
    case AGGREGATOR_NONE:
        EACH(v);
    default:
        return false;
    }
}
#undef EACH

static bool alone_ints(enum aggregator aggregator, const uint64_t *bits, size_t count,
                       uint64_t *out) {
    switch (aggregator) {
    case AGGREGATOR_SUM:
    case AGGREGATOR_PFSUM:
    case AGGREGATOR_ZIMSUM:
    case AGGREGATOR_AVG:
    case AGGREGATOR_MIN:
    case AGGREGATOR_MIMMIN:
    case AGGREGATOR_MAX:
    case AGGREGATOR_MIMMAX:
    case AGGREGATOR_MULT:
    case AGGREGATOR_FIRST:
    case AGGREGATOR_LAST:
    case AGGREGATOR_NONE:
        if (count > 0)
            memcpy(out, bits, count * sizeof(*out));
        return true;
    default:
        return false;
    }
}

bool merge_alone(enum aggregator aggregator, enum points_kind kind, const uint64_t *bits,
                 size_t count, uint64_t *out) {
    switch (kind) {
    case POINTS_DOUBLES:
        return alone_doubles(aggregator, bits, count, out);
    case POINTS_INTEGERS:
        return alone_ints(aggregator, bits, count, out);
    case POINTS_MIXED:
        break;
    }
    return false;
}
