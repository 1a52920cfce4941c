/* What the log says about its commits, to whoever keeps the server's own log. */
#include "store/log.h"

#include "medium/memory_medium.h"
#include "os/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

struct told {
    _Atomic uint32_t failures, recoveries;
    struct err failure;
};

static void hear(void *context, const struct err *failure) {
    struct told *told = context;
    if (failure == NULL) {
        told->recoveries++;
        return;
    }
    told->failure = *failure;
    told->failures++;
}

static enum rc ignore(void *context, enum log_record_kind kind, uint64_t position,
                      const uint8_t *bytes, size_t n) {
    return RC_OK;
}

static struct log *open_log(struct medium *medium, struct told *told) {
    struct log_options options = {
        .commit_interval_ms = 1, .retry_interval_ms = 5, .tell = hear, .tell_context = told};
    struct log_replay_report report;
    struct log *log;
    assert_int_equal(log_open(medium, 1, 0, &options, ignore, NULL, &report, &log, NULL), RC_OK);
    return log;
}

static enum rc push(struct log *log, uint64_t *end) {
    static const uint8_t bytes[500];
    return log_push(log, LOG_POINTS, bytes, sizeof(bytes), end, NULL);
}

/* Until `count` reaches what is wanted; five seconds at most. */
static void wait_for(const _Atomic uint32_t *count, uint32_t wanted) {
    int64_t until = clock_monotonic_ns() + 5000000000;
    while (*count < wanted && clock_monotonic_ns() < until)
        clock_sleep_ns(1000000);
    assert_int_equal(*count, wanted);
}

static void wait_for_failed_attempts(struct log *log, uint64_t wanted) {
    int64_t until = clock_monotonic_ns() + 5000000000;
    struct log_stats stats;
    do {
        clock_sleep_ns(1000000);
        log_stats(log, &stats);
    } while (stats.failures < wanted && clock_monotonic_ns() < until);
    assert_true(stats.failures >= wanted);
}

static const struct memory_medium_faults full = {.seed = 1, .space_bytes = 1}, none = {0};

/* Nobody waits for the record here, as for what comes by telnet. */
static void a_full_disk_is_told_once_and_so_is_its_end(void **state) {
    struct medium *medium;
    struct told told = {0};
    assert_int_equal(memory_medium_open(NULL, &medium, NULL), RC_OK);
    struct log *log = open_log(medium, &told);
    for (uint32_t time = 1; time <= 2; time++) {
        memory_medium_set_faults(medium, &full);
        assert_int_equal(push(log, NULL), RC_OK);
        wait_for(&told.failures, time);
        assert_int_equal(told.failure.rc, RC_NO_SPACE);
        assert_string_equal(told.failure.message, "the memory medium is full (injected fault)");
        wait_for_failed_attempts(log, 5 * time);
        assert_int_equal(told.failures, time);
        assert_int_equal(told.recoveries, time - 1);
        memory_medium_set_faults(medium, &none);
        wait_for(&told.recoveries, time);
    }
    assert_int_equal(log_close(log, NULL), RC_OK);
    assert_int_equal(told.failures + told.recoveries, 4);
    medium_close(medium);
}

static void a_disk_that_is_full_at_the_start_is_told(void **state) {
    struct medium *medium;
    struct told told = {0};
    assert_int_equal(memory_medium_open(NULL, &medium, NULL), RC_OK);
    memory_medium_set_faults(medium, &full);
    struct log *log = open_log(medium, &told);
    assert_int_equal(told.failures, 1);
    memory_medium_set_faults(medium, &none);
    wait_for(&told.recoveries, 1);
    uint64_t end;
    assert_int_equal(push(log, &end), RC_OK);
    assert_int_equal(log_wait(log, end, 0, NULL), RC_OK);
    assert_int_equal(log_close(log, NULL), RC_OK);
    assert_int_equal(told.failures, 1);
    medium_close(medium);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_disk_is_told_once_and_so_is_its_end),
        cmocka_unit_test(a_disk_that_is_full_at_the_start_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
