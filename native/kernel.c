/* The addon: system calls that Node does not offer. Results are numbers, failures are -errno; see kernel.d.ts. */
#define _GNU_SOURCE
#include "napi.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/** Writes the addresses of the buffers in arguments (offset, buffer), (offset, buffer), … from `first` on into `block`. */
static void place_pointers(struct call *c, size_t first, struct bytes block)
{
	for (size_t i = first; i + 1 < c->argc && !c->failed; i += 2) {
		int64_t offset = int_arg(c, i);
		struct bytes target = bytes_arg(c, i + 1);
		uint64_t address = (uintptr_t)target.data;
		if (offset < 0 || (uint64_t)offset + sizeof(address) > block.len)
			fail_call(c, "pointer outside of the block");
		if (!c->failed)
			memcpy((char *)block.data + offset, &address, sizeof(address));
	}
}

/* bpf(command, attr, ...[offset, buffer]) */
static napi_value js_bpf(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	int command = int_arg(&c, 0);
	struct bytes attr = bytes_arg(&c, 1);
	place_pointers(&c, 2, attr);
	return c.failed ? NULL : result(env, syscall(SYS_bpf, command, attr.data, attr.len));
}

static napi_value js_setns(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	int fd = int_arg(&c, 0), type = int_arg(&c, 1);
	return c.failed ? NULL : result(env, setns(fd, type));
}

static napi_value js_unshare(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	int flags = int_arg(&c, 0);
	return c.failed ? NULL : result(env, unshare(flags));
}

/** A socket of another network namespace; the calling thread is back in its own before this returns, or the process ends. */
static int socket_in(int netns, int domain, int type, int protocol)
{
	int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (home < 0)
		return -1;
	int fd = setns(netns, CLONE_NEWNET);
	if (fd == 0) {
		fd = socket(domain, type, protocol);
		int error = errno;
		if (setns(home, CLONE_NEWNET) < 0)
			napi_fatal_error("socketInNetns", NAPI_AUTO_LENGTH, "cannot return to the own network namespace", NAPI_AUTO_LENGTH);
		errno = error;
	}
	int error = errno;
	close(home);
	errno = error;
	return fd;
}

/* socket(domain, type, protocol, netns?) */
static napi_value js_socket(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	int domain = int_arg(&c, 0), type = int_arg(&c, 1) | SOCK_CLOEXEC, protocol = int_arg(&c, 2);
	int netns = is_absent(&c, 3) ? -1 : (int)int_arg(&c, 3);
	if (c.failed)
		return NULL;
	return result(env, netns < 0 ? socket(domain, type, protocol) : socket_in(netns, domain, type, protocol));
}

static napi_value js_bind(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	int fd = int_arg(&c, 0);
	struct bytes address = bytes_arg(&c, 1);
	return c.failed ? NULL : result(env, bind(fd, address.data, address.len));
}

static napi_value js_connect(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	int fd = int_arg(&c, 0);
	struct bytes address = bytes_arg(&c, 1);
	return c.failed ? NULL : result(env, connect(fd, address.data, address.len));
}

static napi_value js_listen(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	int fd = int_arg(&c, 0), backlog = int_arg(&c, 1);
	return c.failed ? NULL : result(env, listen(fd, backlog));
}

static napi_value js_setsockopt(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	int fd = int_arg(&c, 0), level = int_arg(&c, 1), option = int_arg(&c, 2);
	struct bytes value = bytes_arg(&c, 3);
	return c.failed ? NULL : result(env, setsockopt(fd, level, option, value.data, value.len));
}

/* getsockopt(fd, level, option, into): bytes written */
static napi_value js_getsockopt(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	int fd = int_arg(&c, 0), level = int_arg(&c, 1), option = int_arg(&c, 2);
	struct bytes into = bytes_arg(&c, 3);
	socklen_t len = into.len;
	if (c.failed)
		return NULL;
	int status = getsockopt(fd, level, option, into.data, &len);
	return result(env, status < 0 ? status : (int64_t)len);
}

static napi_value js_send(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	int fd = int_arg(&c, 0);
	struct bytes data = bytes_arg(&c, 1);
	int flags = int_arg(&c, 2);
	return c.failed ? NULL : result(env, send(fd, data.data, data.len, flags));
}

static napi_value js_recv(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	int fd = int_arg(&c, 0);
	struct bytes into = bytes_arg(&c, 1);
	int flags = int_arg(&c, 2);
	return c.failed ? NULL : result(env, recv(fd, into.data, into.len, flags));
}

enum { MAX_RIGHTS = 192 };

/** A message with room for descriptors beside its data. */
struct rights {
	struct iovec data;
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(MAX_RIGHTS * sizeof(int))];
};

static struct msghdr rights_message(struct rights *r, struct bytes data)
{
	memset(r, 0, sizeof(*r));
	r->data = (struct iovec){ data.data, data.len };
	return (struct msghdr){ .msg_iov = &r->data, .msg_iovlen = 1, .msg_control = r->control, .msg_controllen = sizeof(r->control) };
}

/* sendDescriptors(fd, data, descriptors) */
static napi_value js_send_descriptors(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	int fd = int_arg(&c, 0);
	struct bytes data = bytes_arg(&c, 1), fds = bytes_arg(&c, 2);
	struct rights r;
	struct msghdr message = rights_message(&r, data);
	if (!c.failed && (fds.len == 0 || fds.len > MAX_RIGHTS * sizeof(int) || fds.len % sizeof(int) != 0))
		fail_call(&c, "1 to 192 descriptors are needed");
	if (c.failed)
		return NULL;
	message.msg_controllen = CMSG_SPACE(fds.len);
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	*header = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(fds.len) };
	memcpy(CMSG_DATA(header), fds.data, fds.len);
	return result(env, sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT));
}

/* receiveDescriptors(fd, data, descriptors): bytes of data; unused places of descriptors are -1 */
static napi_value js_receive_descriptors(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	int fd = int_arg(&c, 0);
	struct bytes data = bytes_arg(&c, 1), fds = bytes_arg(&c, 2);
	struct rights r;
	struct msghdr message = rights_message(&r, data);
	if (!c.failed && fds.len != MAX_RIGHTS * sizeof(int))
		fail_call(&c, "room for 192 descriptors is needed");
	if (c.failed)
		return NULL;
	memset(fds.data, 0xff, fds.len);
	ssize_t status = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	struct cmsghdr *header = status > 0 ? CMSG_FIRSTHDR(&message) : NULL;
	if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS)
		memcpy(fds.data, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
	return result(env, status);
}

static napi_value js_close(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	int fd = int_arg(&c, 0);
	return c.failed ? NULL : result(env, close(fd));
}

/* mount(source, target, type, flags, data) */
static napi_value js_mount(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	char source[PATH_MAX], target[PATH_MAX], type[64], data[1024];
	string_arg(&c, 0, source, sizeof(source));
	string_arg(&c, 1, target, sizeof(target));
	string_arg(&c, 2, type, sizeof(type));
	unsigned long flags = int_arg(&c, 3);
	string_arg(&c, 4, data, sizeof(data));
	return c.failed ? NULL : result(env, mount(source, target, type, flags, data));
}

static napi_value js_umount(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	char target[PATH_MAX];
	string_arg(&c, 0, target, sizeof(target));
	int flags = int_arg(&c, 1);
	return c.failed ? NULL : result(env, umount2(target, flags));
}

/* pipe(into): two descriptors, for reading and for writing */
static napi_value js_pipe(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	struct bytes into = bytes_arg(&c, 0);
	if (!c.failed && into.len != 2 * sizeof(int))
		fail_call(&c, "room for two descriptors is needed");
	return c.failed ? NULL : result(env, pipe2(into.data, O_CLOEXEC));
}

/* flock(fd, operation) */
static napi_value js_flock(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	int fd = int_arg(&c, 0), operation = int_arg(&c, 1);
	return c.failed ? NULL : result(env, flock(fd, operation));
}

/* clockGettime(clock): nanoseconds as a bigint */
static napi_value js_clock_gettime(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	int clock = int_arg(&c, 0);
	struct timespec now;
	napi_value out = NULL;
	if (c.failed)
		return NULL;
	if (clock_gettime(clock, &now) < 0)
		return result(env, -1);
	napi_create_bigint_uint64(env, (uint64_t)now.tv_sec * 1000000000u + now.tv_nsec, &out);
	return out;
}

static const struct {
	const char *name;
	napi_callback function;
} functions[] = {
	{ "bpf", js_bpf },
	{ "objectLoad", object_load },
	{ "ringOpen", ring_open }, { "ringClose", ring_close },
	{ "socketSetAdd", socket_set_add }, { "socketSetRemove", socket_set_remove }, { "socketSetHold", socket_set_hold }, { "socketSetClose", socket_set_close },
	{ "datagramsOpen", datagrams_open }, { "udpSendAs", udp_send_as }, { "shareBySource", share_by_source },
	{ "streamsOpen", streams_open }, { "streamsSend", streams_send },
	{ "setns", js_setns }, { "unshare", js_unshare },
	{ "mount", js_mount }, { "umount", js_umount },
	{ "socket", js_socket }, { "bind", js_bind }, { "connect", js_connect }, { "listen", js_listen },
	{ "setsockopt", js_setsockopt }, { "getsockopt", js_getsockopt },
	{ "send", js_send }, { "sendLater", send_later }, { "recv", js_recv },
	{ "sendDescriptors", js_send_descriptors }, { "receiveDescriptors", js_receive_descriptors }, { "close", js_close },
	{ "pipe", js_pipe }, { "flock", js_flock }, { "clockGettime", js_clock_gettime },
};

NAPI_MODULE_INIT()
{
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		napi_value function;
		if (napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].function, NULL, &function) != napi_ok)
			return NULL;
		set(env, exports, functions[i].name, function);
	}
	return exports;
}
