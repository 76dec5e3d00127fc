/*
 * Round trips over one TCP connection, busy-polling at both ends: sleeping would measure the wake-ups of the machine and not the path.
 * A question of BYTES, an answer of 64. Each end is pinned to a processor of its own, and goes before other processes there while it has something to do.
 *
 *   pingpong server PORT CPU BYTES
 *   pingpong client ADDRESS PORT CPU BYTES ROUNDS   for each line that it reads prints the median of so many, in nanoseconds
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 64, IDLE_POLLS = 10000 };

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	sched_setscheduler(0, SCHED_RR, &(struct sched_param){ .sched_priority = 1 }); /* where it may */
}

static void prepare(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	fcntl(fd, F_SETFL, O_NONBLOCK);
}

/* What arrives is not kept. Returns 0 when the peer closed the connection. */
static int receive(int fd, size_t size)
{
	for (int idle = 0; size > 0; idle++) {
		ssize_t n = recv(fd, NULL, size, MSG_TRUNC);

		if (n == 0 || (n < 0 && errno != EAGAIN))
			return 0;
		if (n > 0) {
			size -= n;
			idle = 0;
		}
		/* Nobody measures now: let others run. */
		if (idle > IDLE_POLLS)
			poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, -1);
	}
	return 1;
}

static void transmit(int fd, const char *buffer, size_t size)
{
	while (size > 0) {
		ssize_t n = send(fd, buffer, size, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			fail("send");
		if (n > 0) {
			buffer += n;
			size -= n;
		}
	}
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void serve(int port, size_t size)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
	char answer[SIZE] = { 0 };

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, 8) < 0)
		fail("listen");
	puts("ready");
	fflush(stdout);
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			fail("accept");
		prepare(fd);
		while (receive(fd, size))
			transmit(fd, answer, SIZE);
		close(fd);
	}
}

static uint64_t median(int fd, const char *question, size_t size, uint64_t *times, int rounds)
{
	for (int i = -rounds / 10; i < rounds; i++) {
		uint64_t start = now();

		transmit(fd, question, size);
		if (!receive(fd, SIZE))
			fail("receive");
		if (i >= 0)
			times[i] = now() - start;
	}
	qsort(times, rounds, sizeof(*times), compare);
	return times[rounds / 2];
}

static void ping(const char *host, int port, size_t size, int rounds)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	uint64_t *times = calloc(rounds, sizeof(*times));
	char *question = calloc(1, size);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, host, &address.sin_addr);
	if (!times || !question || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		fail("connect");
	prepare(fd);
	for (int c; (c = getchar()) != EOF;) {
		if (c != '\n')
			continue;
		printf("%lu\n", (unsigned long)median(fd, question, size, times, rounds));
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "server")) {
		pin(atoi(argv[3]));
		serve(atoi(argv[2]), atol(argv[4]));
	} else if (argc == 7 && !strcmp(argv[1], "client")) {
		pin(atoi(argv[4]));
		ping(argv[2], atoi(argv[3]), atol(argv[5]), atoi(argv[6]));
	} else {
		fputs("usage: pingpong server PORT CPU BYTES | client ADDRESS PORT CPU BYTES ROUNDS\n", stderr);
		return 2;
	}
	return 0;
}
