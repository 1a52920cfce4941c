/*
 * Waiting for the log, for all HTTP puts together.
 *
 * Each put waits until the log is durable before it is answered, and a sync costs more than writing
 * what many puts have appended. So one of the puts that wait, the leader, waits for the log on
 * behalf of all. Before it does, it gives the others a moment to join: clients that have several
 * requests under way send the next ones as soon as they have their answers, so as many are expected
 * as there were a moment ago. It lasts PUT_COMMIT_MOMENT_NS at most and a quarter of that if nobody
 * comes; after most have failed to come a few times it is left out for some commits. A put that is
 * alone is never held up.
 */
#pragma once

#include "base/err.h"

#include <stdint.h>

enum { PUT_COMMIT_MOMENT_NS = 2000000 };

struct put_commit;

/* Waits until everything before `commit` is durable, as store_commit_wait does. */
typedef enum rc put_commit_sync(void *context, uint64_t commit, struct err *err);

struct put_commit *put_commit_new(put_commit_sync *sync, void *context); /* NULL: out of memory */
void put_commit_free(struct put_commit *commits);                        /* NULL is harmless */

/* Waits until everything before `commit` is durable. The outcome is that of the sync for just this
   position. */
enum rc put_commit_wait(struct put_commit *commits, uint64_t commit, struct err *err) MUST_USE;
