/* A Dockerfile, whatever it holds: labels that are ours, each once, on lines that it has. */
#include "base/check.h"
#include "kube/dockerfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct dockerfile_argument arguments[] = {{STR("A"), STR("given"), false}};
    struct arena arena;
    struct labels labels;
    struct problems problems;
    uint32_t lines = 1;
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    arena_init(&arena, NULL);
    problems_init(&problems, "fuzz");
    str text = {(const char *)data, size};
    CHECK(dockerfile_read(text, arguments, 1, &arena, &labels, &problems) == RC_OK);
    CHECK(labels.n <= LABELS_MAX);
    for (size_t i = 0; i < labels.n; i++) {
        const struct label *label = &labels.p[i];
        CHECK(labels_is_ours(label->name));
        CHECK(label->line >= 1 && label->line <= lines);
        CHECK(label->value.n <= DOCKERFILE_VALUE_MAX);
        CHECK(label->unreadable == NULL || label->unreadable[0] != '\0');
        CHECK(i == 0 || !str_eq(labels.p[i - 1].name, label->name));
    }
    CHECK((problems.count == 0) == (problems.text.n == 0));
    problems_fini(&problems);
    arena_fini(&arena);
    return 0;
}
