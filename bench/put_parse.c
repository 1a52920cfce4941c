/*
 * How fast put lines and put JSON are taken apart, one thread, TSBS-like points of eight tags.
 *
 *     bench_put_parse [hosts]
 *
 * Two orders: by host (the ten metrics of one host follow each other, as collectors send) and by
 * metric (the tags change with each point). "keys" also takes every point's tags apart, which the
 * server only does for series it has not seen; "expected" is told which series comes next, as the
 * server's cache of keys does for those that come in the order of last time.
 */
#include "base/buf.h"
#include "base/check.h"
#include "os/clock.h"
#include "wire/put_line.h"
#include "wire/put_shape.h"

#include <stdio.h>
#include <stdlib.h>

enum { METRICS = 10, ROUNDS = 15 };

static const char *const metrics[METRICS] = {
    "usage_user", "usage_system",  "usage_idle",  "usage_nice",  "usage_iowait",
    "usage_irq",  "usage_softirq", "usage_steal", "usage_guest", "usage_guest_nice"};
static const char *const tag_names[] = {"hostname", "region", "datacenter", "rack",
                                        "os",       "arch",   "team",       "service"};

static void tag_value(char *out, size_t size, int tag, int host) {
    static const char *const regions[] = {"us-east-1", "eu-west-1", "sa-east-1"};
    static const char *const systems[] = {"Ubuntu16.10", "Ubuntu15.10", "Ubuntu16.04LTS"};
    switch (tag) {
    case 0:
        (void)!snprintf(out, size, "host_%d", host);
        break;
    case 1:
        (void)!snprintf(out, size, "%s", regions[host % 3]);
        break;
    case 2:
        (void)!snprintf(out, size, "%s%c", regions[host % 3], "abc"[host / 3 % 3]);
        break;
    case 4:
        (void)!snprintf(out, size, "%s", systems[host % 3]);
        break;
    case 5:
        (void)!snprintf(out, size, "%s", host % 2 == 0 ? "x64" : "x86");
        break;
    case 6:
        (void)!snprintf(out, size, "%s", host % 2 == 0 ? "SF" : "NYC");
        break;
    default:
        (void)!snprintf(out, size, "%d", host * 7 % 100);
    }
}

static void put_point(struct buf *out, bool json, bool decimals, int host, int metric, bool first) {
    char value[32];
    int number = (host * 31 + metric * 17) % 101;
    (void)!snprintf(value, sizeof(value), decimals ? "%d.%04d" : "%d", number, host * 977 % 10000);
    if (json)
        buf_printf(out,
                   "%s{\"metric\":\"cpu.%s\",\"timestamp\":1451606400123,\"value\":%s,\"tags\":{",
                   first ? "[" : ",", metrics[metric], value);
    else
        buf_printf(out, "put cpu.%s 1451606400123 %s", metrics[metric], value);
    for (int tag = 0; tag < (int)COUNT_OF(tag_names); tag++) {
        char text[32];
        tag_value(text, sizeof(text), tag, host);
        if (json)
            buf_printf(out, "%s\"%s\":\"%s\"", tag == 0 ? "" : ",", tag_names[tag], text);
        else
            buf_printf(out, " %s=%s", tag_names[tag], text);
    }
    buf_str(out, json ? STR("}}") : STR("\n"));
}

static struct buf make(bool json, bool decimals, bool by_host, int hosts) {
    struct buf out = {0};
    for (int i = 0; i < hosts * METRICS; i++)
        put_point(&out, json, decimals, by_host ? i / METRICS : i % hosts,
                  by_host ? i % METRICS : i / hosts, i == 0);
    if (json)
        buf_char(&out, ']');
    CHECK(!out.failed);
    return out;
}

static uint64_t parse_lines(str text, bool keys) {
    uint64_t points = 0;
    const char *end = text.p + text.n;
    for (const char *p = text.p; p < end;) {
        const char *line_end = memchr(p, '\n', (size_t)(end - p));
        struct put_line put;
        CHECK(put_line_parse((str){p + 4, (size_t)(line_end - p - 4)}, &put, NULL) == RC_OK);
        struct series_key key;
        if (keys)
            CHECK(put_line_key(&put, &key, NULL) == RC_OK);
        points++;
        p = line_end + 1;
    }
    return points;
}

static uint64_t parse_json(str text, bool keys) {
    uint64_t points = 0;
    struct arena arena;
    arena_init(&arena, NULL);
    struct put_json parser;
    put_json_init(&parser, text, NULL, &arena);
    struct put_json_point point;
    int rc;
    while ((rc = put_json_next(&parser, &point, NULL)) > 0) {
        CHECK(point.error == NULL);
        struct series_key key;
        if (keys)
            CHECK(put_json_key(&point, &arena, &key, NULL) == RC_OK);
        points++;
    }
    CHECK(rc == RC_OK);
    arena_fini(&arena);
    return points;
}

/* The metric and tags of all points, as they stand in the text, and an empty one behind the last;
   the caller frees them. */
static str *series_of(str text, uint64_t points) {
    str *series = calloc(points + 1, 2 * sizeof(*series));
    CHECK(series != NULL);
    struct arena arena;
    arena_init(&arena, NULL);
    struct put_json parser;
    put_json_init(&parser, text, NULL, &arena);
    struct put_json_point point;
    for (uint64_t i = 0; i < points; i++) {
        CHECK(put_json_next(&parser, &point, NULL) == 1);
        series[2 * i] = point.metric_raw;
        series[2 * i + 1] = point.tags_raw;
    }
    arena_fini(&arena);
    return series;
}

static uint64_t parse_expected(str text, const str *series) {
    uint64_t points = 0;
    struct arena arena;
    arena_init(&arena, NULL);
    struct put_shape shape = {0};
    struct put_json parser;
    put_json_init(&parser, text, &shape, &arena);
    struct put_json_point point;
    struct value value;
    int rc;
    while ((rc = put_json_next(&parser, &point, NULL)) > 0)
        for (points++; put_json_expected(&parser, series[2 * points], series[2 * points + 1],
                                         &point.time_ms, &value);)
            points++;
    CHECK(rc == RC_OK);
    arena_fini(&arena);
    return points;
}

static void tell(const char *name, str text, uint64_t points, int64_t best_ns) {
    printf("%-32s %6.1f M points/s %6.2f GB/s %5.0f bytes a point\n", name,
           (double)points * 1e3 / (double)best_ns, (double)text.n / (double)best_ns,
           (double)text.n / (double)points);
}

static void measure_expected(const char *name, bool decimals, int hosts) {
    struct buf text = make(true, decimals, false, hosts),
               other = make(true, decimals, false, hosts);
    /* Of another copy: the server's cache has its own, too. */
    str *series = series_of(buf_view(&other), (uint64_t)hosts * METRICS);
    int64_t best = INT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t start = clock_monotonic_ns();
        CHECK(parse_expected(buf_view(&text), series) == (uint64_t)hosts * METRICS);
        int64_t took = clock_monotonic_ns() - start;
        best = took < best ? took : best;
    }
    tell(name, buf_view(&text), (uint64_t)hosts * METRICS, best);
    free(series);
    buf_fini(&other);
    buf_fini(&text);
}

static void measure(const char *name, bool json, bool decimals, bool by_host, bool keys,
                    int hosts) {
    struct buf text = make(json, decimals, by_host, hosts);
    int64_t best = INT64_MAX;
    uint64_t points = 0;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t start = clock_monotonic_ns();
        points = json ? parse_json(buf_view(&text), keys) : parse_lines(buf_view(&text), keys);
        int64_t took = clock_monotonic_ns() - start;
        best = took < best ? took : best;
    }
    tell(name, buf_view(&text), points, best);
    buf_fini(&text);
}

int main(int argc, char **argv) {
    long hosts = argc > 1 ? strtol(argv[1], NULL, 10) : 1000;
    if (hosts < 1 || hosts > 1000000) {
        (void)!fprintf(stderr, "usage: bench_put_parse [hosts, 1 to 1000000]\n");
        return 2;
    }
    int n = (int)hosts;
    measure("lines", false, false, false, false, n);
    measure("lines, decimals", false, true, false, false, n);
    measure("lines, keys", false, false, false, true, n);
    measure("json by host", true, false, true, false, n);
    measure("json by metric", true, false, false, false, n);
    measure("json by metric, decimals", true, true, false, false, n);
    measure("json by metric, keys", true, false, false, true, n);
    measure_expected("json by metric, expected", false, n);
    measure_expected("json by metric, exp., decimals", true, n);
    return 0;
}
