#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void buf_fini(struct buf *buf) {
    free(buf->p);
    if (buf->budget != NULL)
        budget_release(buf->budget, buf->capacity);
    *buf = (struct buf){.max = buf->max, .budget = buf->budget};
}

void buf_reset(struct buf *buf) {
    buf->n = 0;
    buf->failed = false;
}

static bool resize(struct buf *buf, size_t capacity) {
    size_t more = capacity - buf->capacity;
    if (buf->budget != NULL && !budget_charge(buf->budget, more))
        return false;
    char *p = realloc(buf->p, capacity);
    if (p == NULL) {
        if (buf->budget != NULL)
            budget_release(buf->budget, more);
        return false;
    }
    buf->p = p;
    buf->capacity = capacity;
    return true;
}

/* Doubles; where that is too much, takes little more than what is needed. */
static bool grow(struct buf *buf, size_t need) {
    size_t capacity = buf->capacity < 64 ? 64 : buf->capacity;
    while (capacity < need) {
        if (capacity > SIZE_MAX / 2)
            return false;
        capacity *= 2;
    }
    size_t max = buf->max != 0 ? buf->max : SIZE_MAX;
    if (capacity > max)
        capacity = max;
    if (resize(buf, capacity))
        return true;
    size_t close = need / 8 > max - need ? max : need + need / 8;
    return close < capacity && resize(buf, close);
}

char *buf_reserve_slow(struct buf *buf, size_t n) {
    if (buf->failed)
        return NULL;
    bool fits = n <= SIZE_MAX - buf->n && (buf->max == 0 || buf->n + n <= buf->max);
    size_t need = fits ? buf->n + n : 0;
    if (!fits || ((need > buf->capacity || buf->p == NULL) && !grow(buf, need))) {
        buf->failed = true;
        return NULL;
    }
    return buf->p + buf->n;
}

void buf_printf(struct buf *buf, const char *format, ...) {
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *p = n < 0 ? NULL : buf_reserve(buf, (size_t)n + 1);
    if (p != NULL) {
        vsnprintf(p, (size_t)n + 1, format, again);
        buf->n += (size_t)n;
    }
    va_end(again);
}
