/*
 * A growable byte buffer with a sticky failure.
 *
 * Appending never returns an error: when memory runs out, or a set maximum is passed, the buffer
 * remembers it (`failed`) and ignores what follows; whoever made it looks once, at the end.
 * A zeroed struct buf is an empty buffer. With a budget its capacity is charged before it is taken,
 * and a buffer over budget fails like one out of memory; the charge moves with the struct.
 */
#pragma once

#include "base/attr.h"
#include "base/budget.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *p;
    size_t n;              /* bytes used */
    size_t capacity;       /* bytes allocated */
    size_t max;            /* 0: no limit */
    struct budget *budget; /* NULL: nothing is charged; set while the buffer has no memory */
    bool failed;
};

/* Frees the memory and makes the buffer empty again; it keeps its maximum and its budget. */
void buf_fini(struct buf *buf);

/* Forgets the contents and the failure, keeps the memory. */
void buf_reset(struct buf *buf);

/* Makes room for `n` more bytes and returns where they go, or NULL (and fails the buffer). The
   caller then adds what it wrote to buf->n. */
char *buf_reserve_slow(struct buf *buf, size_t n);

static inline char *buf_reserve(struct buf *buf, size_t n) {
    /* The capacity never exceeds the maximum, so room is all that must be looked at. */
    if (LIKELY(n < buf->capacity - buf->n && !buf->failed))
        return buf->p + buf->n;
    return buf_reserve_slow(buf, n);
}

static inline void buf_add(struct buf *buf, const void *bytes, size_t n) {
    char *p = n == 0 ? NULL : buf_reserve(buf, n);
    if (p == NULL)
        return;
    memcpy(p, bytes, n);
    buf->n += n;
}

static inline void buf_str(struct buf *buf, str s) {
    buf_add(buf, s.p, s.n);
}

static inline void buf_char(struct buf *buf, char c) {
    char *p = buf_reserve(buf, 1);
    if (p == NULL)
        return;
    *p = c;
    buf->n++;
}

void buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);

/* The contents, borrowed. */
static inline str buf_view(const struct buf *buf) {
    return (str){buf->p, buf->n};
}
