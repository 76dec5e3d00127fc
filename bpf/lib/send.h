/* SPDX-License-Identifier: Apache-2.0 */
/* Out of the node, to wherever its routes lead. */
#pragma once

#include "deliver.h"

/* BPF_FIB_LOOKUP_SKIP_NEIGH of Linux 6.3; the headers may be older. */
#define FIB_SKIP_NEIGH (1U << 2)

static __always_inline void fib_question(struct bpf_fib_lookup *fib, const struct packet *packet, __u32 ifindex)
{
	fib->ifindex = ifindex;
	fib->l4_protocol = packet->protocol;
	fib->sport = packet->sport;
	fib->dport = packet->dport;
	if (packet_is_ipv6(packet)) {
		fib->family = AF_INET6;
		__builtin_memcpy(fib->ipv6_src, &packet->source, sizeof(fib->ipv6_src));
		__builtin_memcpy(fib->ipv6_dst, &packet->destination, sizeof(fib->ipv6_dst));
	} else {
		fib->family = AF_INET;
		fib->ipv4_src = addr_to_ipv4(&packet->source);
		fib->ipv4_dst = addr_to_ipv4(&packet->destination);
	}
}

/* Where there is no such way, the stack says so. */
__verified_alone int send_by_route(struct __sk_buff *ctx, struct packet *packet)
{
	struct bpf_fib_lookup fib = {};
	struct bpf_redir_neigh via = {};
	int ret;

	if (!packet)
		return -DROP_INVALID_PACKET;
	fib_question(&fib, packet, ctx->ifindex);
	if (bpf_fib_lookup(ctx, &fib, sizeof(fib), FIB_SKIP_NEIGH) != BPF_FIB_LKUP_RET_SUCCESS)
		return TC_ACT_OK;
	ret = decrease_ttl(ctx, packet, ORIGIN_NETWORK);
	if (ret < 0)
		return ret;
	via.nh_family = fib.family;
	__builtin_memcpy(via.ipv6_nh, fib.ipv6_dst, sizeof(via.ipv6_nh));
	return bpf_redirect_neigh(fib.ifindex, &via, sizeof(via), 0);
}
