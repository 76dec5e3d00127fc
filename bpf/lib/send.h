/* SPDX-License-Identifier: Apache-2.0 */
/* Out of the node, to wherever its routes lead. */
#pragma once

#include "deliver.h"
#include "fib.h"

/* BPF_FIB_LOOKUP_SKIP_NEIGH of Linux 6.3; the headers may be older. */
#define FIB_SKIP_NEIGH (1U << 2)

/* Where there is no such way, the stack says so. */
__verified_alone int send_by_route(struct __sk_buff *ctx, struct packet *packet)
{
	struct bpf_fib_lookup fib = {};
	struct bpf_redir_neigh via = {};
	int ret;

	if (!packet)
		return -DROP_INVALID_PACKET;
	fib_question(&fib, packet, &packet->destination, ctx->ifindex);
	if (bpf_fib_lookup(ctx, &fib, sizeof(fib), FIB_SKIP_NEIGH) != BPF_FIB_LKUP_RET_SUCCESS)
		return TC_ACT_OK;
	ret = decrease_ttl(ctx, packet, ORIGIN_NETWORK);
	if (ret < 0)
		return ret;
	via.nh_family = fib.family;
	__builtin_memcpy(via.ipv6_nh, fib.ipv6_dst, sizeof(via.ipv6_nh));
	return bpf_redirect_neigh(fib.ifindex, &via, sizeof(via), 0);
}
