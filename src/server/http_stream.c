#include "server/http_stream.h"

#include "os/thread.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    GZIP_WINDOW_BITS = 15 + 16,
    GZIP_LEVEL = 1,
    STEP_BYTES =
        64 << 10, /* handed over at a time; the buffer is this much longer than its bound */
};

_Static_assert(HTTP_STREAM_BYTES + STEP_BYTES <= HTTP_STREAM_BUFFER_MAX,
               "a step must fit behind what the bound lets wait");

struct http_stream {
    struct thread thread;
    struct http_stream_maker maker;

    /* maker's own */
    bool gzip;
    z_stream deflater;

    struct mutex lock; /* guards what follows */
    struct condition changed;
    struct buf ready; /* bytes from `taken` on wait for the reader */
    size_t taken;
    bool finished;
    bool cancelled;
    enum rc rc;
    struct err err;
};

static void *run(void *context) {
    struct http_stream *stream = context;
    stream->maker.make(stream->maker.context, stream);
    return NULL;
}

static enum rc start_gzip(struct http_stream *stream, struct err *err) {
    struct budget *budget = stream->maker.budget;
    if (budget != NULL && !budget_charge(budget, HTTP_STREAM_GZIP_BYTES))
        return err_set(err, RC_THROTTLE, "The server is over its memory budget, retry later");
    if (deflateInit2(&stream->deflater, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW_BITS, 8,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        if (budget != NULL)
            budget_release(budget, HTTP_STREAM_GZIP_BYTES);
        return err_set(err, RC_NOMEM, "out of memory");
    }
    stream->gzip = true;
    return RC_OK;
}

/* What a stream holds besides its thread. */
static void free_parts(struct http_stream *stream) {
    if (stream->gzip) {
        deflateEnd(&stream->deflater);
        if (stream->maker.budget != NULL)
            budget_release(stream->maker.budget, HTTP_STREAM_GZIP_BYTES);
    }
    buf_fini(&stream->ready);
    condition_fini(&stream->changed);
    mutex_fini(&stream->lock);
    free(stream);
}

enum rc http_stream_start(const struct http_stream_maker *maker, bool gzip,
                          struct http_stream **out, struct err *err) {
    struct http_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL)
        return err_set(err, RC_NOMEM, "out of memory");
    stream->maker = *maker;
    stream->ready = (struct buf){.max = HTTP_STREAM_BUFFER_MAX, .budget = maker->budget};
    mutex_init(&stream->lock);
    condition_init(&stream->changed);
    enum rc rc = gzip ? start_gzip(stream, err) : RC_OK;
    if (rc == RC_OK)
        rc = thread_start(&stream->thread, "query", run, stream, err);
    if (rc < 0) {
        free_parts(stream);
        return rc;
    }
    *out = stream;
    return RC_OK;
}

void http_stream_free(struct http_stream *stream) {
    if (stream == NULL)
        return;
    mutex_lock(&stream->lock);
    stream->cancelled = true;
    condition_broadcast(&stream->changed);
    mutex_unlock(&stream->lock);
    thread_join(&stream->thread);
    stream->maker.dispose(stream->maker.context);
    free_parts(stream);
}

static size_t waiting(const struct http_stream *stream) {
    return stream->ready.n - stream->taken;
}

/* Only the maker adds bytes, so what it finds not full stays so. */
static bool is_full(struct http_stream *stream) {
    mutex_lock(&stream->lock);
    bool full = waiting(stream) > HTTP_STREAM_BYTES && !stream->cancelled;
    mutex_unlock(&stream->lock);
    return full;
}

static enum rc wait_for_reader(struct http_stream *stream) {
    int64_t deadline_ns = stream->maker.deadline_ns;
    bool in_time = true;
    stream->maker.pause(stream->maker.context);
    mutex_lock(&stream->lock);
    while (waiting(stream) > HTTP_STREAM_BYTES && !stream->cancelled && in_time) {
        if (deadline_ns == 0)
            condition_wait(&stream->changed, &stream->lock);
        else
            in_time = condition_wait_until(&stream->changed, &stream->lock, deadline_ns);
    }
    mutex_unlock(&stream->lock);
    enum rc rc = stream->maker.resume(stream->maker.context);
    return in_time ? rc : RC_TIMEOUT;
}

/* Room for `n` more bytes. A reply that turns out to be long takes at once all that it will need.
 */
static bool make_room(struct http_stream *stream, size_t n) {
    struct buf *ready = &stream->ready;
    if (n <= ready->capacity - ready->n)
        return true;
    if (stream->taken > 0) {
        memmove(ready->p, ready->p + stream->taken, waiting(stream));
        ready->n = waiting(stream);
        stream->taken = 0;
    }
    bool is_long = ready->n + n > HTTP_STREAM_BYTES;
    ready->failed = false;
    return buf_reserve(ready, is_long ? HTTP_STREAM_BUFFER_MAX - ready->n : n) != NULL;
}

static bool try_to_make_room(struct http_stream *stream, size_t n) {
    mutex_lock(&stream->lock);
    bool made = stream->cancelled || make_room(stream, n);
    mutex_unlock(&stream->lock);
    return made;
}

/* Adds at most STEP_BYTES once there is room. The first step past the bound is what tells the
   reader that the reply is long. */
static enum rc hand_over_step(struct http_stream *stream, const char *bytes, size_t n) {
    if (is_full(stream))
        TRY(wait_for_reader(stream));
    if (!try_to_make_room(stream, n)) {
        stream->maker.relieve(stream->maker.context);
        if (!try_to_make_room(stream, n))
            return RC_THROTTLE;
    }
    mutex_lock(&stream->lock);
    enum rc rc = stream->cancelled ? RC_CANCELLED : RC_OK;
    if (rc == RC_OK) {
        buf_add(&stream->ready, bytes, n);
        condition_broadcast(&stream->changed);
    }
    mutex_unlock(&stream->lock);
    return rc;
}

static enum rc hand_over(struct http_stream *stream, const char *bytes, size_t n) {
    while (n > 0) {
        size_t step = n < STEP_BYTES ? n : STEP_BYTES;
        TRY(hand_over_step(stream, bytes, step));
        bytes += step;
        n -= step;
    }
    return RC_OK;
}

static enum rc push_deflated(struct http_stream *stream, str text, int flush) {
    char step[STEP_BYTES];
    z_stream *z = &stream->deflater;
    while (text.n > 0 || flush == Z_FINISH) {
        size_t n = text.n < UINT32_MAX ? text.n : UINT32_MAX;
        z->next_in = (unsigned char *)(uintptr_t)text.p;
        z->avail_in = (uInt)n;
        int e;
        do {
            z->next_out = (unsigned char *)step;
            z->avail_out = sizeof(step);
            e = deflate(z, flush);
            size_t made = sizeof(step) - z->avail_out;
            if (made > 0)
                TRY(hand_over(stream, step, made));
        } while (z->avail_out == 0);
        text = str_from(text, n);
        if (e == Z_STREAM_END)
            break;
    }
    return RC_OK;
}

enum rc http_stream_push(struct http_stream *stream, str text) {
    if (text.n == 0)
        return RC_OK;
    return stream->gzip ? push_deflated(stream, text, Z_NO_FLUSH)
                        : hand_over(stream, text.p, text.n);
}

bool http_stream_cancelled(struct http_stream *stream) {
    mutex_lock(&stream->lock);
    bool cancelled = stream->cancelled;
    mutex_unlock(&stream->lock);
    return cancelled;
}

void http_stream_finish(struct http_stream *stream, enum rc rc, const struct err *err) {
    if (rc == RC_OK && stream->gzip)
        rc = push_deflated(stream, (str){NULL, 0}, Z_FINISH);
    mutex_lock(&stream->lock);
    stream->rc = rc;
    if (rc < 0 && err != NULL)
        stream->err = *err;
    stream->finished = true;
    condition_broadcast(&stream->changed);
    mutex_unlock(&stream->lock);
}

enum http_stream_state http_stream_settle(struct http_stream *stream, struct err *err) {
    mutex_lock(&stream->lock);
    while (!stream->finished && waiting(stream) <= HTTP_STREAM_BYTES)
        condition_wait(&stream->changed, &stream->lock);
    enum http_stream_state state = HTTP_STREAM_LONG;
    if (stream->finished && stream->rc < 0) {
        state = HTTP_STREAM_FAILED;
        *err = stream->err;
    } else if (stream->finished) {
        state = HTTP_STREAM_COMPLETE;
    }
    mutex_unlock(&stream->lock);
    return state;
}

void http_stream_take(struct http_stream *stream, struct buf *body) {
    mutex_lock(&stream->lock);
    buf_fini(body);
    *body = stream->ready;
    stream->ready = (struct buf){.max = HTTP_STREAM_BUFFER_MAX, .budget = stream->maker.budget};
    mutex_unlock(&stream->lock);
}

ptrdiff_t http_stream_read(struct http_stream *stream, char *bytes, size_t room) {
    mutex_lock(&stream->lock);
    while (waiting(stream) == 0 && !stream->finished)
        condition_wait(&stream->changed, &stream->lock);
    size_t n = waiting(stream) < room ? waiting(stream) : room;
    ptrdiff_t result = n == 0 && stream->rc < 0 ? -1 : (ptrdiff_t)n;
    if (n > 0)
        memcpy(bytes, stream->ready.p + stream->taken, n);
    stream->taken += n;
    condition_broadcast(&stream->changed);
    mutex_unlock(&stream->lock);
    return result;
}
