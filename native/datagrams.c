/*
 * Many UDP sockets read from the event loop, which Node's own cannot do for DNS: it hides where a redirected datagram was meant to go, and a
 * socket of its costs more than the datagram. What is ready at one wake-up is copied into the slots of one buffer.
 * Layout of a slot and of an address: src/sys/datagrams.ts.
 */
#define _GNU_SOURCE
#include "socket-set.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

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
	struct socket_set set;
	char *slots;
	size_t count, size;
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

/** Takes one datagram of each ready socket in turn, until the slots are full or nothing is left. */
static size_t fill(struct socket_set *set)
{
	struct datagrams *d = (struct datagrams *)set;
	struct epoll_event ready[READY_AT_ONCE];
	/* Not more than there is room for: those that are told have had their turn, and come last the next time. */
	int n = epoll_wait(set->epoll, ready, d->count < READY_AT_ONCE ? d->count : READY_AT_ONCE, 0);
	size_t used = 0;
	bool more = n > 0;
	while (more && used < d->count) {
		more = false;
		for (int i = 0; i < n && used < d->count; i++) {
			struct slot *slot = (struct slot *)(d->slots + used * d->size);
			if (ready_fd(ready[i]) == 0)
				continue;
			if (receive(ready_fd(ready[i]), ready_tag(ready[i]), slot, d->size - sizeof(*slot))) {
				used++;
				more = true;
			} else {
				ready[i].data.u64 = 0;
			}
		}
	}
	return used;
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
	*d = (struct datagrams){ .set = { .env = env, .fill = fill }, .slots = slots.data, .size = size, .count = slots.len / size };
	socket_set_keep(&d->set, 0, c.argv[0]);
	return socket_set_open(&d->set, "Datagrams", c.argv[2]);
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

/* shareBySource(fd, offset, sockets) */
napi_value share_by_source(napi_env env, napi_callback_info info)
{
	struct call c = read_call(env, info);
	int fd = int_arg(&c, 0);
	uint32_t offset = int_arg(&c, 1), sockets = int_arg(&c, 2);
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SKF_NET_OFF + offset),
		BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, sockets),
		BPF_STMT(BPF_RET | BPF_A, 0),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };
	if (!c.failed && sockets == 0)
		fail_call(&c, "at least one socket is needed");
	return c.failed ? NULL : result(env, setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)));
}
