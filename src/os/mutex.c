#include "os/thread.h"

#include "base/check.h"

#include <errno.h>

void mutex_init(struct mutex *mutex) {
    CHECK(pthread_mutex_init(&mutex->raw, NULL) == 0);
}

void mutex_fini(struct mutex *mutex) {
    CHECK(pthread_mutex_destroy(&mutex->raw) == 0);
}

void mutex_lock(struct mutex *mutex) {
    CHECK(pthread_mutex_lock(&mutex->raw) == 0);
}

bool mutex_try_lock(struct mutex *mutex) {
    int e = pthread_mutex_trylock(&mutex->raw);
    CHECK(e == 0 || e == EBUSY);
    return e == 0;
}

void mutex_unlock(struct mutex *mutex) {
    CHECK(pthread_mutex_unlock(&mutex->raw) == 0);
}
