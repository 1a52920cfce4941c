#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "store/head.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* The model: one slot a millisecond of a small range. */
enum { TIMES = 6000 };

struct model {
    bool present[TIMES];
    bool is_float[TIMES];
    uint64_t bits[TIMES];
};

struct fixture {
    struct budget budget;
    struct head_memory memory;
    struct head head;
    struct model model;
    struct model seen;
};

static struct fixture *begin(void) {
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    budget_init(&f->budget, 0, NULL);
    f->memory = (struct head_memory){.budget = &f->budget, .epochs = epoch_domain_new()};
    return f;
}

static void end(struct fixture *f) {
    head_fini(&f->head, &f->memory);
    head_memory_fini(&f->memory);
    epoch_domain_free(f->memory.epochs);
    assert_int_equal(budget_used(&f->budget), 0);
    free(f);
}

static void put(struct fixture *f, int64_t time_ms, uint64_t bits, bool is_float) {
    assert_true(head_append(&f->head, &f->memory, time_ms, bits, is_float));
    f->model.present[time_ms] = true;
    f->model.bits[time_ms] = bits;
    f->model.is_float[time_ms] = is_float;
}

static void see(struct model *seen, int64_t time_ms, uint64_t bits, bool is_float) {
    assert_true(time_ms >= 0 && time_ms < TIMES);
    seen->present[time_ms] = true;
    seen->bits[time_ms] = bits;
    seen->is_float[time_ms] = is_float;
}

static void see_vector(struct model *seen, const struct head_vector *vector) {
    int64_t time_ms[LIMIT_VECTOR_POINTS];
    uint64_t bits[LIMIT_VECTOR_POINTS];
    uint64_t mask[LIMIT_VECTOR_POINTS / 64];
    struct points points = {.time_ms = time_ms, .bits = bits, .float_mask = mask};
    assert_int_equal(vector_decode(&vector->summary, vector->payload, &points), RC_OK);
    for (uint32_t i = 0; i < points.count; i++)
        see(seen, time_ms[i], bits[i], points_is_float(&points, i));
}

/* Reads as the scan does: vectors in order, then the tail; the last write wins. */
static void assert_as_model(struct fixture *f) {
    struct head_view view;
    head_view(&f->head, &view);
    memset(&f->seen, 0, sizeof(f->seen));
    for (uint32_t i = 0; i < view.vector_count; i++)
        see_vector(&f->seen, view.vectors[i]);
    for (uint32_t i = 0; i < view.tail_count; i++)
        see(&f->seen, view.tail_time_ms[i], view.tail_bits[i], view.tail_float_mask >> i & 1);
    for (uint32_t t = 0; t < TIMES; t++) {
        if (f->model.present[t] != f->seen.present[t])
            fail_msg("time %u: present %d, expected %d", t, f->seen.present[t],
                     f->model.present[t]);
        if (f->model.present[t])
            assert_true(f->model.bits[t] == f->seen.bits[t] &&
                        f->model.is_float[t] == f->seen.is_float[t]);
    }
}

static void erase(struct fixture *f, int64_t from_ms, int64_t to_ms) {
    uint64_t deleted = 0;
    assert_true(head_delete(&f->head, &f->memory, from_ms, to_ms, &deleted));
    for (int64_t t = from_ms < 0 ? 0 : from_ms; t <= to_ms && t < TIMES; t++)
        f->model.present[t] = false;
}

static void points_in_order_become_full_vectors(void **state) {
    struct fixture *f = begin();
    for (int64_t t = 0; t < 2 * LIMIT_VECTOR_POINTS; t++)
        put(f, t, (uint64_t)t * 3, false);
    assert_true(head_seal(&f->head, &f->memory));
    assert_as_model(f);
    struct head_view view;
    head_view(&f->head, &view);
    assert_int_equal(view.tail_count, 0);
    assert_int_equal(view.vector_count, 2);
    assert_int_equal(view.vectors[0]->summary.count, LIMIT_VECTOR_POINTS);
    assert_int_equal(f->head.time_last_ms, 2 * LIMIT_VECTOR_POINTS - 1);
    end(f);
}

static void random_writes_read_as_the_last_write_of_each_time(void **state) {
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct fixture *f = begin();
        for (uint64_t i = 0; i < 5000; i++) {
            uint64_t r = hash_u64(seed * 1000003 + i);
            int64_t late = r % 8 == 0 ? (int64_t)(r >> 8) % 1000 : 0;
            int64_t t = (int64_t)i + 1000 - late;
            bool is_float = seed % 3 == 0 ? (r >> 5 & 1) : seed % 3 == 1;
            put(f, t, is_float ? points_bits_of((double)(r % 1000) / 10) : r, is_float);
            if (r % 700 == 0)
                erase(f, t - (int64_t)(r >> 20) % 500, t - (int64_t)(r >> 40) % 100);
            if (r % 900 == 1)
                assert_true(head_seal(&f->head, &f->memory));
            if (r % 500 == 2)
                assert_as_model(f);
        }
        assert_as_model(f);
        head_memory_collect(&f->memory);
        assert_int_equal(head_bytes(&f->head), budget_used(&f->budget));
        end(f);
    }
}

static void what_a_checkpoint_froze_can_be_dropped_after_more_writes(void **state) {
    struct fixture *f = begin();
    int64_t t = 0;
    for (; t < 100; t++)
        put(f, t, 1, false);
    struct head_vector *const *vectors;
    uint32_t count;
    assert_true(head_freeze(&f->head, &f->memory, &vectors, &count));
    assert_true(count > 0);
    struct head_vector *first = vectors[0];
    for (; t < 3000; t++)
        put(f, t, 2, false);
    struct head_view view;
    head_view(&f->head, &view);
    assert_ptr_equal(view.vectors[0], first);
    assert_as_model(f);
    head_drop(&f->head, &f->memory, count);
    for (int64_t gone = 0; gone < 100; gone++)
        f->model.present[gone] = false;
    assert_as_model(f);
    assert_false(head_is_empty(&f->head));
    assert_true(head_freeze(&f->head, &f->memory, &vectors, &count));
    head_drop(&f->head, &f->memory, count);
    assert_true(head_is_empty(&f->head));
    end(f);
}

static void deleting_everything_leaves_an_empty_head(void **state) {
    struct fixture *f = begin();
    for (int64_t t = 0; t < 500; t++)
        put(f, t, (uint64_t)t, t % 2 == 0);
    uint64_t deleted = 0;
    assert_true(head_delete(&f->head, &f->memory, INT64_MIN, INT64_MAX, &deleted));
    assert_int_equal(deleted, 500);
    assert_true(head_is_empty(&f->head));
    assert_int_equal(head_bytes(&f->head), 0);
    end(f);
}

/* ---- readers beside a writer ---- */

struct race {
    struct fixture *f;
    _Atomic int64_t written; /* all times below are in the head */
    _Atomic bool stop;
};

static void *read_all(void *context) {
    struct race *race = context;
    struct model *seen = malloc(sizeof(*seen));
    while (!atomic_load(&race->stop)) {
        memset(seen, 0, sizeof(*seen));
        int64_t written = atomic_load(&race->written);
        epoch_pin(race->f->memory.epochs);
        struct head_view view;
        head_view(&race->f->head, &view);
        for (uint32_t i = 0; i < view.vector_count; i++)
            see_vector(seen, view.vectors[i]);
        for (uint32_t i = 0; i < view.tail_count; i++)
            see(seen, view.tail_time_ms[i], view.tail_bits[i], view.tail_float_mask >> i & 1);
        epoch_unpin(race->f->memory.epochs);
        for (int64_t t = 0; t < written; t++)
            if (!seen->present[t] || seen->bits[t] != (uint64_t)t)
                fail_msg("time %d of %d is missing or wrong", (int)t, (int)written);
    }
    free(seen);
    return NULL;
}

static void readers_see_every_point_that_was_written_before(void **state) {
    struct fixture *f = begin();
    struct race race = {.f = f};
    pthread_t readers[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_all, &race), 0);
    for (int64_t t = 0; t < TIMES; t++) {
        assert_true(head_append(&f->head, &f->memory, t, (uint64_t)t, false));
        atomic_store(&race.written, t + 1);
    }
    atomic_store(&race.stop, true);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(readers[i], NULL), 0);
    end(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_in_order_become_full_vectors),
        cmocka_unit_test(random_writes_read_as_the_last_write_of_each_time),
        cmocka_unit_test(what_a_checkpoint_froze_can_be_dropped_after_more_writes),
        cmocka_unit_test(deleting_everything_leaves_an_empty_head),
        cmocka_unit_test(readers_see_every_point_that_was_written_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
