#include "os/thread.h"

#include "base/check.h"

#include <errno.h>

void semaphore_init(struct semaphore *semaphore) {
    CHECK(sem_init(&semaphore->raw, 0, 0) == 0);
}

void semaphore_fini(struct semaphore *semaphore) {
    CHECK(sem_destroy(&semaphore->raw) == 0);
}

void semaphore_post(struct semaphore *semaphore) {
    CHECK(sem_post(&semaphore->raw) == 0);
}

void semaphore_wait(struct semaphore *semaphore) {
    while (sem_wait(&semaphore->raw) != 0)
        CHECK(errno == EINTR);
}
