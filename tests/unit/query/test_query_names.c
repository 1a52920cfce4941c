#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "query/query_names.h"
#include "wire/json_out.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Names of all kinds: short, long, with what JSON escapes, with what is not UTF-8. */
enum { KEYS = 5, VALUES = 3000 };

static struct budget budget;
static struct epoch_domain *readers;
static struct index *index_of_names;

static void name_of(uint32_t i, char *text, size_t size) {
    const char *const forms[] = {"v%u", "a \"quoted\" %u",
                                 "a value that is longer than a slot has room for %u",
                                 "not UTF-8 \xff%u", "sixteen bytes %u"};
    snprintf(text, size, forms[i % 5], i);
}

static void assign(enum index_kind kind, uint32_t i) {
    char text[100];
    name_of(i, text, sizeof(text));
    uint32_t uid;
    assert_int_equal(index_assign(index_of_names, kind, str_of(text), &uid, NULL), RC_OK);
    assert_int_equal(uid, i + 1);
}

static int open_names(void **state) {
    budget_init(&budget, 64 << 20, NULL);
    readers = epoch_domain_new();
    struct index_options options = {.shards = 1,
                                    .uid_width = {3, 3, 3},
                                    .auto_create = {true, true, true},
                                    .budget = &budget,
                                    .readers = readers};
    assert_int_equal(index_new(&options, &index_of_names), RC_OK);
    for (uint32_t i = 0; i < KEYS; i++)
        assign(INDEX_TAGK, i);
    for (uint32_t i = 0; i < VALUES; i++)
        assign(INDEX_TAGV, i);
    return 0;
}

static int close_names(void **state) {
    index_free(index_of_names);
    epoch_domain_free(readers);
    assert_int_equal(budget_used(&budget), 0);
    return 0;
}

/* What query_names_put_tags should write. */
static void put_plainly(const struct series_tag *tags, uint32_t count, struct buf *out) {
    struct json_out json = {.out = out};
    for (uint32_t i = 0; i < count; i++) {
        json_out_key(&json, index_name(index_of_names, INDEX_TAGK, tags[i].key_uid));
        json_out_string(&json, index_name(index_of_names, INDEX_TAGV, tags[i].value_uid));
    }
}

static void assert_same(struct buf *got, struct buf *expected) {
    assert_int_equal(got->n, expected->n);
    assert_memory_equal(got->p, expected->p, got->n);
    buf_reset(got);
    buf_reset(expected);
}

static void random_tags(struct series_tag *tags, uint32_t count, uint32_t values) {
    for (uint32_t i = 0; i < count; i++)
        tags[i] = (struct series_tag){1 + (uint32_t)rand() % KEYS, 1 + (uint32_t)rand() % values};
}

static void check_many(struct budget *limit, uint32_t bits_max, uint32_t values) {
    struct query_names names;
    query_names_init(&names, index_of_names, bits_max, limit);
    struct buf got = {0}, expected = {0};
    for (int round = 0; round < 20000; round++) {
        struct series_tag tags[8];
        uint32_t count = 1 + (uint32_t)rand() % 8;
        random_tags(tags, count, values);
        query_names_put_tags(&names, tags, count, &got);
        put_plainly(tags, count, &expected);
        assert_same(&got, &expected);
        struct tag tag = query_names_tag(&names, tags[0]);
        assert_true(str_eq(tag.key, index_name(index_of_names, INDEX_TAGK, tags[0].key_uid)));
        assert_true(str_eq(tag.value, index_name(index_of_names, INDEX_TAGV, tags[0].value_uid)));
    }
    buf_fini(&got);
    buf_fini(&expected);
    query_names_fini(&names);
}

static void tags_are_written_as_json_writes_them(void **state) {
    check_many(NULL, QUERY_NAMES_MANY, 10);
    check_many(NULL, QUERY_NAMES_FEW, VALUES);
    check_many(&budget, QUERY_NAMES_MANY, VALUES);
}

static void too_little_memory_for_a_table_changes_nothing_but_the_speed(void **state) {
    struct budget little;
    budget_init(&little, 5000, NULL);
    check_many(&little, QUERY_NAMES_MANY, VALUES);
    assert_int_equal(budget_used(&little), 0);
    budget_init(&little, 1000, NULL);
    check_many(&little, QUERY_NAMES_MANY, VALUES);
    assert_int_equal(budget_used(&little), 0);
}

static void no_memory_for_a_text_fails_the_output(void **state) {
    struct budget none;
    budget_init(&none, 1, NULL);
    struct query_names names;
    query_names_init(&names, index_of_names, QUERY_NAMES_MANY, &none);
    struct buf out = {0};
    query_names_put_tags(&names, &(struct series_tag){1, 1}, 1, &out);
    assert_true(out.failed);
    buf_fini(&out);
    query_names_fini(&names);
}

static void keys_are_quoted_and_set_apart_by_commas(void **state) {
    struct query_names names;
    query_names_init(&names, index_of_names, QUERY_NAMES_MANY, NULL);
    struct buf out = {0};
    buf_char(&out, '[');
    query_names_put_keys(&names, NULL, 0, &out);
    for (int again = 0; again < 2; again++) {
        const uint32_t keys[] = {1, 2, 5};
        buf_char(&out, ';');
        query_names_put_keys(&names, keys, 3, &out);
    }
    buf_char(&out, '\0');
    assert_string_equal(out.p, "[;\"v0\",\"a \\\"quoted\\\" 1\",\"sixteen bytes 4\""
                               ";\"v0\",\"a \\\"quoted\\\" 1\",\"sixteen bytes 4\"");
    buf_fini(&out);
    query_names_fini(&names);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_are_written_as_json_writes_them),
        cmocka_unit_test(too_little_memory_for_a_table_changes_nothing_but_the_speed),
        cmocka_unit_test(no_memory_for_a_text_fails_the_output),
        cmocka_unit_test(keys_are_quoted_and_set_apart_by_commas),
    };
    return cmocka_run_group_tests(tests, open_names, close_names);
}
