#include "store/batch.h"

#include "base/check.h"

#include <string.h>

/* Any bytes are either corrupt, or a batch that survives being encoded again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t series_id[2][LIMIT_BATCH_POINTS];
static int64_t time_ms[2][LIMIT_BATCH_POINTS];
static uint64_t bits[2][LIMIT_BATCH_POINTS];
static uint8_t is_float[2][LIMIT_BATCH_POINTS];
static uint8_t encoded[1 << 20];

static struct batch_points columns(int i) {
    return (struct batch_points){0, series_id[i], time_ms[i], bits[i], is_float[i]};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct batch_points points = columns(0);
    if (batch_decode_points(data, size, &points) == RC_OK) {
        CHECK(batch_points_bound(points.count) <= sizeof(encoded));
        size_t n = batch_encode_points(&points, encoded);
        CHECK(n <= batch_points_bound(points.count));
        struct batch_points again = columns(1);
        CHECK(batch_decode_points(encoded, n, &again) == RC_OK);
        CHECK(again.count == points.count);
        CHECK(memcmp(again.bits, points.bits, points.count * sizeof(bits[0][0])) == 0);
        CHECK(memcmp(again.time_ms, points.time_ms, points.count * sizeof(time_ms[0][0])) == 0);
    }
    struct batch_delete batch;
    if (batch_decode_delete(data, size, &batch) == RC_OK)
        CHECK(batch_encode_delete(&batch, encoded) <= BATCH_DELETE_BOUND);
    return 0;
}
