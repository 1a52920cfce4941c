#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/attr.h"
#include "base/buf.h"
#include "store/index.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The index against a plain list of series, through random creations, removals and selections, with
 * a replica that is fed the definitions as they come and fresh ones made from snapshots.
 */

enum { METRICS = 5, KEYS = 6, VALUES = 150, SERIES_MAX = 20000, STEPS = 12000 };

struct model_series {
    uint32_t id; /* 0: removed */
    int metric;
    int values[KEYS]; /* -1: no such tag */
};

static struct model_series model[SERIES_MAX];
static size_t model_count;
static char metric_names[METRICS][8], key_names[KEYS][8], value_names[VALUES][8];

static uint64_t random_state;

static uint32_t random_below(uint32_t limit) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 20) % limit;
}

static void name_things(void) {
    for (int i = 0; i < METRICS; i++)
        snprintf(metric_names[i], sizeof(metric_names[i]), "m%d", i);
    for (int i = 0; i < KEYS; i++)
        snprintf(key_names[i], sizeof(key_names[i]), "k%d", i);
    for (int i = 0; i < VALUES; i++)
        snprintf(value_names[i], sizeof(value_names[i]), "v%d", i);
}

static struct series_key key_of(const struct model_series *series) {
    struct series_key key = {.metric = str_of(metric_names[series->metric])};
    for (int k = 0; k < KEYS; k++)
        if (series->values[k] >= 0)
            key.tags[key.tag_count++] =
                (struct tag){str_of(key_names[k]), str_of(value_names[series->values[k]])};
    return key;
}

static struct index *open_index(struct budget *budget, struct epoch_domain *readers) {
    struct index_options options = {.shards = 7,
                                    .uid_width = {3, 3, 3},
                                    .auto_create = {true, true, true},
                                    .budget = budget,
                                    .readers = readers};
    struct index *index;
    assert_int_equal(index_new(&options, &index), RC_OK);
    return index;
}

static struct model_series *model_find(const struct model_series *wanted) {
    for (size_t i = 0; i < model_count; i++)
        if (model[i].id != 0 && model[i].metric == wanted->metric &&
            memcmp(model[i].values, wanted->values, sizeof(wanted->values)) == 0)
            return &model[i];
    return NULL;
}

static void create_one(struct index *index) {
    struct model_series wanted = {.metric = (int)random_below(METRICS)};
    /* Few values for the first keys, so that their sets become large. */
    for (int k = 0; k < KEYS; k++)
        wanted.values[k] = random_below(4) == 0 ? -1
                                                : (int)random_below(k < 2    ? 2
                                                                    : k == 2 ? 20
                                                                             : VALUES);
    struct series_key key = key_of(&wanted);
    struct model_series *known = model_find(&wanted);
    struct series *found = index_find(index, &key), *series;
    assert_int_equal(found == NULL ? 0 : found->id, known == NULL ? 0 : known->id);
    struct err err;
    assert_int_equal(index_series(index, &key, &series, &err), RC_OK);
    if (known != NULL) {
        assert_int_equal(series->id, known->id);
        return;
    }
    assert_int_equal(series->id, model_count + 1);
    assert_int_equal(series->shard, series_key_hash(&key) % 7);
    wanted.id = series->id;
    model[model_count++] = wanted;
}

static void remove_one(struct index *index) {
    struct model_series *victim = &model[random_below((uint32_t)model_count)];
    if (victim->id == 0)
        return;
    index_remove(index, index_by_id(index, victim->id));
    victim->id = 0;
}

/* ---- selection ---- */

struct match {
    int digit;
    uint32_t calls;
    bool seen[VALUES];
    bool twice;
};

static bool value_ends(int value, int digit) {
    return value % 10 == digit;
}

static bool match_value(void *context, str value) {
    struct match *match = context;
    int number = 0;
    for (size_t i = 1; i < value.n; i++)
        number = number * 10 + value.p[i] - '0';
    match->twice = match->twice || match->seen[number];
    match->seen[number] = true;
    match->calls++;
    return value_ends(number, match->digit);
}

struct question {
    int metric; /* -1: all */
    int key_count;
    uint32_t count;
    struct index_condition conditions[4];
    int keys[4];
    bool wanted[4][VALUES];
    uint32_t uids[4][VALUES];
    struct match matches[4];
};

static int compare_u32(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void ask_random(struct index *index, struct question *q) {
    memset(q, 0, sizeof(*q));
    q->metric = (int)random_below(METRICS + 1) - 1;
    q->key_count = random_below(4) == 0 ? (int)random_below(KEYS) : -1;
    q->count = random_below(5);
    for (uint32_t c = 0; c < q->count; c++) {
        struct index_condition *condition = &q->conditions[c];
        q->keys[c] = (int)random_below(KEYS);
        condition->kind = (enum index_condition_kind)random_below(4);
        condition->key_uid = index_uid(index, INDEX_TAGK, str_of(key_names[q->keys[c]]));
        q->matches[c].digit = (int)random_below(10);
        condition->match = match_value;
        condition->context = &q->matches[c];
        uint32_t wanted = random_below(2) == 0 ? random_below(4) : random_below(VALUES);
        condition->value_uids = q->uids[c];
        for (uint32_t i = 0; i < wanted; i++) {
            uint32_t value = random_below(random_below(2) == 0 ? 4 : VALUES);
            uint32_t uid = index_uid(index, INDEX_TAGV, str_of(value_names[value]));
            if (q->wanted[c][value] || uid == 0)
                continue;
            q->wanted[c][value] = true;
            q->uids[c][condition->value_count++] = uid;
        }
        qsort(q->uids[c], condition->value_count, sizeof(uint32_t), compare_u32);
    }
}

static bool model_meets(const struct model_series *series, const struct question *q) {
    int tags = 0;
    for (int k = 0; k < KEYS; k++)
        tags += series->values[k] >= 0;
    if (series->id == 0 || (q->metric >= 0 && series->metric != q->metric) ||
        (q->key_count >= 0 && tags != q->key_count))
        return false;
    for (uint32_t c = 0; c < q->count; c++) {
        int value = series->values[q->keys[c]];
        bool meets = false;
        switch (q->conditions[c].kind) {
        case INDEX_HAS_KEY:
            meets = value >= 0;
            break;
        case INDEX_LACKS_KEY:
            meets = value < 0;
            break;
        case INDEX_VALUE_IN:
            meets = value >= 0 && q->wanted[c][value];
            break;
        case INDEX_VALUE_MATCH:
            meets = value >= 0 && value_ends(value, q->matches[c].digit);
            break;
        }
        if (!meets)
            return false;
    }
    return true;
}

static size_t select_random(struct index *index) {
    static struct question q;
    ask_random(index, &q);
    uint32_t metric_uid =
        q.metric < 0 ? 0 : index_uid(index, INDEX_METRIC, str_of(metric_names[q.metric]));
    if (q.metric >= 0 && metric_uid == 0)
        return 0;
    struct series_vec out = {0};
    assert_int_equal(index_select(index, metric_uid, q.conditions, q.count, q.key_count, &out),
                     RC_OK);
    size_t n = 0;
    for (size_t i = 0; i < model_count; i++) {
        if (!model_meets(&model[i], &q))
            continue;
        assert_true(n < out.n);
        assert_int_equal(out.p[n]->id, model[i].id);
        n++;
    }
    assert_int_equal(out.n, n);
    for (uint32_t c = 0; c < q.count; c++)
        assert_false(q.matches[c].twice);
    series_vec_fini(&out);
    return n;
}

/* ---- comparison of a whole index with the list ---- */

static void assert_names(struct index *index, enum index_kind kind, const bool *used, int count,
                         const char *names, size_t stride) {
    uint64_t alive = 0;
    for (int i = 0; i < count; i++) {
        uint32_t uid = index_uid(index, kind, str_of(names + (size_t)i * stride));
        assert_int_equal(uid != 0, used[i]);
        alive += used[i];
    }
    assert_int_equal(index_name_count(index, kind), alive);
}

static void assert_is_model(struct index *index, struct index *original) {
    bool metrics[METRICS] = {0}, keys[KEYS] = {0}, values[VALUES] = {0};
    uint64_t alive = 0;
    for (size_t i = 0; i < model_count; i++) {
        if (model[i].id == 0) {
            assert_null(index_by_id(index, (uint32_t)i + 1));
            continue;
        }
        alive++;
        metrics[model[i].metric] = true;
        struct series_key key = key_of(&model[i]);
        const struct series *series = index_find(index, &key);
        assert_non_null(series);
        assert_int_equal(series->id, model[i].id);
        assert_ptr_equal(index_by_id(index, model[i].id), series);
        const struct series *other = index_by_id(original, model[i].id);
        assert_int_equal(series->shard, other->shard);
        struct buf ours = {0}, theirs = {0};
        index_tsuid(index, series, &ours);
        index_tsuid(original, other, &theirs);
        assert_true(str_eq(buf_view(&ours), buf_view(&theirs)));
        assert_ptr_equal(index_by_tsuid(index, buf_view(&ours)), series);
        buf_fini(&ours);
        buf_fini(&theirs);
        for (int k = 0; k < KEYS; k++) {
            if (model[i].values[k] < 0)
                continue;
            keys[k] = values[model[i].values[k]] = true;
        }
    }
    assert_int_equal(index_series_count(index), alive);
    assert_int_equal(index_series_id_max(index), model_count);
    assert_names(index, INDEX_METRIC, metrics, METRICS, metric_names[0], sizeof(metric_names[0]));
    assert_names(index, INDEX_TAGK, keys, KEYS, key_names[0], sizeof(key_names[0]));
    assert_names(index, INDEX_TAGV, values, VALUES, value_names[0], sizeof(value_names[0]));
}

static void apply(struct index *index, const struct buf *bytes) {
    struct err err = {0};
    enum rc rc = index_apply(index, (const uint8_t *)bytes->p, bytes->n, &err);
    if (rc != RC_OK)
        print_error("%s\n", err.message);
    assert_int_equal(rc, RC_OK);
}

/* Everything that was ever logged, in pieces. */
static struct buf history;
static size_t history_ends[STEPS];
static size_t history_count;

static void remember(const struct buf *bytes) {
    buf_add(&history, bytes->p, bytes->n);
    history_ends[history_count++] = history.n;
}

/* Recovery replays a log whose beginning the snapshot already covers. */
static void replay(struct index *index) {
    for (size_t i = 0; i < history_count; i++) {
        size_t from = i == 0 ? 0 : history_ends[i - 1];
        struct buf piece = {.p = history.p + from, .n = history_ends[i] - from};
        apply(index, &piece);
    }
}

/* What a fresh name gets must be the same in both: nothing was forgotten of what was given. */
static void assert_same_counters(struct index *a, struct index *b) {
    static int fresh;
    char name[16];
    snprintf(name, sizeof(name), "fresh%d", fresh++);
    for (int kind = 0; kind < INDEX_KINDS; kind++) {
        uint32_t x, y;
        assert_int_equal(index_assign(a, (enum index_kind)kind, str_of(name), &x, NULL), RC_OK);
        assert_int_equal(index_assign(b, (enum index_kind)kind, str_of(name), &y, NULL), RC_OK);
        assert_int_equal(x, y);
    }
}

static void the_index_agrees_with_a_plain_list_and_so_do_its_copies(void **state) {
    name_things();
    struct budget budget;
    budget_init(&budget, 0, NULL);
    struct epoch_domain *readers = epoch_domain_new();
    struct index *index = open_index(&budget, readers), *replica = open_index(&budget, readers);
    random_state = 20240229;
    struct index *laggard = open_index(&budget, readers);
    uint64_t next = index_sequence(index);
    size_t selected = 0;
    struct buf bytes = {0};
    for (int step = 0; step < STEPS; step++) {
        bool shrinking = step / 2000 % 3 == 2;
        if (model_count > 0 && random_below(10) < (shrinking ? 9u : 3u))
            remove_one(index);
        else
            create_one(index);
        if (step % 10 == 0)
            selected += select_random(index);
        if (step % 97 == 0) {
            buf_reset(&bytes);
            assert_int_equal(index_encode_since(index, next, &bytes, &next), RC_OK);
            apply(replica, &bytes);
            apply(replica, &bytes);
            remember(&bytes);
        }
        if (step % 97 == 0 && step % 7 == 0) {
            assert_is_model(index, index);
            assert_is_model(replica, index);
            buf_reset(&bytes);
            uint64_t unused;
            assert_int_equal(index_encode_since(index, 0, &bytes, &unused), RC_OK);
            struct index *fresh = open_index(&budget, readers);
            apply(fresh, &bytes);
            apply(fresh, &bytes);
            apply(replica, &bytes);
            apply(laggard, &bytes);
            assert_is_model(laggard, index);
            assert_is_model(fresh, index);
            assert_is_model(replica, index);
            index_free(fresh);
        }
    }
    assert_true(selected > STEPS);
    buf_reset(&bytes);
    assert_int_equal(index_encode_since(index, 0, &bytes, &next), RC_OK);
    struct index *fresh = open_index(&budget, readers);
    apply(fresh, &bytes);
    replay(fresh);
    assert_is_model(fresh, index);
    replay(replica);
    apply(replica, &bytes);
    assert_is_model(replica, index);
    assert_same_counters(index, fresh);
    index_free(fresh);
    buf_fini(&bytes);
    buf_fini(&history);
    index_free(laggard);
    index_free(replica);
    index_free(index);
    epoch_domain_free(readers);
    assert_int_equal(budget_used(&budget), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_index_agrees_with_a_plain_list_and_so_do_its_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
