/* Loading a BPF object with libbpf: one call from file to file descriptors. */
#define _GNU_SOURCE
#include "napi.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOG_SIZE = 8 << 20, LOG_TAIL = 16 << 10 };

/** Where libbpf's warnings of this thread go: its text names the map or program at fault, and never reaches stderr. */
struct sink {
	char text[4096];
	size_t used;
};
static __thread struct sink *sink;

static int on_print(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level != LIBBPF_WARN || !sink || sink->used >= sizeof(sink->text))
		return 0;
	int n = vsnprintf(sink->text + sink->used, sizeof(sink->text) - sink->used, format, args);
	if (n > 0)
		sink->used += n;
	return 0;
}

static napi_value failure(napi_env env, int error, const struct sink *messages, const char *log)
{
	napi_value out;
	size_t len = log ? strlen(log) : 0;
	napi_create_object(env, &out);
	set(env, out, "errno", number(env, error));
	set(env, out, "message", text(env, messages->text));
	set(env, out, "log", text(env, len > LOG_TAIL ? log + len - LOG_TAIL : log));
	return out;
}

/** `options[group][name]`, or NULL when either is missing. */
static napi_value lookup(napi_env env, napi_value options, const char *group, const char *name)
{
	napi_value inner, value;
	napi_valuetype type;
	bool there = false;
	if (napi_get_named_property(env, options, group, &inner) != napi_ok)
		return NULL;
	if (napi_typeof(env, inner, &type) != napi_ok || type != napi_object)
		return NULL;
	if (napi_has_named_property(env, inner, name, &there) != napi_ok || !there)
		return NULL;
	return napi_get_named_property(env, inner, name, &value) == napi_ok ? value : NULL;
}

static bool has(napi_env env, napi_value options, const char *group)
{
	napi_value inner;
	napi_valuetype type;
	return napi_get_named_property(env, options, group, &inner) == napi_ok && napi_typeof(env, inner, &type) == napi_ok && type == napi_object;
}

/** Applies config (initial bytes), reuse (descriptors) and maxEntries to one map. */
static int prepare_map(napi_env env, napi_value options, struct bpf_map *map, bool pinning)
{
	const char *name = bpf_map__name(map);
	napi_value value;
	int error = pinning ? 0 : bpf_map__set_pin_path(map, NULL);
	if (!error && (value = lookup(env, options, "config", name))) {
		struct bytes initial;
		if (napi_get_buffer_info(env, value, &initial.data, &initial.len) != napi_ok)
			return -EINVAL;
		error = bpf_map__set_initial_value(map, initial.data, initial.len);
	}
	if (!error && (value = lookup(env, options, "maxEntries", name))) {
		uint32_t entries = 0;
		napi_get_value_uint32(env, value, &entries);
		error = bpf_map__set_max_entries(map, entries);
	}
	if (!error && (value = lookup(env, options, "reuse", name))) {
		int32_t fd = -1;
		napi_get_value_int32(env, value, &fd);
		error = bpf_map__reuse_fd(map, fd);
	}
	return error;
}

static int prepare(napi_env env, napi_value options, struct bpf_object *object, struct sink *messages, bool pinning)
{
	struct bpf_program *program;
	struct bpf_map *map;
	bool some = has(env, options, "only");
	bpf_object__for_each_program(program, object)
		if (some && !lookup(env, options, "only", bpf_program__name(program)))
			bpf_program__set_autoload(program, false);
	bpf_object__for_each_map(map, object) {
		int error = prepare_map(env, options, map, pinning);
		if (error) {
			messages->used = snprintf(messages->text, sizeof(messages->text), "map '%s': cannot be prepared\n", bpf_map__name(map));
			return error;
		}
	}
	return 0;
}

/** The caller's own descriptors: libbpf closes its copies with the object. */
static napi_value descriptors(napi_env env, struct bpf_object *object)
{
	napi_value out, programs, maps;
	struct bpf_program *program;
	struct bpf_map *map;
	napi_create_object(env, &out);
	napi_create_object(env, &programs);
	napi_create_object(env, &maps);
	bpf_object__for_each_program(program, object)
		if (bpf_program__fd(program) >= 0)
			set(env, programs, bpf_program__name(program), number(env, fcntl(bpf_program__fd(program), F_DUPFD_CLOEXEC, 3)));
	bpf_object__for_each_map(map, object)
		if (bpf_map__fd(map) >= 0)
			set(env, maps, bpf_map__name(map), number(env, fcntl(bpf_map__fd(map), F_DUPFD_CLOEXEC, 3)));
	set(env, out, "errno", number(env, 0));
	set(env, out, "programs", programs);
	set(env, out, "maps", maps);
	return out;
}

/* objectLoad(path, { config, reuse, maxEntries, only }, pinRoot): programs and maps in the kernel */
napi_value object_load(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	char path[PATH_MAX], pin_root[PATH_MAX];
	struct sink messages = { 0 };
	string_arg(&c, 0, path, sizeof(path));
	string_arg(&c, 2, pin_root, sizeof(pin_root));
	if (c.argc < 2)
		fail_call(&c, "expected options");
	if (c.failed)
		return NULL;
	char *log = malloc(LOG_SIZE);
	if (!log)
		return failure(env, ENOMEM, &messages, "");
	log[0] = 0;

	LIBBPF_OPTS(bpf_object_open_opts, open_options,
		    .kernel_log_buf = log, .kernel_log_size = LOG_SIZE,
		    .pin_root_path = pin_root[0] ? pin_root : NULL);
	sink = &messages;
	libbpf_set_print(on_print);
	struct bpf_object *object = bpf_object__open_file(path, &open_options);
	int error = object ? 0 : -errno;
	if (!error)
		error = prepare(env, c.argv[1], object, &messages, pin_root[0] != 0);
	if (!error)
		error = bpf_object__load(object);
	sink = NULL;

	napi_value out = error ? failure(env, -error, &messages, log) : descriptors(env, object);
	bpf_object__close(object);
	free(log);
	return out;
}
