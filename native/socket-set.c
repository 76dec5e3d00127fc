#define _GNU_SOURCE
#include "socket-set.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static void deliver(struct socket_set *set, size_t count)
{
	napi_value receiver, callback, error, argument = number(set->env, count);
	napi_get_global(set->env, &receiver);
	napi_get_reference_value(set->env, set->on_batch, &callback);
	if (napi_make_callback(set->env, set->context, receiver, callback, 1, &argument, NULL) == napi_pending_exception &&
	    napi_get_and_clear_last_exception(set->env, &error) == napi_ok)
		napi_fatal_exception(set->env, error);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct socket_set *set = poll->data;
	napi_handle_scope scope;
	(void)events;
	if (status < 0 || set->closing || napi_open_handle_scope(set->env, &scope) != napi_ok)
		return;
	size_t count = set->fill(set);
	if (count)
		deliver(set, count);
	napi_close_handle_scope(set->env, scope);
}

static void on_closed(uv_handle_t *handle)
{
	struct socket_set *set = handle->data;
	close(set->epoll);
	set->closed = true;
	if (set->cleanup)
		napi_remove_async_cleanup_hook(set->cleanup);
	if (set->forgotten)
		free(set);
}

static void begin_close(struct socket_set *set)
{
	if (set->closing)
		return;
	set->closing = true;
	uv_poll_stop(&set->poll);
	uv_close((uv_handle_t *)&set->poll, on_closed);
}

static void on_env_end(napi_async_cleanup_hook_handle handle, void *data)
{
	(void)handle;
	begin_close(data);
}

static void on_collected(napi_env env, void *data, void *hint)
{
	struct socket_set *set = data;
	(void)env;
	(void)hint;
	set->forgotten = true;
	if (set->closed)
		free(set);
}

static int start(struct socket_set *set, const char *name, napi_value on_batch)
{
	uv_loop_t *loop;
	if (napi_get_uv_event_loop(set->env, &loop) != napi_ok || napi_create_reference(set->env, on_batch, 1, &set->on_batch) != napi_ok ||
	    napi_async_init(set->env, NULL, text(set->env, name), &set->context) != napi_ok)
		return -EINVAL;
	set->poll.data = set;
	int error = uv_poll_init(loop, &set->poll, set->epoll);
	if (error)
		return error;
	napi_add_async_cleanup_hook(set->env, on_env_end, set, &set->cleanup);
	uv_poll_start(&set->poll, UV_READABLE, on_readable); /* fails for a closing handle only */
	return 0;
}

napi_value socket_set_open(struct socket_set *set, const char *name, napi_value on_batch)
{
	napi_env env = set->env;
	set->epoll = epoll_create1(EPOLL_CLOEXEC);
	int error = set->epoll < 0 ? -errno : start(set, name, on_batch);
	if (error) {
		if (set->epoll >= 0)
			close(set->epoll);
		free(set);
		return number(env, error);
	}
	napi_value out = NULL;
	napi_create_external(env, set, on_collected, NULL, &out);
	return out;
}

void socket_set_keep(struct socket_set *set, int index, napi_value buffer)
{
	napi_create_reference(set->env, buffer, 1, &set->buffers[index]);
}

static struct socket_set *set_arg(struct call *c)
{
	struct socket_set *set = NULL;
	if (c->argc < 1 || napi_get_value_external(c->env, c->argv[0], (void **)&set) != napi_ok)
		fail_call(c, "expected an open set of sockets");
	return set;
}

/* socketSetAdd(set, fd, tag): closing the descriptor takes it out again */
napi_value socket_set_add(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	struct socket_set *set = set_arg(&c);
	uint64_t fd = int_arg(&c, 1), tag = (uint32_t)int_arg(&c, 2);
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = fd << 32 | tag };
	return c.failed ? NULL : result(env, epoll_ctl(set->epoll, EPOLL_CTL_ADD, fd, &event));
}

/* socketSetRemove(set, fd) */
napi_value socket_set_remove(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	struct socket_set *set = set_arg(&c);
	int fd = int_arg(&c, 1);
	return c.failed ? NULL : result(env, epoll_ctl(set->epoll, EPOLL_CTL_DEL, fd, NULL));
}

/* socketSetHold(set, hold): whether it keeps the event loop alive; it does at first */
napi_value socket_set_hold(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	struct socket_set *set = set_arg(&c);
	bool hold = int_arg(&c, 1) != 0;
	if (c.failed || set->closing)
		return NULL;
	if (hold)
		uv_ref((uv_handle_t *)&set->poll);
	else
		uv_unref((uv_handle_t *)&set->poll);
	return NULL;
}

/* socketSetClose(set): no callback runs after it; closing twice is nothing. The sockets stay the caller's. */
napi_value socket_set_close(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	struct socket_set *set = set_arg(&c);
	if (c.failed)
		return NULL;
	if (!set->closing) {
		napi_delete_reference(env, set->on_batch);
		for (int i = 0; i < 2; i++)
			if (set->buffers[i])
				napi_delete_reference(env, set->buffers[i]);
		napi_async_destroy(env, set->context);
		begin_close(set);
	}
	return NULL;
}
