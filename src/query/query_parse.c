#include "query/query_parse.h"

#include "base/attr.h"
#include "base/hash.h"
#include "model/limits.h"

#include <inttypes.h>

enum { DETAILS_BYTES_MAX = 480 };

enum rc query_parse_no_memory(struct err *err) {
    return err_set(err, RC_NOMEM, "No memory for the text of the query");
}

struct query_rate query_parse_default_rate(void) {
    return (struct query_rate){.counter_max = INT64_MAX};
}

bool query_parse_saturated(str text, int64_t *value) {
    bool negative = text.n > 0 && text.p[0] == '-';
    if (negative || (text.n > 0 && text.p[0] == '+'))
        text = str_from(text, 1);
    int64_t sum = 0;
    bool beyond = false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        int digit = text.p[i] - '0';
        beyond |= __builtin_mul_overflow(sum, 10, &sum) || __builtin_sub_overflow(sum, digit, &sum);
    }
    /* Summed below zero, where there is room for one more. */
    if (beyond)
        *value = negative ? INT64_MIN : INT64_MAX;
    else if (negative)
        *value = sum;
    else
        *value = sum == INT64_MIN ? INT64_MAX : -sum;
    return text.n > 0;
}

/* ---- the query as text, for the details of errors ---- */

static void put_text(struct buf *out, const char *name, str text) {
    buf_printf(out, "%s%.*s", name, text.n == 0 ? 4 : (int)text.n, text.n == 0 ? "null" : text.p);
}

static const char *truth(bool value) {
    return value ? "true" : "false";
}

static void put_filters(struct buf *out, const struct query_sub *sub) {
    for (uint32_t i = 0; i < sub->filter_count; i++) {
        const struct filter *filter = &sub->filters[i];
        buf_printf(out, "%s%.*s=%.*s(%.*s)", i == 0 ? "" : ", ", STR_ARG(filter->key),
                   STR_ARG(filter->type_name), STR_ARG(filter->text));
    }
}

static void put_sub(struct buf *out, const struct query_sub *sub) {
    buf_printf(out, "TSSubQuery(metric=%.*s, filters=[", STR_ARG(sub->metric));
    put_filters(out, sub);
    buf_str(out, STR("], tsuids=["));
    for (uint32_t i = 0; i < sub->tsuid_count; i++)
        buf_printf(out, "%s%.*s", i == 0 ? "" : ", ", STR_ARG(sub->tsuids[i]));
    put_text(out, "], agg=", sub->aggregator_name);
    put_text(out, ", downsample=", sub->downsample_text);
    buf_printf(out, ", rate=%s, explicit_tags=%s, index=%" PRIu32 ")", truth(sub->rate),
               truth(sub->explicit_tags), sub->index);
}

static void put_query(struct buf *out, const struct query *query) {
    put_text(out, "TSQuery(start_time=", query->start_text);
    put_text(out, ", end_time=", query->end_text);
    buf_str(out, STR(", subQueries["));
    for (uint32_t i = 0; i < query->sub_count && !out->failed; i++) {
        if (i > 0)
            buf_str(out, STR(", "));
        put_sub(out, &query->subs[i]);
    }
    buf_printf(out,
               "] padding=false, no_annotations=%s, with_global_annotations=%s, show_tsuids=%s, "
               "ms_resolution=%s, options=[])",
               truth(query->no_annotations), truth(query->global_annotations),
               truth(query->show_tsuids), truth(query->ms_resolution));
}

static void describe(const struct query *query, struct err *err) {
    if (err == NULL)
        return;
    struct buf out = {.max = DETAILS_BYTES_MAX};
    put_query(&out, query);
    err_details(err, "%.*s%s", STR_ARG(buf_view(&out)), out.failed ? "..." : "");
    buf_fini(&out);
}

/* ---- validation ---- */

static bool same_filters(const struct query_sub *a, const struct query_sub *b) {
    if (a->filter_count != b->filter_count)
        return false;
    for (uint32_t i = 0; i < a->filter_count; i++) {
        const struct filter *x = &a->filters[i], *y = &b->filters[i];
        if (x->type != y->type || x->group_by != y->group_by || !str_eq(x->key, y->key) ||
            !str_eq(x->text, y->text))
            return false;
    }
    return true;
}

static bool same_tsuids(const struct query_sub *a, const struct query_sub *b) {
    if (a->tsuid_count != b->tsuid_count)
        return false;
    for (uint32_t i = 0; i < a->tsuid_count; i++)
        if (!str_eq(a->tsuids[i], b->tsuids[i]))
            return false;
    return true;
}

static bool same_rate(const struct query_sub *a, const struct query_sub *b) {
    const struct query_rate *x = &a->rate_options, *y = &b->rate_options;
    return a->rate == b->rate && a->rate_options_given == b->rate_options_given &&
           x->counter == y->counter && x->counter_max == y->counter_max &&
           x->reset_value == y->reset_value && x->drop_resets == y->drop_resets;
}

static bool same_sub(const struct query_sub *a, const struct query_sub *b) {
    return str_eq(a->metric, b->metric) && str_eq(a->aggregator_name, b->aggregator_name) &&
           str_eq(a->downsample_text, b->downsample_text) &&
           str_eq(a->rollup_usage, b->rollup_usage) && a->explicit_tags == b->explicit_tags &&
           a->pre_aggregate == b->pre_aggregate && same_rate(a, b) && same_tsuids(a, b) &&
           same_filters(a, b);
}

static uint64_t print_str(uint64_t print, str text) {
    return hash_chain(print + text.n, text.p, text.n);
}

/* Equal sub queries have equal fingerprints, and hardly any others have. */
static uint64_t fingerprint(const struct query_sub *sub) {
    uint64_t print = print_str(sub->filter_count, sub->metric);
    print = print_str(print, sub->aggregator_name);
    print = print_str(print, sub->downsample_text);
    for (uint32_t i = 0; i < sub->filter_count; i++)
        print = print_str(print_str(print, sub->filters[i].key), sub->filters[i].text);
    for (uint32_t i = 0; i < sub->tsuid_count; i++)
        print = print_str(print, sub->tsuids[i]);
    return print;
}

static void remove_repeated(struct query *query) {
    uint64_t prints[QUERY_PARSE_SUBS_MAX];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < query->sub_count; i++) {
        uint64_t print = fingerprint(&query->subs[i]);
        bool repeated = false;
        for (uint32_t j = 0; j < kept && !repeated; j++)
            repeated = prints[j] == print && same_sub(&query->subs[i], &query->subs[j]);
        if (repeated)
            continue;
        prints[kept] = print;
        query->subs[kept] = query->subs[i];
        query->subs[kept].index = kept;
        kept++;
    }
    query->sub_count = kept;
}

/* The zone of a query; unknown ones matter only to what depends on them. */
struct zone {
    str name; /* n 0: UTC */
    bool unknown;
    const struct timezone *timezone;
};

static struct zone zone_named(str name) {
    struct zone zone = {.name = name};
    if (name.n > 0)
        zone.timezone = timezone_find(name);
    zone.unknown = name.n > 0 && zone.timezone == NULL;
    return zone;
}

static bool is_absolute(str time) {
    return str_find(time, '/') < time.n || str_find(time, ':') < time.n;
}

static enum rc read_time(str text, const struct zone *zone, int64_t now_ms, int64_t *time_ms,
                         bool *given_ms, struct err *err) {
    if (zone->unknown && is_absolute(text))
        return err_set(err, RC_INVALID, "Invalid timezone name: %.*s", STR_ARG(zone->name));
    return timezone_parse_time(text, zone->timezone, now_ms, time_ms, given_ms, err);
}

/* No point lies outside the times a point may have, so a window reaches at most one millisecond
   beyond them, and nothing computed from it overflows. */
static void clamp_window(struct query *query) {
    const int64_t last_ms = LIMIT_TIME_MS_MAX + 2;
    if (query->end_ms > last_ms)
        query->end_ms = last_ms;
    if (query->start_ms >= query->end_ms)
        query->start_ms = query->end_ms - 1;
    if (query->start_ms < 0)
        query->start_ms = 0;
    if (query->end_ms <= query->start_ms)
        query->end_ms = query->start_ms + 1;
}

static enum rc validate_times(struct query *query, const struct query_parse_context *context,
                              struct err *err) {
    struct zone zone = zone_named(query->timezone.n > 0 ? query->timezone : context->timezone);
    if (query->start_text.n == 0)
        return err_set(err, RC_INVALID, "Missing start time");
    TRY(read_time(query->start_text, &zone, context->now_ms, &query->start_ms, NULL, err));
    query->end_ms = context->now_ms;
    query->end_given_ms = true;
    if (query->end_text.n > 0)
        TRY(read_time(query->end_text, &zone, context->now_ms, &query->end_ms, &query->end_given_ms,
                      err));
    if (query->end_ms <= query->start_ms)
        return err_set(err, RC_INVALID,
                       "End time [%" PRId64 "] must be greater than the start time [%" PRId64 "]",
                       query->end_ms, query->start_ms);
    clamp_window(query);
    return RC_OK;
}

static enum rc validate_sub(struct query_sub *sub, const struct query *query,
                            const struct zone *zone, struct err *err) {
    if (sub->aggregator_name.n == 0)
        return err_set(err, RC_INVALID, "Missing the aggregation function");
    if (!aggregator_find(sub->aggregator_name, &sub->aggregator))
        return err_set(err, RC_INVALID, "No such aggregation function: %.*s",
                       STR_ARG(sub->aggregator_name));
    if (sub->metric.n == 0 && sub->tsuid_count == 0)
        return err_set(err, RC_INVALID, "Missing the metric or tsuids, provide at least one");
    sub->downsampled = sub->downsample_text.n > 0;
    if (!sub->downsampled)
        return RC_OK;
    TRY(downsample_parse(sub->downsample_text, &sub->downsample, err));
    if (zone->unknown)
        return err_set(err, RC_INVALID, "The timezone specification could not be found");
    sub->downsample.timezone = zone->timezone;
    if (query->use_calendar && !sub->downsample.all)
        sub->downsample.calendar = true;
    return RC_OK;
}

static enum rc validate(struct query *query, const struct query_parse_context *context,
                        struct err *err) {
    TRY(validate_times(query, context, err));
    if (query->sub_count == 0)
        return err_set(err, RC_INVALID, "Missing queries");
    struct zone zone = zone_named(query->timezone);
    for (uint32_t i = 0; i < query->sub_count; i++)
        TRY(validate_sub(&query->subs[i], query, &zone, err));
    return RC_OK;
}

enum rc query_parse_make_subs(struct query *query, size_t count, struct arena *query_arena,
                              struct err *err) {
    if (count > QUERY_PARSE_SUBS_MAX)
        return err_set(err, RC_INVALID, "Too many sub queries: %zu (at most %d)", count,
                       (int)QUERY_PARSE_SUBS_MAX);
    query->subs = ARENA_ARRAY(query_arena, struct query_sub, count + 1);
    return query->subs == NULL ? query_parse_no_memory(err) : RC_OK;
}

enum rc query_parse_validate(struct query *query, const struct query_parse_context *context,
                             struct err *err) {
    remove_repeated(query);
    enum rc rc = validate(query, context, err);
    if (rc != RC_OK) {
        describe(query, err);
        return rc;
    }
    for (uint32_t i = 0; i < query->sub_count; i++) {
        /* Time series named by TSUID are taken as they are. */
        struct query_sub *sub = &query->subs[i];
        if (sub->tsuid_count == 0)
            continue;
        sub->metric = (str){NULL, 0};
        sub->filter_count = 0;
    }
    return RC_OK;
}

/* ---- GET ---- */

/* The last parameter of a name, as single values are read; NULL if there is none. */
static const struct query_parameter *last_of(const struct query_parameter *parameters,
                                             uint32_t count, const char *name) {
    for (uint32_t i = count; i > 0; i--)
        if (str_eq(parameters[i - 1].name, str_of(name)))
            return &parameters[i - 1];
    return NULL;
}

static enum rc take_text(const struct query_parameter *parameters, uint32_t count, const char *name,
                         struct arena *query_arena, str *text, struct err *err) {
    const struct query_parameter *parameter = last_of(parameters, count, name);
    *text = (str){NULL, 0};
    if (parameter == NULL)
        return RC_OK;
    *text = arena_str(query_arena, parameter->value);
    return text->p == NULL ? query_parse_no_memory(err) : RC_OK;
}

static size_t count_of(const struct query_parameter *parameters, uint32_t count, str name) {
    size_t found = 0;
    for (uint32_t i = 0; i < count; i++)
        found += str_eq(parameters[i].name, name);
    return found;
}

/* Flags are set by being there, whatever their value. */
static void take_flags(const struct query_parameter *parameters, uint32_t count,
                       struct query *query) {
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {
        {"ms", &query->ms_resolution},
        {"show_tsuids", &query->show_tsuids},
        {"show_query", &query->show_query},
        {"show_summary", &query->show_summary},
        {"show_stats", &query->show_stats},
        {"no_annotations", &query->no_annotations},
        {"global_annotations", &query->global_annotations},
        {"use_calendar", &query->use_calendar},
    };
    for (size_t i = 0; i < COUNT_OF(flags); i++)
        *flags[i].flag = last_of(parameters, count, flags[i].name) != NULL;
}

static enum rc take_subs(const struct query_parameter *parameters, uint32_t count, bool by_tsuid,
                         struct arena *query_arena, struct query *query, struct err *err) {
    str name = by_tsuid ? STR("tsuid") : STR("m");
    for (uint32_t i = 0; i < count; i++) {
        if (!str_eq(parameters[i].name, name))
            continue;
        struct query_sub *sub = &query->subs[query->sub_count++];
        TRY(query_parse_m(parameters[i].value, by_tsuid, query_arena, sub, err));
    }
    return RC_OK;
}

enum rc query_parse_get(const struct query_parameter *parameters, uint32_t count,
                        const struct query_parse_context *context, struct arena *query_arena,
                        struct query *query, struct err *err) {
    *query = (struct query){0};
    TRY(take_text(parameters, count, "start", query_arena, &query->start_text, err));
    if (query->start_text.n == 0)
        return err_set(err, RC_INVALID, "Missing parameter <code>start</code>");
    TRY(take_text(parameters, count, "end", query_arena, &query->end_text, err));
    TRY(take_text(parameters, count, "timezone", query_arena, &query->timezone, err));
    take_flags(parameters, count, query);
    size_t subs = count_of(parameters, count, STR("tsuid")) + count_of(parameters, count, STR("m"));
    TRY(query_parse_make_subs(query, subs, query_arena, err));
    TRY(take_subs(parameters, count, true, query_arena, query, err));
    TRY(take_subs(parameters, count, false, query_arena, query, err));
    if (query->sub_count == 0)
        return err_set(err, RC_INVALID, "Missing sub queries");
    return query_parse_validate(query, context, err);
}
