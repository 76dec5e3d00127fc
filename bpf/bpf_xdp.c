// SPDX-License-Identifier: Apache-2.0
/*
 * The node's devices, before the stack has made anything of a packet: calls to services whose backend is on another node turn round here,
 * and so do its answers. A connection's first packet, whatever is to be dropped or told, and all that is for this node go on to
 * cil_from_netdev, which says the same of them; so this program holds no decision of its own, and may be left out.
 */
#define CONTEXT_XDP

#include "lib/common.h"
#include "lib/config.h"
#include "lib/endpoint.h"
#include "lib/fragment.h"
#include "lib/ipcache.h"
#include "lib/metrics.h"
#include "lib/xdp_send.h"
#include "lib/dsr_add.h"
#include "lib/nat.h"

/* Whom the packet shall be for and from; a zero port: as it is. */
struct translation {
	struct l4_address source;
	struct l4_address destination;
	int dsr;
};

/* Writes the translation, once it is certain that the packet can go. */
static __always_inline int translate(struct xdp_md *ctx, struct packet *packet, const struct translation *to)
{
	int ret = to->dsr ? dsr_add(ctx, packet) : 0;

	if (!ret)
		ret = rewrite_end(ctx, packet, END_DESTINATION, &to->destination);
	if (!ret && to->source.port)
		ret = rewrite_end(ctx, packet, END_SOURCE, &to->source);
	return ret;
}

static __always_inline int send_translated(struct xdp_md *ctx, struct packet *packet, const struct translation *to)
{
	__u32 length = context_length(ctx);
	struct link link;

	if (find_link(ctx, packet, &to->destination, to->dsr ? dsr_length(packet) : 0, &link))
		return XDP_PASS;
	if (translate(ctx, packet, to) < 0 || write_link(ctx, packet, &link)) {
		metrics_count(DROP_ERROR_WRITING_TO_PACKET, DIRECTION_SERVICE, length);
		return XDP_DROP;
	}
	metrics_count(REASON_FORWARDED, DIRECTION_SERVICE, length);
	return XDP_TX;
}

/* To a backend on another node; others are not for us. */
__verified_alone int forward(struct xdp_md *ctx, struct packet *packet, const struct lb_choice *choice)
{
	struct translation to = {};
	const struct remote_info *remote;
	struct packet call;

	if (!packet || !choice || endpoint_lookup(&choice->backend.address))
		return XDP_PASS;
	remote = ipcache_lookup(&choice->backend.address);
	if (identity_of(remote) == IDENTITY_HOST)
		return XDP_PASS;
	to.destination = choice->backend;
	to.dsr = choice->flags & LB_SERVICE_F_DSR && remote && !addr_is_zero(&remote->tunnel_endpoint);
	if (!to.dsr) {
		call = *packet;
		call.destination = choice->backend.address;
		call.dport = choice->backend.port;
		if (nat_known(&call, &to.source))
			return XDP_PASS;
	}
	return send_translated(ctx, packet, &to);
}

/* An answer to a caller that got an address of this node. */
__verified_alone int answer(struct xdp_md *ctx, struct packet *packet)
{
	struct translation to = {};
	__u16 port;

	if (!packet)
		return XDP_PASS;
	port = bpf_ntohs(packet->dport);
	if (port < nat_port_min || port > nat_port_max || nat_find_caller(packet, &to.destination, &to.source))
		return XDP_PASS;
	return send_translated(ctx, packet, &to);
}

SEC("xdp")
int cil_xdp_entry(struct xdp_md *ctx)
{
	struct lb_choice choice = {};
	struct packet packet = {};
	__be16 protocol = context_protocol(ctx);

	if (!enable_nodeport || (protocol != bpf_htons(ETH_P_IP) && protocol != bpf_htons(ETH_P_IPV6)))
		return XDP_PASS;
	if (parse_l3(ctx, &packet) < 0 || packet.flags & (PACKET_F_FIRST_FRAGMENT | PACKET_F_LATER_FRAGMENT) || packet.ttl <= 1)
		return XDP_PASS;
	if (packet.protocol != PROTO_TCP && packet.protocol != PROTO_UDP)
		return XDP_PASS;
	if (endpoint_lookup(&packet.destination) || parse_transport(ctx, &packet) < 0)
		return XDP_PASS;
	if (lb_choose(&packet, LB_FROM_OUTSIDE | LB_KNOWN, &choice))
		return answer(ctx, &packet);
	return forward(ctx, &packet, &choice);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
