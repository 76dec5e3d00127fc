/* SPDX-License-Identifier: Apache-2.0 */
/* Direct server return writes an option into packets: which ones, and whether they have room for it. Both nodes ask, of packets without it. */
#pragma once

#include "context.h"
#include "packet.h"

#define DSR_LENGTH_IPV4 8
#define DSR_LENGTH_IPV6 24

/* How much longer the packet gets: the first of a TCP connection tells whom the caller called, and each of others. */
static __always_inline __u32 dsr_length(const struct packet *packet)
{
	if ((packet->protocol == PROTO_TCP && !tcp_is_opening(packet)) || packet->flags & PACKET_F_LATER_FRAGMENT)
		return 0;
	return packet_is_ipv6(packet) ? DSR_LENGTH_IPV6 : DSR_LENGTH_IPV4;
}

#ifndef CONTEXT_XDP
/* The packet has room for that. What the device is still to cut (GSO) can get no option. */
static __always_inline int dsr_fits(struct __sk_buff *ctx, const struct packet *packet)
{
	__u32 mtu = 0, length = dsr_length(packet);

	return !length || (!ctx->gso_size && bpf_check_mtu(ctx, 0, &mtu, length, 0) == BPF_MTU_CHK_RET_SUCCESS);
}
#endif
