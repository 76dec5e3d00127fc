/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Direct server return: a caller's packet goes to a backend of another node with the caller's address, and tells that node in an IP option
 * which address was called. That node answers from there, past this one. The options are Cilium's.
 */
#pragma once

#include "nat.h"
#include "send.h"

#define DSR_OPTION_IPV4 154
#define DSR_OPTION_IPV6 27

struct dsr_ipv4 {
	__u8 type;
	__u8 length;
	__be16 port;
	__be32 address;
};

_Static_assert(sizeof(struct dsr_ipv4) == 8, "an IPv4 option is a multiple of 4 bytes");

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

_Static_assert(sizeof(struct dsr_ipv6) == 24, "an extension header is a multiple of 8 bytes");

static __always_inline int dsr_add_ipv4(struct __sk_buff *ctx, struct packet *packet, const struct l4_address *frontend)
{
	struct dsr_ipv4 option = {
		.type = DSR_OPTION_IPV4,
		.length = sizeof(option),
		.port = frontend->port,
		.address = addr_to_ipv4(&frontend->address),
	};
	struct iphdr old, new;

	if (bpf_skb_load_bytes(ctx, ETH_HEADER, &old, sizeof(old)) || old.ihl > 13)
		return drop_at(packet, FILE_DSR, DROP_INVALID_PACKET);
	if (bpf_skb_adjust_room(ctx, sizeof(option), BPF_ADJ_ROOM_NET, 0))
		return drop_at(packet, FILE_DSR, DROP_FRAGMENTATION_NEEDED);
	new = old;
	new.ihl += sizeof(option) / 4;
	new.tot_len = bpf_htons(bpf_ntohs(old.tot_len) + sizeof(option));
	if (bpf_skb_store_bytes(ctx, ETH_HEADER, &new, sizeof(new), 0) ||
	    bpf_skb_store_bytes(ctx, ETH_HEADER + sizeof(new), &option, sizeof(option), 0) ||
	    bpf_l3_csum_replace(ctx, ETH_HEADER + offsetof(struct iphdr, check), 0,
				bpf_csum_diff(NULL, 0, (__be32 *)&option, sizeof(option),
					      bpf_csum_diff((__be32 *)&old, sizeof(old), (__be32 *)&new, sizeof(new), 0)),
				0))
		return drop_at(packet, FILE_DSR, DROP_ERROR_WRITING_TO_PACKET);
	packet->l4_offset += sizeof(option);
	return 0;
}

static __always_inline int dsr_add_ipv6(struct __sk_buff *ctx, struct packet *packet, const struct l4_address *frontend)
{
	struct dsr_ipv6 header = {
		.length = sizeof(header) / 8 - 1,
		.type = DSR_OPTION_IPV6,
		.option_length = sizeof(header) - 4,
		.port = frontend->port,
	};
	struct ipv6hdr ip;

	if (bpf_skb_load_bytes(ctx, ETH_HEADER, &ip, sizeof(ip)))
		return drop_at(packet, FILE_DSR, DROP_INVALID_PACKET);
	if (bpf_skb_adjust_room(ctx, sizeof(header), BPF_ADJ_ROOM_NET, 0))
		return drop_at(packet, FILE_DSR, DROP_FRAGMENTATION_NEEDED);
	header.next = ip.nexthdr;
	__builtin_memcpy(header.address, &frontend->address, sizeof(header.address));
	ip.nexthdr = NEXT_DESTINATION;
	ip.payload_len = bpf_htons(bpf_ntohs(ip.payload_len) + sizeof(header));
	if (bpf_skb_store_bytes(ctx, ETH_HEADER, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM) ||
	    bpf_skb_store_bytes(ctx, ETH_HEADER + sizeof(ip), &header, sizeof(header), BPF_F_RECOMPUTE_CSUM))
		return drop_at(packet, FILE_DSR, DROP_ERROR_WRITING_TO_PACKET);
	packet->l4_offset += sizeof(header);
	return 0;
}

/* Tells the backend's node whom the caller called: once a TCP connection, with each packet of others. Before the destination is replaced. */
__verified_alone int dsr_add(struct __sk_buff *ctx, struct packet *packet)
{
	struct l4_address frontend = {};

	if (!packet)
		return -DROP_INVALID_PACKET;
	if ((packet->protocol == PROTO_TCP && !tcp_is_opening(packet)) || packet->flags & PACKET_F_LATER_FRAGMENT)
		return 0;
	frontend.address = packet->destination;
	frontend.port = packet->dport;
	return packet_is_ipv6(packet) ? dsr_add_ipv6(ctx, packet, &frontend) : dsr_add_ipv4(ctx, packet, &frontend);
}

static __always_inline int dsr_read(struct __sk_buff *ctx, const struct packet *packet, struct l4_address *frontend)
{
	struct dsr_ipv4 ipv4;
	struct dsr_ipv6 ipv6;

	if (packet_is_ipv6(packet)) {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(ctx, ETH_HEADER, &ip, sizeof(ip)) || ip.nexthdr != NEXT_DESTINATION)
			return NO_TRANSLATION;
		if (bpf_skb_load_bytes(ctx, ETH_HEADER + sizeof(ip), &ipv6, sizeof(ipv6)) || ipv6.type != DSR_OPTION_IPV6 ||
		    ipv6.option_length != sizeof(ipv6) - 4)
			return NO_TRANSLATION;
		__builtin_memcpy(&frontend->address, ipv6.address, sizeof(frontend->address));
		frontend->port = ipv6.port;
		return 0;
	}
	if (bpf_skb_load_bytes(ctx, ETH_HEADER + sizeof(struct iphdr), &ipv4, sizeof(ipv4)) || ipv4.type != DSR_OPTION_IPV4 ||
	    ipv4.length != sizeof(ipv4))
		return NO_TRANSLATION;
	addr_from_ipv4(&frontend->address, ipv4.address);
	frontend->port = ipv4.port;
	return 0;
}

/* Only addresses that this cluster serves: a node's, or a service's of any kind. Nobody may have us answer in another's name. */
static __always_inline int dsr_is_credible(const struct packet *packet, const struct l4_address *frontend)
{
	struct lb_target target = { .address = frontend->address, .port = frontend->port, .protocol = packet->protocol };
	const struct remote_info *info = ipcache_lookup(&frontend->address);
	__u32 identity = identity_of(info);

	return identity == IDENTITY_REMOTE_NODE || identity == IDENTITY_KUBE_APISERVER || service_find(&target, 0) != NULL;
}

/* A packet to a pod of this node, with options: if another node has sent it here for a service, answers will come from that. */
__verified_alone int dsr_receive(struct __sk_buff *ctx, struct packet *packet, struct flow *flow)
{
	struct l4_address frontend = {};

	if (!packet || !flow)
		return -DROP_INVALID_PACKET;
	if (dsr_read(ctx, packet, &frontend) || !dsr_is_credible(packet, &frontend))
		return 0;
	flow->rev_nat = REV_NAT_CONNECTION;
	return nat_answer_as(packet, &frontend);
}

static __always_inline int has_options(const struct packet *packet)
{
	return unlikely(packet->l4_offset != (packet_is_ipv6(packet) ? ETH_HEADER + sizeof(struct ipv6hdr) : ETH_HEADER + sizeof(struct iphdr)));
}
