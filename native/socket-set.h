/* Sockets in an epoll set of our own that the event loop watches as one: what is ready at one wake-up goes to JavaScript in one call. */
#pragma once

#include "napi.h"

#include <sys/epoll.h>
#include <uv.h>

/** The first member of every kind of set. */
struct socket_set {
	uv_poll_t poll;
	napi_env env;
	napi_ref on_batch;
	/** What `fill` writes to: kept from being collected. */
	napi_ref buffers[2];
	napi_async_context context;
	napi_async_cleanup_hook_handle cleanup;
	/** Called when sockets are ready; returns how many results lie in the buffers, and JavaScript is told. */
	size_t (*fill)(struct socket_set *set);
	int epoll;
	bool closing, closed, forgotten;
};

/** Begins to watch, and gives the handle for JavaScript; `-errno`, with `set` freed, when it cannot. */
napi_value socket_set_open(struct socket_set *set, const char *name, napi_value on_batch);
/** Keeps one of the two buffers from being collected while the set is open. */
void socket_set_keep(struct socket_set *set, int index, napi_value buffer);

/** `epoll_event.data.u64` of a socket: its descriptor above, what it was added with below. */
static inline int ready_fd(struct epoll_event ready)
{
	return ready.data.u64 >> 32;
}

static inline uint32_t ready_tag(struct epoll_event ready)
{
	return ready.data.u64;
}
