#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/attr.h"
#include "os/thread.h"
#include "server/put_commit.h"

#include <stdatomic.h>

enum { PUTS = 6, ROUNDS = 300 };

/* A log that syncs when it is let, or fails. */
struct log_double {
    struct mutex lock;
    struct condition changed;
    bool held; /* the next sync waits */
    bool inside;
    uint64_t failing_from; /* positions from here on fail; 0: none */
    uint64_t durable;
    uint32_t syncs;
    uint64_t asked[64]; /* by the first of them */
};

static void log_init(struct log_double *log) {
    *log = (struct log_double){0};
    mutex_init(&log->lock);
    condition_init(&log->changed);
}

static void log_fini(struct log_double *log) {
    mutex_fini(&log->lock);
    condition_fini(&log->changed);
}

static enum rc sync_log(void *context, uint64_t commit, struct err *err) {
    struct log_double *log = context;
    mutex_lock(&log->lock);
    if (log->syncs < COUNT_OF(log->asked))
        log->asked[log->syncs] = commit;
    log->syncs++;
    log->inside = true;
    condition_broadcast(&log->changed);
    while (log->held)
        condition_wait(&log->changed, &log->lock);
    log->inside = false;
    bool fails = log->failing_from != 0 && commit >= log->failing_from;
    if (!fails && commit > log->durable)
        log->durable = commit;
    mutex_unlock(&log->lock);
    return fails ? err_set(err, RC_IO, "no sync for %u", (unsigned)commit) : RC_OK;
}

static void hold(struct log_double *log, bool held) {
    mutex_lock(&log->lock);
    log->held = held;
    condition_broadcast(&log->changed);
    mutex_unlock(&log->lock);
}

static void wait_until_inside(struct log_double *log) {
    mutex_lock(&log->lock);
    while (!log->inside)
        condition_wait(&log->changed, &log->lock);
    mutex_unlock(&log->lock);
}

struct put {
    struct thread thread;
    struct put_commit *commits;
    struct log_double *log;
    uint64_t commit;
    enum rc rc;
    struct err err;
    _Atomic bool started;
};

static void *put_once(void *context) {
    struct put *put = context;
    atomic_store(&put->started, true);
    put->rc = put_commit_wait(put->commits, put->commit, &put->err);
    return NULL;
}

static void start(struct put *put, struct put_commit *commits, struct log_double *log,
                  uint64_t commit, void *(*run)(void *)) {
    *put = (struct put){.commits = commits, .log = log, .commit = commit};
    assert_int_equal(thread_start(&put->thread, "put", run, put, NULL), RC_OK);
}

static void a_put_alone_is_synced_at_once(void **state) {
    struct log_double log;
    log_init(&log);
    struct put_commit *commits = put_commit_new(sync_log, &log);
    for (uint64_t i = 1; i <= 3; i++)
        assert_int_equal(put_commit_wait(commits, 10 * i, NULL), RC_OK);
    assert_int_equal(log.syncs, 3);
    assert_int_equal(log.asked[0], 10);
    assert_int_equal(log.asked[2], 30);
    put_commit_free(commits);
    log_fini(&log);
}

/* One commit is under way; the others come meanwhile, in any order. */
static void run_while_held(struct log_double *log, struct put *puts) {
    struct put_commit *commits = put_commit_new(sync_log, log);
    hold(log, true);
    start(&puts[0], commits, log, 1, put_once);
    wait_until_inside(log);
    for (uint64_t i = 1; i < PUTS; i++)
        start(&puts[i], commits, log, 100 + i, put_once);
    for (int i = 1; i < PUTS; i++)
        while (!atomic_load(&puts[i].started))
            continue;
    hold(log, false);
    for (int i = 0; i < PUTS; i++)
        thread_join(&puts[i].thread);
    put_commit_free(commits);
}

static void those_who_come_meanwhile_share_the_next_commits(void **state) {
    struct log_double log;
    log_init(&log);
    struct put puts[PUTS];
    run_while_held(&log, puts);
    for (int i = 0; i < PUTS; i++)
        assert_int_equal(puts[i].rc, RC_OK);
    assert_in_range(log.syncs, 2, PUTS);
    assert_int_equal(log.durable, 100 + PUTS - 1);
    log_fini(&log);
}

static void each_has_the_outcome_of_its_own_position(void **state) {
    struct log_double log;
    log_init(&log);
    log.failing_from = 103;
    struct put puts[PUTS];
    run_while_held(&log, puts);
    for (uint64_t i = 0; i < PUTS; i++) {
        uint64_t commit = puts[i].commit;
        assert_int_equal(puts[i].rc, commit < 103 ? RC_OK : RC_IO);
        if (commit == 104)
            assert_string_equal(puts[i].err.message, "no sync for 104");
    }
    log_fini(&log);
}

static _Atomic uint64_t log_end;

static void *put_again_and_again(void *context) {
    struct put *put = context;
    for (int i = 0; i < ROUNDS && put->rc == RC_OK; i++) {
        uint64_t commit = atomic_fetch_add(&log_end, 1) + 1;
        put->rc = put_commit_wait(put->commits, commit, &put->err);
        mutex_lock(&put->log->lock);
        if (put->log->durable < commit)
            put->rc = RC_CONFLICT;
        mutex_unlock(&put->log->lock);
    }
    return NULL;
}

static void nobody_returns_before_its_points_are_durable(void **state) {
    struct log_double log;
    log_init(&log);
    struct put_commit *commits = put_commit_new(sync_log, &log);
    struct put puts[PUTS];
    for (int i = 0; i < PUTS; i++)
        start(&puts[i], commits, &log, 0, put_again_and_again);
    for (int i = 0; i < PUTS; i++) {
        thread_join(&puts[i].thread);
        assert_int_equal(puts[i].rc, RC_OK);
    }
    assert_int_equal(log.durable, PUTS * ROUNDS);
    assert_true(log.syncs <= PUTS * ROUNDS);
    put_commit_free(commits);
    log_fini(&log);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_put_alone_is_synced_at_once),
        cmocka_unit_test(those_who_come_meanwhile_share_the_next_commits),
        cmocka_unit_test(each_has_the_outcome_of_its_own_position),
        cmocka_unit_test(nobody_returns_before_its_points_are_durable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
