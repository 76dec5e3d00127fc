// SPDX-License-Identifier: Apache-2.0
/*
 * A pod's veth, host end. cil_from_container sees what the pod sends, cil_to_container what the node's stack sends to the pod.
 * Packets between two pods of this node, and from other nodes to a pod, never pass cil_to_container: the receiver's policy
 * is asked where they enter, and they go straight into the receiver's namespace.
 */
#include "lib/common.h"
#include "lib/config.h"
#include "lib/packet.h"
#include "lib/parse.h"
#include "lib/fragment.h"
#include "lib/endpoint.h"
#include "lib/ipcache.h"
#include "lib/neighbor.h"
#include "lib/events.h"
#include "lib/trace.h"
#include "lib/flow.h"
#include "lib/proxy.h"
#include "lib/deliver.h"
#include "lib/lb_pod.h"
#include "lib/refuse.h"
#include "lib/send.h"

/* The pod whose veth this is must be known and ready. */
static __always_inline int check_veth(struct packet *packet, const struct veth_info *veth)
{
	if (!veth || veth->flags & ENDPOINT_F_NOT_READY)
		return drop_at(packet, FILE_BPF_LXC, DROP_EP_NOT_READY);
	return 0;
}

static __always_inline int parse_ip(struct __sk_buff *ctx, struct packet *packet)
{
	int ret;

	if (ctx->protocol != bpf_htons(ETH_P_IP) && ctx->protocol != bpf_htons(ETH_P_IPV6))
		return drop_at(packet, FILE_BPF_LXC, DROP_UNSUPPORTED_L2_PROTOCOL);
	ret = parse_l3(ctx, packet);
	return ret ? ret : parse_transport(ctx, packet);
}

/* A pod may only use its own addresses. Its MAC too: the frame is rewritten, but a wrong one means that something is being tried. */
static __always_inline int check_source(struct __sk_buff *ctx, struct packet *packet, const struct veth_info *veth)
{
	const struct addr16 *own = packet_is_ipv6(packet) ? &veth->ipv6 : &veth->ipv4;
	struct mac mac;

	if (peek_at(ctx, ETH_ALEN, &mac))
		return drop_at(packet, FILE_BPF_LXC, DROP_INVALID_PACKET);
	if (!mac_equal(mac.bytes, veth->mac))
		return drop_at(packet, FILE_BPF_LXC, DROP_INVALID_SOURCE_MAC);
	if (addr_is_zero(own) || !addr_equal(&packet->source, own))
		return drop_at(packet, FILE_BPF_LXC, DROP_INVALID_SOURCE_IP);
	return 0;
}

/* The packet was sent back by cil_to_container: only the proxy's socket is left to find. */
__subprogram int hairpin_to_proxy(struct __sk_buff *ctx, struct packet *packet, struct flow *flow)
{
	__be16 listener = bpf_htons(ctx->mark >> 16);
	int ret = parse_ip(ctx, packet);

	if (!ret)
		ret = proxy_assign(ctx, packet, listener);
	return ret < 0 ? drop_packet(ctx, packet, flow, ret) : ret;
}

/* To a pod of this node. */
static __always_inline int send_to_pod(struct __sk_buff *ctx, struct packet *packet, struct flow *flow, const struct endpoint_info *to)
{
	if (out_of_hops(packet))
		return trace_and_count(ctx, packet, flow, TRACE_TO_STACK, flow->source_lxc, DIRECTION_EGRESS, TC_ACT_OK);
	metrics_count(REASON_FORWARDED, DIRECTION_EGRESS, ctx->len);
	trace_and_count(ctx, packet, flow, TRACE_TO_ENDPOINT, to->lxc_id, DIRECTION_INGRESS, 0);
	return deliver_local(ctx, packet, to, ORIGIN_POD);
}

/* To another node, to this node itself, or out of the cluster. */
static __always_inline int send_away(struct __sk_buff *ctx, struct packet *packet, struct flow *flow, const struct remote_info *to)
{
	if (to && !out_of_hops(packet) && reachable_by_neighbor(packet, to)) {
		trace_and_count(ctx, packet, flow, TRACE_TO_NETWORK, flow->source_lxc, DIRECTION_EGRESS, 0);
		return deliver_remote(ctx, packet, to);
	}
	/* The stack would not forward what says that it comes from this node. */
	if (unlikely(flow->reply_of) && flow->destination_id != IDENTITY_HOST) {
		trace_and_count(ctx, packet, flow, TRACE_TO_NETWORK, flow->source_lxc, DIRECTION_EGRESS, 0);
		return send_by_route(ctx, packet);
	}
	return trace_and_count(ctx, packet, flow, flow->destination_id == IDENTITY_HOST ? TRACE_TO_HOST : TRACE_TO_STACK,
			       flow->source_lxc, DIRECTION_EGRESS, TC_ACT_OK);
}

/* Everything between the check of the source and the packet's way out. */
static __always_inline int from_container(struct __sk_buff *ctx, struct packet *packet, struct flow *flow)
{
	const struct endpoint_info *endpoint = endpoint_lookup(&packet->destination);
	const struct remote_info *remote = endpoint ? NULL : ipcache_lookup(&packet->destination);
	int ret;

	/* Pods, here or on other nodes, are no services. */
	if (!endpoint && (!remote || addr_is_zero(&remote->tunnel_endpoint))) {
		ret = packet->flags & PACKET_F_ICMP_ERROR ? lb_error_from_pod(ctx, packet, flow) : lb_from_pod(ctx, packet, flow);
		if (ret != NO_SERVICE && ret != LB_TRANSLATED)
			return ret;
		if (ret == LB_TRANSLATED) {
			endpoint = endpoint_lookup(&packet->destination);
			remote = endpoint ? NULL : ipcache_lookup(&packet->destination);
		}
	}
	if (endpoint) {
		if (endpoint->flags & ENDPOINT_F_NOT_READY)
			return drop_at(packet, FILE_BPF_LXC, DROP_EP_NOT_READY);
		flow->destination_id = endpoint->sec_id;
		flow->destination_lxc = endpoint->lxc_id;
	} else {
		flow->destination_id = identity_of(remote);
	}
	trace_arrival(ctx, packet, flow, TRACE_FROM_ENDPOINT);
	ret = flow_decide(ctx, packet, flow);
	if (ret < 0)
		return ret;
	if (flow->proxy_port || flow->to_upstream) {
		trace_and_count(ctx, packet, flow, TRACE_TO_PROXY, flow->source_lxc, DIRECTION_EGRESS, 0);
		return proxy_assign(ctx, packet, flow->proxy_port);
	}
	if (unlikely(flow->reply_of)) {
		ret = lb_answer(ctx, packet, flow->reply_of);
		if (ret < 0)
			return ret;
	}
	return endpoint ? send_to_pod(ctx, packet, flow, endpoint) : send_away(ctx, packet, flow, remote);
}

/* Where a service has no backend the pod is told so. */
static __always_inline int drop_or_refuse(struct __sk_buff *ctx, const struct packet *packet, const struct flow *flow, int reason)
{
	int ret = drop_packet(ctx, packet, flow, reason);

	if (!flow->refuse || refuse(ctx, packet, flow->refuse))
		return ret;
	return bpf_redirect_peer(ctx->ifindex, 0);
}

SEC("tc")
int cil_from_container(struct __sk_buff *ctx)
{
	const struct veth_info *veth = veth_lookup(ctx->ifindex);
	struct packet packet = {};
	struct flow flow = {
		.ct_reason = CT_UNKNOWN,
		.direction = DIRECTION_EGRESS,
		.origin = ORIGIN_POD,
		.report = aggregation_level() < MONITOR_MEDIUM,
	};
	int ret = check_veth(&packet, veth);

	if (veth) {
		flow.source_id = veth->sec_id;
		flow.source_lxc = flow.seen_at = veth->lxc_id;
	}
	if (!veth || ret < 0)
		return drop_packet(ctx, &packet, &flow, ret);
	/* A packet from a pod has no mark: the kernel takes it off between namespaces. */
	if (unlikely((ctx->mark & MARK_MASK) == MARK_TO_PROXY))
		return hairpin_to_proxy(ctx, &packet, &flow);
	if (ctx->vlan_present)
		return drop_packet(ctx, &packet, &flow, drop_at(&packet, FILE_BPF_LXC, DROP_VLAN_FILTERED));

	if (ctx->protocol == bpf_htons(ETH_P_ARP)) {
		ret = neighbor_arp(ctx, veth);
		return ret < 0 ? drop_packet(ctx, &packet, &flow, ret) : ret;
	}

	ret = parse_ip(ctx, &packet);
	if (!ret && unlikely(is_neighbor_discovery(&packet)))
		ret = neighbor_discovery(ctx, &packet, veth);
	else if (!ret) {
		ret = check_source(ctx, &packet, veth);
		if (!ret)
			ret = from_container(ctx, &packet, &flow);
	}
	return ret < 0 ? drop_or_refuse(ctx, &packet, &flow, ret) : ret;
}

/* Who speaks through the stack: the proxy in a client's name, a pod or node known by its address, else this node. */
static __always_inline void identify_source(struct __sk_buff *ctx, const struct packet *packet, struct flow *flow)
{
	const struct endpoint_info *endpoint = endpoint_lookup(&packet->source);
	const struct remote_info *remote;

	if (mark_is_from_proxy(ctx->mark))
		flow->from_proxy = (ctx->mark & MARK_MASK) >> 8;
	if (endpoint) {
		flow->source_id = endpoint->sec_id;
		return;
	}
	remote = ipcache_lookup(&packet->source);
	flow->source_id = identity_of(remote);
	/* Made on this node (it came in by no device) and by nobody known: the node has more addresses than the ipcache knows. */
	if (!remote && !flow->from_proxy && !ctx->ingress_ifindex)
		flow->source_id = IDENTITY_HOST;
	flow->host_source = flow->source_id == IDENTITY_HOST;
}

static __always_inline int to_container(struct __sk_buff *ctx, struct packet *packet, struct flow *flow)
{
	int ret;

	identify_source(ctx, packet, flow);
	trace_arrival(ctx, packet, flow, flow->from_proxy ? TRACE_FROM_PROXY : TRACE_FROM_STACK);
	ret = flow_decide(ctx, packet, flow);
	if (ret < 0)
		return ret;
	if (flow->proxy_port || flow->to_upstream) {
		trace_and_count(ctx, packet, flow, TRACE_TO_PROXY, flow->destination_lxc, DIRECTION_INGRESS, 0);
		return proxy_hairpin(ctx, flow->proxy_port);
	}
	if (unlikely(flow->reply_of)) {
		ret = lb_answer(ctx, packet, flow->reply_of);
		if (ret < 0)
			return ret;
	}
	return trace_and_count(ctx, packet, flow, TRACE_TO_ENDPOINT, flow->destination_lxc, DIRECTION_INGRESS, TC_ACT_OK);
}

SEC("tc")
int cil_to_container(struct __sk_buff *ctx)
{
	const struct veth_info *veth = veth_lookup(ctx->ifindex);
	struct packet packet = {};
	struct flow flow = {
		.ct_reason = CT_UNKNOWN,
		.direction = DIRECTION_INGRESS,
		.origin = ORIGIN_STACK,
		.report = aggregation_level() < MONITOR_MEDIUM,
	};
	int ret = check_veth(&packet, veth);

	if (veth) {
		flow.destination_id = veth->sec_id;
		flow.destination_lxc = flow.seen_at = veth->lxc_id;
	}
	if (!veth || ret < 0)
		return drop_packet(ctx, &packet, &flow, ret);
	if (ctx->protocol == bpf_htons(ETH_P_ARP))
		return TC_ACT_OK;

	ret = parse_ip(ctx, &packet);
	if (!ret && unlikely(is_neighbor_discovery(&packet)))
		return TC_ACT_OK;
	if (!ret)
		ret = to_container(ctx, &packet, &flow);
	return ret < 0 ? drop_packet(ctx, &packet, &flow, ret) : ret;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
