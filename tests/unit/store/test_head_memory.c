#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/head_memory.h"

#include <string.h>

enum { BLOCKS = 1000 };

static void what_a_reader_may_hold_is_kept_until_it_unpins(void **state) {
    struct budget budget;
    budget_init(&budget, 0, NULL);
    struct head_memory memory = {.budget = &budget, .epochs = epoch_domain_new()};
    unsigned char *blocks[BLOCKS];
    size_t size[BLOCKS], charged = 0;
    for (size_t i = 0; i < BLOCKS; i++) {
        size[i] = 16 + i * 37 % 900; /* of the pool and beyond it */
        blocks[i] = head_memory_take(&memory, size[i]);
        assert_non_null(blocks[i]);
        memset(blocks[i], (int)(i % 256), size[i]);
        charged += head_pool_charge(size[i]);
    }
    assert_int_equal(budget_used(&budget), charged);
    epoch_pin(memory.epochs);
    for (size_t i = 0; i < BLOCKS; i++)
        head_memory_retire(&memory, blocks[i], size[i]);
    head_memory_collect(&memory);
    assert_int_equal(budget_used(&budget), charged);
    for (size_t i = 0; i < BLOCKS; i++)
        for (size_t at = 0; at < size[i]; at++)
            assert_int_equal(blocks[i][at], i % 256);
    epoch_unpin(memory.epochs);
    head_memory_collect(&memory);
    assert_int_equal(budget_used(&budget), 0);
    assert_int_equal(memory.used, 0);
    assert_int_equal(memory.peak, charged);
    head_memory_settle(&memory);
    assert_int_equal(memory.peak, 0);
    head_memory_fini(&memory);
    epoch_domain_free(memory.epochs);
}

static void the_end_gives_back_what_was_retired_last(void **state) {
    struct budget budget;
    budget_init(&budget, 0, NULL);
    struct head_memory memory = {.budget = &budget, .epochs = epoch_domain_new()};
    for (size_t count = 0; count < 70; count++)
        head_memory_retire(&memory, head_memory_take(&memory, 100), 100);
    head_memory_retire(&memory, NULL, 100);
    head_memory_give(&memory, head_memory_take(&memory, 5000), 5000);
    assert_true(budget_used(&budget) > 0);
    head_memory_fini(&memory);
    assert_int_equal(budget_used(&budget), 0);
    epoch_domain_free(memory.epochs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_reader_may_hold_is_kept_until_it_unpins),
        cmocka_unit_test(the_end_gives_back_what_was_retired_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
