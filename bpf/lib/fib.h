/* SPDX-License-Identifier: Apache-2.0 */
/* Asking the node's routes. */
#pragma once

#include "packet.h"

#define AF_INET 2
#define AF_INET6 10

static __always_inline void fib_question(struct bpf_fib_lookup *fib, const struct packet *packet, const struct addr16 *to, __u32 ifindex)
{
	fib->ifindex = ifindex;
	fib->l4_protocol = packet->protocol;
	fib->sport = packet->sport;
	fib->dport = packet->dport;
	if (packet_is_ipv6(packet)) {
		fib->family = AF_INET6;
		__builtin_memcpy(fib->ipv6_src, &packet->source, sizeof(fib->ipv6_src));
		__builtin_memcpy(fib->ipv6_dst, to, sizeof(fib->ipv6_dst));
	} else {
		fib->family = AF_INET;
		fib->ipv4_src = addr_to_ipv4(&packet->source);
		fib->ipv4_dst = addr_to_ipv4(to);
	}
}
