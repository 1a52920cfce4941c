#include "query/scratch.h"

#include <stdint.h>
#include <stdlib.h>

enum { FIRST_BYTES = 1024 };

void *scratch_need_slow(struct scratch *scratch, size_t bytes) {
    if (bytes > SIZE_MAX / 4)
        return NULL;
    size_t wanted = scratch->bytes * 2 > FIRST_BYTES ? scratch->bytes * 2 : FIRST_BYTES;
    if (wanted < bytes)
        wanted = bytes;
    size_t more = wanted - scratch->bytes;
    if (scratch->budget != NULL && !budget_charge(scratch->budget, more)) {
        /* Doubling may be too much where what is asked for still fits. */
        wanted = bytes;
        more = wanted - scratch->bytes;
        if (!budget_charge(scratch->budget, more))
            return NULL;
    }
    void *p = realloc(scratch->p, wanted);
    if (p == NULL) {
        if (scratch->budget != NULL)
            budget_release(scratch->budget, more);
        return NULL;
    }
    scratch->p = p;
    scratch->bytes = wanted;
    return p;
}

void scratch_fini(struct scratch *scratch) {
    free(scratch->p);
    if (scratch->budget != NULL)
        budget_release(scratch->budget, scratch->bytes);
    *scratch = (struct scratch){.budget = scratch->budget};
}
