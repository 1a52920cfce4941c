#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/head_pool.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 500, ROUNDS = 100000, SIZE_MAX_ASKED = 700 };

struct block {
    unsigned char *p;
    size_t size;
    unsigned char fill;
};

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void take(struct head_pool *pool, struct block *block, size_t size, unsigned char fill) {
    *block = (struct block){head_pool_take(pool, size), size, fill};
    assert_non_null(block->p);
    assert_int_equal((uintptr_t)block->p % HEAD_POOL_GRAIN, 0);
    memset(block->p, fill, size);
}

static void check_and_give(struct head_pool *pool, struct block *block) {
    for (size_t i = 0; i < block->size; i++)
        assert_int_equal(block->p[i], block->fill);
    head_pool_give(pool, block->p, block->size);
    block->p = NULL;
}

static void blocks_never_overlap_and_keep_what_is_written(void **state) {
    (void)state;
    struct head_pool pool = {0};
    struct block blocks[BLOCKS] = {0};
    uint64_t random = 88172645463325252u;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint64_t r = next_random(&random);
        struct block *block = &blocks[r % BLOCKS];
        if (block->p != NULL)
            check_and_give(&pool, block);
        else
            take(&pool, block, 8 + (r >> 16) % SIZE_MAX_ASKED, (unsigned char)(r >> 32));
        if (round % 1000 == 0)
            head_pool_trim(&pool);
    }
    for (uint32_t i = 0; i < BLOCKS; i++)
        if (blocks[i].p != NULL)
            check_and_give(&pool, &blocks[i]);
    head_pool_fini(&pool);
}

static void what_came_back_is_given_again_before_new_memory(void **state) {
    (void)state;
    struct head_pool pool = {0};
    struct block kept;
    take(&pool, &kept, 528, 1);
    void *first = head_pool_take(&pool, 528);
    head_pool_give(&pool, first, 528);
    head_pool_trim(&pool);
    assert_ptr_equal(head_pool_take(&pool, 520), first);
    head_pool_give(&pool, first, 520);
    check_and_give(&pool, &kept);
    head_pool_fini(&pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_never_overlap_and_keep_what_is_written),
        cmocka_unit_test(what_came_back_is_given_again_before_new_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
