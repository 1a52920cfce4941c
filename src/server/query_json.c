#include "server/query_json.h"

#include "query/query_names.h"
#include "wire/json_out.h"
#include "wire/number.h"

#include <math.h>
#include <stdlib.h>

/* Opens the object of a result and writes its names. */
static void put_names(struct json_out *json, const struct query_result *result) {
    struct buf *out = json->out;
    buf_str(out, STR("{\"metric\":"));
    json_out_string(json, result->metric);
    buf_str(out, STR(",\"tags\":{"));
    query_names_put_tags(result->names, result->tags, result->tag_count, out);
    buf_str(out, STR("},\"aggregateTags\":["));
    query_names_put_keys(result->names, result->aggregate_tags, result->aggregate_tag_count, out);
    buf_char(out, ']');
}

static void put_text_or_null(struct json_out *json, str key, str text) {
    json_out_key(json, key);
    if (text.n == 0)
        json_out_null(json);
    else
        json_out_string(json, text);
}

static void put_flag(struct json_out *json, str key, bool value) {
    json_out_key(json, key);
    json_out_bool(json, value);
}

/* Whether a later filter groups by the same key: a map of tags keeps the last one. */
static bool groups_again(const struct query_sub *sub, uint32_t i) {
    for (uint32_t j = i + 1; j < sub->filter_count; j++)
        if (sub->filters[j].group_by && str_eq(sub->filters[j].key, sub->filters[i].key))
            return true;
    return false;
}

static void put_filters(struct json_out *json, const struct query_sub *sub) {
    json_out_key(json, STR("filters"));
    json_out_array(json);
    for (uint32_t i = 0; i < sub->filter_count; i++) {
        const struct filter *filter = &sub->filters[i];
        json_out_object(json);
        json_out_key(json, STR("tagk"));
        json_out_string(json, filter->key);
        json_out_key(json, STR("filter"));
        json_out_string(json, filter->text);
        put_flag(json, STR("group_by"), filter->group_by);
        json_out_key(json, STR("type"));
        json_out_string(json, filter->type_name);
        json_out_object_end(json);
    }
    json_out_array_end(json);
    json_out_key(json, STR("tags"));
    json_out_object(json);
    for (uint32_t i = 0; i < sub->filter_count; i++) {
        const struct filter *filter = &sub->filters[i];
        if (!filter->group_by || groups_again(sub, i))
            continue;
        struct buf text = {0};
        buf_printf(&text, "%.*s(%.*s)", STR_ARG(filter->type_name), STR_ARG(filter->text));
        json_out_key(json, filter->key);
        json_out_string(json, buf_view(&text));
        buf_fini(&text);
    }
    json_out_object_end(json);
}

static uint32_t nibble(char hex) {
    return (uint32_t)(hex <= '9' ? hex - '0' : hex - 'A' + 10);
}

/* The bytes that an even number of hex digits stands for, as base64. */
static void put_base64(struct json_out *json, str hex) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct buf text = {0};
    for (size_t i = 0; i < hex.n; i += 6) {
        uint32_t group = 0;
        for (size_t j = i; j < i + 6; j++)
            group = group << 4 | (j < hex.n ? nibble(hex.p[j]) : 0);
        size_t bytes = hex.n - i >= 6 ? 3 : (hex.n - i) / 2;
        for (size_t j = 0; j < 4; j++)
            buf_char(&text, j <= bytes ? digits[group >> (18 - 6 * j) & 63] : '=');
    }
    json_out_string(json, buf_view(&text));
    buf_fini(&text);
}

static bool key_before(const struct query_sub *sub, uint32_t i) {
    for (uint32_t j = 0; j < i; j++)
        if (str_eq(sub->filters[j].key, sub->filters[i].key))
            return true;
    return false;
}

/* UIDs of the keys that are filtered, each once: bytes, which Jackson writes as base64. */
static void put_filter_keys(struct json_out *json, struct index *index,
                            const struct query_sub *sub) {
    json_out_key(json, STR("filterTagKs"));
    json_out_array(json);
    for (uint32_t i = 0; i < sub->filter_count; i++) {
        uint32_t uid = key_before(sub, i) ? 0 : index_uid(index, INDEX_TAGK, sub->filters[i].key);
        struct buf hex = {0};
        if (uid != 0)
            index_uid_hex(index, INDEX_TAGK, uid, &hex);
        if (hex.n > 0)
            put_base64(json, buf_view(&hex));
        buf_fini(&hex);
    }
    json_out_array_end(json);
}

static void put_rate_options(struct json_out *json, const struct query_sub *sub) {
    json_out_key(json, STR("rateOptions"));
    if (!sub->rate_options_given) {
        json_out_null(json);
        return;
    }
    json_out_object(json);
    put_flag(json, STR("counter"), sub->rate_options.counter);
    json_out_key(json, STR("counterMax"));
    json_out_int(json, sub->rate_options.counter_max);
    json_out_key(json, STR("resetValue"));
    json_out_int(json, sub->rate_options.reset_value);
    put_flag(json, STR("dropResets"), sub->rate_options.drop_resets);
    json_out_object_end(json);
}

static void put_query(struct json_out *json, struct index *index, const struct query_sub *sub) {
    json_out_key(json, STR("query"));
    json_out_object(json);
    json_out_key(json, STR("aggregator"));
    json_out_string(json, sub->aggregator_name);
    put_text_or_null(json, STR("metric"), sub->metric);
    json_out_key(json, STR("tsuids"));
    if (sub->tsuid_count == 0) {
        json_out_null(json);
    } else {
        json_out_array(json);
        for (uint32_t i = 0; i < sub->tsuid_count; i++)
            json_out_string(json, sub->tsuids[i]);
        json_out_array_end(json);
    }
    put_text_or_null(json, STR("downsample"), sub->downsample_text);
    put_flag(json, STR("rate"), sub->rate);
    put_filters(json, sub);
    json_out_key(json, STR("percentiles"));
    json_out_null(json);
    json_out_key(json, STR("index"));
    json_out_int(json, sub->index);
    put_rate_options(json, sub);
    put_filter_keys(json, index, sub);
    put_flag(json, STR("explicitTags"), sub->explicit_tags);
    put_flag(json, STR("useFuzzyFilter"), true);
    put_flag(json, STR("preAggregate"), sub->pre_aggregate);
    put_text_or_null(json, STR("rollupUsage"), sub->rollup_usage);
    json_out_key(json, STR("rollupTable"));
    json_out_string(json, STR("raw"));
    put_flag(json, STR("showHistogramBuckets"), false);
    put_flag(json, STR("histogramQuery"), false);
    put_flag(json, STR("useMultiGets"), true);
    json_out_object_end(json);
}

static int compare_text(const void *a, const void *b) {
    const struct buf *left = a, *right = b;
    return str_cmp(buf_view(left), buf_view(right));
}

static void put_tsuids(struct json_out *json, struct index *index,
                       const struct query_result *result) {
    json_out_key(json, STR("tsuids"));
    json_out_array(json);
    struct buf *texts = calloc(result->series_count, sizeof(*texts));
    for (uint32_t i = 0; texts != NULL && i < result->series_count; i++)
        index_tsuid(index, result->series[i], &texts[i]);
    if (texts != NULL)
        qsort(texts, result->series_count, sizeof(*texts), compare_text);
    for (uint32_t i = 0; texts != NULL && i < result->series_count; i++) {
        json_out_string(json, buf_view(&texts[i]));
        buf_fini(&texts[i]);
    }
    free(texts);
    json_out_array_end(json);
}

static void put_value(struct buf *out, const struct query_result *result, uint64_t i,
                      bool null_fill) {
    bool is_float = result->float_mask == NULL || (result->float_mask[i / 64] >> (i % 64) & 1) != 0;
    if (!is_float) {
        number_put_int(out, (int64_t)result->bits[i]);
        return;
    }
    double value = points_double_of(result->bits[i]);
    if (!isnan(value))
        number_put_double(out, value);
    else
        buf_str(out, null_fill ? STR("null") : STR("\"NaN\""));
}

/* Never the first of its object. */
static void put_points(struct json_out *json, const struct query *query,
                       const struct query_result *result, bool arrays) {
    bool null_fill = result->sub->downsampled && result->sub->downsample.fill == FILL_NULL;
    struct buf *out = json->out;
    buf_str(out, arrays ? STR(",\"dps\":[") : STR(",\"dps\":{"));
    for (uint64_t i = 0; i < result->point_count; i++) {
        int64_t time = query->ms_resolution ? result->time_ms[i] : result->time_ms[i] / 1000;
        if (i > 0)
            buf_char(out, ',');
        buf_char(out, arrays ? '[' : '"');
        number_put_int(out, time);
        buf_str(out, arrays ? STR(",") : STR("\":"));
        put_value(out, result, i, null_fill);
        if (arrays)
            buf_char(out, ']');
    }
    buf_char(out, arrays ? ']' : '}');
    json->comma = true;
}

void query_json_format(void *context, const struct query *query, const struct query_result *result,
                       struct buf *out) {
    const struct query_json *how = context;
    struct json_out json = {.out = out};
    put_names(&json, result);
    if (query->show_query)
        put_query(&json, how->index, result->sub);
    if (query->show_tsuids)
        put_tsuids(&json, how->index, result);
    put_points(&json, query, result, how->arrays);
    if (query->show_stats) {
        json_out_key(&json, STR("stats"));
        json_out_object(&json);
        json_out_key(&json, STR("queryIndex"));
        json_out_int(&json, result->sub->index);
        json_out_key(&json, STR("emittedDPs"));
        json_out_int(&json, (int64_t)result->point_count);
        json_out_object_end(&json);
    }
    json_out_object_end(&json);
}

void query_json_summary(const struct query *query, const struct query_counters *counters,
                        struct buf *out) {
    /* Parts are summed over the threads of a query, the total is the time on the wall. */
    int64_t before_ns = counters->total_ns - counters->format_ns;
    const struct {
        const char *name;
        double value;
    } times[] = {
        {"queryScanTime", (double)counters->scan_ns / 1e6},
        {"uidToStringTime", (double)counters->select_ns / 1e6},
        {"aggregationTime", (double)counters->aggregate_ns / 1e6},
        {"serializationTime", (double)counters->format_ns / 1e6},
        {"processingPreWriteTime", before_ns > 0 ? (double)before_ns / 1e6 : 0},
        {"totalTime", (double)counters->total_ns / 1e6},
    };
    const struct {
        const char *name;
        uint64_t value;
    } counts[] = {
        {"rowsFromStorage", counters->series},
        {"columnsFromStorage", counters->points_scanned},
        {"bytesFromStorage", counters->bytes_scanned},
        {"dpsPostFilter", counters->points_scanned},
        {"emittedDPs", counters->points_emitted},
        {"nanDPs", counters->nan_emitted},
        {"damagedVectors", counters->damaged_vectors},
    };
    struct json_out json = {.out = out};
    json_out_object(&json);
    json_out_key(&json, STR("statsSummary"));
    json_out_object(&json);
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        json_out_key(&json, str_of(times[i].name));
        json_out_double(&json, times[i].value);
    }
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        json_out_key(&json, str_of(counts[i].name));
        json_out_int(&json, (int64_t)counts[i].value);
    }
    json_out_object_end(&json);
    json_out_object_end(&json);
}
