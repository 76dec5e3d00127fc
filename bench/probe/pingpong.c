/*
 * Round trips of 64 bytes over one TCP connection, busy-polling at both ends: sleeping would measure the wake-ups of the
 * machine and not the path. Each end is pinned to a processor of its own.
 *
 *   pingpong server PORT CPU
 *   pingpong client ADDRESS PORT CPU ROUNDS   prints the median round trip in nanoseconds
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 64 };

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
}

static void prepare(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	fcntl(fd, F_SETFL, O_NONBLOCK);
}

/* Returns 0 when the peer closed the connection. */
static int receive(int fd, char *buffer)
{
	size_t have = 0;

	while (have < SIZE) {
		ssize_t n = recv(fd, buffer + have, SIZE - have, 0);

		if (n == 0)
			return 0;
		if (n < 0 && errno != EAGAIN)
			return 0;
		if (n > 0)
			have += n;
	}
	return 1;
}

static void transmit(int fd, const char *buffer)
{
	if (send(fd, buffer, SIZE, MSG_NOSIGNAL) != SIZE)
		fail("send");
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

static void serve(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
	char buffer[SIZE];

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
		while (receive(fd, buffer))
			transmit(fd, buffer);
		close(fd);
	}
}

static void ping(const char *host, int port, int rounds)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	uint64_t *times = calloc(rounds, sizeof(*times));
	char buffer[SIZE] = { 0 };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, host, &address.sin_addr);
	if (!times || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		fail("connect");
	prepare(fd);
	for (int i = -rounds / 10; i < rounds; i++) {
		uint64_t start = now();

		transmit(fd, buffer);
		if (!receive(fd, buffer))
			fail("receive");
		if (i >= 0)
			times[i] = now() - start;
	}
	qsort(times, rounds, sizeof(*times), compare);
	printf("%lu\n", (unsigned long)times[rounds / 2]);
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "server")) {
		pin(atoi(argv[3]));
		serve(atoi(argv[2]));
	} else if (argc == 6 && !strcmp(argv[1], "client")) {
		pin(atoi(argv[4]));
		ping(argv[2], atoi(argv[3]), atoi(argv[5]));
	} else {
		fputs("usage: pingpong server PORT CPU | client ADDRESS PORT CPU ROUNDS\n", stderr);
		return 2;
	}
	return 0;
}
