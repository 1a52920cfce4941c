/*
 * The body of an HTTP request on its way in: gathered, charged to the budget, decompressed.
 *
 * Buffers go from one request to the next: a body of the usual size needs no memory that is new to
 * the process, which would cost more than copying the bytes. Idle ones stay charged; they are few,
 * of limited size, and given back when memory is short.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "server/instance.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_bodies;                                             /* the idle buffers of a server */
struct http_bodies *http_bodies_new(struct instance *instance); /* NULL: out of memory */
void http_bodies_free(struct http_bodies *bodies);              /* NULL is harmless */

/* Gives back what is only kept to be fast: idle buffers, the store's caches. */
void http_bodies_make_way(struct http_bodies *bodies);

struct http_body {
    struct http_bodies *bodies;
    struct buf bytes;
    uint64_t declared; /* Content-Length; 0 if unknown */
    int socket;
    bool gathering;    /* the socket tells of its bytes only when there are many */
    size_t ahead;      /* bytes that are in the socket already, as far as is known */
    int refuse_status; /* not 0: the body is read and thrown away, then this is replied */
};

/* An empty body; http_body_fini is for it in any state. */
void http_body_init(struct http_body *body, struct http_bodies *bodies);
void http_body_fini(struct http_body *body);

/* What the headers tell: the length (0: unknown), and the socket it comes from. Room is made as
   the bytes come: a client may declare much and send nothing. Refuses what is too long (413) or has
   no room (503). */
void http_body_expect(struct http_body *body, int socket, uint64_t declared);

/* Takes the next bytes. */
void http_body_take(struct http_body *body, const char *bytes, size_t n);

/* Replaces the body by its decompressed form; `encoding` (may be NULL) is the header's. */
enum rc http_body_decode(struct http_body *body, const char *encoding, struct err *err) MUST_USE;
