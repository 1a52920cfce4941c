#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "query/merge.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed = 42;

static int64_t below(int64_t n) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (int64_t)(seed >> 11) % n;
}

/* ---- timeline ---- */

enum { TIMES = 4096 };

static void a_timeline_is_the_sorted_union_of_what_was_added(void **state) {
    struct merge_timeline timeline;
    merge_timeline_init(&timeline, NULL);
    for (int round = 0; round < 200; round++) {
        bool present[TIMES] = {false};
        merge_timeline_reset(&timeline);
        int64_t series = 1 + below(20);
        for (int64_t k = 0; k < series; k++) {
            int64_t times[TIMES];
            size_t n = 0;
            int64_t step = 1 + below(60);
            for (int64_t t = below(TIMES); t < TIMES && n < 300; t += 1 + below(step)) {
                times[n++] = t;
                present[t] = true;
            }
            assert_true(merge_timeline_add(&timeline, times, n));
        }
        assert_true(merge_timeline_finish(&timeline));
        size_t at = 0;
        const int64_t *times = timeline.times.p;
        for (int64_t t = 0; t < TIMES; t++)
            if (present[t])
                assert_true(at < timeline.count && times[at++] == t);
        assert_int_equal(at, timeline.count);
    }
    merge_timeline_fini(&timeline);
}

static void aligned_series_cost_the_timeline_nothing(void **state) {
    struct merge_timeline timeline;
    merge_timeline_init(&timeline, NULL);
    int64_t times[100];
    for (int64_t i = 0; i < 100; i++)
        times[i] = 10 * i;
    assert_true(merge_timeline_add(&timeline, times, 100));
    assert_true(merge_timeline_add(&timeline, times, 100));
    assert_true(merge_timeline_add(&timeline, times + 20, 50));
    assert_int_equal(timeline.count, 100);
    assert_int_equal(timeline.pending_count, 0);
    merge_timeline_fini(&timeline);
}

static void a_timeline_over_budget_says_so(void **state) {
    struct budget budget;
    budget_init(&budget, 4096, NULL);
    struct merge_timeline timeline;
    merge_timeline_init(&timeline, &budget);
    int64_t times[1024];
    for (int64_t i = 0; i < 1024; i++)
        times[i] = i;
    assert_false(merge_timeline_add(&timeline, times, 1024));
    assert_true(merge_timeline_add(&timeline, times, 256));
    merge_timeline_fini(&timeline);
    assert_int_equal(budget_used(&budget), 0);
}

/* ---- slices ---- */

enum { SERIES = 12, POINTS = 400, LINE = 1024 };

struct group {
    int64_t time_ms[SERIES][POINTS];
    uint64_t bits[SERIES][POINTS];
    uint64_t mask[SERIES][(POINTS + 63) / 64];
    struct merge_column columns[SERIES];
    int64_t line[SERIES * POINTS];
    size_t line_count;
};

static void random_group(struct group *group, int kind) {
    struct merge_timeline timeline;
    merge_timeline_init(&timeline, NULL);
    memset(group->mask, 0, sizeof(group->mask));
    for (int k = 0; k < SERIES; k++) {
        size_t n = (size_t)below(POINTS);
        int64_t t = below(500);
        for (size_t i = 0; i < n; i++) {
            bool is_float = kind == POINTS_DOUBLES || (kind == POINTS_MIXED && below(4) == 0);
            group->time_ms[k][i] = t;
            group->bits[k][i] =
                is_float ? points_bits_of((double)below(1000) / 8) : (uint64_t)(below(1000) - 500);
            group->mask[k][i / 64] |= (uint64_t)is_float << (i % 64);
            t += 1 + below(4);
        }
        group->columns[k] = (struct merge_column){.time_ms = group->time_ms[k],
                                                  .bits = group->bits[k],
                                                  .float_mask = group->mask[k],
                                                  .count = n,
                                                  .kind = (enum points_kind)kind};
        assert_true(merge_timeline_add(&timeline, group->time_ms[k], n));
    }
    assert_true(merge_timeline_finish(&timeline));
    group->line_count = timeline.count;
    memcpy(group->line, timeline.times.p, timeline.count * sizeof(int64_t));
    merge_timeline_fini(&timeline);
}

static void merge(const struct group *group, enum aggregator aggregator, enum merge_mode mode,
                  size_t length, uint64_t *bits, uint64_t *mask) {
    struct merge_slice slice;
    merge_slice_init(&slice, NULL);
    for (size_t from = 0; from < group->line_count; from += length) {
        size_t n = group->line_count - from < length ? group->line_count - from : length;
        assert_true(
            merge_slice_begin(&slice, aggregator, false, mode, group->line + from, n, SERIES));
        for (int k = 0; k < SERIES; k++)
            merge_slice_add(&slice, &group->columns[k]);
        merge_slice_end(&slice, bits + from, mask + from / 64);
    }
    merge_slice_fini(&slice);
}

static void the_result_does_not_depend_on_the_cut(void **state) {
    static struct group group;
    static uint64_t whole[SERIES * POINTS], cut[SERIES * POINTS];
    static uint64_t whole_mask[SERIES * POINTS / 64 + 1], cut_mask[SERIES * POINTS / 64 + 1];
    for (int a = 0; a < AGGREGATOR_COUNT_OF; a++) {
        for (int kind = POINTS_INTEGERS; kind <= POINTS_MIXED; kind++) {
            random_group(&group, kind);
            enum merge_mode mode = kind == POINTS_INTEGERS  ? MERGE_INTEGERS
                                   : kind == POINTS_DOUBLES ? MERGE_DOUBLES
                                                            : MERGE_MIXED;
            merge(&group, (enum aggregator)a, mode, LINE * 8, whole, whole_mask);
            merge(&group, (enum aggregator)a, mode, MERGE_SLICE_UNIT, cut, cut_mask);
            assert_memory_equal(whole, cut, group.line_count * sizeof(whole[0]));
            assert_memory_equal(whole_mask, cut_mask, (group.line_count + 63) / 64 * 8);
        }
    }
}

static void mixing_makes_no_difference_where_all_are_integers(void **state) {
    static struct group group;
    static uint64_t pure[SERIES * POINTS], mixed[SERIES * POINTS];
    static uint64_t mask[SERIES * POINTS / 64 + 1];
    for (int a = 0; a < AGGREGATOR_COUNT_OF; a++) {
        random_group(&group, POINTS_INTEGERS);
        merge(&group, (enum aggregator)a, MERGE_INTEGERS, LINE, pure, mask);
        merge(&group, (enum aggregator)a, MERGE_MIXED, LINE, mixed, mask);
        assert_memory_equal(pure, mixed, group.line_count * sizeof(pure[0]));
    }
}

static void a_timestamp_without_contributions_is_nan(void **state) {
    static const int64_t times[] = {10, 20, 30};
    static const int64_t column_times[] = {20};
    const uint64_t column_bits[] = {points_bits_of(5)};
    struct merge_column column = {
        .time_ms = column_times, .bits = column_bits, .count = 1, .kind = POINTS_DOUBLES};
    for (int a = 0; a < AGGREGATOR_COUNT_OF; a++) {
        struct merge_slice slice;
        merge_slice_init(&slice, NULL);
        uint64_t bits[3];
        assert_true(
            merge_slice_begin(&slice, (enum aggregator)a, false, MERGE_DOUBLES, times, 3, 1));
        merge_slice_add(&slice, &column);
        merge_slice_end(&slice, bits, NULL);
        merge_slice_fini(&slice);
        if (a == AGGREGATOR_COUNT)
            continue;
        assert_true(isnan(points_double_of(bits[0])));
        assert_false(isnan(points_double_of(bits[1])));
        assert_true(isnan(points_double_of(bits[2])));
    }
}

/* ---- one series ---- */

enum { ALONE = 100 };

static uint64_t random_bits(enum points_kind kind) {
    static const double special[] = {0.0, -0.0, NAN, INFINITY, -INFINITY, 1e300, -5.5};
    if (kind == POINTS_INTEGERS)
        return below(4) == 0 ? (uint64_t)INT64_MIN : (uint64_t)below(1 << 30) << below(34);
    return points_bits_of(below(2) == 0 ? special[below(7)] : (double)below(1000) / 7);
}

static void assert_like_a_slice(enum aggregator aggregator, enum points_kind kind) {
    int64_t times[ALONE];
    uint64_t bits[ALONE], alone[ALONE], sliced[ALONE], mask[2];
    for (int i = 0; i < ALONE; i++) {
        times[i] = 10 * i;
        bits[i] = random_bits(kind);
    }
    if (!merge_alone(aggregator, kind, bits, ALONE, alone))
        return;
    struct merge_column column = {.time_ms = times, .bits = bits, .count = ALONE, .kind = kind};
    bool doubles = kind == POINTS_DOUBLES;
    struct merge_slice slice;
    merge_slice_init(&slice, NULL);
    assert_true(merge_slice_begin(&slice, aggregator, false,
                                  doubles ? MERGE_DOUBLES : MERGE_INTEGERS, times, ALONE, 1));
    merge_slice_add(&slice, &column);
    merge_slice_end(&slice, sliced, doubles ? NULL : mask);
    merge_slice_fini(&slice);
    for (int i = 0; i < ALONE; i++) {
        bool both_nan =
            doubles && isnan(points_double_of(alone[i])) && isnan(points_double_of(sliced[i]));
        assert_true(both_nan || alone[i] == sliced[i]);
    }
}

static void a_series_alone_gives_what_a_slice_of_it_gives(void **state) {
    for (int aggregator = 0; aggregator < AGGREGATOR_COUNT_OF; aggregator++) {
        assert_like_a_slice((enum aggregator)aggregator, POINTS_DOUBLES);
        assert_like_a_slice((enum aggregator)aggregator, POINTS_INTEGERS);
    }
    uint64_t bits = 0, out;
    assert_true(merge_alone(AGGREGATOR_AVG, POINTS_DOUBLES, &bits, 1, &out));
    assert_false(merge_alone(AGGREGATOR_AVG, POINTS_MIXED, &bits, 1, &out));
    assert_false(merge_alone(AGGREGATOR_COUNT, POINTS_INTEGERS, &bits, 1, &out));
    assert_false(merge_alone(AGGREGATOR_P99, POINTS_DOUBLES, &bits, 1, &out));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_timeline_is_the_sorted_union_of_what_was_added),
        cmocka_unit_test(aligned_series_cost_the_timeline_nothing),
        cmocka_unit_test(a_timeline_over_budget_says_so),
        cmocka_unit_test(the_result_does_not_depend_on_the_cut),
        cmocka_unit_test(mixing_makes_no_difference_where_all_are_integers),
        cmocka_unit_test(a_timestamp_without_contributions_is_nan),
        cmocka_unit_test(a_series_alone_gives_what_a_slice_of_it_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
