/* SPDX-License-Identifier: Apache-2.0 */
/* Observation points: where a packet is seen, and how often that is told. */
#pragma once

#include "config.h"
#include "events.h"

/* The connection's direction as the endpoint sees it: a reply goes the other way than its connection. */
static __always_inline __u8 connection_direction(const struct flow *flow, enum direction packet_direction)
{
	if (flow->ct_reason != CT_REPLY)
		return packet_direction;
	return packet_direction == DIRECTION_EGRESS ? DIRECTION_INGRESS : DIRECTION_EGRESS;
}

/* A packet comes in (from-* points): told only when everything is. */
static __always_inline void trace_arrival(struct __sk_buff *ctx, const struct packet *packet, struct flow *flow,
					  enum observation_point point)
{
	if (aggregation_level() == MONITOR_NONE)
		event_trace(ctx, packet, flow, point);
}

/* A packet goes on (to-* points), seen by that endpoint. Counts it and returns `result`. */
static __always_inline int trace_and_count(struct __sk_buff *ctx, const struct packet *packet, struct flow *flow,
					   enum observation_point point, __u16 seen_at, enum direction direction, int result)
{
	flow->seen_at = seen_at;
	flow->direction = connection_direction(flow, direction);
	event_trace(ctx, packet, flow, point);
	metrics_count(REASON_FORWARDED, direction, ctx->len);
	return result;
}
