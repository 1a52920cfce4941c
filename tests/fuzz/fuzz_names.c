/*
 * Definitions of names and series: any bytes are applied or refused, what is applied encodes to
 * bytes that a fresh index takes without complaint, and both then say the same.
 */
#include "base/buf.h"
#include "base/check.h"
#include "store/index.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct index *open_index(struct budget *budget, struct epoch_domain *readers) {
    struct index_options options = {.shards = 4,
                                    .uid_width = {3, 1, 2},
                                    .auto_create = {true, true, true},
                                    .budget = budget,
                                    .readers = readers};
    struct index *index;
    CHECK(index_new(&options, &index) == RC_OK);
    return index;
}

static void check_same(struct index *a, struct index *b) {
    CHECK(index_series_count(a) == index_series_count(b));
    CHECK(index_series_id_max(a) == index_series_id_max(b));
    for (int kind = 0; kind < INDEX_KINDS; kind++)
        CHECK(index_name_count(a, (enum index_kind)kind) ==
              index_name_count(b, (enum index_kind)kind));
    struct series_vec all = {0};
    CHECK(index_select(a, 0, NULL, 0, -1, &all) == RC_OK);
    CHECK(all.n == index_series_count(a));
    for (size_t i = 0; i < all.n; i++) {
        struct buf tsuid = {0};
        index_tsuid(a, all.p[i], &tsuid);
        CHECK(index_by_tsuid(a, buf_view(&tsuid)) == all.p[i]);
        const struct series *twin = index_by_tsuid(b, buf_view(&tsuid));
        CHECK(twin != NULL && twin->id == all.p[i]->id && twin->shard == all.p[i]->shard);
        buf_fini(&tsuid);
    }
    series_vec_fini(&all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct budget budget;
    budget_init(&budget, 0, NULL);
    struct epoch_domain *readers = epoch_domain_new();
    CHECK(readers != NULL);
    struct index *index = open_index(&budget, readers), *copy = open_index(&budget, readers);
    if (index_apply(index, data, size, NULL) == RC_OK)
        CHECK(index_apply(index, data, size, NULL) == RC_OK || size == 0);
    struct buf bytes = {0};
    uint64_t next;
    CHECK(index_encode_since(index, 0, &bytes, &next) == RC_OK);
    CHECK(index_apply(copy, (const uint8_t *)bytes.p, bytes.n, NULL) == RC_OK);
    check_same(index, copy);
    buf_fini(&bytes);
    index_free(index);
    index_free(copy);
    epoch_domain_free(readers);
    CHECK(budget_used(&budget) == 0);
    return 0;
}
