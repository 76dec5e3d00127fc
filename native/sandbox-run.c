// cilia-sandbox run: a command in the namespaces of a holder, with a terminal if asked.
#include "sandbox.h"

#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

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

int run(int count, char **words)
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
