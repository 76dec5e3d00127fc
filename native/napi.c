#include "napi.h"

#include <errno.h>

struct call read_call(napi_env env, napi_callback_info info)
{
	struct call c = { .env = env, .argc = MAX_ARGS };
	if (napi_get_cb_info(env, info, &c.argc, c.argv, NULL, NULL) != napi_ok)
		fail_call(&c, "cannot read the arguments");
	if (c.argc > MAX_ARGS)
		fail_call(&c, "too many arguments");
	return c;
}

void fail_call(struct call *c, const char *message)
{
	if (!c->failed)
		napi_throw_type_error(c->env, NULL, message);
	c->failed = true;
}

bool is_absent(struct call *c, size_t index)
{
	napi_valuetype type = napi_undefined;
	if (index < c->argc)
		napi_typeof(c->env, c->argv[index], &type);
	return type == napi_undefined || type == napi_null;
}

int64_t int_arg(struct call *c, size_t index)
{
	int64_t value = 0;
	if (index >= c->argc || napi_get_value_int64(c->env, c->argv[index], &value) != napi_ok)
		fail_call(c, "expected a number");
	return value;
}

struct bytes bytes_arg(struct call *c, size_t index)
{
	struct bytes b = { 0 };
	if (is_absent(c, index))
		return b;
	if (napi_get_buffer_info(c->env, c->argv[index], &b.data, &b.len) != napi_ok)
		fail_call(c, "expected a Buffer");
	return b;
}

void string_arg(struct call *c, size_t index, char *into, size_t size)
{
	size_t len;
	into[0] = 0;
	if (is_absent(c, index))
		return;
	if (napi_get_value_string_utf8(c->env, c->argv[index], into, size, &len) != napi_ok)
		fail_call(c, "expected a string");
}

napi_value number(napi_env env, int64_t value)
{
	napi_value out = NULL;
	napi_create_int64(env, value, &out);
	return out;
}

napi_value text(napi_env env, const char *value)
{
	napi_value out = NULL;
	napi_create_string_utf8(env, value ? value : "", NAPI_AUTO_LENGTH, &out);
	return out;
}

napi_value result(napi_env env, int64_t value)
{
	return number(env, value < 0 ? -errno : value);
}

void set(napi_env env, napi_value object, const char *key, napi_value value)
{
	napi_set_named_property(env, object, key, value);
}
