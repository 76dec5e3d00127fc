/* SPDX-License-Identifier: Apache-2.0 */
/* ICMP errors carry the head of the packet they are about: reading it, and translating it along with the error. */
#pragma once

#include "rewrite.h"

/* The packet that an ICMP error quotes, as far as it does: its ends and where its transport begins. It was sent by the error's receiver. */
__verified_alone int parse_quoted(struct context *ctx, struct packet *packet, struct packet *quoted)
{
	struct cursor cursor = { .ctx = ctx };
	struct ports ports;
	int ret;

	if (!packet || !quoted)
		return -DROP_INVALID_PACKET;
	cursor.offset = packet->l4_offset + sizeof(struct icmp_start);
	if (packet_is_ipv6(packet)) {
		struct ipv6hdr ip;

		if (cursor_peek(&cursor, &ip, sizeof(ip)) || ip.version != 6)
			return drop_at(packet, FILE_ICMP, DROP_CT_TRUNCATED_OR_INVALID_HEADER);
		__builtin_memcpy(&quoted->source, &ip.saddr, sizeof(quoted->source));
		__builtin_memcpy(&quoted->destination, &ip.daddr, sizeof(quoted->destination));
		quoted->protocol = ip.nexthdr;
		quoted->flags = PACKET_F_IPV6;
		quoted->l4_offset = cursor.offset + sizeof(ip);
		quoted->l3_length = bpf_ntohs(ip.payload_len);
		/* What another node has sent here for a service carries one. */
		if (unlikely(is_extension(ip.nexthdr))) {
			ret = parse_ipv6_extensions(ctx, quoted);
			if (ret < 0)
				return ret;
		}
		cursor.offset = quoted->l4_offset;
	} else {
		struct iphdr ip;

		if (cursor_peek(&cursor, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
			return drop_at(packet, FILE_ICMP, DROP_CT_TRUNCATED_OR_INVALID_HEADER);
		addr_from_ipv4(&quoted->source, ip.saddr);
		addr_from_ipv4(&quoted->destination, ip.daddr);
		quoted->protocol = ip.protocol;
		cursor.offset += ip.ihl * 4;
	}
	if (!addr_equal(&quoted->source, &packet->destination))
		return drop_at(packet, FILE_ICMP, DROP_INVALID_PACKET);
	if (cursor_peek(&cursor, &ports, sizeof(ports)))
		return drop_at(packet, FILE_ICMP, DROP_CT_TRUNCATED_OR_INVALID_HEADER);
	quoted->l4_offset = cursor.offset;
	if (quoted->protocol == (packet_is_ipv6(packet) ? PROTO_ICMPV6 : PROTO_ICMP)) {
		struct icmp_start icmp;

		__builtin_memcpy(&icmp, &ports, sizeof(icmp));
		classify_icmp(quoted, &icmp);
	} else {
		quoted->sport = ports.sport;
		quoted->dport = ports.dport;
	}
	return 0;
}

/*
 * Gives that end of the quoted packet another address and port. The sum of the ICMP message follows; the quoted packet's own does not, as
 * nobody checks what was cut off.
 */
__verified_alone int rewrite_quoted(struct context *ctx, struct packet *packet, struct packet *quoted, enum packet_end end,
				    const struct l4_address *to)
{
	__u32 l3, sum, difference = 0, ipv6;
	__be32 old, new = 0;

	if (!packet || !quoted || !to)
		return -DROP_INVALID_PACKET;
	l3 = packet->l4_offset + sizeof(struct icmp_start);
	sum = packet->l4_offset + sum_offset(PROTO_ICMP);
	ipv6 = packet_is_ipv6(packet);
	if (rewrite_address(ctx, l3, ipv6, end, end == END_SOURCE ? &quoted->source : &quoted->destination, &to->address, &difference))
		return drop_at(packet, FILE_ICMP, DROP_ERROR_WRITING_TO_PACKET);
	/* In IPv4 the change of the address and that of its header's sum make up for each other. */
	if (ipv6 && sum_add_l4(ctx, sum, difference, 0))
		return drop_at(packet, FILE_ICMP, DROP_ERROR_WHILE_CORRECTING_L4_CHECKSUM);
	old = end == END_SOURCE ? quoted->sport : quoted->dport;
	new = to->port;
	if (quoted->flags & (PACKET_F_ICMP_ERROR | PACKET_F_STATELESS))
		return 0;
	if (context_store(ctx, quoted->l4_offset + (quoted->flags & PACKET_F_ECHO ? 4 : end == END_SOURCE ? 0 : 2), &to->port, sizeof(to->port)) ||
	    sum_add_l4(ctx, sum, bpf_csum_diff(&old, sizeof(old), &new, sizeof(new), 0), 0))
		return drop_at(packet, FILE_ICMP, DROP_ERROR_WHILE_CORRECTING_L4_CHECKSUM);
	return 0;
}
