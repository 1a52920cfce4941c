/*
 * A database inside an application: opens one in a directory, puts a day of measurements of two
 * rooms, and asks for the hourly means.
 *
 *     cc embedded.c $(pkg-config --cflags --libs barograph) -o embedded && ./embedded /tmp/metrics
 */
#include <barograph.h>

#include <inttypes.h>
#include <stdio.h>

enum { STEP_MS = 60000, POINTS = 24 * 60 };

static const int64_t start_ms = INT64_C(1700006400000); /* 2023-11-15 00:00 UTC */

static int show(void *context, const barograph_result *result) {
    (void)context;
    printf("%s", result->metric);
    for (size_t i = 0; i < result->tag_count; i++)
        printf(" %s=%s", result->tags[i].key, result->tags[i].value);
    printf(": %zu hours", result->count);
    if (result->count > 0)
        printf(", first %.3f, last %.3f", result->values[0], result->values[result->count - 1]);
    printf("\n");
    return 0;
}

static int put_room(barograph *db, const char *room, double base, barograph_error *error) {
    const barograph_tag tags[] = {{"room", room}, {"floor", "2"}};
    barograph_series series;
    int rc = barograph_series_open(db, "office.temperature", tags, 2, &series, error);
    if (rc != BAROGRAPH_OK)
        return rc;
    static barograph_point points[POINTS];
    for (int i = 0; i < POINTS; i++)
        points[i] = (barograph_point){.series = series,
                                      .is_double = 1,
                                      .time_ms = start_ms + (int64_t)i * STEP_MS,
                                      .value.real = base + (double)(i % 60) / 10};
    return barograph_put(db, points, POINTS, BAROGRAPH_DURABLE, error);
}

int main(int argc, char **argv) {
    barograph_options options;
    barograph_error error;
    barograph *db;
    barograph_options_default(&options);
    options.directory = argc > 1 ? argv[1] : NULL;
    int rc = barograph_open(&options, &db, &error);
    if (rc == BAROGRAPH_OK) {
        rc = put_room(db, "north", 18, &error);
        if (rc == BAROGRAPH_OK)
            rc = put_room(db, "south", 21.5, &error);
        if (rc == BAROGRAPH_OK)
            rc = barograph_query(db, "2023/11/15", "2023/11/15-23:59:59",
                                 "avg:1h-avg:office.temperature{room=*}", show, NULL, &error);
        int closed = barograph_close(db, rc == BAROGRAPH_OK ? &error : NULL);
        if (rc == BAROGRAPH_OK)
            rc = closed;
    }
    if (rc != BAROGRAPH_OK)
        fprintf(stderr, "%s\n", error.message);
    return rc == BAROGRAPH_OK ? 0 : 1;
}
