#include "os/thread.h"

#include "base/check.h"

#include <errno.h>
#include <time.h>

void condition_init(struct condition *condition) {
    pthread_condattr_t attributes;
    CHECK(pthread_condattr_init(&attributes) == 0);
    CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&condition->raw, &attributes) == 0);
    CHECK(pthread_condattr_destroy(&attributes) == 0);
}

void condition_fini(struct condition *condition) {
    CHECK(pthread_cond_destroy(&condition->raw) == 0);
}

void condition_wait(struct condition *condition, struct mutex *mutex) {
    CHECK(pthread_cond_wait(&condition->raw, &mutex->raw) == 0);
}

bool condition_wait_until(struct condition *condition, struct mutex *mutex, int64_t deadline_ns) {
    if (deadline_ns < 0)
        deadline_ns = 0;
    struct timespec until = {deadline_ns / 1000000000, deadline_ns % 1000000000};
    int e = pthread_cond_timedwait(&condition->raw, &mutex->raw, &until);
    CHECK(e == 0 || e == ETIMEDOUT);
    return e == 0;
}

void condition_signal(struct condition *condition) {
    CHECK(pthread_cond_signal(&condition->raw) == 0);
}

void condition_broadcast(struct condition *condition) {
    CHECK(pthread_cond_broadcast(&condition->raw) == 0);
}
