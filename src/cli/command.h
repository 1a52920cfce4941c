/*
 * The commands of the barograph program. Each gets the arguments after its name and returns the
 * exit status: 0 done, 1 failed, 2 used wrongly.
 */
#pragma once

int command_serve(int argc, char **argv);
int command_health(int argc, char **argv);
int command_kube(int argc, char **argv);
int command_version(int argc, char **argv);
int command_help(int argc, char **argv);

/* Prints how to use `kube`, and its labels. */
void command_kube_help(void);

/* Prints the list of commands. */
void command_usage(void);
