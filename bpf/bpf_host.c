// SPDX-License-Identifier: Apache-2.0
/*
 * The node's devices. Ingress: what other nodes and the world send to pods of this node and to services; other traffic of the node passes
 * untouched. Egress: answers of services' backends that the node's own stack sends.
 */
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
#include "lib/nodeport.h"

/* Nobody out there has an address of this node or of its pods. */
static __always_inline int check_source(struct packet *packet, const struct flow *flow)
{
	if (flow->source_id == IDENTITY_HOST || endpoint_lookup(&packet->source))
		return drop_at(packet, FILE_BPF_HOST, DROP_INVALID_SOURCE_IP);
	return 0;
}

/* For a pod of this node, with all of the packet parsed. */
static __always_inline int to_endpoint(struct __sk_buff *ctx, struct packet *packet, struct flow *flow, const struct endpoint_info *endpoint)
{
	int ret;

	if (endpoint->flags & ENDPOINT_F_NOT_READY)
		return drop_at(packet, FILE_BPF_HOST, DROP_EP_NOT_READY);
	flow->destination_id = endpoint->sec_id;
	flow->destination_lxc = endpoint->lxc_id;
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
	if (unlikely(flow->reply_of)) {
		ret = lb_answer(ctx, packet, flow->reply_of);
		if (ret < 0)
			return ret;
	}
	trace_and_count(ctx, packet, flow, TRACE_TO_ENDPOINT, endpoint->lxc_id, DIRECTION_INGRESS, 0);
	return unlikely(flow->announces) ? TC_ACT_SHOT : deliver_local(ctx, packet, endpoint, ORIGIN_NETWORK);
}

/* A packet with the address of a pod of this node. */
static __always_inline int from_netdev(struct __sk_buff *ctx, struct packet *packet, struct flow *flow, const struct endpoint_info *endpoint)
{
	int ret = parse_transport(ctx, packet);

	if (ret < 0)
		return ret;
	/* Neighbour discovery does not cross routers. */
	if (unlikely(is_neighbor_discovery(packet)))
		return drop_at(packet, FILE_BPF_HOST, DROP_FORBIDDEN_ICMPV6_MESSAGE);
	flow->source_id = identity_of(ipcache_lookup(&packet->source));
	ret = check_source(packet, flow);
	if (!ret && enable_nodeport && has_options(packet))
		ret = dsr_receive(ctx, packet, flow);
	return ret < 0 ? ret : to_endpoint(ctx, packet, flow, endpoint);
}

/* A packet with another address. What cannot be parsed is the stack's to refuse. */
static __always_inline int from_netdev_to_service(struct __sk_buff *ctx, struct packet *packet, struct flow *flow)
{
	const struct endpoint_info *endpoint;
	int ret;

	if (parse_transport(ctx, packet) < 0)
		return TC_ACT_OK;
	ret = packet->flags & PACKET_F_ICMP_ERROR ? nodeport_error(ctx, packet, flow) : nodeport(ctx, packet, flow);
	if (ret != LB_TRANSLATED)
		return ret;
	ret = check_source(packet, flow);
	if (ret < 0)
		return ret;
	endpoint = endpoint_lookup(&packet->destination);
	if (!endpoint)
		return drop_at(packet, FILE_BPF_HOST, DROP_UNKNOWN_L3_TARGET_ADDRESS);
	flow->seen_at = endpoint->lxc_id;
	ret = to_endpoint(ctx, packet, flow, endpoint);
	/* The proxy answers by the stack, where only the connection tells whose answer it is. */
	if (ret >= 0 && flow->proxy_port)
		nat_answer_as_service(packet, flow->rev_nat);
	return ret;
}

/* A caller is told why, where there is a way to say it. */
static __always_inline int drop_or_refuse(struct __sk_buff *ctx, const struct packet *packet, const struct flow *flow, int reason)
{
	int ret = drop_packet(ctx, packet, flow, reason);

	if (!flow->refuse || refuse(ctx, packet, flow->refuse))
		return ret;
	return bpf_redirect(ctx->ifindex, 0);
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
	if (!endpoint && (ret < 0 || !enable_nodeport))
		return TC_ACT_OK;
	if (endpoint) {
		flow.destination_id = endpoint->sec_id;
		flow.destination_lxc = flow.seen_at = endpoint->lxc_id;
		if (!ret)
			ret = from_netdev(ctx, &packet, &flow, endpoint);
	} else {
		ret = from_netdev_to_service(ctx, &packet, &flow);
	}
	return ret < 0 ? drop_or_refuse(ctx, &packet, &flow, ret) : ret;
}

/* What came in by a device was translated there. */
SEC("tc")
int cil_to_netdev(struct __sk_buff *ctx)
{
	struct l4_address from = {};
	struct packet packet = {};

	if (!enable_nodeport || ctx->ingress_ifindex || (ctx->protocol != bpf_htons(ETH_P_IP) && ctx->protocol != bpf_htons(ETH_P_IPV6)))
		return TC_ACT_OK;
	if (parse_l3(ctx, &packet) < 0 || parse_transport(ctx, &packet) < 0 || packet.flags & PACKET_F_STATELESS)
		return TC_ACT_OK;
	if (packet.flags & PACKET_F_ICMP_ERROR)
		return lb_answer_error(ctx, &packet, REV_NAT_CONNECTION) < 0 ? TC_ACT_SHOT : TC_ACT_OK;
	if (nat_find_frontend(&packet, &from))
		return TC_ACT_OK;
	return rewrite_end(ctx, &packet, END_SOURCE, &from) < 0 ? TC_ACT_SHOT : TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
