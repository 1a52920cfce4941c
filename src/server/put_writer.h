/*
 * The write path of both protocols: raw key bytes -> series (through the key cache) -> columns ->
 * store. One writer belongs to one thread at a time and is reused; nothing is allocated per point
 * once its columns have grown.
 *
 *     put_writer_begin ... put_writer_add, add, add ... put_writer_flush
 *
 * Between begin and flush no series can be removed: keep it to one batch.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "model/points.h"
#include "model/series_key.h"
#include "server/instance.h"
#include "wire/put_shape.h"

#include <stdbool.h>
#include <stdint.h>

struct put_writer;

/* How the raw bytes of a writer's keys are to be read. */
enum put_protocol { PUT_HTTP, PUT_TELNET, PUT_SELF };

struct put_writer *put_writer_new(struct instance *instance, enum put_protocol protocol);
void put_writer_free(struct put_writer *writer);

void put_writer_begin(struct put_writer *writer);

/* Takes the raw bytes apart into a key (not canonical): put_line_key or put_json_key. */
typedef enum rc put_writer_split(void *context, struct series_key *key, struct err *err);

/* Adds one point of the series that the raw bytes (metric, tags) name. On a cache miss `split` is
   called, the key checked and the series looked up or created. RC_INVALID or RC_NOT_FOUND with
   OpenTSDB's texts; RC_THROTTLE when memory is out. The other points of the batch are unaffected.
 */
enum rc put_writer_add(struct put_writer *writer, str metric, str tags, put_writer_split *split,
                       void *context, int64_t time_ms, struct value value,
                       struct err *err) MUST_USE;

/* The raw bytes of the series that is expected next: false, or texts that stay until the next point
   is added. */
bool put_writer_expected(struct put_writer *writer, str *metric, str *tags);

/* Adds a point of the series that put_writer_expected has just told. Cannot fail. */
void put_writer_add_expected(struct put_writer *writer, int64_t time_ms, struct value value);

/* How the points of JSON bodies were written so far, for put_json_init: clients that share a writer
   often share that, too. */
struct put_shape *put_writer_shape(struct put_writer *writer);

/* Appends what was added to the store and ends the batch. *stored gets the number of points the
   store has taken: those of the batch before an error. *commit is what store_commit_wait takes to
   wait for these. */
enum rc put_writer_flush(struct put_writer *writer, uint64_t *stored, uint64_t *commit,
                         struct err *err) MUST_USE;

/* Ends the batch and stores nothing of it. */
void put_writer_abandon(struct put_writer *writer);

/* After RC_THROTTLE: true if there is no memory for the batch to grow, so that this was no fault of
   the point. */
bool put_writer_is_full(const struct put_writer *writer);

/* Points added since begin. */
uint64_t put_writer_pending(const struct put_writer *writer);

/* A pool from which requests borrow writers, the one used last first. There are
   at most as many as processors, since nothing they do waits except for memory; a request waits for
   its turn. */
struct put_pool;
struct put_pool *put_pool_new(struct instance *instance);
void put_pool_free(struct put_pool *pool);
struct put_writer *put_pool_take(struct put_pool *pool); /* NULL: out of memory */
void put_pool_give(struct put_pool *pool, struct put_writer *writer);
