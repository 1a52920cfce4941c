/*
 * The barograph program: one binary, several commands.
 */
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"serve", command_serve, "run the server"},
    {"tsd", command_serve, "the same, by OpenTSDB's name"},
    {"health", command_health, "ask a running server whether it is ready (exit 0 or 1)"},
    {"kube", command_kube, "print Kubernetes manifests from the labels of a Dockerfile or image"},
    {"version", command_version, "print the version"},
    {"help", command_help, "print this, or `help serve`, `help kube` for all options"},
};

void command_usage(void) {
    puts("Barograph, a time-series database that speaks OpenTSDB.\n\nusage: barograph COMMAND ...");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        printf("  %-8s %s\n", commands[i].name, commands[i].help);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        command_usage();
        return 2;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    if (strcmp(name, "--version") == 0)
        name = "version";
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(argc - 2, argv + 2);
    fprintf(stderr, "barograph: unknown command \"%s\" (try `barograph help`)\n", name);
    return 2;
}
