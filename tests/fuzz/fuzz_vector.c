/*
 * Decodes arbitrary bytes: a summary, then a payload. What decodes is encoded again, and must come
 * back to the bit.
 */
#include "base/check.h"
#include "codec/vector.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct room {
    int64_t time_ms[LIMIT_VECTOR_POINTS];
    uint64_t bits[LIMIT_VECTOR_POINTS];
    uint64_t float_mask[LIMIT_VECTOR_POINTS / 64];
};

static struct room first, second;
static double doubles[LIMIT_VECTOR_POINTS];

static struct points points_in(struct room *room) {
    return (struct points){0, POINTS_MIXED, room->time_ms, room->bits, room->float_mask};
}

static void encode_again(const struct points *points, enum vector_effort effort) {
    size_t bound = vector_payload_bound(points->count);
    uint8_t *payload = malloc(bound);
    CHECK(payload != NULL);
    struct vector_summary summary;
    vector_encode(points, effort, &summary, payload);
    struct points back = points_in(&second);
    CHECK(vector_decode(&summary, payload, &back) == RC_OK);
    CHECK(back.count == points->count && back.kind == points->kind);
    CHECK(memcmp(back.time_ms, points->time_ms, points->count * sizeof(*back.time_ms)) == 0);
    CHECK(memcmp(back.bits, points->bits, points->count * sizeof(*back.bits)) == 0);
    free(payload);
}

/* Of all points but the first. */
static double exact_sum(const struct points *points) {
    __int128 sum = 0;
    for (uint32_t i = 1; i < points->count; i++)
        sum += (int64_t)points->bits[i];
    return (double)sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vector_summary summary;
    if (size < 6)
        return 0;
    /* The fields that steer decoding: count, kind, and a span of times that may be a step. */
    memset(&summary, 0, sizeof(summary));
    memcpy(&summary.count, data, 2);
    summary.count = (uint16_t)(summary.count % (LIMIT_VECTOR_POINTS + 2));
    summary.kind = data[2] % 4;
    summary.time_first_ms = data[3];
    summary.time_last_ms = data[3] + (int64_t)data[4] * (summary.count - 1) + (data[5] >> 6);
    data += 6;
    size -= 6;
    /* An allocation of exactly this size shows every read past it. */
    uint8_t *payload = malloc(size > 0 ? size : 1);
    CHECK(payload != NULL);
    memcpy(payload, data, size);
    summary.payload_bytes = (uint32_t)size;
    struct points points = points_in(&first);
    double sum;
    bool has_sum = summary.count > 1 && summary.count <= LIMIT_VECTOR_POINTS &&
                   vector_sum(&summary, payload, 1, summary.count, &sum) == RC_OK;
    if (vector_decode(&summary, payload, &points) == RC_OK) {
        CHECK(has_sum || summary.count == 1);
        CHECK(vector_decode_doubles(&summary, payload, doubles) == RC_OK);
        if (has_sum && points.kind == POINTS_INTEGERS)
            CHECK(sum == exact_sum(&points));
        encode_again(&points, VECTOR_FAST);
        encode_again(&points, VECTOR_TIGHT);
    }
    free(payload);
    return 0;
}
