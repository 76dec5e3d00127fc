/* SPDX-License-Identifier: Apache-2.0 */
/* Sending a packet from a driver: out of the device it came in by, to the neighbour that the node's routes name. */
#pragma once

#include "fib.h"
#include "rewrite.h"

/* The Ethernet addresses a packet gets. */
struct link {
	struct mac destination;
	struct mac source;
};

/* The way to `to` for a packet that gets that much longer, when it leads out of this device and the neighbour is known. Other ways are the stack's. */
static __always_inline int find_link(struct xdp_md *ctx, const struct packet *packet, const struct l4_address *to, __u32 longer, struct link *link)
{
	struct bpf_fib_lookup fib = {};

	fib_question(&fib, packet, &to->address, ctx->ingress_ifindex);
	fib.tot_len = context_length(ctx) - ETH_HEADER + longer;
	if (bpf_fib_lookup(ctx, &fib, sizeof(fib), 0) != BPF_FIB_LKUP_RET_SUCCESS || fib.ifindex != ctx->ingress_ifindex)
		return -1;
	__builtin_memcpy(&link->destination, fib.dmac, sizeof(link->destination));
	__builtin_memcpy(&link->source, fib.smac, sizeof(link->source));
	return 0;
}

/* One hop less, and the Ethernet addresses. */
static __always_inline int write_link(struct xdp_md *ctx, const struct packet *packet, const struct link *link)
{
	__u8 ttl = packet->ttl - 1;

	if (packet_is_ipv6(packet)) {
		if (context_store(ctx, ETH_HEADER + offsetof(struct ipv6hdr, hop_limit), &ttl, 1))
			return -1;
	} else {
		/* TTL and protocol are one word of the sum. */
		__be32 old = packet->ttl, new = ttl;

		if (context_store(ctx, ETH_HEADER + offsetof(struct iphdr, ttl), &ttl, 1) ||
		    sum_add_l3(ctx, ETH_HEADER + offsetof(struct iphdr, check), bpf_csum_diff(&old, 4, &new, 4, 0)))
			return -1;
	}
	return context_store(ctx, 0, link, sizeof(*link));
}
