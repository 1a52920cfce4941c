#include "server/http_body.h"

#include "os/net.h"
#include "os/thread.h"

#include <stdlib.h>
#include <zlib.h>

enum {
    FIRST_BYTES = 64 << 10, /* room made on the strength of a declared length */
    KEPT_BYTES_MAX = 1 << 20,
    KEPT_SHARE = 128, /* all that are kept take a 128th of the memory limit at most */
    KEPT_PER_PROCESSOR = 4,
    GATHER_BYTES_MAX = 256 << 10,
    GATHER_BYTES_PER_S = 1 << 10, /* who sends no faster is still heard within the timeout */
    QUICK_BYTES = 16 << 10        /* a client of which so much comes at once will not stall */
};

/* ---- idle buffers ---- */

struct http_bodies {
    struct instance *instance;
    struct mutex lock;
    struct buf *kept; /* the last one is taken first */
    uint32_t count, count_max;
    size_t kept_bytes, kept_bytes_max;
    size_t gather_max; /* bytes that are waited for together at most */
};

struct http_bodies *http_bodies_new(struct instance *instance) {
    struct http_bodies *bodies = calloc(1, sizeof(*bodies));
    if (bodies == NULL)
        return NULL;
    bodies->instance = instance;
    bodies->count_max = KEPT_PER_PROCESSOR * instance->processors;
    bodies->kept = calloc(bodies->count_max, sizeof(*bodies->kept));
    if (bodies->kept == NULL) {
        free(bodies);
        return NULL;
    }
    size_t limit = (size_t)instance->budget.limit_bytes;
    bodies->kept_bytes_max = limit == 0 ? SIZE_MAX : limit / KEPT_SHARE;
    uint64_t timeout_s = instance->config->number[CONFIG_SOCKET_TIMEOUT];
    bool soon = timeout_s > 0 && timeout_s < GATHER_BYTES_MAX / GATHER_BYTES_PER_S;
    bodies->gather_max = soon ? (size_t)timeout_s * GATHER_BYTES_PER_S : GATHER_BYTES_MAX;
    mutex_init(&bodies->lock);
    return bodies;
}

static struct buf take_kept(struct http_bodies *bodies) {
    struct buf bytes = {0};
    mutex_lock(&bodies->lock);
    if (bodies->count > 0) {
        bytes = bodies->kept[--bodies->count];
        bodies->kept_bytes -= bytes.capacity;
    }
    mutex_unlock(&bodies->lock);
    return bytes;
}

/* False if it must be freed. */
static bool keep(struct http_bodies *bodies, const struct buf *bytes) {
    if (bytes->capacity == 0 || bytes->capacity > KEPT_BYTES_MAX)
        return false;
    mutex_lock(&bodies->lock);
    bool room = bodies->count < bodies->count_max &&
                bodies->kept_bytes + bytes->capacity <= bodies->kept_bytes_max;
    if (room) {
        bodies->kept[bodies->count++] = *bytes;
        bodies->kept_bytes += bytes->capacity;
    }
    mutex_unlock(&bodies->lock);
    return room;
}

static void free_kept(struct http_bodies *bodies) {
    struct buf bytes;
    while ((bytes = take_kept(bodies)).p != NULL)
        buf_fini(&bytes);
}

void http_bodies_make_way(struct http_bodies *bodies) {
    free_kept(bodies);
    if (instance_has_store(bodies->instance))
        store_trim(bodies->instance->store);
}

void http_bodies_free(struct http_bodies *bodies) {
    if (bodies == NULL)
        return;
    free_kept(bodies);
    mutex_fini(&bodies->lock);
    free(bodies->kept);
    free(bodies);
}

/* ---- gathering ---- */

static struct buf empty_bytes(struct http_bodies *bodies) {
    return (struct buf){.max = bodies->instance->config->number[CONFIG_BODY_MAX],
                        .budget = &bodies->instance->budget};
}

void http_body_init(struct http_body *body, struct http_bodies *bodies) {
    *body = (struct http_body){.bodies = bodies, .bytes = empty_bytes(bodies), .socket = -1};
}

static void release_bytes(struct http_body *body) {
    buf_reset(&body->bytes);
    if (keep(body->bodies, &body->bytes))
        body->bytes = empty_bytes(body->bodies);
    else
        buf_fini(&body->bytes);
}

void http_body_fini(struct http_body *body) {
    release_bytes(body);
}

/* Of a client that sends quickly the next bytes are waited for together: waking up for each piece
   costs more than taking it. Of another each is taken as it comes, so that it is seen to live. */
static void gather(struct http_body *body, size_t n) {
    if (n > 1 || body->gathering)
        net_gather(body->socket, n);
    body->gathering = n > 1;
    body->ahead = n;
}

static void refuse(struct http_body *body, int status) {
    body->refuse_status = status;
    gather(body, 1);
    release_bytes(body);
}

/* Makes room for `n` more bytes; caches give way to what cannot wait. */
static bool make_room(struct http_bodies *bodies, struct buf *bytes, size_t n) {
    if (buf_reserve(bytes, n) != NULL)
        return true;
    http_bodies_make_way(bodies);
    bytes->failed = false;
    return buf_reserve(bytes, n) != NULL;
}

void http_body_expect(struct http_body *body, int socket, uint64_t declared) {
    body->socket = socket;
    body->declared = declared;
    if (declared > body->bytes.max) {
        refuse(body, 413);
        return;
    }
    if (declared == 0)
        return;
    struct buf kept = take_kept(body->bodies);
    if (kept.p != NULL)
        body->bytes = kept;
    if (!make_room(body->bodies, &body->bytes,
                   declared < FIRST_BYTES ? (size_t)declared : FIRST_BYTES))
        refuse(body, 503);
}

/* `n` bytes have just come, and all that was read off the socket has been taken. */
static void gather_next(struct http_body *body, size_t n) {
    size_t ahead = body->ahead > n ? body->ahead - n : 0;
    uint64_t left = body->declared > body->bytes.n ? body->declared - body->bytes.n : 0;
    size_t next = left < body->bodies->gather_max ? (size_t)left : body->bodies->gather_max;
    gather(body, ahead > 0 || n < QUICK_BYTES || next == 0 ? 1 : next);
    if (ahead > 0)
        body->ahead = ahead;
}

void http_body_take(struct http_body *body, const char *bytes, size_t n) {
    if (body->refuse_status != 0)
        return;
    if (n > body->bytes.max - body->bytes.n) {
        refuse(body, 413);
    } else if (!make_room(body->bodies, &body->bytes, n)) {
        refuse(body, 503);
    } else {
        buf_add(&body->bytes, bytes, n);
        gather_next(body, n);
    }
}

/* ---- decompression ---- */

/* Decompresses into `out`: gzip, zlib, or raw deflate. The outcome is zlib's. */
static int inflate_into(struct http_bodies *bodies, z_stream *z, bool members, struct buf *out) {
    int e = Z_OK;
    size_t step = (size_t)z->avail_in * 4 + 1024;
    while (e == Z_OK) {
        /* With no room left there may still be an end to read. */
        size_t room = out->max - out->n < step ? out->max - out->n : step;
        if (!make_room(bodies, out, room))
            return Z_MEM_ERROR;
        z->next_out = (unsigned char *)out->p + out->n;
        z->avail_out = (uInt)room;
        e = inflate(z, Z_NO_FLUSH);
        out->n += room - z->avail_out;
        if (e == Z_STREAM_END && z->avail_in > 0 && members)
            e = inflateReset(z); /* a gzip body may be several members in a row */
        else if (e == Z_OK && z->avail_out > 0)
            e = Z_BUF_ERROR;
    }
    return e;
}

/* Replaces the body by its decompressed form. */
static enum rc inflate_body(struct http_body *body, int window_bits, struct err *err) {
    struct buf out = empty_bytes(body->bodies);
    z_stream z = {.next_in = (unsigned char *)body->bytes.p, .avail_in = (uInt)body->bytes.n};
    if (inflateInit2(&z, window_bits) != Z_OK)
        return err_set(err, RC_NOMEM, "out of memory");
    int e = inflate_into(body->bodies, &z, window_bits > 15, &out);
    inflateEnd(&z);
    if (e == Z_STREAM_END) {
        release_bytes(body);
        body->bytes = out;
        return RC_OK;
    }
    bool too_large = e == Z_BUF_ERROR && out.n == out.max;
    buf_fini(&out);
    if (e == Z_MEM_ERROR)
        return err_set(err, RC_THROTTLE, "The server is over its memory budget, retry later");
    if (too_large)
        return err_set_http(err, RC_LIMIT, 413, "Request body is too large");
    return err_set(err, RC_INVALID, "Unable to decompress the request body");
}

enum rc http_body_decode(struct http_body *body, const char *encoding, struct err *err) {
    if (encoding == NULL || body->bytes.n == 0)
        return RC_OK;
    str name = str_trim(str_of(encoding));
    if (str_eq_nocase(name, STR("gzip")) || str_eq_nocase(name, STR("x-gzip")))
        return inflate_body(body, 15 + 16, err);
    if (str_eq_nocase(name, STR("deflate"))) {
        /* "deflate" means zlib's wrapping; some send the raw stream. */
        const unsigned char *p = (const unsigned char *)body->bytes.p;
        bool wrapped = body->bytes.n >= 2 && (p[0] & 0x0f) == 8 && (p[0] * 256 + p[1]) % 31 == 0;
        return inflate_body(body, wrapped ? 15 : -15, err);
    }
    if (str_eq_nocase(name, STR("identity")) || name.n == 0)
        return RC_OK;
    return err_set_http(err, RC_INVALID, 415, "Unsupported content encoding: %.*s", STR_ARG(name));
}
