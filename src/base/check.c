#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

void check_fail(const char *file, int line, const char *function, const char *condition) {
    fprintf(stderr, "barograph: bug: %s:%d: %s: (%s) does not hold\n", file, line, function,
            condition);
    abort();
}
