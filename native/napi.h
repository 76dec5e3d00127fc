/* Argument reading and result building for the addon: every function here leaves a pending JavaScript exception on bad input. */
#pragma once

#define NAPI_VERSION 9
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAX_ARGS = 12 };

/** One call from JavaScript. `failed` is set once an argument was of the wrong kind; the function then returns NULL. */
struct call {
	napi_env env;
	size_t argc;
	napi_value argv[MAX_ARGS];
	bool failed;
};

struct bytes {
	void *data;
	size_t len;
};

struct call read_call(napi_env env, napi_callback_info info);
void fail_call(struct call *c, const char *message);
bool is_absent(struct call *c, size_t index);

int64_t int_arg(struct call *c, size_t index);
struct bytes bytes_arg(struct call *c, size_t index);
/** A string cut at `size`; an absent one is empty. */
void string_arg(struct call *c, size_t index, char *into, size_t size);

napi_value number(napi_env env, int64_t value);
napi_value text(napi_env env, const char *value);
/** The value of a system call: its result, or `-errno`. */
napi_value result(napi_env env, int64_t value);
void set(napi_env env, napi_value object, const char *key, napi_value value);

napi_value object_load(napi_env env, napi_callback_info info);
napi_value ring_open(napi_env env, napi_callback_info info);
napi_value ring_close(napi_env env, napi_callback_info info);
napi_value send_later(napi_env env, napi_callback_info info);
napi_value datagrams_open(napi_env env, napi_callback_info info);
napi_value socket_set_add(napi_env env, napi_callback_info info);
napi_value socket_set_remove(napi_env env, napi_callback_info info);
napi_value socket_set_hold(napi_env env, napi_callback_info info);
napi_value socket_set_close(napi_env env, napi_callback_info info);
napi_value streams_open(napi_env env, napi_callback_info info);
napi_value streams_send(napi_env env, napi_callback_info info);
napi_value udp_send_as(napi_env env, napi_callback_info info);
napi_value share_by_source(napi_env env, napi_callback_info info);
