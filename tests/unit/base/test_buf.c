#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/budget.h"
#include "base/buf.h"
#include "base/bytes.h"

static void a_buffer_past_its_maximum_fails_and_keeps_what_it_has(void **state) {
    struct buf buf = {.max = 4};
    buf_str(&buf, STR("abc"));
    buf_str(&buf, STR("de"));
    buf_char(&buf, 'f');
    assert_true(buf.failed);
    assert_true(str_eq(buf_view(&buf), STR("abc")));
    buf_fini(&buf);
}

static void a_buffer_grows_by_printf(void **state) {
    struct buf buf = {0};
    for (int i = 0; i < 1000; i++)
        buf_printf(&buf, "%d,", i);
    assert_false(buf.failed);
    assert_int_equal(buf.n, 3890);
    buf_fini(&buf);
}

static void a_buffer_charges_its_budget_before_it_grows(void **state) {
    struct budget budget;
    budget_init(&budget, 1000, NULL);
    struct buf buf = {.budget = &budget};
    assert_non_null(buf_reserve(&buf, 600));
    assert_int_equal(budget_used(&budget), buf.capacity);
    buf.n += 600;
    /* Twice as much does not fit; what is needed does. */
    assert_non_null(buf_reserve(&buf, 250));
    assert_false(buf.failed);
    assert_true(buf.capacity >= 850 && buf.capacity <= 1000);
    assert_int_equal(budget_used(&budget), buf.capacity);
    assert_null(buf_reserve(&buf, 500));
    assert_true(buf.failed);
    assert_int_equal(buf.n, 600);
    assert_int_equal(budget_used(&budget), buf.capacity);
    struct buf moved = buf;
    buf_fini(&moved);
    assert_int_equal(budget_used(&budget), 0);
    assert_ptr_equal(moved.budget, &budget);
}

static void an_arena_charges_its_budget_and_fails_over_it(void **state) {
    struct budget budget;
    budget_init(&budget, 10000, NULL);
    struct arena arena;
    arena_init(&arena, &budget);
    assert_non_null(arena_alloc(&arena, 100));
    assert_null(arena_alloc(&arena, 20000));
    assert_true(budget_used(&budget) > 100);
    arena_fini(&arena);
    assert_int_equal(budget_used(&budget), 0);
}

static void a_charge_must_fit_in_every_ancestor(void **state) {
    struct budget root, child;
    budget_init(&root, 100, NULL);
    budget_init(&child, 0, &root);
    assert_true(budget_charge(&child, 60));
    assert_false(budget_charge(&child, 60));
    assert_int_equal(budget_used(&root), 60);
    assert_int_equal(budget_used(&child), 60);
    assert_int_equal(budget_left(&child), 40);
    budget_release(&child, 60);
    assert_int_equal(budget_used(&root), 0);
}

static void varints_survive_and_bad_ones_fail(void **state) {
    const uint64_t values[] = {0, 1, 127, 128, 300, UINT32_MAX, UINT64_MAX};
    uint8_t bytes[COUNT_OF(values) * BYTES_VARINT_MAX];
    uint8_t *end = bytes;
    for (size_t i = 0; i < COUNT_OF(values); i++)
        end = bytes_put_varint(end, values[i]);
    struct bytes_reader reader = bytes_reader_of(bytes, (size_t)(end - bytes));
    for (size_t i = 0; i < COUNT_OF(values); i++)
        assert_true(bytes_take_varint(&reader) == values[i]);
    assert_false(reader.failed);
    bytes_take_varint(&reader);
    assert_true(reader.failed);
    const uint8_t endless[11] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    reader = bytes_reader_of(endless, sizeof(endless));
    bytes_take_varint(&reader);
    assert_true(reader.failed);
}

static void mixed_varints_are_the_same_bytes(void **state) {
    for (uint32_t bit = 0; bit < 64; bit++)
        for (int64_t near = -2; near <= 2; near++) {
            uint64_t v = (UINT64_C(1) << bit) + (uint64_t)near;
            uint8_t plain[BYTES_VARINT_MAX] = {0}, mixed[BYTES_VARINT_MAX] = {0};
            size_t n = (size_t)(bytes_put_varint(plain, v) - plain);
            assert_int_equal(bytes_put_varint_mixed(mixed, v) - mixed, n);
            assert_memory_equal(mixed, plain, n);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buffer_past_its_maximum_fails_and_keeps_what_it_has),
        cmocka_unit_test(a_buffer_grows_by_printf),
        cmocka_unit_test(a_buffer_charges_its_budget_before_it_grows),
        cmocka_unit_test(an_arena_charges_its_budget_and_fails_over_it),
        cmocka_unit_test(a_charge_must_fit_in_every_ancestor),
        cmocka_unit_test(varints_survive_and_bad_ones_fail),
        cmocka_unit_test(mixed_varints_are_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
