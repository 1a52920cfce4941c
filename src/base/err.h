/*
 * Operational errors.
 *
 * Three kinds of failure, three channels:
 *   - a bug aborts (base/check.h);
 *   - an operational error is a negative `enum rc`, forwarded unchanged to whoever can act on it;
 *   - an ordinary outcome ("need more bytes", "not there") is a small positive enum of its module,
 *     consumed by the direct caller.
 *
 * The text of an error is a separate value owned by the caller, `struct err`, passed last and only
 * where somebody will read it. A NULL `struct err *` is always accepted.
 */
#pragma once

#include "base/attr.h"

#include <stddef.h>

enum rc {
    RC_OK = 0,
    RC_NOMEM = -1,       /* an allocation failed */
    RC_IO = -2,          /* the machine refused a read, write or sync */
    RC_CORRUPT = -3,     /* bytes that do not match their checksum or their format */
    RC_NO_SPACE = -4,    /* the medium is full; retry when there is room */
    RC_INVALID = -5,     /* the caller's input is wrong; the text says how */
    RC_NOT_FOUND = -6,   /* a name or object that does not exist */
    RC_LIMIT = -7,       /* a configured limit (points, bytes, tags) was exceeded */
    RC_TIMEOUT = -8,     /* a deadline passed */
    RC_CANCELLED = -9,   /* whoever asked has gone */
    RC_CLOSED = -10,     /* the thing is shutting down */
    RC_CONFLICT = -11,   /* compare-and-set lost, or exclusive creation found the name taken */
    RC_THROTTLE = -12,   /* over the memory budget; retry later */
    RC_UNSUPPORTED = -13 /* known, but not implemented or not allowed here */
};

struct err {
    enum rc rc;
    int http_status;   /* 0: derive from rc with err_http_status() */
    char message[512]; /* one line, no trailing newline, always terminated */
    char details[512]; /* optional second text ("" if none) */
};

/* Returns a short fixed English text for `rc`, such as "no space left". */
const char *err_text(enum rc rc);

/* Returns the HTTP status that fits `rc` (RC_INVALID: 400, RC_LIMIT: 413, RC_THROTTLE: 503, ...).
 */
int err_http_status(const struct err *err);

/* Stores `rc` and the formatted message in `err` (if not NULL), clears details, returns `rc`. */
enum rc err_set(struct err *err, enum rc rc, const char *format, ...) PRINTF_LIKE(3, 4);

/* As err_set, and also stores `http_status`. */
enum rc err_set_http(struct err *err, enum rc rc, int http_status, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* Sets the details text of an err already set. Does nothing if `err` is NULL. */
void err_details(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* Puts "context: " before the message of `err` (if not NULL). */
void err_context(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* Leaves the function with the error of `expression`, if it is one. Only for functions that own
   nothing at that point; the others use a cleanup ladder. */
#define TRY(expression)                                                                            \
    do {                                                                                           \
        enum rc try_rc_ = (expression);                                                            \
        if (UNLIKELY(try_rc_ < 0))                                                                 \
            return try_rc_;                                                                        \
    } while (0)
