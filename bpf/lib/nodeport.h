/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the network, for an address that no pod here has: calls to services (node ports, load balancer and external addresses, host ports),
 * and the answers of other nodes' backends to callers that got an address of this node.
 */
#pragma once

#include "dsr.h"
#include "lb_answer.h"
#include "refuse.h"
#include "trace.h"

/* No service and no answer: the stack's business. Other results: LB_TRANSLATED (for a pod of this node), TC actions, drops. */
#define NODEPORT_PASS TC_ACT_OK

/* Most of what comes by is the node's own, and need not be asked whose it is. */
static __always_inline void identify_caller(const struct packet *packet, struct flow *flow)
{
	flow->source_id = identity_of(ipcache_lookup(&packet->source));
}

static __always_inline int nodeport_send(struct __sk_buff *ctx, struct packet *packet, struct flow *flow, const struct remote_info *remote)
{
	flow->destination_id = identity_of(remote);
	trace_and_count(ctx, packet, flow, TRACE_TO_NETWORK, 0, DIRECTION_INGRESS, 0);
	return send_by_route(ctx, packet);
}

/* A backend in the node's own network namespace answers by the stack: cil_to_netdev sees that, and finds the caller's service here. */
static __always_inline int nodeport_to_host(struct __sk_buff *ctx, struct packet *packet, struct flow *flow, const struct lb_choice *choice)
{
	struct l4_address frontend = { .address = packet->destination, .port = packet->dport };
	int ret = rewrite_end(ctx, packet, END_DESTINATION, &choice->backend);

	if (!ret)
		ret = nat_answer_as(packet, &frontend);
	if (ret < 0)
		return ret;
	flow->destination_id = IDENTITY_HOST;
	return trace_and_count(ctx, packet, flow, TRACE_TO_HOST, 0, DIRECTION_INGRESS, TC_ACT_OK);
}

/* To a backend elsewhere, with an address of this node for the caller's, so that the answers come by here. */
static __always_inline int nodeport_by_nat(struct __sk_buff *ctx, struct packet *packet, const struct lb_choice *choice)
{
	const struct lb_node *node = lb_node_get();
	struct l4_address as = {};
	int ret;

	if (!node)
		return drop_at(packet, FILE_NODEPORT, DROP_NO_MAPPING_FOR_NAT_MASQUERADE);
	as.address = packet_is_ipv6(packet) ? node->ipv6 : node->ipv4;
	if (addr_is_zero(&as.address))
		return drop_at(packet, FILE_NODEPORT, DROP_NO_MAPPING_FOR_NAT_MASQUERADE);
	ret = rewrite_end(ctx, packet, END_DESTINATION, &choice->backend);
	if (!ret)
		ret = nat_bind(packet, &as, choice->service_id, 0);
	if (!ret)
		ret = rewrite_end(ctx, packet, END_SOURCE, &as);
	return ret;
}

static __always_inline int nodeport_by_dsr(struct __sk_buff *ctx, struct packet *packet, struct flow *flow, const struct lb_choice *choice)
{
	int ret = 0;

	if (dsr_fits(ctx, packet))
		ret = dsr_add(ctx, packet);
	else if (packet->protocol == PROTO_UDP && choice->due)
		ret = dsr_announce(ctx, packet);
	else if (choice->begins || (packet->protocol == PROTO_TCP && dsr_length(packet))) {
		flow->refuse = REFUSE_TOO_LONG;
		return drop_at(packet, FILE_DSR, DROP_FRAGMENTATION_NEEDED);
	}
	return ret < 0 ? ret : rewrite_end(ctx, packet, END_DESTINATION, &choice->backend);
}

__verified_alone int nodeport_forward(struct __sk_buff *ctx, struct packet *packet, struct flow *flow, const struct lb_choice *choice)
{
	const struct remote_info *remote;
	int ret;

	if (!packet || !flow || !choice)
		return -DROP_INVALID_PACKET;
	if (endpoint_lookup(&choice->backend.address)) {
		flow->rev_nat = choice->service_id;
		ret = rewrite_end(ctx, packet, END_DESTINATION, &choice->backend);
		return ret < 0 ? ret : LB_TRANSLATED;
	}
	remote = ipcache_lookup(&choice->backend.address);
	if (identity_of(remote) == IDENTITY_HOST)
		return nodeport_to_host(ctx, packet, flow, choice);
	/* A backend out of the cluster understands no options, and would not answer for this node. */
	if (choice->flags & LB_SERVICE_F_DSR && remote && !addr_is_zero(&remote->tunnel_endpoint))
		ret = nodeport_by_dsr(ctx, packet, flow, choice);
	else
		ret = nodeport_by_nat(ctx, packet, choice);
	return ret < 0 ? ret : nodeport_send(ctx, packet, flow, remote);
}

/* An answer to a caller that got an address of this node. */
__verified_alone int nodeport_answer(struct __sk_buff *ctx, struct packet *packet, struct flow *flow)
{
	struct l4_address caller = {}, from = {};
	int ret;

	if (!packet || !flow)
		return -DROP_INVALID_PACKET;
	ret = nat_find_caller(packet, &caller, &from);
	if (ret)
		return ret < 0 ? ret : NODEPORT_PASS;
	flow->ct_reason = CT_REPLY;
	identify_caller(packet, flow);
	ret = rewrite_end(ctx, packet, END_DESTINATION, &caller);
	if (!ret && from.port)
		ret = rewrite_end(ctx, packet, END_SOURCE, &from);
	return ret < 0 ? ret : nodeport_send(ctx, packet, flow, ipcache_lookup(&packet->destination));
}

/* An ICMP error about what this node has sent to a backend in a caller's place. */
static __always_inline int nodeport_error_to_caller(struct __sk_buff *ctx, struct packet *packet, struct flow *flow)
{
	int ret;

	identify_caller(packet, flow);
	ret = lb_error_to_caller(ctx, packet);
	if (ret != LB_TRANSLATED)
		return ret < 0 ? ret : NODEPORT_PASS;
	flow->ct_reason = CT_RELATED;
	return nodeport_send(ctx, packet, flow, ipcache_lookup(&packet->destination));
}

static __always_inline int nodeport_error(struct __sk_buff *ctx, struct packet *packet, struct flow *flow)
{
	int ret = lb_error_to_backend(ctx, packet);

	if (ret == NO_SERVICE)
		return nodeport_error_to_caller(ctx, packet, flow);
	identify_caller(packet, flow);
	if (ret < 0 || endpoint_lookup(&packet->destination))
		return ret;
	flow->ct_reason = CT_RELATED;
	return nodeport_send(ctx, packet, flow, ipcache_lookup(&packet->destination));
}

/* What the packet, already parsed, is to services. flow->refuse: tell its caller that it was dropped. */
__verified_alone int nodeport(struct __sk_buff *ctx, struct packet *packet, struct flow *flow)
{
	struct lb_choice choice = {};
	__u16 port;
	int ret;

	if (!packet || !flow)
		return -DROP_INVALID_PACKET;
	port = bpf_ntohs(packet->dport);
	if (packet->flags & (PACKET_F_STATELESS | PACKET_F_ECHO) || out_of_hops(packet))
		return NODEPORT_PASS;
	ret = lb_choose(packet, LB_FROM_OUTSIDE, &choice);
	if (ret == NO_SERVICE && (port < nat_port_min || port > nat_port_max))
		return NODEPORT_PASS;
	if (ret == NO_SERVICE)
		return nodeport_answer(ctx, packet, flow);
	identify_caller(packet, flow);
	/* With externalTrafficPolicy: Local a node without backends is to be silent: balancers in front of the cluster go by its health check. */
	if (ret == -DROP_SERVICE_BACKEND_NOT_FOUND && !(choice.flags & LB_SERVICE_F_EXTERNAL_LOCAL))
		flow->refuse = REFUSE_CLOSED;
	/* What goes on to another node passes no policy here, so nothing else would tell of it. */
	if (choice.begins)
		flow->report = 1;
	return ret < 0 ? ret : nodeport_forward(ctx, packet, flow, &choice);
}
