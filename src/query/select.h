/*
 * Order statistics: the value a sort would put at one place, without the sort.
 *
 * Linear time on average, n log n at worst. Afterwards values[rank] is in its place, nothing before
 * it is larger and nothing after it is smaller. `rank` < n; doubles must not be NaN.
 */
#pragma once

#include <stdint.h>

int64_t select_int(int64_t *values, uint32_t n, uint32_t rank);
double select_double(double *values, uint32_t n, uint32_t rank);
