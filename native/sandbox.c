// The lab's container runtime: makes namespaces and starts processes in them. See native/README.md.
//
//   cilia-sandbox make                      reads steps from standard input, prints "ready PID", holds the namespaces until killed
//   cilia-sandbox run [options] -- CMD...   runs a command in the namespaces of a holder
//   cilia-sandbox offload DEVICE checksums on|off   whether a network device leaves checksums to its peer
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void die(const char *format, ...)
{
	int error = errno;
	va_list arguments;
	va_start(arguments, format);
	fputs("sandbox: ", stderr);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, ": %s\n", strerror(error));
	exit(EXIT_SETUP);
}

void make_directories(const char *path, bool whole)
{
	char copy[4096];
	if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy)) {
		errno = ENAMETOOLONG;
		die("%s", path);
	}
	for (char *at = strchr(copy + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = '\0';
		if (mkdir(copy, 0755) && errno != EEXIST)
			die("mkdir %s", copy);
		*at = '/';
	}
	if (whole && mkdir(copy, 0755) && errno != EEXIST)
		die("mkdir %s", copy);
}

void enter(const char *path, int type)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, type))
		die("enter %s", path);
	close(fd);
}

void enter_process(const char *pid, const char *name, int type)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%s/ns/%s", pid, name);
	enter(path, type);
}

void join_cgroup(const char *directory)
{
	char path[4096];
	make_directories(directory, true);
	snprintf(path, sizeof(path), "%s/cgroup.procs", directory);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		die("join cgroup %s", directory);
	close(fd);
}

int main(int count, char **words)
{
	if (count == 2 && !strcmp(words[1], "make"))
		make();
	if (count > 2 && !strcmp(words[1], "run"))
		return run(count - 2, words + 2);
	if (count == 5 && !strcmp(words[1], "offload") && !strcmp(words[3], "checksums"))
		return offload_checksums(words[2], words[4]);
	fputs("usage: cilia-sandbox make | offload DEVICE checksums on|off | run [--target PID] [--net] [--mount] [--uts] [--pid] [--cgroup DIR] [--directory DIR] [--tty ROWSxCOLUMNS] -- COMMAND...\n", stderr);
	return EXIT_SETUP;
}
