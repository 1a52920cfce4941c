#include "query/select.h"

#include "base/check.h"

#include <stdlib.h>

/*
 * Hoare's quickselect with a median-of-three pivot. Input that makes it shrink badly (more than
 * ROUNDS_MAX rounds) is sorted instead, so that nobody's values can make a query quadratic.
 */
enum { SMALL = 12, ROUNDS_MAX = 64 };

#define SELECT_DEFINE(name, type)                                                                  \
    static int compare_##name(const void *a, const void *b) {                                      \
        type x = *(const type *)a, y = *(const type *)b;                                           \
        return (x > y) - (x < y);                                                                  \
    }                                                                                              \
    static void insertion_sort_##name(type *values, uint32_t low, uint32_t high) {                 \
        for (uint32_t i = low + 1; i <= high; i++) {                                               \
            type value = values[i];                                                                \
            uint32_t at = i;                                                                       \
            for (; at > low && values[at - 1] > value; at--)                                       \
                values[at] = values[at - 1];                                                       \
            values[at] = value;                                                                    \
        }                                                                                          \
    }                                                                                              \
    static type pivot_##name(const type *values, uint32_t low, uint32_t high) {                    \
        type a = values[low], b = values[low + (high - low) / 2], c = values[high];                \
        type smaller = a < b ? a : b, larger = a < b ? b : a;                                      \
        return c < smaller ? smaller : c > larger ? larger : c;                                    \
    }                                                                                              \
    /* Splits [low, high] around the pivot: [low, *left] is not larger, [*right, high] is not      \
       smaller, and what lies between equals it. */                                                \
    static void split_##name(type *values, uint32_t low, uint32_t high, int64_t *left,             \
                             int64_t *right) {                                                     \
        type pivot = pivot_##name(values, low, high);                                              \
        int64_t i = low, j = high;                                                                 \
        while (i <= j) {                                                                           \
            while (values[i] < pivot)                                                              \
                i++;                                                                               \
            while (values[j] > pivot)                                                              \
                j--;                                                                               \
            if (i > j)                                                                             \
                break;                                                                             \
            type swap = values[i];                                                                 \
            values[i++] = values[j];                                                               \
            values[j--] = swap;                                                                    \
        }                                                                                          \
        *left = j;                                                                                 \
        *right = i;                                                                                \
    }                                                                                              \
    type name(type *values, uint32_t n, uint32_t rank) {                                           \
        CHECK(rank < n);                                                                           \
        uint32_t low = 0, high = n - 1;                                                            \
        for (int round = 0; high - low >= SMALL; round++) {                                        \
            if (round == ROUNDS_MAX) {                                                             \
                qsort(values + low, (size_t)(high - low) + 1, sizeof(type), compare_##name);       \
                return values[rank];                                                               \
            }                                                                                      \
            int64_t left, right;                                                                   \
            split_##name(values, low, high, &left, &right);                                        \
            if ((int64_t)rank <= left)                                                             \
                high = (uint32_t)left;                                                             \
            else if ((int64_t)rank >= right)                                                       \
                low = (uint32_t)right;                                                             \
            else                                                                                   \
                return values[rank];                                                               \
        }                                                                                          \
        insertion_sort_##name(values, low, high);                                                  \
        return values[rank];                                                                       \
    }

SELECT_DEFINE(select_int, int64_t)
SELECT_DEFINE(select_double, double)
#undef SELECT_DEFINE
