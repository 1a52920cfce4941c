#include "os/clock.h"

#include <errno.h>
#include <time.h>

static int64_t read_ns(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t system_wall_ms(void *context) {
    (void)context;
    return read_ns(CLOCK_REALTIME) / 1000000;
}

const struct clock clock_system = {system_wall_ms, NULL};

int64_t clock_monotonic_ns(void) {
    return read_ns(CLOCK_MONOTONIC);
}

int64_t clock_process_cpu_ns(void) {
    return read_ns(CLOCK_PROCESS_CPUTIME_ID);
}

int64_t clock_thread_cpu_ns(void) {
    return read_ns(CLOCK_THREAD_CPUTIME_ID);
}

void clock_sleep_ns(int64_t ns) {
    struct timespec left = {ns / 1000000000, ns % 1000000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}
