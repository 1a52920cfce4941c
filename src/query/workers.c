#include "query/workers.h"

#include "base/check.h"

void workers_init(struct workers *workers, uint32_t count) {
    CHECK(count >= 1 && count <= WORKERS_MAX);
    workers->count = count;
    workers->started = 0;
    workers->loop = 0;
    workers->busy = 0;
    workers->stop = false;
    atomic_init(&workers->next, 0);
    mutex_init(&workers->lock);
    condition_init(&workers->wake);
    condition_init(&workers->idle);
}

static void work(struct workers *workers, uint32_t number) {
    for (;;) {
        size_t index = atomic_fetch_add(&workers->next, 1);
        if (index >= workers->total)
            return;
        workers->body(workers->context, number, index);
    }
}

static void *run(void *context) {
    struct worker_seat *seat = context;
    struct workers *workers = seat->workers;
    uint64_t seen = 0;
    mutex_lock(&workers->lock);
    for (;;) {
        while (workers->loop == seen && !workers->stop)
            condition_wait(&workers->wake, &workers->lock);
        if (workers->stop)
            break;
        seen = workers->loop;
        mutex_unlock(&workers->lock);
        work(workers, seat->number);
        mutex_lock(&workers->lock);
        if (--workers->busy == 0)
            condition_signal(&workers->idle);
    }
    mutex_unlock(&workers->lock);
    return NULL;
}

void workers_fini(struct workers *workers) {
    mutex_lock(&workers->lock);
    workers->stop = true;
    condition_broadcast(&workers->wake);
    mutex_unlock(&workers->lock);
    for (uint32_t i = 0; i < workers->started; i++)
        thread_join(&workers->seats[i + 1].thread);
    condition_fini(&workers->idle);
    condition_fini(&workers->wake);
    mutex_fini(&workers->lock);
}

static void start_threads(struct workers *workers, size_t total) {
    while (workers->started + 1 < workers->count && workers->started + 1 < total) {
        uint32_t number = workers->started + 1;
        struct worker_seat *seat = &workers->seats[number];
        seat->workers = workers;
        seat->number = number;
        if (thread_start(&seat->thread, "query", run, seat, NULL) < 0)
            return;
        workers->started = number;
    }
}

void workers_run(struct workers *workers, size_t total, workers_body *body, void *context) {
    workers->body = body;
    workers->context = context;
    workers->total = total;
    atomic_store(&workers->next, 0);
    if (workers->count == 1 || total < 2) {
        work(workers, 0);
        return;
    }
    /* A thread started now finds the loop's number raised and joins in. */
    mutex_lock(&workers->lock);
    workers->loop++;
    start_threads(workers, total);
    workers->busy = workers->started;
    condition_broadcast(&workers->wake);
    mutex_unlock(&workers->lock);
    work(workers, 0);
    mutex_lock(&workers->lock);
    while (workers->busy > 0)
        condition_wait(&workers->idle, &workers->lock);
    mutex_unlock(&workers->lock);
}
