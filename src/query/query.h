/*
 * A query as OpenTSDB means it, and running it.
 *
 *     text (GET parameters, POST body) -> query_parse_* -> struct query -> query_run -> results
 *
 * Everything of one query lives in one arena, the query_arena. The pipeline is the one of OpenTSDB
 * 2.4: select series, group, downsample each, rate each, merge with interpolation, aggregate, trim
 * to [start, end].
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "query/aggregator.h"
#include "query/downsample.h"
#include "query/filter.h"

#include <stdbool.h>
#include <stdint.h>

struct store;
struct query_names;
struct series_tag;

struct query_rate {
    bool counter;
    int64_t counter_max; /* default INT64_MAX */
    int64_t reset_value; /* 0: off */
    bool drop_resets;
};

struct query_sub {
    uint32_t index; /* position among the sub queries after removing duplicates */
    str aggregator_name;
    enum aggregator aggregator;
    str metric; /* n 0 if tsuids are given */
    const str *tsuids;
    uint32_t tsuid_count;
    str downsample_text; /* as given, n 0 if none */
    bool downsampled;
    struct downsample downsample;
    bool rate;
    bool rate_options_given;
    struct query_rate rate_options;
    const struct filter *filters; /* in OpenTSDB's order */
    uint32_t filter_count;
    bool explicit_tags;
    bool pre_aggregate;
    str rollup_usage; /* as given, n 0 if none */
};

struct query {
    int64_t start_ms;
    int64_t end_ms;
    bool end_given_ms; /* end was given in milliseconds (extends the scan by a second) */
    str start_text;    /* as given, for show_query and messages */
    str end_text;
    str timezone; /* n 0: UTC */
    bool use_calendar;
    bool ms_resolution;
    bool show_tsuids;
    bool show_query;
    bool show_summary;
    bool show_stats;
    bool no_annotations;
    bool global_annotations;
    bool delete;
    struct query_sub *subs;
    uint32_t sub_count;
};

/* One name=value of a URI, decoded. Repeated names stay in order. */
struct query_parameter {
    str name;
    str value;
};

/* What parsing needs from outside. */
struct query_parse_context {
    int64_t now_ms;
    str timezone; /* tsd.core.timezone; n 0: UTC */
};

/* Parses and validates GET parameters / a POST body. On failure RC_INVALID with OpenTSDB's message,
   status and details. Strings in *query are in the arena. */
enum rc query_parse_get(const struct query_parameter *parameters, uint32_t count,
                        const struct query_parse_context *context, struct arena *query_arena,
                        struct query *query, struct err *err) MUST_USE;
enum rc query_parse_post(str body, const struct query_parse_context *context,
                         struct arena *query_arena, struct query *query, struct err *err) MUST_USE;

/* ---- running (query_run.c) ---- */

struct query_limits {
    int64_t deadline_ns;        /* clock_monotonic_ns at which it fails with RC_TIMEOUT; 0: none */
    uint64_t points_max;        /* 0: none; beyond: RC_LIMIT with OpenTSDB's 413 text */
    uint64_t bytes_max;         /* 0: none; likewise */
    uint32_t threads;           /* workers for this query: 1 .. 64 */
    struct budget *budget;      /* memory of this query; over it: RC_THROTTLE with a clear text */
    bool skip_unknown_metrics;  /* tsd.query.skip_unknown_metrics */
    bool skip_unresolved_tagvs; /* tsd.query.skip_unresolved_tagvs */
    uint32_t expansion_limit;   /* tsd.query.filter.expansion_limit: 4096 */
    bool (*cancelled)(void *context); /* may be NULL; asked every few milliseconds */
    void *context;
};

/* One time series of the answer. */
struct query_result {
    const struct query_sub *sub;
    str metric;
    /* Names of what follows, for whoever formats the result. */
    struct query_names *names;
    const struct series_tag *tags; /* common tags, by tag key UID */
    uint32_t tag_count;
    const uint32_t *aggregate_tags; /* UIDs of keys, ascending */
    uint32_t aggregate_tag_count;
    struct series *const *series; /* members of the group; in TSUID order where order shows */
    uint32_t series_count;
    /* Output points, ascending, trimmed to [start, end]. NaN stands for an empty filled bucket. */
    uint64_t point_count;
    const int64_t *time_ms;
    const uint64_t *bits;
    const uint64_t *float_mask; /* NULL: all doubles */
};

struct query_counters {
    uint64_t series;
    uint64_t points_scanned;
    uint64_t bytes_scanned;
    uint64_t points_emitted;
    uint64_t nan_emitted;
    uint64_t damaged_vectors;
    int64_t select_ns;
    int64_t scan_ns;
    int64_t aggregate_ns;
    int64_t format_ns;
    int64_t total_ns;
};

/* Where results go. `format` appends the text of one result to `out`; it is called from several
   threads at once, each with its own `out`. `write` gets those texts in the order of the answer,
   one call at a time, `first` true for the first one; a negative return stops the query. A text is
   that of one result, or, with `joined`, of several, each with a comma before it but for the first
   of the answer: many small results then cost few calls. */
struct query_sink {
    void (*format)(void *context, const struct query *query, const struct query_result *result,
                   struct buf *out);
    enum rc (*write)(void *context, str text, bool first);
    void *context;
    bool joined;
};

/* Runs a query. Unknown names: RC_NOT_FOUND (400) with "No such name for 'metrics': 'x'" as message
   and details. Results already written stay written when a later one fails. */
enum rc query_run(struct store *store, const struct query *query, const struct query_limits *limits,
                  const struct query_sink *sink, struct query_counters *counters,
                  struct err *err) MUST_USE;

/* Resolves the series of one sub query (the selection step alone), for deletes and look-ups. While
   the caller uses them it is pinned to store_epochs or keeps removals off (store_writers_enter). */
struct series_vec;
enum rc query_select(struct store *store, const struct query_sub *sub,
                     const struct query_limits *limits, struct series_vec *out,
                     struct err *err) MUST_USE;
