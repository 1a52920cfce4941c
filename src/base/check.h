/*
 * Assertions that stay on in every build.
 *
 * CHECK states what must hold unless the program itself is wrong. It prints where and what, then
 * aborts. It is never used on input, on results of system calls, or on file contents: those are
 * errors (base/err.h), not bugs.
 */
#pragma once

#include "base/attr.h"

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (UNLIKELY(!(condition)))                                                                \
            check_fail(__FILE__, __LINE__, __func__, #condition);                                  \
    } while (0)

/* Prints the failed condition to standard error and aborts. */
NORETURN void check_fail(const char *file, int line, const char *function, const char *condition);
