/* SPDX-License-Identifier: Apache-2.0 */
/* A pod calls a service and its socket did not translate it: its packets are, here, one by one. */
#pragma once

#include "deliver.h"
#include "lb_answer.h"
#include "trace.h"

static __always_inline int deliver_to_itself(struct __sk_buff *ctx, struct packet *packet, struct flow *flow)
{
	const struct endpoint_info *self = endpoint_lookup(&packet->destination);

	if (!self)
		return drop_at(packet, FILE_LB, DROP_UNKNOWN_L3_TARGET_ADDRESS);
	flow->destination_id = flow->source_id;
	metrics_count(REASON_FORWARDED, DIRECTION_EGRESS, ctx->len);
	trace_and_count(ctx, packet, flow, TRACE_TO_ENDPOINT, self->lxc_id, DIRECTION_INGRESS, 0);
	return deliver_local(ctx, packet, self, ORIGIN_POD);
}

/*
 * The chosen backend is the caller. It would not believe a packet from its own address, so the caller gets another one. A pod may always
 * talk to itself: policy is not asked.
 */
__verified_alone int lb_loopback(struct __sk_buff *ctx, struct packet *packet, struct flow *flow, const struct lb_choice *choice)
{
	const struct lb_node *node = lb_node_get();
	struct l4_address as = {};
	int ret;

	if (!packet || !flow || !choice)
		return -DROP_INVALID_PACKET;
	if (!node)
		return drop_at(packet, FILE_LB, DROP_NO_MAPPING_FOR_NAT_MASQUERADE);
	as.address = packet_is_ipv6(packet) ? node->loopback_ipv6 : node->loopback_ipv4;
	if (addr_is_zero(&as.address))
		return drop_at(packet, FILE_LB, DROP_NO_MAPPING_FOR_NAT_MASQUERADE);
	ret = rewrite_end(ctx, packet, END_DESTINATION, &choice->backend);
	if (!ret)
		ret = nat_bind(packet, &as, choice->service_id, 1);
	if (!ret)
		ret = rewrite_end(ctx, packet, END_SOURCE, &as);
	return ret < 0 ? ret : deliver_to_itself(ctx, packet, flow);
}

/* The packet is for the address that a pod has to itself. */
static __always_inline int is_loopback_caller(const struct packet *packet)
{
	const struct lb_node *node = lb_node_get();

	return node && addr_equal(&packet->destination, packet_is_ipv6(packet) ? &node->loopback_ipv6 : &node->loopback_ipv4);
}

/* The pod answers itself. */
__verified_alone int lb_loopback_answer(struct __sk_buff *ctx, struct packet *packet, struct flow *flow)
{
	struct l4_address caller = {}, from = {};
	int ret;

	if (!packet || !flow)
		return -DROP_INVALID_PACKET;
	if (!is_loopback_caller(packet))
		return NO_SERVICE;
	ret = nat_find_caller(packet, &caller, &from);
	if (ret)
		return ret < 0 ? ret : NO_SERVICE;
	ret = rewrite_end(ctx, packet, END_DESTINATION, &caller);
	if (!ret)
		ret = rewrite_end(ctx, packet, END_SOURCE, &from);
	return ret < 0 ? ret : deliver_to_itself(ctx, packet, flow);
}

/* An ICMP error of a pod: about an answer that it got as a caller's, or about a call of its own to itself. */
static __always_inline int lb_error_from_pod(struct __sk_buff *ctx, struct packet *packet, struct flow *flow)
{
	int ret = lb_error_to_backend(ctx, packet);

	if (ret != NO_SERVICE || !is_loopback_caller(packet))
		return ret;
	ret = lb_error_to_caller(ctx, packet);
	return ret == LB_TRANSLATED ? deliver_to_itself(ctx, packet, flow) : ret;
}

/* LB_TRANSLATED: the packet is for a backend now. Else NO_SERVICE, a TC action, or a drop (see flow->refuse). */
__verified_alone int lb_from_pod(struct __sk_buff *ctx, struct packet *packet, struct flow *flow)
{
	struct lb_choice choice = { .caller = ctx->ifindex };
	int ret;

	if (!packet || !flow)
		return -DROP_INVALID_PACKET;
	if (packet->flags & (PACKET_F_STATELESS | PACKET_F_ECHO) || out_of_hops(packet))
		return NO_SERVICE;
	ret = lb_choose(packet, LB_FROM_INSIDE, &choice);
	if (ret == NO_SERVICE)
		return lb_loopback_answer(ctx, packet, flow);
	if (ret < 0) {
		flow->refuse = ret == -DROP_SERVICE_BACKEND_NOT_FOUND ? REFUSE_CLOSED : 0;
		return ret;
	}
	if (addr_equal(&choice.backend.address, &packet->source))
		return lb_loopback(ctx, packet, flow, &choice);
	flow->rev_nat = choice.service_id;
	ret = rewrite_end(ctx, packet, END_DESTINATION, &choice.backend);
	return ret < 0 ? ret : LB_TRANSLATED;
}
