#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/series_key.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct series_key_rules rules = {.tags_max = LIMIT_TAGS_DEFAULT};

static struct series_key key_of(const char *metric, uint32_t count, const char *const *pairs) {
    struct series_key key = {.metric = str_of(metric), .tag_count = count};
    for (uint32_t i = 0; i < count; i++)
        key.tags[i] = (struct tag){str_of(pairs[2 * i]), str_of(pairs[2 * i + 1])};
    return key;
}

#define KEY(metric, ...)                                                                           \
    key_of(metric, (uint32_t)(COUNT_OF(((const char *[]){__VA_ARGS__})) / 2),                      \
           (const char *[]){__VA_ARGS__})

static const char *tags_text(const struct series_key *key) {
    static char text[512];
    return series_key_tags_text(key, text, sizeof(text));
}

static void expect_canonical(struct series_key key, const char *expected) {
    struct err err = {0};
    enum rc rc = series_key_canonicalise(&key, &err);
    assert_string_equal(rc == RC_OK ? tags_text(&key) : err.message, expected);
}

static void canonical_tags_are_sorted_by_bytes_and_each_key_is_there_once(void **state) {
    expect_canonical(KEY("m", "host", "a"), "{host=a}");
    expect_canonical(KEY("m", "host", "a", "cpu", "0", "dc", "x"), "{cpu=0, dc=x, host=a}");
    expect_canonical(KEY("m", "b", "1", "B", "1", "ab", "2", "a", "3"), "{B=1, a=3, ab=2, b=1}");
    expect_canonical(KEY("m", "host", "a", "x", "1", "host", "a", "host", "a"), "{host=a, x=1}");
    expect_canonical(KEY("m", "host", "a", "host", "b"), "duplicate tag: host=b, tags={host=a}");
    expect_canonical(KEY("m", "z", "1", "host", "a", "z", "1", "host", "c", "host", "b"),
                     "duplicate tag: host=c, tags={z=1, host=a}");
}

static int compare_tags(const void *a, const void *b) {
    return str_cmp(((const struct tag *)a)->key, ((const struct tag *)b)->key);
}

static void canonical_order_agrees_with_qsort_on_random_keys(void **state) {
    static const char *const names[] = {"a", "b", "c", "d", "aa", "ab", "ba", "bb", "", "abc"};
    srandom(1);
    for (int round = 0; round < 10000; round++) {
        struct series_key key = {.metric = STR("m")};
        struct tag model[LIMIT_TAGS_MAX];
        size_t model_count = 0;
        key.tag_count = (uint32_t)random() % (LIMIT_TAGS_MAX + 1);
        for (uint32_t i = 0; i < key.tag_count; i++) {
            str name = str_of(names[(size_t)random() % COUNT_OF(names)]);
            key.tags[i] = (struct tag){name, name};
            size_t j = 0;
            while (j < model_count && !str_eq(model[j].key, name))
                j++;
            if (j == model_count)
                model[model_count++] = key.tags[i];
        }
        qsort(model, model_count, sizeof(model[0]), compare_tags);
        assert_int_equal(series_key_canonicalise(&key, NULL), RC_OK);
        assert_int_equal(key.tag_count, model_count);
        for (size_t i = 0; i < model_count; i++)
            assert_true(str_eq(key.tags[i].key, model[i].key));
    }
}

static void expect_checked(struct series_key key, const char *expected) {
    struct err err = {0};
    enum rc rc = series_key_check(&key, &rules, &err);
    assert_int_equal(rc, *expected == '\0' ? RC_OK : RC_INVALID);
    assert_string_equal(err.message, expected);
}

static void keys_are_checked_with_opentsdbs_texts(void **state) {
    expect_checked(KEY("sys.cpu/user_0-1", "host", "web01"), "");
    expect_checked(key_of("m", 0, NULL), "Need at least one tag (metric=m, tags={})");
    expect_checked(KEY("", "k", "v"), "Invalid metric name: empty string");
    expect_checked(KEY("a b", "k", "v"), "Invalid metric name (\"a b\"): illegal character:  ");
    expect_checked(KEY("sys:cpu", "k", "v"),
                   "Invalid metric name (\"sys:cpu\"): illegal character: :");
    expect_checked(KEY("m", "k!", "v"),
                   "Invalid tag name with value [v] (\"k!\"): illegal character: !");
    expect_checked(KEY("m", "k", "v!"),
                   "Invalid tag value with key [k] (\"v!\"): illegal character: !");
    expect_checked(KEY("m", "k", ""), "Invalid tag value with key [k]: empty string");
    expect_checked(KEY("m", "", "v"), "Invalid tag name with value [v]: empty string");
    struct series_key null = KEY("m", "k", "v");
    null.tags[0].value = (str){NULL, 0};
    expect_checked(null, "Invalid tag value with key [k]: null");
}

static void the_tag_count_is_checked_before_characters(void **state) {
    expect_checked(KEY("a b", "1", "a", "2", "a", "3", "a", "4", "a", "5", "a", "6", "a", "7", "a",
                       "8", "a", "9", "a"),
                   "Too many tags: 9 maximum allowed: 8, tags: {1=a, 2=a, 3=a, 4=a, 5=a, 6=a, 7=a, "
                   "8=a, 9=a}");
}

static void a_name_may_be_long_but_not_endless(void **state) {
    char name[LIMIT_NAME_BYTES_MAX + 2];
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    name[LIMIT_NAME_BYTES_MAX] = '\0';
    expect_checked(KEY(name, "k", "v"), "");
    name[LIMIT_NAME_BYTES_MAX] = 'x';
    char expected[200];
    (void)!snprintf(expected, sizeof(expected),
                    "Invalid metric name: 4097 bytes long, maximum 4096 (\"%.100s...\")", name);
    expect_checked(KEY(name, "k", "v"), expected);
}

static void a_text_of_tags_is_cut_off_at_the_capacity(void **state) {
    struct series_key key = KEY("m", "host", "a", "cpu", "0");
    char text[32];
    assert_string_equal(series_key_tags_text(&key, text, sizeof(text)), "{host=a, cpu=0}");
    assert_string_equal(series_key_tags_text(&key, text, 8), "{host=a");
    assert_string_equal(series_key_tags_text(&key, text, 1), "");
}

static void expect_bad(const char *name, const char *special, const char *expected) {
    str bad = STR("");
    bool ok = series_key_name_ok(str_of(name), str_of(special), &bad);
    assert_int_equal(ok, *expected == '\0');
    assert_true(str_eq(bad, str_of(expected)));
}

static void letters_of_the_basic_plane_may_stand_in_names(void **state) {
    expect_bad("caf\u00e9.\u6e29\u5ea6-\u00b5\u0434", "", "");
    expect_bad("a\u0301", "", "\u0301");         /* a combining mark */
    expect_bad("x\u0661", "", "\u0661");         /* a digit that is not ASCII */
    expect_bad("x\u20ac", "", "\u20ac");         /* a currency sign */
    expect_bad("x\U0001d400", "", "\U0001d400"); /* a letter beyond the basic plane */
    expect_bad("x\xff", "", "\ufffd");
    expect_bad("x\xc3", "", "\ufffd");
}

static void configured_characters_may_stand_in_names(void **state) {
    expect_bad("a:b@c%d e", "", ":");
    expect_bad("a:b@c%d e", ":@% ", "");
    expect_bad("a:b!", ":@% ", "!");
    expect_bad("x\u20ac", "\u20ac", "\u20ac");
}

/* Pinned: the hash decides where a series is stored. */
static void the_hash_is_stable_and_knows_where_fields_begin(void **state) {
    struct series_key key = KEY("sys.cpu", "cpu", "0", "host", "web01");
    assert_true(series_key_hash(&key) == UINT64_C(0x267c33a7aea97fb6));
    struct series_key a = KEY("m", "ab", "c"), b = KEY("m", "a", "bc"), c = KEY("ma", "b", "c");
    assert_true(series_key_hash(&a) != series_key_hash(&b));
    assert_true(series_key_hash(&a) != series_key_hash(&c));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical_tags_are_sorted_by_bytes_and_each_key_is_there_once),
        cmocka_unit_test(canonical_order_agrees_with_qsort_on_random_keys),
        cmocka_unit_test(keys_are_checked_with_opentsdbs_texts),
        cmocka_unit_test(the_tag_count_is_checked_before_characters),
        cmocka_unit_test(a_name_may_be_long_but_not_endless),
        cmocka_unit_test(a_text_of_tags_is_cut_off_at_the_capacity),
        cmocka_unit_test(letters_of_the_basic_plane_may_stand_in_names),
        cmocka_unit_test(configured_characters_may_stand_in_names),
        cmocka_unit_test(the_hash_is_stable_and_knows_where_fields_begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
