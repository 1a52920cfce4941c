#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "medium/file_medium.h"
#include "medium/medium_ops.h"
#include "medium/memory_medium.h"
#include "os/thread.h"
#include "store/segment.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DAY_MS = 86400000 };

static uint64_t random_state;

static uint64_t random_next(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* What was written, kept to compare. */
struct written {
    uint32_t series_id;
    struct vector_summary summary;
    uint8_t *payload;
};
struct book {
    struct written *items;
    size_t n;
};

static void book_fini(struct book *book) {
    for (size_t i = 0; i < book->n; i++)
        free(book->items[i].payload);
    free(book->items);
    *book = (struct book){0};
}

/* Values of all sorts: integers, decimals, irregular doubles, mixed, huge. */
static void make_points(struct points *points, uint32_t count, int64_t from_ms) {
    int64_t time_ms = from_ms;
    unsigned sort = random_next() % 6;
    points->count = count;
    points->kind = sort < 2 ? POINTS_INTEGERS : sort < 5 ? POINTS_DOUBLES : POINTS_MIXED;
    memset(points->float_mask, 0, LIMIT_VECTOR_POINTS / 8);
    for (uint32_t i = 0; i < count; i++) {
        points->time_ms[i] = time_ms;
        time_ms += sort % 2 == 0 ? 10000 : 1 + (int64_t)(random_next() % 20000);
        int64_t integer = sort == 1 ? (int64_t)random_next() : (int64_t)(random_next() % 100);
        double real = sort == 2   ? (double)(random_next() % 100000) / 100
                      : sort == 3 ? ldexp((double)(int64_t)random_next(), -40)
                                  : -0.0;
        bool is_float = sort >= 2 && (sort < 5 || i % 3 == 1);
        points->bits[i] = is_float ? points_bits_of(real) : (uint64_t)integer;
        if (is_float)
            points->float_mask[i / 64] |= UINT64_C(1) << (i % 64);
    }
}

static int64_t time_room[LIMIT_VECTOR_POINTS];
static uint64_t bits_room[LIMIT_VECTOR_POINTS];
static uint64_t mask_room[LIMIT_VECTOR_POINTS / 64];

static struct points room(void) {
    return (struct points){.time_ms = time_room, .bits = bits_room, .float_mask = mask_room};
}

static void add_vector(struct segment_writer *writer, struct book *book, uint32_t series_id,
                       uint32_t count, int64_t from_ms) {
    struct points points = room();
    make_points(&points, count, from_ms);
    struct written item = {.series_id = series_id};
    item.payload = malloc(vector_payload_bound(count));
    assert_non_null(item.payload);
    vector_encode(&points, VECTOR_FAST, &item.summary, item.payload);
    assert_int_equal(segment_writer_add(writer, series_id, &item.summary, item.payload, NULL),
                     RC_OK);
    book->items = realloc(book->items, (book->n + 1) * sizeof(item));
    assert_non_null(book->items);
    book->items[book->n++] = item;
}

static struct segment_info info_of(bool tight) {
    return (struct segment_info){.name = "one",
                                 .shard = 3,
                                 .sequence = 77,
                                 .window_from_ms = DAY_MS,
                                 .window_to_ms = 2 * DAY_MS,
                                 .tight = tight};
}

/* One segment in a medium of its own, and the book of it. */
struct sample {
    /* What to write: `series` series (ids 5, 8, 11, ...) of 1 .. `vectors_max` vectors of 1 ..
       `points_max` points. */
    uint64_t seed;
    bool tight;
    uint32_t series, vectors_max, points_max;
    struct medium *medium; /* NULL: one in memory */

    struct segment_info info;
    struct book book;
    struct segment *segment;
};

static struct medium *memory(void) {
    struct medium *medium;
    assert_int_equal(memory_medium_open(NULL, &medium, NULL), RC_OK);
    return medium;
}

static void sample_write(struct sample *sample) {
    struct segment_writer *writer;
    random_state = sample->seed;
    if (sample->medium == NULL)
        sample->medium = memory();
    sample->info = info_of(sample->tight);
    assert_int_equal(segment_writer_new(sample->medium, &sample->info, &writer, NULL), RC_OK);
    for (uint32_t s = 0; s < sample->series; s++) {
        int64_t from_ms = DAY_MS + (int64_t)(random_next() % 1000);
        uint32_t vectors = 1 + (uint32_t)(random_next() % sample->vectors_max);
        for (uint32_t v = 0; v < vectors; v++) {
            add_vector(writer, &sample->book, 5 + 3 * s,
                       1 + (uint32_t)(random_next() % sample->points_max), from_ms);
            from_ms = sample->book.items[sample->book.n - 1].summary.time_last_ms + 1;
        }
    }
    assert_int_equal(segment_writer_commit(writer, &sample->info, NULL), RC_OK);
}

static void sample_open(struct sample *sample) {
    assert_int_equal(segment_open(sample->medium, "one", &sample->segment, NULL), RC_OK);
}

static void sample_close(struct sample *sample) {
    segment_unref(sample->segment);
    sample->segment = NULL;
}

static void sample_fini(struct sample *sample) {
    sample_close(sample);
    book_fini(&sample->book);
    medium_close(sample->medium);
}

/* Compares all of a segment with the book; returns how many vectors could not be read. */
static uint64_t compare(struct segment *segment, const struct book *book) {
    uint64_t lost = 0;
    for (size_t i = 0; i < book->n;) {
        const struct vector_summary *summaries;
        uint32_t first, count;
        uint32_t id = book->items[i].series_id;
        size_t end = i;
        while (end < book->n && book->items[end].series_id == id)
            end++;
        enum rc rc = segment_vectors(segment, id, &summaries, &first, &count);
        if (rc == RC_CORRUPT) {
            lost += end - i;
            i = end;
            continue;
        }
        assert_int_equal(rc, RC_OK);
        assert_int_equal(count, end - i);
        for (uint32_t v = 0; v < count; v++, i++) {
            assert_memory_equal(&summaries[v], &book->items[i].summary, sizeof(*summaries));
            const uint8_t *payload;
            rc = segment_payload(segment, first + v, &payload);
            if (rc == RC_CORRUPT) {
                lost++;
                continue;
            }
            assert_int_equal(rc, RC_OK);
            assert_memory_equal(payload, book->items[i].payload, summaries[v].payload_bytes);
        }
    }
    return lost;
}

static void round_trip(struct medium *medium, bool tight) {
    struct sample sample = {.seed = 4711 + tight,
                            .tight = tight,
                            .series = 700,
                            .vectors_max = 12,
                            .points_max = 300,
                            .medium = medium};
    sample_write(&sample);
    assert_int_equal(sample.info.series_count, 700);
    assert_int_equal(sample.info.vector_count, sample.book.n);
    sample_open(&sample);
    struct segment *segment = sample.segment;
    assert_memory_equal(segment_info(segment), &sample.info, sizeof(sample.info));
    assert_int_equal(compare(segment, &sample.book), 0);
    const struct vector_summary *summaries;
    uint32_t first, count;
    for (uint32_t id = 0; id < 2200; id++) {
        assert_int_equal(segment_vectors(segment, id, &summaries, &first, &count), RC_OK);
        assert_true((count > 0) == (id >= 5 && id < 5 + 3 * 700 && (id - 5) % 3 == 0));
    }
    uint64_t cursor = 0;
    uint32_t id, expected = 5;
    while (segment_next_series(segment, &cursor, &id) == 1) {
        assert_int_equal(id, expected);
        expected += 3;
    }
    assert_int_equal(expected, 5 + 3 * 700);
    assert_int_equal(segment_next_series(segment, &cursor, &id), 0);
    assert_int_equal(segment_scrub(segment), 0);
    assert_int_equal(segment_damaged(segment), 0);
    sample_close(&sample);
    assert_int_equal(medium_remove(sample.medium, MEDIUM_OBJECTS, "one", NULL), RC_OK);
    sample_fini(&sample);
}

static void a_segment_gives_back_what_was_written(void **state) {
    round_trip(memory(), false);
}

static void a_compressed_segment_gives_back_what_was_written(void **state) {
    round_trip(memory(), true);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *place) {
    return remove(path);
}

static struct medium *open_directory(char *template) {
    struct medium *medium;
    assert_non_null(mkdtemp(template));
    assert_int_equal(file_medium_open(template, &medium, NULL), RC_OK);
    return medium;
}

static void remove_directory(const char *directory) {
    assert_int_equal(nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void a_segment_in_a_file_gives_back_what_was_written(void **state) {
    char directory[] = "/tmp/segment-XXXXXX";
    round_trip(open_directory(directory), false);
    remove_directory(directory);
}

/* The disk, or somebody, takes from the file what is mapped: an error, not the end. */
static void a_segment_whose_file_is_cut_while_it_is_open_says_so(void **state) {
    for (int tight = 0; tight < 2; tight++) {
        char directory[] = "/tmp/segment-XXXXXX";
        char path[64];
        struct sample sample = {.seed = 14,
                                .tight = tight == 1,
                                .series = 300,
                                .vectors_max = 3,
                                .points_max = 300,
                                .medium = open_directory(directory)};
        sample_write(&sample);
        sample_open(&sample);
        snprintf(path, sizeof(path), "%s/objects/one", directory);
        assert_int_equal(truncate(path, 0), 0);
        uint64_t cursor = 0;
        uint32_t series_id;
        assert_int_equal(segment_next_series(sample.segment, &cursor, &series_id), RC_CORRUPT);
        assert_true(segment_scrub(sample.segment) > 0);
        sample_fini(&sample);
        remove_directory(directory);
    }
}

static const uint8_t *cannot_map(struct medium_object *object) {
    return NULL;
}

/* A memory medium that only reads ranges, as a remote one does. */
static struct medium *open_unmappable(void) {
    static struct medium_ops ops;
    struct medium *medium = memory();
    ops = *medium->ops;
    ops.object_map = cannot_map;
    medium->ops = &ops;
    return medium;
}

static void a_medium_that_cannot_map_is_read_by_range(void **state) {
    for (int tight = 0; tight < 2; tight++)
        round_trip(open_unmappable(), tight == 1);
}

static void a_failed_read_is_not_damage_and_is_tried_again(void **state) {
    struct sample sample = {.seed = 13,
                            .series = 2000,
                            .vectors_max = 3,
                            .points_max = 30,
                            .medium = open_unmappable()};
    sample_write(&sample);
    sample_open(&sample);
    struct memory_medium_faults faults = {.seed = 3, .read_fails_percent = 50};
    memory_medium_set_faults(sample.medium, &faults);
    uint32_t failures = 0;
    for (size_t i = 0; i < sample.book.n; i++) {
        const struct written *item = &sample.book.items[i];
        const uint8_t *payload;
        enum rc rc;
        while ((rc = segment_payload(sample.segment, (uint32_t)i, &payload)) == RC_IO)
            failures++;
        assert_int_equal(rc, RC_OK);
        assert_memory_equal(payload, item->payload, item->summary.payload_bytes);
    }
    assert_true(failures > 0);
    assert_int_equal(segment_damaged(sample.segment), 0);
    sample_fini(&sample);
}

static void an_empty_segment_is_a_segment(void **state) {
    struct sample sample = {.series = 0};
    sample_write(&sample);
    sample_open(&sample);
    const struct vector_summary *summaries;
    uint32_t first, count;
    assert_int_equal(segment_vectors(sample.segment, 1, &summaries, &first, &count), RC_OK);
    assert_int_equal(count, 0);
    uint64_t cursor = 0;
    assert_int_equal(segment_next_series(sample.segment, &cursor, &first), 0);
    sample_fini(&sample);
}

static void a_discarded_segment_is_removed_with_its_last_reference(void **state) {
    struct sample sample = {.seed = 5, .series = 3, .vectors_max = 2, .points_max = 10};
    sample_write(&sample);
    sample_open(&sample);
    segment_ref(sample.segment);
    segment_discard(sample.segment);
    segment_unref(sample.segment);
    assert_int_equal(compare(sample.segment, &sample.book), 0);
    sample_close(&sample);
    struct segment *again;
    assert_int_equal(segment_open(sample.medium, "one", &again, NULL), RC_NOT_FOUND);
    sample_fini(&sample);
}

static void expanded_memory_is_charged_and_given_back(void **state) {
    struct sample sample = {
        .seed = 6, .tight = true, .series = 300, .vectors_max = 4, .points_max = 100};
    sample_write(&sample);
    struct budget budget;
    budget_init(&budget, 0, NULL);
    struct epoch_domain *epochs = epoch_domain_new();
    sample_open(&sample);
    segment_use_memory(sample.segment, &budget, epochs);
    epoch_pin(epochs);
    assert_int_equal(compare(sample.segment, &sample.book), 0);
    size_t used = budget_used(&budget);
    assert_true(used > sample.book.n * 72);
    assert_int_equal(segment_trim(sample.segment), used);
    assert_int_equal(budget_used(&budget), used); /* still pinned */
    assert_int_equal(segment_trim(sample.segment), 0);
    assert_int_equal(compare(sample.segment, &sample.book), 0);
    epoch_unpin(epochs);
    epoch_collect(epochs);
    epoch_collect(epochs);
    epoch_collect(epochs);
    assert_int_equal(budget_used(&budget), used);
    sample_close(&sample);
    epoch_domain_free(epochs);
    assert_int_equal(budget_used(&budget), 0);
    sample_fini(&sample);
}

struct reader {
    struct thread thread;
    struct segment *segment;
    struct epoch_domain *epochs;
    const struct book *book;
    bool trims;
};

/* Pinned as scans are. Aborts on a difference: cmocka's assertions only work on the main thread. */
static void *read_and_trim(void *context) {
    struct reader *reader = context;
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < reader->book->n; i++) {
            const struct written *item = &reader->book->items[i];
            const struct vector_summary *summaries;
            const uint8_t *payload;
            uint32_t first, count;
            epoch_pin(reader->epochs);
            if (segment_vectors(reader->segment, item->series_id, &summaries, &first, &count) < 0 ||
                segment_payload(reader->segment, (uint32_t)i, &payload) < 0 || count == 0 ||
                memcmp(&summaries[i - first], &item->summary, sizeof(item->summary)) != 0 ||
                memcmp(payload, item->payload, item->summary.payload_bytes) != 0)
                abort();
            epoch_unpin(reader->epochs);
            if (reader->trims && i % 97 == 0)
                segment_trim(reader->segment);
        }
    }
    return NULL;
}

static void readers_and_trims_do_not_disturb_each_other(void **state) {
    struct sample sample = {
        .seed = 12, .tight = true, .series = 2000, .vectors_max = 3, .points_max = 30};
    sample_write(&sample);
    struct budget budget;
    budget_init(&budget, 0, NULL);
    struct epoch_domain *epochs = epoch_domain_new();
    sample_open(&sample);
    segment_use_memory(sample.segment, &budget, epochs);
    struct reader readers[3];
    for (int i = 0; i < 3; i++) {
        readers[i] = (struct reader){
            .segment = sample.segment, .epochs = epochs, .book = &sample.book, .trims = i == 0};
        assert_int_equal(
            thread_start(&readers[i].thread, "reader", read_and_trim, &readers[i], NULL), RC_OK);
    }
    for (int i = 0; i < 3; i++)
        thread_join(&readers[i].thread);
    sample_close(&sample);
    epoch_domain_free(epochs);
    assert_int_equal(budget_used(&budget), 0);
    sample_fini(&sample);
}

static void flip_bit(struct sample *sample, uint64_t bit) {
    assert_int_equal(memory_medium_flip_bit(sample->medium, MEDIUM_OBJECTS, "one", bit), RC_OK);
}

/* Flips one bit in every byte in turn: nothing wrong is served, and at most one group or block is
   lost. */
static void any_flipped_bit_is_found_and_isolated(bool tight) {
    struct sample sample = {
        .seed = 8, .tight = tight, .series = 8, .vectors_max = 2, .points_max = 20};
    sample_write(&sample);
    uint64_t harmless = 0;
    for (uint64_t at = 0; at < sample.info.bytes; at++) {
        uint64_t bit = at * 8 + random_next() % 8;
        flip_bit(&sample, bit);
        sample_open(&sample);
        struct segment *segment = sample.segment;
        uint64_t lost = compare(segment, &sample.book);
        assert_int_equal(segment_damaged(segment), lost > 0);
        assert_int_equal(segment_scrub(segment), lost > 0);
        assert_int_equal(segment_damaged(segment), lost > 0);
        assert_int_equal(segment_take_damage(segment), lost > 0);
        assert_false(segment_take_damage(segment));
        harmless += lost == 0;
        sample_close(&sample);
        flip_bit(&sample, bit);
    }
    /* the magic, two directories of one group and one block, two footers */
    assert_int_equal(harmless, 8 + 2 * (48 + 32) + 2 * 128);
    sample_fini(&sample);
}

static void any_flipped_bit_is_found(void **state) {
    any_flipped_bit_is_found_and_isolated(false);
}

static void any_flipped_bit_of_a_compressed_segment_is_found(void **state) {
    any_flipped_bit_is_found_and_isolated(true);
}

static void damage_to_one_block_leaves_the_others(void **state) {
    struct sample sample = {.seed = 9, .series = 3000, .vectors_max = 2, .points_max = 100};
    sample_write(&sample);
    flip_bit(&sample, 8 * 70000);
    sample_open(&sample);
    assert_int_equal(segment_scrub(sample.segment), 1);
    uint64_t lost = compare(sample.segment, &sample.book);
    assert_true(lost > 0 && lost < sample.book.n / 4);
    assert_int_equal(segment_damaged(sample.segment), 1);
    sample_fini(&sample);
}

static void a_truncated_object_is_refused(void **state) {
    struct sample sample = {.seed = 10, .series = 8, .vectors_max = 2, .points_max = 20};
    sample_write(&sample);
    struct medium_object *object;
    uint64_t size = sample.info.bytes;
    assert_int_equal(medium_object_open(sample.medium, "one", &object, NULL), RC_OK);
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    assert_int_equal(medium_object_read(object, 0, bytes, size, NULL), RC_OK);
    medium_object_close(object);
    for (uint64_t n = 0; n < size; n++) {
        struct medium_object_writer *writer;
        assert_int_equal(medium_object_create(sample.medium, "cut", &writer, NULL), RC_OK);
        assert_int_equal(medium_object_write(writer, bytes, n, NULL), RC_OK);
        assert_int_equal(medium_object_commit(writer, NULL), RC_OK);
        struct segment *segment;
        struct err err;
        assert_int_equal(segment_open(sample.medium, "cut", &segment, &err), RC_CORRUPT);
        assert_int_equal(medium_remove(sample.medium, MEDIUM_OBJECTS, "cut", NULL), RC_OK);
    }
    free(bytes);
    sample_fini(&sample);
}

static void a_failing_medium_leaves_nothing_or_all(void **state) {
    for (uint64_t operation = 1;; operation++) {
        struct medium *medium = memory();
        struct memory_medium_faults faults = {.seed = 1, .crash_at_operation = operation};
        memory_medium_set_faults(medium, &faults);
        random_state = 11;
        struct segment_info info = info_of(false);
        struct segment_writer *writer;
        struct book book = {0};
        struct err err;
        enum rc rc = segment_writer_new(medium, &info, &writer, &err);
        if (rc == RC_OK) {
            add_vector(writer, &book, 1, 10, DAY_MS);
            rc = segment_writer_commit(writer, &info, &err);
        }
        memory_medium_power_cycle(medium, 1);
        struct segment *segment;
        enum rc opened = segment_open(medium, "one", &segment, &err);
        if (opened == RC_OK) {
            assert_int_equal(compare(segment, &book), 0);
            segment_unref(segment);
        }
        book_fini(&book);
        medium_close(medium);
        if (rc == RC_OK) {
            assert_int_equal(opened, RC_OK);
            assert_true(operation > 3);
            return;
        }
        assert_int_equal(rc, RC_IO);
        /* A commit that was cut short may have happened. */
        assert_true(opened == RC_NOT_FOUND || opened == RC_OK);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_segment_gives_back_what_was_written),
        cmocka_unit_test(a_compressed_segment_gives_back_what_was_written),
        cmocka_unit_test(a_segment_in_a_file_gives_back_what_was_written),
        cmocka_unit_test(a_segment_whose_file_is_cut_while_it_is_open_says_so),
        cmocka_unit_test(a_medium_that_cannot_map_is_read_by_range),
        cmocka_unit_test(a_failed_read_is_not_damage_and_is_tried_again),
        cmocka_unit_test(an_empty_segment_is_a_segment),
        cmocka_unit_test(a_discarded_segment_is_removed_with_its_last_reference),
        cmocka_unit_test(expanded_memory_is_charged_and_given_back),
        cmocka_unit_test(readers_and_trims_do_not_disturb_each_other),
        cmocka_unit_test(any_flipped_bit_is_found),
        cmocka_unit_test(any_flipped_bit_of_a_compressed_segment_is_found),
        cmocka_unit_test(damage_to_one_block_leaves_the_others),
        cmocka_unit_test(a_truncated_object_is_refused),
        cmocka_unit_test(a_failing_medium_leaves_nothing_or_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
