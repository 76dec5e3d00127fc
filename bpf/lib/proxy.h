/* SPDX-License-Identifier: Apache-2.0 */
/* Handing packets to the proxy's sockets. The story of a proxied connection is in bpf/README.md. */
#pragma once

#include "marks.h"
#include "packet.h"

#define TUPLE_IPV4 sizeof(((struct bpf_sock_tuple *)0)->ipv4)
#define TUPLE_IPV6 sizeof(((struct bpf_sock_tuple *)0)->ipv6)
#define PACKET_HOST 0
#define LOOPBACK_IPV4 0x7f000001

static __always_inline __u32 proxy_tuple(const struct packet *packet, struct bpf_sock_tuple *tuple)
{
	if (packet_is_ipv6(packet)) {
		__builtin_memcpy(tuple->ipv6.saddr, &packet->source, sizeof(tuple->ipv6.saddr));
		__builtin_memcpy(tuple->ipv6.daddr, &packet->destination, sizeof(tuple->ipv6.daddr));
		tuple->ipv6.sport = packet->sport;
		tuple->ipv6.dport = packet->dport;
		return TUPLE_IPV6;
	}
	tuple->ipv4.saddr = addr_to_ipv4(&packet->source);
	tuple->ipv4.daddr = addr_to_ipv4(&packet->destination);
	tuple->ipv4.sport = packet->sport;
	tuple->ipv4.dport = packet->dport;
	return TUPLE_IPV4;
}

/* The tuple that finds a socket listening on every address: no real packet has it. */
static __always_inline __u32 listener_tuple(const struct packet *packet, __be16 port, struct bpf_sock_tuple *tuple)
{
	__builtin_memset(tuple, 0, sizeof(*tuple));
	if (packet_is_ipv6(packet)) {
		tuple->ipv6.saddr[3] = bpf_htonl(1);
		tuple->ipv6.daddr[3] = bpf_htonl(1);
		tuple->ipv6.dport = port;
		return TUPLE_IPV6;
	}
	tuple->ipv4.saddr = bpf_htonl(LOOPBACK_IPV4);
	tuple->ipv4.daddr = bpf_htonl(LOOPBACK_IPV4);
	tuple->ipv4.dport = port;
	return TUPLE_IPV4;
}

static __always_inline int mark_is_from_proxy(__u32 mark)
{
	return (mark & MARK_MASK) == MARK_FROM_INGRESS_PROXY || (mark & MARK_MASK) == MARK_FROM_EGRESS_PROXY;
}

/* A lookup finds a socket bound to the packet's destination or to every address; the latter is somebody else's. The last word tells them apart. */
static __always_inline int socket_is_bound_to(const struct bpf_sock *socket, const struct packet *packet)
{
	__u32 ipv4 = socket->src_ip4, ipv6 = socket->src_ip6[3];

	/* Both loads first: the compiler would choose between two offsets instead, and the verifier allows no arithmetic on sockets. */
	asm volatile("" : "+r"(ipv4), "+r"(ipv6));
	return addr_word(&packet->destination, 3) == (packet_is_ipv6(packet) ? ipv6 : ipv4);
}

/*
 * Is this packet for a connection the proxy opened in a client's name? Asked when conntrack knows nothing: the proxy's calls to other
 * nodes leave by the stack and are not tracked. Such a socket carries the proxy's mark; nobody but root can set one.
 */
__verified_alone int proxy_owns(struct __sk_buff *ctx, const struct packet *packet)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *socket, *full;
	int owned = 0;
	__u32 size;

	if (!packet || packet->flags & PACKET_F_ICMP_ERROR || tcp_is_opening(packet))
		return 0;
	size = proxy_tuple(packet, &tuple);
	if (packet->protocol == PROTO_TCP) {
		socket = bpf_skc_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
		if (!socket)
			return 0;
		full = bpf_sk_fullsock(socket);
		/* A connection that is over has lost its mark, and can do no more than confirm that. */
		owned = full ? full->state != BPF_TCP_LISTEN && mark_is_from_proxy(full->mark) : socket->state == BPF_TCP_TIME_WAIT;
		bpf_sk_release(socket);
	} else if (packet->protocol == PROTO_UDP) {
		socket = bpf_sk_lookup_udp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
		if (!socket)
			return 0;
		owned = socket_is_bound_to(socket, packet) && mark_is_from_proxy(socket->mark);
		bpf_sk_release(socket);
	}
	return owned;
}

static __always_inline int assign(struct __sk_buff *ctx, struct packet *packet, struct bpf_sock *socket)
{
	int error = bpf_sk_assign(ctx, socket, 0);

	bpf_sk_release(socket);
	if (!error)
		return 0;
	packet->ext_error = error;
	return drop_at(packet, FILE_PROXY, DROP_SOCKET_ASSIGN_FAILED);
}

/*
 * A SYN goes even to a socket in TIME_WAIT, whose connection had the same ports: its answer makes the client reset that and ask again, within
 * milliseconds. The listener would not do: newer kernels (6.18) let it take no connection while such a socket is there, a minute long.
 */
static __always_inline int assign_tcp(struct __sk_buff *ctx, struct packet *packet, __be16 listener)
{
	struct bpf_sock_tuple tuple = {};
	__u32 size = proxy_tuple(packet, &tuple);
	struct bpf_sock *socket = bpf_skc_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);

	if (socket) {
		if (socket->state != BPF_TCP_LISTEN)
			return assign(ctx, packet, socket);
		bpf_sk_release(socket);
	}
	if (!listener)
		return drop_at(packet, FILE_PROXY, DROP_SOCKET_LOOKUP_FAILED);
	size = listener_tuple(packet, listener, &tuple);
	socket = bpf_skc_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return drop_at(packet, FILE_PROXY, DROP_SOCKET_LOOKUP_FAILED);
	return assign(ctx, packet, socket);
}

static __always_inline int assign_udp(struct __sk_buff *ctx, struct packet *packet, __be16 listener)
{
	struct bpf_sock_tuple tuple = {};
	__u32 size = proxy_tuple(packet, &tuple);
	struct bpf_sock *socket = bpf_sk_lookup_udp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);

	if (socket) {
		if (socket_is_bound_to(socket, packet))
			return assign(ctx, packet, socket);
		bpf_sk_release(socket);
	}
	if (!listener)
		return drop_at(packet, FILE_PROXY, DROP_SOCKET_LOOKUP_FAILED);
	size = listener_tuple(packet, listener, &tuple);
	socket = bpf_sk_lookup_udp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return drop_at(packet, FILE_PROXY, DROP_SOCKET_LOOKUP_FAILED);
	return assign(ctx, packet, socket);
}

/*
 * Gives the packet to the proxy's socket for its connection or, failing that, to the proxy's listener on that port (0: no listener will
 * do). Only where packets enter (TCX ingress). The mark makes the stack deliver it here, whatever its address.
 */
__verified_alone int proxy_assign(struct __sk_buff *ctx, struct packet *packet, __be16 listener)
{
	int ret;

	if (!packet)
		return -DROP_INVALID_PACKET;
	if (packet->flags & PACKET_F_ICMP_ERROR)
		ret = 0; /* the stack finds the socket by the packet it quotes */
	else if (packet->protocol == PROTO_TCP)
		ret = assign_tcp(ctx, packet, listener);
	else if (packet->protocol == PROTO_UDP)
		ret = assign_udp(ctx, packet, listener);
	else
		ret = drop_at(packet, FILE_PROXY, DROP_PROXY_REDIRECTION_NOT_SUPPORTED_FOR_PROTOCOL);
	if (ret < 0)
		return ret;
	ctx->mark = MARK_TO_PROXY;
	if (ctx->pkt_type != PACKET_HOST)
		bpf_skb_change_type(ctx, PACKET_HOST);
	return TC_ACT_OK;
}

/* Sends a packet on its way to a pod back into the same device, where cil_from_container hands it to the proxy. */
static __always_inline int proxy_hairpin(struct __sk_buff *ctx, __be16 listener)
{
	ctx->mark = MARK_TO_PROXY | (__u32)bpf_ntohs(listener) << 16;
	return bpf_redirect(ctx->ifindex, BPF_F_INGRESS);
}
