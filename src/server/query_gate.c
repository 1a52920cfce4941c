#include "server/query_gate.h"

#include "os/thread.h"

#include <stdlib.h>

struct query_gate {
    struct mutex lock;
    struct condition changed;
    uint32_t limit;
    uint32_t inside;
};

struct query_gate *query_gate_new(uint32_t limit) {
    struct query_gate *gate = calloc(1, sizeof(*gate));
    if (gate == NULL)
        return NULL;
    gate->limit = limit;
    mutex_init(&gate->lock);
    condition_init(&gate->changed);
    return gate;
}

void query_gate_free(struct query_gate *gate) {
    if (gate == NULL)
        return;
    condition_fini(&gate->changed);
    mutex_fini(&gate->lock);
    free(gate);
}

bool query_gate_enter(struct query_gate *gate, int64_t deadline_ns) {
    mutex_lock(&gate->lock);
    bool in_time = true;
    while (gate->inside >= gate->limit && in_time) {
        if (deadline_ns == 0)
            condition_wait(&gate->changed, &gate->lock);
        else
            in_time = condition_wait_until(&gate->changed, &gate->lock, deadline_ns);
    }
    bool entered = gate->inside < gate->limit;
    gate->inside += entered;
    mutex_unlock(&gate->lock);
    return entered;
}

void query_gate_leave(struct query_gate *gate) {
    mutex_lock(&gate->lock);
    gate->inside--;
    condition_signal(&gate->changed);
    mutex_unlock(&gate->lock);
}
