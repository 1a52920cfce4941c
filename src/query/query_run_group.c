#include "base/check.h"
#include "os/clock.h"
#include "query/query_run.h"

#include <math.h>
#include <string.h>

/* ---- fetching ahead ---- */

void query_run_begin_row(struct query_worker *worker, const struct query_plan *plan,
                         const struct query_span *span) {
    worker->row = (struct scan_row){plan->series.p + span->first, span->count,
                                    plan->window.scan_from_ms, plan->window.scan_to_ms};
    worker->row_first = span->first;
    scan_prefetch_first(&worker->scan, &worker->row);
}

/* `at` is a position in the plan. */
static void prefetch_ahead(struct query_worker *worker, size_t at) {
    scan_prefetch(&worker->scan, &worker->row, at - worker->row_first);
}

/* ---- members (a series removed since the selection is NULL) ---- */

static void begin_group(struct query_worker *worker) {
    arena_reset(&worker->kept);
    worker->last_kept = (struct merge_column){0};
    merge_timeline_reset(&worker->timeline);
    worker->ints_seen = false;
    worker->floats_seen = false;
    worker->reload_seen = false;
}

static bool prepare_group(struct query_worker *worker, const struct query_plan *plan,
                          const struct query_span *span) {
    struct query_group *group = &worker->group;
    group->plan = plan;
    group->series = plan->series.p + span->first;
    group->count = span->count;
    group->columns = SCRATCH_ARRAY(&group->columns_memory, struct merge_column, span->count);
    group->members = SCRATCH_ARRAY(&group->members_memory, uint8_t, span->count);
    if (group->columns == NULL || group->members == NULL)
        return false;
    memset(group->members, MEMBER_ABSENT, span->count);
    return true;
}

/* The part of a column that the answer shows. */
static void visible(const struct query_run *run, const struct merge_column *column, size_t *from,
                    size_t *count) {
    *from = 0;
    *count = column->count;
    if (column->count == 0 || (column->time_ms[0] >= run->query->start_ms &&
                               column->time_ms[column->count - 1] <= run->query->end_ms))
        return;
    *from = merge_lower_bound(column->time_ms, column->count, run->query->start_ms);
    size_t end = column->count;
    if (run->query->end_ms < LIMIT_TIME_MS_MAX)
        end = merge_lower_bound(column->time_ms, column->count, run->query->end_ms + 1);
    *count = end > *from ? end - *from : 0;
}

static void note_kind(struct query_worker *worker, const struct merge_column *column) {
    if (column->count == 0)
        return;
    worker->ints_seen |= column->kind != POINTS_DOUBLES;
    worker->floats_seen |= column->kind != POINTS_INTEGERS;
}

/* Copies a column to where it lasts until the group is done; false if there is no room. Collectors
   send their series in step, so the times are often those of the column before. */
static bool keep(struct query_worker *worker, const struct merge_column *column,
                 struct merge_column *kept) {
    *kept = *column;
    size_t n = column->count;
    if (n == 0)
        return true;
    const struct merge_column *last = &worker->last_kept;
    bool same_times =
        last->count == n && memcmp(last->time_ms, column->time_ms, n * sizeof(int64_t)) == 0;
    size_t words = column->kind == POINTS_MIXED ? (n + 63) / 64 : 0;
    uint64_t *memory = ARENA_ARRAY(&worker->kept, uint64_t, n + words + (same_times ? 0 : n));
    if (memory == NULL)
        return false;
    memcpy(memory, column->bits, n * sizeof(*memory));
    kept->bits = memory;
    if (words > 0)
        memcpy(memory + n, column->float_mask, words * sizeof(*memory));
    kept->float_mask = memory + n;
    kept->time_ms = last->time_ms;
    if (!same_times) {
        memcpy(memory + n + words, column->time_ms, n * sizeof(*memory));
        kept->time_ms = (const int64_t *)(memory + n + words);
    }
    worker->last_kept = *kept;
    return true;
}

static void load_member(struct query_worker *worker, struct query_group *group, uint32_t i) {
    struct merge_column column;
    bool present;
    if (group->series[i] == NULL)
        return;
    query_run_load(worker, group->plan, group->series[i], &column, &present);
    if (!present)
        return;
    note_kind(worker, &column);
    size_t from, count;
    visible(worker->run, &column, &from, &count);
    if (!merge_timeline_add(&worker->timeline, column.time_ms + from, count)) {
        query_run_out_of_memory(worker->run);
        return;
    }
    group->members[i] = MEMBER_KEPT;
    if (keep(worker, &column, &group->columns[i]))
        return;
    group->members[i] = MEMBER_RELOAD;
    worker->reload_seen = true;
}

/* A value that comes from a second reading may be of another kind than the first one had. */
static enum merge_mode mode_of(const struct query_group *group, bool ints, bool floats,
                               bool reload) {
    const struct query_sub *sub = group->plan->sub;
    if (sub->rate || sub->downsampled)
        return MERGE_DOUBLES;
    if (reload || (ints && floats))
        return MERGE_MIXED;
    return floats ? MERGE_DOUBLES : MERGE_INTEGERS;
}

/* ---- merging ---- */

static bool prepare_output(struct query_group *group) {
    size_t n = group->time_count;
    return SCRATCH_ARRAY(&group->bits, uint64_t, n + 1) != NULL &&
           (group->mode == MERGE_DOUBLES ||
            SCRATCH_ARRAY(&group->mask, uint64_t, (n + 63) / 64 + 1) != NULL);
}

static void merge_slice(struct query_worker *worker, const struct query_group *group,
                        size_t number) {
    const struct query_sub *sub = group->plan->sub;
    struct merge_slice *slice = &worker->slice;
    size_t from = number * group->slice_length;
    size_t count = group->time_count - from;
    if (count > group->slice_length)
        count = group->slice_length;
    if (!merge_slice_begin(slice, sub->aggregator, sub->rate, group->mode, group->time_ms + from,
                           count, group->count)) {
        query_run_out_of_memory(worker->run);
        return;
    }
    for (uint32_t i = 0; i < group->count && !query_run_failed(worker->run); i++) {
        if (group->members[i] == MEMBER_KEPT) {
            merge_slice_add(slice, &group->columns[i]);
            query_run_look(worker);
        } else if (group->members[i] == MEMBER_RELOAD) {
            struct merge_column column;
            bool present;
            query_run_load(worker, group->plan, group->series[i], &column, &present);
            merge_slice_add(slice, &column);
        }
    }
    uint64_t *mask = group->mode == MERGE_DOUBLES ? NULL : (uint64_t *)group->mask.p + from / 64;
    merge_slice_end(slice, (uint64_t *)group->bits.p + from, mask);
}

/* ---- tags ---- */

static bool add_common(struct query_worker *worker, uint32_t at, const struct series_tag *tag) {
    struct query_common *common =
        SCRATCH_ARRAY(&worker->common, struct query_common, worker->common_count + 1);
    if (common == NULL)
        return false;
    memmove(common + at + 1, common + at, (worker->common_count - at) * sizeof(*common));
    common[at] = (struct query_common){tag->key_uid, tag->value_uid, false};
    worker->common_count++;
    return true;
}

/* A key is common unless two members have different values for it; a member without the key does
   not matter. */
static bool note_tags(struct query_worker *worker, const struct series *series) {
    uint32_t at = 0;
    for (uint32_t i = 0; i < series->tag_count; i++) {
        const struct series_tag *tag = &series->tags[i];
        struct query_common *common = worker->common.p;
        while (at < worker->common_count && common[at].key_uid < tag->key_uid)
            at++;
        if (at < worker->common_count && common[at].key_uid == tag->key_uid)
            common[at].conflict |= common[at].value_uid != tag->value_uid;
        else if (!add_common(worker, at, tag))
            return false;
        at++;
    }
    return true;
}

/* What the members have in common, and what not. */
static bool tags_of_group(struct query_worker *worker, struct query_result *result) {
    uint32_t n = worker->common_count;
    struct series_tag *tags = SCRATCH_ARRAY(&worker->tags, struct series_tag, n + 1);
    uint32_t *aggregate = SCRATCH_ARRAY(&worker->aggregate_tags, uint32_t, n + 1);
    if (tags == NULL || aggregate == NULL)
        return false;
    const struct query_common *common = worker->common.p;
    for (uint32_t i = 0; i < n; i++) {
        if (common[i].conflict)
            aggregate[result->aggregate_tag_count++] = common[i].key_uid;
        else
            tags[result->tag_count++] = (struct series_tag){common[i].key_uid, common[i].value_uid};
    }
    result->tags = tags;
    result->aggregate_tags = aggregate;
    return true;
}

static bool list_members(struct query_worker *worker, const struct query_group *group,
                         struct query_result *result) {
    result->series = group->series;
    if (group->count == 1) {
        const struct series *only = group->series[0];
        result->series_count = group->members[0] != MEMBER_ABSENT;
        result->tags = result->series_count == 0 ? NULL : only->tags;
        result->tag_count = result->series_count == 0 ? 0 : only->tag_count;
        return true;
    }
    struct series **members = SCRATCH_ARRAY(&worker->members, struct series *, group->count);
    if (members == NULL)
        return false;
    worker->common_count = 0;
    for (uint32_t i = 0; i < group->count; i++) {
        if (group->members[i] == MEMBER_ABSENT)
            continue;
        members[result->series_count++] = group->series[i];
        if (!note_tags(worker, group->series[i]))
            return false;
    }
    result->series = members;
    return tags_of_group(worker, result);
}

/* ---- result ---- */

/* OpenTSDB refuses to print infinities. Counts the NaNs on the way. */
static bool check_values(struct query_worker *worker, const struct query_result *result) {
    uint64_t nans = 0;
    for (uint64_t i = 0; i < result->point_count; i++) {
        if (result->float_mask != NULL && (result->float_mask[i / 64] >> (i % 64) & 1) == 0)
            continue;
        double value = points_double_of(result->bits[i]);
        nans += value != value;
        if (!isinf(value))
            continue;
        struct err err;
        enum rc rc = err_set_http(&err, RC_INVALID, 400, "Got Infinity: %sInfinity at %lld",
                                  value < 0 ? "-" : "", (long long)result->time_ms[i]);
        query_run_fail(worker->run, rc, &err);
        return false;
    }
    worker->counters.nan_emitted += nans;
    worker->counters.points_emitted += result->point_count;
    return true;
}

static bool finish_group(struct query_worker *worker, const struct query_group *group,
                         struct buf *out) {
    struct query_run *run = worker->run;
    const struct query_sub *sub = group->plan->sub;
    if (query_run_failed(run))
        return false;
    struct query_result result = {
        .sub = sub,
        .metric = sub->metric,
        .names = &worker->names,
        .point_count = group->time_count,
        .time_ms = group->time_ms,
        .bits = group->bits.p,
        .float_mask = group->mode == MERGE_DOUBLES ? NULL : group->mask.p,
    };
    if (!list_members(worker, group, &result)) {
        query_run_out_of_memory(run);
        return false;
    }
    if (result.series_count == 0 || !check_values(worker, &result))
        return false;
    if (sub->tsuid_count > 0)
        result.metric = index_name(run->index, INDEX_METRIC, result.series[0]->metric_uid);
    if (run->sink->joined)
        buf_char(out, ',');
    run->sink->format(run->sink->context, run->query, &result, out);
    return true;
}

/* ---- alone ---- */

/* Reading the clock around each of tens of thousands of small groups would cost more than is worth
   knowing: one in so many is measured and stands for the others. */
enum { SAMPLE = 16 };

static void load_single(struct query_worker *worker, struct query_group *group,
                        const struct query_span *span) {
    struct merge_column *column = &group->columns[0];
    bool present;
    if (group->series[0] == NULL)
        return;
    prefetch_ahead(worker, span->first);
    query_run_load(worker, group->plan, group->series[0], column, &present);
    if (!present)
        return;
    group->members[0] = MEMBER_KEPT;
    note_kind(worker, column);
    size_t from;
    visible(worker->run, column, &from, &group->time_count);
    group->time_ms = column->time_ms + from;
}

static void load_all(struct query_worker *worker, struct query_group *group,
                     const struct query_span *span) {
    for (uint32_t i = 0; i < group->count && !query_run_failed(worker->run); i++) {
        prefetch_ahead(worker, span->first + i);
        load_member(worker, group, i);
    }
    if (!merge_timeline_finish(&worker->timeline))
        query_run_out_of_memory(worker->run);
    group->time_ms = worker->timeline.times.p;
    group->time_count = worker->timeline.count;
}

/* Slices of members that must be read again for each slice are as long as is bearable. */
static size_t slice_length(const struct query_group *group, bool reload) {
    enum { RELOAD_LENGTH = 1 << 18 };
    size_t length = merge_slice_length(group->plan->sub->aggregator, group->count);
    return reload && length == merge_slice_length(AGGREGATOR_SUM, 1) ? RELOAD_LENGTH : length;
}

static void merge_all(struct query_worker *worker, struct query_group *group) {
    group->slice_length = slice_length(group, worker->reload_seen);
    for (size_t i = 0; i * group->slice_length < group->time_count; i++)
        merge_slice(worker, group, i);
}

/* The visible part of a single member is the timeline. */
static bool merge_single(struct query_group *group) {
    const struct merge_column *column = &group->columns[0];
    size_t n = group->time_count;
    if (n == 0)
        return true;
    size_t from = (size_t)(group->time_ms - column->time_ms);
    enum points_kind kind = column->kind;
    if ((kind == POINTS_DOUBLES) != (group->mode == MERGE_DOUBLES) ||
        !merge_alone(group->plan->sub->aggregator, kind, column->bits + from, n, group->bits.p))
        return false;
    if (group->mode != MERGE_DOUBLES)
        memset(group->mask.p, 0, (n + 63) / 64 * sizeof(uint64_t));
    return true;
}

bool query_run_group_alone(struct query_worker *worker, const struct query_plan *plan,
                           const struct query_span *span, struct buf *out) {
    struct query_group *group = &worker->group;
    bool sampled = span->count >= SAMPLE || worker->counters.series % SAMPLE == 0;
    int64_t weight = span->count >= SAMPLE ? 1 : SAMPLE;
    int64_t began = sampled ? clock_monotonic_ns() : 0;
    if (!prepare_group(worker, plan, span)) {
        query_run_out_of_memory(worker->run);
        return false;
    }
    begin_group(worker);
    group->time_count = 0;
    if (span->count == 1)
        load_single(worker, group, span);
    else
        load_all(worker, group, span);
    int64_t loaded = sampled ? clock_monotonic_ns() : 0;
    group->mode = mode_of(group, worker->ints_seen, worker->floats_seen, worker->reload_seen);
    if (!prepare_output(group))
        query_run_out_of_memory(worker->run);
    if (query_run_failed(worker->run))
        return false;
    if (span->count > 1 || !merge_single(group))
        merge_all(worker, group);
    int64_t merged = sampled ? clock_monotonic_ns() : 0;
    bool any = finish_group(worker, group, out);
    if (sampled) {
        worker->counters.scan_ns += (loaded - began) * weight;
        worker->counters.aggregate_ns += (merged - loaded) * weight;
        worker->counters.format_ns += (clock_monotonic_ns() - merged) * weight;
    }
    return any;
}

/* ---- together ---- */

enum { CHUNK = 32 };

static void load_chunk(void *context, uint32_t number, size_t index) {
    struct query_run *run = context;
    struct query_worker *worker = &run->worker[number];
    struct query_group *group = &run->worker[0].group;
    uint32_t from = (uint32_t)index * CHUNK;
    uint32_t to = group->count - from > CHUNK ? from + CHUNK : group->count;
    uint32_t first = (uint32_t)(group->series - group->plan->series.p);
    int64_t began = clock_monotonic_ns();
    query_run_begin_row(worker, group->plan, &(struct query_span){first + from, to - from});
    for (uint32_t i = from; i < to && !query_run_failed(run); i++) {
        prefetch_ahead(worker, first + i);
        load_member(worker, group, i);
    }
    worker->counters.scan_ns += clock_monotonic_ns() - began;
}

static void merge_one_slice(void *context, uint32_t number, size_t index) {
    struct query_run *run = context;
    struct query_worker *worker = &run->worker[number];
    int64_t began = clock_monotonic_ns();
    if (!query_run_failed(run))
        merge_slice(worker, &run->worker[0].group, index);
    worker->counters.aggregate_ns += clock_monotonic_ns() - began;
}

/* Brings the timelines and kinds of all workers together. */
static bool unite(struct query_run *run, struct query_group *group) {
    struct query_worker *own = &run->worker[0];
    bool ints = false, floats = false, reload = false;
    for (uint32_t i = 0; i < run->worker_count; i++) {
        struct query_worker *worker = &run->worker[i];
        ints |= worker->ints_seen;
        floats |= worker->floats_seen;
        reload |= worker->reload_seen;
        if (!merge_timeline_finish(&worker->timeline))
            return false;
        if (i > 0 &&
            !merge_timeline_add(&own->timeline, worker->timeline.times.p, worker->timeline.count))
            return false;
    }
    if (!merge_timeline_finish(&own->timeline))
        return false;
    group->time_ms = own->timeline.times.p;
    group->time_count = own->timeline.count;
    group->mode = mode_of(group, ints, floats, reload);
    /* Short enough that every worker gets some, long enough to be worth it. */
    size_t share = group->time_count / (run->worker_count * (reload ? 1 : 4)) + 1;
    share = (share + MERGE_SLICE_UNIT - 1) / MERGE_SLICE_UNIT * MERGE_SLICE_UNIT;
    group->slice_length = slice_length(group, reload);
    if (share < group->slice_length)
        group->slice_length = share;
    return prepare_output(group);
}

bool query_run_group_together(struct query_run *run, const struct query_plan *plan,
                              const struct query_span *span, struct buf *out) {
    struct query_group *group = &run->worker[0].group;
    if (!prepare_group(&run->worker[0], plan, span)) {
        query_run_out_of_memory(run);
        return false;
    }
    for (uint32_t i = 0; i < run->worker_count; i++)
        begin_group(&run->worker[i]);
    workers_run(&run->workers, (span->count + CHUNK - 1) / CHUNK, load_chunk, run);
    if (query_run_failed(run))
        return false;
    if (!unite(run, group)) {
        query_run_out_of_memory(run);
        return false;
    }
    size_t slices = (group->time_count + group->slice_length - 1) / group->slice_length;
    workers_run(&run->workers, slices, merge_one_slice, run);
    int64_t began = clock_monotonic_ns();
    bool any = finish_group(&run->worker[0], group, out);
    run->worker[0].counters.format_ns += clock_monotonic_ns() - began;
    return any;
}
