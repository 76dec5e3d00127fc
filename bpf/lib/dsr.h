/* SPDX-License-Identifier: Apache-2.0 */
/* Direct server return at the backend's node: what another node says in an option (dsr_add.h) is noted, and answers are given from there. */
#pragma once

#include "dsr_announce.h"
#include "nat.h"
#include "send.h"

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
	flow->announces = dsr_is_announcement(ctx, packet);
	return nat_answer_as(packet, &frontend);
}

static __always_inline int has_options(const struct packet *packet)
{
	return unlikely(packet->l4_offset != (packet_is_ipv6(packet) ? ETH_HEADER + sizeof(struct ipv6hdr) : ETH_HEADER + sizeof(struct iphdr)));
}
