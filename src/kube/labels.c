#include "kube/labels.h"

bool labels_is_ours(str name) {
    str prefix = STR(LABELS_PREFIX);
    str stem = {prefix.p, prefix.n - 1};
    return (name.n >= prefix.n && str_eq_nocase((str){name.p, prefix.n}, prefix)) ||
           str_eq_nocase(name, stem);
}
