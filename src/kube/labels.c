#include "kube/labels.h"

bool labels_is_ours(str name) {
    str domain = STR(LABELS_DOMAIN);
    if (name.n < domain.n || !str_eq_nocase((str){name.p, domain.n}, domain))
        return false;
    return name.n == domain.n || name.p[domain.n] == '.';
}
