#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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

static struct series *find(struct key_cache *cache, int i) {
    struct key key = key_of(i);
    return key_cache_find(cache, str_of(key.metric), str_of(key.tags));
}

static void add(struct key_cache *cache, int i) {
    struct key key = key_of(i);
    key_cache_add(cache, str_of(key.metric), str_of(key.tags), &all[i]);
}

static void assert_counts(const struct key_cache *cache, uint64_t predicted, uint64_t hashed,
                          uint64_t missed) {
    struct key_cache_stats stats;
    key_cache_stats(cache, &stats);
    assert_int_equal(stats.predicted, predicted);
    assert_int_equal(stats.hashed, hashed);
    assert_int_equal(stats.missed, missed);
}

static void the_second_round_is_predicted(void **state) {
    struct budget budget;
    budget_init(&budget, 0, NULL);
    struct key_cache *cache = key_cache_new(1 << 20, &budget);
    key_cache_begin(cache, 1);
    for (int i = 0; i < SERIES; i++) {
        assert_null(find(cache, i));
        add(cache, i);
    }
    assert_counts(cache, 0, 0, SERIES);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < SERIES; i++)
            assert_ptr_equal(find(cache, i), &all[i]);
    assert_counts(cache, 3 * SERIES - 1, 1, SERIES); /* the wrap to the first is learnt once */
    key_cache_free(cache);
    assert_int_equal(budget_used(&budget), 0);
}

static void what_is_expected_is_told_and_taken(void **state) {
    struct budget budget;
    budget_init(&budget, 0, NULL);
    struct key_cache *cache = key_cache_new(1 << 20, &budget);
    str metric, tags;
    assert_false(key_cache_expected(cache, &metric, &tags));
    for (int i = 0; i < 3; i++)
        add(cache, i);
    assert_false(key_cache_expected(cache, &metric, &tags));
    assert_ptr_equal(find(cache, 0), &all[0]);
    for (int i = 1; i < 3; i++) {
        struct key key = key_of(i);
        assert_true(key_cache_expected(cache, &metric, &tags));
        assert_true(str_eq(metric, str_of(key.metric)));
        assert_true(str_eq(tags, str_of(key.tags)));
        assert_ptr_equal(key_cache_take_expected(cache), &all[i]);
    }
    assert_true(key_cache_expected(cache, &metric, &tags)); /* the first again */
    assert_ptr_equal(key_cache_take_expected(cache), &all[0]);
    assert_counts(cache, 3, 1, 0);
    key_cache_begin(cache, 7);
    assert_false(key_cache_expected(cache, &metric, &tags));
    key_cache_free(cache);
}

static void a_new_order_and_newcomers_are_learnt(void **state) {
    struct budget budget;
    budget_init(&budget, 0, NULL);
    struct key_cache *cache = key_cache_new(1 << 20, &budget);
    for (int i = 0; i < SERIES; i += 2)
        add(cache, i);
    for (int i = SERIES - 2; i >= 0; i -= 2)
        assert_ptr_equal(find(cache, i), &all[i]);
    for (int i = SERIES - 2; i >= 0; i -= 2)
        assert_ptr_equal(find(cache, i), &all[i]);
    assert_counts(cache, SERIES / 2 - 1, SERIES / 2 + 1, 0);
    for (int i = 1; i < SERIES; i += 2) {
        assert_ptr_equal(find(cache, i - 1), &all[i - 1]);
        assert_null(find(cache, i));
        add(cache, i);
    }
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < SERIES; i++)
            assert_ptr_equal(find(cache, i), &all[i]);
    struct key_cache_stats stats;
    key_cache_stats(cache, &stats);
    assert_int_equal(stats.entries, SERIES);
    assert_true(stats.predicted > SERIES / 2 - 1 + 2 * SERIES - 10);
    key_cache_free(cache);
}

static void where_the_metric_ends_matters(void **state) {
    struct budget budget;
    budget_init(&budget, 0, NULL);
    struct key_cache *cache = key_cache_new(1 << 20, &budget);
    key_cache_add(cache, STR("ab"), STR("c"), &all[0]);
    key_cache_add(cache, STR("a"), STR("bc"), &all[1]);
    key_cache_add(cache, STR("abc"), (str){NULL, 0}, &all[2]);
    assert_ptr_equal(key_cache_find(cache, STR("ab"), STR("c")), &all[0]);
    assert_ptr_equal(key_cache_find(cache, STR("a"), STR("bc")), &all[1]);
    assert_ptr_equal(key_cache_find(cache, STR("abc"), (str){NULL, 0}), &all[2]);
    assert_null(key_cache_find(cache, STR(""), STR("abc")));
    assert_null(key_cache_find(cache, STR("ab"), STR("d")));
    key_cache_free(cache);
}

static void another_generation_forgets_everything(void **state) {
    struct budget budget;
    budget_init(&budget, 0, NULL);
    struct key_cache *cache = key_cache_new(1 << 20, &budget);
    key_cache_begin(cache, 7);
    add(cache, 1);
    key_cache_begin(cache, 7);
    assert_ptr_equal(find(cache, 1), &all[1]);
    key_cache_begin(cache, 8);
    assert_null(find(cache, 1));
    struct key_cache_stats stats;
    key_cache_stats(cache, &stats);
    assert_int_equal(stats.entries, 0);
    assert_int_equal(stats.bytes, 0);
    assert_int_equal(budget_used(&budget), 0);
    key_cache_free(cache);
}

static void past_its_maximum_it_starts_again(void **state) {
    struct budget budget;
    budget_init(&budget, 0, NULL);
    struct key_cache *cache = key_cache_new(64 << 10, &budget);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < SERIES; i++) {
            struct series *found = find(cache, i);
            assert_true(found == NULL || found == &all[i]);
            if (found == NULL)
                add(cache, i);
            assert_ptr_equal(find(cache, i), &all[i]);
            struct key_cache_stats stats;
            key_cache_stats(cache, &stats);
            assert_true(stats.bytes <= 64 << 10);
            assert_int_equal(stats.bytes, budget_used(&budget));
        }
    }
    key_cache_free(cache);
}

static void over_budget_it_keeps_what_it_has(void **state) {
    struct budget budget;
    budget_init(&budget, 40 << 10, NULL);
    struct key_cache *cache = key_cache_new(1 << 20, &budget);
    for (int i = 0; i < SERIES; i++)
        add(cache, i);
    struct key_cache_stats stats;
    key_cache_stats(cache, &stats);
    assert_true(stats.entries > 10 && stats.entries < SERIES);
    for (int i = 0; i < (int)stats.entries; i++)
        assert_ptr_equal(find(cache, i), &all[i]);
    assert_null(find(cache, SERIES - 1));
    key_cache_free(cache);

    budget_init(&budget, 1, NULL);
    cache = key_cache_new(1 << 20, &budget);
    add(cache, 1);
    assert_null(find(cache, 1));
    key_cache_free(cache);
}

static void adding_again_replaces_the_series(void **state) {
    struct budget budget;
    budget_init(&budget, 0, NULL);
    struct key_cache *cache = key_cache_new(1 << 20, &budget);
    add(cache, 1);
    struct key key = key_of(1);
    key_cache_add(cache, str_of(key.metric), str_of(key.tags), &all[2]);
    assert_ptr_equal(find(cache, 1), &all[2]);
    struct key_cache_stats stats;
    key_cache_stats(cache, &stats);
    assert_int_equal(stats.entries, 1);
    key_cache_free(cache);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_round_is_predicted),
        cmocka_unit_test(what_is_expected_is_told_and_taken),
        cmocka_unit_test(a_new_order_and_newcomers_are_learnt),
        cmocka_unit_test(where_the_metric_ends_matters),
        cmocka_unit_test(another_generation_forgets_everything),
        cmocka_unit_test(past_its_maximum_it_starts_again),
        cmocka_unit_test(over_budget_it_keeps_what_it_has),
        cmocka_unit_test(adding_again_replaces_the_series),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
