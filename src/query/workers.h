/*
 * The threads of one query: a parallel loop in which the caller takes part.
 *
 * Threads start with the first loop that has work for them and sleep between loops.
 */
#pragma once

#include "base/attr.h"
#include "os/thread.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { WORKERS_MAX = 64 };

/* One iteration: `worker` is 0 (the caller) .. count - 1 and never runs two at once. */
typedef void workers_body(void *context, uint32_t worker, size_t index);

struct workers;

struct worker_seat {
    struct workers *workers;
    uint32_t number;
    struct thread thread;
};

struct workers {
    uint32_t count;   /* as wished */
    uint32_t started; /* threads running, the caller not counted */
    struct worker_seat seats[WORKERS_MAX];
    struct mutex lock;
    struct condition wake; /* a loop begins, or all ends */
    struct condition idle; /* the last thread left the loop */
    uint64_t loop;         /* number of the current loop, under the lock */
    uint32_t busy;         /* threads that have not finished it, under the lock */
    bool stop;
    workers_body *body;
    void *context;
    size_t total;
    _Atomic size_t next;
};

/* Prepares up to `count` (1 .. WORKERS_MAX) workers. Starts nothing. */
void workers_init(struct workers *workers, uint32_t count);

/* Stops and joins the threads. */
void workers_fini(struct workers *workers);

/* Runs body(context, worker, i) for i in [0, total), handed out in ascending order, and returns
   when all are done. Where threads cannot be started, fewer (at worst the caller alone) do the
   work. */
void workers_run(struct workers *workers, size_t total, workers_body *body, void *context);
