/*
 * Queries inside the process, answers formatted as /api/query does and thrown away: TSBS
 * double-groupby-all, single-groupby, and the two ways through a scan (summaries only, every value
 * decoded).
 *
 *     bench_query_run [hosts [epochs [threads [name]]]]      default 4000 360 2, all
 */
#include "medium/memory_medium.h"
#include "os/clock.h"
#include "query/query.h"
#include "server/query_json.h"
#include "store/store.h"
#include "tsbs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(enum rc rc, const struct err *err, const char *what) {
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, err->message);
    exit(1);
}

/* ---- data ---- */

enum { TAGS = 8, BATCH = 10000 };

static struct series *batch_series[BATCH];
static int64_t batch_time_ms[BATCH];
static uint64_t batch_bits[BATCH];
static const uint8_t batch_is_float[BATCH];

struct load {
    struct store *store;
    struct store_batch batch;
    struct err err;
};

static void flush(struct load *load) {
    (void)store_writers_enter(load->store);
    must(store_append(load->store, &load->batch, NULL, &load->err), &load->err, "append");
    store_writers_leave(load->store);
    load->batch.count = 0;
}

static struct series *find_series(struct load *load, const struct tsbs *tsbs, uint32_t host,
                                  uint32_t metric) {
    struct series_key key = {.metric = str_of(tsbs_metric(metric)), .tag_count = TAGS};
    for (uint32_t i = 0; i < TAGS; i++) {
        key.tags[i].key = str_of(tsbs_tag_key(i));
        key.tags[i].value = str_of(tsbs_tag_value(tsbs, host, i));
    }
    must(series_key_canonicalise(&key, &load->err), &load->err, "key");
    struct series *series;
    must(index_series(store_index(load->store), &key, &series, &load->err), &load->err, "series");
    return series;
}

static void fill(struct store *store, uint32_t hosts, uint32_t epochs) {
    struct load load = {.store = store};
    struct tsbs *tsbs = tsbs_new(hosts, 123);
    uint32_t count = hosts * TSBS_METRICS;
    struct series **series = malloc(count * sizeof(struct series *));
    load.batch.series = batch_series;
    load.batch.time_ms = batch_time_ms;
    load.batch.bits = batch_bits;
    load.batch.is_float = batch_is_float;
    if (tsbs == NULL || series == NULL)
        exit(1);
    for (uint32_t i = 0; i < count; i++)
        series[i] = find_series(&load, tsbs, i / TSBS_METRICS, i % TSBS_METRICS);
    for (uint32_t epoch = 0; epoch < epochs; epoch++) {
        for (uint32_t i = 0; i < count; i++) {
            uint32_t at = load.batch.count++;
            batch_series[at] = series[i];
            batch_time_ms[at] = (TSBS_START_S + epoch * TSBS_STEP_S) * 1000;
            batch_bits[at] = (uint64_t)tsbs_value(tsbs, i / TSBS_METRICS, i % TSBS_METRICS);
            if (load.batch.count == BATCH)
                flush(&load);
        }
        tsbs_tick(tsbs);
    }
    if (load.batch.count > 0)
        flush(&load);
    tsbs_free(tsbs);
    free(series);
}

/* ---- answers ---- */

struct answer {
    struct query_json json;
    uint64_t results;
    uint64_t bytes;
};

static void format(void *context, const struct query *query, const struct query_result *result,
                   struct buf *out) {
    struct answer *answer = context;
    query_json_format(&answer->json, query, result, out);
}

static enum rc take(void *context, str text, bool first) {
    struct answer *answer = context;
    answer->results++;
    answer->bytes += text.n;
    return RC_OK;
}

/* ---- measuring ---- */

enum { ROUNDS = 9 };

static const char *only = ""; /* part of the name of those to be measured */

static void measure(struct store *store, const char *name, const char *const *m, uint32_t count,
                    int64_t seconds, uint32_t threads) {
    if (strstr(name, only) == NULL)
        return;
    struct arena arena;
    arena_init(&arena, NULL);
    char start[32], end[32];
    snprintf(start, sizeof(start), "%lld", (long long)TSBS_START_S);
    snprintf(end, sizeof(end), "%lld", (long long)(TSBS_START_S + seconds - 1));
    struct query_parameter parameters[32] = {{STR("start"), str_of(start)},
                                             {STR("end"), str_of(end)}};
    for (uint32_t i = 0; i < count; i++)
        parameters[2 + i] = (struct query_parameter){STR("m"), str_of(m[i])};
    struct query_parse_context context = {.now_ms = TSBS_START_S * 1000 + 100000000};
    struct query query;
    struct err err;
    must(query_parse_get(parameters, 2 + count, &context, &arena, &query, &err), &err, "parse");
    struct query_limits limits = {
        .threads = threads, .expansion_limit = 4096, .budget = store_budget(store)};
    double best = INFINITY, cpu = 0;
    struct query_counters counters;
    struct answer answer;
    for (int round = 0; round < ROUNDS; round++) {
        answer = (struct answer){.json.index = store_index(store)};
        struct query_sink sink = {format, take, &answer};
        int64_t cpu_before = clock_process_cpu_ns();
        int64_t before = clock_monotonic_ns();
        must(query_run(store, &query, &limits, &sink, &counters, &err), &err, "query");
        double took = (double)(clock_monotonic_ns() - before) / 1e6;
        if (took < best) {
            best = took;
            cpu = (double)(clock_process_cpu_ns() - cpu_before) / 1e6;
        }
    }
    printf("%-34s %9.3f ms %9.3f cpu ms %8.1f M points/s/core %7llu results %8.1f KB "
           "(select %.2f scan %.2f merge %.2f format %.2f ms)\n",
           name, best, cpu, (double)counters.points_scanned / cpu / 1e3,
           (unsigned long long)answer.results, (double)answer.bytes / 1024,
           (double)counters.select_ns / 1e6, (double)counters.scan_ns / 1e6,
           (double)counters.aggregate_ns / 1e6, (double)counters.format_ns / 1e6);
    arena_fini(&arena);
}

static void measure_all(struct store *store, int64_t seconds, uint32_t threads) {
    const char *double_groupby[TSBS_METRICS], *total[TSBS_METRICS], *decoded[TSBS_METRICS];
    static char texts[3 * TSBS_METRICS][128];
    for (uint32_t i = 0; i < TSBS_METRICS; i++) {
        double_groupby[i] = texts[3 * i];
        total[i] = texts[3 * i + 1];
        decoded[i] = texts[3 * i + 2];
        snprintf(texts[3 * i], 128, "avg:1h-avg:%s{hostname=*}", tsbs_metric(i));
        snprintf(texts[3 * i + 1], 128, "sum:1d-sum:%s", tsbs_metric(i));
        snprintf(texts[3 * i + 2], 128, "max:1m-max:%s", tsbs_metric(i));
    }
    const char *const single_1_1_1[] = {"max:1m-max:cpu.usage_user{hostname=host_17}"};
    const char *const single_1_8_1[] = {
        "max:1m-max:cpu.usage_user{}{hostname=literal_or(host_1|host_2|host_3|host_4|host_5|host_6|"
        "host_7|host_8)}"};
    const char *const raw_one[] = {"sum:cpu.usage_user{hostname=host_17}"};
    const char *const raw_all[] = {"sum:cpu.usage_user"};
    measure(store, "double-groupby-all", double_groupby, TSBS_METRICS, seconds, threads);
    measure(store, "double-groupby-all, one thread", double_groupby, TSBS_METRICS, seconds, 1);
    measure(store, "single-groupby-1-1-1", single_1_1_1, 1, seconds, threads);
    measure(store, "single-groupby-1-8-1", single_1_8_1, 1, seconds, threads);
    measure(store, "all series, summaries", total, TSBS_METRICS, seconds, threads);
    measure(store, "all series, max by minute", decoded, TSBS_METRICS, seconds, threads);
    measure(store, "one series, raw", raw_one, 1, seconds, threads);
    measure(store, "one metric, raw sum", raw_all, 1, seconds, threads);
}

int main(int argc, char **argv) {
    uint32_t hosts = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 4000;
    uint32_t epochs = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 360;
    uint32_t threads = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 2;
    only = argc > 4 ? argv[4] : "";
    struct budget budget;
    budget_init(&budget, (size_t)4 << 30, NULL);
    struct err err;
    struct medium *medium;
    must(memory_medium_open(&budget, &medium, &err), &err, "medium");
    struct store_options options;
    store_options_default(&options, (size_t)4 << 30);
    options.medium = medium;
    options.clock = &clock_system;
    options.budget = &budget;
    options.background = false;
    struct store *store;
    must(store_open(&options, &store, &err), &err, "open");
    fill(store, hosts, epochs);
    printf("%u series x %u points in heads\n", hosts * TSBS_METRICS, epochs);
    measure_all(store, (int64_t)epochs * TSBS_STEP_S, threads);
    must(store_checkpoint(store, &err), &err, "checkpoint");
    must(store_compact(store, &err), &err, "compact");
    printf("in compacted segments\n");
    measure_all(store, (int64_t)epochs * TSBS_STEP_S, threads);
    must(store_close(store, &err), &err, "close");
    medium_close(medium);
    return 0;
}
