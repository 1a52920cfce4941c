#include "store/store_state.h"

#include <string.h>

/* The manifest and, as a fallback, the one it replaced. What only the fallback names (objects, log)
   is kept until the next change. */
#define KEY "manifest"
#define KEY_PREVIOUS "manifest.previous"

enum { READ_TRIES = 3 };

/* ---- loading ---- */

/* Reads one of the two; *version is 0 if there is none (or one that cannot be replaced). */
static enum rc load(struct store *store, const char *key, struct buf *bytes, uint64_t *version,
                    struct manifest *manifest, struct err *err) {
    *version = 0;
    enum rc rc = RC_IO;
    for (int tries = 0; rc == RC_IO && tries < READ_TRIES; tries++) {
        buf_reset(bytes);
        rc = medium_catalog_get(store->options.medium, key, bytes, version, err);
    }
    TRY(rc);
    if (bytes->failed)
        return err_set(err, RC_NOMEM, "out of memory while reading the manifest");
    return manifest_decode((const uint8_t *)bytes->p, bytes->n, manifest, err);
}

/* A damaged value is taken out of the way so that a new one can be put. */
static enum rc clear_damaged(struct store *store, const char *key, uint64_t *version,
                             struct err *err) {
    *version = 0;
    enum rc rc = medium_remove(store->options.medium, MEDIUM_CATALOG, key, err);
    return rc == RC_NOT_FOUND ? RC_OK : rc;
}

enum rc store_manifest_load(struct store *store, struct manifest *manifest, bool *found,
                            struct err *err) {
    struct buf *bytes = &store->manifest_stored;
    struct manifest previous = {0};
    struct buf previous_bytes = {0};
    struct err load_err;
    struct err previous_err;
    *found = true;
    enum rc rc = load(store, KEY, bytes, &store->manifest_version, manifest, &load_err);
    enum rc previous_rc = load(store, KEY_PREVIOUS, &previous_bytes, &store->previous_version,
                               &previous, &previous_err);
    /* What the disk cannot deliver is as lost as what it delivers wrong, if there is the other. */
    if (rc == RC_IO && previous_rc == RC_OK)
        rc = RC_CORRUPT;
    if (previous_rc == RC_IO && rc == RC_OK)
        previous_rc = RC_CORRUPT;
    if (rc == RC_OK) {
        store->log_start_previous = previous_rc == RC_OK ? previous.log_start : manifest->log_start;
        if (previous_rc == RC_CORRUPT)
            rc = clear_damaged(store, KEY_PREVIOUS, &store->previous_version, err);
    } else if (rc == RC_NOT_FOUND && previous_rc == RC_NOT_FOUND) {
        *found = false;
        rc = RC_OK;
    } else if ((rc == RC_NOT_FOUND || rc == RC_CORRUPT) && previous_rc == RC_UNSUPPORTED) {
        rc = err_set(err, previous_rc, "%s", previous_err.message);
    } else if (rc == RC_NOT_FOUND || rc == RC_CORRUPT) {
        store_report(store, "the manifest is lost (%s)", load_err.message);
        buf_reset(bytes);
        rc = clear_damaged(store, KEY, &store->manifest_version, err);
        *found = previous_rc == RC_OK;
        if (rc == RC_OK && *found) {
            store_report(store, "going on from the manifest before it, and the log since");
            *manifest = previous;
            previous = (struct manifest){0};
            store->log_start_previous = manifest->log_start;
            buf_add(bytes, previous_bytes.p, previous_bytes.n);
        } else if (rc == RC_OK && previous_rc == RC_CORRUPT) {
            rc = clear_damaged(store, KEY_PREVIOUS, &store->previous_version, err);
        }
    } else if (err != NULL) {
        *err = load_err;
    }
    manifest_fini(&previous);
    buf_fini(&previous_bytes);
    return rc;
}

/* ---- changing ---- */

enum rc store_manifest_draft(struct store *store, struct manifest *draft) {
    *draft = store->manifest;
    draft->names = (struct manifest_objects){0};
    draft->segments = (struct manifest_objects){0};
    draft->tombstones = (struct manifest_tombstones){0};
    const struct manifest *now = &store->manifest;
    if (!manifest_tombstones_reserve(&draft->tombstones, now->tombstones.n))
        return RC_NOMEM;
    if (now->tombstones.n > 0)
        memcpy(draft->tombstones.p, now->tombstones.p,
               now->tombstones.n * sizeof(now->tombstones.p[0]));
    draft->tombstones.n = now->tombstones.n;
    for (size_t i = 0; i < now->names.n; i++)
        if (!manifest_objects_push(&draft->names, now->names.p[i]))
            return RC_NOMEM;
    return RC_OK;
}

enum rc store_manifest_add_segments(struct store *store, struct manifest *draft,
                                    struct segment_list *const *lists) {
    for (uint32_t shard = 0; shard < store->shard_count; shard++) {
        const struct segment_list *list =
            lists[shard] != NULL ? lists[shard] : store_segments_now(store, shard);
        for (uint32_t i = 0; i < list->count; i++)
            if (!manifest_objects_push(&draft->segments, store_segments_object(list->segments[i])))
                return RC_NOMEM;
    }
    for (size_t i = 0; i < store->isolated.n; i++)
        if (!manifest_objects_push(&draft->segments, store->isolated.p[i]))
            return RC_NOMEM;
    return RC_OK;
}

static void discard(struct store *store, struct store_leftovers *leftovers) {
    for (size_t i = 0; i < leftovers->segments.n; i++)
        segment_discard(leftovers->segments.p[i]);
    for (size_t i = 0; i < leftovers->names.n; i++)
        store_names_remove(store, leftovers->names.p[i].name);
    store_leftovers_free(leftovers);
}

void store_leftovers_free(struct store_leftovers *leftovers) {
    for (size_t i = 0; i < leftovers->segments.n; i++)
        segment_unref(leftovers->segments.p[i]);
    segment_vec_fini(&leftovers->segments);
    manifest_objects_fini(&leftovers->names);
}

/* Puts a value whose version we know unless an earlier put failed after it took effect: then the
   version has moved although the value is ours, which its epoch shows. */
static enum rc put_value(struct store *store, const char *key, const struct buf *bytes,
                         uint64_t *version, struct err *err) {
    struct medium *medium = store->options.medium;
    enum rc rc = medium_catalog_put(medium, key, bytes->p, bytes->n, *version, err);
    if (rc == RC_CONFLICT) {
        struct buf found_bytes = {0};
        struct manifest found = {0};
        uint64_t found_version;
        if (load(store, key, &found_bytes, &found_version, &found, NULL) == RC_OK &&
            found.epoch <= store->manifest.epoch) {
            *version = found_version;
            rc = medium_catalog_put(medium, key, bytes->p, bytes->n, *version, err);
        }
        manifest_fini(&found);
        buf_fini(&found_bytes);
    } else if (rc == RC_CORRUPT) {
        /* Damaged under our hands. The other of the two is whole meanwhile. */
        store_report(store, "the stored %s is damaged; it is written anew", key);
        TRY(clear_damaged(store, key, version, err));
        rc = medium_catalog_put(medium, key, bytes->p, bytes->n, *version, err);
    }
    if (rc == RC_OK)
        ++*version;
    return rc;
}

/* Keeps the stored manifest as the fallback, then puts the new one in its place. */
static enum rc put(struct store *store, const struct buf *bytes, struct err *err) {
    const struct buf *stored = &store->manifest_stored;
    if (stored->n > 0)
        TRY(put_value(store, KEY_PREVIOUS, stored, &store->previous_version, err));
    return put_value(store, KEY, bytes, &store->manifest_version, err);
}

enum rc store_manifest_commit(struct store *store, struct manifest *draft,
                              struct store_leftovers *gone, struct err *err) {
    if (store_is_durable(store)) {
        struct buf bytes = {0};
        manifest_encode(draft, &bytes);
        enum rc rc = bytes.failed ? err_set(err, RC_NOMEM, "out of memory for the manifest")
                                  : put(store, &bytes, err);
        if (rc < 0) {
            buf_fini(&bytes);
            return rc;
        }
        buf_fini(&store->manifest_stored);
        store->manifest_stored = bytes;
        store->log_start_previous = store->manifest.log_start;
    }
    manifest_fini(&store->manifest);
    store->manifest = *draft;
    *draft = (struct manifest){0};
    discard(store, &store->leftovers);
    if (gone != NULL) {
        store->leftovers = *gone;
        *gone = (struct store_leftovers){0};
    }
    if (!store_is_durable(store))
        discard(store, &store->leftovers);
    return RC_OK;
}
