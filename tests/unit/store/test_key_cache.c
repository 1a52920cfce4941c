#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "os/thread.h"
#include "store/key_cache.h"

#include <stdio.h>

enum { SERIES = 1000 };
static struct series all[SERIES];

struct key {
    char metric[32];
    char tags[64];
};

static struct key key_of(int i) {
    struct key key;
    snprintf(key.metric, sizeof(key.metric), "sys.metric.%d", i % 10);
    snprintf(key.tags, sizeof(key.tags), "host=web%d dc=lga", i);
    return key;
}

/* A cache, the budget it charges and one writer's place in it. */
struct fixture {
    struct budget budget;
    struct key_cache *cache;
    struct key_cache_cursor keys;
};

static void open_cache(struct fixture *f, size_t bytes_max, size_t limit) {
    budget_init(&f->budget, limit, NULL);
    f->cache = key_cache_new(bytes_max, &f->budget);
    assert_non_null(f->cache);
    key_cache_open(f->cache, 0, &f->keys);
    key_cache_begin(&f->keys, 0);
}

static void close_cache(struct fixture *f) {
    key_cache_end(&f->keys);
    key_cache_free(f->cache);
    assert_int_equal(budget_used(&f->budget), 0);
}

static void next_batch(struct fixture *f, uint64_t generation) {
    key_cache_end(&f->keys);
    key_cache_begin(&f->keys, generation);
}

static struct key_cache_stats stats_of(struct fixture *f) {
    struct key_cache_stats stats;
    key_cache_stats(f->cache, &stats);
    return stats;
}

static struct series *find(struct key_cache_cursor *keys, int i) {
    struct key key = key_of(i);
    return key_cache_find(keys, str_of(key.metric), str_of(key.tags));
}

static void add(struct key_cache_cursor *keys, int i) {
    struct key key = key_of(i);
    key_cache_add(keys, str_of(key.metric), str_of(key.tags), &all[i]);
}

static void assert_counts(const struct key_cache_cursor *keys, uint64_t predicted, uint64_t hashed,
                          uint64_t missed) {
    assert_int_equal(keys->predicted, predicted);
    assert_int_equal(keys->hashed, hashed);
    assert_int_equal(keys->missed, missed);
}

static void the_second_round_is_predicted(void **state) {
    struct fixture f;
    open_cache(&f, 1 << 20, 0);
    for (int i = 0; i < SERIES; i++) {
        assert_null(find(&f.keys, i));
        add(&f.keys, i);
    }
    assert_counts(&f.keys, 0, 0, SERIES);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < SERIES; i++)
            assert_ptr_equal(find(&f.keys, i), &all[i]);
    assert_counts(&f.keys, 3 * SERIES - 1, 1, SERIES); /* the wrap to the first is learnt once */
    close_cache(&f);
}

static void what_is_expected_is_told_and_taken(void **state) {
    struct fixture f;
    open_cache(&f, 1 << 20, 0);
    str metric, tags;
    assert_false(key_cache_expected(&f.keys, &metric, &tags));
    for (int i = 0; i < 3; i++)
        add(&f.keys, i);
    assert_false(key_cache_expected(&f.keys, &metric, &tags));
    assert_ptr_equal(find(&f.keys, 0), &all[0]);
    for (int i = 1; i < 3; i++) {
        struct key key = key_of(i);
        assert_true(key_cache_expected(&f.keys, &metric, &tags));
        assert_true(str_eq(metric, str_of(key.metric)));
        assert_true(str_eq(tags, str_of(key.tags)));
        assert_ptr_equal(key_cache_take_expected(&f.keys), &all[i]);
    }
    assert_true(key_cache_expected(&f.keys, &metric, &tags)); /* the first again */
    assert_ptr_equal(key_cache_take_expected(&f.keys), &all[0]);
    assert_counts(&f.keys, 3, 1, 0);
    next_batch(&f, 7);
    assert_false(key_cache_expected(&f.keys, &metric, &tags));
    close_cache(&f);
}

static void what_one_writer_has_learnt_the_others_know(void **state) {
    struct fixture f;
    open_cache(&f, 1 << 20, 0);
    struct key_cache_cursor other;
    key_cache_open(f.cache, 0, &other);
    key_cache_begin(&other, 0);
    for (int i = 0; i < SERIES; i++)
        add(&f.keys, i);
    for (int i = 0; i < SERIES; i++)
        assert_ptr_equal(find(&other, i), &all[i]);
    assert_counts(&other, SERIES - 1, 1, 0);
    /* Another order is learnt by both; what was told before is still what is taken. */
    str metric, tags;
    assert_ptr_equal(find(&f.keys, 0), &all[0]);
    assert_true(key_cache_expected(&f.keys, &metric, &tags));
    assert_ptr_equal(find(&other, 0), &all[0]);
    assert_ptr_equal(find(&other, 2), &all[2]);
    assert_ptr_equal(key_cache_take_expected(&f.keys), &all[1]);
    assert_ptr_equal(find(&f.keys, 0), &all[0]);
    assert_true(key_cache_expected(&f.keys, &metric, &tags));
    assert_ptr_equal(key_cache_take_expected(&f.keys), &all[2]);
    key_cache_end(&other);
    close_cache(&f);
}

static void a_new_order_and_newcomers_are_learnt(void **state) {
    struct fixture f;
    open_cache(&f, 1 << 20, 0);
    for (int i = 0; i < SERIES; i += 2)
        add(&f.keys, i);
    for (int i = SERIES - 2; i >= 0; i -= 2)
        assert_ptr_equal(find(&f.keys, i), &all[i]);
    for (int i = SERIES - 2; i >= 0; i -= 2)
        assert_ptr_equal(find(&f.keys, i), &all[i]);
    assert_counts(&f.keys, SERIES / 2 - 1, SERIES / 2 + 1, 0);
    for (int i = 1; i < SERIES; i += 2) {
        assert_ptr_equal(find(&f.keys, i - 1), &all[i - 1]);
        assert_null(find(&f.keys, i));
        add(&f.keys, i);
    }
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < SERIES; i++)
            assert_ptr_equal(find(&f.keys, i), &all[i]);
    assert_int_equal(stats_of(&f).entries, SERIES);
    assert_true(f.keys.predicted > SERIES / 2 - 1 + 2 * SERIES - 10);
    close_cache(&f);
}

static void where_the_metric_ends_matters(void **state) {
    struct fixture f;
    open_cache(&f, 1 << 20, 0);
    key_cache_add(&f.keys, STR("ab"), STR("c"), &all[0]);
    key_cache_add(&f.keys, STR("a"), STR("bc"), &all[1]);
    key_cache_add(&f.keys, STR("abc"), (str){NULL, 0}, &all[2]);
    assert_ptr_equal(key_cache_find(&f.keys, STR("ab"), STR("c")), &all[0]);
    assert_ptr_equal(key_cache_find(&f.keys, STR("a"), STR("bc")), &all[1]);
    assert_ptr_equal(key_cache_find(&f.keys, STR("abc"), (str){NULL, 0}), &all[2]);
    assert_null(key_cache_find(&f.keys, STR(""), STR("abc")));
    assert_null(key_cache_find(&f.keys, STR("ab"), STR("d")));
    close_cache(&f);
}

static void each_protocol_has_its_own_keys(void **state) {
    struct fixture f;
    open_cache(&f, 1 << 20, 0);
    struct key_cache_cursor other;
    key_cache_open(f.cache, 1, &other);
    key_cache_begin(&other, 0);
    for (int i = 0; i < SERIES; i++)
        add(&f.keys, i);
    for (int i = 0; i < SERIES; i++) {
        assert_null(find(&other, i));
        struct key key = key_of(i);
        key_cache_add(&other, str_of(key.metric), str_of(key.tags), &all[SERIES - 1 - i]);
    }
    assert_int_equal(stats_of(&f).entries, 2 * SERIES);
    for (int i = 0; i < SERIES; i++) {
        assert_ptr_equal(find(&f.keys, i), &all[i]);
        assert_ptr_equal(find(&other, i), &all[SERIES - 1 - i]);
    }
    str metric, tags;
    assert_ptr_equal(find(&other, 0), &all[SERIES - 1]);
    assert_true(key_cache_expected(&other, &metric, &tags));
    assert_ptr_equal(key_cache_take_expected(&other), &all[SERIES - 2]);
    key_cache_end(&other);
    close_cache(&f);
}

static void another_generation_forgets_everything(void **state) {
    struct fixture f;
    open_cache(&f, 1 << 20, 0);
    next_batch(&f, 7);
    add(&f.keys, 1);
    next_batch(&f, 7);
    assert_ptr_equal(find(&f.keys, 1), &all[1]);
    next_batch(&f, 8);
    assert_null(find(&f.keys, 1));
    assert_int_equal(stats_of(&f).entries, 0);
    assert_int_equal(stats_of(&f).bytes, 0);
    assert_int_equal(budget_used(&f.budget), 0);
    close_cache(&f);
}

static void past_its_maximum_it_starts_again_with_the_next_batch(void **state) {
    struct fixture f;
    open_cache(&f, 64 << 10, 0);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < SERIES; i++) {
            struct series *found = find(&f.keys, i);
            assert_true(found == NULL || found == &all[i]);
            if (found == NULL) {
                add(&f.keys, i);
                next_batch(&f, 0);
                add(&f.keys, i);
            }
            assert_ptr_equal(find(&f.keys, i), &all[i]);
            assert_true(stats_of(&f).bytes <= 64 << 10);
            assert_int_equal(stats_of(&f).bytes, budget_used(&f.budget));
        }
    }
    close_cache(&f);
}

static void over_budget_it_keeps_what_it_has(void **state) {
    struct fixture f;
    open_cache(&f, 1 << 20, 40 << 10);
    for (int i = 0; i < SERIES; i++)
        add(&f.keys, i);
    int entries = (int)stats_of(&f).entries;
    assert_true(entries > 10 && entries < SERIES);
    next_batch(&f, 0);
    for (int i = 0; i < entries; i++)
        assert_ptr_equal(find(&f.keys, i), &all[i]);
    assert_null(find(&f.keys, SERIES - 1));
    close_cache(&f);

    open_cache(&f, 1 << 20, 1);
    add(&f.keys, 1);
    assert_null(find(&f.keys, 1));
    close_cache(&f);
}

static void adding_again_replaces_the_series(void **state) {
    struct fixture f;
    open_cache(&f, 1 << 20, 0);
    add(&f.keys, 1);
    struct key key = key_of(1);
    key_cache_add(&f.keys, str_of(key.metric), str_of(key.tags), &all[2]);
    assert_ptr_equal(find(&f.keys, 1), &all[2]);
    assert_int_equal(stats_of(&f).entries, 1);
    close_cache(&f);
}

struct writer {
    struct thread thread;
    struct key_cache *cache;
    int number;
    int wrong;
};

/* Each goes its own way through the series, in batches. */
static void *write_batches(void *context) {
    struct writer *writer = context;
    struct key_cache_cursor keys;
    key_cache_open(writer->cache, 0, &keys);
    int step = 1 + 2 * writer->number, at = 0;
    for (int batch = 0; batch < 300; batch++) {
        key_cache_begin(&keys, 0);
        for (int i = 0; i < 50; i++, at = (at + step) % SERIES) {
            struct series *found = find(&keys, at);
            if (found == NULL)
                add(&keys, at);
            writer->wrong += found != NULL && found != &all[at];
        }
        key_cache_end(&keys);
    }
    return NULL;
}

/* In 64 KiB there is not room for all: it is forgotten again and again while others look. */
static void writers_at_the_same_time_find_only_what_is_right(void **state) {
    for (size_t bytes_max = 64 << 10; bytes_max <= 1 << 20; bytes_max <<= 4) {
        struct fixture f;
        open_cache(&f, bytes_max, 0);
        key_cache_end(&f.keys);
        struct writer writers[4];
        for (int i = 0; i < 4; i++) {
            writers[i] = (struct writer){.cache = f.cache, .number = i};
            assert_int_equal(
                thread_start(&writers[i].thread, "writer", write_batches, &writers[i], NULL),
                RC_OK);
        }
        for (int i = 0; i < 4; i++) {
            thread_join(&writers[i].thread);
            assert_int_equal(writers[i].wrong, 0);
        }
        key_cache_begin(&f.keys, 0);
        assert_int_equal(stats_of(&f).bytes, budget_used(&f.budget));
        close_cache(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_round_is_predicted),
        cmocka_unit_test(what_is_expected_is_told_and_taken),
        cmocka_unit_test(what_one_writer_has_learnt_the_others_know),
        cmocka_unit_test(writers_at_the_same_time_find_only_what_is_right),
        cmocka_unit_test(a_new_order_and_newcomers_are_learnt),
        cmocka_unit_test(where_the_metric_ends_matters),
        cmocka_unit_test(each_protocol_has_its_own_keys),
        cmocka_unit_test(another_generation_forgets_everything),
        cmocka_unit_test(past_its_maximum_it_starts_again_with_the_next_batch),
        cmocka_unit_test(over_budget_it_keeps_what_it_has),
        cmocka_unit_test(adding_again_replaces_the_series),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
