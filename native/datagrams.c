/*
 * Many UDP sockets read from the event loop, which Node's own cannot do for DNS: it hides where a redirected datagram was meant to go, and a
 * socket of its costs more than the datagram. An epoll set of our own holds the sockets, the loop watches the set; what is ready at one
 * wake-up is copied into the slots of one buffer and handed to JavaScript with one call.
 * Layout of a slot and of an address: src/sys/datagrams.ts.
 */
#define _GNU_SOURCE
#include "napi.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

/** Ends of a datagram in 18 bytes: 16 of address, IPv4 as ::ffff:a.b.c.d, and the port in network order. */
struct end {
	uint8_t address[16];
	uint16_t port;
};

struct slot {
	uint32_t tag;   /* what the socket was added with */
	int32_t length; /* or -errno: the socket has that error */
	struct end source;
	struct end destination; /* where it was meant to go; zero when the socket does not tell */
	uint8_t pad[20];
	uint8_t data[];
};
_Static_assert(sizeof(struct slot) == 64, "the layout is known to JavaScript");

enum { READY_AT_ONCE = 64, CONTROL_BYTES = 128 };

struct datagrams {
	uv_poll_t poll;
	napi_env env;
	napi_ref on_batch, buffer;
	napi_async_context context;
	napi_async_cleanup_hook_handle cleanup;
	int epoll;
	char *slots;
	size_t count, size;
	bool closing, closed, forgotten;
};

static void end_of(const struct sockaddr_storage *from, struct end *to)
{
	memset(to, 0, sizeof(*to));
	if (from->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;
		memcpy(to->address, &in6->sin6_addr, 16);
		to->port = in6->sin6_port;
	} else if (from->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)from;
		memset(to->address + 10, 0xff, 2);
		memcpy(to->address + 12, &in->sin_addr, 4);
		to->port = in->sin_port;
	}
}

/** Where a redirected datagram was meant to go: IP_ORIGDSTADDR, IPV6_ORIGDSTADDR. */
static void original_destination(struct msghdr *message, struct end *to)
{
	memset(to, 0, sizeof(*to));
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		struct sockaddr_storage address = { 0 };
		size_t len = c->cmsg_len - CMSG_LEN(0);
		bool wanted = (c->cmsg_level == SOL_IP && c->cmsg_type == IP_ORIGDSTADDR) ||
			      (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_ORIGDSTADDR);
		if (!wanted || len > sizeof(address))
			continue;
		memcpy(&address, CMSG_DATA(c), len);
		end_of(&address, to);
	}
}

/** One datagram, or the error that the socket has, into a slot. False when there is none. */
static bool receive(int fd, uint32_t tag, struct slot *slot, size_t room)
{
	struct sockaddr_storage from = { 0 };
	char control[CONTROL_BYTES];
	struct iovec data = { .iov_base = slot->data, .iov_len = room };
	struct msghdr message = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &data, .msg_iovlen = 1,
				  .msg_control = control, .msg_controllen = sizeof(control) };
	ssize_t len = recvmsg(fd, &message, MSG_DONTWAIT);
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	memset(slot, 0, sizeof(*slot));
	slot->tag = tag;
	slot->length = len < 0 ? -errno : message.msg_flags & MSG_TRUNC ? -EMSGSIZE : len;
	if (len < 0)
		return true;
	end_of(&from, &slot->source);
	original_destination(&message, &slot->destination);
	return true;
}

static void deliver(struct datagrams *d, size_t count)
{
	napi_value receiver, callback, error, argument = number(d->env, count);
	napi_get_global(d->env, &receiver);
	napi_get_reference_value(d->env, d->on_batch, &callback);
	if (napi_make_callback(d->env, d->context, receiver, callback, 1, &argument, NULL) == napi_pending_exception &&
	    napi_get_and_clear_last_exception(d->env, &error) == napi_ok)
		napi_fatal_exception(d->env, error);
}

/** Takes one datagram of each ready socket in turn, until the slots are full or nothing is left. */
static size_t fill(struct datagrams *d)
{
	struct epoll_event ready[READY_AT_ONCE];
	int n = epoll_wait(d->epoll, ready, READY_AT_ONCE, 0);
	size_t used = 0;
	bool more = n > 0;
	while (more && used < d->count) {
		more = false;
		for (int i = 0; i < n && used < d->count; i++) {
			struct slot *slot = (struct slot *)(d->slots + used * d->size);
			int fd = ready[i].data.u64 >> 32;
			if (fd == 0)
				continue;
			if (receive(fd, (uint32_t)ready[i].data.u64, slot, d->size - sizeof(*slot))) {
				used++;
				more = true;
			} else {
				ready[i].data.u64 = 0;
			}
		}
	}
	return used;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct datagrams *d = poll->data;
	napi_handle_scope scope;
	(void)events;
	if (status < 0 || d->closing || napi_open_handle_scope(d->env, &scope) != napi_ok)
		return;
	size_t count = fill(d);
	if (count)
		deliver(d, count);
	napi_close_handle_scope(d->env, scope);
}

static void on_closed(uv_handle_t *handle)
{
	struct datagrams *d = handle->data;
	close(d->epoll);
	d->closed = true;
	if (d->cleanup)
		napi_remove_async_cleanup_hook(d->cleanup);
	if (d->forgotten)
		free(d);
}

static void begin_close(struct datagrams *d)
{
	if (d->closing)
		return;
	d->closing = true;
	uv_poll_stop(&d->poll);
	uv_close((uv_handle_t *)&d->poll, on_closed);
}

static void on_env_end(napi_async_cleanup_hook_handle handle, void *data)
{
	(void)handle;
	begin_close(data);
}

static void on_collected(napi_env env, void *data, void *hint)
{
	struct datagrams *d = data;
	(void)env;
	(void)hint;
	d->forgotten = true;
	if (d->closed)
		free(d);
}

static int start(struct datagrams *d, napi_value buffer, napi_value on_batch)
{
	uv_loop_t *loop;
	if (napi_get_uv_event_loop(d->env, &loop) != napi_ok || napi_create_reference(d->env, on_batch, 1, &d->on_batch) != napi_ok ||
	    napi_create_reference(d->env, buffer, 1, &d->buffer) != napi_ok ||
	    napi_async_init(d->env, NULL, text(d->env, "Datagrams"), &d->context) != napi_ok)
		return -EINVAL;
	d->poll.data = d;
	int error = uv_poll_init(loop, &d->poll, d->epoll);
	if (error)
		return error;
	napi_add_async_cleanup_hook(d->env, on_env_end, d, &d->cleanup);
	uv_poll_start(&d->poll, UV_READABLE, on_readable); /* fails for a closing handle only */
	return 0;
}

/* datagramsOpen(slots, slotSize, onBatch): a handle, or -errno */
napi_value datagrams_open(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	struct bytes slots = bytes_arg(&c, 0);
	int64_t size = int_arg(&c, 1);
	if (c.argc < 3 || size <= (int64_t)sizeof(struct slot) || slots.len < (size_t)size)
		fail_call(&c, "expected slots and a callback");
	if (c.failed)
		return NULL;
	struct datagrams *d = calloc(1, sizeof(*d));
	if (!d)
		return number(env, -ENOMEM);
	*d = (struct datagrams){ .env = env, .slots = slots.data, .size = size, .count = slots.len / size };
	d->epoll = epoll_create1(EPOLL_CLOEXEC);
	int error = d->epoll < 0 ? -errno : start(d, c.argv[0], c.argv[2]);
	if (error) {
		if (d->epoll >= 0)
			close(d->epoll);
		free(d);
		return number(env, error);
	}
	napi_value out = NULL;
	napi_create_external(env, d, on_collected, NULL, &out);
	return out;
}

static struct datagrams *handle_arg(struct call *c)
{
	struct datagrams *d = NULL;
	if (c->argc < 1 || napi_get_value_external(c->env, c->argv[0], (void **)&d) != napi_ok)
		fail_call(c, "expected an open set of sockets");
	return d;
}

/* datagramsAdd(handle, fd, tag): closing the descriptor takes it out again */
napi_value datagrams_add(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	struct datagrams *d = handle_arg(&c);
	uint64_t fd = int_arg(&c, 1), tag = (uint32_t)int_arg(&c, 2);
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = fd << 32 | tag };
	return c.failed ? NULL : result(env, epoll_ctl(d->epoll, EPOLL_CTL_ADD, fd, &event));
}

/* datagramsRemove(handle, fd) */
napi_value datagrams_remove(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	struct datagrams *d = handle_arg(&c);
	int fd = int_arg(&c, 1);
	return c.failed ? NULL : result(env, epoll_ctl(d->epoll, EPOLL_CTL_DEL, fd, NULL));
}

/* datagramsClose(handle): no callback runs after it; closing twice is nothing. The sockets stay the caller's. */
napi_value datagrams_close(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	struct datagrams *d = handle_arg(&c);
	if (c.failed)
		return NULL;
	if (!d->closing) {
		napi_delete_reference(env, d->on_batch);
		napi_delete_reference(env, d->buffer);
		napi_async_destroy(env, d->context);
		begin_close(d);
	}
	return NULL;
}

static uint32_t sum(uint32_t total, const void *data, size_t len)
{
	const uint8_t *bytes = data;
	for (; len > 1; bytes += 2, len -= 2)
		total += bytes[0] << 8 | bytes[1];
	return len ? total + (bytes[0] << 8) : total;
}

/** UDP's checksum over the pseudo header, the header and the data; never zero, which would mean none. */
static uint16_t checksum(const struct end *from, const struct end *to, const struct udphdr *header, struct bytes data, bool ipv4)
{
	size_t skip = ipv4 ? 12 : 0;
	uint32_t total = sum(IPPROTO_UDP + sizeof(*header) + data.len, from->address + skip, 16 - skip);
	total = sum(total, to->address + skip, 16 - skip);
	total = sum(total, header, sizeof(*header));
	total = sum(total, data.data, data.len);
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	uint16_t folded = ~total;
	return htons(folded ? folded : 0xffff);
}

static bool is_ipv4(const uint8_t *address)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	return !memcmp(address, mapped, sizeof(mapped));
}

/** Puts the source address of one message into its control data. */
static void set_source(struct msghdr *message, const struct end *from, bool ipv4)
{
	struct in_pktinfo in = { 0 };
	struct in6_pktinfo in6 = { 0 };
	size_t len = ipv4 ? sizeof(in) : sizeof(in6);
	struct cmsghdr *c = message->msg_control;
	memcpy(&in.ipi_spec_dst, from->address + 12, 4);
	memcpy(&in6.ipi6_addr, from->address, 16);
	c->cmsg_level = ipv4 ? SOL_IP : SOL_IPV6;
	c->cmsg_type = ipv4 ? IP_PKTINFO : IPV6_PKTINFO;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), ipv4 ? (void *)&in : (void *)&in6, len);
	message->msg_controllen = CMSG_SPACE(len);
}

/*
 * udpSendAs(fd, data, source, destination): a UDP datagram of any source through a raw socket of the family. A bound socket a source would
 * take what others send there.
 */
napi_value udp_send_as(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	int fd = int_arg(&c, 0);
	struct bytes data = bytes_arg(&c, 1), source = bytes_arg(&c, 2), destination = bytes_arg(&c, 3);
	if (source.len < sizeof(struct end) || destination.len < sizeof(struct end))
		fail_call(&c, "expected two ends");
	if (c.failed)
		return NULL;
	const struct end *from = source.data, *to = destination.data;
	bool ipv4 = is_ipv4(to->address);
	struct udphdr header = { .source = from->port, .dest = to->port, .len = htons(sizeof(header) + data.len) };
	header.check = checksum(from, to, &header, data, ipv4);
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };
	memcpy(&in.sin_addr, to->address + 12, 4);
	memcpy(&in6.sin6_addr, to->address, 16);
	char control[CMSG_SPACE(sizeof(struct in6_pktinfo))] = { 0 };
	struct iovec parts[] = { { &header, sizeof(header) }, { data.data, data.len } };
	struct msghdr message = { .msg_name = ipv4 ? (void *)&in : (void *)&in6, .msg_namelen = ipv4 ? sizeof(in) : sizeof(in6),
				  .msg_iov = parts, .msg_iovlen = 2, .msg_control = control };
	set_source(&message, from, ipv4);
	return result(env, sendmsg(fd, &message, MSG_DONTWAIT));
}
