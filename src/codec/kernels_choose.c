#include "codec/kernels.h"

#if defined(__x86_64__)
bool kernels_avx2_usable(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
           __builtin_cpu_supports("fma");
}

/* Chosen before main, so that no caller pays for a check. */
static const struct kernels *chosen = &kernels_baseline;

static void __attribute__((constructor)) choose(void) {
    __builtin_cpu_init();
    if (kernels_avx2_usable())
        chosen = &kernels_avx2;
}

const struct kernels *kernels_best(void) {
    return chosen;
}
#else
const struct kernels *kernels_best(void) {
    return &kernels_baseline;
}
#endif
