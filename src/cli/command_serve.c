#include "cli/command.h"

#include "base/attr.h"
#include "os/machine.h"
#include "server/report.h"
#include "server/server.h"
#include "server/version.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void print_key(enum config_key key) {
    const char *flag = config_flag(key);
    char left[80];
    snprintf(left, sizeof(left), "%s%s%s%s", config_name(key), flag == NULL ? "" : " (--",
             flag == NULL ? "" : flag, flag == NULL ? "" : ")");
    printf("  %s\n      %s; default \"%s\"\n", left, config_help(key), config_default(key));
}

static void print_serve_help(void) {
    puts("usage: barograph serve [--port N] [--bind ADDRESS] [--data-dir DIR] [--config FILE]\n"
         "                       [--set KEY=VALUE ...]\n\n"
         "Every key can be set in the file (key = value), by --set, and in the environment as\n"
         "BAROGRAPH_ and the key in capitals with other characters as _ (for example\n"
         "BAROGRAPH_TSD_NETWORK_PORT; with _FILE appended it names a file that holds the value).\n"
         "BAROGRAPH_CONFIG names the file that --config names.\n"
         "Later sources win: file, environment, command line.\n");
    for (int key = 0; key < CONFIG_KEYS; key++)
        print_key((enum config_key)key);
}

int command_help(int argc, char **argv) {
    if (argc > 0 && (strcmp(argv[0], "serve") == 0 || strcmp(argv[0], "tsd") == 0))
        print_serve_help();
    else if (argc > 0 && strcmp(argv[0], "kube") == 0)
        command_kube_help();
    else
        command_usage();
    return 0;
}

int command_version(int argc, char **argv) {
    printf("barograph %s (revision %s, %s)\n", VERSION_TEXT, VERSION_REVISION, VERSION_DATE);
    return 0;
}

/* "--name=value" or "--name value": the value, or NULL if there is none. */
static const char *flag_value(int argc, char **argv, int *at, size_t name_length) {
    const char *argument = argv[*at];
    if (argument[name_length] == '=')
        return argument + name_length + 1;
    if (*at + 1 >= argc)
        return NULL;
    return argv[++*at];
}

static enum rc apply_flag(struct config *config, str name, const char *value, struct err *err) {
    if (str_eq(name, STR("config")))
        return RC_OK;
    if (str_eq(name, STR("set"))) {
        str pair = str_of(value);
        size_t eq = str_find(pair, '=');
        if (eq == pair.n)
            return err_set(err, RC_INVALID, "--set needs KEY=VALUE, not \"%s\"", value);
        return config_set(config, (str){pair.p, eq}, str_from(pair, eq + 1), err);
    }
    enum config_key key = config_find_flag(name);
    if (key == CONFIG_KEYS)
        return err_set(err, RC_INVALID, "unknown option --%.*s (`barograph help serve` lists all)",
                       STR_ARG(name));
    return config_set(config, str_of(config_name(key)), str_of(value), err);
}

/* Walks the options; with `config_path` only looks for --config. */
static enum rc walk_flags(int argc, char **argv, struct config *config, const char **config_path,
                          struct err *err) {
    for (int i = 0; i < argc; i++) {
        const char *argument = argv[i];
        if (strncmp(argument, "--", 2) != 0)
            return err_set(err, RC_INVALID, "unexpected argument \"%s\"", argument);
        size_t length = strcspn(argument, "=");
        str name = {argument + 2, length - 2};
        const char *value;
        if (str_eq(name, STR("auto-metric")) && argument[length] == '\0')
            value = "true";
        else
            value = flag_value(argc, argv, &i, length);
        if (value == NULL)
            return err_set(err, RC_INVALID, "%s needs a value", argument);
        if (config_path != NULL && str_eq(name, STR("config")))
            *config_path = value;
        if (config_path == NULL)
            TRY(apply_flag(config, name, value, err));
    }
    return RC_OK;
}

static enum rc read_config(int argc, char **argv, struct config *config, struct err *err) {
    const char *path = getenv(CONFIG_FILE_VARIABLE);
    TRY(walk_flags(argc, argv, config, &path, err));
    if (path != NULL)
        TRY(config_load(config, path, err));
    TRY(config_load_environment(config, (const char *const *)environ, err));
    TRY(walk_flags(argc, argv, config, NULL, err));
    return config_check(config, err);
}

static void block_signals(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGCHLD);
    sigprocmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* As process 1 of a container the program inherits orphans, and nobody else buries them. */
static void reap(void) {
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
}

/* Waits for one of the signals that end the server. */
static void wait_for_the_end(const sigset_t *set) {
    int number = 0;
    while (number != SIGTERM && number != SIGINT) {
        sigwait(set, &number);
        if (number == SIGCHLD)
            reap();
    }
}

static void ask_to_stop(void *context) {
    kill(getpid(), SIGTERM);
}

static int serve(struct config *config) {
    sigset_t set;
    struct server *server;
    struct err err = {0};
    block_signals(&set);
    if (config->ignored.n > 0)
        report(REPORT_WARN, REPORT_SERVER, "configuration keys without a meaning here: %.*s",
               STR_ARG(buf_view(&config->ignored)));
    if (server_start(config, ask_to_stop, NULL, &server, &err) < 0) {
        report(REPORT_ERROR, REPORT_SERVER, "cannot start: %s", err.message);
        return 1;
    }
    report(REPORT_INFO, REPORT_SERVER, "barograph %s listens on %s port %u (HTTP and telnet)",
           VERSION_TEXT, config->text[CONFIG_BIND], server_port(server));
    wait_for_the_end(&set);
    report(REPORT_INFO, REPORT_SERVER, "stopping: finishing what is under way");
    if (server_stop(server, &err) < 0) {
        report(REPORT_ERROR, REPORT_SERVER, "stopped, but the last commit failed: %s", err.message);
        return 1;
    }
    report(REPORT_INFO, REPORT_SERVER, "stopped");
    return 0;
}

/* Whoever collects the log as JSON gets this line as JSON, too, wherever the mistake stands. */
static void refuse_config(const struct config *config, const struct err *err) {
    const char *format = getenv("BAROGRAPH_LOG_FORMAT");
    if (format == NULL)
        format = config->text[CONFIG_FORMAT];
    if (format != NULL && strcmp(format, "json") == 0) {
        report_configure("info", "json");
        report(REPORT_ERROR, REPORT_SERVER, "cannot start: %s", err->message);
    } else {
        fprintf(stderr, "barograph: %s\n", err->message);
    }
}

int command_serve(int argc, char **argv) {
    if (argc > 0 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)) {
        print_serve_help();
        return 0;
    }
    struct config config;
    struct err err = {0};
    machine_tune_allocator();
    (void)machine_raise_open_files();
    if (config_init(&config, &err) < 0 || read_config(argc, argv, &config, &err) < 0) {
        refuse_config(&config, &err);
        config_fini(&config);
        return 2;
    }
    report_configure(config.text[CONFIG_LEVEL], config.text[CONFIG_FORMAT]);
    int status = serve(&config);
    config_fini(&config);
    return status;
}
