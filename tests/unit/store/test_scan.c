#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/scan.h"
#include "store/scan_state.h"

#include "scan_model.h"

static struct model model;

/* Scans that had nothing to merge, and others. */
static uint32_t lined_up, merged;

static void add_head_vector(struct store *store) {
    struct head_view *view = &store->views[MODEL_SERIES];
    uint32_t slot = (uint32_t)model_random(&model, MODEL_SLOTS);
    uint32_t count = 1 + (uint32_t)model_random(&model, 200);
    struct points points = model_points(&model, store, &slot, count, 30, 0);
    struct head_vector *vector = malloc(sizeof(*vector) + vector_payload_bound(points.count));
    CHECK(vector != NULL);
    vector_encode(&points, VECTOR_FAST, &vector->summary, vector->payload);
    model.vectors[view->vector_count++] = vector;
    view->vectors = model.vectors;
}

static void add_tail(struct store *store) {
    struct head_view *view = &store->views[MODEL_SERIES];
    bool ordered = model_random(&model, 2) == 0;
    uint32_t slot = (uint32_t)model_random(&model, MODEL_SLOTS);
    unsigned sort = (unsigned)model_random(&model, 3);
    view->tail_count = (uint32_t)model_random(&model, LIMIT_TAIL_POINTS + 1);
    view->tail_time_ms = model.tail_time_ms;
    view->tail_bits = model.tail_bits;
    for (uint32_t i = 0; i < view->tail_count; i++) {
        if (!ordered)
            slot = (uint32_t)model_random(&model, 40) + (model_random(&model, 5) == 0 ? 9000 : 0);
        struct value value = model_value(&model, sort);
        model.tail_time_ms[i] = model_time(slot);
        model.tail_bits[i] = value.bits;
        view->tail_float_mask |= (uint64_t)value.is_float << i;
        model_write(&model, slot, value);
        slot += slot < MODEL_SLOTS - 50 ? 1 + (uint32_t)model_random(&model, 3) : 0;
    }
}

static void free_head(struct store *store) {
    for (uint32_t i = 0; i < store->views[MODEL_SERIES].vector_count; i++)
        free(model.vectors[i]);
}

/* Tombstones first: the model hides while it plays the writes. */
static void make_tombstones(struct store *store, uint32_t segments) {
    store->tombstones = model.tombstones;
    store->tombstone_series = MODEL_SERIES;
    store->tombstone_count = (uint32_t)model_random(&model, 4);
    for (uint32_t i = 0; i < store->tombstone_count; i++) {
        int64_t from_ms = model_time((uint32_t)model_random(&model, MODEL_SLOTS));
        int64_t length_ms = (int64_t)model_random(&model, 30000);
        model.tombstones[i] =
            (struct tombstone){from_ms, from_ms + length_ms, model_random(&model, segments + 2)};
    }
}

static void make_sources(struct store *store, uint64_t seed) {
    model = (struct model){.random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1};
    uint32_t segments = (uint32_t)model_random(&model, seed % 3 == 0 ? 3 : 12);
    if (seed % 2 == 0)
        make_tombstones(store, segments);
    for (uint32_t i = 1; i <= segments; i++)
        model_add_segment(&model, store, i);
    for (uint64_t n = model_random(&model, 8); n > 0; n--)
        add_head_vector(store);
    add_tail(store);
}

static void expect_points(const struct points *points, uint32_t *slot, int64_t to_ms) {
    assert_true(points->count > 0 && points->count <= LIMIT_VECTOR_POINTS);
    for (uint32_t i = 0; i < points->count; i++, (*slot)++) {
        while (*slot < MODEL_SLOTS && !model.present[*slot])
            (*slot)++;
        assert_true(*slot < MODEL_SLOTS);
        assert_int_equal(points->time_ms[i], model_time(*slot));
        assert_true(points->time_ms[i] <= to_ms);
        assert_int_equal(points->bits[i], model.values[*slot].bits);
        assert_int_equal(points_is_float(points, i), model.values[*slot].is_float);
    }
}

static void scan_and_compare(struct scan *scan, struct store *store, int64_t from_ms,
                             int64_t to_ms) {
    struct series *series = &store->series[MODEL_SERIES];
    uint64_t before = scan->points_seen, seen = 0;
    uint32_t slot = 0;
    while (slot < MODEL_SLOTS &&
           (model_time(slot) < from_ms || model_time(slot) < store->cutoff_ms))
        slot++;
    assert_int_equal(scan_open(scan, series, from_ms, to_ms), RC_OK);
    *(scan->state->line.active ? &lined_up : &merged) += 1;
    int outcome;
    while ((outcome = scan_next(scan)) > 0) {
        if (outcome == SCAN_VECTOR) {
            const uint8_t *payload;
            assert_int_equal(scan_payload(scan, &payload), RC_OK);
            assert_int_equal(scan_decode(scan), RC_OK);
            assert_int_equal(scan->points.count, scan->summary->count);
        }
        expect_points(&scan->points, &slot, to_ms);
        seen += scan->points.count;
    }
    assert_int_equal(outcome, SCAN_END);
    for (; slot < MODEL_SLOTS && model_time(slot) <= to_ms; slot++)
        assert_false(model.present[slot]);
    assert_int_equal(scan->points_seen - before, seen);
    scan_close(scan);
}

static void last_and_compare(struct scan *scan, struct store *store, int64_t from_ms,
                             int64_t to_ms) {
    int64_t time_ms;
    struct value value;
    int found = scan_last(scan, &store->series[MODEL_SERIES], from_ms, to_ms, &time_ms, &value);
    for (uint32_t slot = MODEL_SLOTS; slot-- > 0;) {
        if (!model.present[slot] || model_time(slot) > to_ms)
            continue;
        if (model_time(slot) < from_ms || model_time(slot) < store->cutoff_ms)
            break;
        assert_int_equal(found, 1);
        assert_int_equal(time_ms, model_time(slot));
        assert_int_equal(value.bits, model.values[slot].bits);
        assert_int_equal(value.is_float, model.values[slot].is_float);
        return;
    }
    assert_int_equal(found, 0);
}

static void a_scan_gives_what_the_model_gives(void **state) {
    for (uint64_t seed = 1; seed <= 150; seed++) {
        struct store *store = double_open();
        make_sources(store, seed);
        struct budget budget;
        budget_init(&budget, 0, NULL);
        struct scan scan;
        assert_int_equal(scan_init(&scan, store, &budget), RC_OK);
        scan_and_compare(&scan, store, INT64_MIN, INT64_MAX);
        last_and_compare(&scan, store, INT64_MIN, INT64_MAX);
        for (int i = 0; i < 10; i++) {
            int64_t from_ms =
                MODEL_FROM_MS + (int64_t)model_random(&model, MODEL_SLOTS * MODEL_STEP_MS);
            int64_t to_ms = from_ms + (int64_t)model_random(&model, i < 5 ? 200 : 100000);
            store->cutoff_ms = i % 3 == 0 ? from_ms + 500 : INT64_MIN;
            scan_and_compare(&scan, store, from_ms, to_ms);
            last_and_compare(&scan, store, from_ms, to_ms);
            last_and_compare(&scan, store, INT64_MIN, to_ms);
        }
        assert_int_equal(scan.damaged, 0);
        scan_fini(&scan);
        assert_int_equal(budget_used(&budget), 0);
        free_head(store);
        double_close(store);
    }
}

static void step_back(uint32_t *slot) {
    uint32_t by = 1 + (uint32_t)model_random(&model, 60);
    if (model_random(&model, 8) == 0)
        *slot -= by < *slot ? by : *slot;
}

static void add_line_segment(struct store *store, uint64_t sequence, uint32_t *slot) {
    struct segment_info info = {.shard = DOUBLE_SHARD, .sequence = sequence, .window_to_ms = 1};
    store_segment_name(store, DOUBLE_SHARD, info.name, sizeof(info.name));
    struct segment_writer *writer;
    struct segment *segment;
    static uint8_t payload[1 << 16];
    assert_int_equal(segment_writer_new(store->medium, &info, &writer, NULL), RC_OK);
    step_back(slot);
    for (uint64_t vectors = 1 + model_random(&model, 4); vectors > 0; vectors--) {
        uint32_t count = 1 + (uint32_t)model_random(&model, 100);
        struct points points = model_points(&model, store, slot, count, 4, sequence);
        struct vector_summary summary;
        vector_encode(&points, VECTOR_FAST, &summary, payload);
        assert_int_equal(segment_writer_add(writer, MODEL_SERIES, &summary, payload, NULL), RC_OK);
    }
    assert_int_equal(segment_writer_commit(writer, &info, NULL), RC_OK);
    assert_int_equal(segment_open(store->medium, info.name, &segment, NULL), RC_OK);
    segment_use_memory(segment, &store->budget, store->epochs);
    double_add(store, segment);
}

static void add_line_vector(struct store *store, uint32_t *slot) {
    struct head_view *view = &store->views[MODEL_SERIES];
    uint32_t count = 1 + (uint32_t)model_random(&model, 60);
    struct points points = model_points(&model, store, slot, count, 3, 0);
    struct head_vector *vector = malloc(sizeof(*vector) + vector_payload_bound(points.count));
    CHECK(vector != NULL);
    vector_encode(&points, VECTOR_FAST, &vector->summary, vector->payload);
    model.vectors[view->vector_count++] = vector;
    view->vectors = model.vectors;
}

/* Sources that mostly follow each other, and now and then do not: by a late vector, a tail out of
   order, a second segment, a point written again, a deleted range. */
static void make_line(struct store *store, uint64_t seed) {
    model = (struct model){.random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1};
    struct head_view *view = &store->views[MODEL_SERIES];
    uint32_t slot = (uint32_t)model_random(&model, 100);
    if (model_random(&model, 16) == 0)
        make_tombstones(store, 1);
    for (uint32_t i = 1; i <= 2 && model_random(&model, 8 * i) < 4; i++)
        add_line_segment(store, i, &slot);
    for (uint64_t n = model_random(&model, 6); n > 0; n--) {
        uint32_t late = (uint32_t)model_random(&model, slot + 1);
        step_back(&slot);
        if (model_random(&model, 8) == 0)
            add_line_vector(store, &late);
        add_line_vector(store, &slot);
    }
    step_back(&slot);
    view->tail_count = (uint32_t)model_random(&model, LIMIT_TAIL_POINTS + 1);
    view->tail_time_ms = model.tail_time_ms;
    view->tail_bits = model.tail_bits;
    unsigned sort = (unsigned)model_random(&model, 3);
    for (uint32_t i = 0; i < view->tail_count; i++) {
        if (i > 0 && model_random(&model, 300) == 0)
            slot -= 1 + (uint32_t)model_random(&model, 3);
        struct value value = model_value(&model, sort);
        model.tail_time_ms[i] = model_time(slot);
        model.tail_bits[i] = value.bits;
        view->tail_float_mask |= (uint64_t)value.is_float << i;
        model_write(&model, slot, value);
        slot += 1 + (uint32_t)model_random(&model, 3);
    }
}

/* Ranges that begin and end where a vector of the head does, or anywhere, or a millisecond beside.
 */
static int64_t border(const struct store *store) {
    uint32_t vectors = store->views[MODEL_SERIES].vector_count;
    int64_t time_ms = model_time((uint32_t)model_random(&model, 1000));
    if (vectors > 0 && model_random(&model, 2) == 0) {
        const struct vector_summary *summary =
            &model.vectors[model_random(&model, vectors)]->summary;
        time_ms = model_random(&model, 2) == 0 ? summary->time_first_ms : summary->time_last_ms;
    }
    return time_ms + (int64_t)model_random(&model, 3) - 1;
}

static void a_line_gives_what_the_model_gives(void **state) {
    lined_up = merged = 0;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        struct store *store = double_open();
        make_line(store, seed);
        struct scan scan;
        assert_int_equal(scan_init(&scan, store, NULL), RC_OK);
        scan_and_compare(&scan, store, INT64_MIN, INT64_MAX);
        for (int i = 0; i < 30; i++) {
            int64_t from_ms = border(store), to_ms = border(store);
            store->cutoff_ms = i % 5 == 0 ? border(store) : INT64_MIN;
            if (i % 3 == 0)
                from_ms = 0;
            if (i % 3 == 1)
                to_ms = INT64_MAX;
            if (from_ms <= to_ms)
                scan_and_compare(&scan, store, from_ms, to_ms);
        }
        assert_int_equal(scan.damaged, 0);
        scan_fini(&scan);
        free_head(store);
        double_close(store);
    }
    assert_true(lined_up > 1000 && merged > 1000);
}

/* One vector of `count` points, a second apart, into the writer. */
static void add_seconds(struct segment_writer *writer, uint32_t series_id, int64_t from_ms,
                        uint32_t count) {
    struct points points = {.count = count,
                            .kind = POINTS_INTEGERS,
                            .time_ms = model_time_room,
                            .bits = model_bits_room};
    for (uint32_t i = 0; i < count; i++) {
        points.time_ms[i] = from_ms + i * 1000;
        points.bits[i] = i;
    }
    static uint8_t payload[1 << 16];
    struct vector_summary summary;
    vector_encode(&points, VECTOR_FAST, &summary, payload);
    assert_int_equal(segment_writer_add(writer, series_id, &summary, payload, NULL), RC_OK);
}

static struct segment_writer *begin_segment(struct store *store, uint64_t sequence,
                                            struct segment_info *info) {
    *info = (struct segment_info){.shard = DOUBLE_SHARD, .sequence = sequence};
    store_segment_name(store, DOUBLE_SHARD, info->name, sizeof(info->name));
    struct segment_writer *writer;
    assert_int_equal(segment_writer_new(store->medium, info, &writer, NULL), RC_OK);
    return writer;
}

static void end_segment(struct store *store, struct segment_writer *writer,
                        struct segment_info *info) {
    struct segment *segment;
    assert_int_equal(segment_writer_commit(writer, info, NULL), RC_OK);
    assert_int_equal(segment_open(store->medium, info->name, &segment, NULL), RC_OK);
    double_add(store, segment);
}

static void a_sparse_late_vector_does_not_force_decoding_what_it_spans(void **state) {
    struct store *store = double_open();
    struct segment_info info;
    struct segment_writer *writer = begin_segment(store, 1, &info);
    for (int64_t v = 0; v < 10; v++)
        add_seconds(writer, 1, 1000000 * (v + 1), 500);
    end_segment(store, writer, &info);
    writer = begin_segment(store, 2, &info);
    struct points points = {.count = 2,
                            .kind = POINTS_INTEGERS,
                            .time_ms = (int64_t[]){1500, 10000500},
                            .bits = (uint64_t[]){1, 2}};
    uint8_t payload[256];
    struct vector_summary summary;
    vector_encode(&points, VECTOR_FAST, &summary, payload);
    assert_int_equal(segment_writer_add(writer, 1, &summary, payload, NULL), RC_OK);
    end_segment(store, writer, &info);
    struct scan scan;
    assert_int_equal(scan_init(&scan, store, NULL), RC_OK);
    assert_int_equal(scan_open(&scan, &store->series[1], 0, INT64_MAX), RC_OK);
    assert_int_equal(scan_next(&scan), SCAN_POINTS);
    assert_int_equal(scan.points.count, 1);
    for (int v = 0; v < 9; v++)
        assert_int_equal(scan_next(&scan), SCAN_VECTOR);
    assert_int_equal(scan_next(&scan), SCAN_POINTS);
    assert_int_equal(scan.points.count, 501);
    assert_int_equal(scan_next(&scan), SCAN_END);
    assert_int_equal(scan.points_seen, 5002);
    scan_close(&scan);
    scan_fini(&scan);
    double_close(store);
}

static void a_damaged_payload_is_left_out_counted_and_reported_once(void **state) {
    struct store *store = double_open();
    struct segment_info info;
    struct segment_writer *writer = begin_segment(store, 1, &info);
    for (uint32_t id = 1; id < 30; id++)
        add_seconds(writer, id, 1000000, 100);
    end_segment(store, writer, &info);
    assert_int_equal(memory_medium_flip_bit(store->medium, MEDIUM_OBJECTS, info.name, 100), RC_OK);
    struct scan scan;
    assert_int_equal(scan_init(&scan, store, NULL), RC_OK);
    for (uint32_t id = 1; id < 4; id++) {
        /* whole: the summary is good, the payload is not */
        assert_int_equal(scan_open(&scan, &store->series[id], 0, INT64_MAX), RC_OK);
        assert_int_equal(scan_next(&scan), SCAN_VECTOR);
        assert_int_equal(scan_decode(&scan), RC_CORRUPT);
        assert_int_equal(scan_next(&scan), SCAN_END);
        scan_close(&scan);
        /* cut: it must be decoded, and is left out */
        assert_int_equal(scan_open(&scan, &store->series[id], 1005000, INT64_MAX), RC_OK);
        assert_int_equal(scan_next(&scan), SCAN_END);
        scan_close(&scan);
        assert_int_equal(scan.damaged, 2 * id);
    }
    assert_int_equal(store->damage_reports, 1);
    scan_fini(&scan);
    double_close(store);
}

static void a_scan_over_its_budget_says_so(void **state) {
    struct store *store = double_open();
    struct segment_info info;
    for (uint64_t sequence = 1; sequence <= 40; sequence++) {
        struct segment_writer *writer = begin_segment(store, sequence, &info);
        add_seconds(writer, 1, 1000000 + (int64_t)sequence, 1000);
        end_segment(store, writer, &info);
    }
    struct budget budget;
    budget_init(&budget, 300000, NULL);
    struct scan scan;
    assert_int_equal(scan_init(&scan, store, &budget), RC_OK);
    assert_int_equal(scan_open(&scan, &store->series[1], 0, INT64_MAX), RC_OK);
    assert_int_equal(scan_next(&scan), RC_THROTTLE);
    scan_close(&scan);
    budget.limit_bytes = 3000000;
    assert_int_equal(scan_open(&scan, &store->series[1], 0, INT64_MAX), RC_OK);
    while (scan_next(&scan) > 0)
        ;
    assert_int_equal(scan.points_seen, 40000);
    scan_close(&scan);
    scan_fini(&scan);
    assert_int_equal(budget_used(&budget), 0);
    double_close(store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scan_gives_what_the_model_gives),
        cmocka_unit_test(a_line_gives_what_the_model_gives),
        cmocka_unit_test(a_sparse_late_vector_does_not_force_decoding_what_it_spans),
        cmocka_unit_test(a_damaged_payload_is_left_out_counted_and_reported_once),
        cmocka_unit_test(a_scan_over_its_budget_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
