/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Direct server return: a caller's packet goes to a backend of another node with the caller's address, and tells that node in an IP option
 * which address was called. That node answers from there, past this one. The options are Cilium's.
 * Here is the first node's part.
 */
#pragma once

#include "dsr_room.h"
#include "rewrite.h"

#define DSR_OPTION_IPV4 154
#define DSR_OPTION_IPV6 27

struct dsr_ipv4 {
	__u8 type;
	__u8 length;
	__be16 port;
	__be32 address;
};

_Static_assert(sizeof(struct dsr_ipv4) == DSR_LENGTH_IPV4, "an IPv4 option is a multiple of 4 bytes");

/* A destination options header with one option. */
struct dsr_ipv6 {
	__u8 next;
	__u8 length; /* in units of 8 bytes, without the first */
	__u8 type;
	__u8 option_length;
	__u8 address[16];
	__be16 port;
	__u16 pad;
};

_Static_assert(sizeof(struct dsr_ipv6) == DSR_LENGTH_IPV6, "an extension header is a multiple of 8 bytes");

static __always_inline int dsr_add_ipv4(struct context *ctx, struct packet *packet, const struct l4_address *frontend)
{
	struct dsr_ipv4 option = {
		.type = DSR_OPTION_IPV4,
		.length = sizeof(option),
		.port = frontend->port,
		.address = addr_to_ipv4(&frontend->address),
	};
	struct iphdr old, new;

	if (context_load(ctx, ETH_HEADER, &old, sizeof(old)) || old.ihl > 13)
		return drop_at(packet, FILE_DSR, DROP_INVALID_PACKET);
	if (context_make_room(ctx, ETH_HEADER + sizeof(old), sizeof(option)))
		return drop_at(packet, FILE_DSR, DROP_FRAGMENTATION_NEEDED);
	new = old;
	new.ihl += sizeof(option) / 4;
	new.tot_len = bpf_htons(bpf_ntohs(old.tot_len) + sizeof(option));
	if (context_store(ctx, ETH_HEADER, &new, sizeof(new)) ||
	    context_store(ctx, ETH_HEADER + sizeof(new), &option, sizeof(option)) ||
	    sum_add_l3(ctx, ETH_HEADER + offsetof(struct iphdr, check),
		       bpf_csum_diff(NULL, 0, (__be32 *)&option, sizeof(option),
				     bpf_csum_diff((__be32 *)&old, sizeof(old), (__be32 *)&new, sizeof(new), 0))))
		return drop_at(packet, FILE_DSR, DROP_ERROR_WRITING_TO_PACKET);
	packet->l4_offset += sizeof(option);
	return 0;
}

static __always_inline int dsr_add_ipv6(struct context *ctx, struct packet *packet, const struct l4_address *frontend)
{
	struct dsr_ipv6 header = {
		.length = sizeof(header) / 8 - 1,
		.type = DSR_OPTION_IPV6,
		.option_length = sizeof(header) - 4,
		.port = frontend->port,
	};
	struct ipv6hdr ip;

	if (context_load(ctx, ETH_HEADER, &ip, sizeof(ip)))
		return drop_at(packet, FILE_DSR, DROP_INVALID_PACKET);
	if (context_make_room(ctx, ETH_HEADER + sizeof(ip), sizeof(header)))
		return drop_at(packet, FILE_DSR, DROP_FRAGMENTATION_NEEDED);
	header.next = ip.nexthdr;
	__builtin_memcpy(header.address, &frontend->address, sizeof(header.address));
	ip.nexthdr = NEXT_DESTINATION;
	ip.payload_len = bpf_htons(bpf_ntohs(ip.payload_len) + sizeof(header));
	if (context_store_summed(ctx, ETH_HEADER, &ip, sizeof(ip)) ||
	    context_store_summed(ctx, ETH_HEADER + sizeof(ip), &header, sizeof(header)))
		return drop_at(packet, FILE_DSR, DROP_ERROR_WRITING_TO_PACKET);
	packet->l4_offset += sizeof(header);
	return 0;
}

/* Tells the backend's node whom the caller called. Before the destination is replaced. */
__verified_alone int dsr_add(struct context *ctx, struct packet *packet)
{
	struct l4_address frontend = {};

	if (!packet)
		return -DROP_INVALID_PACKET;
	if (!dsr_length(packet))
		return 0;
	frontend.address = packet->destination;
	frontend.port = packet->dport;
	return packet_is_ipv6(packet) ? dsr_add_ipv6(ctx, packet, &frontend) : dsr_add_ipv4(ctx, packet, &frontend);
}
