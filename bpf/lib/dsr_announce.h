/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Direct server return of datagrams that have no room for the option. Once a second one goes ahead that is cut off behind its header, with
 * the option; then it goes itself, without. The backend's node judges and remembers the first like any other, but gives it to nobody: a
 * datagram whose header promises more than there is is no datagram, to other nodes' kernels either.
 */
#pragma once

#include "dsr_add.h"

struct udp_header {
	__be16 sport;
	__be16 dport;
	__be16 length;
	__be16 checksum;
};

_Static_assert(sizeof(struct udp_header) == 8, "udp_header is on the wire");

/* Cuts a datagram off behind its header, whose own length stays what it was. */
static __always_inline int dsr_cut(struct __sk_buff *ctx, struct packet *packet)
{
	const __u32 end = packet->l4_offset + sizeof(struct udp_header);
	const int ipv6 = packet_is_ipv6(packet);
	const __u32 at = ETH_HEADER + (ipv6 ? offsetof(struct ipv6hdr, payload_len) : offsetof(struct iphdr, tot_len));
	__be16 old, new = bpf_htons(end - ETH_HEADER - (ipv6 ? sizeof(struct ipv6hdr) : 0));

	if (bpf_skb_change_tail(ctx, end, 0) || bpf_skb_load_bytes(ctx, at, &old, sizeof(old)) || bpf_skb_store_bytes(ctx, at, &new, sizeof(new), 0))
		return -1;
	packet->l3_length = sizeof(struct udp_header);
	return ipv6 ? 0 : bpf_l3_csum_replace(ctx, ETH_HEADER + offsetof(struct iphdr, check), old, new, sizeof(new));
}

/* The packet itself comes in by its device again, and is then of a known connection; what is in hand becomes what goes ahead of it. */
__verified_alone int dsr_announce(struct __sk_buff *ctx, struct packet *packet)
{
	if (!packet)
		return -DROP_INVALID_PACKET;
	if (bpf_clone_redirect(ctx, ctx->ifindex, BPF_F_INGRESS))
		return drop_at(packet, FILE_DSR, DROP_FRAGMENTATION_NEEDED);
	if (dsr_cut(ctx, packet))
		return drop_at(packet, FILE_DSR, DROP_ERROR_WRITING_TO_PACKET);
	return dsr_add(ctx, packet);
}

/* At the backend's node: the packet only goes ahead of another. */
static __always_inline int dsr_is_announcement(struct __sk_buff *ctx, const struct packet *packet)
{
	struct udp_header udp;

	if (packet->protocol != PROTO_UDP || packet->l3_length != sizeof(udp) || packet->flags & PACKET_F_LATER_FRAGMENT)
		return 0;
	return !bpf_skb_load_bytes(ctx, packet->l4_offset, &udp, sizeof(udp)) && bpf_ntohs(udp.length) > sizeof(udp);
}
