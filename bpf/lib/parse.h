/* SPDX-License-Identifier: Apache-2.0 */
/* Headers from bytes, every step checked against the end of the packet and of its IP header's length. */
#pragma once

#include <linux/ip.h>
#include <linux/ipv6.h>
#include "config.h"
#include "context.h"
#include "packet.h"

#define ETH_HEADER 14
#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_OFFSET_MASK 0x1fff
#define IPV6_OFFSET_MASK 0xfff8
#define IPV6_MORE_FRAGMENTS 1
#define IPV6_EXTENSIONS_MAX 6

#define NEXT_HOP_BY_HOP 0
#define NEXT_ROUTING 43
#define NEXT_FRAGMENT 44
#define NEXT_AUTHENTICATION 51
#define NEXT_DESTINATION 60
#define ROUTING_TYPE_SOURCE 0

/* Where the next header begins. */
struct cursor {
	struct context *ctx;
	__u32 offset;
};

/*
 * Copies the header at a constant offset into *to: straight from the linear part when it is there, which it practically always is.
 * A typed copy, because the compiler copies what it knows no alignment of byte by byte.
 */
#define peek_at(ctx, offset, to)                                                                                       \
	({                                                                                                             \
		void *__data = (void *)(long)(ctx)->data;                                                              \
		int __ret = 0;                                                                                         \
		if (likely(__data + (offset) + sizeof(*(to)) <= (void *)(long)(ctx)->data_end))                        \
			*(to) = *(typeof(to))(__data + (offset));                                                      \
		else                                                                                                   \
			__ret = context_load(ctx, offset, to, sizeof(*(to)));                                    \
		__ret;                                                                                                 \
	})

static __always_inline int cursor_peek(const struct cursor *cursor, void *to, const __u32 size)
{
	return context_load(cursor->ctx, cursor->offset, to, size);
}

/* The same where a transport header usually begins, behind a plain IPv4 or IPv6 header, and anywhere else by the helper. */
#define peek_transport(ctx, offset, to)                                                                                \
	(likely((offset) == ETH_HEADER + sizeof(struct iphdr))    ? peek_at(ctx, ETH_HEADER + sizeof(struct iphdr), to)   \
	 : likely((offset) == ETH_HEADER + sizeof(struct ipv6hdr)) ? peek_at(ctx, ETH_HEADER + sizeof(struct ipv6hdr), to) \
								   : context_load(ctx, offset, to, sizeof(*(to))))

#define OPTION_END 0
#define OPTION_NONE 1
#define OPTION_LOOSE_SOURCE_ROUTE 131
#define OPTION_STRICT_SOURCE_ROUTE 137
#define OPTIONS_MAX 40

/* Source routing (RFC 791) would carry a packet past the address policy was asked about. Other options are the receiver's business. */
__verified_alone int parse_ipv4_options(struct context *ctx, struct packet *packet)
{
	__u32 end, offset = ETH_HEADER + sizeof(struct iphdr);

	if (!packet)
		return -DROP_INVALID_PACKET;
	end = packet->l4_offset;
	for (int i = 0; i < OPTIONS_MAX; i++) {
		__u8 option[2] = {};

		if (offset >= end)
			break;
		if (context_load(ctx, offset, option, 1))
			return drop_at(packet, FILE_PARSE, DROP_INVALID_PACKET);
		if (option[0] == OPTION_END)
			break;
		if (option[0] == OPTION_NONE) {
			offset++;
			continue;
		}
		if (context_load(ctx, offset, option, 2) || option[1] < 2 || offset + option[1] > end ||
		    option[0] == OPTION_LOOSE_SOURCE_ROUTE || option[0] == OPTION_STRICT_SOURCE_ROUTE)
			return drop_at(packet, FILE_PARSE, DROP_INVALID_PACKET);
		offset += option[1];
	}
	return 0;
}

static __always_inline int parse_ipv4(struct cursor *cursor, struct packet *packet)
{
	struct iphdr ip;
	__u32 header, total, fragment;

	if (!enable_ipv4)
		return drop_at(packet, FILE_PARSE, DROP_UNSUPPORTED_L3_PROTOCOL);
	if (peek_at(cursor->ctx, ETH_HEADER, &ip))
		return drop_at(packet, FILE_PARSE, DROP_INVALID_PACKET);
	header = ip.ihl * 4;
	total = bpf_ntohs(ip.tot_len);
	/* A packet of more than 64 KiB ("BIG TCP") has no length in its header. */
	if (unlikely(total == 0 && context_length(cursor->ctx) > 0xffff))
		total = 0xffff;
	else if (total + ETH_HEADER > context_length(cursor->ctx))
		return drop_at(packet, FILE_PARSE, DROP_INVALID_PACKET);
	if (ip.version != 4 || header < sizeof(ip) || total < header)
		return drop_at(packet, FILE_PARSE, DROP_INVALID_PACKET);

	addr_from_ipv4(&packet->source, ip.saddr);
	addr_from_ipv4(&packet->destination, ip.daddr);
	packet->protocol = ip.protocol;
	packet->ttl = ip.ttl;
	packet->l3_length = total - header;
	packet->l4_offset = cursor->offset + header;
	cursor->offset += header;

	fragment = bpf_ntohs(ip.frag_off);
	if (unlikely(fragment & (IPV4_MORE_FRAGMENTS | IPV4_OFFSET_MASK))) {
		packet->fragment_id = (__be32)ip.id;
		packet->flags |= fragment & IPV4_OFFSET_MASK ? PACKET_F_LATER_FRAGMENT : PACKET_F_FIRST_FRAGMENT;
		/* RFC 3128: a second fragment that would overwrite the flags of a TCP header. */
		if (ip.protocol == PROTO_TCP && (fragment & IPV4_OFFSET_MASK) == 1)
			return drop_at(packet, FILE_FRAGMENT, DROP_INVALID_PACKET);
	}
	return 0;
}

struct ipv6_extension {
	__u8 next;
	__u8 length;
	__be16 fragment; /* fragment header: offset and flag; routing header: type in the first byte */
	__be32 fragment_id;
};

static __always_inline int is_extension(__u8 next)
{
	return next == NEXT_HOP_BY_HOP || next == NEXT_ROUTING || next == NEXT_FRAGMENT || next == NEXT_AUTHENTICATION ||
	       next == NEXT_DESTINATION;
}

/* Walks the extension headers. A subprogram: rare, and its loop would burden every caller. */
__verified_alone int parse_ipv6_extensions(struct context *ctx, struct packet *packet)
{
	struct cursor cursor = { .ctx = ctx };
	__u32 left;

	if (!packet)
		return -DROP_INVALID_PACKET;
	cursor.offset = packet->l4_offset;
	left = packet->l3_length;
	for (int i = 0; i < IPV6_EXTENSIONS_MAX; i++) {
		struct ipv6_extension header;
		__u32 size;

		if (!is_extension(packet->protocol))
			break;
		if (left < sizeof(header) || cursor_peek(&cursor, &header, sizeof(header)))
			return drop_at(packet, FILE_PARSE, DROP_INVALID_IPV6_EXTENSION_HEADER);
		size = (header.length + 1) * 8;
		if (packet->protocol == NEXT_AUTHENTICATION)
			size = (header.length + 2) * 4;
		if (packet->protocol == NEXT_ROUTING && (header.fragment & bpf_htons(0xff00)) == bpf_htons(ROUTING_TYPE_SOURCE << 8))
			return drop_at(packet, FILE_PARSE, DROP_INVALID_IPV6_EXTENSION_HEADER);
		if (packet->protocol == NEXT_FRAGMENT) {
			__u32 fragment = bpf_ntohs(header.fragment);

			size = sizeof(header);
			packet->fragment_id = header.fragment_id;
			/* An atomic fragment (RFC 6946) is a whole packet. */
			if (fragment & IPV6_OFFSET_MASK)
				packet->flags |= PACKET_F_LATER_FRAGMENT;
			else if (fragment & IPV6_MORE_FRAGMENTS)
				packet->flags |= PACKET_F_FIRST_FRAGMENT;
		}
		if (size > left)
			return drop_at(packet, FILE_PARSE, DROP_INVALID_IPV6_EXTENSION_HEADER);
		packet->protocol = header.next;
		cursor.offset += size;
		left -= size;
		if (packet->flags & PACKET_F_LATER_FRAGMENT)
			break;
	}
	if (is_extension(packet->protocol))
		return drop_at(packet, FILE_PARSE, DROP_INVALID_IPV6_EXTENSION_HEADER);
	packet->l4_offset = cursor.offset;
	packet->l3_length = left;
	return 0;
}

static __always_inline int parse_ipv6(struct cursor *cursor, struct packet *packet)
{
	struct ipv6hdr ip;
	__u32 payload;

	if (!enable_ipv6)
		return drop_at(packet, FILE_PARSE, DROP_UNSUPPORTED_L3_PROTOCOL);
	if (peek_at(cursor->ctx, ETH_HEADER, &ip))
		return drop_at(packet, FILE_PARSE, DROP_INVALID_PACKET);
	payload = bpf_ntohs(ip.payload_len);
	if (unlikely(payload == 0 && context_length(cursor->ctx) > 0xffff))
		payload = 0xffff;
	else if (payload + sizeof(ip) + ETH_HEADER > context_length(cursor->ctx))
		return drop_at(packet, FILE_PARSE, DROP_INVALID_PACKET);
	if (ip.version != 6)
		return drop_at(packet, FILE_PARSE, DROP_INVALID_PACKET);

	__builtin_memcpy(&packet->source, &ip.saddr, sizeof(packet->source));
	__builtin_memcpy(&packet->destination, &ip.daddr, sizeof(packet->destination));
	/* Such an address would pass for IPv4 in every map. */
	if (addr_is_ipv4(&packet->source) || addr_is_ipv4(&packet->destination))
		return drop_at(packet, FILE_PARSE, DROP_INVALID_PACKET);
	packet->flags |= PACKET_F_IPV6;
	packet->protocol = ip.nexthdr;
	packet->ttl = ip.hop_limit;
	packet->l3_length = payload;
	packet->l4_offset = cursor->offset + sizeof(ip);
	return 0;
}

/* Addresses, protocol and length; changes nothing but *packet. Other ethertypes are the caller's business. */
__verified_alone int parse_l3(struct context *ctx, struct packet *packet)
{
	struct cursor cursor = { .ctx = ctx, .offset = ETH_HEADER };
	int ret;

	if (!packet)
		return -DROP_INVALID_PACKET;
	if (context_protocol(ctx) == bpf_htons(ETH_P_IP)) {
		ret = parse_ipv4(&cursor, packet);
		if (!ret && unlikely(packet->l4_offset > ETH_HEADER + sizeof(struct iphdr)))
			ret = parse_ipv4_options(ctx, packet);
		return ret;
	}
	ret = parse_ipv6(&cursor, packet);
	if (!ret && unlikely(is_extension(packet->protocol)))
		ret = parse_ipv6_extensions(ctx, packet);
	return ret;
}

struct tcp_start {
	__be16 sport;
	__be16 dport;
	__be32 sequence;
	__be32 acknowledgement;
	__u8 data_offset;
	__u8 flags;
	__be16 window;
	__be16 checksum;
	__be16 urgent;
};

struct ports {
	__be16 sport;
	__be16 dport;
	__be32 rest;
};

struct icmp_start {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be16 id;
	__be16 sequence;
};

#define ICMP_IS(packet, v4, v6) ((packet)->icmp_type == (packet_is_ipv6(packet) ? (v6) : (v4)))

static __always_inline int is_echo_request(const struct packet *packet)
{
	return ICMP_IS(packet, 8, 128);
}

static __always_inline void classify_icmp(struct packet *packet, const struct icmp_start *icmp)
{
	__u8 type = icmp->type;

	packet->icmp_type = type;
	if (ICMP_IS(packet, 8, 128) || ICMP_IS(packet, 0, 129)) {
		packet->flags |= PACKET_F_ECHO;
		packet->sport = icmp->id;
		packet->dport = icmp->id;
	} else if (packet_is_ipv6(packet) ? type >= 1 && type <= 4 : type == 3 || type == 11 || type == 12) {
		packet->flags |= PACKET_F_ICMP_ERROR;
	} else {
		packet->flags |= PACKET_F_STATELESS;
	}
}

/* Ports, flags and ICMP types from the transport header at l4_offset. */
static __always_inline int parse_l4(struct context *ctx, struct packet *packet)
{
	if (packet->protocol == PROTO_TCP) {
		struct tcp_start tcp;

		if (packet->l3_length < sizeof(tcp) || peek_transport(ctx, packet->l4_offset, &tcp) || tcp.data_offset < 0x50)
			return drop_at(packet, FILE_PARSE, DROP_CT_TRUNCATED_OR_INVALID_HEADER);
		packet->sport = tcp.sport;
		packet->dport = tcp.dport;
		packet->tcp_flags = tcp.flags;
		return 0;
	}
	if (packet->protocol == PROTO_UDP || packet->protocol == PROTO_SCTP) {
		struct ports ports;

		if (packet->l3_length < sizeof(ports) || peek_transport(ctx, packet->l4_offset, &ports))
			return drop_at(packet, FILE_PARSE, DROP_CT_TRUNCATED_OR_INVALID_HEADER);
		packet->sport = ports.sport;
		packet->dport = ports.dport;
		return 0;
	}
	if (packet->protocol == (packet_is_ipv6(packet) ? PROTO_ICMPV6 : PROTO_ICMP)) {
		struct icmp_start icmp;

		if (packet->l3_length < sizeof(icmp) || peek_transport(ctx, packet->l4_offset, &icmp))
			return drop_at(packet, FILE_PARSE, DROP_CT_TRUNCATED_OR_INVALID_HEADER);
		classify_icmp(packet, &icmp);
		return 0;
	}
	return drop_at(packet, FILE_PARSE, DROP_CT_UNKNOWN_L4_PROTOCOL);
}

#define ND_FIRST 130 /* multicast listener query */
#define ND_REDIRECT 137
#define ND_LISTENER_REPORT_V2 143

/* Neighbour discovery and multicast group reports: between a host and its link, never between endpoints. */
static __always_inline int is_neighbor_discovery(const struct packet *packet)
{
	return packet->protocol == PROTO_ICMPV6 && packet->flags & PACKET_F_STATELESS &&
	       ((packet->icmp_type >= ND_FIRST && packet->icmp_type <= ND_REDIRECT) || packet->icmp_type == ND_LISTENER_REPORT_V2);
}
