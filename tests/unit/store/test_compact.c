#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/scan.h"

#include "scan_model.h"

static struct model model;

enum { WINDOW_MS = 50000 };

static void make_segments(struct store *store, uint64_t seed, uint32_t segments) {
    model = (struct model){.random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1};
    store->tombstones = model.tombstones;
    store->tombstone_series = MODEL_SERIES;
    store->tombstone_count = seed % 2 == 0 ? 2 : 0;
    for (uint32_t i = 0; i < store->tombstone_count; i++) {
        int64_t from_ms = model_time((uint32_t)model_random(&model, MODEL_SLOTS));
        model.tombstones[i] = (struct tombstone){from_ms, from_ms + 20000, segments / 2};
    }
    for (uint32_t i = 1; i <= segments; i++)
        model_add_segment(&model, store, i);
}

static enum rc compact_all(struct store *store, int64_t window_ms, struct compaction *compaction,
                           struct err *err) {
    return compact_segments(store, DOUBLE_SHARD, store->list->segments, store->list->count,
                            window_ms, compaction, err);
}

/* Puts the outputs in the place of the inputs, and the inputs' objects away. */
static void publish(struct store *store, const struct compaction *compaction) {
    for (uint32_t i = 0; i < store->list->count; i++) {
        segment_discard(store->list->segments[i]);
        segment_unref(store->list->segments[i]);
    }
    store->list->count = 0;
    for (uint32_t i = 0; i < compaction->output_count; i++)
        double_add(store, compaction->outputs[i]);
}

/* Scans the whole series and compares with the model; slots before the cutoff are gone. */
static uint64_t compare(struct store *store, int64_t cutoff_ms) {
    struct scan scan;
    assert_int_equal(scan_init(&scan, store, NULL), RC_OK);
    assert_int_equal(scan_open(&scan, &store->series[MODEL_SERIES], INT64_MIN, INT64_MAX), RC_OK);
    uint32_t slot = 0;
    while (slot < MODEL_SLOTS && model_time(slot) < cutoff_ms)
        slot++;
    int outcome;
    while ((outcome = scan_next(&scan)) > 0) {
        if (outcome == SCAN_VECTOR)
            assert_int_equal(scan_decode(&scan), RC_OK);
        for (uint32_t i = 0; i < scan.points.count; i++, slot++) {
            while (slot < MODEL_SLOTS && !model.present[slot])
                slot++;
            assert_true(slot < MODEL_SLOTS);
            assert_int_equal(scan.points.time_ms[i], model_time(slot));
            assert_int_equal(scan.points.bits[i], model.values[slot].bits);
            assert_int_equal(points_is_float(&scan.points, i), model.values[slot].is_float);
        }
    }
    assert_int_equal(outcome, SCAN_END);
    for (; slot < MODEL_SLOTS; slot++)
        assert_false(model.present[slot]);
    uint64_t seen = scan.points_seen;
    scan_fini(&scan);
    return seen;
}

/* Every output holds one window, and all vectors but the last of a window are full. */
static void check_shape(const struct compaction *compaction, uint64_t sequence) {
    for (uint32_t o = 0; o < compaction->output_count; o++) {
        const struct segment_info *info = segment_info(compaction->outputs[o]);
        assert_int_equal(info->sequence, sequence);
        assert_int_equal(info->window_from_ms % WINDOW_MS, 0);
        assert_int_equal(info->window_to_ms, info->window_from_ms + WINDOW_MS);
        assert_true(info->time_first_ms >= info->window_from_ms);
        assert_true(info->time_last_ms < info->window_to_ms);
        assert_true(info->tight);
        const struct vector_summary *summaries;
        uint32_t first, count;
        assert_int_equal(
            segment_vectors(compaction->outputs[o], MODEL_SERIES, &summaries, &first, &count),
            RC_OK);
        for (uint32_t v = 0; v + 1 < count; v++)
            assert_int_equal(summaries[v].count, LIMIT_VECTOR_POINTS);
    }
}

static void compaction_keeps_exactly_what_a_scan_shows(void **state) {
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct store *store = double_open();
        uint32_t segments = 1 + (uint32_t)(seed % 9);
        make_segments(store, seed, segments);
        if (seed % 5 == 0)
            store->cutoff_ms = model_time(5000);
        int64_t cutoff_ms = store->cutoff_ms;
        struct compaction compaction;
        assert_int_equal(compact_all(store, WINDOW_MS, &compaction, NULL), RC_OK);
        check_shape(&compaction, segments);
        publish(store, &compaction);
        /* what was hidden is gone, not hidden */
        store->cutoff_ms = INT64_MIN;
        store->tombstone_count = 0;
        assert_int_equal(compare(store, cutoff_ms), compaction.points_out);
        /* once more, into longer windows, from tight inputs */
        struct compaction again;
        if (store->list->count > 0) {
            assert_int_equal(compact_all(store, 7 * WINDOW_MS, &again, NULL), RC_OK);
            assert_int_equal(again.points_out, compaction.points_out);
            assert_int_equal(again.points_in, compaction.points_out);
            publish(store, &again);
            assert_int_equal(compare(store, cutoff_ms), compaction.points_out);
        }
        double_close(store);
    }
}

static void removed_and_unknown_series_are_dropped(void **state) {
    for (int how = 0; how < 2; how++) {
        struct store *store = double_open();
        make_segments(store, 3, 4);
        if (how == 0)
            store->series[MODEL_SERIES].removed = true;
        else
            store->series[MODEL_SERIES].id = 0;
        struct compaction compaction;
        assert_int_equal(compact_all(store, WINDOW_MS, &compaction, NULL), RC_OK);
        assert_int_equal(compaction.output_count, 0);
        assert_int_equal(compaction.points_out, 0);
        double_close(store);
    }
}

static enum rc count_object(void *context, const char *name, uint64_t size) {
    ++*(uint32_t *)context;
    return RC_OK;
}

static uint32_t object_count(struct store *store) {
    uint32_t count = 0;
    assert_int_equal(medium_list(store->medium, MEDIUM_OBJECTS, count_object, &count, NULL), RC_OK);
    return count;
}

static void a_damaged_input_is_kept_and_nothing_is_written(void **state) {
    for (uint64_t bit = 64; bit < 64 + 8 * 2000; bit += 97) {
        struct store *store = double_open();
        make_segments(store, 5, 2);
        const char *name = segment_info(store->list->segments[1])->name;
        uint64_t bytes = segment_info(store->list->segments[1])->bytes;
        assert_int_equal(
            memory_medium_flip_bit(store->medium, MEDIUM_OBJECTS, name, bit % (bytes * 8)), RC_OK);
        bool damaged = segment_scrub(store->list->segments[1]) > 0;
        struct compaction compaction;
        struct err err;
        assert_int_equal(compact_all(store, WINDOW_MS, &compaction, &err),
                         damaged ? RC_CORRUPT : RC_OK);
        if (damaged) {
            assert_string_equal(err.message,
                                "segments of shard 3 are not merged: a block fails its checksum");
            assert_int_equal(compaction.output_count, 0);
            assert_int_equal(object_count(store), 2);
        } else {
            publish(store, &compaction);
        }
        double_close(store);
    }
}

static void a_failing_medium_leaves_the_inputs_and_no_outputs(void **state) {
    for (uint64_t operation = 1;; operation += 3) {
        struct store *store = double_open();
        make_segments(store, 5, 3);
        struct memory_medium_faults faults = {.seed = 1, .crash_at_operation = operation};
        memory_medium_set_faults(store->medium, &faults);
        struct compaction compaction;
        struct err err;
        enum rc rc = compact_all(store, WINDOW_MS, &compaction, &err);
        faults.crash_at_operation = 0;
        memory_medium_set_faults(store->medium, &faults);
        if (rc == RC_OK) {
            publish(store, &compaction);
            double_close(store);
            assert_true(operation > 10);
            return;
        }
        assert_int_equal(rc, RC_IO);
        assert_int_equal(err.rc, RC_IO);
        assert_int_equal(compaction.output_count, 0);
        compare(store, INT64_MIN);
        double_close(store);
    }
}

/* ---- what to compact ---- */

enum { DAY = 100 };

/* A segment of the window [from, to) of about `kilobytes`. */
static void add_window(struct store *store, uint64_t sequence, int64_t from_ms, int64_t to_ms,
                       uint32_t kilobytes, bool tight) {
    struct segment_info info = {.shard = DOUBLE_SHARD,
                                .sequence = sequence,
                                .window_from_ms = from_ms,
                                .window_to_ms = to_ms,
                                .tight = tight};
    store_segment_name(store, DOUBLE_SHARD, info.name, sizeof(info.name));
    struct segment_writer *writer;
    assert_int_equal(segment_writer_new(store->medium, &info, &writer, NULL), RC_OK);
    static uint8_t payload[1024];
    struct vector_summary summary = {.time_first_ms = from_ms,
                                     .time_last_ms = to_ms - 1,
                                     .count = 2,
                                     .payload_bytes = sizeof(payload)};
    for (uint32_t i = 0; i < kilobytes; i++)
        assert_int_equal(segment_writer_add(writer, i + 1, &summary, payload, NULL), RC_OK);
    assert_int_equal(segment_writer_commit(writer, &info, NULL), RC_OK);
    struct segment *segment;
    assert_int_equal(segment_open(store->medium, info.name, &segment, NULL), RC_OK);
    double_add(store, segment);
}

/* The sequences chosen, as text, and the window: "2 3 4 > 100". */
static const char *chosen(struct store *store, int64_t now_ms) {
    static char text[200];
    struct segment *inputs[16];
    int64_t window_ms;
    uint32_t n = compact_choose(store->list, now_ms, DAY, inputs, 16, &window_ms);
    size_t at = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%d ",
                               (int)segment_info(inputs[i])->sequence);
    if (n > 0)
        snprintf(text + at, sizeof(text) - at, "> %d", (int)window_ms);
    return text;
}

static void small_segments_of_the_window_at_hand_wait_until_there_are_four(void **state) {
    struct store *store = double_open();
    for (uint64_t sequence = 1; sequence <= 3; sequence++)
        add_window(store, sequence, 0, DAY, 10, false);
    assert_string_equal(chosen(store, 50), "");
    add_window(store, 4, 0, DAY, 10, false);
    assert_string_equal(chosen(store, 50), "1 2 3 4 > 100");
    double_close(store);
}

static void a_large_segment_is_not_rewritten_for_small_ones(void **state) {
    struct store *store = double_open();
    add_window(store, 1, 0, DAY, 1000, false);
    for (uint64_t sequence = 2; sequence <= 5; sequence++)
        add_window(store, sequence, 0, DAY, 10, false);
    assert_string_equal(chosen(store, 50), "2 3 4 5 > 100");
    double_close(store);
}

static void a_closed_window_becomes_one_segment(void **state) {
    struct store *store = double_open();
    add_window(store, 1, 0, DAY, 10, false);
    add_window(store, 2, 0, DAY, 10, false);
    add_window(store, 3, DAY, 2 * DAY, 10, false);
    assert_string_equal(chosen(store, DAY), "1 2 > 100");
    double_close(store);
}

static void cold_windows_become_a_longer_one(void **state) {
    struct store *store = double_open();
    for (int64_t day = 0; day < 9; day++)
        add_window(store, (uint64_t)day + 1, day * DAY, (day + 1) * DAY, 10, false);
    assert_string_equal(chosen(store, 9 * DAY - 1), "1 > 100"); /* cold, re-encoded alone */
    assert_string_equal(chosen(store, 9 * DAY), "1 2 3 4 5 6 7 > 700");
    double_close(store);
}

static void late_points_do_not_rewrite_a_cold_week_each_time(void **state) {
    struct store *store = double_open();
    add_window(store, 1, 0, 7 * DAY, 1000, true);
    add_window(store, 2, 3 * DAY, 4 * DAY, 10, true);
    assert_string_equal(chosen(store, 20 * DAY), "");
    add_window(store, 3, 5 * DAY, 6 * DAY, 10, true);
    assert_string_equal(chosen(store, 20 * DAY), "2 3 > 700");
    add_window(store, 4, 5 * DAY, 6 * DAY, 500, true);
    assert_string_equal(chosen(store, 20 * DAY), "1 2 3 4 > 700");
    double_close(store);
}

static void a_segment_between_in_sequence_and_overlapping_forbids_a_merge(void **state) {
    struct store *store = double_open();
    add_window(store, 1, 0, DAY, 10, false);
    add_window(store, 2, 0, 2 * DAY, 10, false); /* of an odd window, newer than 1, older than 3 */
    add_window(store, 3, 0, DAY, 10, false);
    assert_string_equal(chosen(store, DAY), "");
    double_close(store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compaction_keeps_exactly_what_a_scan_shows),
        cmocka_unit_test(removed_and_unknown_series_are_dropped),
        cmocka_unit_test(a_damaged_input_is_kept_and_nothing_is_written),
        cmocka_unit_test(a_failing_medium_leaves_the_inputs_and_no_outputs),
        cmocka_unit_test(small_segments_of_the_window_at_hand_wait_until_there_are_four),
        cmocka_unit_test(a_large_segment_is_not_rewritten_for_small_ones),
        cmocka_unit_test(a_closed_window_becomes_one_segment),
        cmocka_unit_test(cold_windows_become_a_longer_one),
        cmocka_unit_test(late_points_do_not_rewrite_a_cold_week_each_time),
        cmocka_unit_test(a_segment_between_in_sequence_and_overlapping_forbids_a_merge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
