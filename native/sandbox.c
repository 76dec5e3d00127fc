// The lab's container runtime: makes namespaces and starts processes in them. See native/README.md.
//
//   cilia-sandbox make                      reads steps from standard input, prints "ready PID", holds the namespaces until killed
//   cilia-sandbox run [options] -- CMD...   runs a command in the namespaces of a holder
//
// Steps of `make`, one a line, words separated by tabs:
//   join PID            enter the mount namespace of this process
//   pids                new PID namespace: the holder is its first process and reaps the others
//   newnet FILE         new network namespace, its loopback device up, bound to FILE
//   net FILE            enter the network namespace FILE
//   unshare             new mount, UTS and IPC namespaces, mounts private; `unshare slave`: later mounts of the origin still show
//   share               mounts of this namespace show in those that come from it
//   hostname NAME
//   write FILE TEXT     such as a setting below /proc/sys; one that this kernel does not have is left alone
//   mkdir DIR           with its parents
//   touch FILE          with its parents
//   mount TYPE SOURCE TARGET OPTIONS
//   bind SOURCE TARGET      a file or directory, without the mounts below it
//   rbind SOURCE TARGET     with the mounts below it
//   readonly TARGET         makes a bind mount read-only
//   cgroup DIR          move into this cgroup
//   root DIR            make DIR the root, forget the old one
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127, EXIT_SETUP = 125 };

// Where the holder of a PID namespace says that it is done; -1 for holders without one.
static int ready_fd = -1;

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
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

// Makes every directory above path, and path itself when `whole`.
static void make_directories(const char *path, bool whole)
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

static void touch(const char *path)
{
	make_directories(path, false);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	if (fd < 0 && errno != EISDIR)
		die("create %s", path);
	if (fd >= 0)
		close(fd);
}

// A mount point of the same kind (file or directory) as what will be mounted there.
static void make_target(const char *source, const char *target)
{
	struct stat about;
	if (stat(source, &about))
		die("%s", source);
	if (S_ISDIR(about.st_mode))
		make_directories(target, true);
	else
		touch(target);
}

static void enter(const char *path, int type)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, type))
		die("enter %s", path);
	close(fd);
}

static void enter_process(const char *pid, const char *name, int type)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%s/ns/%s", pid, name);
	enter(path, type);
}

static void join_cgroup(const char *directory)
{
	char path[4096];
	make_directories(directory, true);
	snprintf(path, sizeof(path), "%s/cgroup.procs", directory);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		die("join cgroup %s", directory);
	close(fd);
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return;
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die("write %s", path);
	close(fd);
}

static void new_network(const char *file)
{
	struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	if (unshare(CLONE_NEWNET))
		die("new network namespace");
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &loopback))
		die("start the loopback device");
	close(fd);
	touch(file);
	if (mount("/proc/self/ns/net", file, NULL, MS_BIND, NULL))
		die("bind %s", file);
}

// The parent waits until the sandbox is made, since only it knows the holder's pid as others see it, and leaves.
static void new_pids(void)
{
	int ready[2];
	char byte;
	if (unshare(CLONE_NEWPID) || pipe2(ready, O_CLOEXEC))
		die("new PID namespace");
	pid_t holder = fork();
	if (holder < 0)
		die("fork");
	if (holder == 0) {
		close(ready[0]);
		ready_fd = ready[1];
		return;
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		exit(EXIT_SETUP);
	printf("ready %d\n", holder);
	exit(0);
}

static void change_root(const char *directory)
{
	if (chdir(directory) || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
		die("make %s the root", directory);
}

static void bind_mount(const char *source, const char *target, unsigned long flags)
{
	make_target(source, target);
	if (mount(source, target, NULL, MS_BIND | flags, NULL))
		die("bind %s to %s", source, target);
}

static void do_mount(char **words, int count)
{
	if (count < 4)
		die("mount needs a type, a source and a target");
	make_directories(words[3], true);
	if (mount(words[2], words[3], words[1], 0, count > 4 ? words[4] : NULL))
		die("mount %s at %s", words[1], words[3]);
}

static void step(char **words, int count)
{
	const char *verb = words[0], *first = count > 1 ? words[1] : "", *second = count > 2 ? words[2] : "";
	if (!strcmp(verb, "join"))
		enter_process(first, "mnt", CLONE_NEWNS);
	else if (!strcmp(verb, "pids"))
		new_pids();
	else if (!strcmp(verb, "newnet"))
		new_network(first);
	else if (!strcmp(verb, "net"))
		enter(first, CLONE_NEWNET);
	else if (!strcmp(verb, "unshare")) {
		unsigned long propagation = strcmp(first, "slave") ? MS_PRIVATE : MS_SLAVE;
		if (unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC) || mount(NULL, "/", NULL, MS_REC | propagation, NULL))
			die("unshare");
	} else if (!strcmp(verb, "share")) {
		if (mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL))
			die("share");
	} else if (!strcmp(verb, "hostname")) {
		if (sethostname(first, strlen(first)))
			die("hostname %s", first);
	} else if (!strcmp(verb, "write"))
		write_text(first, second);
	else if (!strcmp(verb, "mkdir"))
		make_directories(first, true);
	else if (!strcmp(verb, "touch"))
		touch(first);
	else if (!strcmp(verb, "mount"))
		do_mount(words, count);
	else if (!strcmp(verb, "bind"))
		bind_mount(first, second, 0);
	else if (!strcmp(verb, "rbind"))
		bind_mount(first, second, MS_REC);
	else if (!strcmp(verb, "readonly")) {
		if (mount(NULL, first, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL))
			die("make %s read-only", first);
	} else if (!strcmp(verb, "cgroup"))
		join_cgroup(first);
	else if (!strcmp(verb, "root"))
		change_root(first);
	else {
		errno = EINVAL;
		die("unknown step %s", verb);
	}
}

// The first process of a PID namespace inherits the orphans of the others.
__attribute__((noreturn)) static void reap_for_ever(void)
{
	struct timespec now_and_then = {.tv_sec = 60};
	sigset_t ended;
	sigemptyset(&ended);
	sigaddset(&ended, SIGCHLD);
	sigprocmask(SIG_BLOCK, &ended, NULL);
	for (;;) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		sigtimedwait(&ended, NULL, &now_and_then);
	}
}

__attribute__((noreturn)) static void make(void)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t length;
	signal(SIGINT, SIG_IGN);
	while ((length = getline(&line, &size, stdin)) > 0) {
		char *words[8], *rest = line;
		int count = 0;
		line[strcspn(line, "\n")] = '\0';
		for (char *word; count < 8 && (word = strsep(&rest, "\t"));)
			words[count++] = word;
		step(words, count);
	}
	if (ready_fd < 0) {
		printf("ready %d\n", getpid());
		fflush(stdout);
	} else if (write(ready_fd, "", 1) != 1)
		die("say that the sandbox is made");
	// Nothing of the maker may be held open: its pipes would never end.
	int null = open("/dev/null", O_RDWR);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	setsid();
	reap_for_ever();
}

struct options {
	const char *target, *cgroup, *directory, *tty;
	bool net, mnt, uts, pid;
};

__attribute__((noreturn)) static void execute(const struct options *options, char **command)
{
	if (chdir(options->directory) && chdir("/"))
		die("chdir");
	signal(SIGINT, SIG_DFL);
	execvp(command[0], command);
	int error = errno;
	fprintf(stderr, "exec: \"%s\": %s\n", command[0], error == ENOENT ? "executable file not found in $PATH" : strerror(error));
	exit(error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

static pid_t inner;

static void pass_on(int number)
{
	kill(inner, number);
}

// Entering a PID namespace takes effect for children only: the command runs in one, and we stand for it outside.
static int run_in_child(const struct options *options, char **command)
{
	static const int passed[] = {SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};
	struct sigaction action = {.sa_handler = pass_on, .sa_flags = SA_RESTART};
	sigset_t all, before;
	int status;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	inner = fork();
	if (inner < 0)
		die("fork");
	if (inner == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sigprocmask(SIG_SETMASK, &before, NULL);
		execute(options, command);
	}
	for (unsigned int at = 0; at < sizeof(passed) / sizeof(*passed); at++)
		sigaction(passed[at], &action, NULL);
	sigprocmask(SIG_SETMASK, &before, NULL);
	while (waitpid(inner, &status, 0) < 0)
		if (errno != EINTR)
			die("wait");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool write_all(int fd, const char *data, ssize_t length)
{
	while (length > 0) {
		ssize_t written = write(fd, data, length);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return false;
		data += written;
		length -= written;
	}
	return true;
}

// "ROWS COLUMNS\n" messages on descriptor 3 set the size of the terminal.
static bool resize(int terminal)
{
	char text[64];
	struct winsize size = {0};
	ssize_t length = read(3, text, sizeof(text) - 1);
	if (length <= 0)
		return false;
	text[length] = '\0';
	if (sscanf(text, "%hu %hu", &size.ws_row, &size.ws_col) == 2)
		ioctl(terminal, TIOCSWINSZ, &size);
	return true;
}

// Copies between standard input and output and the terminal until the terminal is closed on the other side.
static void relay(int terminal)
{
	char data[16384];
	struct pollfd fds[] = {{terminal, POLLIN, 0}, {0, POLLIN, 0}, {3, POLLIN, 0}};
	while (poll(fds, 3, -1) >= 0 || errno == EINTR) {
		if (fds[0].revents) {
			ssize_t length = read(terminal, data, sizeof(data));
			if (length <= 0 || !write_all(1, data, length))
				return;
		}
		if (fds[1].fd >= 0 && fds[1].revents) {
			ssize_t length = read(0, data, sizeof(data));
			// The end of the input is what a person types to say so: ^D.
			if (length <= 0)
				fds[1].fd = -1;
			if (!write_all(terminal, length > 0 ? data : "\4", length > 0 ? length : 1))
				return;
		}
		if (fds[2].fd >= 0 && fds[2].revents && !resize(terminal))
			fds[2].fd = -1;
	}
}

static int run_on_terminal(const struct options *options, char **command)
{
	struct winsize size = {.ws_row = 24, .ws_col = 80};
	int terminal, status;
	sscanf(options->tty, "%hux%hu", &size.ws_row, &size.ws_col);
	pid_t child = forkpty(&terminal, NULL, NULL, &size);
	if (child < 0)
		die("open a terminal");
	if (child == 0) {
		close(3);
		execute(options, command);
	}
	signal(SIGPIPE, SIG_IGN);
	relay(terminal);
	close(terminal);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			die("wait");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run(int count, char **words)
{
	struct options options = {.directory = "/"};
	int at = 0;
	for (; at < count && strcmp(words[at], "--"); at++) {
		const char *value = at + 1 < count ? words[at + 1] : "";
		if (!strcmp(words[at], "--net"))
			options.net = true;
		else if (!strcmp(words[at], "--mount"))
			options.mnt = true;
		else if (!strcmp(words[at], "--uts"))
			options.uts = true;
		else if (!strcmp(words[at], "--pid"))
			options.pid = true;
		else if (!strcmp(words[at], "--target"))
			options.target = value, at++;
		else if (!strcmp(words[at], "--cgroup"))
			options.cgroup = value, at++;
		else if (!strcmp(words[at], "--directory"))
			options.directory = value, at++;
		else if (!strcmp(words[at], "--tty"))
			options.tty = value, at++;
		else
			die("unknown option %s", words[at]);
	}
	if (at + 1 >= count || !options.target) {
		errno = EINVAL;
		die("run needs --target PID and -- COMMAND");
	}
	char **command = words + at + 1;
	// The cgroup first: its path is the machine's, not the sandbox's.
	if (options.cgroup)
		join_cgroup(options.cgroup);
	// The mount namespace last: /proc/PID is read through ours.
	if (options.net)
		enter_process(options.target, "net", CLONE_NEWNET);
	if (options.uts) {
		enter_process(options.target, "uts", CLONE_NEWUTS);
		enter_process(options.target, "ipc", CLONE_NEWIPC);
	}
	if (options.pid)
		enter_process(options.target, "pid", CLONE_NEWPID);
	if (options.mnt)
		enter_process(options.target, "mnt", CLONE_NEWNS);
	if (options.tty)
		return run_on_terminal(&options, command);
	if (options.pid)
		return run_in_child(&options, command);
	execute(&options, command);
}

int main(int count, char **words)
{
	if (count == 2 && !strcmp(words[1], "make"))
		make();
	if (count > 2 && !strcmp(words[1], "run"))
		return run(count - 2, words + 2);
	fputs("usage: cilia-sandbox make | run [--target PID] [--net] [--mount] [--uts] [--pid] [--cgroup DIR] [--directory DIR] [--tty ROWSxCOLUMNS] -- COMMAND...\n", stderr);
	return EXIT_SETUP;
}
