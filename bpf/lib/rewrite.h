/* SPDX-License-Identifier: Apache-2.0 */
/* Replacing one end of a packet: its address, its port, and the checksums that cover them. */
#pragma once

#include "context.h"
#include "parse.h"

enum packet_end {
	END_SOURCE,
	END_DESTINATION,
};

/* Address and port of one end. */
struct l4_address {
	struct addr16 address;
	__be16 port;
	__u16 pad;
};

/* Where a transport has its checksum; 0: it has none that covers the rewritten fields and could be adjusted. */
static __always_inline __u32 sum_offset(__u8 protocol)
{
	switch (protocol) {
	case PROTO_TCP:
		return 16;
	case PROTO_UDP:
		return 6;
	case PROTO_ICMP:
	case PROTO_ICMPV6:
		return 2;
	default:
		return 0;
	}
}

static __always_inline __u32 sum_change_of(__u8 protocol)
{
	return protocol == PROTO_UDP ? SUM_UDP : 0;
}

/* Addresses at l3 of an IP header; *difference is what they change in a sum. */
static __always_inline int rewrite_address(struct context *ctx, __u32 l3, int ipv6, enum packet_end end, const struct addr16 *from,
					   const struct addr16 *to, __u32 *difference)
{
	__be32 old = addr_to_ipv4(from), new = addr_to_ipv4(to);

	if (ipv6) {
		*difference = bpf_csum_diff((__be32 *)from, sizeof(*from), (__be32 *)to, sizeof(*to), 0);
		if (l3 != ETH_HEADER)
			return context_store(ctx, l3 + (end == END_SOURCE ? 8 : 24), to, sizeof(*to));
		return context_store_summed(ctx, l3 + (end == END_SOURCE ? 8 : 24), to, sizeof(*to));
	}
	*difference = bpf_csum_diff(&old, sizeof(old), &new, sizeof(new), 0);
	return context_store(ctx, l3 + (end == END_SOURCE ? 12 : 16), &new, sizeof(new)) ||
	       sum_add_l3(ctx, l3 + offsetof(struct iphdr, check), *difference);
}

static __always_inline int rewrite_port(struct context *ctx, __u32 l4, __u8 protocol, enum packet_end end, __be16 from, __be16 to)
{
	__be32 old = from, new = to;
	__u32 at = end == END_SOURCE ? 0 : 2;

	if (from == to)
		return 0;
	/* An SCTP checksum cannot be adjusted, only made anew from all of the data. */
	if (!sum_offset(protocol))
		return -1;
	if (protocol == PROTO_ICMP || protocol == PROTO_ICMPV6)
		at = 4;
	return sum_add_l4(ctx, l4 + sum_offset(protocol), bpf_csum_diff(&old, sizeof(old), &new, sizeof(new), 0), sum_change_of(protocol)) ||
	       context_store(ctx, l4 + at, &to, sizeof(to));
}

/* Gives that end of the packet another address and port, in the bytes and in *packet. ICMP echo: the port is the identifier. */
__verified_alone int rewrite_end(struct context *ctx, struct packet *packet, enum packet_end end, const struct l4_address *to)
{
	__u32 difference = 0, sum;
	__be16 port;

	if (!packet || !to)
		return -DROP_INVALID_PACKET;
	if (rewrite_address(ctx, ETH_HEADER, packet_is_ipv6(packet), end, end == END_SOURCE ? &packet->source : &packet->destination, &to->address,
			    &difference))
		return drop_at(packet, FILE_REWRITE, DROP_ERROR_WRITING_TO_PACKET);
	port = end == END_SOURCE ? packet->sport : packet->dport;
	if (end == END_SOURCE) {
		packet->source = to->address;
		packet->sport = to->port;
	} else {
		packet->destination = to->address;
		packet->dport = to->port;
	}
	if (packet->flags & PACKET_F_LATER_FRAGMENT)
		return 0;
	if (packet->flags & PACKET_F_ECHO)
		packet->sport = packet->dport = to->port;
	sum = sum_offset(packet->protocol);
	/* The checksum of ICMP does not cover addresses. */
	if (sum && packet->protocol != PROTO_ICMP &&
	    sum_add_l4(ctx, packet->l4_offset + sum, difference, SUM_ADDRESS | sum_change_of(packet->protocol)))
		return drop_at(packet, FILE_REWRITE, DROP_ERROR_WHILE_CORRECTING_L4_CHECKSUM);
	if (rewrite_port(ctx, packet->l4_offset, packet->protocol, end, port, to->port))
		return drop_at(packet, FILE_REWRITE, DROP_ERROR_WHILE_CORRECTING_L4_CHECKSUM);
	return 0;
}
