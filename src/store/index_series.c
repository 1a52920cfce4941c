#include "base/check.h"
#include "base/hash.h"
#include "store/index_internal.h"

#include <string.h>

struct series index_series_gone_marker;

static const char *const kind_text[INDEX_KINDS] = {"metrics", "tagk", "tagv"};

/* ---- by UIDs ---- */

void index_identity_sort(struct index_identity *identity) {
    struct series_tag *tags = identity->tags;
    for (uint32_t i = 1; i < identity->tag_count; i++) {
        struct series_tag tag = tags[i];
        uint32_t at = i;
        for (; at > 0 && tags[at - 1].key_uid > tag.key_uid; at--)
            tags[at] = tags[at - 1];
        tags[at] = tag;
    }
}

static uint32_t identity_hash(const struct index_identity *identity) {
    return (uint32_t)hash_bytes(&identity->metric_uid,
                                sizeof(identity->metric_uid) +
                                    identity->tag_count * sizeof(struct series_tag));
}

struct series *index_lookup(const struct index *index, uint32_t id, bool *gone) {
    struct series *const *at = index_pages_at(&index->series_pages, id);
    *gone = at == NULL ? index_pages_page_gone(&index->series_pages, id) : *at == INDEX_SERIES_GONE;
    return at == NULL || *at == INDEX_SERIES_GONE ? NULL : *at;
}

bool index_identity_is(const struct index_identity *identity, const struct series *series) {
    return series->metric_uid == identity->metric_uid && series->tag_count == identity->tag_count &&
           (series->tag_count == 0 ||
            memcmp(series->tags, identity->tags, series->tag_count * sizeof(*series->tags)) == 0);
}

struct series *index_identity_find(const struct index *index,
                                   const struct index_identity *identity) {
    uint32_t hash = identity_hash(identity), at = hash, id;
    while ((id = index_hash_next(&index->series_hash, hash, &at)) != 0) {
        bool gone;
        struct series *series = index_lookup(index, id, &gone);
        if (index_identity_is(identity, series))
            return series;
    }
    return NULL;
}

static void identity_of(const struct series *series, struct index_identity *identity) {
    identity->metric_uid = series->metric_uid;
    identity->tag_count = series->tag_count;
    if (series->tag_count > 0)
        memcpy(identity->tags, series->tags, series->tag_count * sizeof(*series->tags));
}

struct series *index_by_id(struct index *index, uint32_t id) {
    bool gone;
    rwlock_read(&index->lock);
    struct series *series = index_lookup(index, id, &gone);
    rwlock_unlock(&index->lock);
    return series;
}

/* Ids that are used together are mostly of one page, so it is looked for when it changes. */
uint32_t index_by_ids(struct index *index, const uint32_t *ids, uint32_t count,
                      struct series **out) {
    uint32_t page = UINT32_MAX, found = 0;
    struct series *const *series = NULL;
    rwlock_read(&index->lock);
    for (; found < count; found++) {
        uint32_t id = ids[found];
        if (id / INDEX_PAGE_ELEMENTS != page) {
            page = id / INDEX_PAGE_ELEMENTS;
            series = index_pages_at(&index->series_pages, page * INDEX_PAGE_ELEMENTS);
            if (series == NULL)
                break;
        }
        struct series *one = series[id % INDEX_PAGE_ELEMENTS];
        if (one == NULL || one == INDEX_SERIES_GONE)
            break;
        out[found] = one;
    }
    rwlock_unlock(&index->lock);
    return found;
}

uint32_t index_tag_value(const struct series *series, uint32_t key_uid) {
    for (uint32_t i = 0; i < series->tag_count; i++)
        if (series->tags[i].key_uid == key_uid)
            return series->tags[i].value_uid;
    return 0;
}

void index_key(struct index *index, const struct series *series, struct series_key *key) {
    rwlock_read(&index->lock);
    key->metric = index_names_name(&index->names[INDEX_METRIC], series->metric_uid);
    key->tag_count = series->tag_count;
    for (uint32_t i = 0; i < series->tag_count; i++)
        key->tags[i] =
            (struct tag){index_names_name(&index->names[INDEX_TAGK], series->tags[i].key_uid),
                         index_names_name(&index->names[INDEX_TAGV], series->tags[i].value_uid)};
    rwlock_unlock(&index->lock);
}

/* ---- creation ---- */

static size_t series_bytes(uint32_t tag_count) {
    return sizeof(struct series) + tag_count * sizeof(struct series_tag);
}

/* Gives back what of a reservation was not used. */
static void undo_reservation(struct index *index, struct index_reservation *reservation) {
    for (uint32_t i = 0; i < reservation->text_count; i++) {
        struct index_name_text *text = reservation->texts[i];
        if (text != NULL)
            index_slab_give(index->names_slab, text, index_names_text_bytes(text->n));
        reservation->texts[i] = NULL;
    }
    if (reservation->series != NULL)
        index_slab_give(index->series_slab, reservation->series,
                        series_bytes(reservation->series_tag_count));
    reservation->series = NULL;
}

static bool reserve_sets(struct index *index, const struct index_identity *identity) {
    if (!index_pairs_reserve(&index->pairs, 1 + identity->tag_count))
        return false;
    struct index_set *set = index_pairs_find(&index->pairs, INDEX_METRIC_KEY, identity->metric_uid);
    if (set != NULL && !index_set_reserve(set, &index->sets_account))
        return false;
    for (uint32_t i = 0; i < identity->tag_count; i++) {
        const struct series_tag *tag = &identity->tags[i];
        set = index_pairs_find(&index->pairs, tag->key_uid, tag->value_uid);
        if (set != NULL && !index_set_reserve(set, &index->sets_account))
            return false;
    }
    return true;
}

static bool reserve_tables(struct index *index, const struct index_identity *identity,
                           const uint32_t *missing, uint32_t id) {
    for (int kind = 0; kind < INDEX_KINDS; kind++)
        if (!index_names_reserve(&index->names[kind], missing[kind]))
            return false;
    return index_hash_reserve(&index->series_hash, 1) &&
           index_pages_ensure(&index->series_pages, id) &&
           index_events_reserve(&index->events, 1 + INDEX_NAMES_MAX) &&
           reserve_sets(index, identity);
}

bool index_reserve(struct index *index, const struct index_identity *identity,
                   const uint32_t *missing, uint32_t id, struct index_reservation *reservation) {
    reservation->series_tag_count = identity->tag_count;
    reservation->series = index_slab_alloc(index->series_slab, series_bytes(identity->tag_count));
    if (reservation->series != NULL && reserve_tables(index, identity, missing, id))
        return true;
    undo_reservation(index, reservation);
    return false;
}

void index_create_name(struct index *index, enum index_kind kind, uint32_t uid, uint32_t hash,
                       struct index_name_text *text) {
    index_names_add(&index->names[kind], uid, hash, text);
    index_events_add(&index->events, INDEX_EVENT_NAME + (uint32_t)kind, uid);
}

static void count_use(struct index *index, enum index_kind kind, uint32_t uid) {
    struct index_name *name = index_names_at(&index->names[kind], uid);
    CHECK(name != NULL && name->text != NULL);
    name->references++;
}

struct series *index_create_series(struct index *index, uint32_t id, uint32_t shard,
                                   const struct index_identity *identity,
                                   struct index_reservation *reservation) {
    struct series *series = reservation->series;
    reservation->series = NULL;
    memset(series, 0, sizeof(*series));
    struct series_tag *tags = (struct series_tag *)(series + 1);
    memcpy(tags, identity->tags, identity->tag_count * sizeof(*tags));
    series->id = id;
    series->metric_uid = identity->metric_uid;
    series->shard = (uint16_t)shard;
    series->tag_count = (uint8_t)identity->tag_count;
    series->tags = tags;

    struct series **slot = index_pages_at(&index->series_pages, id);
    CHECK(slot != NULL && *slot == NULL);
    *slot = series;
    index_hash_add(&index->series_hash, identity_hash(identity), id);
    count_use(index, INDEX_METRIC, series->metric_uid);
    index_pairs_add(&index->pairs, INDEX_METRIC_KEY, series->metric_uid, id);
    for (uint32_t i = 0; i < series->tag_count; i++) {
        count_use(index, INDEX_TAGK, tags[i].key_uid);
        count_use(index, INDEX_TAGV, tags[i].value_uid);
        index_pairs_add(&index->pairs, tags[i].key_uid, tags[i].value_uid, id);
    }
    index->series_count++;
    if (id > index->series_id_max)
        index->series_id_max = id;
    index_events_add(&index->events, INDEX_EVENT_SERIES, id);
    return series;
}

/* ---- by names ---- */

/* The names of a key with what is known of them: name 0 is the metric, then key and value in turn.
 */
struct resolved {
    uint32_t count;
    uint32_t missing[INDEX_KINDS]; /* names without a UID, a name counted as often as it is used */
    uint64_t removals;             /* when the UIDs were looked up */
    uint32_t hash[INDEX_NAMES_MAX];
    uint32_t uid[INDEX_NAMES_MAX];
};

static enum index_kind kind_at(uint32_t i) {
    return i == 0 ? INDEX_METRIC : i % 2 == 1 ? INDEX_TAGK : INDEX_TAGV;
}

static str name_at(const struct series_key *key, uint32_t i) {
    const struct tag *tag = &key->tags[i == 0 ? 0 : (i - 1) / 2];
    return i == 0 ? key->metric : i % 2 == 1 ? tag->key : tag->value;
}

static void hash_names(const struct series_key *key, struct resolved *resolved) {
    resolved->count = 1 + 2 * key->tag_count;
    for (uint32_t i = 0; i < resolved->count; i++) {
        resolved->hash[i] = index_names_hash(name_at(key, i));
        resolved->uid[i] = 0;
    }
}

/* Looks up the names that have no UID yet. The lock is held. */
static void find_names(const struct index *index, const struct series_key *key,
                       struct resolved *resolved) {
    memset(resolved->missing, 0, sizeof(resolved->missing));
    resolved->removals = index->removals;
    for (uint32_t i = 0; i < resolved->count; i++) {
        enum index_kind kind = kind_at(i);
        if (resolved->uid[i] == 0)
            resolved->uid[i] =
                index_names_find(&index->names[kind], resolved->hash[i], name_at(key, i));
        resolved->missing[kind] += resolved->uid[i] == 0;
    }
}

static bool is_complete(const struct resolved *resolved) {
    return (resolved->missing[0] | resolved->missing[1] | resolved->missing[2]) == 0;
}

static void make_identity(const struct series_key *key, const struct resolved *resolved,
                          struct index_identity *identity) {
    identity->tag_count = key->tag_count;
    identity->metric_uid = resolved->uid[0];
    for (uint32_t i = 0; i < key->tag_count; i++)
        identity->tags[i] = (struct series_tag){resolved->uid[1 + 2 * i], resolved->uid[2 + 2 * i]};
    index_identity_sort(identity);
}

/* The series if all its names and itself are known. The lock is held. */
static struct series *find_locked(const struct index *index, const struct series_key *key,
                                  struct resolved *resolved) {
    find_names(index, key, resolved);
    if (!is_complete(resolved))
        return NULL;
    struct index_identity identity;
    make_identity(key, resolved, &identity);
    return index_identity_find(index, &identity);
}

struct series *index_find(struct index *index, const struct series_key *key) {
    struct resolved resolved;
    hash_names(key, &resolved);
    rwlock_read(&index->lock);
    struct series *series = find_locked(index, key, &resolved);
    rwlock_unlock(&index->lock);
    return series;
}

/* Fails if the key has a name that is missing and may not be created. */
static enum rc check_creation(const struct index *index, const struct series_key *key,
                              const struct resolved *resolved, struct err *err) {
    for (uint32_t i = 0; i < resolved->count; i++) {
        str name = name_at(key, i);
        enum index_kind kind = kind_at(i);
        if (resolved->uid[i] != 0)
            continue;
        if (!index->options.auto_create[kind])
            return err_set(err, RC_NOT_FOUND, "No such name for '%s': '%.*s'", kind_text[kind],
                           STR_ARG(name));
        if (name.n == 0 || name.n > LIMIT_NAME_BYTES_MAX)
            return err_set(err, RC_INVALID, "a name has 1 to %d bytes, not %zu",
                           LIMIT_NAME_BYTES_MAX, name.n);
        if (index->names[kind].uid_max > INDEX_ID_MAX - INDEX_NAMES_MAX)
            return err_set(err, RC_LIMIT, "no UIDs are left for '%s'", kind_text[kind]);
    }
    if (index->series_id_max >= INDEX_ID_MAX)
        return err_set(err, RC_LIMIT, "no series ids are left");
    return RC_OK;
}

static bool copy_missing_names(struct index *index, const struct series_key *key,
                               const struct resolved *resolved,
                               struct index_reservation *reservation) {
    for (uint32_t i = 0; i < resolved->count; i++) {
        if (resolved->uid[i] != 0)
            continue;
        struct index_name_text *text = index_names_copy(&index->names[kind_at(i)], name_at(key, i));
        if (text == NULL) {
            undo_reservation(index, reservation);
            return false;
        }
        reservation->texts[reservation->text_count++] = text;
    }
    return true;
}

/* Gives UIDs to the names that have none, with the texts of the reservation. A name that the key
   holds twice gets its UID once; the second text is left. */
static void create_names(struct index *index, struct resolved *resolved,
                         struct index_reservation *reservation) {
    uint32_t next = 0;
    for (uint32_t i = 0; i < resolved->count; i++) {
        if (resolved->uid[i] != 0)
            continue;
        enum index_kind kind = kind_at(i);
        struct index_names *names = &index->names[kind];
        struct index_name_text **text = &reservation->texts[next++];
        resolved->uid[i] = index_names_find(names, resolved->hash[i], index_names_text(*text));
        if (resolved->uid[i] != 0)
            continue;
        resolved->uid[i] = names->uid_max + 1;
        index_create_name(index, kind, resolved->uid[i], resolved->hash[i], *text);
        *text = NULL;
    }
}

static enum rc create_locked(struct index *index, const struct series_key *key, uint32_t shard,
                             struct resolved *resolved, struct series **out, struct err *err) {
    if (resolved->removals != index->removals)
        memset(resolved->uid, 0, resolved->count * sizeof(*resolved->uid));
    *out = find_locked(index, key, resolved);
    if (*out != NULL)
        return RC_OK;
    TRY(check_creation(index, key, resolved, err));
    struct index_identity identity;
    make_identity(key, resolved, &identity);
    struct index_reservation reservation = {0};
    uint32_t id = index->series_id_max + 1;
    if (!copy_missing_names(index, key, resolved, &reservation) ||
        !index_reserve(index, &identity, resolved->missing, id, &reservation))
        return index_over_budget(index, err);
    create_names(index, resolved, &reservation);
    make_identity(key, resolved, &identity);
    *out = index_create_series(index, id, shard, &identity, &reservation);
    undo_reservation(index, &reservation);
    return RC_OK;
}

enum rc index_series(struct index *index, const struct series_key *key, struct series **out,
                     struct err *err) {
    CHECK(key->tag_count <= LIMIT_TAGS_MAX);
    struct resolved resolved;
    hash_names(key, &resolved);
    rwlock_read(&index->lock);
    *out = find_locked(index, key, &resolved);
    rwlock_unlock(&index->lock);
    if (*out != NULL)
        return RC_OK;
    uint32_t shard = (uint32_t)(series_key_hash(key) % index->options.shards);
    rwlock_write(&index->lock);
    enum rc rc = create_locked(index, key, shard, &resolved, out, err);
    rwlock_unlock(&index->lock);
    return rc;
}

/* ---- removal ---- */

void index_take_out_name(struct index *index, enum index_kind kind, uint32_t uid,
                         struct index_removal *removal) {
    removal->texts[removal->text_count++] = index_names_drop(&index->names[kind], uid);
    index_events_add(&index->events, INDEX_EVENT_NAME_GONE + (uint32_t)kind, uid);
    index->removals++;
}

static void uncount_use(struct index *index, enum index_kind kind, uint32_t uid, bool free_names,
                        struct index_removal *removal) {
    struct index_name *name = index_names_at(&index->names[kind], uid);
    CHECK(name != NULL && name->references > 0);
    if (--name->references == 0 && free_names)
        index_take_out_name(index, kind, uid, removal);
}

void index_take_out(struct index *index, struct series *series, bool free_names,
                    struct index_removal *removal) {
    uint32_t id = series->id;
    struct index_identity identity;
    identity_of(series, &identity);
    struct series **slot = index_pages_at(&index->series_pages, id);
    CHECK(slot != NULL && *slot == series);
    *slot = INDEX_SERIES_GONE;
    index_pages_count_gone(&index->series_pages, id);
    index_hash_remove(&index->series_hash, identity_hash(&identity), id);
    index->series_count--;
    index->removals++;
    index_events_add(&index->events, INDEX_EVENT_REMOVED, id);

    index_pairs_remove(&index->pairs, INDEX_METRIC_KEY, series->metric_uid, id);
    uncount_use(index, INDEX_METRIC, series->metric_uid, free_names, removal);
    for (uint32_t i = 0; i < series->tag_count; i++) {
        const struct series_tag *tag = &series->tags[i];
        index_pairs_remove(&index->pairs, tag->key_uid, tag->value_uid, id);
        uncount_use(index, INDEX_TAGK, tag->key_uid, free_names, removal);
        uncount_use(index, INDEX_TAGV, tag->value_uid, free_names, removal);
    }
    removal->series = series;
}

static void release_text(void *pointer, void *context) {
    struct index_name_text *text = pointer;
    index_slab_give(context, text, index_names_text_bytes(text->n));
    index_slab_unref(context);
}

static void release_series(void *pointer, void *context) {
    struct series *series = pointer;
    index_slab_give(context, series, series_bytes(series->tag_count));
    index_slab_unref(context);
}

void index_retire(struct index *index, struct index_removal *removal) {
    struct epoch_domain *readers = index->options.readers;
    for (uint32_t i = 0; i < removal->text_count; i++) {
        index_slab_ref(index->names_slab);
        epoch_retire(readers, removal->texts[i], release_text, index->names_slab);
    }
    if (removal->series != NULL) {
        index_slab_ref(index->series_slab);
        epoch_retire(readers, removal->series, release_series, index->series_slab);
    }
}

void index_remove(struct index *index, struct series *series) {
    struct index_removal removal = {0};
    rwlock_write(&index->lock);
    series->removed = true;
    index_take_out(index, series, true, &removal);
    rwlock_unlock(&index->lock);
    index_retire(index, &removal);
}
