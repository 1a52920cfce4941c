#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/attr.h"
#include "os/clock.h"
#include "server/http_stream.h"

#include <stdlib.h>
#include <string.h>

struct script {
    size_t bytes;
    enum rc rc;
    bool disposed;
    enum rc pushed;
    enum rc resumed; /* what resuming gives */
    int64_t deadline_ns;
    struct budget *budget;
    size_t relief; /* charged, and given up when asked */
    unsigned relieved;
    bool whole; /* pushed in one piece */
    unsigned pauses, resumes;
    struct err told; /* by settling */
};

static void make(void *context, struct http_stream *stream) {
    struct script *script = context;
    char block[4096];
    memset(block, 'x', sizeof(block));
    if (script->whole) {
        char *all = calloc(1, script->bytes);
        assert_non_null(all);
        script->pushed = http_stream_push(stream, (str){all, script->bytes});
        free(all);
    }
    for (size_t left = script->whole ? 0 : script->bytes; left > 0 && script->pushed == RC_OK;) {
        size_t n = left < sizeof(block) ? left : sizeof(block);
        script->pushed = http_stream_push(stream, (str){block, n});
        left -= n;
    }
    struct err err;
    err_set(&err, script->rc, "the maker failed");
    http_stream_finish(stream, script->rc, &err);
}

static void dispose(void *context) {
    ((struct script *)context)->disposed = true;
}

static void pause_maker(void *context) {
    struct script *script = context;
    assert_int_equal(script->pauses++, script->resumes);
}

static enum rc resume_maker(void *context) {
    struct script *script = context;
    assert_int_equal(++script->resumes, script->pauses);
    return script->resumed;
}

static void relieve_budget(void *context) {
    struct script *script = context;
    budget_release(script->budget, script->relief);
    script->relief = 0;
    script->relieved++;
}

/* Starts a stream and waits until it is known how it begins. */
static struct http_stream *start(struct script *script, enum http_stream_state expected) {
    const struct http_stream_maker maker = {
        .make = make,
        .pause = pause_maker,
        .resume = resume_maker,
        .relieve = relieve_budget,
        .dispose = dispose,
        .context = script,
        .deadline_ns = script->deadline_ns,
        .budget = script->budget,
    };
    struct http_stream *stream;
    assert_int_equal(http_stream_start(&maker, false, &stream, NULL), RC_OK);
    assert_int_equal(http_stream_settle(stream, &script->told), expected);
    return stream;
}

/* What the last read gives; *bytes (may be NULL) is what all gave before. */
static ptrdiff_t read_to_end(struct http_stream *stream, size_t *bytes) {
    static char block[70000];
    size_t total = 0;
    ptrdiff_t n;
    while ((n = http_stream_read(stream, block, sizeof(block))) > 0)
        total += (size_t)n;
    if (bytes != NULL)
        *bytes = total;
    return n;
}

static void a_short_answer_is_complete(void **state) {
    struct script script = {.bytes = 10000};
    struct http_stream *stream = start(&script, HTTP_STREAM_COMPLETE);
    struct buf body = {0};
    http_stream_take(stream, &body);
    assert_int_equal(body.n, 10000);
    buf_fini(&body);
    http_stream_free(stream);
    assert_true(script.disposed);
    assert_int_equal(script.pauses, 0);
}

static void an_early_failure_is_told_before_anything_is_sent(void **state) {
    struct script script = {.bytes = 10000, .rc = RC_LIMIT};
    struct http_stream *stream = start(&script, HTTP_STREAM_FAILED);
    assert_string_equal(script.told.message, "the maker failed");
    http_stream_free(stream);
}

static void a_long_answer_arrives_whole(void **state) {
    struct script script = {.bytes = (size_t)5 << 20};
    struct http_stream *stream = start(&script, HTTP_STREAM_LONG);
    size_t bytes;
    assert_int_equal(read_to_end(stream, &bytes), 0);
    assert_int_equal(bytes, script.bytes);
    http_stream_free(stream);
}

static void a_late_failure_ends_the_answer_with_an_error(void **state) {
    struct script script = {.bytes = (size_t)5 << 20, .rc = RC_TIMEOUT};
    struct http_stream *stream = start(&script, HTTP_STREAM_LONG);
    assert_int_equal(read_to_end(stream, NULL), -1);
    http_stream_free(stream);
}

static void a_reader_that_goes_stops_the_maker(void **state) {
    struct script script = {.bytes = (size_t)1 << 30};
    struct http_stream *stream = start(&script, HTTP_STREAM_LONG);
    http_stream_free(stream);
    assert_true(script.disposed);
    assert_int_equal(script.pushed, RC_CANCELLED);
}

static void the_maker_is_paused_while_its_reader_is_slow(void **state) {
    struct script script = {.bytes = (size_t)5 << 20};
    struct http_stream *stream = start(&script, HTTP_STREAM_LONG);
    clock_sleep_ns(20 * 1000000);
    read_to_end(stream, NULL);
    http_stream_free(stream);
    assert_int_equal(script.pushed, RC_OK);
    assert_true(script.pauses > 0);
    assert_int_equal(script.resumes, script.pauses);
}

static void a_maker_that_may_not_go_on_fails(void **state) {
    struct script script = {.bytes = (size_t)5 << 20, .resumed = RC_TIMEOUT};
    struct http_stream *stream = start(&script, HTTP_STREAM_LONG);
    clock_sleep_ns(20 * 1000000);
    read_to_end(stream, NULL);
    http_stream_free(stream);
    assert_int_equal(script.pushed, RC_TIMEOUT);
    assert_int_equal(script.resumes, 1);
}

static void a_reader_that_takes_nothing_is_waited_for_until_the_deadline(void **state) {
    struct script script = {.bytes = (size_t)1 << 30,
                            .deadline_ns = clock_monotonic_ns() + 50 * 1000000};
    struct http_stream *stream = start(&script, HTTP_STREAM_LONG);
    clock_sleep_ns(200 * 1000000);
    http_stream_free(stream);
    assert_int_equal(script.pushed, RC_TIMEOUT);
    assert_int_equal(script.resumes, 1);
}

static void a_reader_that_takes_nothing_holds_a_bounded_charge(void **state) {
    for (int whole = 0; whole < 2; whole++) {
        struct budget budget;
        budget_init(&budget, 0, NULL);
        struct script script = {.bytes = (size_t)64 << 20, .budget = &budget, .whole = whole != 0};
        struct http_stream *stream = start(&script, HTTP_STREAM_LONG);
        clock_sleep_ns(20 * 1000000);
        assert_int_equal(budget_used(&budget), HTTP_STREAM_BUFFER_MAX);
        read_to_end(stream, NULL);
        assert_int_equal(budget_used(&budget), HTTP_STREAM_BUFFER_MAX);
        http_stream_free(stream);
        assert_int_equal(script.pushed, RC_OK);
        assert_int_equal(budget_used(&budget), 0);
    }
}

static void without_memory_a_reply_is_refused_before_anything_is_sent(void **state) {
    struct budget budget;
    budget_init(&budget, HTTP_STREAM_BUFFER_MAX - 1, NULL);
    struct script script = {.bytes = (size_t)5 << 20, .rc = RC_THROTTLE, .budget = &budget};
    struct http_stream *stream = start(&script, HTTP_STREAM_FAILED);
    http_stream_free(stream);
    assert_int_equal(script.pushed, RC_THROTTLE);
    assert_int_equal(script.relieved, 1);
    assert_int_equal(budget_used(&budget), 0);
}

static void what_can_be_given_up_makes_room_for_a_reply(void **state) {
    struct budget budget;
    budget_init(&budget, HTTP_STREAM_BUFFER_MAX + 1000, NULL);
    struct script script = {.bytes = (size_t)5 << 20, .budget = &budget, .relief = 1 << 20};
    assert_true(budget_charge(&budget, script.relief));
    struct http_stream *stream = start(&script, HTTP_STREAM_LONG);
    read_to_end(stream, NULL);
    http_stream_free(stream);
    assert_int_equal(script.pushed, RC_OK);
    assert_int_equal(script.relieved, 1);
    assert_int_equal(budget_used(&budget), 0);
}

static void what_is_taken_from_a_stream_stays_charged(void **state) {
    struct budget budget;
    budget_init(&budget, 0, NULL);
    struct script script = {.bytes = 10000, .budget = &budget};
    struct http_stream *stream = start(&script, HTTP_STREAM_COMPLETE);
    struct buf body = {0};
    http_stream_take(stream, &body);
    http_stream_free(stream);
    assert_int_equal(budget_used(&budget), body.capacity);
    buf_fini(&body);
    assert_int_equal(budget_used(&budget), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_answer_is_complete),
        cmocka_unit_test(an_early_failure_is_told_before_anything_is_sent),
        cmocka_unit_test(a_long_answer_arrives_whole),
        cmocka_unit_test(a_late_failure_ends_the_answer_with_an_error),
        cmocka_unit_test(a_reader_that_goes_stops_the_maker),
        cmocka_unit_test(the_maker_is_paused_while_its_reader_is_slow),
        cmocka_unit_test(a_maker_that_may_not_go_on_fails),
        cmocka_unit_test(a_reader_that_takes_nothing_is_waited_for_until_the_deadline),
        cmocka_unit_test(a_reader_that_takes_nothing_holds_a_bounded_charge),
        cmocka_unit_test(without_memory_a_reply_is_refused_before_anything_is_sent),
        cmocka_unit_test(what_can_be_given_up_makes_room_for_a_reply),
        cmocka_unit_test(what_is_taken_from_a_stream_stays_charged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
