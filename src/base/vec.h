/*
 * Growable arrays of one element type.
 *
 *     VEC_DECLARE(u32_vec, uint32_t)      declares struct u32_vec { uint32_t *p; size_t n,
 * capacity; }
 *
 * with u32_vec_push (false: out of memory), u32_vec_reserve and u32_vec_fini. A zeroed struct is an
 * empty array. Elements move when the array grows.
 */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define VEC_DECLARE(name, type)                                                                    \
    struct name {                                                                                  \
        type *p;                                                                                   \
        size_t n;                                                                                  \
        size_t capacity;                                                                           \
    };                                                                                             \
    __attribute__((unused)) static inline bool name##_reserve(struct name *vec, size_t want) {     \
        if (want <= vec->capacity)                                                                 \
            return true;                                                                           \
        size_t capacity = vec->capacity < 8 ? 8 : vec->capacity;                                   \
        while (capacity < want)                                                                    \
            capacity += capacity / 2 + 1;                                                          \
        if (capacity > SIZE_MAX / 2 / sizeof(type))                                                \
            return false;                                                                          \
        type *p = realloc(vec->p, capacity * sizeof(type));                                        \
        if (p == NULL)                                                                             \
            return false;                                                                          \
        vec->p = p;                                                                                \
        vec->capacity = capacity;                                                                  \
        return true;                                                                               \
    }                                                                                              \
    __attribute__((unused)) MUST_USE static inline bool name##_push(struct name *vec, type item) { \
        if (UNLIKELY(vec->n == vec->capacity) && !name##_reserve(vec, vec->n + 1))                 \
            return false;                                                                          \
        vec->p[vec->n++] = item;                                                                   \
        return true;                                                                               \
    }                                                                                              \
    __attribute__((unused)) static inline void name##_fini(struct name *vec) {                     \
        free(vec->p);                                                                              \
        *vec = (struct name){0};                                                                   \
    }

VEC_DECLARE(u32_vec, uint32_t)
