/*
 * A steady stream of datagrams from one network namespace to another, to see when a policy takes effect.
 *
 *   stream CLIENT_NETNS SERVER_NETNS ADDRESS PORT INTERVAL_US
 *
 * prints a line each time the stream starts or stops to arrive: `allowed T` or `denied T`, T being when the first such datagram
 * was sent, nanoseconds of CLOCK_MONOTONIC. Client and server are two sockets of this one process, so that no wake-up of another
 * process comes in between. A late datagram is not a denied one: the stream has stopped when PATIENCE of them in a row are missing.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE = 4, KEPT = 16 };

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int socket_in(const char *netns)
{
	int ns = open(netns, O_RDONLY | O_CLOEXEC), fd;

	if (ns < 0 || setns(ns, CLONE_NEWNET) < 0)
		fail(netns);
	close(ns);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	if (fd < 0)
		fail("socket");
	return fd;
}

static int64_t nanoseconds(const struct timespec *t)
{
	return t->tv_sec * 1000000000ll + t->tv_nsec;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct timespec next, sent[KEPT];
	uint32_t number = 0, arrived, newest = 0, first;
	int client, server, state = -1;
	long interval;

	if (argc != 6) {
		fputs("usage: stream CLIENT_NETNS SERVER_NETNS ADDRESS PORT INTERVAL_US\n", stderr);
		return 2;
	}
	prctl(PR_SET_TIMERSLACK, 1000);
	client = socket_in(argv[1]);
	server = socket_in(argv[2]);
	to.sin_port = htons(atoi(argv[4]));
	if (bind(server, (struct sockaddr *)&to, sizeof(to)) < 0)
		fail("bind");
	inet_pton(AF_INET, argv[3], &to.sin_addr);
	interval = atol(argv[5]) * 1000;
	clock_gettime(CLOCK_MONOTONIC, &next);
	for (;;) {
		next.tv_nsec += interval;
		if (next.tv_nsec >= 1000000000) {
			next.tv_nsec -= 1000000000;
			next.tv_sec += 1;
		}
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
		while (recv(server, &arrived, sizeof(arrived), 0) == sizeof(arrived))
			newest = arrived;
		if (number > 0 && newest == number && state != 1) {
			state = 1;
			printf("allowed %lld\n", (long long)nanoseconds(&sent[number % KEPT]));
			fflush(stdout);
		} else if (number - newest == PATIENCE && state != 0) {
			state = 0;
			first = newest + 1;
			printf("denied %lld\n", (long long)nanoseconds(&sent[first % KEPT]));
			fflush(stdout);
		}
		number += 1;
		clock_gettime(CLOCK_MONOTONIC, &sent[number % KEPT]);
		sendto(client, &number, sizeof(number), 0, (struct sockaddr *)&to, sizeof(to));
	}
}
