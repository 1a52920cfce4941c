#include "query/aggregator.h"

#include "base/attr.h"
#include "base/check.h"
#include "query/select.h"

#include <math.h>

static const struct {
    const char *name;
    enum interpolation interpolation;
} table[] = {
#define X(identifier, name, interpolation)                                                         \
    [AGGREGATOR_##identifier] = {name, INTERPOLATION_##interpolation},
    AGGREGATOR_TABLE(X)
#undef X
};

bool aggregator_find(str name, enum aggregator *aggregator) {
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        if (!str_eq(name, str_of(table[i].name)))
            continue;
        *aggregator = (enum aggregator)i;
        return true;
    }
    return false;
}

const char *aggregator_name(enum aggregator aggregator) {
    CHECK((size_t)aggregator < COUNT_OF(table));
    return table[aggregator].name;
}

enum interpolation aggregator_interpolation(enum aggregator aggregator) {
    CHECK((size_t)aggregator < COUNT_OF(table));
    return table[aggregator].interpolation;
}

/* Some differ only in their interpolation: the one that stands for all with the same arithmetic. */
static enum aggregator arithmetic_of(enum aggregator aggregator) {
    switch (aggregator) {
    case AGGREGATOR_PFSUM:
    case AGGREGATOR_ZIMSUM:
        return AGGREGATOR_SUM;
    case AGGREGATOR_MIMMIN:
        return AGGREGATOR_MIN;
    case AGGREGATOR_MIMMAX:
        return AGGREGATOR_MAX;
    case AGGREGATOR_NONE:
        return AGGREGATOR_FIRST;
    default:
        return aggregator;
    }
}

/* ---- percentiles ---- */

enum estimate { ESTIMATE_LEGACY, ESTIMATE_R3, ESTIMATE_R7 };

/* The table lists six fractions for each of the three families, in this order. */
enum { FRACTIONS = 6 };
static const double fractions[FRACTIONS] = {0.5, 0.75, 0.9, 0.95, 0.99, 0.999};
_Static_assert(AGGREGATOR_P999 - AGGREGATOR_P50 == FRACTIONS - 1, "p family");
_Static_assert(AGGREGATOR_EP50R3 - AGGREGATOR_P50 == FRACTIONS, "R-3 family");
_Static_assert(AGGREGATOR_EP50R7 - AGGREGATOR_P50 == 2 * FRACTIONS, "R-7 family");
_Static_assert(AGGREGATOR_EP999R7 + 1 == AGGREGATOR_COUNT_OF, "percentiles stand last");

static double fraction_of(enum aggregator aggregator) {
    return fractions[(aggregator - AGGREGATOR_P50) % FRACTIONS];
}

/* Position among 1 .. n, possibly between two values or outside. */
static double percentile_position(enum estimate estimate, double fraction, uint32_t n) {
    double count = n;
    switch (estimate) {
    case ESTIMATE_R3:
        return fraction <= 0.5 / count ? 0 : rint(count * fraction);
    case ESTIMATE_R7:
        return 1 + (count - 1) * fraction;
    case ESTIMATE_LEGACY:
        break;
    }
    return fraction * (count + 1);
}

/* Where a percentile lies in sorted values: `part` of the way from [rank] to [rank + 1]; [rank + 1]
   exists unless `part` is 0. */
struct place {
    uint32_t rank;
    double part;
};

static struct place percentile_place(enum estimate estimate, double fraction, uint32_t n) {
    double position = percentile_position(estimate, fraction, n);
    if (position < 1)
        return (struct place){0, 0};
    if (position >= n)
        return (struct place){n - 1, 0};
    double whole = floor(position);
    return (struct place){(uint32_t)whole - 1, position - whole};
}

/* ---- integers ---- */

/* As Java converts: towards zero, NaN to 0, out of range to the nearest limit. */
static int64_t truncate_to_int(double value) {
    if (isnan(value))
        return 0;
    if (value >= 0x1p63)
        return INT64_MAX;
    if (value <= -0x1p63)
        return INT64_MIN;
    return (int64_t)value;
}

static int64_t sum_ints(const int64_t *values, uint32_t n) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += (uint64_t)values[i];
    return (int64_t)sum;
}

static int64_t product_ints(const int64_t *values, uint32_t n) {
    uint64_t product = 1;
    for (uint32_t i = 0; i < n; i++)
        product *= (uint64_t)values[i];
    return (int64_t)product;
}

static int64_t square_sum_ints(const int64_t *values, uint32_t n) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += (uint64_t)values[i] * (uint64_t)values[i];
    return (int64_t)sum;
}

static int64_t min_ints(const int64_t *values, uint32_t n) {
    int64_t min = values[0];
    for (uint32_t i = 1; i < n; i++)
        min = values[i] < min ? values[i] : min;
    return min;
}

static int64_t max_ints(const int64_t *values, uint32_t n) {
    int64_t max = values[0];
    for (uint32_t i = 1; i < n; i++)
        max = values[i] > max ? values[i] : max;
    return max;
}

/* One step of Welford's running mean and sum of squared distances; `n` counts `x`. */
static void welford(double x, double n, double *mean, double *distances) {
    double old = *mean;
    *mean = old + (x - old) / n;
    *distances += (x - old) * (x - *mean);
}

static int64_t deviation_ints(const int64_t *values, uint32_t n) {
    double mean = (double)values[0];
    double distances = 0;
    for (uint32_t i = 1; i < n; i++)
        welford((double)values[i], i + 1.0, &mean, &distances);
    return truncate_to_int(sqrt(distances / n));
}

static int64_t percentile_ints(enum aggregator aggregator, int64_t *values, uint32_t n) {
    enum estimate estimate = (enum estimate)((aggregator - AGGREGATOR_P50) / FRACTIONS);
    struct place place = percentile_place(estimate, fraction_of(aggregator), n);
    double below = (double)select_int(values, n, place.rank);
    if (place.part == 0)
        return truncate_to_int(below);
    double above = (double)select_int(values, n, place.rank + 1);
    return truncate_to_int(below + place.part * (above - below));
}

int64_t aggregator_run_ints(enum aggregator aggregator, int64_t *values, uint32_t n) {
    CHECK(n > 0);
    switch (arithmetic_of(aggregator)) {
    case AGGREGATOR_SUM:
        return sum_ints(values, n);
    case AGGREGATOR_MIN:
        return min_ints(values, n);
    case AGGREGATOR_MAX:
        return max_ints(values, n);
    case AGGREGATOR_AVG:
        return sum_ints(values, n) / (int64_t)n;
    case AGGREGATOR_MEDIAN:
        return select_int(values, n, n / 2);
    case AGGREGATOR_MULT:
        return product_ints(values, n);
    case AGGREGATOR_DEV:
        return deviation_ints(values, n);
    case AGGREGATOR_DIFF:
        return (int64_t)((uint64_t)values[n - 1] - (uint64_t)values[0]);
    case AGGREGATOR_COUNT:
        return n;
    case AGGREGATOR_SQUARESUM:
        return square_sum_ints(values, n);
    case AGGREGATOR_FIRST:
        return values[0];
    case AGGREGATOR_LAST:
        return values[n - 1];
    default:
        return percentile_ints(aggregator, values, n);
    }
}

/* ---- doubles ---- */

/* Sum of what is not NaN; the number of those in *present. */
static double sum_doubles(const double *values, uint32_t n, uint32_t *present) {
    double sum = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (isnan(values[i]))
            continue;
        sum += values[i];
        count++;
    }
    *present = count;
    return count == 0 ? NAN : sum;
}

static double min_doubles(const double *values, uint32_t n) {
    double min = INFINITY;
    for (uint32_t i = 0; i < n; i++)
        if (values[i] < min)
            min = values[i];
    return min == INFINITY ? NAN : min;
}

static double max_doubles(const double *values, uint32_t n) {
    double max = -INFINITY;
    for (uint32_t i = 0; i < n; i++)
        if (values[i] > max)
            max = values[i];
    return max == -INFINITY ? NAN : max;
}

static double product_doubles(const double *values, uint32_t n) {
    double product = 1;
    for (uint32_t i = 0; i < n; i++)
        product *= values[i];
    return product;
}

static double square_sum_doubles(const double *values, uint32_t n) {
    double sum = 0;
    bool any = false;
    for (uint32_t i = 0; i < n; i++) {
        if (isnan(values[i]))
            continue;
        sum += values[i] * values[i];
        any = true;
    }
    return any ? sum : NAN;
}

/* From the first value that is not NaN to the last value, NaN or not. */
static double difference_doubles(const double *values, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (!isnan(values[i]))
            return values[n - 1] - values[i];
    return NAN;
}

static double deviation_doubles(const double *values, uint32_t n) {
    double mean = 0, distances = 0, count = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (isnan(values[i]))
            continue;
        count++;
        if (count == 1)
            mean = values[i];
        else
            welford(values[i], count, &mean, &distances);
    }
    return count == 0 ? NAN : sqrt(distances / count);
}

/* Moves the values that are not NaN to the front and returns their number. */
static uint32_t without_nan(double *values, uint32_t n) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++)
        if (!isnan(values[i]))
            values[kept++] = values[i];
    return kept;
}

static double median_doubles(double *values, uint32_t n) {
    n = without_nan(values, n);
    return n == 0 ? NAN : select_double(values, n, n / 2);
}

/* OpenTSDB estimates every percentile of doubles, the ep names too, in the LEGACY way. */
static double percentile_doubles(enum aggregator aggregator, double *values, uint32_t n) {
    n = without_nan(values, n);
    if (n == 0)
        return NAN;
    struct place place = percentile_place(ESTIMATE_LEGACY, fraction_of(aggregator), n);
    double below = select_double(values, n, place.rank);
    if (place.part == 0)
        return below;
    double above = select_double(values, n, place.rank + 1);
    return below + place.part * (above - below);
}

double aggregator_run_doubles(enum aggregator aggregator, double *values, uint32_t n) {
    CHECK(n > 0);
    uint32_t present;
    double sum;
    switch (arithmetic_of(aggregator)) {
    case AGGREGATOR_SUM:
        return sum_doubles(values, n, &present);
    case AGGREGATOR_MIN:
        return min_doubles(values, n);
    case AGGREGATOR_MAX:
        return max_doubles(values, n);
    case AGGREGATOR_AVG:
        sum = sum_doubles(values, n, &present);
        return present == 0 ? NAN : sum / present;
    case AGGREGATOR_MEDIAN:
        return median_doubles(values, n);
    case AGGREGATOR_MULT:
        return product_doubles(values, n);
    case AGGREGATOR_DEV:
        return deviation_doubles(values, n);
    case AGGREGATOR_DIFF:
        return difference_doubles(values, n);
    case AGGREGATOR_COUNT:
        (void)sum_doubles(values, n, &present);
        return present;
    case AGGREGATOR_SQUARESUM:
        return square_sum_doubles(values, n);
    case AGGREGATOR_FIRST:
        return values[0];
    case AGGREGATOR_LAST:
        return values[n - 1];
    default:
        return percentile_doubles(aggregator, values, n);
    }
}
