// SPDX-License-Identifier: Apache-2.0
/* The node's devices, ingress: what other nodes and the world send to pods of this node. Traffic of the node itself passes untouched. */
#include "lib/common.h"
#include "lib/config.h"
#include "lib/packet.h"
#include "lib/parse.h"
#include "lib/fragment.h"
#include "lib/endpoint.h"
#include "lib/ipcache.h"
#include "lib/events.h"
#include "lib/trace.h"
#include "lib/flow.h"
#include "lib/proxy.h"
#include "lib/deliver.h"

/* Nobody out there has an address of this node or of its pods. */
static __always_inline int check_source(struct packet *packet, const struct flow *flow)
{
	if (flow->source_id == IDENTITY_HOST || endpoint_lookup(&packet->source))
		return drop_at(packet, FILE_BPF_HOST, DROP_INVALID_SOURCE_IP);
	return 0;
}

static __always_inline int from_netdev(struct __sk_buff *ctx, struct packet *packet, struct flow *flow, const struct endpoint_info *endpoint)
{
	int ret;

	if (endpoint->flags & ENDPOINT_F_NOT_READY)
		return drop_at(packet, FILE_BPF_HOST, DROP_EP_NOT_READY);
	ret = parse_transport(ctx, packet);
	if (ret < 0)
		return ret;
	/* Neighbour discovery does not cross routers. */
	if (unlikely(is_neighbor_discovery(packet)))
		return drop_at(packet, FILE_BPF_HOST, DROP_FORBIDDEN_ICMPV6_MESSAGE);
	flow->source_id = identity_of(ipcache_lookup(&packet->source));
	ret = check_source(packet, flow);
	if (ret < 0)
		return ret;
	trace_arrival(ctx, packet, flow, TRACE_FROM_NETWORK);
	ret = flow_decide(ctx, packet, flow);
	if (ret < 0)
		return ret;
	if (flow->proxy_port || flow->to_upstream) {
		trace_and_count(ctx, packet, flow, TRACE_TO_PROXY, endpoint->lxc_id, DIRECTION_INGRESS, 0);
		return proxy_assign(ctx, packet, flow->proxy_port);
	}
	if (out_of_hops(packet))
		return trace_and_count(ctx, packet, flow, TRACE_TO_STACK, endpoint->lxc_id, DIRECTION_INGRESS, TC_ACT_OK);
	trace_and_count(ctx, packet, flow, TRACE_TO_ENDPOINT, endpoint->lxc_id, DIRECTION_INGRESS, 0);
	return deliver_local(ctx, packet, endpoint, ORIGIN_NETWORK);
}

SEC("tc")
int cil_from_netdev(struct __sk_buff *ctx)
{
	const struct endpoint_info *endpoint;
	struct packet packet = {};
	struct flow flow = {
		.ct_reason = CT_UNKNOWN,
		.direction = DIRECTION_INGRESS,
		.origin = ORIGIN_NETWORK,
		.report = aggregation_level() < MONITOR_MEDIUM,
	};
	int ret;

	if (ctx->protocol != bpf_htons(ETH_P_IP) && ctx->protocol != bpf_htons(ETH_P_IPV6))
		return TC_ACT_OK;
	/* A header too broken to say where it goes is the stack's to refuse; it reaches no pod but through cil_to_container. */
	ret = parse_l3(ctx, &packet);
	endpoint = endpoint_lookup(&packet.destination);
	if (!endpoint)
		return TC_ACT_OK;
	flow.destination_id = endpoint->sec_id;
	flow.destination_lxc = flow.seen_at = endpoint->lxc_id;
	if (!ret)
		ret = from_netdev(ctx, &packet, &flow, endpoint);
	return ret < 0 ? drop_packet(ctx, &packet, &flow, ret) : ret;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
