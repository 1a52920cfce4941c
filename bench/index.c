/*
 * The series index and the key cache: memory a series, creations and look-ups a second, selection,
 * completion, definitions, and the time to find a series by the bytes of a telnet line.
 *
 *     bench_index [series]      (1000000)
 *
 * Times are CPU time of this process, which has one thread.
 */
#include "store/index.h"
#include "base/budget.h"
#include "base/buf.h"
#include "base/check.h"
#include "os/clock.h"
#include "store/key_cache.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TAGS = 8, METRICS = 10, TELNET_SERIES = 40000, TELNET_ROUNDS = 100 };

static const char *const tag_keys[TAGS] = {"arch",   "datacenter", "hostname", "os",
                                           "region", "service",    "team",     "version"};

/* Series i of a TSBS-like fleet: each host has the metrics, hosts differ in the host name and share
   the rest. */
struct names {
    char metric[32];
    char values[TAGS][24];
};

static void make_key(uint32_t i, struct names *names, struct series_key *key) {
    uint32_t host = i / METRICS;
    const uint32_t number[TAGS] = {host % 3,  host % 20, host,     host % 4,
                                   host % 10, host % 50, host % 7, host % 5};
    static const char *const form[TAGS] = {"x64-%u",    "us-west-%u", "host_%u", "Ubuntu16.%u",
                                           "region-%u", "service-%u", "team-%u", "1.%u"};
    snprintf(names->metric, sizeof(names->metric), "cpu.usage.%u", i % METRICS);
    key->metric = str_of(names->metric);
    key->tag_count = TAGS;
    for (int t = 0; t < TAGS; t++) {
        snprintf(names->values[t], sizeof(names->values[t]), form[t], number[t]);
        key->tags[t] = (struct tag){str_of(tag_keys[t]), str_of(names->values[t])};
    }
}

static struct budget budget;

static struct index *open_index(struct epoch_domain *readers) {
    struct index_options options = {.shards = 4,
                                    .uid_width = {3, 3, 3},
                                    .auto_create = {true, true, true},
                                    .budget = &budget,
                                    .readers = readers};
    struct index *index;
    CHECK(index_new(&options, &index) == RC_OK);
    return index;
}

enum { BATCH = 10000 };
static struct names batch_names[BATCH];
static struct series_key batch_keys[BATCH];

/* Creates or looks up all series, keys made in batches outside the measured time. */
static int64_t touch_all(struct index *index, uint32_t count, uint32_t step) {
    int64_t spent = 0;
    for (uint32_t from = 0; from < count; from += BATCH) {
        uint32_t n = count - from < BATCH ? count - from : BATCH;
        for (uint32_t i = 0; i < n; i++)
            make_key((uint32_t)((uint64_t)(from + i) * step % count), &batch_names[i],
                     &batch_keys[i]);
        int64_t start = clock_process_cpu_ns();
        for (uint32_t i = 0; i < n; i++) {
            struct series *series;
            CHECK(index_series(index, &batch_keys[i], &series, NULL) == RC_OK);
        }
        spent += clock_process_cpu_ns() - start;
    }
    return spent;
}

static bool ends_in_seven(void *context, str value) {
    ++*(uint64_t *)context;
    return value.p[value.n - 1] == '7';
}

static void select_some(struct index *index) {
    uint64_t calls = 0;
    struct index_condition match = {.kind = INDEX_VALUE_MATCH,
                                    .key_uid = index_uid(index, INDEX_TAGK, STR("hostname")),
                                    .match = ends_in_seven,
                                    .context = &calls};
    uint32_t metric = index_uid(index, INDEX_METRIC, STR("cpu.usage.3"));
    struct series_vec out = {0};
    int64_t start = clock_process_cpu_ns();
    CHECK(index_select(index, metric, &match, 1, -1, &out) == RC_OK);
    int64_t spent = clock_process_cpu_ns() - start;
    printf("select by match on host of one metric  %8.2f ms  (%zu series of %llu hosts)\n",
           (double)spent / 1e6, out.n, (unsigned long long)calls);
    out.n = 0;
    uint32_t host = index_uid(index, INDEX_TAGV, STR("host_77"));
    struct index_condition one = {
        .kind = INDEX_VALUE_IN, .key_uid = match.key_uid, .value_uids = &host, .value_count = 1};
    start = clock_process_cpu_ns();
    for (int i = 0; i < 1000; i++) {
        out.n = 0;
        CHECK(index_select(index, metric, &one, 1, -1, &out) == RC_OK);
    }
    spent = clock_process_cpu_ns() - start;
    printf("select one host of one metric          %8.2f us  (%zu series)\n", (double)spent / 1e6,
           out.n);
    series_vec_fini(&out);
}

static void suggest_some(struct index *index) {
    for (int i = 0; i < 2; i++) {
        struct str_vec out = {0};
        int64_t start = clock_process_cpu_ns();
        CHECK(index_suggest(index, INDEX_TAGV, STR("host_9"), 25, &out) == RC_OK);
        printf("suggest 25 of %llu tag values, %s    %8.3f ms\n",
               (unsigned long long)index_name_count(index, INDEX_TAGV), i == 0 ? "first" : "then ",
               (double)(clock_process_cpu_ns() - start) / 1e6);
        str_vec_fini(&out);
    }
}

static void definitions(struct index *index, struct epoch_domain *readers) {
    struct buf bytes = {0};
    uint64_t next;
    int64_t start = clock_process_cpu_ns();
    CHECK(index_encode_since(index, 0, &bytes, &next) == RC_OK);
    int64_t encoded = clock_process_cpu_ns();
    struct index *copy = open_index(readers);
    CHECK(index_apply(copy, (const uint8_t *)bytes.p, bytes.n, NULL) == RC_OK);
    int64_t applied = clock_process_cpu_ns();
    printf("definitions: %zu bytes, written in %.0f ms, applied in %.0f ms\n", bytes.n,
           (double)(encoded - start) / 1e6, (double)(applied - encoded) / 1e6);
    index_free(copy);
    buf_fini(&bytes);
}

static void key_cache(void) {
    struct budget cache_budget;
    budget_init(&cache_budget, 0, NULL);
    struct key_cache *cache = key_cache_new(64 << 20, &cache_budget);
    CHECK(cache != NULL);
    struct key_cache_cursor keys;
    key_cache_open(cache, 0, &keys);
    key_cache_begin(&keys, 0);
    char *lines = malloc((size_t)TELNET_SERIES * 160);
    struct span {
        str metric, tags;
    } *spans = malloc(sizeof(*spans) * TELNET_SERIES);
    CHECK(lines != NULL && spans != NULL);
    size_t bytes = 0;
    for (uint32_t i = 0; i < TELNET_SERIES; i++) {
        struct names names;
        struct series_key key;
        make_key(i, &names, &key);
        char *line = lines + (size_t)i * 160;
        int n = snprintf(line, 160, "%s ", names.metric);
        spans[i].metric = key.metric;
        spans[i].metric.p = line;
        spans[i].tags.p = line + n;
        for (int t = 0; t < TAGS; t++)
            n += snprintf(line + n, 160 - (size_t)n, "%s%s=%s", t == 0 ? "" : " ", tag_keys[t],
                          names.values[t]);
        spans[i].tags.n = (size_t)(line + n - spans[i].tags.p);
        bytes += spans[i].metric.n + spans[i].tags.n;
    }
    static struct series series;
    for (uint32_t i = 0; i < TELNET_SERIES; i++)
        key_cache_add(&keys, spans[i].metric, spans[i].tags, &series);
    int64_t best = INT64_MAX;
    for (int round = 0; round < TELNET_ROUNDS; round++) {
        int64_t start = clock_process_cpu_ns();
        for (uint32_t i = 0; i < TELNET_SERIES; i++)
            CHECK(key_cache_find(&keys, spans[i].metric, spans[i].tags) == &series);
        int64_t spent = clock_process_cpu_ns() - start;
        best = spent < best ? spent : best;
    }
    struct key_cache_stats stats;
    key_cache_stats(cache, &stats);
    printf("key cache: %.1f ns a find of %zu bytes (%llu predicted, %llu hashed, %llu bytes)\n",
           (double)best / TELNET_SERIES, bytes / TELNET_SERIES, (unsigned long long)keys.predicted,
           (unsigned long long)keys.hashed, (unsigned long long)stats.bytes);
    free(spans);
    free(lines);
    key_cache_end(&keys);
    key_cache_free(cache);
}

int main(int argc, char **argv) {
    uint32_t count = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000;
    struct epoch_domain *readers = epoch_domain_new();
    CHECK(readers != NULL && count > 0);
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    struct index *index = open_index(readers);
    int64_t created = touch_all(index, count, 1);
    size_t heap = mallinfo2().uordblks + mallinfo2().hblkhd - before;
    struct index_memory memory;
    index_memory(index, &memory);
    uint64_t charged = memory.names_bytes + memory.series_bytes + memory.sets_bytes;
    printf("%u series of 8 tags: %.0f bytes a series charged (names %.0f, series %.0f, sets %.0f), "
           "%.0f of heap\n",
           count, (double)charged / count, (double)memory.names_bytes / count,
           (double)memory.series_bytes / count, (double)memory.sets_bytes / count,
           (double)heap / count);
    printf("create                                 %8.3f M/s\n",
           (double)count * 1e3 / (double)created);
    printf("look up by names, in order             %8.3f M/s\n",
           (double)count * 1e3 / (double)touch_all(index, count, 1));
    printf("look up by names, scattered            %8.3f M/s\n",
           (double)count * 1e3 / (double)touch_all(index, count, 7919));
    select_some(index);
    suggest_some(index);
    definitions(index, readers);
    index_free(index);
    key_cache();
    epoch_domain_free(readers);
    return 0;
}
