/*
 * Time. Wall time is milliseconds since 1970 UTC; monotonic time is nanoseconds from an arbitrary
 * start. Code that must be testable under a virtual clock takes a `struct clock`.
 */
#pragma once

#include <stdint.h>

struct clock {
    int64_t (*wall_ms)(void *context);
    void *context;
};

/* The machine's clock. */
extern const struct clock clock_system;

static inline int64_t clock_wall_ms(const struct clock *clock) {
    return clock->wall_ms(clock->context);
}

/* Nanoseconds since an arbitrary start; never goes back. */
int64_t clock_monotonic_ns(void);

/* CPU time used by this process (all threads), nanoseconds. */
int64_t clock_process_cpu_ns(void);

/* CPU time used by the calling thread, nanoseconds. */
int64_t clock_thread_cpu_ns(void);

/* Sleeps at least `ns` nanoseconds. */
void clock_sleep_ns(int64_t ns);
