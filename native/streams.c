/*
 * Connected TCP sockets read and written with the least work for each chunk. Node makes three objects, a 64 KiB buffer and a call into JavaScript of
 * each read; here what arrived for all sockets at one wake-up lies side by side in one buffer. Layout: src/sys/streams.ts.
 */
#define _GNU_SOURCE
#include "socket-set.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

/** What one socket had to say. */
struct arrival {
	uint32_t tag;   /* what the socket was added with */
	int32_t length; /* 0: the other side has ended; negative: -errno */
	uint32_t start; /* where the bytes lie in the buffer */
};
_Static_assert(sizeof(struct arrival) == 12, "the layout is known to JavaScript");

/** Bytes read of one socket at a time, so that a busy one leaves room for others. */
enum { CHUNK = 64 << 10, READY_AT_ONCE = 256 };

struct streams {
	struct socket_set set;
	char *bytes;
	size_t size;
	struct arrival *arrivals;
	size_t count;
};

/** Reads each ready socket once, while there is room; those without come again at the next wake-up. */
static size_t fill(struct socket_set *set)
{
	struct streams *s = (struct streams *)set;
	struct epoll_event ready[READY_AT_ONCE];
	size_t at = 0, used = 0;
	int n = epoll_wait(set->epoll, ready, s->count < READY_AT_ONCE ? s->count : READY_AT_ONCE, 0);
	for (int i = 0; i < n && s->size - at >= CHUNK; i++) {
		ssize_t length = recv(ready_fd(ready[i]), s->bytes + at, CHUNK, MSG_DONTWAIT);
		if (length < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		s->arrivals[used++] = (struct arrival){ .tag = ready_tag(ready[i]), .length = length < 0 ? -errno : length, .start = at };
		at += length > 0 ? length : 0;
	}
	return used;
}

/* streamsOpen(bytes, arrivals, onBatch): a handle, or -errno. The buffers stay referenced. */
napi_value streams_open(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	struct bytes bytes = bytes_arg(&c, 0), arrivals = bytes_arg(&c, 1);
	if (c.argc < 3 || bytes.len < CHUNK || arrivals.len < sizeof(struct arrival))
		fail_call(&c, "expected two buffers and a callback");
	if (c.failed)
		return NULL;
	struct streams *s = calloc(1, sizeof(*s));
	if (!s)
		return number(env, -ENOMEM);
	*s = (struct streams){ .set = { .env = env, .fill = fill }, .bytes = bytes.data, .size = bytes.len,
			       .arrivals = arrivals.data, .count = arrivals.len / sizeof(struct arrival) };
	for (int i = 0; i < 2; i++)
		socket_set_keep(&s->set, i, c.argv[i]);
	return socket_set_open(&s->set, "Streams", c.argv[2]);
}

/* streamsSend(fd, bytes, start, end): how many bytes the socket took at once, or -errno */
napi_value streams_send(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	int fd = int_arg(&c, 0);
	struct bytes bytes = bytes_arg(&c, 1);
	int64_t start = int_arg(&c, 2), end = int_arg(&c, 3);
	if (!c.failed && (start < 0 || end < start || (size_t)end > bytes.len))
		fail_call(&c, "not a part of the buffer");
	return c.failed ? NULL : result(env, send(fd, (char *)bytes.data + start, end - start, MSG_DONTWAIT | MSG_NOSIGNAL));
}
