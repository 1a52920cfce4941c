/*
 * Running queries over a store made of plain arrays (fake_store.h). The expected answers come from
 * naive_model.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_store.h"
#include "naive_model.h"
#include "query/query.h"
#include "query/query_names.h"

#include <stdio.h>

/* ---- running ---- */

struct answer {
    uint32_t series_count;
    uint64_t point_count;
    char tags[64]; /* "host=h1,dc=d1|rack" */
    struct samples points;
};

struct answers {
    struct answer p[SERIES_MAX];
    size_t n;
};

static struct answers got;

static void format_result(void *context, const struct query *query,
                          const struct query_result *result, struct buf *out) {
    struct answer answer = {.series_count = result->series_count,
                            .point_count = result->point_count};
    size_t n = 0;
    for (uint32_t i = 0; i < result->tag_count; i++) {
        struct tag tag = query_names_tag(result->names, result->tags[i]);
        n += (size_t)snprintf(answer.tags + n, sizeof(answer.tags) - n, "%s%.*s=%.*s",
                              i == 0 ? "" : ",", STR_ARG(tag.key), STR_ARG(tag.value));
    }
    for (uint32_t i = 0; i < result->aggregate_tag_count; i++)
        n += (size_t)snprintf(answer.tags + n, sizeof(answer.tags) - n, "|%.*s",
                              STR_ARG(index_name(NULL, INDEX_TAGK, result->aggregate_tags[i])));
    buf_add(out, &answer, sizeof(answer));
    for (uint64_t i = 0; i < result->point_count; i++) {
        struct sample s = {.t = result->time_ms[i]};
        s.is_float =
            result->float_mask == NULL || (result->float_mask[i / 64] >> (i % 64) & 1) != 0;
        if (s.is_float)
            s.d = points_double_of(result->bits[i]);
        else
            s.i = (int64_t)result->bits[i];
        buf_add(out, &s, sizeof(s));
    }
}

static size_t writes_left = SIZE_MAX; /* then the reader is gone */

/* Takes one result from the front of a text. */
static void take_result(str *text) {
    struct answer *answer = &got.p[got.n++];
    assert_true(text->n >= sizeof(*answer));
    memcpy(answer, text->p, sizeof(*answer));
    answer->points = (struct samples){0};
    *text = str_from(*text, sizeof(*answer));
    assert_true(text->n / sizeof(struct sample) >= answer->point_count);
    for (uint64_t i = 0; i < answer->point_count; i++) {
        struct sample s;
        memcpy(&s, text->p, sizeof(s));
        samples_push(&answer->points, s);
        *text = str_from(*text, sizeof(s));
    }
}

static bool joined; /* texts hold several results */

static enum rc write_result(void *context, str text, bool first) {
    if (writes_left-- == 0)
        return RC_CANCELLED;
    assert_int_equal(first, got.n == 0);
    do {
        if (joined && got.n > 0) {
            assert_true(text.n > 0 && text.p[0] == ',');
            text = str_from(text, 1);
        }
        take_result(&text);
    } while (joined && text.n > 0);
    assert_int_equal(text.n, 0);
    return RC_OK;
}

static void forget_answers(void) {
    for (size_t i = 0; i < got.n; i++)
        free(got.p[i].points.p);
    memset(&got, 0, sizeof(got));
}

static struct query_limits limits;
static struct query_counters counters;
static struct err error;

static enum rc run(const struct query *query) {
    const struct query_sink sink = {format_result, write_result, NULL, joined};
    forget_answers();
    return query_run((struct store *)&got, query, &limits, &sink, &counters, &error);
}

static struct query_sub sub_of(const char *aggregator, const char *downsample) {
    struct query_sub sub = {.metric = STR("m"), .rate_options.counter_max = INT64_MAX};
    assert_true(aggregator_find(str_of(aggregator), &sub.aggregator));
    if (downsample != NULL) {
        sub.downsampled = true;
        assert_int_equal(downsample_parse(str_of(downsample), &sub.downsample, NULL), RC_OK);
    }
    return sub;
}

static struct query query_of(int64_t start_s, int64_t end_s, struct query_sub *sub) {
    return (struct query){.start_ms = (B + start_s) * 1000,
                          .end_ms = (B + end_s) * 1000,
                          .subs = sub,
                          .sub_count = 1};
}

/* The points of an answer as "offset=value offset=value", doubles with a decimal point. */
static const char *text_of(const struct answer *answer) {
    static char text[8192];
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < answer->points.n; i++) {
        struct sample s = answer->points.p[i];
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%g=", i == 0 ? "" : " ",
                              (double)(s.t - B * 1000) / 1000);
        if (s.is_float)
            n += (size_t)snprintf(text + n, sizeof(text) - n, s.d == floor(s.d) ? "%.1f" : "%.17g",
                                  s.d);
        else
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%lld", (long long)s.i);
    }
    return text;
}

/* ---- worked vectors ---- */

static void check_one(int64_t start_s, int64_t end_s, struct query_sub sub, const char *expected) {
    struct query query = query_of(start_s, end_s, &sub);
    assert_int_equal(run(&query), RC_OK);
    assert_int_equal(got.n, 1);
    assert_string_equal(text_of(&got.p[0]), expected);
}

static void two_series(void) {
    clear_store();
    struct fake_series *s1 = add_series(1, 0, 0), *s2 = add_series(2, 0, 0);
    add_int(s1, 0, 40);
    add_int(s1, 10, 50);
    add_int(s1, 30, 70);
    add_int(s2, 10, 37);
    add_int(s2, 20, 48);
}

static void every_aggregator_merges_two_series_as_in_opentsdb(void **state) {
    static const struct {
        const char *aggregator, *expected;
    } cases[] = {
        {"sum", "0=40 10=87 20=108 30=70"},
        {"avg", "0=40 10=43 20=54 30=70"},
        {"min", "0=40 10=37 20=48 30=70"},
        {"max", "0=40 10=50 20=60 30=70"},
        {"zimsum", "0=40 10=87 20=48 30=70"},
        {"mimmin", "0=40 10=37 20=48 30=70"},
        {"mimmax", "0=40 10=50 20=48 30=70"},
        {"count", "0=1 10=2 20=2 30=1"},
        {"dev", "0=0 10=6 20=6 30=0"},
        {"diff", "0=0 10=-13 20=-12 30=0"},
        {"mult", "0=40 10=1850 20=2880 30=70"},
        {"median", "0=40 10=50 20=60 30=70"},
        {"first", "0=40 10=50 20=0 30=70"},
        {"last", "0=40 10=37 20=48 30=70"},
        {"squareSum", "0=1600 10=3869 20=2304 30=4900"},
    };
    two_series();
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check_one(0, 100, sub_of(cases[i].aggregator, NULL), cases[i].expected);
}

static void pfsum_holds_the_last_value(void **state) {
    clear_store();
    struct fake_series *s1 = add_series(1, 0, 0), *s2 = add_series(2, 0, 0);
    add_int(s1, 0, 40);
    add_int(s1, 30, 70);
    add_int(s2, 10, 37);
    add_int(s2, 20, 48);
    check_one(0, 100, sub_of("pfsum", NULL), "0=40 10=77 20=88 30=70");
}

static void one_double_nearby_makes_the_output_a_double(void **state) {
    clear_store();
    struct fake_series *s = add_series(1, 0, 0);
    add_int(s, 0, 1);
    add_int(s, 10, 2);
    add_double(s, 20, 3.5);
    add_int(s, 30, 4);
    add_int(s, 40, 5);
    check_one(0, 100, sub_of("sum", NULL), "0=1 10=2.0 20=3.5 30=4 40=5");
}

static void points_before_the_start_take_part_in_interpolation(void **state) {
    clear_store();
    struct fake_series *s1 = add_series(1, 0, 0), *s2 = add_series(2, 0, 0);
    add_int(s1, 0, 0);
    add_int(s1, 60, 60);
    add_int(s2, 30, 100);
    add_int(s2, 90, 100);
    check_one(20, 1000, sub_of("sum", NULL), "30=130 60=160 90=100");
    clear_store();
    s1 = add_series(1, 0, 0);
    s2 = add_series(2, 0, 0);
    add_int(s1, 3540, 10);
    add_int(s1, 3660, 30);
    add_int(s2, 3600, 100);
    /* Starting on the hour leaves the point before it out of the rows that are read. */
    check_one(3600, 3650, sub_of("sum", NULL), "3600=100");
    check_one(3590, 3650, sub_of("sum", NULL), "3600=120");
}

static void integers_interpolate_towards_zero(void **state) {
    for (int64_t sign = -1; sign <= 1; sign += 2) {
        clear_store();
        struct fake_series *s1 = add_series(1, 0, 0), *s2 = add_series(2, 0, 0);
        add_int(s1, 0, 0);
        add_int(s1, 3, 10 * sign);
        for (int64_t i = 0; i < 4; i++)
            add_int(s2, i, 0);
        check_one(0, 100, sub_of("sum", NULL),
                  sign > 0 ? "0=0 1=3 2=6 3=10" : "0=0 1=-3 2=-6 3=-10");
    }
}

static void a_downsampled_series_is_always_double(void **state) {
    clear_store();
    struct fake_series *s = add_series(1, 0, 0);
    for (int64_t i = 1; i <= 300; i++)
        add_int(s, 30 * i, i);
    check_one(90, 270, sub_of("sum", "1m-sum"), "120=9.0 180=13.0 240=17.0");
    check_one(0, 43200, sub_of("sum", "0all-sum"), "0=45150.0");
    check_one(100, 200, sub_of("sum", "0all-sum"), "100=15.0");
    struct query_sub rate = sub_of("sum", "1m-avg");
    rate.rate = true;
    check_one(60, 200, rate,
              "60=0.025000000000000001 120=0.033333333333333333 "
              "180=0.033333333333333333");
    rate = sub_of("sum", "0all-sum");
    rate.rate = true;
    check_one(0, 43200, rate, "");
}

static void the_end_of_0all_is_exclusive(void **state) {
    clear_store();
    struct fake_series *s = add_series(1, 0, 0);
    for (int64_t i = 0; i < 6; i++)
        add_int(s, 5 + 10 * i, INT64_C(1) << i);
    check_one(15, 45, sub_of("sum", "0all-sum"), "15=14.0");
    check_one(0, 3000, sub_of("sum", "15s-sum"), "0=1.0 15=6.0 30=8.0 45=48.0");
}

static void empty_buckets_are_filled_as_asked(void **state) {
    clear_store();
    struct fake_series *s = add_series(1, 0, 0);
    add_int(s, 0, 1);
    add_int(s, 120, 5);
    check_one(0, 240, sub_of("sum", "1m-sum-nan"), "0=1.0 60=nan 120=5.0 180=nan 240=nan");
    check_one(0, 240, sub_of("sum", "1m-sum-zero"), "0=1.0 60=0.0 120=5.0 180=0.0 240=0.0");
    check_one(0, 240, sub_of("sum", "1m-sum"), "0=1.0 120=5.0");
    struct query_sub sub = sub_of("sum", "1m-sum-scalar");
    struct query query = query_of(0, 240, &sub);
    assert_int_equal(run(&query), RC_INVALID);
    assert_string_equal(error.message, "unhandled fill policy");
}

static void a_filled_bucket_is_not_interpolated(void **state) {
    clear_store();
    struct fake_series *s1 = add_series(1, 0, 0), *s2 = add_series(2, 0, 0);
    add_double(s1, 0, 1);
    add_double(s1, 60, 2);
    add_double(s1, 120, 3);
    add_double(s2, 0, 10);
    add_double(s2, 120, 30);
    check_one(0, 120, sub_of("sum", "1m-sum"), "0=11.0 60=22.0 120=33.0");
    check_one(0, 120, sub_of("sum", "1m-sum-nan"), "0=11.0 60=2.0 120=33.0");
}

static void counters_wrap_reset_and_drop(void **state) {
    clear_store();
    struct fake_series *s = add_series(1, 0, 0);
    add_int(s, 30, 45);
    add_int(s, 60, 75);
    add_int(s, 90, 25);
    add_int(s, 120, 55);
    struct query_sub sub = sub_of("sum", NULL);
    sub.rate = true;
    check_one(0, 200, sub, "60=1.0 90=-1.6666666666666667 120=1.0");
    sub.rate_options = (struct query_rate){true, 10000, 35, false};
    check_one(0, 200, sub, "60=1.0 90=0.0 120=1.0");
    sub.rate_options = (struct query_rate){true, 10000, 35, true};
    check_one(0, 200, sub, "60=1.0 120=1.0");
    sub.rate_options = (struct query_rate){true, 100, 0, false};
    check_one(0, 200, sub, "60=1.0 90=1.6666666666666667 120=1.0");
    clear_store();
    s = add_series(1, 0, 0);
    add_int(s, 30, INT64_MAX - 55);
    add_int(s, 60, INT64_MAX - 25);
    add_int(s, 90, 5);
    sub.rate_options = (struct query_rate){true, INT64_MAX, 0, false};
    check_one(0, 200, sub, "60=1.0 90=1.0");
}

static void a_rate_stands_for_the_time_before_it(void **state) {
    clear_store();
    struct fake_series *c = add_series(1, 0, 0), *d = add_series(2, 0, 0);
    for (int64_t k = 0; k < 4; k++)
        add_int(c, 30 * k, 1000000000000 + 3000 * k);
    for (int64_t k = 0; k < 3; k++)
        add_int(d, 60 + 30 * k, 2000000000000 + 6000 * k);
    struct query_sub sub = sub_of("sum", NULL);
    sub.rate = true;
    check_one(0, 200, sub, "30=1573.8410241084578 60=1573.8410241084578 90=300.0 120=200.0");
}

static void percentiles_are_estimated_per_kind(void **state) {
    static const struct {
        const char *aggregator, *ints, *doubles;
    } cases[] = {
        {"p50", "0=25", "0=25.0"},
        {"p75", "0=37", "0=37.5"},
        {"p95", "0=40", "0=40.0"},
        {"ep50r3", "0=20", "0=25.0"},
        {"ep50r7", "0=25", "0=25.0"},
        {"ep75r3", "0=30", "0=37.5"},
        {"ep75r7", "0=32", "0=37.5"},
        {"median", "0=30", "0=30.0"},
        {"dev", "0=11", "0=11.180339887498949"},
        {"diff", "0=30", "0=30.0"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        clear_store();
        for (uint32_t k = 1; k <= 4; k++)
            add_int(add_series(k, 0, 0), 0, 10 * k);
        check_one(0, 10, sub_of(cases[i].aggregator, NULL), cases[i].ints);
        clear_store();
        for (uint32_t k = 1; k <= 4; k++)
            add_double(add_series(k, 0, 0), 0, 10 * k);
        check_one(0, 10, sub_of(cases[i].aggregator, NULL), cases[i].doubles);
    }
}

static void a_value_that_grows_infinite_is_refused(void **state) {
    clear_store();
    add_double(add_series(1, 0, 0), 0, 1e308);
    add_double(add_series(2, 0, 0), 0, 1e308);
    struct query_sub sub = sub_of("sum", NULL);
    struct query query = query_of(0, 10, &sub);
    assert_int_equal(run(&query), RC_INVALID);
    assert_int_equal(err_http_status(&error), 400);
    assert_int_equal(strncmp(error.message, "Got Infinity", 12), 0);
}

/* ---- selection ---- */

static struct filter filter_of(const char *type, const char *key, const char *text, bool group_by,
                               struct arena *arena) {
    struct filter filter;
    assert_int_equal(
        filter_make(str_of(type), str_of(key), str_of(text), group_by, arena, &filter, NULL),
        RC_OK);
    return filter;
}

static void run_filtered(struct query_sub sub, struct filter *filters, uint32_t count) {
    sub.filters = filters;
    sub.filter_count = count;
    struct query query = query_of(0, 100, &sub);
    (void)!run(&query);
}

/* host dc value: the documentation's example of filters. */
static void filter_store(void) {
    clear_store();
    add_int(add_series(1, 6, 0), 0, 3);
    add_int(add_series(2, 6, 0), 0, 2);
    add_int(add_series(3, 6, 0), 0, 10);
    add_int(add_series(1, 0, 0), 0, 1);
    add_int(add_series(1, 0, 8), 0, 4);
    add_int(add_series(1, 7, 0), 0, 8);
}

static void groups_come_in_the_order_of_uids(void **state) {
    struct arena arena;
    arena_init(&arena, NULL);
    filter_store();
    struct filter by_host[] = {filter_of("wildcard", "host", "*", true, &arena),
                               filter_of("literal_or", "dc", "d1", false, &arena)};
    run_filtered(sub_of("sum", NULL), by_host, 2);
    assert_int_equal(got.n, 3);
    assert_string_equal(text_of(&got.p[0]), "0=3");
    assert_string_equal(text_of(&got.p[1]), "0=2");
    assert_string_equal(text_of(&got.p[2]), "0=10");
    struct filter by_dc[] = {filter_of("literal_or", "dc", "d2|d1", true, &arena)};
    run_filtered(sub_of("sum", NULL), by_dc, 1);
    assert_int_equal(got.n, 2);
    assert_string_equal(text_of(&got.p[0]), "0=15");
    assert_string_equal(got.p[0].tags, "dc=d1|host");
    assert_string_equal(text_of(&got.p[1]), "0=8");
    arena_fini(&arena);
}

static void a_key_some_members_lack_is_still_common(void **state) {
    struct arena arena;
    arena_init(&arena, NULL);
    filter_store();
    struct filter host[] = {filter_of("literal_or", "host", "h1", true, &arena)};
    run_filtered(sub_of("sum", NULL), host, 1);
    assert_int_equal(got.n, 1);
    assert_int_equal(got.p[0].series_count, 4);
    assert_string_equal(got.p[0].tags, "host=h1,rack=r1|dc");
    assert_string_equal(text_of(&got.p[0]), "0=16");
    struct query_sub explicit = sub_of("sum", NULL);
    explicit.explicit_tags = true;
    run_filtered(explicit, host, 1);
    assert_string_equal(text_of(&got.p[0]), "0=1");
    arena_fini(&arena);
}

static void negative_filters_demand_the_key_too(void **state) {
    struct arena arena;
    arena_init(&arena, NULL);
    filter_store();
    struct filter without[] = {filter_of("not_literal_or", "dc", "d1|nobody", false, &arena)};
    run_filtered(sub_of("sum", NULL), without, 1);
    assert_string_equal(text_of(&got.p[0]), "0=8");
    struct filter lacks[] = {filter_of("not_key", "dc", "", false, &arena)};
    run_filtered(sub_of("sum", NULL), lacks, 1);
    assert_string_equal(text_of(&got.p[0]), "0=5");
    struct filter two[] = {filter_of("regexp", "host", "h[12]", false, &arena),
                           filter_of("iliteral_or", "host", "H2|H3", false, &arena)};
    run_filtered(sub_of("sum", NULL), two, 2);
    assert_string_equal(text_of(&got.p[0]), "0=2");
    arena_fini(&arena);
}

static void unknown_names_fail_the_query_unless_told_otherwise(void **state) {
    struct arena arena;
    arena_init(&arena, NULL);
    filter_store();
    struct query_sub sub = sub_of("sum", NULL);
    struct query query = query_of(0, 100, &sub);
    sub.metric = STR("nope");
    assert_int_equal(run(&query), RC_NOT_FOUND);
    assert_string_equal(error.message, "No such name for 'metrics': 'nope'");
    assert_string_equal(error.details, "No such name for 'metrics': 'nope'");
    limits.skip_unknown_metrics = true;
    assert_int_equal(run(&query), RC_OK);
    assert_int_equal(got.n, 0);
    limits.skip_unknown_metrics = false;
    sub.metric = STR("m");
    struct filter key = filter_of("wildcard", "nokey", "*", false, &arena);
    sub.filters = &key;
    sub.filter_count = 1;
    assert_int_equal(run(&query), RC_NOT_FOUND);
    assert_string_equal(error.message, "No such name for 'tagk': 'nokey'");
    struct filter value = filter_of("literal_or", "host", "h2|x", false, &arena);
    sub.filters = &value;
    assert_int_equal(run(&query), RC_NOT_FOUND);
    assert_string_equal(error.message, "No such name for 'tagv': 'x'");
    limits.skip_unresolved_tagvs = true;
    assert_int_equal(run(&query), RC_OK);
    assert_string_equal(text_of(&got.p[0]), "0=2");
    limits.skip_unresolved_tagvs = false;
    limits.expansion_limit = 1;
    assert_int_equal(run(&query), RC_OK);
    assert_string_equal(text_of(&got.p[0]), "0=2");
    limits.expansion_limit = 4096;
    arena_fini(&arena);
}

static void tsuids_are_merged_into_one_group(void **state) {
    filter_store();
    struct query_sub sub = sub_of("sum", NULL);
    const str tsuids[] = {STR("A2"), STR("A0"), STR("A2"), STR("A9")};
    sub.tsuids = tsuids;
    sub.tsuid_count = 4;
    sub.metric = (str){NULL, 0};
    check_one(0, 100, sub, "0=13");
    const str strangers[] = {STR("A2"), STR("B0")};
    sub.tsuids = strangers;
    sub.tsuid_count = 2;
    struct query query = query_of(0, 100, &sub);
    assert_int_equal(run(&query), RC_INVALID);
    sub = sub_of("none", NULL);
    query = query_of(0, 100, &sub);
    assert_int_equal(run(&query), RC_OK);
    assert_int_equal(got.n, 6);
    assert_string_equal(got.p[0].tags, "host=h1");
}

static void a_series_removed_meanwhile_is_left_out(void **state) {
    clear_store();
    for (uint32_t k = 0; k < 5; k++)
        add_int(add_series(1 + k, 0, 0), 0, 1 << k);
    removed_id = 3;
    check_one(0, 100, sub_of("sum", NULL), "0=27");
    assert_int_equal(got.p[0].series_count, 4);
    struct query_sub sub = sub_of("none", NULL);
    struct query query = query_of(0, 100, &sub);
    assert_int_equal(run(&query), RC_OK);
    assert_int_equal(got.n, 4);
    assert_string_equal(got.p[2].tags, "host=h4");
    removed_id = 0;
}

static void a_series_of_the_same_hour_gives_an_empty_result(void **state) {
    clear_store();
    add_int(add_series(1, 0, 0), 10, 1);
    check_one(100, 200, sub_of("sum", NULL), "");
    struct query_sub sub = sub_of("sum", NULL);
    struct query query = query_of(7200, 7300, &sub);
    assert_int_equal(run(&query), RC_OK);
    assert_int_equal(got.n, 0);
}

static void any_range_is_a_range(void **state) {
    static const int64_t ends[] = {1, 1000, LIMIT_TIME_MS_MAX, INT64_MAX - 1, INT64_MAX};
    clear_store();
    struct fake_series *s = add_series(1, 0, 0);
    samples_push(&s->points, (struct sample){1, false, 1, 0});
    samples_push(&s->points, (struct sample){LIMIT_TIME_MS_MAX, false, 2, 0});
    static const char *const downsamples[] = {NULL, "0all-sum", "1ms-sum", "1y-sum", "500000y-sum"};
    for (size_t k = 0; k < COUNT_OF(downsamples); k++)
        for (size_t from = 0; from < COUNT_OF(ends); from++)
            for (size_t to = from; to < COUNT_OF(ends); to++) {
                struct query_sub sub = sub_of("sum", downsamples[k]);
                struct query query = {
                    .start_ms = ends[from], .end_ms = ends[to], .subs = &sub, .sub_count = 1};
                query.end_given_ms = true;
                assert_int_equal(run(&query), RC_OK);
                assert_true(got.n <= 1);
                if (k == 0 && from == 0)
                    assert_int_equal(got.p[0].points.n, to < 2 ? 1 : 2);
            }
}

static void a_reader_who_leaves_stops_the_query(void **state) {
    clear_store();
    for (uint32_t k = 0; k < 399; k++)
        add_int(add_series(1 + k % 5, 0, 0), 0, k);
    struct query_sub sub = sub_of("none", NULL);
    struct query query = query_of(0, 10, &sub);
    for (limits.threads = 1; limits.threads <= 3; limits.threads++) {
        writes_left = 100;
        assert_int_equal(run(&query), RC_CANCELLED);
        assert_int_equal(got.n, 100);
    }
    writes_left = SIZE_MAX;
    assert_int_equal(run(&query), RC_OK);
    assert_int_equal(got.n, 399);
}

/* ---- limits ---- */

static bool yes(void *context) {
    return true;
}

static void limits_stop_a_query_with_opentsdbs_texts(void **state) {
    clear_store();
    struct fake_series *s = add_series(1, 0, 0);
    for (int64_t i = 0; i < 1000; i++)
        add_int(s, i, i);
    struct query_sub sub = sub_of("sum", NULL);
    struct query query = query_of(0, 2000, &sub);
    limits.points_max = 999;
    assert_int_equal(run(&query), RC_LIMIT);
    assert_int_equal(err_http_status(&error), 413);
    assert_string_equal(error.message,
                        "Sorry, you have attempted to fetch more than our limit of 999 data "
                        "points. Please try filtering using more tags or decrease your time "
                        "range.");
    limits.points_max = 1000;
    assert_int_equal(run(&query), RC_OK);
    assert_int_equal(counters.points_scanned, 1000);
    assert_int_equal(counters.points_emitted, 1000);
    limits.points_max = 0;
    limits.deadline_ns = 1;
    assert_int_equal(run(&query), RC_TIMEOUT);
    limits.deadline_ns = 0;
    limits.cancelled = yes;
    assert_int_equal(run(&query), RC_CANCELLED);
    limits.cancelled = NULL;
}

static void damaged_vectors_are_left_out_and_counted(void **state) {
    clear_store();
    struct fake_series *s = add_series(1, 0, 0);
    for (int64_t i = 0; i < 100; i++)
        add_int(s, i, i);
    cuts = 2;
    damage = true;
    check_one(0, 1000, sub_of("sum", NULL), "");
    assert_true(counters.damaged_vectors > 0);
    check_one(0, 1000, sub_of("sum", "1m-median"), "");
    assert_true(counters.damaged_vectors > 0);
    /* Where the summary is enough nobody notices. */
    check_one(0, 1000, sub_of("sum", "1h-sum"), "0=4950.0");
    assert_int_equal(counters.damaged_vectors, 0);
}

static void memory_is_bounded_and_given_back(void **state) {
    enum { SERIES = 300, POINTS = 5000 };
    clear_store();
    for (uint32_t k = 0; k < SERIES; k++) {
        struct fake_series *s = add_series(1 + k % 5, 0, 0);
        for (int64_t i = 0; i < POINTS; i++)
            add_int(s, i, i * (k % 7));
    }
    struct query_sub sub = sub_of("avg", NULL);
    struct query query = query_of(0, 100000, &sub);
    struct budget budget;
    budget_init(&budget, 64 << 10, NULL);
    limits.budget = &budget;
    assert_int_equal(run(&query), RC_THROTTLE);
    assert_int_equal(budget_used(&budget), 0);
    /* Enough for the answer, not for all points at once: some are read a second time. */
    for (limits.threads = 1; limits.threads <= 4; limits.threads += 3) {
        budget_init(&budget, 8 << 20, NULL);
        assert_int_equal(run(&query), RC_OK);
        assert_int_equal(budget_used(&budget), 0);
        assert_true(counters.points_scanned > SERIES * POINTS);
        assert_int_equal(got.n, 1);
        assert_int_equal(got.p[0].points.n, POINTS);
        for (int64_t i = 0; i < POINTS; i++) {
            int64_t sum = 0;
            for (int64_t k = 0; k < SERIES; k++)
                sum += i * (k % 7);
            assert_false(got.p[0].points.p[i].is_float);
            assert_int_equal(got.p[0].points.p[i].i, sum / SERIES);
        }
    }
    limits.budget = NULL;
}

/* ---- random data and queries against the model ---- */

static struct sample random_value(int64_t t, int kind) {
    struct sample s = {.t = t, .is_float = kind == 1 || (kind == 2 && one_in(3))};
    if (s.is_float)
        s.d = one_in(4) ? (double)below(1000) * 0.1 : (double)(below(4000) - 2000) / 4;
    else
        s.i = one_in(50) ? (int64_t)random_of(&seed) : below(200) - 100;
    return s;
}

static void random_series(struct fake_series *fake, int kind, bool aligned) {
    int64_t step = (int64_t[]){1, 10, 30, 60, 600}[below(5)] * 1000;
    int64_t t = (B - 4000) * 1000 + below(7200) * 1000;
    if (aligned)
        t -= t % step;
    else
        t += below(1000);
    int64_t n = one_in(8) ? below(3) : below(200);
    for (int64_t i = 0; i < n; i++) {
        samples_push(&fake->points, random_value(t, kind));
        t += one_in(5) ? step * (1 + below(20)) : aligned ? step : 1 + below(2 * step);
    }
}

static void random_store(void) {
    clear_store();
    int64_t n = one_in(20) ? 300 : 1 + below(7);
    int kind = (int)below(4);
    bool aligned = one_in(2);
    for (int64_t i = 0; i < n; i++)
        random_series(add_series(1 + (uint32_t)below(5), 6 + (uint32_t)below(2), one_in(4) ? 8 : 0),
                      kind == 3 ? (int)below(2) : kind, aligned);
}

static struct query_sub random_sub(void) {
    static const char *const units[] = {"ms", "s", "m", "h", "d"};
    static const char *const fills[] = {"", "-none", "-nan", "-null", "-zero"};
    struct query_sub sub = {.metric = STR("m"), .rate_options.counter_max = INT64_MAX};
    sub.aggregator = (enum aggregator)below(AGGREGATOR_COUNT_OF);
    sub.downsampled = !one_in(3);
    if (sub.downsampled) {
        char text[64];
        enum aggregator function = (enum aggregator)below(AGGREGATOR_COUNT_OF);
        if (function == AGGREGATOR_NONE)
            function = AGGREGATOR_AVG;
        int64_t unit = below(5);
        int64_t count = unit == 0 ? 500 + below(100000) : unit == 1 ? 5 + below(100) : 1 + below(7);
        if (one_in(10))
            snprintf(text, sizeof(text), "0all-%s", aggregator_name(function));
        else
            snprintf(text, sizeof(text), "%lld%s%s-%s%s", (long long)count, units[unit],
                     one_in(6) && unit > 0 ? "c" : "", aggregator_name(function), fills[below(5)]);
        assert_int_equal(downsample_parse(str_of(text), &sub.downsample, NULL), RC_OK);
    }
    sub.rate = one_in(3);
    if (sub.rate && one_in(2)) {
        sub.rate_options.counter = one_in(2);
        sub.rate_options.counter_max = one_in(2) ? INT64_MAX : 1 + below(1000);
        sub.rate_options.reset_value = one_in(2) ? 0 : below(10);
        sub.rate_options.drop_resets = one_in(3);
    }
    return sub;
}

static int compare_fakes(const void *left, const void *right) {
    const struct fake_series *a = *(struct fake_series *const *)left;
    const struct fake_series *b = *(struct fake_series *const *)right;
    for (uint32_t i = 0; i < a->series.tag_count && i < b->series.tag_count; i++) {
        int key = (int)a->tags[i].key_uid - (int)b->tags[i].key_uid;
        int value = (int)a->tags[i].value_uid - (int)b->tags[i].value_uid;
        if (key != 0 || value != 0)
            return key != 0 ? key : value;
    }
    if (a->series.tag_count != b->series.tag_count)
        return a->series.tag_count < b->series.tag_count ? -1 : 1;
    return (a->series.id > b->series.id) - (a->series.id < b->series.id);
}

/* Sums may be added up in another order than one by one: a few units in the last place. `scale` is
   the largest magnitude in sight, for what cancels out. */
static bool close_enough(double a, double b, double scale) {
    if (isnan(a) || isnan(b))
        return isnan(a) && isnan(b);
    double size = fmax(fmax(fabs(a), fabs(b)), scale);
    return a == b || fabs(a - b) <= 1e-9 * size;
}

static bool same_samples(struct samples expected, struct samples actual) {
    if (expected.n != actual.n)
        return false;
    double scale = 0;
    for (size_t i = 0; i < expected.n; i++)
        if (expected.p[i].is_float && isfinite(expected.p[i].d))
            scale = fmax(scale, fabs(expected.p[i].d) * 1e-3);
    for (size_t i = 0; i < expected.n; i++) {
        struct sample e = expected.p[i], a = actual.p[i];
        if (e.t != a.t || e.is_float != a.is_float || (!e.is_float && e.i != a.i))
            return false;
        if (e.is_float && !close_enough(e.d, a.d, scale))
            return false;
    }
    return true;
}

static bool has_infinity(struct samples list) {
    for (size_t i = 0; i < list.n; i++)
        if (list.p[i].is_float && isinf(list.p[i].d))
            return true;
    return false;
}

static void print_samples(const char *title, struct samples list) {
    fprintf(stderr, "%s (%zu):", title, list.n);
    for (size_t i = 0; i < list.n && i < 400; i++) {
        if (list.p[i].is_float)
            fprintf(stderr, " %lld=%.17g", (long long)list.p[i].t, list.p[i].d);
        else
            fprintf(stderr, " %lld=%lld", (long long)list.p[i].t, (long long)list.p[i].i);
    }
    fprintf(stderr, "\n");
}

/* Splits the store into expected groups; `by_host` 0: one group, 1: by host, 2: each series. */
static void expect_groups(const struct query *query, const struct query_sub *sub, int by_host,
                          uint64_t number) {
    struct fake_series *order[SERIES_MAX];
    for (uint32_t i = 0; i < fake_count; i++)
        order[i] = &fakes[i];
    qsort(order, fake_count, sizeof(order[0]), compare_fakes);
    enum rc rc = run(query);
    size_t answer = 0;
    bool infinite = false;
    for (uint32_t from = 0, to; from < fake_count; from = to) {
        struct samples raw[SERIES_MAX];
        to = by_host == 0 ? fake_count : from + 1;
        while (by_host == 1 && to < fake_count &&
               order[to]->tags[0].value_uid == order[from]->tags[0].value_uid)
            to++;
        for (uint32_t i = from; i < to; i++)
            raw[i - from] = order[i]->points;
        size_t members;
        bool gap = false;
        struct samples expected = model_group(raw, to - from, query, sub, &members, &gap);
        infinite |= has_infinity(expected);
        if (members > 0 && rc == RC_OK) {
            if (answer >= got.n || got.p[answer].series_count != members ||
                !same_samples(expected, got.p[answer].points)) {
                fprintf(stderr,
                        "case %llu: aggregator %s downsample %d %lld ms %s fill %d rate %d\n",
                        (unsigned long long)number, aggregator_name(sub->aggregator),
                        sub->downsampled, (long long)sub->downsample.interval_ms,
                        aggregator_name(sub->downsample.function), (int)sub->downsample.fill,
                        sub->rate);
                print_samples("expected", expected);
                if (answer < got.n)
                    print_samples("got", got.p[answer].points);
                for (uint32_t i = from; i < to && to - from < 8; i++)
                    print_samples("series", order[i]->points);
                fail();
            }
            answer++;
        }
        free(expected.p);
    }
    if (infinite)
        assert_int_equal(rc, RC_INVALID);
    else
        assert_int_equal(rc, RC_OK);
    if (rc == RC_OK)
        assert_int_equal(got.n, answer);
}

static void random_case(uint64_t number, struct filter *by_host) {
    seed = number * UINT64_C(0x9e3779b97f4a7c15) + 1;
    if (number % 4 == 0 || fake_count == 0)
        random_store();
    cuts = (char)below(3);
    limits.threads = 1 + (uint32_t)below(3);
    struct query_sub sub = random_sub();
    struct query query = query_of(below(9000) - 4000, 0, &sub);
    query.start_ms += one_in(2) ? below(1000) : 0;
    query.end_ms = query.start_ms + 1 + below(8000 * 1000);
    if (one_in(2))
        query.end_ms = query.end_ms / 1000 * 1000 + 1000;
    query.end_given_ms = one_in(2);
    int grouping = sub.aggregator == AGGREGATOR_NONE ? 2 : (int)below(2);
    if (grouping == 1) {
        sub.filters = by_host;
        sub.filter_count = 1;
    }
    expect_groups(&query, &sub, grouping, number);
}

static void random_queries_agree_with_the_model(void **state) {
    struct arena arena;
    arena_init(&arena, NULL);
    struct filter by_host = filter_of("wildcard", "host", "*", true, &arena);
    const char *cases = getenv("QUERY_CASES");
    uint64_t count = cases == NULL ? 4000 : strtoull(cases, NULL, 10);
    for (uint64_t number = 0; number < count; number++) {
        joined = number % 2 == 1;
        random_case(number, &by_host);
    }
    arena_fini(&arena);
}

static int reset_limits(void **state) {
    limits = (struct query_limits){.threads = 2, .expansion_limit = 4096};
    cuts = 1;
    damage = false;
    joined = false;
    return 0;
}

static int tear_down(void **state) {
    clear_store();
    forget_answers();
    return 0;
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup(name, reset_limits)
    const struct CMUnitTest tests[] = {
        TEST(every_aggregator_merges_two_series_as_in_opentsdb),
        TEST(pfsum_holds_the_last_value),
        TEST(one_double_nearby_makes_the_output_a_double),
        TEST(points_before_the_start_take_part_in_interpolation),
        TEST(integers_interpolate_towards_zero),
        TEST(a_downsampled_series_is_always_double),
        TEST(the_end_of_0all_is_exclusive),
        TEST(empty_buckets_are_filled_as_asked),
        TEST(a_filled_bucket_is_not_interpolated),
        TEST(counters_wrap_reset_and_drop),
        TEST(a_rate_stands_for_the_time_before_it),
        TEST(percentiles_are_estimated_per_kind),
        TEST(a_value_that_grows_infinite_is_refused),
        TEST(groups_come_in_the_order_of_uids),
        TEST(a_key_some_members_lack_is_still_common),
        TEST(negative_filters_demand_the_key_too),
        TEST(unknown_names_fail_the_query_unless_told_otherwise),
        TEST(tsuids_are_merged_into_one_group),
        TEST(a_series_removed_meanwhile_is_left_out),
        TEST(a_series_of_the_same_hour_gives_an_empty_result),
        TEST(any_range_is_a_range),
        TEST(a_reader_who_leaves_stops_the_query),
        TEST(limits_stop_a_query_with_opentsdbs_texts),
        TEST(damaged_vectors_are_left_out_and_counted),
        TEST(memory_is_bounded_and_given_back),
        TEST(random_queries_agree_with_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
