/*
 * The first byte chooses: the rest is a zone file, a time, or a downsampling specification for the
 * zone of this file.
 */
#include "base/check.h"
#include "query/downsample.h"

#include <stddef.h>
#include <stdint.h>

static const int64_t instants[] = {INT64_MIN,     -100000000000000, -1,       0, 1356998400000,
                                   1372658400000, 9999999999999,    INT64_MAX};

static void check_zone(const struct timezone *zone) {
    for (size_t i = 0; i < sizeof(instants) / sizeof(instants[0]); i++) {
        int64_t offset = timezone_offset_ms(zone, instants[i]);
        CHECK(offset > -100000000 && offset < 100000000);
        int64_t early = timezone_from_local_ms(zone, instants[i]);
        int64_t late = timezone_from_local_late_ms(zone, instants[i]);
        CHECK(late - early > -200000000 && late - early < 200000000);
    }
}

static void check_downsample(str text) {
    struct downsample downsample;
    if (downsample_parse(text, &downsample, NULL) != RC_OK || downsample.all)
        return;
    downsample.timezone = timezone_find(STR("America/Denver"));
    for (int64_t time_ms = 0; time_ms < 10000000000000; time_ms += 777777777777) {
        int64_t start = downsample_bucket(&downsample, time_ms);
        int64_t next = downsample_next(&downsample, start);
        CHECK(start <= time_ms && time_ms < next);
        CHECK(downsample_bucket(&downsample, start) == start);
        CHECK(downsample_bucket(&downsample, next - 1) == start);
        CHECK(next == INT64_MAX || downsample_bucket(&downsample, next) == next);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    str text = {(const char *)data + 1, size - 1};
    int64_t time_ms;
    switch (data[0] % 3) {
    case 0: {
        struct timezone *zone = timezone_parse(data + 1, size - 1);
        if (zone != NULL)
            check_zone(zone);
        timezone_free(zone);
        break;
    }
    case 1:
        if (timezone_parse_time(text, NULL, 1357002000000, &time_ms, NULL, NULL) == RC_OK)
            CHECK(time_ms >= 0 || str_find(text, '/') < text.n);
        break;
    default:
        check_downsample(text);
    }
    return 0;
}
