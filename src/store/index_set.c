#include "store/index_set.h"

#include "base/check.h"

#include <roaring/roaring.h>
#include <stdlib.h>
#include <string.h>

enum { CONTAINER_OVERHEAD_BYTES = 64, BITMAP_OVERHEAD_BYTES = 128, MEASURE_EVERY_MIN = 64 };

#define IS_BITMAP UINT32_MAX

struct index_bitmap {
    roaring_bitmap_t *bits;
    size_t charged_bytes;
    uint32_t changes_left; /* until the size is measured again */
};

/* What CRoaring holds, about: its statistics count payload, not headers and slack. */
static size_t measure(const roaring_bitmap_t *bits) {
    roaring_statistics_t statistics;
    roaring_bitmap_statistics(bits, &statistics);
    size_t payload = (size_t)statistics.n_bytes_array_containers +
                     statistics.n_bytes_bitset_containers + statistics.n_bytes_run_containers;
    return BITMAP_OVERHEAD_BYTES + payload + payload / 4 +
           (size_t)statistics.n_containers * CONTAINER_OVERHEAD_BYTES;
}

static void schedule(struct index_bitmap *bitmap, uint32_t count) {
    bitmap->changes_left = count / 8 > MEASURE_EVERY_MIN ? count / 8 : MEASURE_EVERY_MIN;
}

/* Charges for what the bitmap has grown to and will grow to before it is measured again. */
static bool charge(struct index_bitmap *bitmap, uint32_t count, struct index_account *account) {
    size_t bytes = measure(bitmap->bits);
    if (bytes > bitmap->charged_bytes) {
        if (!index_account_charge(account, bytes - bitmap->charged_bytes))
            return false;
    } else {
        index_account_release(account, bitmap->charged_bytes - bytes);
    }
    bitmap->charged_bytes = bytes;
    schedule(bitmap, count);
    return true;
}

static void bitmap_free(struct index_bitmap *bitmap, struct index_account *account) {
    index_account_release(account, bitmap->charged_bytes);
    if (bitmap->bits != NULL)
        roaring_bitmap_free(bitmap->bits);
    free(bitmap);
}

static void array_free(struct index_set *set, struct index_account *account) {
    if (set->capacity == 0)
        return;
    index_account_release(account, set->capacity * sizeof(uint32_t));
    free(set->array);
}

static bool become_bitmap(struct index_set *set, struct index_account *account) {
    struct index_bitmap *bitmap = calloc(1, sizeof(*bitmap));
    if (bitmap == NULL)
        return false;
    bitmap->bits = roaring_bitmap_of_ptr(set->count, set->array);
    if (bitmap->bits == NULL || !charge(bitmap, set->count, account)) {
        bitmap_free(bitmap, account);
        return false;
    }
    array_free(set, account);
    set->bitmap = bitmap;
    set->capacity = IS_BITMAP;
    return true;
}

static bool grow_array(struct index_set *set, struct index_account *account) {
    uint32_t capacity = set->capacity == 0 ? INDEX_SET_INLINE * 2 : set->capacity * 2;
    if (!index_account_charge(account, capacity * sizeof(uint32_t)))
        return false;
    uint32_t *array = malloc(capacity * sizeof(uint32_t));
    if (array == NULL) {
        index_account_release(account, capacity * sizeof(uint32_t));
        return false;
    }
    index_set_list(set, array);
    array_free(set, account);
    set->array = array;
    set->capacity = capacity;
    return true;
}

bool index_set_reserve(struct index_set *set, struct index_account *account) {
    if (set->capacity == IS_BITMAP)
        return set->bitmap->changes_left > 0 || charge(set->bitmap, set->count, account);
    if (set->count < (set->capacity == 0 ? INDEX_SET_INLINE : set->capacity))
        return true;
    if (set->capacity == INDEX_SET_ARRAY_MAX)
        return become_bitmap(set, account);
    return grow_array(set, account);
}

static uint32_t *sorted_ids(struct index_set *set) {
    return set->capacity == 0 ? set->in_place : set->array;
}

/* Where `id` is or belongs; ids mostly arrive ascending, so from the end. */
static uint32_t position(const uint32_t *ids, uint32_t count, uint32_t id) {
    uint32_t at = count;
    while (at > 0 && ids[at - 1] >= id)
        at--;
    return at;
}

void index_set_add(struct index_set *set, uint32_t id) {
    if (set->capacity == IS_BITMAP) {
        if (!roaring_bitmap_add_checked(set->bitmap->bits, id))
            return;
        set->count++;
        if (set->bitmap->changes_left > 0)
            set->bitmap->changes_left--;
        return;
    }
    uint32_t *ids = sorted_ids(set), at = position(ids, set->count, id);
    if (at < set->count && ids[at] == id)
        return;
    CHECK(set->count < (set->capacity == 0 ? INDEX_SET_INLINE : set->capacity));
    memmove(ids + at + 1, ids + at, (set->count - at) * sizeof(*ids));
    ids[at] = id;
    set->count++;
}

static void remove_from_bitmap(struct index_set *set, uint32_t id, struct index_account *account) {
    if (!roaring_bitmap_remove_checked(set->bitmap->bits, id))
        return;
    set->count--;
    if (set->bitmap->changes_left > 0)
        set->bitmap->changes_left--;
    else
        (void)!charge(set->bitmap, set->count, account); /* the next addition asks again */
}

void index_set_remove(struct index_set *set, uint32_t id, struct index_account *account) {
    if (set->capacity == IS_BITMAP) {
        remove_from_bitmap(set, id, account);
    } else {
        uint32_t *ids = sorted_ids(set), at = position(ids, set->count, id);
        if (at < set->count && ids[at] == id) {
            memmove(ids + at, ids + at + 1, (set->count - at - 1) * sizeof(*ids));
            set->count--;
        }
    }
    if (set->count == 0)
        index_set_fini(set, account);
}

void index_set_fini(struct index_set *set, struct index_account *account) {
    if (set->capacity == IS_BITMAP)
        bitmap_free(set->bitmap, account);
    else
        array_free(set, account);
    *set = (struct index_set){0};
}

void index_set_list(const struct index_set *set, uint32_t *ids) {
    if (set->capacity == IS_BITMAP)
        roaring_bitmap_to_uint32_array(set->bitmap->bits, ids);
    else if (set->count > 0)
        memcpy(ids, set->capacity == 0 ? set->in_place : set->array, set->count * sizeof(*ids));
}
