/*
 * A borrowed run of bytes: pointer and length, not terminated, may hold any byte.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef struct str {
    const char *p;
    size_t n;
} str;

/* A str of a string literal. */
#define STR(literal) ((str){(literal), sizeof(literal) - 1})
/* Arguments for printf's "%.*s". */
#define STR_ARG(s) (int)(s).n, (s).p

static inline str str_of(const char *terminated) {
    return (str){terminated, strlen(terminated)};
}

static inline bool str_eq(str a, str b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool str_starts(str s, str prefix) {
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

/* Orders by bytes, a shorter prefix first. */
static inline int str_cmp(str a, str b) {
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n == 0 ? 0 : memcmp(a.p, b.p, n);
    return c != 0 ? c : (a.n > b.n) - (a.n < b.n);
}

/* The part of `s` from `from` (at most s.n) on. */
static inline str str_from(str s, size_t from) {
    return (str){s.p + from, s.n - from};
}

/* True if equal when ASCII letters are taken in one case. */
bool str_eq_nocase(str a, str b);

/* Position of byte `c` in `s`, or s.n. */
size_t str_find(str s, char c);

/* `s` without leading and trailing blanks (space, tab, CR, LF). */
str str_trim(str s);
