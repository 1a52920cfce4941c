/*
 * Random sources of one series (segments, head vectors, a tail) and the naive answer: an array of
 * time slots over which all writes are played in order.
 */
#pragma once

#include "store_double.h"

#include <string.h>

enum { MODEL_SLOTS = 20000, MODEL_STEP_MS = 10, MODEL_SERIES = 7 };
#define MODEL_FROM_MS INT64_C(1000000)

struct model {
    uint64_t random;
    bool present[MODEL_SLOTS];
    struct value values[MODEL_SLOTS];
    uint64_t written; /* makes every value distinct */
    /* what the double's head view points at */
    struct head_vector *vectors[64];
    int64_t tail_time_ms[LIMIT_TAIL_POINTS];
    uint64_t tail_bits[LIMIT_TAIL_POINTS];
    struct tombstone tombstones[4];
};

static uint64_t model_random(struct model *model, uint64_t below) {
    model->random ^= model->random << 13;
    model->random ^= model->random >> 7;
    model->random ^= model->random << 17;
    return model->random % below;
}

static int64_t model_time(uint32_t slot) {
    return MODEL_FROM_MS + (int64_t)slot * MODEL_STEP_MS;
}

/* A value unlike all before. `sort`: 0 integers, 1 doubles, 2 both. */
static struct value model_value(struct model *model, unsigned sort) {
    uint64_t n = ++model->written;
    bool is_float = sort == 1 || (sort == 2 && n % 3 == 0);
    return (struct value){is_float ? points_bits_of((double)n / 8) : n, is_float};
}

static int64_t model_time_room[LIMIT_VECTOR_POINTS];
static uint64_t model_bits_room[LIMIT_VECTOR_POINTS];
static uint64_t model_mask_room[LIMIT_VECTOR_POINTS / 64];

static void model_write(struct model *model, uint32_t slot, struct value value) {
    model->present[slot] = true;
    model->values[slot] = value;
}

static bool model_hidden(const struct store *store, uint64_t sequence, uint32_t slot) {
    for (uint32_t i = 0; i < store->tombstone_count; i++) {
        const struct tombstone *tombstone = &store->tombstones[i];
        if (sequence <= tombstone->sequence && model_time(slot) >= tombstone->from_ms &&
            model_time(slot) <= tombstone->to_ms)
            return true;
    }
    return false;
}

/* Makes the points of a vector: up to `count` of them from *slot on, gaps up to `gap`; moves *slot
   behind them. `sequence` 0: not of a segment. */
static struct points model_points(struct model *model, const struct store *store, uint32_t *slot,
                                  uint32_t count, uint32_t gap, uint64_t sequence) {
    struct points points = {
        .time_ms = model_time_room, .bits = model_bits_room, .float_mask = model_mask_room};
    unsigned sort = (unsigned)model_random(model, 3);
    memset(model_mask_room, 0, sizeof(model_mask_room));
    unsigned kinds = 0;
    while (points.count < count && *slot < MODEL_SLOTS) {
        struct value value = model_value(model, sort);
        uint32_t i = points.count++;
        points.time_ms[i] = model_time(*slot);
        points.bits[i] = value.bits;
        if (value.is_float)
            points.float_mask[i / 64] |= UINT64_C(1) << (i % 64);
        kinds |= value.is_float ? 2 : 1;
        if (sequence == 0 || !model_hidden(store, sequence, *slot))
            model_write(model, *slot, value);
        *slot += 1 + (gap == 0 ? 0 : (uint32_t)model_random(model, gap));
    }
    points.kind = kinds == 1 ? POINTS_INTEGERS : kinds == 2 ? POINTS_DOUBLES : POINTS_MIXED;
    return points;
}

static void model_add_segment(struct model *model, struct store *store, uint64_t sequence) {
    struct segment_info info = {.shard = DOUBLE_SHARD, .sequence = sequence, .window_to_ms = 1};
    info.tight = model_random(model, 2) == 0;
    store_segment_name(store, DOUBLE_SHARD, info.name, sizeof(info.name));
    struct segment_writer *writer;
    CHECK(segment_writer_new(store->medium, &info, &writer, NULL) == RC_OK);
    static uint8_t payload[1 << 16];
    uint32_t vectors = 1 + (uint32_t)model_random(model, 20);
    uint32_t slot = (uint32_t)model_random(model, MODEL_SLOTS);
    uint32_t gap = model_random(model, 3) == 0 ? 100 : 3;
    uint32_t count_max = model_random(model, 2) == 0 ? 20 : LIMIT_VECTOR_POINTS;
    while (vectors-- > 0 && slot < MODEL_SLOTS) {
        uint32_t count = 1 + (uint32_t)model_random(model, count_max);
        struct points points = model_points(model, store, &slot, count, gap, sequence);
        struct vector_summary summary;
        vector_encode(&points, VECTOR_FAST, &summary, payload);
        CHECK(segment_writer_add(writer, MODEL_SERIES, &summary, payload, NULL) == RC_OK);
    }
    CHECK(segment_writer_commit(writer, &info, NULL) == RC_OK);
    struct segment *segment;
    CHECK(segment_open(store->medium, info.name, &segment, NULL) == RC_OK);
    segment_use_memory(segment, &store->budget, store->epochs);
    double_add(store, segment);
}
