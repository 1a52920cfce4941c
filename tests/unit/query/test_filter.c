#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/attr.h"
#include "query/filter.h"

static struct arena arena;

static int set_up(void **state) {
    arena_init(&arena, NULL);
    return 0;
}

static int tear_down(void **state) {
    arena_fini(&arena);
    return 0;
}

static struct filter made(const char *type, const char *text) {
    struct filter filter;
    struct err err;
    if (filter_make(str_of(type), STR("host"), str_of(text), false, &arena, &filter, &err) != RC_OK)
        fail_msg("%s(%s): %s", type, text, err.message);
    return filter;
}

static bool match(const char *type, const char *text, const char *value) {
    struct filter filter = made(type, text);
    bool matched = filter_matches(&filter, str_of(value));
    assert_int_equal(filter_check(&filter, NULL), RC_OK);
    return matched;
}

static void assert_refused(const char *type, const char *text, const char *message) {
    struct filter filter;
    struct err err;
    assert_int_equal(
        filter_make(str_of(type), STR("host"), str_of(text), false, &arena, &filter, &err),
        RC_INVALID);
    assert_string_equal(err.message, message);
}

static void values_match_by_type(void **state) {
    static const struct {
        const char *type, *text, *value;
        bool matches;
    } rows[] = {
        {"literal_or", "web01", "web01", true},
        {"literal_or", "web01", "web011", false},
        {"literal_or", "web03|web01|web02", "web02", true},
        {"literal_or", "web01|", "", false},
        {"literal_or", "Web01", "web01", false},
        {"iliteral_or", "Web01|WEB02", "wEb02", true},
        {"iliteral_or", "STRASSE|ÉCOLE", "école", true},
        {"iliteral_or", "Ελλάδα|москва", "МОСКВА", true},
        {"iliteral_or", "Ÿ", "ÿ", true},
        {"iliteral_or", "ȘȚƠƯẠ", "șțơưạ", true},
        {"iliteral_or", "日本", "日本", true},
        {"iliteral_or", "ß", "SS", false},
        {"not_literal_or", "web01|web02", "web03", true},
        {"not_literal_or", "web01|web02", "web02", false},
        {"not_literal_or", "web01", "WEB01", true},
        {"not_iliteral_or", "web01", "WEB01", false},
        {"not_iliteral_or", "web01", "WEB02", true},
        {"regexp", "b0", "web01", true},
        {"regexp", "^b0", "web01", false},
        {"regexp", "^web[0-9]{2}$", "web01", true},
        {"regexp", "WEB", "web01", false},
        {"regexp", "(?i)WEB", "web01", true},
        {"regexp", "^.{3}$", "héb", true},
        {"not_key", "", "web01", false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (match(rows[i].type, rows[i].text, rows[i].value) != rows[i].matches)
            fail_msg("%s(%s) on %s", rows[i].type, rows[i].text, rows[i].value);
}

static void globs_have_the_quirks_of_opentsdb(void **state) {
    static const struct {
        const char *text, *value;
        bool matches;
    } rows[] = {
        {"*", "anything", true},
        {"***", "", true},
        {"web*", "web01", true},
        {"web*", "aweb01", false},
        {"*01", "web01", true},
        {"*01", "web012", false},
        {"*b0*", "web01", true},
        {"*b1*", "web01", false},
        {"Web*", "web01", false},
        /* With the asterisk inside, neither end is anchored. */
        {"web*01", "web.01", true},
        {"web*01", "xweb.01x", true},
        {"web*01", "01web", false},
        {"a*b", "bba", true},
        {"web*02", "web01", false},
        /* With one at an end too, the other end is. */
        {"*web*net", "web01.tsdb.net", true},
        {"*web*net", "web01.tsdb.network", false},
        {"web*tsdb*", "web01.tsdb.net", true},
        {"web*tsdb*", "xweb01.tsdb.net", false},
        /* The search goes on after the lengths of the components before: "a" is found again. */
        {"ba*ba", "xbaba", true},
        {"ab*bc", "abc", false},
        {"a*a", "ba", true},
        {"a**b", "ab", true},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (match("wildcard", rows[i].text, rows[i].value) != rows[i].matches)
            fail_msg("wildcard(%s) on %s", rows[i].text, rows[i].value);
    }
    assert_true(match("iwildcard", "WEB*", "wEb01"));
    assert_true(match("iwildcard", "*Ж*", "аждб"));
    assert_false(match("iwildcard", "WEB*", "db01"));
}

static void literals_are_sorted_unique_and_folded(void **state) {
    struct filter filter = made("iliteral_or", "b|A||c|a|B");
    assert_int_equal(filter.literal_count, 3);
    assert_true(str_eq(filter.literals[0], STR("a")));
    assert_true(str_eq(filter.literals[1], STR("b")));
    assert_true(str_eq(filter.literals[2], STR("c")));
    assert_true(str_eq(filter.text, STR("b|A||c|a|B")));
}

static void bad_filters_are_refused_with_their_reason(void **state) {
    assert_refused("nosuchfilter", "x",
                   "Could not find a tag value filter of the type: nosuchfilter");
    assert_refused("Wildcard", "*", "Could not find a tag value filter of the type: Wildcard");
    assert_refused("wildcard", "web", "Filter must contain an asterisk");
    assert_refused("iwildcard", "", "Filter cannot be null or empty");
    assert_refused("", "x", "The filter type cannot be null or empty");
    assert_refused("literal_or", "", "Filter cannot be null or empty");
    assert_refused("literal_or", "|", "Filter must contain more than just a pipe");
    assert_refused("not_iliteral_or", "||", "Filter must contain more than just a pipe");
    assert_refused("not_key", "x", "The filter of not_key must be empty");
    assert_refused("regexp", "", "Filter cannot be null or empty");
    assert_refused("regexp", "a(b",
                   "Invalid regular expression 'a(b': missing closing parenthesis near index 3");
}

static void old_tag_values_become_filters(void **state) {
    static const struct {
        const char *value, *type_name, *text;
        enum filter_type type;
    } rows[] = {
        {"*", "wildcard", "*", FILTER_WILDCARD},
        {"web01", "literal_or", "web01", FILTER_LITERAL_OR},
        {"web01|web02", "literal_or", "web01|web02", FILTER_LITERAL_OR},
        {"Web*", "wildcard", "Web*", FILTER_IWILDCARD},
        {"wildcard(Web*)", "wildcard", "Web*", FILTER_WILDCARD},
        {"IWildCard(Web*)", "iwildcard", "Web*", FILTER_IWILDCARD},
        {"regexp(a(b|c))", "regexp", "a(b|c)", FILTER_REGEXP},
        {"not_key()", "not_key", "", FILTER_NOT_KEY},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct filter filter;
        struct err err;
        if (filter_make_legacy(STR("host"), str_of(rows[i].value), true, &arena, &filter, &err) !=
            RC_OK)
            fail_msg("%s: %s", rows[i].value, err.message);
        assert_int_equal(filter.type, rows[i].type);
        assert_true(str_eq(filter.type_name, str_of(rows[i].type_name)));
        assert_true(str_eq(filter.text, str_of(rows[i].text)));
        assert_true(str_eq(filter.key, STR("host")));
        assert_true(filter.group_by);
    }
    struct filter filter;
    struct err err;
    assert_int_equal(filter_make_legacy(STR("host"), STR("regexp(a"), true, &arena, &filter, &err),
                     RC_INVALID);
    assert_string_equal(err.message, "Filter must end with a ')': regexp(a");
    assert_int_equal(filter_make_legacy(STR("host"), STR(""), true, &arena, &filter, &err),
                     RC_INVALID);
    assert_string_equal(err.message, "Filter cannot be null or empty");
}

static void a_catastrophic_expression_ends_and_is_reported(void **state) {
    struct filter filter = made("regexp", "^(a+)+$");
    assert_true(filter_matches(&filter, STR("aaaaaaaaaaaa")));
    assert_int_equal(filter_check(&filter, NULL), RC_OK);
    assert_false(
        filter_matches(&filter, STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab")));
    assert_false(filter_matches(&filter, STR("a")));
    struct err err;
    assert_int_equal(filter_check(&filter, &err), RC_INVALID);
    assert_string_equal(err.message, "The regular expression '^(a+)+$' takes too long to match; "
                                     "write it with fewer nested repetitions");
}

static void bytes_that_are_not_utf8_do_not_match_and_do_no_harm(void **state) {
    struct filter filter = made("regexp", "^.$");
    assert_false(filter_matches(&filter, STR("\xff")));
    assert_int_equal(filter_check(&filter, NULL), RC_OK);
    assert_refused("regexp", "\xff",
                   "Invalid regular expression '\xff': UTF-8 error: illegal byte (0xfe or 0xff) "
                   "near index 0");
    assert_true(match("iliteral_or", "\xc3|\xd0\xff", "\xc3"));
}

static void long_values_are_folded_too(void **state) {
    char value[2001], text[2001];
    memset(value, 'A', 2000);
    memset(text, 'a', 2000);
    value[2000] = text[2000] = '\0';
    assert_true(match("iliteral_or", text, value));
}

static void a_filter_over_budget_says_so(void **state) {
    struct budget budget;
    budget_init(&budget, 1, NULL);
    struct arena poor;
    arena_init(&poor, &budget);
    static const char *const filters[][2] = {
        {"literal_or", "a"}, {"iwildcard", "*"}, {"regexp", "a"}};
    for (size_t i = 0; i < COUNT_OF(filters); i++) {
        struct filter filter;
        assert_int_equal(filter_make(str_of(filters[i][0]), STR("k"), str_of(filters[i][1]), true,
                                     &poor, &filter, NULL),
                         RC_NOMEM);
    }
    arena_fini(&poor);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_match_by_type),
        cmocka_unit_test(globs_have_the_quirks_of_opentsdb),
        cmocka_unit_test(literals_are_sorted_unique_and_folded),
        cmocka_unit_test(bad_filters_are_refused_with_their_reason),
        cmocka_unit_test(old_tag_values_become_filters),
        cmocka_unit_test(a_catastrophic_expression_ends_and_is_reported),
        cmocka_unit_test(bytes_that_are_not_utf8_do_not_match_and_do_no_harm),
        cmocka_unit_test(long_values_are_folded_too),
        cmocka_unit_test(a_filter_over_budget_says_so),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
