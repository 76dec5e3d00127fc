// What both halves of the lab's container runtime need.
#pragma once
#define _GNU_SOURCE
#include <stdbool.h>

enum { EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127, EXIT_SETUP = 125 };

// Ends the program with the message and what errno says.
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);
// Makes every directory above path, and path itself when `whole`.
void make_directories(const char *path, bool whole);
// Enters the namespace of the file at path.
void enter(const char *path, int type);
// Enters the namespace `name` of the process.
void enter_process(const char *pid, const char *name, int type);
// Moves this process into the cgroup, which is made if missing.
void join_cgroup(const char *directory);

// Reads steps from standard input, does them, says "ready PID" and holds the namespaces.
__attribute__((noreturn)) void make(void);
// Runs a command in the namespaces of a holder; the words are those after `run`. Returns its exit status.
int run(int count, char **words);
// Has a network device of this namespace compute checksums before it sends ("off") or leave them to its peer ("on"). Returns 0.
int offload_checksums(const char *device, const char *state);
