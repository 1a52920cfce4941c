/*
 * Running a query: select all sub queries, then compute their groups in the order of the answer.
 * Small groups are dealt out to the workers in handfuls; all workers share a large one.
 */
#include "query/query_run.h"

#include "base/check.h"
#include "os/clock.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

enum {
    HOUR_S = 3600,
    LARGE_GROUP = 256,     /* series from which a group is shared by all workers */
    TASK_SERIES = 64,      /* series of small groups that make a task */
    TASK_SERIES_MAX = 256, /* so many if each has few points */
    TASK_FEW_POINTS = 16,
    TASKS_OF_WORKER = 8,       /* at least, where tasks are larger */
    LOOK_SERIES = 16,          /* series between two looks at the clock */
    POLL_NS = 5 * 1000 * 1000, /* how often `cancelled` is asked */
    WEIGHT_OF_THREAD = 64,     /* series of six hours that are worth a thread */
    WEIGHT_MS = 6 * 3600 * 1000
};

/* ---- failure ---- */

void query_run_fail(struct query_run *run, enum rc rc, const struct err *err) {
    mutex_lock(&run->lock);
    if (run->rc == RC_OK) {
        run->rc = rc;
        run->err = *err;
    }
    mutex_unlock(&run->lock);
    atomic_store(&run->failed, true);
    mutex_lock(&run->output_lock);
    condition_broadcast(&run->output_moved);
    mutex_unlock(&run->output_lock);
}

enum rc query_run_memory_error(const struct query_limits *limits, struct err *err) {
    const struct budget *budget = limits->budget;
    while (budget != NULL && budget->limit_bytes == 0)
        budget = budget->parent;
    if (budget == NULL)
        return err_set(err, RC_THROTTLE, "query needs more memory than there is");
    return err_set(err, RC_THROTTLE,
                   "query needs more than %lld MiB of memory: ask for fewer series, a shorter "
                   "range or a coarser downsample",
                   (long long)(budget->limit_bytes >> 20));
}

void query_run_out_of_memory(struct query_run *run) {
    struct err err;
    enum rc rc = query_run_memory_error(run->limits, &err);
    query_run_fail(run, rc, &err);
}

/* ---- limits ---- */

static void check_volume(struct query_worker *worker) {
    struct query_run *run = worker->run;
    const struct query_limits *limits = run->limits;
    uint64_t more_points = worker->counters.points_scanned - worker->flushed_points;
    uint64_t more_bytes = worker->counters.bytes_scanned - worker->flushed_bytes;
    worker->flushed_points += more_points;
    worker->flushed_bytes += more_bytes;
    uint64_t points = atomic_fetch_add(&run->points, more_points) + more_points;
    uint64_t bytes = atomic_fetch_add(&run->bytes, more_bytes) + more_bytes;
    struct err err;
    if (limits->points_max != 0 && points > limits->points_max) {
        (void)err_set_http(&err, RC_LIMIT, 413,
                           "Sorry, you have attempted to fetch more than our limit of %llu data "
                           "points. Please try filtering using more tags or decrease your time "
                           "range.",
                           (unsigned long long)limits->points_max);
        query_run_fail(run, RC_LIMIT, &err);
    } else if (limits->bytes_max != 0 && bytes > limits->bytes_max) {
        (void)err_set_http(&err, RC_LIMIT, 413,
                           "Sorry, you have attempted to fetch more than our maximum amount of "
                           "%lluMB from storage. Please try filtering using more tags or decrease "
                           "your time range.",
                           (unsigned long long)(limits->bytes_max >> 20));
        query_run_fail(run, RC_LIMIT, &err);
    }
}

enum rc query_run_check_clock(const struct query_limits *limits, _Atomic int64_t *next_poll_ns,
                              struct err *err) {
    if (limits->deadline_ns == 0 && limits->cancelled == NULL)
        return RC_OK;
    int64_t now = clock_monotonic_ns();
    if (limits->deadline_ns != 0 && now >= limits->deadline_ns)
        return err_set(err, RC_TIMEOUT, "Query timed out");
    int64_t due = atomic_load_explicit(next_poll_ns, memory_order_relaxed);
    if (limits->cancelled == NULL || now < due ||
        !atomic_compare_exchange_strong(next_poll_ns, &due, now + POLL_NS))
        return RC_OK;
    if (!limits->cancelled(limits->context))
        return RC_OK;
    return err_set(err, RC_CANCELLED, "Query was cancelled");
}

static void check_clock(struct query_run *run) {
    struct err err;
    enum rc rc = query_run_check_clock(run->limits, &run->next_poll_ns, &err);
    if (rc < 0)
        query_run_fail(run, rc, &err);
}

void query_run_look(struct query_worker *worker) {
    const struct query_limits *limits = worker->run->limits;
    if (limits->points_max != 0 || limits->bytes_max != 0)
        check_volume(worker);
    if (worker->until_look-- > 0)
        return;
    worker->until_look = LOOK_SERIES;
    check_clock(worker->run);
}

/* ---- window ---- */

/* Next multiple of `unit` after `value`. */
static int64_t next_multiple(int64_t value, int64_t unit) {
    return value - value % unit + unit;
}

static int64_t at_most(int64_t value, int64_t most) {
    return value < most ? value : most;
}

/* The range that is read: OpenTSDB reads whole hours around the query, and what lies outside
   [start, end] still takes part in interpolation and rates. */
static struct bucket_window window_of(const struct query *query, const struct query_sub *sub) {
    int64_t start = at_most(query->start_ms, LIMIT_TIME_MS_MAX) / 1000;
    int64_t end = at_most(query->end_ms, LIMIT_TIME_MS_MAX) / 1000 + (query->end_given_ms ? 1 : 0);
    int64_t interval_ms =
        sub->downsampled && !sub->downsample.all ? sub->downsample.interval_ms : 0;
    int64_t last = next_multiple(end, HOUR_S);
    if (interval_ms > 0) {
        start -= start * 1000 % interval_ms / 1000;
        /* To the end of the bucket that holds the end, so that this one is complete. */
        int64_t aligned = end + (interval_ms - end * 1000 % interval_ms) / 1000;
        last = aligned % HOUR_S == 0 ? aligned : next_multiple(aligned, HOUR_S);
    }
    start -= start % HOUR_S;
    last = at_most(last, LIMIT_TIME_MS_MAX / 1000 + 1);
    return (struct bucket_window){
        .scan_from_ms = start * 1000,
        .scan_to_ms = last * 1000,
        .start_ms = query->start_ms,
        .end_ms = query->end_ms,
    };
}

/* ---- tasks ---- */

/* A handful of consecutive small groups of one plan, or one large group. */
struct task {
    struct query_plan *plan;
    size_t first;
    uint32_t groups;
    bool together;
};

VEC_DECLARE(task_vec, struct task)

struct tasks {
    struct query_run *run;
    const struct task *p;
    size_t n;
};

static bool is_large(const struct query_run *run, const struct query_span *span, size_t groups) {
    if (run->worker_count < 2)
        return false;
    return span->count >= LARGE_GROUP || (groups < run->worker_count && span->count > 1);
}

static struct task next_task(const struct query_run *run, struct query_plan *plan, size_t first,
                             size_t groups, size_t task_series) {
    struct task task = {plan, first, 0, false};
    size_t series = 0;
    for (size_t at = first; at < plan->group_count; at++) {
        const struct query_span *span = &plan->groups[at];
        if (is_large(run, span, groups)) {
            if (task.groups > 0)
                break;
            return (struct task){plan, first, 1, true};
        }
        if (task.groups > 0 && series + span->count > task_series)
            break;
        series += span->count;
        task.groups++;
    }
    return task;
}

/* Few and large tasks save hand-overs; but every worker must get some, and a task's text is in
   memory as a whole. */
static size_t task_size(const struct query_run *run, const struct query_plan *plan, size_t series) {
    const struct query_sub *sub = plan->sub;
    int64_t length_ms = plan->window.scan_to_ms - plan->window.scan_from_ms;
    bool few_points =
        sub->downsampled &&
        (sub->downsample.all || length_ms / sub->downsample.interval_ms <= TASK_FEW_POINTS);
    size_t share = series / (run->worker_count * TASKS_OF_WORKER);
    if (!few_points || share < TASK_SERIES)
        return TASK_SERIES;
    return share < TASK_SERIES_MAX ? share : TASK_SERIES_MAX;
}

static enum rc make_tasks(struct query_run *run, struct task_vec *tasks) {
    size_t groups = 0, series = 0;
    for (uint32_t i = 0; i < run->plan_count; i++) {
        groups += run->plans[i].group_count;
        series += run->plans[i].series.n;
    }
    for (uint32_t i = 0; i < run->plan_count; i++) {
        struct query_plan *plan = &run->plans[i];
        size_t task_series = task_size(run, plan, series);
        for (size_t at = 0; at < plan->group_count;) {
            struct task task = next_task(run, plan, at, groups, task_series);
            at += task.groups;
            if (!task_vec_push(tasks, task))
                return RC_NOMEM;
        }
    }
    return RC_OK;
}

/* The series of a task. */
static struct query_span series_of(const struct task *task) {
    const struct query_span *first = &task->plan->groups[task->first];
    const struct query_span *last = first + task->groups - 1;
    return (struct query_span){first->first, last->first + last->count - first->first};
}

/* ---- holding on ---- */

/* Series stay what they are only while somebody is pinned, and nobody may be pinned while a slow
   reader holds up the output: retired memory would pile up behind him. So each task pins for
   itself, and looks whether series were removed since the selection. Ids are never given twice. */
static void begin_task(struct query_run *run, const struct task *task) {
    struct query_span series = series_of(task);
    epoch_pin(store_epochs(run->store));
    uint64_t generation = store_writers_enter(run->store);
    store_writers_leave(run->store);
    if (generation == run->generation)
        return;
    for (size_t i = series.first; i < series.first + series.count; i++)
        task->plan->series.p[i] = index_by_id(run->index, task->plan->ids[i]);
}

static void end_task(struct query_worker *worker) {
    epoch_unpin(store_epochs(worker->run->store));
}

/* One task of small groups; `index` counts from the first of a row of such tasks. */
static void run_task(void *context, uint32_t number, size_t index) {
    struct tasks *tasks = context;
    struct query_run *run = tasks->run;
    const struct task *task = &tasks->p[index];
    struct query_text *text = query_run_output_take(run, index);
    if (text == NULL)
        return;
    struct query_worker *worker = &run->worker[number];
    begin_task(run, task);
    struct query_span series = series_of(task);
    query_run_begin_row(worker, task->plan, &series);
    for (uint32_t i = 0; i < task->groups && !query_run_failed(run); i++)
        if (query_run_group_alone(worker, task->plan, &task->plan->groups[task->first + i],
                                  &text->text))
            query_run_output_mark(run, text);
    end_task(worker);
    query_run_output_give(run, index);
}

static void run_large(struct query_run *run, const struct task *task) {
    struct query_text *text = query_run_output_take(run, 0);
    if (text == NULL)
        return;
    begin_task(run, task);
    if (query_run_group_together(run, task->plan, &task->plan->groups[task->first], &text->text))
        query_run_output_mark(run, text);
    end_task(&run->worker[0]);
    query_run_output_give(run, 0);
}

static void run_tasks(struct query_run *run, const struct task_vec *all) {
    for (size_t at = 0; at < all->n && !query_run_failed(run);) {
        query_run_output_restart(run);
        if (all->p[at].together) {
            run_large(run, &all->p[at++]);
            continue;
        }
        struct tasks row = {run, all->p + at, 0};
        while (at + row.n < all->n && !all->p[at + row.n].together)
            row.n++;
        workers_run(&run->workers, row.n, run_task, &row);
        at += row.n;
    }
}

/* ---- life of a run ---- */

/* A filled grid that cannot fit in memory is refused before anybody works on it. */
static bool grid_fits(const struct query_run *run, const struct query_plan *plan) {
    const struct downsample *downsample = &plan->sub->downsample;
    if (!plan->sub->downsampled || downsample->all || downsample->fill == FILL_NONE ||
        plan->series.n == 0 || run->limits->budget == NULL)
        return true;
    int64_t length_ms = plan->window.scan_to_ms - plan->window.scan_from_ms;
    uint64_t buckets = (uint64_t)(length_ms / downsample->interval_ms);
    return buckets <= budget_left(run->limits->budget) / (sizeof(int64_t) + sizeof(double));
}

static enum rc select_plans(struct query_run *run, struct err *err) {
    run->plans = calloc(run->query->sub_count + 1, sizeof(*run->plans));
    if (run->plans == NULL)
        return query_run_memory_error(run->limits, err);
    for (uint32_t i = 0; i < run->query->sub_count; i++) {
        struct query_plan *plan = &run->plans[run->plan_count++];
        plan->sub = &run->query->subs[i];
        plan->window = window_of(run->query, plan->sub);
        TRY(query_run_check_clock(run->limits, &run->next_poll_ns, err));
        TRY(query_select_plan(run->store, run->limits, plan, err));
        if (!grid_fits(run, plan))
            return query_run_memory_error(run->limits, err);
    }
    return RC_OK;
}

static enum rc select_all(struct query_run *run, struct err *err) {
    epoch_pin(store_epochs(run->store));
    run->generation = store_writers_enter(run->store);
    store_writers_leave(run->store);
    enum rc rc = select_plans(run, err);
    epoch_unpin(store_epochs(run->store));
    return rc;
}

/* Threads cost some tens of microseconds each: only as many as there is work for. */
static uint32_t workers_wanted(const struct query_run *run) {
    uint64_t weight = 0;
    for (uint32_t i = 0; i < run->plan_count; i++) {
        const struct bucket_window *window = &run->plans[i].window;
        uint64_t length = (uint64_t)(window->scan_to_ms - window->scan_from_ms) / WEIGHT_MS + 1;
        weight += run->plans[i].series.n * length;
    }
    uint64_t wanted = 1 + weight / WEIGHT_OF_THREAD;
    uint32_t most = run->limits->threads < 1             ? 1
                    : run->limits->threads > WORKERS_MAX ? WORKERS_MAX
                                                         : run->limits->threads;
    return wanted < most ? (uint32_t)wanted : most;
}

enum { SCRATCHES = 11 };

static void list_scratches(struct query_worker *worker, struct scratch *list[SCRATCHES]) {
    struct scratch *const all[SCRATCHES] = {
        &worker->times,
        &worker->bits,
        &worker->mask,
        &worker->common,
        &worker->tags,
        &worker->aggregate_tags,
        &worker->members,
        &worker->group.columns_memory,
        &worker->group.members_memory,
        &worker->group.bits,
        &worker->group.mask,
    };
    memcpy(list, all, sizeof(all));
}

static enum rc init_worker(struct query_run *run, struct query_worker *worker) {
    struct budget *budget = run->budget;
    worker->run = run;
    struct scratch *scratches[SCRATCHES];
    list_scratches(worker, scratches);
    for (size_t i = 0; i < SCRATCHES; i++)
        scratches[i]->budget = budget;
    arena_init(&worker->kept, &run->kept);
    merge_timeline_init(&worker->timeline, budget);
    merge_slice_init(&worker->slice, budget);
    query_names_init(&worker->names, run->index, QUERY_NAMES_MANY, budget);
    TRY(scan_init(&worker->scan, run->store, budget));
    worker->scan_ready = true;
    return RC_OK;
}

static void fini_worker(struct query_worker *worker) {
    if (worker->scan_ready)
        scan_fini(&worker->scan);
    if (worker->buckets != NULL)
        bucket_fini(worker->buckets);
    free(worker->buckets);
    struct scratch *scratches[SCRATCHES];
    list_scratches(worker, scratches);
    for (size_t i = 0; i < SCRATCHES; i++)
        scratch_fini(scratches[i]);
    arena_fini(&worker->kept);
    merge_timeline_fini(&worker->timeline);
    merge_slice_fini(&worker->slice);
    query_names_fini(&worker->names);
}

static enum rc init_workers(struct query_run *run) {
    uint32_t count = workers_wanted(run);
    run->worker = calloc(count, sizeof(*run->worker));
    if (run->worker == NULL)
        return RC_NOMEM;
    run->worker_count = count;
    for (uint32_t i = 0; i < count; i++)
        TRY(init_worker(run, &run->worker[i]));
    return query_run_output_init(run, 4 * (size_t)count + 4);
}

static void add_counters(struct query_counters *totals, const struct query_counters *more) {
    totals->series += more->series;
    totals->points_scanned += more->points_scanned;
    totals->bytes_scanned += more->bytes_scanned;
    totals->points_emitted += more->points_emitted;
    totals->nan_emitted += more->nan_emitted;
    totals->damaged_vectors += more->damaged_vectors;
    totals->scan_ns += more->scan_ns;
    totals->aggregate_ns += more->aggregate_ns;
    totals->format_ns += more->format_ns;
}

static void fini_run(struct query_run *run) {
    for (uint32_t i = 0; i < run->worker_count; i++) {
        add_counters(&run->totals, &run->worker[i].counters);
        fini_worker(&run->worker[i]);
    }
    free(run->worker);
    query_run_output_fini(run);
    for (uint32_t i = 0; i < run->plan_count; i++)
        query_select_plan_fini(run->limits, &run->plans[i]);
    free(run->plans);
    mutex_fini(&run->lock);
}

static void init_run(struct query_run *run, struct store *store, const struct query *query,
                     const struct query_limits *limits, const struct query_sink *sink) {
    *run = (struct query_run){.store = store,
                              .index = store_index(store),
                              .query = query,
                              .limits = limits,
                              .sink = sink,
                              .budget = limits->budget};
    mutex_init(&run->lock);
    /* Columns kept for the second pass leave half of the memory to everything else. */
    size_t left = limits->budget == NULL ? SIZE_MAX : budget_left(limits->budget);
    budget_init(&run->kept, left == SIZE_MAX ? 0 : left / 2 + 1, limits->budget);
}

static enum rc compute(struct query_run *run, struct err *err) {
    struct task_vec tasks = {0};
    if (init_workers(run) < 0 || make_tasks(run, &tasks) < 0) {
        task_vec_fini(&tasks);
        return query_run_memory_error(run->limits, err);
    }
    check_clock(run);
    workers_init(&run->workers, run->worker_count);
    run_tasks(run, &tasks);
    workers_fini(&run->workers);
    task_vec_fini(&tasks);
    if (run->rc < 0 && err != NULL)
        *err = run->err;
    return run->rc;
}

enum rc query_run(struct store *store, const struct query *query, const struct query_limits *limits,
                  const struct query_sink *sink, struct query_counters *counters, struct err *err) {
    struct query_run *run = malloc(sizeof(*run));
    if (run == NULL)
        return query_run_memory_error(limits, err);
    int64_t began = clock_monotonic_ns();
    init_run(run, store, query, limits, sink);
    enum rc rc = select_all(run, err);
    int64_t selected = clock_monotonic_ns();
    if (rc == RC_OK)
        rc = compute(run, err);
    fini_run(run);
    run->totals.select_ns = selected - began;
    run->totals.total_ns = clock_monotonic_ns() - began;
    if (counters != NULL)
        *counters = run->totals;
    free(run);
    return rc;
}
