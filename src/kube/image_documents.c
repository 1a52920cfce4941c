#include "kube/image_documents.h"

#include "kube/image_archive.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { INDEX_DEPTH_MAX = 4, DIGEST_BYTES_MAX = 200, STEPS_MAX = 256 };

void image_documents_fini(struct image_documents *documents) {
    for (size_t i = 0; i < documents->list.n; i++)
        free((char *)(uintptr_t)documents->list.p[i].name.p);
    image_document_vec_fini(&documents->list);
    *documents = (struct image_documents){0};
}

enum rc image_documents_add(struct image_documents *documents, str name, str text,
                            struct err *err) {
    if (documents->list.n == IMAGE_ARCHIVE_COUNT_MAX ||
        text.n + name.n > IMAGE_ARCHIVE_DOCUMENTS_MAX - documents->bytes)
        return err_set(err, RC_INVALID,
                       "the archive holds too many JSON documents (over %d or "
                       "%d MiB) for one image",
                       IMAGE_ARCHIVE_COUNT_MAX, IMAGE_ARCHIVE_DOCUMENTS_MAX >> 20);
    char *copy = malloc(name.n + text.n + 1);
    if (copy == NULL)
        return err_set(err, RC_NOMEM, "out of memory");
    memcpy(copy, name.p, name.n);
    memcpy(copy + name.n, text.p, text.n);
    struct image_document document = {{copy, name.n}, {copy + name.n, text.n}};
    if (!image_document_vec_push(&documents->list, document)) {
        free(copy);
        return err_set(err, RC_NOMEM, "out of memory");
    }
    documents->bytes += name.n + text.n;
    return RC_OK;
}

/* The last of its name: a later file of an archive replaces an earlier one. */
static const struct image_document *find(const struct image_documents *documents, str name) {
    for (size_t i = name.n == 0 ? 0 : documents->list.n; i > 0; i--)
        if (str_eq(documents->list.p[i - 1].name, name))
            return &documents->list.p[i - 1];
    return NULL;
}

/* What one walk through the documents needs. */
struct walk {
    const struct image_documents *documents;
    struct arena *arena;
    struct labels *labels;
    str *image;
    size_t images;
    size_t steps; /* documents parsed */
    struct err *err;
};

static str text_of(const json_t *value) {
    return (str){json_string_value(value), json_string_length(value)};
}

static enum rc out_of_memory(const struct walk *walk) {
    return err_set(walk->err, RC_NOMEM, "out of memory");
}

static enum rc parse(struct walk *walk, str name, str text, json_t **root) {
    json_error_t error;
    if (walk->steps++ == STEPS_MAX)
        return err_set(walk->err, RC_INVALID, "the archive holds too many images: save just one");
    *root = json_loadb(text.p, text.n, 0, &error);
    if (*root != NULL)
        return RC_OK;
    return err_set(walk->err, RC_INVALID, "the archive is damaged: %.*s: %s", STR_ARG(name),
                   error.text);
}

/* ---- labels of a configuration ---- */

static enum rc add_label(const struct walk *walk, struct labels *labels, str name,
                         const json_t *value) {
    if (!labels_is_ours(name))
        return RC_OK;
    if (labels->n == LABELS_MAX)
        return err_set(walk->err, RC_INVALID, "the image has more than %d labels", LABELS_MAX);
    struct label *label = &labels->p[labels->n++];
    *label = (struct label){.name = arena_str(walk->arena, name)};
    if (json_is_string(value))
        label->value = arena_str(walk->arena, text_of(value));
    else
        label->unreadable = "not a text";
    return label->name.p == NULL || (json_is_string(value) && label->value.p == NULL)
               ? out_of_memory(walk)
               : RC_OK;
}

static enum rc read_labels(const struct walk *walk, json_t *map, struct labels *labels) {
    labels->n = 0;
    labels->p = ARENA_ARRAY(walk->arena, struct label, json_object_size(map) + 1);
    if (labels->p == NULL)
        return out_of_memory(walk);
    const char *key;
    json_t *value;
    json_object_foreach(map, key, value) TRY(add_label(walk, labels, str_of(key), value));
    return RC_OK;
}

static const struct label *find_label(const struct labels *labels, str name) {
    for (size_t i = 0; i < labels->n; i++)
        if (str_eq(labels->p[i].name, name))
            return &labels->p[i];
    return NULL;
}

static bool equal_labels(const struct labels *a, const struct labels *b) {
    for (size_t i = 0; i < a->n; i++) {
        const struct label *other = find_label(b, a->p[i].name);
        if (other == NULL || !str_eq(other->value, a->p[i].value))
            return false;
    }
    return a->n == b->n;
}

static enum rc take_labels(struct walk *walk, json_t *map) {
    struct labels labels;
    TRY(read_labels(walk, map, &labels));
    if (walk->images++ > 0 && !equal_labels(&labels, walk->labels))
        return err_set(walk->err, RC_INVALID,
                       "the archive holds images whose labels differ: save just one of them");
    *walk->labels = labels;
    return RC_OK;
}

static enum rc read_configuration(struct walk *walk, str name) {
    const struct image_document *document = find(walk->documents, name);
    if (document == NULL)
        return err_set(walk->err, RC_INVALID,
                       "the archive is incomplete: it has no configuration \"%.*s\"",
                       STR_ARG(name));
    if (walk->images == IMAGE_ARCHIVE_IMAGES_MAX)
        return err_set(walk->err, RC_INVALID,
                       "the archive holds more than %d images: save just one",
                       IMAGE_ARCHIVE_IMAGES_MAX);
    json_t *root;
    TRY(parse(walk, name, document->text, &root));
    enum rc rc = take_labels(walk, json_object_get(json_object_get(root, "config"), "Labels"));
    json_decref(root);
    return rc;
}

/* ---- docker save ---- */

static bool is_latest(str reference) {
    str end = STR(":latest");
    return reference.n > end.n && str_eq(str_from(reference, reference.n - end.n), end);
}

static enum rc take_image(struct walk *walk, str reference) {
    if (reference.n == 0 || (walk->image->n > 0 && is_latest(reference)))
        return RC_OK;
    *walk->image = arena_str(walk->arena, reference);
    return walk->image->p == NULL ? out_of_memory(walk) : RC_OK;
}

static enum rc read_docker(struct walk *walk, const json_t *root) {
    size_t count = json_array_size(root);
    const json_t *entry = json_array_get(root, 0);
    const json_t *config = json_object_get(entry, "Config");
    if (count > 1)
        return err_set(walk->err, RC_INVALID, "the archive holds %zu images: save just one", count);
    if (!json_is_string(config))
        return err_set(walk->err, RC_INVALID,
                       "the archive is damaged: manifest.json names no configuration");
    const json_t *tags = json_object_get(entry, "RepoTags");
    size_t i;
    const json_t *tag;
    json_array_foreach(tags, i, tag) TRY(take_image(walk, text_of(tag)));
    return read_configuration(walk, text_of(config));
}

/* ---- OCI ---- */

/* "sha256:abc" -> "blobs/sha256/abc"; empty if it is no digest. */
static str blob_name(str digest, char out[DIGEST_BYTES_MAX]) {
    size_t colon = str_find(digest, ':');
    if (colon == digest.n || digest.n > DIGEST_BYTES_MAX - 8)
        return STR("");
    memcpy(out, "blobs/", 6);
    memcpy(out + 6, digest.p, digest.n);
    out[6 + colon] = '/';
    return (str){out, 6 + digest.n};
}

/* Attestations (what built the image) stand in the list beside the image itself. */
static bool is_image(const json_t *descriptor) {
    const json_t *annotations = json_object_get(descriptor, "annotations");
    const json_t *os = json_object_get(json_object_get(descriptor, "platform"), "os");
    return json_object_get(annotations, "vnd.docker.reference.type") == NULL &&
           !(json_is_string(os) && strcmp(json_string_value(os), "unknown") == 0);
}

static enum rc take_annotated_image(struct walk *walk, const json_t *descriptor) {
    const json_t *annotations = json_object_get(descriptor, "annotations");
    str name = text_of(json_object_get(annotations, "io.containerd.image.name"));
    if (name.n == 0)
        name = text_of(json_object_get(annotations, "org.opencontainers.image.ref.name"));
    /* The second is often just a tag. */
    return str_find(name, ':') < name.n ? take_image(walk, name) : RC_OK;
}

static enum rc read_index(struct walk *walk, const json_t *index, unsigned depth);

static enum rc read_manifest(struct walk *walk, const json_t *manifest, unsigned depth) {
    if (json_is_array(json_object_get(manifest, "manifests")))
        return read_index(walk, manifest, depth + 1);
    const json_t *config = json_object_get(manifest, "config");
    char out[DIGEST_BYTES_MAX];
    str name = blob_name(text_of(json_object_get(config, "digest")), out);
    if (name.n == 0)
        return err_set(walk->err, RC_INVALID,
                       "the archive is damaged: a manifest names no configuration");
    return read_configuration(walk, name);
}

/* Platforms that were not saved are named all the same: they are passed over. */
static enum rc read_index(struct walk *walk, const json_t *index, unsigned depth) {
    if (depth > INDEX_DEPTH_MAX)
        return err_set(walk->err, RC_INVALID, "the archive is damaged: indexes nested too deeply");
    size_t i;
    const json_t *descriptor;
    json_array_foreach(json_object_get(index, "manifests"), i, descriptor) {
        char out[DIGEST_BYTES_MAX];
        str name = blob_name(text_of(json_object_get(descriptor, "digest")), out);
        const struct image_document *document = find(walk->documents, name);
        if (document == NULL || !is_image(descriptor))
            continue;
        TRY(take_annotated_image(walk, descriptor));
        json_t *manifest;
        TRY(parse(walk, name, document->text, &manifest));
        enum rc rc = read_manifest(walk, manifest, depth);
        json_decref(manifest);
        TRY(rc);
    }
    return RC_OK;
}

enum rc image_documents_labels(const struct image_documents *documents, struct arena *arena,
                               struct labels *labels, str *image, struct err *err) {
    struct walk walk = {documents, arena, labels, image, 0, 0, err};
    *labels = (struct labels){0};
    *image = STR("");
    const struct image_document *docker = find(documents, STR("manifest.json"));
    const struct image_document *oci = find(documents, STR("index.json"));
    const struct image_document *top = docker != NULL ? docker : oci;
    if (top == NULL)
        return err_set(err, RC_INVALID,
                       "this is no image archive: it has neither manifest.json "
                       "(docker save) nor index.json (OCI)");
    json_t *root;
    TRY(parse(&walk, top->name, top->text, &root));
    enum rc rc = docker != NULL ? read_docker(&walk, root) : read_index(&walk, root, 0);
    json_decref(root);
    if (rc == RC_OK && walk.images == 0)
        rc = err_set(err, RC_INVALID, "the archive holds no image");
    return rc;
}
