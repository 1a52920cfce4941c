/*
 * The log against a naive model: the list of records pushed. A record's contents tell its number
 * and are checked byte by byte, so whatever replay hands out is either exactly a record pushed or a
 * failure of the test.
 */
#include "store/log.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "medium/file_medium.h"
#include "medium/memory_medium.h"
#include "os/clock.h"
#include "os/thread.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { RECORDS_MAX = 4096, RECORD_MAX = 600 };

#define FIRST_FILE "log-0000000000000000-00000001"

static const struct log_options usual = {.commit_interval_ms = 5, .retry_interval_ms = 20};
static const struct log_options small_files = {
    .commit_interval_ms = 5, .retry_interval_ms = 20, .file_bytes_max = 1000};

/* ---- the model ---- */

static size_t record_length(uint32_t number) {
    return 8 + (number * UINT32_C(2654435761) >> 16) % (RECORD_MAX - 8);
}

static size_t record_fill(uint32_t number, uint8_t bytes[RECORD_MAX]) {
    size_t n = record_length(number);
    bytes_put_u32(bytes, number);
    for (size_t i = 4; i < n; i++)
        bytes[i] = (uint8_t)(number * 7 + i * 13);
    return n;
}

static enum log_record_kind record_kind(uint32_t number) {
    return (enum log_record_kind)(1 + number % 3);
}

/* What a replay handed out. */
struct seen {
    uint32_t count;
    uint32_t number[RECORDS_MAX];
    uint64_t position[RECORDS_MAX];
    uint32_t pushed; /* numbers from this on have never been pushed */
};

static enum rc see(void *context, enum log_record_kind kind, uint64_t position,
                   const uint8_t *bytes, size_t n) {
    struct seen *seen = context;
    uint8_t expected[RECORD_MAX];
    assert_true(n >= 8);
    uint32_t number = bytes_u32(bytes);
    assert_true(number < seen->pushed);
    assert_int_equal(n, record_fill(number, expected));
    assert_memory_equal(bytes, expected, n);
    assert_int_equal(kind, record_kind(number));
    assert_true(seen->count < RECORDS_MAX);
    seen->number[seen->count] = number;
    seen->position[seen->count++] = position;
    return RC_OK;
}

static enum rc push(struct log *log, uint32_t number, uint64_t *end) {
    uint8_t bytes[RECORD_MAX];
    size_t n = record_fill(number, bytes);
    return log_push(log, record_kind(number), bytes, n, end, NULL);
}

/* Pushes 0 .. count-1; the end of the last. */
static uint64_t push_first(struct log *log, uint32_t count) {
    uint64_t end = 0;
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(push(log, i, &end), RC_OK);
    return end;
}

/* The last occurrences, in order, of what was seen are exactly 0 .. count-1 and each position is
   the one it was pushed at: what a store that replays in order ends up with. */
static void assert_complete(const struct seen *seen, uint32_t count) {
    uint32_t expected = count;
    for (uint32_t i = seen->count; i-- > 0 && expected > 0;)
        if (seen->number[i] == expected - 1)
            expected--;
    assert_int_equal(expected, 0);
}

static struct medium *memory(void) {
    struct medium *medium;
    assert_int_equal(memory_medium_open(NULL, &medium, NULL), RC_OK);
    return medium;
}

static struct medium *in_directory(const char *directory) {
    struct medium *medium;
    assert_int_equal(file_medium_open(directory, &medium, NULL), RC_OK);
    return medium;
}

static void remove_directory(const char *directory) {
    char command[64];
    snprintf(command, sizeof(command), "rm -rf '%s'", directory);
    assert_int_equal(system(command), 0);
}

/* A medium, the log in it, and what opening it has told. */
struct trial {
    struct medium *medium;
    struct log *log; /* NULL: closed */
    struct log_replay_report report;
    struct seen seen;
};

/* Takes `medium`. */
static struct trial *trial_new(struct medium *medium, uint32_t pushed) {
    struct trial *trial = calloc(1, sizeof(*trial));
    assert_non_null(trial);
    trial->medium = medium;
    trial->seen.pushed = pushed;
    return trial;
}

static enum rc trial_close(struct trial *trial) {
    struct log *log = trial->log;
    trial->log = NULL;
    return log == NULL ? RC_OK : log_close(log, NULL);
}

static enum rc trial_try_open(struct trial *trial, uint64_t from, const struct log_options *options,
                              struct err *err) {
    trial_close(trial);
    trial->seen.count = 0;
    return log_open(trial->medium, 1, from, options, see, &trial->seen, &trial->report, &trial->log,
                    err);
}

/* Opens the log, again if it is open. */
static struct log *trial_open(struct trial *trial, uint64_t from,
                              const struct log_options *options) {
    struct err err;
    if (trial_try_open(trial, from, options, &err) != RC_OK)
        fail_msg("log_open: %s", err.message);
    return trial->log;
}

static void trial_free(struct trial *trial) {
    trial_close(trial);
    medium_close(trial->medium);
    free(trial);
}

static enum rc add_name(void *context, const char *name, uint64_t size) {
    buf_printf(context, "%s=%llu ", name, (unsigned long long)size);
    return RC_OK;
}

static void assert_files(struct medium *medium, const char *expected) {
    struct buf text = {0};
    assert_int_equal(medium_list(medium, MEDIUM_LOGS, add_name, &text, NULL), RC_OK);
    buf_char(&text, '\0');
    assert_string_equal(text.p, expected);
    buf_fini(&text);
}

/* ---- the ordinary ---- */

static void a_new_log_is_empty(void **state) {
    struct trial *trial = trial_new(memory(), 0);
    struct log *log = trial_open(trial, 0, &usual);
    assert_int_equal(log_end(log), 0);
    assert_int_equal(trial->seen.count, 0);
    assert_int_equal(trial_close(trial), RC_OK);
    assert_files(trial->medium, "log-0000000000000000-00000001=40 ");
    trial_free(trial);
}

static void a_closed_log_gives_back_every_record_at_its_position(void **state) {
    struct trial *trial = trial_new(memory(), 100);
    struct log *log = trial_open(trial, 0, &small_files);
    uint64_t start[100], end = 0, bytes = 0;
    for (uint32_t i = 0; i < 100; i++) {
        start[i] = end;
        assert_int_equal(push(log, i, &end), RC_OK);
        assert_int_equal(end, start[i] + 24 + record_length(i));
        bytes += record_length(i);
        if (i % 3 == 0)
            assert_int_equal(log_wait(log, end, 0, NULL), RC_OK);
    }
    assert_int_equal(log_end(log), end);
    assert_int_equal(trial_close(trial), RC_OK);
    log = trial_open(trial, 0, &small_files);
    assert_int_equal(trial->seen.count, 100);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(trial->seen.number[i], i);
        assert_int_equal(trial->seen.position[i], start[i]);
    }
    assert_true(trial->report.files > 1);
    struct log_replay_report expected = {
        .files = trial->report.files, .records = 100, .bytes = bytes};
    assert_memory_equal(&trial->report, &expected, sizeof(trial->report));
    assert_int_equal(log_end(log), end);

    trial_open(trial, start[60], &small_files);
    assert_int_equal(trial->seen.count, 40);
    assert_int_equal(trial->seen.number[0], 60);
    assert_int_equal(trial->report.damaged_bytes, 0);
    trial_free(trial);
}

static void records_become_durable_without_anybody_waiting(void **state) {
    struct trial *trial = trial_new(memory(), 1);
    struct log *log = trial_open(trial, 0, &usual);
    struct log_stats stats;
    assert_int_equal(push(log, 0, NULL), RC_OK);
    for (int i = 0; i < 2000; i++) {
        log_stats(log, &stats);
        if (stats.durable == stats.end)
            break;
        clock_sleep_ns(1000000);
    }
    assert_int_equal(stats.durable, log_end(log));
    assert_int_equal(stats.commits, 1);
    trial_free(trial);
}

static void an_empty_and_a_large_record_are_records(void **state) {
    struct medium *medium = memory();
    struct log_replay_report report;
    struct log *log;
    size_t large = 5 << 20;
    uint8_t *bytes = calloc(1, large);
    assert_int_equal(log_open(medium, 1, 0, &usual, NULL, NULL, &report, &log, NULL), RC_OK);
    assert_int_equal(log_push(log, LOG_DEFINE, NULL, 0, NULL, NULL), RC_OK);
    assert_int_equal(log_push(log, LOG_DELETE, bytes, large, NULL, NULL), RC_OK);
    assert_int_equal(log_push(log, LOG_DELETE, bytes, 65 << 20, NULL, NULL), RC_LIMIT);
    assert_int_equal(log_close(log, NULL), RC_OK);
    free(bytes);
    medium_close(medium);
}

static void truncation_removes_files_that_are_wholly_before(void **state) {
    struct trial *trial = trial_new(memory(), 50);
    struct log *log = trial_open(trial, 0, &small_files);
    struct log_stats stats;
    uint64_t end = 0, middle = 0;
    for (uint32_t i = 0; i < 50; i++) {
        if (i == 25)
            middle = end;
        assert_int_equal(push(log, i, &end), RC_OK);
        assert_int_equal(log_wait(log, end, 0, NULL), RC_OK);
    }
    log_stats(log, &stats);
    assert_int_equal(stats.start, 0);
    assert_int_equal(log_truncate(log, middle, NULL), RC_OK);
    log_stats(log, &stats);
    assert_true(stats.start > 0 && stats.start <= middle);
    log = trial_open(trial, middle, &small_files);
    assert_int_equal(trial->seen.count, 25);
    assert_int_equal(trial->seen.number[0], 25);
    assert_int_equal(trial->report.damaged_bytes, 0);
    assert_int_equal(log_truncate(log, end, NULL), RC_OK);
    log_stats(log, &stats);
    assert_int_equal(stats.start, end);
    trial_free(trial);
}

static void restarts_without_writes_leave_one_file(void **state) {
    struct trial *trial = trial_new(memory(), 1);
    struct log *log = trial_open(trial, 0, &usual);
    assert_int_equal(push(log, 0, NULL), RC_OK);
    trial_close(trial);
    for (int i = 0; i < 5; i++)
        trial_open(trial, 0, &usual);
    trial_close(trial);
    char expected[128];
    size_t whole = 24 + record_length(0);
    snprintf(expected, sizeof(expected),
             "log-0000000000000000-00000001=%zu log-%016zx-00000006=40 ", 40 + whole, whole);
    assert_files(trial->medium, expected);
    trial_free(trial);
}

static void a_wait_times_out_and_the_commit_goes_on(void **state) {
    struct trial *trial = trial_new(memory(), 1);
    struct log *log = trial_open(trial, 0, &usual);
    struct memory_medium_faults slow = {.sync_takes_ms = 200};
    uint64_t end;
    memory_medium_set_faults(trial->medium, &slow);
    assert_int_equal(push(log, 0, &end), RC_OK);
    assert_int_equal(log_wait(log, end, 5, NULL), RC_TIMEOUT);
    assert_int_equal(log_wait(log, end, 0, NULL), RC_OK);
    trial_free(trial);
}

static void a_medium_that_is_too_slow_throttles_pushes(void **state) {
    struct trial *trial = trial_new(memory(), RECORDS_MAX);
    struct log_options options = {.buffer_bytes_max = 2000};
    struct log *log = trial_open(trial, 0, &options);
    struct memory_medium_faults slow = {.sync_takes_ms = 1500};
    memory_medium_set_faults(trial->medium, &slow);
    uint32_t count = 0;
    enum rc rc;
    while ((rc = push(log, count, NULL)) == RC_OK && count < 100)
        count++;
    assert_int_equal(rc, RC_THROTTLE);
    slow.sync_takes_ms = 0;
    memory_medium_set_faults(trial->medium, &slow);
    assert_int_equal(trial_close(trial), RC_OK);
    trial_open(trial, 0, &options);
    assert_int_equal(trial->seen.count, count);
    trial_free(trial);
}

static void buffers_are_charged_to_the_budget(void **state) {
    struct trial *trial = trial_new(memory(), 1);
    struct budget budget;
    budget_init(&budget, 100 << 10, NULL);
    struct log_options options = usual;
    options.budget = &budget;
    struct log *log = trial_open(trial, 0, &options);
    static uint8_t large[120 << 10];
    struct err err;
    assert_int_equal(push(log, 0, NULL), RC_OK);
    assert_int_equal(budget_used(&budget), 64 << 10);
    assert_int_equal(log_push(log, LOG_POINTS, large, sizeof(large), NULL, &err), RC_THROTTLE);
    trial_close(trial);
    assert_int_equal(budget_used(&budget), 0);
    trial_free(trial);
}

static enum rc refuse(void *context, enum log_record_kind kind, uint64_t position,
                      const uint8_t *bytes, size_t n) {
    return RC_NOMEM;
}

static void a_failing_apply_stops_the_open(void **state) {
    struct trial *trial = trial_new(memory(), 1);
    struct log *log = trial_open(trial, 0, &usual);
    assert_int_equal(push(log, 0, NULL), RC_OK);
    trial_close(trial);
    assert_int_equal(
        log_open(trial->medium, 1, 0, &usual, refuse, NULL, &trial->report, &log, NULL), RC_NOMEM);
    trial_free(trial);
}

/* ---- crashes ---- */

/* Pushes numbers from `next` on, waiting for every third, until `count` or a failure. Returns how
   many are acknowledged, all of 0 .. n-1; *next is the first number not pushed. */
static uint32_t work(struct log *log, uint32_t acknowledged, uint32_t *next, uint32_t count) {
    uint64_t end;
    for (; *next < count; (*next)++) {
        if (push(log, *next, &end) != RC_OK)
            return acknowledged;
        if (*next % 3 != 0)
            continue;
        if (log_wait(log, end, 0, NULL) != RC_OK) {
            (*next)++;
            return acknowledged;
        }
        acknowledged = *next + 1;
    }
    return acknowledged;
}

/* One run that crashes at operation `at`, loses power, and is replayed twice with more work in
   between; false if it ended before it could crash. */
static bool crash_at(uint64_t at, uint64_t seed) {
    enum { COUNT = 12 };
    struct trial *trial = trial_new(memory(), 3 * COUNT);
    struct memory_medium_faults faults = {.seed = seed, .crash_at_operation = at};
    memory_medium_set_faults(trial->medium, &faults);
    uint32_t next = 0, acknowledged = 0;
    if (trial_try_open(trial, 0, &small_files, NULL) == RC_OK)
        acknowledged = work(trial->log, 0, &next, COUNT);
    trial_close(trial);
    bool crashed = memory_medium_operations(trial->medium) >= at;
    memory_medium_power_cycle(trial->medium, seed);

    struct log *log = trial_open(trial, 0, &small_files);
    assert_complete(&trial->seen, acknowledged);
    uint32_t survivors = trial->seen.count;
    uint32_t more = next;
    uint32_t done = work(log, 0, &more, next + 7);
    assert_int_equal(trial_close(trial), RC_OK);
    memory_medium_power_cycle(trial->medium, seed + 1);

    trial_open(trial, 0, &small_files);
    assert_int_equal(trial->seen.count, survivors + 7);
    for (uint32_t i = 0; i < 7; i++)
        assert_int_equal(trial->seen.number[survivors + i], next + i);
    assert_int_equal(trial->report.torn_tail_bytes, 0);
    assert_true(done <= more);
    trial_free(trial);
    return crashed;
}

static void what_was_acknowledged_survives_a_crash_at_any_operation(void **state) {
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t at = 1;
        while (crash_at(at, seed * 1000 + at))
            at++;
        assert_true(at > 12);
    }
}

/* Killed before the sync, the process finds its unsynced records again and builds on them: then the
   power fails. */
static void what_a_replay_has_shown_stays_even_if_it_was_never_synced(void **state) {
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct trial *trial = trial_new(memory(), 20);
        struct memory_medium_faults failing = {.seed = seed, .crash_at_operation = 2}, none = {0};
        struct log_options lazy = {.commit_interval_ms = 60000, .retry_interval_ms = 60000};
        struct log *log = trial_open(trial, 0, &lazy);
        uint64_t end = push_first(log, 10);
        /* The write succeeds, the sync does not, and so does nothing after it. */
        memory_medium_set_faults(trial->medium, &failing);
        assert_int_equal(log_wait(log, end, 0, NULL), RC_IO);
        trial_close(trial);
        memory_medium_revive(trial->medium);
        memory_medium_set_faults(trial->medium, &none);
        log = trial_open(trial, 0, &usual);
        assert_int_equal(trial->seen.count, 10);
        assert_int_equal(push(log, 10, &end), RC_OK);
        assert_int_equal(log_wait(log, end, 0, NULL), RC_OK);
        trial_close(trial);
        memory_medium_power_cycle(trial->medium, seed);
        trial_open(trial, 0, &usual);
        assert_int_equal(trial->seen.count, 11);
        assert_complete(&trial->seen, 11);
        trial_free(trial);
    }
}

/* ---- failures ---- */

static void survive_faults(struct memory_medium_faults faults) {
    struct trial *trial = trial_new(memory(), RECORDS_MAX);
    struct log *log = trial_open(trial, 0, &small_files);
    memory_medium_set_faults(trial->medium, &faults);
    uint64_t end = 0;
    uint32_t failures = 0;
    /* Numbers 0 .. count-1 are pushed in order, those refused are tried again. */
    uint32_t count = 0, acknowledged = 0;
    int64_t until = clock_monotonic_ns() + 4000000000;
    while (count < 400 && failures < 25 && clock_monotonic_ns() < until) {
        if (push(log, count, &end) == RC_OK) {
            count++;
            if (log_wait(log, end, 0, NULL) == RC_OK) {
                acknowledged = count;
                continue;
            }
        }
        failures++;
        struct log_stats stats;
        do {
            clock_sleep_ns(1000000);
            log_stats(log, &stats);
        } while (stats.failing && clock_monotonic_ns() < until);
    }
    assert_true(failures > 0);
    assert_true(acknowledged > 0);
    trial_close(trial);
    memory_medium_power_cycle(trial->medium, faults.seed);
    trial_open(trial, 0, &small_files);
    assert_complete(&trial->seen, acknowledged);
    trial_free(trial);
}

static void failing_syncs_lose_nothing_acknowledged(void **state) {
    for (uint64_t seed = 1; seed <= 4; seed++)
        survive_faults((struct memory_medium_faults){.seed = seed, .sync_fails_percent = 20});
}

static void short_writes_lose_nothing_acknowledged(void **state) {
    for (uint64_t seed = 1; seed <= 4; seed++)
        survive_faults((struct memory_medium_faults){.seed = seed, .write_short_percent = 20});
}

static void a_full_disk_refuses_and_room_heals(void **state) {
    struct trial *trial = trial_new(memory(), RECORDS_MAX);
    struct log *log = trial_open(trial, 0, &small_files);
    struct memory_medium_faults full = {.seed = 1, .space_bytes = 3000}, none = {0};
    memory_medium_set_faults(trial->medium, &full);
    struct err err = {0};
    uint64_t end = 0;
    uint32_t next = 0, acknowledged = 0;
    while (push(log, next, &end) == RC_OK) {
        next++;
        if (log_wait(log, end, 0, &err) == RC_OK)
            acknowledged = next;
    }
    assert_true(acknowledged > 0 && acknowledged < next);
    assert_int_equal(err.rc, RC_NO_SPACE);
    assert_string_equal(err.message, "the log cannot be written: the memory medium is full "
                                     "(injected fault)");
    struct log_stats stats;
    log_stats(log, &stats);
    assert_true(stats.failing);
    memory_medium_set_faults(trial->medium, &none);
    int64_t until = clock_monotonic_ns() + 5000000000;
    while (push(log, next, &end) != RC_OK) {
        assert_true(clock_monotonic_ns() < until);
        clock_sleep_ns(10000000);
    }
    next++;
    assert_int_equal(log_wait(log, end, 0, NULL), RC_OK);
    log_stats(log, &stats);
    assert_false(stats.failing);
    assert_int_equal(stats.durable, stats.end);
    assert_int_equal(trial_close(trial), RC_OK);
    trial_open(trial, 0, &small_files);
    assert_complete(&trial->seen, next);
    trial_free(trial);
}

static void a_full_disk_does_not_prevent_the_start(void **state) {
    struct trial *trial = trial_new(memory(), 1);
    struct log *log = trial_open(trial, 0, &usual);
    assert_int_equal(push(log, 0, NULL), RC_OK);
    trial_close(trial);
    struct memory_medium_faults full = {.seed = 1, .space_bytes = 1};
    memory_medium_set_faults(trial->medium, &full);
    log = trial_open(trial, 0, &usual);
    assert_int_equal(trial->seen.count, 1);
    assert_int_equal(push(log, 0, NULL), RC_NO_SPACE);
    assert_int_equal(trial_close(trial), RC_NO_SPACE);
    trial_free(trial);
}

static void a_taken_over_log_refuses_its_old_writer(void **state) {
    struct trial *trial = trial_new(memory(), 1);
    struct log *old = trial_open(trial, 0, &usual), *new;
    uint64_t end;
    assert_int_equal(
        log_open(trial->medium, 2, 0, &usual, see, &trial->seen, &trial->report, &new, NULL),
        RC_OK);
    assert_int_equal(push(old, 0, &end), RC_OK);
    assert_int_equal(log_wait(old, end, 0, NULL), RC_CONFLICT);
    assert_int_equal(trial_close(trial), RC_CONFLICT);
    log_close(new, NULL);
    assert_int_equal(trial_try_open(trial, 0, &usual, NULL), RC_CONFLICT);
    trial_free(trial);
}

static void unreliable_reads_do_not_pass_for_damage(void **state) {
    struct trial *trial = trial_new(memory(), 200);
    push_first(trial_open(trial, 0, &small_files), 200);
    trial_close(trial);
    struct memory_medium_faults faults = {.seed = 5, .read_fails_percent = 20}, dead = faults;
    memory_medium_set_faults(trial->medium, &faults);
    trial_open(trial, 0, &small_files);
    assert_int_equal(trial->seen.count, 200);
    assert_int_equal(trial->report.damaged_bytes, 0);
    trial_close(trial);
    dead.read_fails_percent = 100;
    memory_medium_set_faults(trial->medium, &dead);
    assert_int_equal(trial_try_open(trial, 0, &usual, NULL), RC_IO);
    trial_free(trial);
}

/* ---- damage ---- */

struct picked {
    uint64_t wanted; /* bit among all logs */
    char name[MEDIUM_NAME_MAX + 1];
    uint64_t bit;
    bool found;
};

static enum rc pick(void *context, const char *name, uint64_t size) {
    struct picked *picked = context;
    if (!picked->found && picked->wanted < size * 8) {
        snprintf(picked->name, sizeof(picked->name), "%s", name);
        picked->bit = picked->wanted;
        picked->found = true;
    }
    if (!picked->found)
        picked->wanted -= size * 8;
    return RC_OK;
}

static void flip_bit(struct medium *medium, const char *name, uint64_t bit) {
    assert_int_equal(memory_medium_flip_bit(medium, MEDIUM_LOGS, name, bit), RC_OK);
}

static void a_flipped_bit_costs_one_record_and_is_reported(void **state) {
    enum { COUNT = 40 };
    struct trial *trial = trial_new(memory(), COUNT);
    struct log *log = trial_open(trial, 0, &small_files);
    uint64_t end = 0, random = 1;
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(push(log, i, &end), RC_OK);
        assert_int_equal(log_wait(log, end, 0, NULL), RC_OK);
    }
    trial_close(trial);
    /* From here on the last file holds no record, so that all damage lies before it. */
    trial_open(trial, 0, &small_files);
    trial_close(trial);
    for (int round = 0; round < 300; round++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        struct picked picked = {.wanted = (random >> 20) % (end * 8)};
        assert_int_equal(medium_list(trial->medium, MEDIUM_LOGS, pick, &picked, NULL), RC_OK);
        assert_true(picked.found);
        flip_bit(trial->medium, picked.name, picked.bit);
        log = trial_open(trial, 0, &small_files);
        bool in_file_header = picked.bit < 40 * 8;
        assert_true(trial->report.damaged_bytes > 0);
        assert_int_equal(trial->report.torn_tail_bytes, 0);
        assert_int_equal(trial->report.damaged_records, in_file_header ? 0 : 1);
        assert_int_equal(trial->seen.count, in_file_header ? COUNT : COUNT - 1);
        for (uint32_t i = 1; i < trial->seen.count; i++)
            assert_true(trial->seen.number[i] > trial->seen.number[i - 1]);
        assert_int_equal(log_end(log), end);
        trial_close(trial);
        flip_bit(trial->medium, picked.name, picked.bit);
    }
    trial_free(trial);
}

static void a_missing_file_is_damage_and_the_rest_is_served(void **state) {
    struct trial *trial = trial_new(memory(), 20);
    uint64_t end[20];
    char name[MEDIUM_NAME_MAX + 1];
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(push(trial_open(trial, 0, &usual), i, &end[i]), RC_OK);
    trial_close(trial);
    struct log_stats stats;
    snprintf(name, sizeof(name), "log-%016llx-%08x", (unsigned long long)end[4], 6u);
    assert_int_equal(medium_remove(trial->medium, MEDIUM_LOGS, name, NULL), RC_OK);
    struct log *log = trial_open(trial, 0, &usual);
    assert_int_equal(trial->seen.count, 19);
    assert_int_equal(trial->seen.number[5], 6);
    assert_int_equal(trial->report.damaged_bytes, end[5] - end[4]);
    assert_int_equal(trial->report.damaged_records, 1);
    log_stats(log, &stats);
    assert_int_equal(stats.end, end[19]);
    trial_free(trial);
}

static void copy_log(struct medium *medium, const char *from, const char *to, size_t drop) {
    static uint8_t bytes[1 << 16];
    size_t n;
    struct medium_log *log;
    assert_int_equal(medium_log_read(medium, from, 0, bytes, sizeof(bytes), &n, NULL), RC_OK);
    assert_true(n > drop);
    assert_int_equal(medium_log_create(medium, to, 1, &log, NULL), RC_OK);
    assert_int_equal(medium_log_append(log, bytes, n - drop, NULL), RC_OK);
    medium_log_close(log);
}

static void a_file_that_is_there_twice_is_harmless(void **state) {
    struct trial *trial = trial_new(memory(), 10);
    uint64_t end = push_first(trial_open(trial, 0, &usual), 10);
    trial_close(trial);
    copy_log(trial->medium, FIRST_FILE, "log-0000000000000000-00000002", 0);
    trial_open(trial, 0, &usual);
    assert_int_equal(trial->seen.count, 20);
    assert_complete(&trial->seen, 10);
    assert_int_equal(log_end(trial->log), end);
    assert_int_equal(trial->report.damaged_bytes + trial->report.torn_tail_bytes, 0);
    trial_free(trial);
}

static void a_file_under_the_name_of_another_position_is_not_believed(void **state) {
    struct trial *trial = trial_new(memory(), 10);
    push_first(trial_open(trial, 0, &usual), 10);
    trial_close(trial);
    copy_log(trial->medium, FIRST_FILE, "log-0000000000100000-00000002", 0);
    trial_open(trial, 0, &usual);
    assert_int_equal(trial->seen.count, 10);
    trial_free(trial);
}

static void a_torn_tail_is_cut_off_and_told_apart_from_damage(void **state) {
    struct trial *trial = trial_new(memory(), 10);
    struct log *log = trial_open(trial, 0, &usual);
    uint64_t end = 0, last = 0;
    for (uint32_t i = 0; i < 10; i++) {
        last = end;
        assert_int_equal(push(log, i, &end), RC_OK);
    }
    trial_close(trial);
    copy_log(trial->medium, FIRST_FILE, "log-0000000000000000-00000002", 3);
    assert_int_equal(medium_remove(trial->medium, MEDIUM_LOGS, FIRST_FILE, NULL), RC_OK);
    log = trial_open(trial, 0, &usual);
    assert_int_equal(trial->seen.count, 9);
    assert_int_equal(trial->report.torn_tail_bytes, end - last - 3);
    assert_int_equal(trial->report.damaged_bytes, 0);
    assert_int_equal(log_end(log), last);
    trial_free(trial);
}

/* The power goes while a commit of many records is synced: the disk may have any of its sectors. */
static void what_an_interrupted_commit_left_is_never_taken_for_damage(void **state) {
    enum { COUNT = 30, SEEDS = 200 };
    static const struct log_options patient = {.commit_interval_ms = 60000};
    uint32_t gaps = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct trial *trial = trial_new(memory(), COUNT + 2);
        struct log *log = trial_open(trial, 0, &patient);
        uint64_t end = push_first(log, COUNT);
        /* The next operation is the write, the one after it the sync. */
        memory_medium_set_faults(trial->medium,
                                 &(struct memory_medium_faults){.crash_at_operation = 2});
        assert_true(log_wait(log, end, 0, NULL) < 0);
        trial_close(trial);
        memory_medium_power_cycle(trial->medium, seed);
        for (uint32_t again = 0; again < 3; again++) {
            log = trial_open(trial, 0, &usual);
            assert_int_equal(trial->report.damaged_records + trial->report.damaged_bytes, 0);
            assert_false(trial->report.after_gap);
            gaps += again == 0 && trial->report.gap_bytes > 0;
            assert_true(again == 0 || trial->report.gap_bytes + trial->report.torn_tail_bytes == 0);
            if (again < 2) {
                assert_int_equal(push(log, COUNT + again, &end), RC_OK);
                assert_int_equal(log_wait(log, end, 0, NULL), RC_OK);
            }
            trial_close(trial);
        }
        assert_int_equal(trial->seen.number[trial->seen.count - 2], COUNT);
        assert_int_equal(trial->seen.number[trial->seen.count - 1], COUNT + 1);
        trial_free(trial);
    }
    assert_true(gaps > SEEDS / 20);
}

static void a_later_commit_proves_that_what_is_bad_was_durable(void **state) {
    static const struct log_options patient = {.commit_interval_ms = 60000};
    for (uint32_t commits = 1; commits <= 2; commits++) {
        struct trial *trial = trial_new(memory(), 20);
        struct log *log = trial_open(trial, 0, &patient);
        uint64_t end[10], last;
        for (uint32_t i = 0; i < 10; i++)
            assert_int_equal(push(log, i, &end[i]), RC_OK);
        assert_int_equal(log_wait(log, end[9], 0, NULL), RC_OK);
        for (uint32_t i = 1; i < commits; i++) {
            assert_int_equal(push(log, 10, &last), RC_OK);
            assert_int_equal(log_wait(log, last, 0, NULL), RC_OK);
        }
        trial_close(trial);
        flip_bit(trial->medium, FIRST_FILE, (40 + end[3] + 30) * 8);
        trial_open(trial, 0, &patient);
        assert_int_equal(trial->seen.count, 9 + commits - 1);
        assert_int_equal(trial->report.damaged_records, commits - 1);
        assert_int_equal(trial->report.damaged_bytes, commits == 1 ? 0 : end[4] - end[3]);
        assert_int_equal(trial->report.gap_bytes, commits == 1 ? end[4] - end[3] : 0);
        assert_int_equal(trial->report.torn_tail_bytes, 0);
        trial_free(trial);
    }
}

static void a_log_of_a_newer_version_is_refused(void **state) {
    struct medium *medium = memory();
    struct log_replay_report report;
    struct log *log;
    struct medium_log *file;
    struct err err;
    uint8_t header[40] = "BGLOG002";
    assert_int_equal(medium_log_create(medium, FIRST_FILE, 1, &file, NULL), RC_OK);

    bytes_put_u64(header + 32, hash_checksum(header, 32));
    assert_int_equal(medium_log_append(file, header, 40, NULL), RC_OK);
    medium_log_close(file);
    assert_int_equal(log_open(medium, 1, 0, &usual, NULL, NULL, &report, &log, &err),
                     RC_UNSUPPORTED);
    assert_string_equal(err.message, "log log-0000000000000000-00000001 was written by a newer "
                                     "version; start that version");
    medium_close(medium);
}

/* ---- threads ---- */

enum { THREADS = 4, EACH = 400 };

struct pusher {
    struct log *log;
    uint32_t first;
    struct thread thread;
};

static void *push_some(void *context) {
    struct pusher *pusher = context;
    uint64_t end = 0;
    for (uint32_t i = 0; i < EACH; i++) {
        assert_int_equal(push(pusher->log, pusher->first + i, &end), RC_OK);
        if (i % 16 == 0)
            assert_int_equal(log_wait(pusher->log, end, 0, NULL), RC_OK);
    }
    return NULL;
}

/* Takes `medium`. */
static void many_threads_keep_their_own_order(struct medium *medium) {
    struct trial *trial = trial_new(medium, THREADS * EACH);
    struct log_options options = {.file_bytes_max = 20000, .buffer_bytes_max = 60000};
    struct log *log = trial_open(trial, 0, &options);
    struct pusher pushers[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        pushers[i] = (struct pusher){.log = log, .first = i * EACH};
        assert_int_equal(thread_start(&pushers[i].thread, "pusher", push_some, &pushers[i], NULL),
                         RC_OK);
    }
    for (uint32_t i = 0; i < THREADS; i++)
        thread_join(&pushers[i].thread);
    assert_int_equal(trial_close(trial), RC_OK);
    trial_open(trial, 0, &options);
    assert_int_equal(trial->seen.count, THREADS * EACH);
    uint32_t next[THREADS] = {0};
    for (uint32_t i = 0; i < trial->seen.count; i++) {
        uint32_t thread = trial->seen.number[i] / EACH;
        assert_int_equal(trial->seen.number[i] % EACH, next[thread]++);
    }
    trial_free(trial);
}

static void many_threads_keep_their_own_order_in_memory(void **state) {
    many_threads_keep_their_own_order(memory());
}

static void many_threads_keep_their_own_order_in_files(void **state) {
    char directory[] = "/tmp/barograph-log-XXXXXX";
    assert_non_null(mkdtemp(directory));
    many_threads_keep_their_own_order(in_directory(directory));
    remove_directory(directory);
}

/* ---- a real process, really killed ---- */

/* Tells through `out` the number of every record acknowledged, until killed. */
static void child_work(const char *directory, int out, uint32_t next) {
    struct medium *medium;
    struct log *log;
    struct log_replay_report report;
    static struct seen seen = {.pushed = RECORDS_MAX};
    uint64_t end;
    if (file_medium_open(directory, &medium, NULL) != RC_OK ||
        log_open(medium, 1, 0, &small_files, see, &seen, &report, &log, NULL) != RC_OK)
        _exit(1);
    for (; next < RECORDS_MAX; next++) {
        if (push(log, next, &end) != RC_OK || log_wait(log, end, 0, NULL) != RC_OK ||
            write(out, &next, sizeof(next)) != sizeof(next))
            _exit(2);
    }
    _exit(3);
}

static uint32_t run_and_kill(const char *directory, uint32_t next, int64_t after_ns) {
    int fds[2], status;
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0)
        child_work(directory, fds[1], next);
    close(fds[1]);
    clock_sleep_ns(after_ns);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    uint32_t number, acknowledged = next;
    while (read(fds[0], &number, sizeof(number)) == sizeof(number))
        acknowledged = number + 1;
    close(fds[0]);
    return acknowledged;
}

static void a_killed_process_loses_nothing_acknowledged(void **state) {
    char directory[] = "/tmp/barograph-log-XXXXXX";
    assert_non_null(mkdtemp(directory));
    uint32_t next = 0;
    for (int round = 1; round <= 5; round++) {
        uint32_t acknowledged = run_and_kill(directory, next, round * 30000000);
        struct trial *trial = trial_new(in_directory(directory), RECORDS_MAX);
        trial_open(trial, 0, &small_files);
        assert_in_range(trial->seen.count, acknowledged, acknowledged + 1);
        for (uint32_t i = 0; i < trial->seen.count; i++)
            assert_int_equal(trial->seen.number[i], i);
        assert_int_equal(trial->report.damaged_bytes, 0);
        next = trial->seen.count;
        trial_free(trial);
    }
    assert_true(next > 0);
    remove_directory(directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_log_is_empty),
        cmocka_unit_test(a_closed_log_gives_back_every_record_at_its_position),
        cmocka_unit_test(records_become_durable_without_anybody_waiting),
        cmocka_unit_test(an_empty_and_a_large_record_are_records),
        cmocka_unit_test(truncation_removes_files_that_are_wholly_before),
        cmocka_unit_test(restarts_without_writes_leave_one_file),
        cmocka_unit_test(a_wait_times_out_and_the_commit_goes_on),
        cmocka_unit_test(a_medium_that_is_too_slow_throttles_pushes),
        cmocka_unit_test(buffers_are_charged_to_the_budget),
        cmocka_unit_test(a_failing_apply_stops_the_open),
        cmocka_unit_test(what_was_acknowledged_survives_a_crash_at_any_operation),
        cmocka_unit_test(what_a_replay_has_shown_stays_even_if_it_was_never_synced),
        cmocka_unit_test(failing_syncs_lose_nothing_acknowledged),
        cmocka_unit_test(short_writes_lose_nothing_acknowledged),
        cmocka_unit_test(a_full_disk_refuses_and_room_heals),
        cmocka_unit_test(a_full_disk_does_not_prevent_the_start),
        cmocka_unit_test(a_taken_over_log_refuses_its_old_writer),
        cmocka_unit_test(unreliable_reads_do_not_pass_for_damage),
        cmocka_unit_test(a_flipped_bit_costs_one_record_and_is_reported),
        cmocka_unit_test(a_missing_file_is_damage_and_the_rest_is_served),
        cmocka_unit_test(a_file_that_is_there_twice_is_harmless),
        cmocka_unit_test(a_file_under_the_name_of_another_position_is_not_believed),
        cmocka_unit_test(a_torn_tail_is_cut_off_and_told_apart_from_damage),
        cmocka_unit_test(what_an_interrupted_commit_left_is_never_taken_for_damage),
        cmocka_unit_test(a_later_commit_proves_that_what_is_bad_was_durable),
        cmocka_unit_test(a_log_of_a_newer_version_is_refused),
        cmocka_unit_test(many_threads_keep_their_own_order_in_memory),
        cmocka_unit_test(many_threads_keep_their_own_order_in_files),
        cmocka_unit_test(a_killed_process_loses_nothing_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
