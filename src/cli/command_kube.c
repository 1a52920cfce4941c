#include "cli/command.h"

#include "base/arena.h"
#include "kube/cluster.h"
#include "kube/cluster_value.h"
#include "kube/dockerfile.h"
#include "kube/image_archive.h"
#include "kube/manifests.h"
#include "server/config.h"
#include "server/version.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READ_BYTES = 1 << 16, MEMORY_MAX = 1 << 28, ARGUMENTS_MAX = 256 };

#define PROGRAM "barograph " VERSION_TEXT
#define IMAGE_FALLBACK "barograph:" VERSION_TEXT

struct request {
    const char *path; /* "-": standard input */
    const char *image;
    struct dockerfile_argument arguments[ARGUMENTS_MAX];
    size_t argument_count;
};

/* What is under way: everything is freed by finish. */
struct work {
    const struct request *request;
    struct arena arena;
    struct budget budget;
    struct problems problems;
    struct config config;
    struct labels labels;
    str saved_as;
    struct buf out;
};

/* ---- options ---- */

static const char usage[] =
    "usage: barograph kube [--image REFERENCE] [--build-arg NAME[=VALUE] ...] FILE|-\n";

void command_kube_help(void) {
    fputs(usage, stdout);
    puts("\nReads the labels " LABELS_PREFIX
         "* of a Dockerfile or of an image archive (docker save,\n"
         "podman save or OCI; plain or gzip; - is standard input) and prints manifests for\n"
         "`kubectl apply -f -`. In a Dockerfile the last stage counts; --build-arg gives ARGs "
         "their\n"
         "values (without =VALUE: that of the environment); --image takes the place of the label\n"
         "image. What is wrong is listed as FILE:LINE: LABEL: TEXT, and nothing is printed (exit "
         "1).\n\n"
         "Labels (their names begin with " LABELS_PREFIX "):\n");
    for (int key = 0; key < CLUSTER_KEYS; key++)
        printf("  %s\n      %s\n      %s; default \"%s\"\n", cluster_name((enum cluster_key)key),
               cluster_help((enum cluster_key)key), cluster_allowed((enum cluster_key)key),
               cluster_default((enum cluster_key)key));
    puts("  " CLUSTER_CONFIG_PREFIX "<key>\n"
         "      any key of `barograph help serve` that no other label and no manifest sets");
}

static bool misuse(const char *format, const char *what) {
    fputs("barograph: ", stderr);
    fprintf(stderr, format, what);
    fprintf(stderr, "\n%s", usage);
    return false;
}

static bool add_argument(struct request *request, const char *text) {
    str pair = str_of(text);
    size_t eq = str_find(pair, '=');
    if (eq == 0)
        return misuse("--build-arg needs NAME or NAME=VALUE, not \"%s\"", text);
    if (request->argument_count == ARGUMENTS_MAX)
        return misuse("%s: too many of them", "--build-arg");
    struct dockerfile_argument *argument = &request->arguments[request->argument_count];
    *argument = (struct dockerfile_argument){.name = {pair.p, eq}};
    const char *value = eq < pair.n ? text + eq + 1 : getenv(text);
    if (value == NULL)
        return true; /* as for Docker: not set there, not set here */
    argument->value = str_of(value);
    request->argument_count++;
    return true;
}

static bool set_image(struct request *request, const char *text) {
    uint64_t number;
    const char *wrong = cluster_value_check(CLUSTER_VALUE_IMAGE, str_of(text), &number);
    if (wrong != NULL) {
        fprintf(stderr, "barograph: --image: \"%s\" %s; allowed: %s\n", text, wrong,
                cluster_allowed(CLUSTER_IMAGE));
        return false;
    }
    request->image = text;
    return true;
}

/* "--name VALUE" or "--name=VALUE": true with *value if argv[*at] is that option. */
static bool take_option(int argc, char **argv, int *at, const char *name, const char **value) {
    size_t n = strlen(name);
    if (strncmp(argv[*at], name, n) != 0 || (argv[*at][n] != '=' && argv[*at][n] != '\0'))
        return false;
    if (argv[*at][n] == '=')
        *value = argv[*at] + n + 1;
    else
        *value = *at + 1 < argc ? argv[++*at] : NULL;
    return true;
}

static bool read_options(int argc, char **argv, struct request *request) {
    for (int i = 0; i < argc; i++) {
        const char *argument = argv[i];
        const char *value = NULL;
        bool fine;
        if (take_option(argc, argv, &i, "--build-arg", &value))
            fine =
                value == NULL ? misuse("%s needs a value", argument) : add_argument(request, value);
        else if (take_option(argc, argv, &i, "--image", &value))
            fine = value == NULL ? misuse("%s needs a value", argument) : set_image(request, value);
        else if (argument[0] == '-' && argument[1] != '\0')
            fine = misuse("unknown option %s", argument);
        else if (request->path != NULL)
            fine = misuse("one FILE at a time, and \"%s\" is another", argument);
        else
            fine = (request->path = argument) != NULL;
        if (!fine)
            return false;
    }
    return request->path != NULL || misuse("%s is missing", "FILE");
}

/* ---- reading ---- */

/* Up to `n` bytes, fewer only at the end. */
static enum rc read_some(FILE *file, char *bytes, size_t n, size_t *got, struct err *err) {
    errno = 0;
    *got = fread(bytes, 1, n, file);
    if (ferror(file))
        return err_set(err, RC_IO, "cannot read it: %s", strerror(errno));
    return RC_OK;
}

static enum rc read_archive(struct work *work, FILE *file, char *bytes, size_t got,
                            struct err *err) {
    struct image_archive *archive;
    TRY(image_archive_new(&archive, err));
    enum rc rc = RC_OK;
    while (rc == RC_OK && got > 0) {
        rc = image_archive_push(archive, bytes, got, err);
        if (rc == RC_OK)
            rc = read_some(file, bytes, READ_BYTES, &got, err);
    }
    if (rc == RC_OK)
        rc = image_archive_finish(archive, &work->arena, &work->labels, &work->saved_as, err);
    image_archive_free(archive);
    return rc;
}

static enum rc read_dockerfile(struct work *work, FILE *file, char *bytes, size_t got,
                               struct err *err) {
    struct buf text = {.max = DOCKERFILE_BYTES_MAX};
    struct request *request = (struct request *)(uintptr_t)work->request;
    enum rc rc = RC_OK;
    while (rc == RC_OK && got > 0 && !text.failed) {
        buf_add(&text, bytes, got);
        rc = read_some(file, bytes, READ_BYTES, &got, err);
    }
    if (rc == RC_OK && text.failed)
        rc = err_set(err, RC_LIMIT, "more than %d MiB of text: this is no Dockerfile",
                     DOCKERFILE_BYTES_MAX >> 20);
    if (rc == RC_OK && dockerfile_read(buf_view(&text), request->arguments, request->argument_count,
                                       &work->arena, &work->labels, &work->problems) < 0)
        rc = err_set(err, RC_NOMEM, "out of memory");
    buf_fini(&text);
    for (size_t i = 0; rc == RC_OK && i < request->argument_count; i++)
        if (!request->arguments[i].used)
            fprintf(stderr, "barograph: warning: --build-arg %.*s: %s has no ARG of that name\n",
                    STR_ARG(request->arguments[i].name), request->path);
    return rc;
}

static enum rc read_labels(struct work *work, FILE *file, struct err *err) {
    static char bytes[READ_BYTES];
    size_t got;
    TRY(read_some(file, bytes, READ_BYTES, &got, err));
    if (!image_archive_detect(bytes,
                              got < IMAGE_ARCHIVE_DETECT_BYTES ? got : IMAGE_ARCHIVE_DETECT_BYTES))
        return read_dockerfile(work, file, bytes, got, err);
    if (work->request->argument_count > 0)
        return err_set(err, RC_UNSUPPORTED, "an image is built already: no --build-arg for it");
    return read_archive(work, file, bytes, got, err);
}

static enum rc open_and_read(struct work *work, struct err *err) {
    const char *path = work->request->path;
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "rb");
    if (file == NULL)
        return err_set(err, RC_IO, "cannot open it: %s", strerror(errno));
    enum rc rc = read_labels(work, file, err);
    if (!standard)
        fclose(file);
    return rc;
}

/* ---- the server's configuration ---- */

/* Variables in addresses are those of the Pod, not of this machine: only the shape is looked at. */
static enum rc set_without_variables(struct config *config, str key, str value, struct err *err) {
    struct buf shape = {0};
    while (value.n > 0) {
        size_t end = str_find(value, '}');
        if (str_starts(value, STR("${")) && end < value.n) {
            buf_char(&shape, '1');
            value = str_from(value, end + 1);
        } else {
            buf_char(&shape, value.p[0]);
            value = str_from(value, 1);
        }
    }
    enum rc rc = shape.failed
                     ? err_set(err, RC_NOMEM, "out of memory")
                     : config_set(config, key, shape.n == 0 ? STR("") : buf_view(&shape), err);
    buf_fini(&shape);
    return rc;
}

static enum rc set_known(struct config *config, enum config_key key, str value, struct err *err) {
    str name = str_of(config_name(key));
    return config_type_of(key) == CONFIG_ADDRESS ? set_without_variables(config, name, value, err)
                                                 : config_set(config, name, value, err);
}

/* A key is tried alone first, so that what is wrong belongs to it. */
static enum rc set_key(void *context, str name, str value, struct err *err) {
    struct config *config = context;
    enum config_key key = 0;
    while (key < CONFIG_KEYS && !str_eq(name, str_of(config_name(key))))
        key++;
    if (key == CONFIG_KEYS)
        return err_set(err, RC_INVALID,
                       "no such key of the server; allowed: those of `barograph help serve`");
    struct config alone;
    TRY(config_init(&alone, err));
    enum rc rc = set_known(&alone, key, value, err);
    if (rc == RC_OK)
        rc = config_check(&alone, err);
    config_fini(&alone);
    return rc == RC_OK ? set_known(config, key, value, err) : rc;
}

static uint64_t number_of(void *context, const char *key) {
    const struct config *config = context;
    for (int i = 0; i < CONFIG_KEYS; i++)
        if (strcmp(key, config_name((enum config_key)i)) == 0)
            return config->number[i];
    return 0;
}

/* ---- the whole ---- */

static enum rc check_labels(struct work *work, struct cluster *cluster, struct err *err) {
    TRY(config_init(&work->config, err));
    struct cluster_server server = {&work->config, set_key, number_of};
    struct cluster_options options = {
        .image = work->request->image == NULL ? STR("") : str_of(work->request->image),
        .image_saved_as = work->saved_as,
        .image_fallback = STR(IMAGE_FALLBACK),
        .server = &server};
    if (cluster_read(&work->labels, &options, &work->arena, cluster, &work->problems) < 0)
        return err_set(err, RC_NOMEM, "out of memory");
    return RC_OK;
}

static enum rc print_manifests(struct work *work, const struct cluster *cluster, struct err *err) {
    struct manifests_origin origin = {PROGRAM, work->request->path};
    manifests_write(cluster, &origin, &work->out);
    if (work->out.failed)
        return err_set(err, RC_NOMEM, "out of memory");
    if (fwrite(work->out.p, 1, work->out.n, stdout) != work->out.n || fflush(stdout) != 0)
        return err_set(err, RC_IO, "cannot write the manifests: %s", strerror(errno));
    return RC_OK;
}

static int finish(struct work *work, enum rc rc, const struct err *err) {
    size_t shown = work->problems.count;
    fprintf(stderr, "%.*s", STR_ARG(buf_view(&work->problems.text)));
    if (shown > PROBLEMS_SHOWN_MAX)
        fprintf(stderr, "barograph: and %zu more\n", shown - PROBLEMS_SHOWN_MAX);
    if (rc < 0)
        fprintf(stderr, "barograph: %s: %s\n", work->request->path, err->message);
    bool failed = rc < 0 || shown > 0;
    problems_fini(&work->problems);
    config_fini(&work->config);
    buf_fini(&work->out);
    arena_fini(&work->arena);
    return rc == RC_UNSUPPORTED ? 2 : failed;
}

int command_kube(int argc, char **argv) {
    if (argc > 0 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)) {
        command_kube_help();
        return 0;
    }
    struct request request = {0};
    if (!read_options(argc, argv, &request))
        return 2;
    struct work work = {.request = &request};
    struct err err = {0};
    struct cluster cluster;
    budget_init(&work.budget, MEMORY_MAX, NULL);
    arena_init(&work.arena, &work.budget);
    problems_init(&work.problems, request.path);
    enum rc rc = open_and_read(&work, &err);
    if (rc == RC_OK)
        rc = check_labels(&work, &cluster, &err);
    if (rc == RC_OK && work.problems.count == 0)
        rc = print_manifests(&work, &cluster, &err);
    return finish(&work, rc, &err);
}
