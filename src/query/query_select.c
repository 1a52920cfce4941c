#include "query/query_run.h"
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

/* ---- names to conditions ---- */

/* Values between two looks at the clock: a hard pattern takes a millisecond for each. */
enum { LOOK_VALUES = 16 };

struct selection {
    struct store *store;
    struct index *index;
    const struct query_sub *sub;
    const struct query_limits *limits;
    struct arena arena;
    uint32_t metric_uid;
    struct index_condition *conditions;
    uint32_t condition_count;
    int key_count;    /* of explicit tags, or -1 */
    bool impossible;  /* no series can match */
    uint32_t *groups; /* tag keys to group by, ascending */
    uint32_t group_count;
    /* Matching has no end but these: whoever matches looks now and then. */
    uint32_t until_look;
    _Atomic int64_t next_poll_ns;
    enum rc stopped;
    struct err stop_err;
};

/* A filter as the index hands it back to be matched. */
struct match {
    struct selection *selection;
    const struct filter *filter;
};

static enum rc no_such_name(struct err *err, const char *kind, str name) {
    (void)err_set_http(err, RC_NOT_FOUND, 400, "No such name for '%s': '%.*s'", kind,
                       STR_ARG(name));
    err_details(err, "No such name for '%s': '%.*s'", kind, STR_ARG(name));
    return RC_NOT_FOUND;
}

static int compare_uids(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

/* Sorts and removes duplicates; returns how many are left. */
static uint32_t unique_uids(uint32_t *uids, uint32_t count) {
    if (count == 0)
        return 0;
    qsort(uids, count, sizeof(*uids), compare_uids);
    uint32_t n = 1;
    for (uint32_t i = 1; i < count; i++)
        if (uids[i] != uids[n - 1])
            uids[n++] = uids[i];
    return n;
}

static bool must_stop(struct selection *selection) {
    if (selection->stopped != RC_OK || selection->until_look-- > 0)
        return selection->stopped != RC_OK;
    selection->until_look = LOOK_VALUES;
    selection->stopped =
        query_run_check_clock(selection->limits, &selection->next_poll_ns, &selection->stop_err);
    return selection->stopped != RC_OK;
}

/* Once the query must stop nothing matches any more, so that the index is soon done. */
static bool match_filter(void *context, str value) {
    const struct match *match = context;
    return !must_stop(match->selection) && filter_matches(match->filter, value);
}

static enum rc match_condition(struct selection *selection, struct index_condition *condition,
                               const struct filter *filter, struct err *err) {
    struct match *match = ARENA_NEW(&selection->arena, struct match);
    if (match == NULL)
        return query_run_memory_error(selection->limits, err);
    *match = (struct match){selection, filter};
    condition->kind = INDEX_VALUE_MATCH;
    condition->match = match_filter;
    condition->context = match;
    return RC_OK;
}

static enum rc literal_condition(struct selection *selection, const struct filter *filter,
                                 struct index_condition *condition, struct err *err) {
    uint32_t *uids = ARENA_ARRAY(&selection->arena, uint32_t, filter->literal_count);
    if (uids == NULL)
        return query_run_memory_error(selection->limits, err);
    uint32_t n = 0;
    for (uint32_t i = 0; i < filter->literal_count; i++) {
        uint32_t uid = index_uid(selection->index, INDEX_TAGV, filter->literals[i]);
        if (uid != 0)
            uids[n++] = uid;
        else if (!selection->limits->skip_unresolved_tagvs)
            return no_such_name(err, "tagv", filter->literals[i]);
    }
    n = unique_uids(uids, n);
    selection->impossible |= n == 0;
    condition->kind = INDEX_VALUE_IN;
    condition->value_uids = uids;
    condition->value_count = n;
    return RC_OK;
}

/* OpenTSDB's row filter demands the key of every filter, the negative ones included: series without
   it are left out even where the filter by itself would let them pass. */
static enum rc add_condition(struct selection *selection, const struct filter *filter,
                             struct err *err) {
    struct index_condition *condition = &selection->conditions[selection->condition_count++];
    condition->key_uid = index_uid(selection->index, INDEX_TAGK, filter->key);
    if (condition->key_uid == 0)
        return no_such_name(err, "tagk", filter->key);
    switch (filter->type) {
    case FILTER_NOT_KEY:
        condition->kind = INDEX_LACKS_KEY;
        return RC_OK;
    case FILTER_LITERAL_OR:
        if (filter->literal_count <= selection->limits->expansion_limit)
            return literal_condition(selection, filter, condition, err);
        break;
    case FILTER_WILDCARD:
    case FILTER_IWILDCARD:
        if (str_eq(filter->text, STR("*"))) {
            condition->kind = INDEX_HAS_KEY;
            return RC_OK;
        }
        break;
    default:
        break;
    }
    return match_condition(selection, condition, filter, err);
}

static enum rc add_conditions(struct selection *selection, struct err *err) {
    const struct query_sub *sub = selection->sub;
    uint32_t count = sub->filter_count;
    selection->conditions = ARENA_ARRAY(&selection->arena, struct index_condition, count);
    selection->groups = ARENA_ARRAY(&selection->arena, uint32_t, count);
    uint32_t *keys = ARENA_ARRAY(&selection->arena, uint32_t, count);
    if (count > 0 && (selection->conditions == NULL || selection->groups == NULL || keys == NULL))
        return query_run_memory_error(selection->limits, err);
    uint32_t key_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        TRY(add_condition(selection, &sub->filters[i], err));
        if (sub->filters[i].type == FILTER_NOT_KEY)
            continue;
        uint32_t key_uid = selection->conditions[i].key_uid;
        keys[key_count++] = key_uid;
        if (sub->filters[i].group_by && sub->aggregator != AGGREGATOR_NONE)
            selection->groups[selection->group_count++] = key_uid;
    }
    selection->group_count = unique_uids(selection->groups, selection->group_count);
    key_count = unique_uids(keys, key_count);
    /* Without filters explicit tags restrict nothing. */
    selection->key_count = sub->explicit_tags && key_count > 0 ? (int)key_count : -1;
    return RC_OK;
}

/* ---- conditions to series ---- */

static enum rc check_tsuids(struct selection *selection, struct err *err) {
    const struct query_sub *sub = selection->sub;
    uint32_t first = 0;
    for (uint32_t i = 0; i < sub->tsuid_count; i++) {
        uint32_t uid = index_tsuid_metric(selection->index, sub->tsuids[i]);
        if (uid == 0)
            continue;
        if (first == 0)
            first = uid;
        if (uid != first)
            return err_set_http(err, RC_INVALID, 400,
                                "One or more TSUIDs did not share the same metric [%.*s] [%.*s]",
                                STR_ARG(sub->tsuids[0]), STR_ARG(sub->tsuids[i]));
    }
    return RC_OK;
}

static int compare_series_ids(const void *left, const void *right) {
    const struct series *a = *(struct series *const *)left, *b = *(struct series *const *)right;
    return (a->id > b->id) - (a->id < b->id);
}

static enum rc select_tsuids(struct selection *selection, struct series_vec *out, struct err *err) {
    TRY(check_tsuids(selection, err));
    const struct query_sub *sub = selection->sub;
    size_t before = out->n;
    for (uint32_t i = 0; i < sub->tsuid_count; i++) {
        struct series *series = index_by_tsuid(selection->index, sub->tsuids[i]);
        if (series != NULL && !series_vec_push(out, series))
            return query_run_memory_error(selection->limits, err);
    }
    /* A TSUID given twice is one series. */
    size_t n = before;
    if (out->n > before)
        qsort(out->p + before, out->n - before, sizeof(struct series *), compare_series_ids);
    for (size_t i = before; i < out->n; i++)
        if (n == before || out->p[i] != out->p[n - 1])
            out->p[n++] = out->p[i];
    out->n = n;
    return RC_OK;
}

static enum rc resolve(struct selection *selection, struct err *err) {
    const struct query_sub *sub = selection->sub;
    selection->key_count = -1;
    if (sub->tsuid_count > 0)
        return RC_OK;
    selection->metric_uid = index_uid(selection->index, INDEX_METRIC, sub->metric);
    if (selection->metric_uid == 0) {
        selection->impossible = true;
        return selection->limits->skip_unknown_metrics ? RC_OK
                                                       : no_such_name(err, "metrics", sub->metric);
    }
    return add_conditions(selection, err);
}

static enum rc select_series(struct selection *selection, struct series_vec *out, struct err *err) {
    if (selection->sub->tsuid_count > 0)
        return select_tsuids(selection, out, err);
    if (selection->impossible)
        return RC_OK;
    enum rc rc = index_select(selection->index, selection->metric_uid, selection->conditions,
                              selection->condition_count, selection->key_count, out);
    if (rc == RC_NOMEM || rc == RC_THROTTLE)
        return query_run_memory_error(selection->limits, err);
    if (rc < 0)
        return err_set(err, rc, "selecting series: %s", err_text(rc));
    if (selection->stopped != RC_OK) {
        if (err != NULL)
            *err = selection->stop_err;
        return selection->stopped;
    }
    /* A pattern that was given up on has matched nothing: that is no answer. */
    for (uint32_t i = 0; i < selection->sub->filter_count; i++)
        TRY(filter_check(&selection->sub->filters[i], err));
    return RC_OK;
}

static void begin(struct selection *selection, struct store *store, const struct query_sub *sub,
                  const struct query_limits *limits) {
    *selection = (struct selection){
        .store = store, .index = store_index(store), .sub = sub, .limits = limits};
    arena_init(&selection->arena, limits->budget);
}

enum rc query_select(struct store *store, const struct query_sub *sub,
                     const struct query_limits *limits, struct series_vec *out, struct err *err) {
    struct selection selection;
    begin(&selection, store, sub, limits);
    enum rc rc = resolve(&selection, err);
    if (rc == RC_OK)
        rc = select_series(&selection, out, err);
    arena_fini(&selection.arena);
    return rc;
}

/* ---- series to groups ---- */

/* Sorting compares `leading` first, which decides nearly always. */
struct sort_item {
    uint64_t leading;
    struct series *series;
};

struct sort_keys {
    const uint32_t *uids;
    uint32_t count;
    bool by_tags; /* the order within a group is seen */
};

/* Where the order of the series shows, it is OpenTSDB's, the order of TSUIDs; elsewhere it is the
   order of ids, which costs nothing. */
static bool order_shows(enum aggregator aggregator) {
    return aggregator == AGGREGATOR_NONE || aggregator == AGGREGATOR_FIRST ||
           aggregator == AGGREGATOR_LAST || aggregator == AGGREGATOR_DIFF ||
           aggregator == AGGREGATOR_DEV;
}

static int compare_groups(const struct series *a, const struct series *b,
                          const struct sort_keys *keys) {
    for (uint32_t i = 0; i < keys->count; i++) {
        uint32_t left = index_tag_value(a, keys->uids[i]);
        uint32_t right = index_tag_value(b, keys->uids[i]);
        if (left != right)
            return left < right ? -1 : 1;
    }
    return 0;
}

/* The order of TSUIDs. */
static int compare_tags(const struct series *a, const struct series *b) {
    uint32_t count = a->tag_count < b->tag_count ? a->tag_count : b->tag_count;
    for (uint32_t i = 0; i < count; i++) {
        if (a->tags[i].key_uid != b->tags[i].key_uid)
            return a->tags[i].key_uid < b->tags[i].key_uid ? -1 : 1;
        if (a->tags[i].value_uid != b->tags[i].value_uid)
            return a->tags[i].value_uid < b->tags[i].value_uid ? -1 : 1;
    }
    return (a->tag_count > b->tag_count) - (a->tag_count < b->tag_count);
}

static int compare_items(const void *left, const void *right, void *context) {
    const struct sort_item *a = left, *b = right;
    if (a->leading != b->leading)
        return a->leading < b->leading ? -1 : 1;
    const struct sort_keys *keys = context;
    int order = keys->count <= 2 ? 0 : compare_groups(a->series, b->series, keys);
    if (order == 0 && keys->by_tags)
        order = compare_tags(a->series, b->series);
    return order != 0 ? order : (a->series->id > b->series->id) - (a->series->id < b->series->id);
}

static uint64_t leading_of(const struct series *series, const struct sort_keys *keys) {
    if (keys->count == 0)
        return !keys->by_tags || series->tag_count == 0
                   ? 0
                   : (uint64_t)series->tags[0].key_uid << 32 | series->tags[0].value_uid;
    uint64_t leading = (uint64_t)index_tag_value(series, keys->uids[0]) << 32;
    return keys->count == 1 ? leading : leading | index_tag_value(series, keys->uids[1]);
}

/* Series lie all over memory, their tags right behind them. */
static void prefetch(struct series *const *series, size_t n, size_t at) {
    enum { AHEAD = 16 };
    if (at + AHEAD >= n)
        return;
    __builtin_prefetch(series[at + AHEAD]);
    __builtin_prefetch((const char *)series[at + AHEAD] + SERIES_ALIGN);
}

/* Sorts the series of the plan and notes their ids; mostly they were created in that order and
   nothing is to be done. `items` has room for all, and tells the groups apart afterwards. */
static void sort_series(struct query_plan *plan, struct sort_keys *keys, struct sort_item *items) {
    struct series **series = plan->series.p;
    size_t n = plan->series.n;
    bool sorted = true;
    for (size_t i = 0; i < n; i++) {
        prefetch(series, n, i);
        items[i] = (struct sort_item){leading_of(series[i], keys), series[i]};
        plan->ids[i] = series[i]->id;
        sorted = sorted && (i == 0 || compare_items(&items[i - 1], &items[i], keys) <= 0);
    }
    if (sorted)
        return;
    qsort_r(items, n, sizeof(*items), compare_items, keys);
    for (size_t i = 0; i < n; i++) {
        series[i] = items[i].series;
        plan->ids[i] = series[i]->id;
    }
}

static bool same_group(const struct sort_item *a, const struct sort_item *b,
                       const struct sort_keys *keys) {
    return keys->count == 0 ||
           (a->leading == b->leading &&
            (keys->count <= 2 || compare_groups(a->series, b->series, keys) == 0));
}

static void cut_groups(struct query_plan *plan, const struct sort_keys *keys,
                       const struct sort_item *items) {
    bool each = plan->sub->aggregator == AGGREGATOR_NONE;
    for (size_t i = 0; i < plan->series.n; i++) {
        if (i == 0 || each || !same_group(&items[i - 1], &items[i], keys))
            plan->groups[plan->group_count++] = (struct query_span){(uint32_t)i, 0};
        plan->groups[plan->group_count - 1].count++;
    }
}

/* Charges what the plan takes and, for a moment, what sorting takes. */
static bool charge(const struct query_limits *limits, struct query_plan *plan) {
    size_t bytes =
        plan->series.n * (sizeof(struct series *) + sizeof(*plan->ids) + sizeof(*plan->groups));
    if (limits->budget == NULL)
        return true;
    if (!budget_charge(limits->budget, bytes))
        return false;
    plan->charged = bytes;
    size_t sorting = plan->series.n * sizeof(struct sort_item);
    if (!budget_charge(limits->budget, sorting))
        return false;
    budget_release(limits->budget, sorting);
    return true;
}

static enum rc group(struct selection *selection, struct query_plan *plan, struct err *err) {
    struct sort_keys keys = {selection->groups, selection->group_count,
                             order_shows(plan->sub->aggregator)};
    size_t n = plan->series.n;
    if (n == 0)
        return RC_OK;
    if (!charge(selection->limits, plan))
        return query_run_memory_error(selection->limits, err);
    struct sort_item *items = malloc(n * sizeof(*items));
    plan->ids = malloc(n * sizeof(*plan->ids));
    plan->groups = malloc(n * sizeof(*plan->groups));
    bool ok = items != NULL && plan->ids != NULL && plan->groups != NULL;
    if (ok) {
        sort_series(plan, &keys, items);
        cut_groups(plan, &keys, items);
    }
    free(items);
    return ok ? RC_OK : query_run_memory_error(selection->limits, err);
}

enum rc query_select_plan(struct store *store, const struct query_limits *limits,
                          struct query_plan *plan, struct err *err) {
    struct selection selection;
    begin(&selection, store, plan->sub, limits);
    enum rc rc = resolve(&selection, err);
    if (rc == RC_OK)
        rc = select_series(&selection, &plan->series, err);
    if (rc == RC_OK)
        rc = group(&selection, plan, err);
    arena_fini(&selection.arena);
    return rc;
}

void query_select_plan_fini(const struct query_limits *limits, struct query_plan *plan) {
    if (limits->budget != NULL)
        budget_release(limits->budget, plan->charged);
    series_vec_fini(&plan->series);
    free(plan->ids);
    free(plan->groups);
}
