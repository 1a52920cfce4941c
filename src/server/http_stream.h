/*
 * A bounded pipe between the thread that makes a reply and the one that sends it.
 *
 * The maker pushes text and is held back while more than HTTP_STREAM_BYTES wait. The first
 * HTTP_STREAM_BYTES are held until the reply's status is sure: a short reply, and an error that
 * comes early, get their proper status; only what is longer is sent in chunks.
 *
 * What waits is charged to a budget, with all that a long reply will ever need before its first
 * byte is sent: memory can refuse a reply, but never break one off. A reader that takes nothing
 * holds at most HTTP_STREAM_CHARGE_MAX, however long the reply is.
 */
#pragma once

#include "base/budget.h"
#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HTTP_STREAM_BYTES = 1 << 20,
    HTTP_STREAM_BUFFER_MAX = HTTP_STREAM_BYTES + HTTP_STREAM_BYTES / 2,
    HTTP_STREAM_GZIP_BYTES = 288 << 10, /* what compressing takes besides */
    HTTP_STREAM_CHARGE_MAX = HTTP_STREAM_BUFFER_MAX + HTTP_STREAM_GZIP_BYTES
};

struct http_stream;

struct http_stream_maker {
    /* Runs on a thread of its own and ends with http_stream_finish. */
    void (*make)(void *context, struct http_stream *stream);
    /* Around every stretch in which the maker is held back because the reader is slow: what others
       could use meanwhile is given up, and taken back. `resume` may wait; if it fails, so does the
       push. */
    void (*pause)(void *context);
    enum rc (*resume)(void *context);
    /* Makes the budget give up what it can; what found no room is then tried once more. */
    void (*relieve)(void *context);
    void (*dispose)(void *context); /* frees the context after the thread has ended */
    void *context;
    int64_t deadline_ns;   /* clock_monotonic_ns; 0: none */
    struct budget *budget; /* outlives the stream and what is taken from it; may be NULL */
};

/* Starts the maker. With `gzip` the bytes are compressed on their way. RC_THROTTLE: over budget. */
enum rc http_stream_start(const struct http_stream_maker *maker, bool gzip,
                          struct http_stream **out, struct err *err) MUST_USE;

/* Cancels (if it still runs), waits for the thread, frees. */
void http_stream_free(struct http_stream *stream);

/* ---- maker's side ---- */

/* RC_CANCELLED once the reader has gone, RC_TIMEOUT if it makes the maker wait past its deadline,
   RC_THROTTLE if the budget has no room for what waits (nothing has been sent then). */
enum rc http_stream_push(struct http_stream *stream, str text) MUST_USE;
bool http_stream_cancelled(struct http_stream *stream);
/* Ends the reply; a negative rc with its error if it failed. */
void http_stream_finish(struct http_stream *stream, enum rc rc, const struct err *err);

/* ---- reader's side ---- */

enum http_stream_state {
    HTTP_STREAM_COMPLETE, /* it ended well within the bound: take everything with http_stream_take
                           */
    HTTP_STREAM_FAILED,   /* it failed within the bound: *err says why */
    HTTP_STREAM_LONG      /* there is more than the bound: send what comes */
};

/* Waits until one of the states is sure. */
enum http_stream_state http_stream_settle(struct http_stream *stream, struct err *err);

/* Moves all bytes of a complete stream into `body`. */
void http_stream_take(struct http_stream *stream, struct buf *body);

/* Waits for bytes and copies up to `room`: their number, 0 at the end, -1 if the maker failed. */
ptrdiff_t http_stream_read(struct http_stream *stream, char *bytes, size_t room);
