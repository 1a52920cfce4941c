#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "wire/put_shape.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POINTS = 24, OUTCOMES_MAX = 200, ROUNDS = 2000 };

/* What a point is to the store. */
struct outcome {
    str metric_raw, tags_raw;
    int64_t time_ms;
    struct value value;
    bool good;
};

struct outcomes {
    size_t count;
    size_t expected; /* how many came from put_json_expected */
    int end;         /* of the body: 0 or an error */
    struct outcome point[OUTCOMES_MAX];
};

static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void take_point(struct outcomes *all, const struct put_json_point *point) {
    assert_true(all->count < OUTCOMES_MAX);
    struct outcome *outcome = &all->point[all->count++];
    *outcome = (struct outcome){.good = point->error == NULL};
    if (outcome->good)
        *outcome = (struct outcome){point->metric_raw, point->tags_raw, point->time_ms,
                                    point->value, true};
}

/* Reads a body, first as what is expected where there is something to expect: of the i-th point the
   series of the i-th of `known`, shifted by `shift`. */
static void read_body(str body, struct put_shape *shape, const struct outcomes *known, size_t shift,
                      struct outcomes *all) {
    struct arena arena;
    arena_init(&arena, NULL);
    struct put_json parser;
    put_json_init(&parser, body, shape, &arena);
    all->count = 0;
    all->expected = 0;
    for (;;) {
        size_t at = all->count + shift;
        struct outcome outcome = {0};
        if (known != NULL && at < known->count && known->point[at].good)
            outcome = known->point[at];
        if (outcome.good && put_json_expected(&parser, outcome.metric_raw, outcome.tags_raw,
                                              &outcome.time_ms, &outcome.value)) {
            assert_true(all->count < OUTCOMES_MAX);
            all->point[all->count++] = outcome;
            all->expected++;
            continue;
        }
        struct put_json_point point;
        struct err err = {0};
        all->end = put_json_next(&parser, &point, &err);
        if (all->end <= 0)
            break;
        take_point(all, &point);
    }
    arena_fini(&arena);
}

static bool same_outcome(const struct outcome *a, const struct outcome *b) {
    return a->good == b->good && str_eq(a->metric_raw, b->metric_raw) &&
           str_eq(a->tags_raw, b->tags_raw) && a->time_ms == b->time_ms &&
           a->value.bits == b->value.bits && a->value.is_float == b->value.is_float;
}

static void expect_same(str body, const struct outcomes *a, const struct outcomes *b) {
    bool same = a->count == b->count && a->end == b->end;
    for (size_t i = 0; same && i < a->count; i++)
        same = same_outcome(&a->point[i], &b->point[i]);
    if (!same)
        fail_msg("read otherwise than in full: %.*s", STR_ARG(body));
}

/* ---- bodies ---- */

/* How a client writes: %M, %T, %V and %G stand for metric, time, value and tags. */
static const char *const styles[] = {
    "{\"metric\":\"%M\",\"timestamp\":%T,\"value\":%V,\"tags\":%G}",
    "{\"metric\": \"%M\", \"timestamp\": %T, \"value\": %V, \"tags\": %G}",
    "{\n\t\"tags\" : %G ,\n\t\"value\" : \"%V\",\n\t\"timestamp\" : \"%T\", \"metric\":\"%M\"\n}",
    "{\"timestamp\":%T,\"metric\":\"%M\",\"tags\":%G,\"value\":%V,\"more\":[1,{\"a\":null}]}",
    "{\"value\":%V,\"v\\u0061lue\":%V,\"metric\":1,\"metric\":\"%M\",\"tags\":%G,\"timestamp\":%T}",
    "{\"metric\":\"%M\",\"somewhat long\":\"\\u00e9\",\"timestamp\":%T,\"value\":%V,\"tags\":%G}",
    "{\"metric\":%T,\"timestamp\":%T,\"value\":%V,\"tags\":%G}",
    "{\"metric\":\"\\u0063%M\",\"timestamp\":%T,\"value\":%V,\"tags\":%G}",
};

static const char *const metrics[] = {"cpu", "cpu.usage_user", "caf\xc3\xa9",
                                      "a.metric.with.a.name.that.is.not.short.at.all"};
static const char *const tags[] = {"{\"h\":\"a\"}", "{\"host\":\"web01\",\"n\":12}",
                                   "{ \"h\" : \"b\" }",
                                   "{\"host\":\"web01\",\"dc\":\"lga\",\"rack\":\"17\"}"};

static void put_value(struct buf *out) {
    static const char *const others[] = {
        "0", "-0", "-0.0", "1e3", "-17", "0.1", "100.25", "1E-5", "12345678901234567"};
    uint64_t r = next_random();
    if (r % 4 == 0)
        buf_str(out, str_of(others[r / 4 % COUNT_OF(others)]));
    else if (r % 4 == 1)
        buf_printf(out, "%llu.%llu", (unsigned long long)(r >> 50),
                   (unsigned long long)(r >> 8) % 1000000);
    else
        buf_printf(out, "%llu", (unsigned long long)(r >> (r / 4 % 60)));
}

static void put_point(struct buf *out, const char *style, uint64_t time) {
    const char *metric = metrics[next_random() % COUNT_OF(metrics)];
    for (const char *p = style; *p != '\0'; p++) {
        if (*p != '%') {
            buf_char(out, *p);
            continue;
        }
        p++;
        if (*p == 'M')
            buf_str(out, str_of(metric));
        else if (*p == 'T')
            buf_printf(out, "%llu", (unsigned long long)time);
        else if (*p == 'V')
            put_value(out);
        else
            buf_str(out, str_of(tags[next_random() % COUNT_OF(tags)]));
    }
}

/* Mostly or only in one style. */
static void put_body(struct buf *out, size_t points, bool one_style) {
    static const uint64_t times[] = {1451606400, 1451606400123, 1, 9999999999999, 4294967296};
    size_t style = next_random() % COUNT_OF(styles);
    buf_reset(out);
    buf_char(out, '[');
    for (size_t i = 0; i < points; i++) {
        if (i > 0)
            buf_str(out, style % 2 == 0 ? STR(",") : STR(" ,\n"));
        if (!one_style && next_random() % 8 == 0)
            style = next_random() % COUNT_OF(styles);
        put_point(out, styles[style], times[next_random() % COUNT_OF(times)] + i);
    }
    buf_char(out, ']');
    assert_false(out->failed);
}

/* One to three bytes are changed, left out or put in. */
static void mutate(struct buf *body) {
    static const char likely[] = "\"\\{}[]:,. 0123456789eE+-ntx\n\t\xc3";
    for (uint64_t times = next_random() % 3 + 1; times > 0 && body->n > 2; times--) {
        size_t at = next_random() % (body->n - 1);
        char byte = likely[next_random() % (sizeof(likely) - 1)];
        switch (next_random() % 3) {
        case 0:
            body->p[at] = byte;
            break;
        case 1:
            memmove(body->p + at, body->p + at + 1, body->n - at - 1);
            body->n--;
            break;
        default:
            buf_char(body, 0);
            memmove(body->p + at + 1, body->p + at, body->n - at - 1);
            body->p[at] = byte;
        }
    }
}

/* ---- tests ---- */

static void the_next_points_of_a_shape_are_read_by_comparing(void **state) {
    struct buf body = {0};
    for (int i = 0; i < POINTS; i++)
        buf_printf(&body,
                   "%c{\"metric\":\"cpu.%d\",\"timestamp\":1451606400,\"value\":%d.5,\"tags\":"
                   "{\"host\":\"a\",\"n\":\"%d\"}}",
                   i == 0 ? '[' : ',', i % 3, -i, i % 5);
    buf_char(&body, ']');
    static struct outcomes full, quick;
    struct put_shape shape = {0};
    read_body(buf_view(&body), NULL, NULL, 0, &full);
    read_body(buf_view(&body), &shape, &full, 0, &quick);
    expect_same(buf_view(&body), &full, &quick);
    /* All but the first and the last: near the end there is no room to compare in words. */
    assert_int_equal(quick.expected, POINTS - 2);
    assert_int_equal(quick.point[20].value.bits, points_bits_of(-20.5));
    /* What other series are expected does not matter. */
    read_body(buf_view(&body), &shape, &full, 1, &quick);
    expect_same(buf_view(&body), &full, &quick);
    assert_int_equal(quick.expected, 0);
    buf_fini(&body);
}

static void an_object_alone_and_what_is_before_the_first_point_are_not_expected(void **state) {
    static struct outcomes full, quick;
    struct put_shape shape = {0};
    str body = STR("{\"metric\":\"m\",\"timestamp\":1,\"value\":42,\"tags\":{\"h\":\"a\"}}");
    read_body(body, &shape, NULL, 0, &full);
    assert_true(shape.known);
    read_body(body, &shape, &full, 0, &quick);
    expect_same(body, &full, &quick);
    assert_int_equal(quick.expected, 0);
}

/* The shape goes on from body to body, as it does on a server. */
static void whatever_comes_is_read_as_in_full(void **state) {
    static struct outcomes original, full, quick;
    struct buf body = {0}, changed = {0};
    struct put_shape shape = {0};
    size_t expected = 0, points = 0;
    for (int round = 0; round < ROUNDS; round++) {
        put_body(&body, next_random() % POINTS + 1, round % 2 == 0);
        read_body(buf_view(&body), NULL, NULL, 0, &original);
        assert_int_equal(original.end, 0);
        read_body(buf_view(&body), &shape, &original, 0, &quick);
        expect_same(buf_view(&body), &original, &quick);
        expected += quick.expected;
        points += quick.count;
        for (int i = 0; i < 8; i++) {
            buf_reset(&changed);
            buf_str(&changed, buf_view(&body));
            mutate(&changed);
            char *exact = malloc(changed.n); /* so that reading past it is seen by ASan */
            assert_non_null(exact);
            memcpy(exact, changed.p, changed.n);
            str text = {exact, changed.n};
            read_body(text, NULL, NULL, 0, &full);
            read_body(text, &shape, &original, 0, &quick);
            expect_same(text, &full, &quick);
            free(exact);
        }
    }
    assert_true(expected > points / 3); /* or this has shown nothing */
    buf_fini(&body);
    buf_fini(&changed);
}

static void what_cannot_be_learned_from_is_not_known(void **state) {
    static const char *const bodies[] = {
        "[{\"metric\":\"m\",\"timestamp\":1,\"value\":\"\\u0031\",\"tags\":{\"h\":\"a\"}}]",
        "[{\"metric\":\"m\",\"timestamp\":0,\"value\":1,\"tags\":{\"h\":\"a\"}}]",
        "[null]",
    };
    static struct outcomes all;
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct put_shape shape = {0};
        read_body(str_of(bodies[i]), &shape, NULL, 0, &all);
        assert_int_equal(all.count, 1);
        assert_false(shape.known);
    }
    struct buf body = {0};
    buf_printf(&body,
               "[{\"metric\":\"m\",\"timestamp\":1,\"%0*d\":0,\"value\":1,\"tags\":{\"h\":\"a\"}}]",
               PUT_SHAPE_PIECE_BYTES, 0);
    struct put_shape shape = {0};
    read_body(buf_view(&body), &shape, NULL, 0, &all);
    assert_true(all.point[0].good);
    assert_false(shape.known);
    buf_fini(&body);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_points_of_a_shape_are_read_by_comparing),
        cmocka_unit_test(an_object_alone_and_what_is_before_the_first_point_are_not_expected),
        cmocka_unit_test(whatever_comes_is_read_as_in_full),
        cmocka_unit_test(what_cannot_be_learned_from_is_not_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
