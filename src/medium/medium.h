/*
 * Where bytes live.
 *
 * Three kinds of things, all named by short ASCII names (MEDIUM_NAME_MAX bytes of [a-z0-9._-] at
 * the most, not beginning with a dot; RC_INVALID otherwise):
 *
 *   logs      append-only, one writer, with a fencing epoch: creating a log with epoch e makes
 *             every log writer of the medium with a smaller epoch, present or future, fail with
 *             RC_CONFLICT from then on
 *   objects   immutable: written once, published atomically by commit, read by range or mapped
 *   catalog   a small ordered map from key to value (at most 64 MiB each) with compare-and-set on
 *             a version number
 *
 * Nothing above this header may know which medium is in use. Implementations: file_medium.h (a
 * directory) and memory_medium.h (tests and store.mode=memory; injects faults). A medium is safe to
 * use from several threads; one log writer or object writer belongs to one thread at a time.
 *
 * Durability: what a successful medium_log_sync, medium_object_commit or medium_catalog_put covers
 * survives kill -9 and power loss, including the directory entries that name it.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct medium;
struct medium_log;           /* a log open for writing */
struct medium_object;        /* a committed object open for reading */
struct medium_object_writer; /* an object being written */

enum { MEDIUM_NAME_MAX = 100, MEDIUM_CATALOG_BYTES_MAX = 64 << 20 };
enum medium_kind { MEDIUM_LOGS, MEDIUM_OBJECTS, MEDIUM_CATALOG };

/* Closes the medium. All logs, objects and writers must be closed before. NULL is harmless. */
void medium_close(struct medium *medium);

/* ---- logs ---- */

/* Creates a log (RC_CONFLICT if the name is taken) and opens it for writing. */
enum rc medium_log_create(struct medium *medium, const char *name, uint64_t epoch,
                          struct medium_log **out, struct err *err) MUST_USE;

/* Appends `n` bytes. On failure the log holds either nothing or a prefix of them; the caller cuts
   it back with medium_log_truncate before it appends again. Not durable before medium_log_sync. */
enum rc medium_log_append(struct medium_log *log, const void *bytes, size_t n,
                          struct err *err) MUST_USE;

/* Makes everything appended durable. After a failure nothing may be assumed about bytes appended
   since the last successful sync, and this log must not be written again: start a new one. */
enum rc medium_log_sync(struct medium_log *log, struct err *err) MUST_USE;

/* Cuts the log back to `size` bytes. */
enum rc medium_log_truncate(struct medium_log *log, uint64_t size, struct err *err) MUST_USE;

/* Closes the writer; syncs nothing. NULL is harmless. */
void medium_log_close(struct medium_log *log);

/* Reads up to `n` bytes at `offset` of any log by name; *got < n only at its end. */
enum rc medium_log_read(struct medium *medium, const char *name, uint64_t offset, void *bytes,
                        size_t n, size_t *got, struct err *err) MUST_USE;

/* Makes durable what reading the log shows. After kill -9 that can be more than was ever synced,
   and would be gone after a power loss: whoever builds on it must settle it first. */
enum rc medium_log_settle(struct medium *medium, const char *name, struct err *err) MUST_USE;

/* ---- objects ---- */

/* Starts an object. Nothing is visible under `name` before the commit. RC_CONFLICT if the name is
   already committed. */
enum rc medium_object_create(struct medium *medium, const char *name,
                             struct medium_object_writer **out, struct err *err) MUST_USE;
enum rc medium_object_write(struct medium_object_writer *writer, const void *bytes, size_t n,
                            struct err *err) MUST_USE;

/* Makes the object durable and visible, and frees the writer whatever the outcome. */
enum rc medium_object_commit(struct medium_object_writer *writer, struct err *err) MUST_USE;

/* Throws away what was written and frees the writer. NULL is harmless. */
void medium_object_abort(struct medium_object_writer *writer);

enum rc medium_object_open(struct medium *medium, const char *name, struct medium_object **out,
                           struct err *err) MUST_USE;
uint64_t medium_object_size(const struct medium_object *object);

/* Reads exactly `n` bytes at `offset`; RC_CORRUPT if the object ends before. */
enum rc medium_object_read(struct medium_object *object, uint64_t offset, void *bytes, size_t n,
                           struct err *err) MUST_USE;

/* The whole object in memory, valid until it is closed: the mapping of a file, or the bytes
   themselves. NULL if this medium cannot map; then the caller reads. */
const uint8_t *medium_object_map(struct medium_object *object);

/* Makes sure that `n` bytes at `offset` of the map can be looked at: RC_IO if the disk cannot
   deliver them, RC_CORRUPT if the object has become shorter. To look at such bytes ends the
   process. Cost: reading them once. */
enum rc medium_object_map_check(struct medium_object *object, uint64_t offset, size_t n,
                                struct err *err) MUST_USE;
void medium_object_close(struct medium_object *object);

/* ---- catalog ---- */

/* Appends the value of `key` to `value` and stores its version (1 or more). RC_NOT_FOUND if there
   is none, RC_CORRUPT if it fails its checksum, RC_UNSUPPORTED if a newer program wrote it. */
enum rc medium_catalog_get(struct medium *medium, const char *key, struct buf *value,
                           uint64_t *version, struct err *err) MUST_USE;

/* Replaces the value if its version is still `expected` (0: must not exist yet), atomically and
   durably; RC_CONFLICT otherwise, RC_CORRUPT if the present value fails its checksum (remove it
   first). The new version is expected + 1. After RC_NO_SPACE the old value is there, after RC_IO
   the old or the new one; the same put may be tried again with the same `expected`. */
enum rc medium_catalog_put(struct medium *medium, const char *key, const void *bytes, size_t n,
                           uint64_t expected, struct err *err) MUST_USE;

/* ---- all kinds ---- */

/* Calls `each` with every name of `kind` in byte order; stops at the first non-zero return and
   returns it (as rc, so use negative codes). Objects not committed are not listed. */
enum rc medium_list(struct medium *medium, enum medium_kind kind,
                    enum rc (*each)(void *context, const char *name, uint64_t size), void *context,
                    struct err *err) MUST_USE;

/* Removes a log, object or key, durably; RC_NOT_FOUND if it is not there. An open object stays
   readable. */
enum rc medium_remove(struct medium *medium, enum medium_kind kind, const char *name,
                      struct err *err) MUST_USE;

/* Bytes that could still be written, and bytes in use; UINT64_MAX where it has no meaning. */
enum rc medium_space(struct medium *medium, uint64_t *free_bytes, uint64_t *used_bytes,
                     struct err *err) MUST_USE;

/* True if what is committed survives the process (file: yes, memory: no). */
bool medium_is_durable(const struct medium *medium);
