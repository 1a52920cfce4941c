/*
 * Stands in for libFuzzer where it is not available: runs the target on the files named on the
 * command line, or else on a fixed number of pseudo-random inputs (FUZZ_RUNS, FUZZ_SEED).
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t state;

static uint64_t next(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static int run_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return 1;
    }
    static uint8_t bytes[1 << 20];
    size_t n = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    LLVMFuzzerTestOneInput(bytes, n);
    return 0;
}

int main(int argc, char **argv) {
    int failures = 0;
    for (int i = 1; i < argc; i++)
        failures += run_file(argv[i]);
    if (argc > 1)
        return failures != 0;
    const char *runs_text = getenv("FUZZ_RUNS");
    const char *seed_text = getenv("FUZZ_SEED");
    long runs = runs_text == NULL ? 2000 : atol(runs_text);
    state = seed_text == NULL ? 88172645463325252u : strtoull(seed_text, NULL, 10) | 1;
    for (long run = 0; run < runs; run++) {
        size_t n = next() % 2048;
        uint8_t *bytes = malloc(n + 1);
        if (bytes == NULL)
            return 1;
        for (size_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)next();
        LLVMFuzzerTestOneInput(bytes, n);
        free(bytes);
    }
    return 0;
}
