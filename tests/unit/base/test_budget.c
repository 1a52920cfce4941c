#include "base/budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void a_charge_must_fit_in_every_ancestor(void **state) {
    (void)state;
    struct budget root;
    struct budget child;
    budget_init(&root, 100, NULL);
    budget_init(&child, 60, &root);
    assert_true(budget_charge(&child, 60));
    assert_false(budget_charge(&child, 1));
    assert_true(budget_charge(&root, 40));
    assert_false(budget_charge(&root, 1));
    budget_release(&child, 60);
    assert_int_equal(budget_used(&child), 0);
    assert_int_equal(budget_used(&root), 40);
    assert_int_equal(budget_left(&child), 60);
}

static void a_refused_charge_counts_nowhere(void **state) {
    (void)state;
    struct budget root;
    struct budget child;
    budget_init(&root, 10, NULL);
    budget_init(&child, 0, &root);
    assert_false(budget_charge(&child, 11));
    assert_int_equal(budget_used(&child), 0);
    assert_int_equal(budget_used(&root), 0);
}

static void what_is_left_to_others_is_out_of_reach(void **state) {
    (void)state;
    struct budget root;
    struct budget greedy;
    struct budget below;
    budget_init(&root, 100, NULL);
    budget_init(&greedy, 0, &root);
    budget_leave(&greedy, 25);
    budget_init(&below, 0, &greedy);
    assert_int_equal(budget_left(&below), 75);
    assert_true(budget_charge(&below, 75));
    assert_false(budget_charge(&below, 1));
    assert_int_equal(budget_left(&greedy), 0);
    assert_true(budget_charge(&root, 25));
    assert_false(budget_charge(&root, 1));
    budget_release(&below, 75);
    assert_int_equal(budget_left(&below), 50);
    assert_int_equal(budget_left(&root), 75);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_charge_must_fit_in_every_ancestor),
        cmocka_unit_test(a_refused_charge_counts_nowhere),
        cmocka_unit_test(what_is_left_to_others_is_out_of_reach),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
