// cilia-sandbox make: namespaces made step by step, and held.
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
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// Where the holder of a PID namespace says that it is done; -1 for holders without one.
static int ready_fd = -1;

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

void make(void)
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
