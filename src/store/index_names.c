#include "store/index_names.h"

#include "base/check.h"
#include "base/hash.h"

#include <string.h>

uint32_t index_names_hash(str name) {
    return (uint32_t)hash_bytes(name.p, name.n);
}

bool index_names_gone(const struct index_names *names, uint32_t uid) {
    const struct index_name *name = index_names_at(names, uid);
    return name != NULL ? name->gone : index_pages_page_gone(&names->pages, uid);
}

uint32_t index_names_find(const struct index_names *names, uint32_t hash, str name) {
    uint32_t at = hash, uid;
    while ((uid = index_hash_next(&names->hash, hash, &at)) != 0)
        if (str_eq(index_names_name(names, uid), name))
            return uid;
    return 0;
}

struct index_name_text *index_names_copy(const struct index_names *names, str name) {
    struct index_name_text *text = index_slab_alloc(names->slab, index_names_text_bytes(name.n));
    if (text == NULL)
        return NULL;
    text->n = (uint16_t)name.n;
    if (name.n > 0)
        memcpy(text->bytes, name.p, name.n);
    return text;
}

bool index_names_reserve(struct index_names *names, uint32_t count) {
    if (count == 0)
        return true;
    if (!index_hash_reserve(&names->hash, count) ||
        !index_pages_ensure(&names->pages, names->uid_max + 1))
        return false;
    return index_pages_ensure(&names->pages, names->uid_max + count);
}

void index_names_add(struct index_names *names, uint32_t uid, uint32_t hash,
                     struct index_name_text *text) {
    struct index_name *name = index_names_at(names, uid);
    CHECK(name != NULL && name->text == NULL && !name->gone);
    name->text = text;
    index_hash_add(&names->hash, hash, uid);
    names->count++;
    if (uid > names->uid_max)
        names->uid_max = uid;
    else
        names->disorder++;
}

struct index_name_text *index_names_drop(struct index_names *names, uint32_t uid) {
    struct index_name *name = index_names_at(names, uid);
    struct index_name_text *text = name->text;
    CHECK(text != NULL && name->references == 0);
    index_hash_remove(&names->hash, index_names_hash(index_names_text(text)), uid);
    name->text = NULL;
    name->gone = true;
    names->count--;
    names->disorder++;
    index_pages_count_gone(&names->pages, uid);
    return text;
}

bool index_names_skip(struct index_names *names, uint32_t uid) {
    if (index_names_gone(names, uid))
        return true;
    if (!index_pages_ensure(&names->pages, uid))
        return false;
    struct index_name *name = index_names_at(names, uid);
    CHECK(name->text == NULL);
    name->gone = true;
    if (uid > names->uid_max)
        names->uid_max = uid;
    index_pages_count_gone(&names->pages, uid);
    return true;
}
