#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "store/manifest.h"

#include <stdlib.h>
#include <string.h>

/* Any bytes are either corrupt, or a manifest that is encoded to the same bytes again. The checksum
   is made right first, so that the fuzzer gets past it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char begin[12] = "BGMANIF\n\1\0\0";
    size_t n = sizeof(begin) + size + 8;
    uint8_t *bytes = malloc(n);
    if (bytes == NULL)
        return 0;
    memcpy(bytes, begin, sizeof(begin));
    if (size > 0)
        memcpy(bytes + sizeof(begin), data, size);
    bytes_put_u64(bytes + n - 8, hash_checksum(bytes, n - 8));
    struct manifest manifest = {0};
    struct buf again = {0};
    if (manifest_decode(bytes, n, &manifest, NULL) == RC_OK) {
        manifest_encode(&manifest, &again);
        CHECK(again.failed || (again.n == n && memcmp(again.p, bytes, n) == 0));
    }
    buf_fini(&again);
    manifest_fini(&manifest);
    if (manifest_decode(data, size, &manifest, NULL) == RC_OK)
        manifest_fini(&manifest);
    free(bytes);
    return 0;
}
