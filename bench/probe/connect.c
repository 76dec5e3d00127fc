/*
 * connect serve PORT            accepts connections for ever and closes them
 * connect to ADDRESS PORT N     for every line it reads connects N times, prints the median of connect() in nanoseconds; on the last processor,
 *                               so that two of them, asked in turn, meet the same machine
 * Connections end by RST, so that no port waits.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000L + time.tv_nsec;
}

static int open_socket(void)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 0 };
	int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0) {
		perror("socket");
		exit(1);
	}
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	return fd;
}

static int serve(struct sockaddr_in *address)
{
	int fd = open_socket();

	if (bind(fd, (struct sockaddr *)address, sizeof(*address)) || listen(fd, 4096)) {
		perror("listen");
		return 1;
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		int client = accept(fd, NULL, NULL);
		char byte;

		if (client < 0)
			continue;
		/* The caller's RST ends it. */
		(void)!read(client, &byte, 1);
		close(client);
	}
}

static int compare(const void *a, const void *b)
{
	long left = *(const long *)a, right = *(const long *)b;

	return (left > right) - (left < right);
}

static void stay_on_last_processor(void)
{
	cpu_set_t only;

	CPU_ZERO(&only);
	CPU_SET((size_t)sysconf(_SC_NPROCESSORS_ONLN) - 1, &only);
	/* Where that is not allowed the figures are only noisier. */
	(void)sched_setaffinity(0, sizeof(only), &only);
}

static int measure(const struct sockaddr_in *address, long *times, int count)
{
	for (int i = 0; i < count; i++) {
		int fd = open_socket();
		long begun = now();

		if (connect(fd, (const struct sockaddr *)address, sizeof(*address))) {
			perror("connect");
			return 1;
		}
		times[i] = now() - begun;
		close(fd);
	}
	qsort(times, (size_t)count, sizeof(*times), compare);
	printf("%ld\n", times[count / 2]);
	fflush(stdout);
	return 0;
}

static int measure_on_demand(const struct sockaddr_in *address, int count)
{
	long *times = calloc((size_t)count, sizeof(*times));
	int failed = 0;

	stay_on_last_processor();
	for (int byte = getchar(); byte != EOF && !failed; byte = getchar())
		failed = measure(address, times, count);
	free(times);
	return failed;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET };

	if (argc == 3 && !strcmp(argv[1], "serve")) {
		address.sin_port = htons((unsigned short)atoi(argv[2]));
		return serve(&address);
	}
	if (argc == 5 && !strcmp(argv[1], "to") && inet_pton(AF_INET, argv[2], &address.sin_addr) == 1) {
		address.sin_port = htons((unsigned short)atoi(argv[3]));
		return measure_on_demand(&address, atoi(argv[4]));
	}
	fprintf(stderr, "connect serve PORT | connect to ADDRESS PORT N\n");
	return 2;
}
