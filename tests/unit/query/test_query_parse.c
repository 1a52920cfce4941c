#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/attr.h"
#include "query/query.h"

/* 2013-01-01 01:00:00 UTC */
#define NOW_MS INT64_C(1357002000000)

static const struct query_parse_context context = {.now_ms = NOW_MS};
static struct arena arena;

static int set_up(void **state) {
    arena_init(&arena, NULL);
    return 0;
}

static int tear_down(void **state) {
    arena_fini(&arena);
    return 0;
}

/* ---- a query as one line of text: only what is not at its default ---- */

static void put_filter(struct buf *out, const struct filter *filter) {
    buf_printf(out, " %.*s%s%.*s(%.*s)", STR_ARG(filter->key), filter->group_by ? "=" : "~",
               STR_ARG(filter->type_name), STR_ARG(filter->text));
}

static void put_rate(struct buf *out, const struct query_sub *sub) {
    const struct query_rate *rate = &sub->rate_options;
    if (sub->rate)
        buf_str(out, STR(" rate"));
    if (sub->rate_options_given)
        buf_printf(out, "{%s,%" PRId64 ",%" PRId64 "%s}", rate->counter ? "counter" : "",
                   rate->counter_max, rate->reset_value, rate->drop_resets ? ",drop" : "");
}

static void put_sub(struct buf *out, const struct query_sub *sub) {
    buf_printf(out, " | %" PRIu32 " %s", sub->index, aggregator_name(sub->aggregator));
    if (sub->downsampled)
        buf_printf(out, " %.*s", STR_ARG(sub->downsample_text));
    put_rate(out, sub);
    if (sub->explicit_tags)
        buf_str(out, STR(" explicit"));
    if (sub->pre_aggregate)
        buf_str(out, STR(" pre-agg"));
    if (sub->rollup_usage.n > 0)
        buf_printf(out, " %.*s", STR_ARG(sub->rollup_usage));
    if (sub->metric.n > 0)
        buf_printf(out, " %.*s", STR_ARG(sub->metric));
    for (uint32_t i = 0; i < sub->tsuid_count; i++)
        buf_printf(out, " #%.*s", STR_ARG(sub->tsuids[i]));
    for (uint32_t i = 0; i < sub->filter_count; i++)
        put_filter(out, &sub->filters[i]);
}

static void put_query(struct buf *out, const struct query *query) {
    const struct {
        const char *name;
        bool set;
    } flags[] = {
        {"ms", query->ms_resolution},
        {"tsuids", query->show_tsuids},
        {"query", query->show_query},
        {"summary", query->show_summary},
        {"stats", query->show_stats},
        {"no_annotations", query->no_annotations},
        {"global_annotations", query->global_annotations},
        {"delete", query->delete},
        {"calendar", query->use_calendar},
        {"end_ms", query->end_given_ms},
    };
    buf_printf(out, "%" PRId64 "..%" PRId64, query->start_ms, query->end_ms);
    for (size_t i = 0; i < COUNT_OF(flags); i++)
        if (flags[i].set)
            buf_printf(out, " %s", flags[i].name);
    if (query->timezone.n > 0)
        buf_printf(out, " %.*s", STR_ARG(query->timezone));
    for (uint32_t i = 0; i < query->sub_count; i++)
        put_sub(out, &query->subs[i]);
}

static void assert_query(const struct query *query, const char *source, const char *expected) {
    struct buf out = {0};
    put_query(&out, query);
    buf_char(&out, '\0');
    assert_false(out.failed);
    if (strcmp(out.p, expected) != 0)
        fail_msg("%s\n  is  %s\n  not %s", source, out.p, expected);
    buf_fini(&out);
}

/* Splits "a=1&b=2" (nothing is escaped in these tests; a value may hold '=') and parses it. */
static enum rc parse_get(const char *uri, struct query *query, struct err *err) {
    struct query_parameter parameters[16];
    uint32_t count = 0;
    for (str rest = str_of(uri); rest.n > 0; count++) {
        str pair = {rest.p, str_find(rest, '&')};
        rest = str_from(rest, pair.n < rest.n ? pair.n + 1 : pair.n);
        size_t equals = str_find(pair, '=');
        assert_true(count < COUNT_OF(parameters));
        parameters[count].name = (str){pair.p, equals};
        parameters[count].value = equals == pair.n ? STR("") : str_from(pair, equals + 1);
    }
    return query_parse_get(parameters, count, &context, &arena, query, err);
}

static void assert_get(const char *uri, const char *expected) {
    struct query query;
    struct err err;
    if (parse_get(uri, &query, &err) != RC_OK)
        fail_msg("%s: %s", uri, err.message);
    assert_query(&query, uri, expected);
}

static void assert_get_fails(const char *uri, const char *message, const char *details) {
    struct query query;
    struct err err;
    assert_int_not_equal(parse_get(uri, &query, &err), RC_OK);
    assert_string_equal(err.message, message);
    assert_string_equal(err.details, details);
    assert_int_equal(err_http_status(&err), 400);
}

/* One m= with a fixed window. */
static void assert_m(const char *m, const char *expected) {
    char uri[512], line[512];
    snprintf(uri, sizeof(uri), "start=1356998400&m=%s", m);
    snprintf(line, sizeof(line), "1356998400000..1357002000000 end_ms | 0 %s", expected);
    assert_get(uri, line);
}

static void assert_m_fails(const char *m, const char *message) {
    char uri[512];
    snprintf(uri, sizeof(uri), "start=1356998400&m=%s", m);
    assert_get_fails(uri, message, "");
}

static void assert_post(const char *body, const char *expected) {
    struct query query;
    struct err err;
    if (query_parse_post(str_of(body), &context, &arena, &query, &err) != RC_OK)
        fail_msg("%s: %s (%s)", body, err.message, err.details);
    assert_query(&query, body, expected);
}

static void assert_post_fails(const char *body, const char *message, const char *details) {
    struct query query;
    struct err err;
    assert_int_equal(query_parse_post(str_of(body), &context, &arena, &query, &err), RC_INVALID);
    assert_string_equal(err.message, message);
    assert_string_equal(err.details, details);
    assert_int_equal(err_http_status(&err), 400);
}

/* A sub query with the given members, in a fixed window. */
static void assert_sub(const char *members, const char *expected) {
    char body[2048], line[512];
    snprintf(body, sizeof(body), "{\"start\":1356998400,\"queries\":[{%s}]}", members);
    snprintf(line, sizeof(line), "1356998400000..1357002000000 end_ms | 0 %s", expected);
    assert_post(body, line);
}

static void assert_sub_fails(const char *members, const char *details) {
    char body[2048];
    snprintf(body, sizeof(body), "{\"start\":1356998400,\"queries\":[{%s}]}", members);
    assert_post_fails(body, "Unable to parse the given JSON", details);
}

/* ---- m= ---- */

static void m_is_read_as_opentsdb_reads_it(void **state) {
    static const struct {
        const char *m, *expected;
    } rows[] = {
        {"sum:sys.cpu.0", "sum sys.cpu.0"},
        {"sum:1h-avg:rate:sys.cpu.0", "sum 1h-avg rate sys.cpu.0"},
        {"sum:rate:1h-avg:sys.cpu.0", "sum 1h-avg rate sys.cpu.0"},
        {"sum:m{host=web01}", "sum m host=literal_or(web01)"},
        {"sum:m{host=*quirm}", "sum m host=wildcard(*quirm)"},
        {"sum:m{}{host=*quirm}", "sum m host~wildcard(*quirm)"},
        {"sum:m{colo=lga}{host=wildcard(*quirm)}",
         "sum m host~wildcard(*quirm) colo=literal_or(lga)"},
        {"sum:m{host=quirm|tsort}{host=wildcard(*)}",
         "sum m host~wildcard(*) host=literal_or(quirm|tsort)"},
        {"sum:m{host=wildcard(*quirm)}{host=wildcard(*quirm)}", "sum m host=wildcard(*quirm)"},
        {"sum:m{}{}", "sum m"},
        {"sum:m{}", "sum m"},
        {"sum:explicit_tags:rate:1m-sum:m{host=web01}",
         "sum 1m-sum rate explicit m host=literal_or(web01)"},
        {"sum:rate{counter,,1000}:m", "sum rate{counter,9223372036854775807,1000} m"},
        {"sum:rate{counter}:m", "sum rate{counter,9223372036854775807,0} m"},
        {"sum:rate{counter,10000,35}:m", "sum rate{counter,10000,35} m"},
        {"sum:rate{dropcounter,10000,35}:m", "sum rate{counter,10000,35,drop} m"},
        {"sum:rate{xcounter,18446744073709551616}:m", "sum rate{counter,9223372036854775807,0} m"},
        {"sum:rate{}:m", "sum rate{,9223372036854775807,0} m"},
        {"sum:RATE:pre-agg:rollup_raw:m", "sum rate pre-agg rollup_raw m"},
        {"sum:nosuchmodifier::0all-max:m", "sum 0all-max m"},
        {"none:m{a=x,b=y,a=x}", "none m a=literal_or(x) b=literal_or(y)"},
        {"p99:m{host=not_key()}{dc=iliteral_or(LAX|dal)}",
         "p99 m dc~iliteral_or(LAX|dal) host=not_key()"},
        /* What OpenTSDB's splitting breaks. */
        {"sum:m{host=regexp(a:b)}", "sum m host=regexp(a:b)"},
        {"sum:m{host=regexp(web[0-9]{2})}{dc=regexp(a{2}=b)}",
         "sum m dc~regexp(a{2}=b) host=regexp(web[0-9]{2})"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_m(rows[i].m, rows[i].expected);
}

static void bad_m_is_refused_with_its_reason(void **state) {
    static const struct {
        const char *m, *message;
    } rows[] = {
        {"", "Invalid parameter m= (not enough :-separated parts)"},
        {"sum", "Invalid parameter m=sum (not enough :-separated parts)"},
        {"sum:a:b:c:d:m", "Invalid parameter m=sum:a:b:c:d:m (too many :-separated parts)"},
        {"sum:m{", "Missing '}' at the end of: m{"},
        {"sum:m{host=web01", "Missing '}' at the end of: m{host=web01"},
        {"sum:m{host=nosuchfilter(x)}",
         "When parsing tag 'host=nosuchfilter(x)': Could not find a tag value filter of the type: "
         "nosuchfilter"},
        {"sum:m{}{host=nosuchfilter(x)}",
         "When parsing filter 'host=nosuchfilter(x)': Could not find a tag value filter of the "
         "type: nosuchfilter"},
        {"sum:m{host}", "When parsing tag 'host': invalid tag: host"},
        {"sum:m{host=}", "When parsing tag 'host=': invalid tag: host="},
        {"sum:m{=web01}", "When parsing tag '=web01': invalid tag: =web01"},
        {"sum:m{host=a=b}", "When parsing tag 'host=a=b': invalid tag: host=a=b"},
        {"sum:m{host=a,host=b}", "When parsing tag 'host=b': duplicate tag: host=b, tags={host=a}"},
        {"sum:m{a=b}{c=d}{e=f}", "When parsing filter 'c=d}{e=f': invalid tag: c=d}{e=f"},
        {"sum:m}{", "Missing '}' at the end of: m}{"},
        {"sum:rate{counter,a}:m", "Max value of counter was not a number, received 'a'"},
        {"sum:rate{counter,,b}:m", "Reset value of counter was not a number, received 'b'"},
        {"sum:rate{counter,1,2,3}:m",
         "Incorrect number of values in rate options specification, must be counter[,counter max "
         "value,reset value], recieved: 4 parts"},
        {"sum:rate{:m", "Invalid rate options specification: rate{"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_m_fails(rows[i].m, rows[i].message);
}

static void histogram_percentiles_are_not_supported(void **state) {
    struct query query;
    struct err err;
    assert_int_equal(parse_get("start=1h-ago&m=sum:percentiles[0.98]:m", &query, &err),
                     RC_UNSUPPORTED);
    assert_string_equal(err.message, "Histogram queries are not supported: percentiles[0.98]");
    assert_int_equal(err_http_status(&err), 501);
}

/* ---- GET ---- */

static void get_parameters_are_read(void **state) {
    assert_get("start=1356998400&end=1356998460&m=sum:m", "1356998400000..1356998460000 | 0 sum m");
    assert_get("start=1h-ago&m=sum:m", "1356998400000..1357002000000 end_ms | 0 sum m");
    assert_get("start=1h-ago&ms&show_tsuids=false&show_query&show_summary&show_stats&"
               "no_annotations&global_annotations&padding&m=sum:m",
               "1356998400000..1357002000000 ms tsuids query summary stats no_annotations "
               "global_annotations end_ms | 0 sum m");
    assert_get("start=5&start=2013/01/01&end=2013/01/01-00:30&m=sum:m",
               "1356998400000..1357000200000 | 0 sum m");
    assert_get("start=2012/12/31-17:00&timezone=America/Denver&use_calendar&m=sum:1d-sum:m",
               "1356998400000..1357002000000 calendar end_ms America/Denver | 0 sum 1d-sum m");
    /* A zone that nothing depends on does not matter. */
    assert_get("start=1h-ago&timezone=No/Where&m=sum:m",
               "1356998400000..1357002000000 end_ms No/Where | 0 sum m");
}

static void sub_queries_keep_their_order_and_lose_repetitions(void **state) {
    assert_get("start=1h-ago&m=sum:a&m=max:b&m=sum:a&tsuid=min:0000,0001&m=sum:a{h=x}&m=sum:rate:a",
               "1356998400000..1357002000000 end_ms | 0 min #0000 #0001 | 1 sum a | 2 max b | "
               "3 sum a h=literal_or(x) | 4 sum rate a");
    assert_get("start=1h-ago&tsuid=sum:rate{counter,100}:1m-avg:000001000001000001",
               "1356998400000..1357002000000 end_ms | 0 sum 1m-avg rate{counter,100,0} "
               "#000001000001000001");
}

#define DUMP(start, end, sub)                                                                      \
    "TSQuery(start_time=" start ", end_time=" end ", subQueries[" sub                              \
    "] padding=false, no_annotations=false, with_global_annotations=false, show_tsuids=false, "    \
    "ms_resolution=false, options=[])"
#define SUB(metric, filters, aggregator, downsample)                                               \
    "TSSubQuery(metric=" metric ", filters=[" filters "], tsuids=[], agg=" aggregator              \
    ", downsample=" downsample ", rate=false, explicit_tags=false, index=0)"

static void bad_get_queries_are_refused_with_their_reason(void **state) {
    assert_get_fails("m=sum:m", "Missing parameter <code>start</code>", "");
    assert_get_fails("start=&m=sum:m", "Missing parameter <code>start</code>", "");
    assert_get_fails("start=1h-ago", "Missing sub queries", "");
    assert_get_fails("start=1356998400&end=1356998400&m=sum:m",
                     "End time [1356998400000] must be greater than the start time "
                     "[1356998400000]",
                     DUMP("1356998400", "1356998400", SUB("m", "", "sum", "null")));
    assert_get_fails("start=2h&m=sum:m{h=a}", "Invalid time: 2h. Invalid character 'h' in 2h",
                     DUMP("2h", "null", SUB("m", "h=literal_or(a)", "sum", "null")));
    assert_get_fails("start=1h-ago&m=nosuch:m", "No such aggregation function: nosuch",
                     DUMP("1h-ago", "null", SUB("m", "", "nosuch", "null")));
    assert_get_fails("start=1h-ago&m=:m", "Missing the aggregation function",
                     DUMP("1h-ago", "null", SUB("m", "", "null", "null")));
    assert_get_fails("start=1h-ago&m=sum:", "Missing the metric or tsuids, provide at least one",
                     DUMP("1h-ago", "null", SUB("", "", "sum", "null")));
    assert_get_fails("start=1h-ago&m=sum:1h-avg-lerp:m", "Unrecognized fill policy: lerp",
                     DUMP("1h-ago", "null", SUB("m", "", "sum", "1h-avg-lerp")));
    assert_get_fails("start=1h-ago&m=sum:10m-avg-badbadbad:m",
                     "Unrecognized fill policy: badbadbad",
                     DUMP("1h-ago", "null", SUB("m", "", "sum", "10m-avg-badbadbad")));
    assert_get_fails("start=2013/01/01&timezone=No/Where&m=sum:m",
                     "Invalid timezone name: No/Where",
                     DUMP("2013/01/01", "null", SUB("m", "", "sum", "null")));
    assert_get_fails("start=1h-ago&timezone=../zone&m=sum:1d-sum:m",
                     "The timezone specification could not be found",
                     DUMP("1h-ago", "null", SUB("m", "", "sum", "1d-sum")));
}

static void the_configured_zone_reads_dates_but_not_buckets(void **state) {
    static const struct query_parse_context denver = {.now_ms = NOW_MS,
                                                      .timezone = {"America/Denver", 14}};
    const struct query_parameter parameters[] = {{STR("start"), STR("2012/12/31-17:00")},
                                                 {STR("m"), STR("sum:1dc-sum:m")}};
    struct query query;
    assert_int_equal(query_parse_get(parameters, 2, &denver, &arena, &query, NULL), RC_OK);
    assert_int_equal(query.start_ms, 1356998400000);
    assert_null(query.subs[0].downsample.timezone);
}

static void calendar_and_zone_reach_the_downsampling(void **state) {
    struct query query;
    assert_int_equal(parse_get("start=1h-ago&timezone=America/Denver&use_calendar&m=sum:1d-sum:m&"
                               "m=sum:0all-sum:m",
                               &query, NULL),
                     RC_OK);
    assert_true(query.subs[0].downsample.calendar);
    assert_ptr_equal(query.subs[0].downsample.timezone, timezone_find(STR("America/Denver")));
    assert_int_equal(downsample_bucket(&query.subs[0].downsample, 1356998405000), 1356937200000);
    assert_true(query.subs[1].downsample.all);
    assert_false(query.subs[1].downsample.calendar);
}

static void long_details_are_cut(void **state) {
    char uri[4096];
    size_t n = (size_t)snprintf(uri, sizeof(uri), "start=1h-ago&m=nosuch:m{a=");
    memset(uri + n, 'x', 3000);
    snprintf(uri + n + 3000, sizeof(uri) - n - 3000, "}");
    struct query query;
    struct err err;
    assert_int_equal(parse_get(uri, &query, &err), RC_INVALID);
    assert_string_equal(err.message, "No such aggregation function: nosuch");
    assert_true(strlen(err.details) < sizeof(err.details));
    assert_string_equal(err.details + strlen(err.details) - 3, "...");
}

/* ---- POST ---- */

static void a_whole_body_is_read(void **state) {
    assert_post(
        "{\"start\":1356998400,\"end\":1356998460,\"msResolution\":true,\"showTSUIDs\":true,"
        "\"showQuery\":true,\"showSummary\":true,\"showStats\":true,"
        "\"noAnnotations\":true,\"globalAnnotations\":true,\"delete\":true,"
        "\"timezone\":\"UTC\",\"useCalendar\":true,\"padding\":true,\"options\":{\"a\":[]},"
        "\"nosuch\":[1,{\"x\":null}],\"queries\":[{\"aggregator\":\"sum\","
        "\"metric\":\"sys.cpu\",\"downsample\":\"1m-avg\",\"rate\":true,"
        "\"rateOptions\":{\"counter\":true,\"counterMax\":100,\"resetValue\":5,"
        "\"dropResets\":true},\"explicitTags\":true,\"preAggregate\":true,"
        "\"rollupUsage\":\"ROLLUP_RAW\",\"useFuzzyFilter\":false,"
        "\"filters\":[{\"type\":\"wildcard\",\"tagk\":\"host\",\"filter\":\"web*\","
        "\"groupBy\":true,\"x\":1},{\"type\":\"regexp\",\"tagk\":\"dc\","
        "\"filter\":\"^l\",\"group_by\":false}]},"
        "{\"aggregator\":\"max\",\"metric\":\"m2\",\"tags\":{\"b\":\"x|y\",\"a\":\"*\"}}]}",
        "1356998400000..1356998460000 ms tsuids query summary stats no_annotations "
        "global_annotations delete calendar UTC | 0 sum 1m-avg rate{counter,100,5,drop} "
        "explicit pre-agg ROLLUP_RAW sys.cpu host=wildcard(web*) dc~regexp(^l) | "
        "1 max m2 b=literal_or(x|y) a=wildcard(*)");
}

static void json_is_read_leniently(void **state) {
#define AM "\"aggregator\":\"sum\",\"metric\":\"m\""
    assert_post("{\"start\":\"1h-ago\",\"end\":null,\"msResolution\":\"true\",\"showQuery\":1,"
                "\"showStats\":0,\"delete\":null,\"showTSUIDs\":\"False\",\"queries\":[{" AM "}]}",
                "1356998400000..1357002000000 ms query end_ms | 0 sum m");
    assert_post("{\"start\":1.3569984e9,\"end\":\"1356998460\",\"queries\":[{" AM "}]}",
                "1356998400000..1356998460000 | 0 sum m");
    assert_post("{\"start\":1356998400000,\"end\":1356998460000,\"queries\":[{" AM "}]}",
                "1356998400000..1356998460000 end_ms | 0 sum m");
    assert_sub(AM ",\"rate\":\"true\",\"rateOptions\":{\"isCounter\":true,"
                  "\"counterMax\":65535.9,\"resetValue\":1e3}",
               "sum rate{counter,65535,1000} m");
    assert_sub(AM ",\"rateOptions\":{\"counter\":true,\"counterMax\":18446744073709551615,"
                  "\"resetValue\":\"12\"}",
               "sum{counter,9223372036854775807,12} m");
    assert_sub(AM ",\"rateOptions\":{\"counterMax\":1.8e19,\"resetValue\":null}",
               "sum{,9223372036854775807,0} m");
    assert_sub(AM ",\"rateOptions\":null,\"downsample\":null,\"tags\":null,\"filters\":null,"
                  "\"tsuids\":null,\"percentiles\":[]",
               "sum m");
    assert_sub("\"aggregator\":\"sum\",\"metric\":1234,\"tags\":{\"port\":80,\"up\":true}",
               "sum 1234 port=literal_or(80) up=literal_or(true)");
    assert_sub("\"aggregator\":\"sum\",\"metric\":\"m\\u00e9tal\"", "sum m\xc3\xa9tal");
}

static void the_later_of_tags_and_filters_wins(void **state) {
#define FILTERS "\"filters\":[{\"type\":\"wildcard\",\"tagk\":\"a\",\"filter\":\"*\"}]"
    assert_sub(AM ",\"tags\":{\"h\":\"x\"}," FILTERS, "sum m a~wildcard(*)");
    assert_sub(AM "," FILTERS ",\"tags\":{\"h\":\"x\"}", "sum m h=literal_or(x)");
    assert_sub(AM "," FILTERS ",\"tags\":{}", "sum m");
}

static void tsuids_go_before_metric_and_tags(void **state) {
    assert_sub(AM ",\"tags\":{\"h\":\"x\"},\"tsuids\":[\"0001\",\"0002\"]", "sum #0001 #0002");
    assert_sub(AM ",\"tsuids\":[]", "sum m");
}

static void repeated_sub_queries_of_a_body_are_dropped(void **state) {
    assert_post("{\"start\":\"1h-ago\",\"queries\":[{" AM "},{" AM "},{" AM ",\"rate\":true},{" AM
                ",\"rate\":false}]}",
                "1356998400000..1357002000000 end_ms | 0 sum m | 1 sum rate m");
}

static void bad_bodies_are_refused_with_their_reason(void **state) {
    assert_post_fails("", "Missing message content",
                      "Supply valid JSON formatted data in the body of your request");
    assert_post_fails("{", "Unable to parse the given JSON",
                      "string or '}' expected near end of file at line 1, column 1");
    assert_post_fails("[]", "Unable to parse the given JSON", "The query must be an object");
    assert_post_fails("{\"start\":\"\xff\"}", "Unable to parse the given JSON",
                      "unable to decode byte 0xff near '\"' at line 1, column 10");
    assert_post_fails("{\"queries\":[{" AM "}]}", "Missing start time",
                      DUMP("null", "null", SUB("m", "", "sum", "null")));
    assert_post_fails("{\"start\":\"1h-ago\"}", "Missing queries", DUMP("1h-ago", "null", ""));
    assert_post_fails("{\"start\":\"1h-ago\",\"queries\":null}", "Missing queries",
                      DUMP("1h-ago", "null", ""));
    assert_post_fails("{\"start\":\"1h-ago\",\"queries\":[]}", "Missing queries",
                      DUMP("1h-ago", "null", ""));
    assert_post_fails("{\"start\":\"1h-ago\",\"queries\":{}}", "Unable to parse the given JSON",
                      "The field 'queries' must be an array");
    assert_post_fails("{\"start\":\"1h-ago\",\"queries\":[{\"metric\":\"m\"}]}",
                      "Missing the aggregation function",
                      DUMP("1h-ago", "null", SUB("m", "", "null", "null")));
    assert_post_fails("{\"start\":\"1h-ago\",\"queries\":[{\"aggregator\":\"sum\"}]}",
                      "Missing the metric or tsuids, provide at least one",
                      DUMP("1h-ago", "null", SUB("", "", "sum", "null")));
    assert_post_fails("{\"start\":-1,\"queries\":[{" AM "}]}",
                      "Invalid time: -1. Negative timestamps are not supported.",
                      DUMP("-1", "null", SUB("m", "", "sum", "null")));
    assert_post_fails("{\"start\":{},\"queries\":[]}", "Unable to parse the given JSON",
                      "The field 'start' must be a string");
}

static void bad_sub_queries_are_refused_with_their_reason(void **state) {
    assert_sub_fails(AM ",\"rateOptions\":{\"counter\":true,\"nosuch\":1}",
                     "Unrecognized field \"nosuch\" in rateOptions");
    assert_sub_fails(AM ",\"rateOptions\":{\"counterMax\":\"x\"}",
                     "The field 'counterMax' must be a number");
    assert_sub_fails(AM ",\"rateOptions\":7", "The field 'rateOptions' must be an object");
    assert_sub_fails(AM ",\"rate\":\"maybe\"", "The field 'rate' must be true or false");
    assert_sub_fails(AM ",\"tags\":[]", "The field 'tags' must be an object");
    assert_sub_fails(AM ",\"tags\":{\"h\":\"\"}", "Filter cannot be null or empty");
    assert_sub_fails(AM ",\"tags\":{\"h\":\"nosuchfilter(x)\"}",
                     "Could not find a tag value filter of the type: nosuchfilter");
    assert_sub_fails(AM ",\"filters\":{}", "The field 'filters' must be an array");
    assert_sub_fails(AM ",\"filters\":[3]", "A filter must be an object");
    assert_sub_fails(AM ",\"filters\":[{\"type\":\"Wildcard\",\"tagk\":\"h\",\"filter\":\"*\"}]",
                     "Could not find a tag value filter of the type: Wildcard");
    assert_sub_fails(AM ",\"filters\":[{\"type\":\"wildcard\",\"filter\":\"*\"}]",
                     "The tagk cannot be null or empty");
    assert_sub_fails(AM ",\"filters\":[{\"type\":\"regexp\",\"tagk\":\"h\",\"filter\":\"*\"}]",
                     "Invalid regular expression '*': quantifier does not follow a repeatable item "
                     "near index 0");
    assert_sub_fails(AM ",\"tsuids\":\"0001\"", "The field 'tsuids' must be an array");
}

static void a_window_stays_within_the_times_of_points(void **state) {
    assert_get("start=9223372036854775806ms&end=9223372036854775807ms&m=sum:m",
               "10000000000000..10000000000001 end_ms | 0 sum m");
    assert_get("start=0&end=99999999999999&m=sum:m", "0..10000000000001 end_ms | 0 sum m");
    assert_get("start=1900/01/01&end=1950/01/01&m=sum:m", "0..1 | 0 sum m");
}

static void too_many_sub_queries_are_refused(void **state) {
    struct buf body = {0};
    buf_str(&body, STR("{\"start\":\"1h-ago\",\"queries\":["));
    for (int i = 0; i < 4097; i++)
        buf_printf(&body, "%s{\"aggregator\":\"sum\",\"metric\":\"m%d\"}", i == 0 ? "" : ",", i);
    buf_str(&body, STR("]}"));
    struct query query;
    struct err err;
    assert_int_equal(query_parse_post(buf_view(&body), &context, &arena, &query, &err), RC_INVALID);
    assert_string_equal(err.message, "Too many sub queries: 4097 (at most 4096)");
    buf_fini(&body);
}

static void deep_bodies_are_refused(void **state) {
    char body[512] = "{\"start\":\"[[[[\\\"{{{{\",\"options\":";
    size_t n = strlen(body);
    memset(body + n, '[', 63);
    memset(body + n + 63, ']', 63);
    snprintf(body + n + 126, 80, ",\"queries\":[{" AM "}]}");
    assert_post_fails(body, "Invalid time: [[[[\"{{{{. Invalid character '[' in [[[[\"{{{{",
                      DUMP("[[[[\"{{{{", "null", SUB("m", "", "sum", "null")));
    memset(body, '[', 65);
    body[65] = '\0';
    assert_post_fails(body, "Unable to parse the given JSON", "Nested deeper than 64");
}

static void every_cut_of_a_body_is_refused(void **state) {
    static const char body[] = "{\"start\":\"1h-ago\",\"queries\":[{" AM
                               ",\"tags\":{\"h\":\"\\u00e9*\"},\"rateOptions\":{\"counter\":true,"
                               "\"counterMax\":1.5e3}}]}";
    for (size_t n = 1; n < strlen(body); n++) {
        struct query query;
        struct err err;
        assert_int_equal(query_parse_post((str){body, n}, &context, &arena, &query, &err),
                         RC_INVALID);
        assert_string_equal(err.message, "Unable to parse the given JSON");
    }
}

static void a_body_that_is_too_large_is_refused(void **state) {
    size_t n = (4u << 20) + 1;
    char *body = calloc(1, n);
    assert_non_null(body);
    memset(body, ' ', n);
    struct query query;
    struct err err;
    assert_int_equal(query_parse_post((str){body, n}, &context, &arena, &query, &err), RC_LIMIT);
    assert_int_equal(err_http_status(&err), 413);
    free(body);
}

static void a_query_over_budget_says_so(void **state) {
    struct budget budget;
    budget_init(&budget, 1, NULL);
    struct arena poor;
    arena_init(&poor, &budget);
    struct query query;
    struct err err;
    const struct query_parameter parameters[] = {{STR("start"), STR("1h-ago")},
                                                 {STR("m"), STR("sum:m")}};
    assert_int_equal(query_parse_get(parameters, 2, &context, &poor, &query, &err), RC_NOMEM);
    assert_int_equal(query_parse_post(STR("{\"start\":\"1h-ago\",\"queries\":[{" AM "}]}"),
                                      &context, &poor, &query, &err),
                     RC_NOMEM);
    arena_fini(&poor);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(m_is_read_as_opentsdb_reads_it),
        cmocka_unit_test(bad_m_is_refused_with_its_reason),
        cmocka_unit_test(histogram_percentiles_are_not_supported),
        cmocka_unit_test(get_parameters_are_read),
        cmocka_unit_test(sub_queries_keep_their_order_and_lose_repetitions),
        cmocka_unit_test(bad_get_queries_are_refused_with_their_reason),
        cmocka_unit_test(the_configured_zone_reads_dates_but_not_buckets),
        cmocka_unit_test(calendar_and_zone_reach_the_downsampling),
        cmocka_unit_test(long_details_are_cut),
        cmocka_unit_test(a_whole_body_is_read),
        cmocka_unit_test(json_is_read_leniently),
        cmocka_unit_test(the_later_of_tags_and_filters_wins),
        cmocka_unit_test(tsuids_go_before_metric_and_tags),
        cmocka_unit_test(repeated_sub_queries_of_a_body_are_dropped),
        cmocka_unit_test(bad_bodies_are_refused_with_their_reason),
        cmocka_unit_test(bad_sub_queries_are_refused_with_their_reason),
        cmocka_unit_test(a_window_stays_within_the_times_of_points),
        cmocka_unit_test(too_many_sub_queries_are_refused),
        cmocka_unit_test(deep_bodies_are_refused),
        cmocka_unit_test(every_cut_of_a_body_is_refused),
        cmocka_unit_test(a_body_that_is_too_large_is_refused),
        cmocka_unit_test(a_query_over_budget_says_so),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
