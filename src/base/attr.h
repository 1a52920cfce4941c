/*
 * Compiler attributes used across the project, under short names.
 */
#pragma once

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))
#define NORETURN __attribute__((noreturn))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define PUBLIC __attribute__((visibility("default")))
#define ALIGNED(n) __attribute__((aligned(n)))
#define ALWAYS_INLINE inline __attribute__((always_inline))

/* Number of elements of a true array (not of a pointer). */
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
