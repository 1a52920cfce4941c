#include "query/rate.h"

struct sample {
    int64_t time_ms;
    struct value value;
};

static double as_double(struct value value) {
    return value.is_float ? points_double_of(value.bits) : (double)(int64_t)value.bits;
}

/* Differences of integers wrap, so that a 64-bit counter may pass its end unnoticed. */
static double difference(struct value from, struct value to) {
    if (!from.is_float && !to.is_float)
        return (double)(int64_t)(to.bits - from.bits);
    return as_double(to) - as_double(from);
}

static double difference_after_reset(int64_t counter_max, struct value from, struct value to) {
    if (!from.is_float && !to.is_float)
        return (double)(int64_t)((uint64_t)counter_max - from.bits + to.bits);
    return (double)counter_max - as_double(from) + as_double(to);
}

/* False if the rate is left out. */
static bool rate_between(const struct query_rate *options, const struct sample *from,
                         const struct sample *to, double *rate) {
    double seconds = (double)(to->time_ms - from->time_ms) / 1000.0;
    double delta = difference(from->value, to->value);
    if (!options->counter || !(delta < 0)) {
        *rate = delta / seconds;
        return true;
    }
    if (options->drop_resets)
        return false;
    *rate = difference_after_reset(options->counter_max, from->value, to->value) / seconds;
    if (options->reset_value > 0 && *rate > (double)options->reset_value)
        *rate = 0;
    return true;
}

void rate_run(const struct query_rate *options, struct merge_column *column, int64_t *time_ms,
              uint64_t *bits) {
    struct sample before = {0};
    size_t count = 0;
    double first = 0;
    for (size_t i = 0; i < column->count; i++) {
        struct sample sample = {column->time_ms[i],
                                {column->bits[i], merge_column_is_float(column, i)}};
        double rate;
        bool kept = rate_between(options, &before, &sample, &rate);
        before = sample;
        if (!kept)
            continue;
        /* The first one goes to `before`; writing one place behind keeps in-place use safe. */
        if (count == 0) {
            first = rate;
        } else {
            time_ms[count - 1] = sample.time_ms;
            bits[count - 1] = points_bits_of(rate);
        }
        count++;
    }
    *column = (struct merge_column){
        .time_ms = time_ms,
        .bits = bits,
        .count = count < 2 ? 0 : count - 1,
        .kind = POINTS_DOUBLES,
        .has_before = count >= 2,
        .before = first,
    };
}
