#include "store/index_order.h"

#include <stdlib.h>
#include <string.h>

enum { RECENT_MAX = 2048 /* names looked through rather than merged */ };

/* A name with its place in the order; the text stays while its reader is pinned. */
struct named {
    uint64_t head;
    uint32_t uid;
    const struct index_name_text *text;
};

static uint64_t head_of(str name) {
    uint8_t bytes[8] = {0};
    if (name.n > 0)
        memcpy(bytes, name.p, name.n < 8 ? name.n : 8);
    uint64_t head = 0;
    for (int i = 0; i < 8; i++)
        head = head << 8 | bytes[i];
    return head;
}

static int compare_named(const void *a, const void *b) {
    const struct named *x = a, *y = b;
    if (x->head != y->head)
        return x->head < y->head ? -1 : 1;
    return str_cmp(index_names_text(x->text), index_names_text(y->text));
}

static int compare_names(const void *a, const void *b) {
    return str_cmp(*(const str *)a, *(const str *)b);
}

void index_order_init(struct index_order *order, struct budget *budget) {
    *order = (struct index_order){.account = {.budget = budget}};
    mutex_init(&order->lock);
}

void index_order_fini(struct index_order *order) {
    index_account_release(&order->account, order->account.bytes);
    free(order->items);
    mutex_fini(&order->lock);
}

static enum rc reserve(struct index_order *order, size_t count) {
    if (count <= order->capacity)
        return RC_OK;
    size_t capacity = count + count / 8;
    size_t more = (capacity - order->capacity) * sizeof(*order->items);
    if (!index_account_charge(&order->account, more))
        return RC_THROTTLE;
    struct index_order_item *items = realloc(order->items, capacity * sizeof(*items));
    if (items == NULL) {
        index_account_release(&order->account, more);
        return RC_NOMEM;
    }
    order->items = items;
    order->capacity = capacity;
    return RC_OK;
}

/* Lists the names with UIDs from `from` on. The names are locked. */
static enum rc list_names(const struct index_names *names, uint32_t from, struct named **out,
                          size_t *count) {
    uint32_t last = names->uid_max;
    size_t room = last >= from ? (size_t)(last - from) + 1 : 0;
    if (room > names->count)
        room = names->count;
    struct named *list = malloc((room + 1) * sizeof(*list));
    if (list == NULL)
        return RC_NOMEM;
    size_t n = 0;
    for (uint64_t uid = from; uid <= last && n < room; uid++) {
        const struct index_name *name = index_names_at(names, (uint32_t)uid);
        if (name == NULL)
            uid |= INDEX_PAGE_ELEMENTS - 1; /* the page is gone */
        else if (name->text != NULL)
            list[n++] =
                (struct named){head_of(index_names_text(name->text)), (uint32_t)uid, name->text};
    }
    *out = list;
    *count = n;
    return RC_OK;
}

/* Sorts all names anew. The lock is held before and after, in between only if `hold`: the texts
   stay because the caller is pinned. */
static enum rc rebuild(struct index_order *order, const struct index_names *names,
                       struct rwlock *lock, bool hold) {
    struct named *list;
    size_t count;
    TRY(list_names(names, 1, &list, &count));
    order->through = names->uid_max;
    order->disorder = names->disorder;
    order->count = 0;
    if (!hold)
        rwlock_unlock(lock);
    enum rc rc = reserve(order, count);
    if (rc == RC_OK) {
        qsort(list, count, sizeof(*list), compare_named);
        for (size_t i = 0; i < count; i++)
            order->items[i] = (struct index_order_item){list[i].head, list[i].uid};
        order->count = count;
    } else {
        order->through = 0;
    }
    free(list);
    if (!hold)
        rwlock_read(lock);
    return rc;
}

/* Number of ordered names before `name`. The names are locked. */
static size_t names_before(const struct index_order *order, const struct index_names *names,
                           size_t count, str name) {
    uint64_t head = head_of(name);
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct index_order_item *item = &order->items[middle];
        bool before = item->head != head ? item->head < head
                                         : str_cmp(index_names_name(names, item->uid), name) < 0;
        if (before)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Takes in the names that are newer than the order: from the last to the first, each moves the
   tail of the order that follows it. The lock is held. */
static enum rc merge(struct index_order *order, const struct index_names *names) {
    struct named *list;
    size_t count;
    TRY(list_names(names, order->through + 1, &list, &count));
    enum rc rc = reserve(order, order->count + count);
    if (rc == RC_OK) {
        qsort(list, count, sizeof(*list), compare_named);
        size_t end = order->count;
        for (size_t i = count; i > 0; i--) {
            size_t at = names_before(order, names, end, index_names_text(list[i - 1].text));
            memmove(order->items + at + i, order->items + at, (end - at) * sizeof(*order->items));
            order->items[at + i - 1] = (struct index_order_item){list[i - 1].head, list[i - 1].uid};
            end = at;
        }
        order->count += count;
        order->through = names->uid_max;
    }
    free(list);
    return rc;
}

/* Brings the order so near to the names that at most RECENT_MAX are missing. Takes the lock, and
   keeps it when that succeeded. */
static enum rc refresh(struct index_order *order, const struct index_names *names,
                       struct rwlock *lock) {
    rwlock_read(lock);
    for (int attempt = 0;; attempt++) {
        bool broken = order->disorder != names->disorder || order->through == 0;
        uint32_t missing = names->uid_max - order->through;
        if (names->uid_max == 0 || (!broken && missing <= RECENT_MAX))
            return RC_OK;
        bool many = missing > order->count / 4;
        /* Removals may break an order while it is being built: then hold them off. */
        enum rc rc =
            broken || many ? rebuild(order, names, lock, attempt > 1) : merge(order, names);
        if (rc < 0) {
            rwlock_unlock(lock);
            return rc;
        }
    }
}

/* Lists the newer names with the prefix, sorted. */
static enum rc recent_names(const struct index_order *order, const struct index_names *names,
                            str prefix, struct str_vec *recent) {
    for (uint32_t uid = order->through; uid++ < names->uid_max;) {
        str name = index_names_name(names, uid);
        if (name.p != NULL && str_starts(name, prefix) && !str_vec_push(recent, name))
            return RC_NOMEM;
    }
    if (recent->n > 1)
        qsort(recent->p, recent->n, sizeof(*recent->p), compare_names);
    return RC_OK;
}

static enum rc collect(const struct index_order *order, const struct index_names *names, str prefix,
                       uint32_t max, const struct str_vec *recent, struct str_vec *out) {
    size_t at = names_before(order, names, order->count, prefix), newer = 0;
    for (uint32_t i = 0; i < max; i++) {
        str name = {NULL, 0};
        if (at < order->count)
            name = index_names_name(names, order->items[at].uid);
        if (name.p != NULL && !str_starts(name, prefix))
            name.p = NULL;
        if (newer < recent->n && (name.p == NULL || str_cmp(recent->p[newer], name) < 0))
            name = recent->p[newer++];
        else
            at++;
        if (name.p == NULL)
            break;
        if (!str_vec_push(out, name))
            return RC_NOMEM;
    }
    return RC_OK;
}

enum rc index_order_suggest(struct index_order *order, struct index_names *names,
                            struct rwlock *lock, str prefix, uint32_t max, struct str_vec *out) {
    mutex_lock(&order->lock);
    enum rc rc = refresh(order, names, lock);
    if (rc == RC_OK) {
        struct str_vec recent = {0};
        rc = recent_names(order, names, prefix, &recent);
        if (rc == RC_OK)
            rc = collect(order, names, prefix, max, &recent, out);
        str_vec_fini(&recent);
        rwlock_unlock(lock);
    }
    mutex_unlock(&order->lock);
    return rc;
}
