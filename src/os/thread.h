/*
 * Threads, locks and conditions: pthreads with the failures that can only be bugs checked away.
 */
#pragma once

#include "base/err.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

struct mutex {
    pthread_mutex_t raw;
};
struct condition {
    pthread_cond_t raw; /* waits on the monotonic clock */
};
/* Posts that one thread or another takes; 0 at first. Who has taken a post may end the semaphore.
 */
struct semaphore {
    sem_t raw;
};
/* Many readers or one writer; a waiting writer goes before new readers. */
struct rwlock {
    pthread_rwlock_t raw;
};
struct thread {
    pthread_t raw;
};

void mutex_init(struct mutex *mutex);
void mutex_fini(struct mutex *mutex);
void mutex_lock(struct mutex *mutex);
bool mutex_try_lock(struct mutex *mutex) MUST_USE;
void mutex_unlock(struct mutex *mutex);

void condition_init(struct condition *condition);
void condition_fini(struct condition *condition);
void condition_wait(struct condition *condition, struct mutex *mutex);
/* Waits until signalled or until clock_monotonic_ns() passes `deadline_ns`: then false. */
bool condition_wait_until(struct condition *condition, struct mutex *mutex, int64_t deadline_ns);
void condition_signal(struct condition *condition);
void condition_broadcast(struct condition *condition);

void semaphore_init(struct semaphore *semaphore);
void semaphore_fini(struct semaphore *semaphore);
void semaphore_post(struct semaphore *semaphore);
void semaphore_wait(struct semaphore *semaphore);

void rwlock_init(struct rwlock *lock);
void rwlock_fini(struct rwlock *lock);
void rwlock_read(struct rwlock *lock);
void rwlock_write(struct rwlock *lock);
void rwlock_unlock(struct rwlock *lock);

/* Stack of every thread: encoding a vector takes some 200 KiB. The thread sanitizer keeps the state
   of a thread there too. */
#if defined(__SANITIZE_THREAD__)
enum { THREAD_STACK_BYTES = 4 << 20 };
#else
enum { THREAD_STACK_BYTES = 1 << 20 };
#endif

/* Starts a thread with all signals blocked, a stack of THREAD_STACK_BYTES and `name` (at most 15
   bytes) as seen by ps and perf. */
enum rc thread_start(struct thread *thread, const char *name, void *(*run)(void *), void *context,
                     struct err *err) MUST_USE;
void thread_join(struct thread *thread);
