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

static struct segment_info info_of(const char *name, bool tight) {
    struct segment_info info = {.shard = 3,
                                .sequence = 77,
                                .window_from_ms = DAY_MS,
                                .window_to_ms = 2 * DAY_MS,
                                .tight = tight};
    snprintf(info.name, sizeof(info.name), "%s", name);
    return info;
}

/* `series` series (ids 5, 8, 11, ...) of 1 .. `vectors_max` vectors. */
static void write_segment(struct medium *medium, struct segment_info *info, uint32_t series,
                          uint32_t vectors_max, uint32_t points_max, struct book *book) {
    struct segment_writer *writer;
    assert_int_equal(segment_writer_new(medium, info, &writer, NULL), RC_OK);
    for (uint32_t s = 0; s < series; s++) {
        int64_t from_ms = DAY_MS + (int64_t)(random_next() % 1000);
        uint32_t vectors = 1 + (uint32_t)(random_next() % vectors_max);
        for (uint32_t v = 0; v < vectors; v++) {
            add_vector(writer, book, 5 + 3 * s, 1 + (uint32_t)(random_next() % points_max),
                       from_ms);
            from_ms = book->items[book->n - 1].summary.time_last_ms + 1;
        }
    }
    assert_int_equal(segment_writer_commit(writer, info, NULL), RC_OK);
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
    random_state = 4711 + tight;
    struct book book = {0};
    struct segment_info info = info_of("one", tight);
    write_segment(medium, &info, 700, 12, 300, &book);
    assert_int_equal(info.series_count, 700);
    assert_int_equal(info.vector_count, book.n);
    struct segment *segment;
    assert_int_equal(segment_open(medium, "one", &segment, NULL), RC_OK);
    assert_memory_equal(segment_info(segment), &info, sizeof(info));
    assert_int_equal(compare(segment, &book), 0);
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
    segment_unref(segment);
    book_fini(&book);
}

static void a_segment_gives_back_what_was_written(void **state) {
    struct medium *medium;
    assert_int_equal(memory_medium_open(NULL, &medium, NULL), RC_OK);
    round_trip(medium, false);
    medium_close(medium);
}

static void a_compressed_segment_gives_back_what_was_written(void **state) {
    struct medium *medium;
    assert_int_equal(memory_medium_open(NULL, &medium, NULL), RC_OK);
    round_trip(medium, true);
    medium_close(medium);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *place) {
    return remove(path);
}

static void a_segment_in_a_file_gives_back_what_was_written(void **state) {
    char directory[] = "/tmp/segment-XXXXXX";
    assert_non_null(mkdtemp(directory));
    struct medium *medium;
    assert_int_equal(file_medium_open(directory, &medium, NULL), RC_OK);
    round_trip(medium, false);
    assert_int_equal(medium_remove(medium, MEDIUM_OBJECTS, "one", NULL), RC_OK);
    medium_close(medium);
    assert_int_equal(nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* The disk, or somebody, takes from the file what is mapped: an error, not the end. */
static void a_segment_whose_file_is_cut_while_it_is_open_says_so(void **state) {
    char directory[] = "/tmp/segment-XXXXXX";
    char path[64];
    assert_non_null(mkdtemp(directory));
    struct medium *medium;
    assert_int_equal(file_medium_open(directory, &medium, NULL), RC_OK);
    for (int tight = 0; tight < 2; tight++) {
        struct book book = {0};
        struct segment *segment;
        struct segment_info info = info_of("one", tight == 1);
        write_segment(medium, &info, 300, 3, 300, &book);
        assert_int_equal(segment_open(medium, "one", &segment, NULL), RC_OK);
        snprintf(path, sizeof(path), "%s/objects/one", directory);
        assert_int_equal(truncate(path, 0), 0);
        uint64_t cursor = 0;
        uint32_t series_id;
        assert_int_equal(segment_next_series(segment, &cursor, &series_id), RC_CORRUPT);
        assert_true(segment_scrub(segment) > 0);
        segment_unref(segment);
        book_fini(&book);
        assert_int_equal(medium_remove(medium, MEDIUM_OBJECTS, "one", NULL), RC_OK);
    }
    medium_close(medium);
    assert_int_equal(nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static const uint8_t *cannot_map(struct medium_object *object) {
    return NULL;
}

/* Makes a memory medium one that only reads ranges, as a remote one does. */
static struct medium *open_unmappable(void) {
    static struct medium_ops ops;
    struct medium *medium;
    assert_int_equal(memory_medium_open(NULL, &medium, NULL), RC_OK);
    ops = *medium->ops;
    ops.object_map = cannot_map;
    medium->ops = &ops;
    return medium;
}

static void a_medium_that_cannot_map_is_read_by_range(void **state) {
    for (int tight = 0; tight < 2; tight++) {
        struct medium *medium = open_unmappable();
        round_trip(medium, tight == 1);
        medium_close(medium);
    }
}

static void a_failed_read_is_not_damage_and_is_tried_again(void **state) {
    struct medium *medium = open_unmappable();
    random_state = 13;
    struct book book = {0};
    struct segment_info info = info_of("one", false);
    write_segment(medium, &info, 2000, 3, 30, &book);
    struct segment *segment;
    assert_int_equal(segment_open(medium, "one", &segment, NULL), RC_OK);
    struct memory_medium_faults faults = {.seed = 3, .read_fails_percent = 50};
    memory_medium_set_faults(medium, &faults);
    uint32_t failures = 0;
    for (size_t i = 0; i < book.n; i++) {
        const uint8_t *payload;
        enum rc rc;
        while ((rc = segment_payload(segment, (uint32_t)i, &payload)) == RC_IO)
            failures++;
        assert_int_equal(rc, RC_OK);
        assert_memory_equal(payload, book.items[i].payload, book.items[i].summary.payload_bytes);
    }
    assert_true(failures > 0);
    assert_int_equal(segment_damaged(segment), 0);
    segment_unref(segment);
    book_fini(&book);
    medium_close(medium);
}

static void an_empty_segment_is_a_segment(void **state) {
    struct medium *medium;
    assert_int_equal(memory_medium_open(NULL, &medium, NULL), RC_OK);
    struct book book = {0};
    struct segment_info info = info_of("none", false);
    write_segment(medium, &info, 0, 1, 1, &book);
    struct segment *segment;
    assert_int_equal(segment_open(medium, "none", &segment, NULL), RC_OK);
    const struct vector_summary *summaries;
    uint32_t first, count;
    assert_int_equal(segment_vectors(segment, 1, &summaries, &first, &count), RC_OK);
    assert_int_equal(count, 0);
    uint64_t cursor = 0;
    assert_int_equal(segment_next_series(segment, &cursor, &first), 0);
    segment_unref(segment);
    medium_close(medium);
}

static void a_discarded_segment_is_removed_with_its_last_reference(void **state) {
    struct medium *medium;
    assert_int_equal(memory_medium_open(NULL, &medium, NULL), RC_OK);
    random_state = 5;
    struct book book = {0};
    struct segment_info info = info_of("gone", false);
    write_segment(medium, &info, 3, 2, 10, &book);
    struct segment *segment, *again;
    assert_int_equal(segment_open(medium, "gone", &segment, NULL), RC_OK);
    segment_ref(segment);
    segment_discard(segment);
    segment_unref(segment);
    assert_int_equal(compare(segment, &book), 0);
    segment_unref(segment);
    assert_int_equal(segment_open(medium, "gone", &again, NULL), RC_NOT_FOUND);
    book_fini(&book);
    medium_close(medium);
}

static void expanded_memory_is_charged_and_given_back(void **state) {
    struct medium *medium;
    assert_int_equal(memory_medium_open(NULL, &medium, NULL), RC_OK);
    random_state = 6;
    struct book book = {0};
    struct segment_info info = info_of("one", true);
    write_segment(medium, &info, 300, 4, 100, &book);
    struct budget budget;
    budget_init(&budget, 0, NULL);
    struct epoch_domain *epochs = epoch_domain_new();
    struct segment *segment;
    assert_int_equal(segment_open(medium, "one", &segment, NULL), RC_OK);
    segment_use_memory(segment, &budget, epochs);
    epoch_pin(epochs);
    assert_int_equal(compare(segment, &book), 0);
    size_t used = budget_used(&budget);
    assert_true(used > book.n * 72);
    assert_int_equal(segment_trim(segment), used);
    assert_int_equal(budget_used(&budget), used); /* still pinned */
    assert_int_equal(segment_trim(segment), 0);
    assert_int_equal(compare(segment, &book), 0);
    epoch_unpin(epochs);
    epoch_collect(epochs);
    epoch_collect(epochs);
    epoch_collect(epochs);
    assert_int_equal(budget_used(&budget), used);
    segment_unref(segment);
    epoch_domain_free(epochs);
    assert_int_equal(budget_used(&budget), 0);
    book_fini(&book);
    medium_close(medium);
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
    struct medium *medium;
    assert_int_equal(memory_medium_open(NULL, &medium, NULL), RC_OK);
    random_state = 12;
    struct book book = {0};
    struct segment_info info = info_of("one", true);
    write_segment(medium, &info, 2000, 3, 30, &book);
    struct budget budget;
    budget_init(&budget, 0, NULL);
    struct epoch_domain *epochs = epoch_domain_new();
    struct segment *segment;
    assert_int_equal(segment_open(medium, "one", &segment, NULL), RC_OK);
    segment_use_memory(segment, &budget, epochs);
    struct reader readers[3];
    for (int i = 0; i < 3; i++) {
        readers[i] =
            (struct reader){.segment = segment, .epochs = epochs, .book = &book, .trims = i == 0};
        assert_int_equal(
            thread_start(&readers[i].thread, "reader", read_and_trim, &readers[i], NULL), RC_OK);
    }
    for (int i = 0; i < 3; i++)
        thread_join(&readers[i].thread);
    segment_unref(segment);
    epoch_domain_free(epochs);
    assert_int_equal(budget_used(&budget), 0);
    book_fini(&book);
    medium_close(medium);
}

/* Flips one bit in every byte in turn: nothing wrong is served, and at most one group or block is
   lost. */
static void any_flipped_bit_is_found_and_isolated(bool tight) {
    struct medium *medium;
    assert_int_equal(memory_medium_open(NULL, &medium, NULL), RC_OK);
    random_state = 8;
    struct book book = {0};
    struct segment_info info = info_of("one", tight);
    write_segment(medium, &info, 8, 2, 20, &book);
    uint64_t harmless = 0;
    for (uint64_t at = 0; at < info.bytes; at++) {
        uint64_t bit = at * 8 + random_next() % 8;
        assert_int_equal(memory_medium_flip_bit(medium, MEDIUM_OBJECTS, "one", bit), RC_OK);
        struct segment *segment;
        assert_int_equal(segment_open(medium, "one", &segment, NULL), RC_OK);
        uint64_t lost = compare(segment, &book);
        assert_int_equal(segment_damaged(segment), lost > 0);
        assert_int_equal(segment_scrub(segment), lost > 0);
        assert_int_equal(segment_damaged(segment), lost > 0);
        assert_int_equal(segment_take_damage(segment), lost > 0);
        assert_false(segment_take_damage(segment));
        harmless += lost == 0;
        segment_unref(segment);
        assert_int_equal(memory_medium_flip_bit(medium, MEDIUM_OBJECTS, "one", bit), RC_OK);
    }
    /* the magic, two directories of one group and one block, two footers */
    assert_int_equal(harmless, 8 + 2 * (48 + 32) + 2 * 128);
    book_fini(&book);
    medium_close(medium);
}

static void any_flipped_bit_is_found(void **state) {
    any_flipped_bit_is_found_and_isolated(false);
}

static void any_flipped_bit_of_a_compressed_segment_is_found(void **state) {
    any_flipped_bit_is_found_and_isolated(true);
}

static void damage_to_one_block_leaves_the_others(void **state) {
    struct medium *medium;
    assert_int_equal(memory_medium_open(NULL, &medium, NULL), RC_OK);
    random_state = 9;
    struct book book = {0};
    struct segment_info info = info_of("one", false);
    write_segment(medium, &info, 3000, 2, 100, &book);
    assert_int_equal(memory_medium_flip_bit(medium, MEDIUM_OBJECTS, "one", 8 * 70000), RC_OK);
    struct segment *segment;
    assert_int_equal(segment_open(medium, "one", &segment, NULL), RC_OK);
    assert_int_equal(segment_scrub(segment), 1);
    uint64_t lost = compare(segment, &book);
    assert_true(lost > 0 && lost < book.n / 4);
    assert_int_equal(segment_damaged(segment), 1);
    segment_unref(segment);
    book_fini(&book);
    medium_close(medium);
}

static void a_truncated_object_is_refused(void **state) {
    struct medium *medium;
    assert_int_equal(memory_medium_open(NULL, &medium, NULL), RC_OK);
    random_state = 10;
    struct book book = {0};
    struct segment_info info = info_of("one", false);
    write_segment(medium, &info, 8, 2, 20, &book);
    struct medium_object *object;
    assert_int_equal(medium_object_open(medium, "one", &object, NULL), RC_OK);
    uint8_t *bytes = malloc(info.bytes);
    assert_non_null(bytes);
    assert_int_equal(medium_object_read(object, 0, bytes, info.bytes, NULL), RC_OK);
    medium_object_close(object);
    for (uint64_t n = 0; n < info.bytes; n++) {
        struct medium_object_writer *writer;
        assert_int_equal(medium_object_create(medium, "cut", &writer, NULL), RC_OK);
        assert_int_equal(medium_object_write(writer, bytes, n, NULL), RC_OK);
        assert_int_equal(medium_object_commit(writer, NULL), RC_OK);
        struct segment *segment;
        struct err err;
        assert_int_equal(segment_open(medium, "cut", &segment, &err), RC_CORRUPT);
        assert_int_equal(medium_remove(medium, MEDIUM_OBJECTS, "cut", NULL), RC_OK);
    }
    free(bytes);
    book_fini(&book);
    medium_close(medium);
}

static void a_failing_medium_leaves_nothing_or_all(void **state) {
    for (uint64_t operation = 1;; operation++) {
        struct medium *medium;
        assert_int_equal(memory_medium_open(NULL, &medium, NULL), RC_OK);
        struct memory_medium_faults faults = {.seed = 1, .crash_at_operation = operation};
        memory_medium_set_faults(medium, &faults);
        random_state = 11;
        struct segment_info info = info_of("one", false);
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
