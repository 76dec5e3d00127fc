/*
 * Reading a BPF ring buffer from the event loop. The ring's memory is mapped as the kernel documents it: one page with the consumer's position
 * (ours to write), then the producer's page and the data twice in a row, so that a run of records never wraps.
 * All records ready at one wake-up are copied at once, headers included, and handed to JavaScript as one Buffer.
 */
#define _GNU_SOURCE
#include "napi.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <uv.h>

enum {
	BATCH_BYTES = 256 << 10,
	HEADER_BYTES = 8,
};
#define BUSY_BIT (1u << 31)
#define DISCARD_BIT (1u << 30)

struct ring {
	uv_poll_t poll;
	napi_env env;
	napi_ref on_batch;
	napi_async_context context;
	napi_async_cleanup_hook_handle cleanup;
	int fd;
	size_t page, size;
	unsigned long *consumer;
	unsigned long *producer;
	char *data;
	bool closing, closed, forgotten;
};

static void unmap(struct ring *ring)
{
	if (ring->consumer)
		munmap(ring->consumer, ring->page);
	if (ring->producer)
		munmap(ring->producer, ring->page + 2 * ring->size);
	if (ring->fd >= 0)
		close(ring->fd);
}

static int map(struct ring *ring, int fd, size_t size)
{
	ring->page = sysconf(_SC_PAGESIZE);
	ring->size = size;
	ring->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (ring->fd < 0)
		return -errno;
	void *consumer = mmap(NULL, ring->page, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
	if (consumer == MAP_FAILED)
		return -errno;
	ring->consumer = consumer;
	void *producer = mmap(NULL, ring->page + 2 * size, PROT_READ, MAP_SHARED, ring->fd, ring->page);
	if (producer == MAP_FAILED)
		return -errno;
	ring->producer = producer;
	ring->data = (char *)producer + ring->page;
	return 0;
}

/** How many bytes of finished records follow `from`, at most about BATCH_BYTES. */
static size_t ready_bytes(const struct ring *ring, unsigned long from)
{
	unsigned long end = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE), at = from;
	while (at < end && at - from < BATCH_BYTES) {
		uint32_t *header = (uint32_t *)(ring->data + (at & (ring->size - 1)));
		uint32_t len = __atomic_load_n(header, __ATOMIC_ACQUIRE);
		if (len & BUSY_BIT)
			break;
		at += HEADER_BYTES + (((len & ~DISCARD_BIT) + 7) & ~7ul);
	}
	return at - from;
}

static void deliver(struct ring *ring, napi_value batch)
{
	napi_value receiver, callback, error;
	napi_get_global(ring->env, &receiver);
	napi_get_reference_value(ring->env, ring->on_batch, &callback);
	if (napi_make_callback(ring->env, ring->context, receiver, callback, 1, &batch, NULL) == napi_pending_exception &&
	    napi_get_and_clear_last_exception(ring->env, &error) == napi_ok)
		napi_fatal_exception(ring->env, error);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct ring *ring = poll->data;
	napi_handle_scope scope;
	napi_value batch;
	(void)events;
	if (status < 0 || ring->closing)
		return;
	unsigned long from = *ring->consumer;
	size_t len = ready_bytes(ring, from);
	if (!len || napi_open_handle_scope(ring->env, &scope) != napi_ok)
		return;
	if (napi_create_buffer_copy(ring->env, len, ring->data + (from & (ring->size - 1)), NULL, &batch) == napi_ok) {
		__atomic_store_n(ring->consumer, from + len, __ATOMIC_RELEASE);
		deliver(ring, batch);
	}
	napi_close_handle_scope(ring->env, scope);
}

static void on_closed(uv_handle_t *handle)
{
	struct ring *ring = handle->data;
	unmap(ring);
	ring->closed = true;
	if (ring->cleanup)
		napi_remove_async_cleanup_hook(ring->cleanup);
	if (ring->forgotten)
		free(ring);
}

static void begin_close(struct ring *ring)
{
	if (ring->closing)
		return;
	ring->closing = true;
	uv_poll_stop(&ring->poll);
	uv_close((uv_handle_t *)&ring->poll, on_closed);
}

/** The environment (a worker thread, the process) ends while the ring is open. */
static void on_env_end(napi_async_cleanup_hook_handle handle, void *data)
{
	(void)handle;
	begin_close(data);
}

static void on_collected(napi_env env, void *data, void *hint)
{
	struct ring *ring = data;
	(void)env;
	(void)hint;
	ring->forgotten = true;
	if (ring->closed)
		free(ring);
}

static int start(struct ring *ring, napi_value on_batch)
{
	uv_loop_t *loop;
	napi_value name = text(ring->env, "RingBuffer");
	if (napi_get_uv_event_loop(ring->env, &loop) != napi_ok || napi_create_reference(ring->env, on_batch, 1, &ring->on_batch) != napi_ok ||
	    napi_async_init(ring->env, NULL, name, &ring->context) != napi_ok)
		return -EINVAL;
	ring->poll.data = ring;
	int error = uv_poll_init(loop, &ring->poll, ring->fd);
	if (error)
		return error;
	napi_add_async_cleanup_hook(ring->env, on_env_end, ring, &ring->cleanup);
	uv_poll_start(&ring->poll, UV_READABLE, on_readable); /* fails for a closing handle only */
	return 0;
}

/* ringOpen(fd, size, onBatch): a handle, or -errno */
napi_value ring_open(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	int fd = int_arg(&c, 0);
	int64_t size = int_arg(&c, 1);
	if (c.argc < 3)
		fail_call(&c, "expected a callback");
	if (c.failed)
		return NULL;
	struct ring *ring = calloc(1, sizeof(*ring));
	if (!ring)
		return number(env, -ENOMEM);
	ring->env = env;
	int error = map(ring, fd, size);
	if (!error)
		error = start(ring, c.argv[2]);
	if (error) {
		unmap(ring);
		free(ring);
		return number(env, error);
	}
	napi_value out = NULL;
	napi_create_external(env, ring, on_collected, NULL, &out);
	return out;
}

/* ringClose(handle): no callback runs after it; closing twice is nothing */
napi_value ring_close(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	struct ring *ring = NULL;
	if (c.argc < 1 || napi_get_value_external(env, c.argv[0], (void **)&ring) != napi_ok)
		fail_call(&c, "expected a ring");
	if (c.failed)
		return NULL;
	if (!ring->closing) {
		napi_delete_reference(env, ring->on_batch);
		napi_async_destroy(env, ring->context);
		begin_close(ring);
	}
	return NULL;
}
