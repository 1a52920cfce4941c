/*
 * Workers finish results in any order; the answer has one. Texts wait in a ring until it is their
 * turn; whoever completes the next one writes it and its ready successors. The ring bounds what is
 * outstanding, so a slow reader slows the query down instead of filling memory.
 */
#include "base/check.h"
#include "query/query_run.h"

#include <stdlib.h>

enum {
    READY_BYTES_MAX = 4 << 20, /* finished texts beyond this: only the next one may still be made */
    KEEP_BYTES_MAX = 1 << 20,  /* a longer buffer is given back once it is written */
};

enum rc query_run_output_init(struct query_run *run, size_t slots) {
    run->texts = calloc(slots, sizeof(*run->texts));
    if (run->texts == NULL)
        return RC_NOMEM;
    for (size_t i = 0; i < slots; i++) {
        run->texts[i].text.budget = run->budget;
        run->texts[i].ends.budget = run->budget;
    }
    run->text_count = slots;
    mutex_init(&run->output_lock);
    condition_init(&run->output_moved);
    return RC_OK;
}

void query_run_output_fini(struct query_run *run) {
    if (run->texts == NULL)
        return;
    for (size_t i = 0; i < run->text_count; i++) {
        buf_fini(&run->texts[i].text);
        scratch_fini(&run->texts[i].ends);
    }
    free(run->texts);
    condition_fini(&run->output_moved);
    mutex_fini(&run->output_lock);
}

void query_run_output_restart(struct query_run *run) {
    CHECK(!run->writing);
    for (size_t i = 0; i < run->text_count; i++)
        run->texts[i].ready = false;
    run->text_next = 0;
    run->ready_bytes = 0;
}

/* The next text in turn may always be made: whoever waits here waits for it. */
static bool must_wait(const struct query_run *run, size_t number) {
    return number >= run->text_next + run->text_count ||
           (number != run->text_next && run->ready_bytes > READY_BYTES_MAX);
}

struct query_text *query_run_output_take(struct query_run *run, size_t number) {
    mutex_lock(&run->output_lock);
    while (must_wait(run, number) && !query_run_failed(run))
        condition_wait(&run->output_moved, &run->output_lock);
    mutex_unlock(&run->output_lock);
    if (query_run_failed(run))
        return NULL;
    struct query_text *text = &run->texts[number % run->text_count];
    buf_reset(&text->text);
    text->count = 0;
    return text;
}

void query_run_output_mark(struct query_run *run, struct query_text *text) {
    size_t *ends = SCRATCH_ARRAY(&text->ends, size_t, text->count + 1);
    if (ends == NULL || text->text.failed) {
        query_run_out_of_memory(run);
        return;
    }
    ends[text->count++] = text->text.n;
}

static void write_one(struct query_run *run, str one) {
    enum rc rc = run->sink->write(run->sink->context, one, !run->any_written);
    run->any_written = true;
    if (rc >= 0)
        return;
    struct err err;
    (void)err_set(&err, rc, "%s", err_text(rc));
    query_run_fail(run, rc, &err);
}

/* Called by the one thread that writes, without the lock. */
static void write_text(struct query_run *run, struct query_text *text) {
    const size_t *ends = text->ends.p;
    if (text->count == 0 || query_run_failed(run))
        return;
    if (run->sink->joined) {
        write_one(run, str_from(buf_view(&text->text), run->any_written ? 0 : 1));
        return;
    }
    size_t from = 0;
    for (size_t i = 0; i < text->count && !query_run_failed(run); i++) {
        write_one(run, (str){text->text.p + from, ends[i] - from});
        from = ends[i];
    }
}

void query_run_output_give(struct query_run *run, size_t number) {
    mutex_lock(&run->output_lock);
    run->texts[number % run->text_count].ready = true;
    run->ready_bytes += run->texts[number % run->text_count].text.n;
    while (!run->writing) {
        struct query_text *next = &run->texts[run->text_next % run->text_count];
        if (!next->ready || query_run_failed(run))
            break;
        run->writing = true;
        mutex_unlock(&run->output_lock);
        write_text(run, next);
        mutex_lock(&run->output_lock);
        run->ready_bytes -= next->text.n;
        if (next->text.capacity > KEEP_BYTES_MAX)
            buf_fini(&next->text);
        next->ready = false;
        run->writing = false;
        run->text_next++;
        condition_broadcast(&run->output_moved);
    }
    mutex_unlock(&run->output_lock);
}
