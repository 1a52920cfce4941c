/* A request target is parameters in valid UTF-8, or an error with a text. */
#include "base/check.h"
#include "model/utf8.h"
#include "wire/http_uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_utf8(str text) {
    uint32_t code_point;
    for (size_t i = 0; i < text.n;) {
        size_t n = utf8_decode(text.p + i, text.n - i, &code_point);
        CHECK(n > 0);
        i += n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    str target = {(const char *)data, size};
    struct arena arena;
    arena_init(&arena, NULL);
    struct http_uri uri;
    struct err err = {0};
    enum rc rc = http_uri_parse(target, &arena, &uri, &err);
    CHECK(rc == RC_OK || (rc == RC_INVALID && err.message[0] != '\0'));
    for (uint32_t i = 0; rc == RC_OK && i < uri.parameter_count; i++) {
        check_utf8(uri.parameters[i].name);
        check_utf8(uri.parameters[i].value);
        CHECK(http_uri_find(&uri, uri.parameters[i].name) != NULL);
    }
    CHECK(uri.parameter_count <= URI_PARAMETERS_MAX);
    arena_fini(&arena);
    return 0;
}
