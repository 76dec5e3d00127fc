/* SPDX-License-Identifier: Apache-2.0 */
/* Writing records into the ring buffer. What does not fit is counted, never waited for. */
#pragma once

#include "config.h"
#include "events_lost.h"
#include "metrics.h"
#include "packet.h"

/* What differs between records; the rest comes from the packet and the flow. */
struct record {
	__u8 type;
	__u8 subtype;
	__u8 match_type;
	__u8 flags;
	__s32 verdict;
	__u32 cookie;
};

static __always_inline __u8 event_flags_of(const struct packet *packet, const struct flow *flow)
{
	__u8 flags = packet_is_ipv6(packet) ? EVENT_F_IPV6 : 0;

	if (flow->ct_reason != CT_UNKNOWN)
		flags |= EVENT_F_REPLY_KNOWN;
	if (flow->ct_reason == CT_REPLY)
		flags |= EVENT_F_IS_REPLY;
	return flags;
}

__verified_alone int event_send(struct __sk_buff *ctx, const struct packet *packet, const struct flow *flow,
				      const struct record *record)
{
	__u32 length = ctx->len;
	struct event *event;
	int passed;

	if (!packet || !flow || !record)
		return 0;
	passed = record->type == EVENT_TRACE || (record->type == EVENT_POLICY_VERDICT && record->verdict >= 0);
	event = events_have_room(passed) ? bpf_ringbuf_reserve(&cilium_events, sizeof(*event), 0) : NULL;
	if (!event) {
		events_count_lost();
		return 0;
	}
	event->type = record->type;
	event->subtype = record->subtype;
	event->direction = flow->direction;
	event->flags = event_flags_of(packet, flow) | record->flags;
	event->lxc_id = flow->seen_at;
	event->match_type = record->match_type;
	event->ext_error = packet->ext_error;
	event->src_id = flow->source_id;
	event->dst_id = flow->destination_id;
	event->dst_lxc_id = flow->destination_lxc;
	event->cookie = record->cookie;
	event->ifindex = ctx->ifindex;
	event->hash = bpf_get_hash_recalc(ctx);
	event->verdict = record->verdict;
	event->line = packet->line;
	event->file = packet->file;
	event->ct_reason = flow->ct_reason;
	event->len_orig = length;
	event->pad = 0;
	event->ktime = bpf_ktime_get_boot_ns();
	if (length > EVENT_CAPTURE_MAX)
		length = EVENT_CAPTURE_MAX;
	/* Both bounds in one place, on one register: the verifier must see 1...128, and the compiler must not "improve" it. */
	asm volatile("if %0 > 0 goto +1\n"
		     "%0 = 1\n"
		     "if %0 <= 128 goto +1\n"
		     "%0 = 128"
		     : "+r"(length));
	event->cap_len = bpf_skb_load_bytes(ctx, 0, event->data, length) ? 0 : length;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

/* A policy decision: verdict 0 allowed, > 0 port of the proxy, < 0 -drop reason. */
static __always_inline void event_verdict(struct __sk_buff *ctx, const struct packet *packet, const struct flow *flow,
					  __s32 verdict, __u8 match_type, __u8 flags, __u32 cookie)
{
	struct record record = {
		.type = EVENT_POLICY_VERDICT,
		.match_type = match_type,
		.flags = flags,
		.verdict = verdict,
		.cookie = cookie,
	};

	if (events_policy_verdict)
		event_send(ctx, packet, flow, &record);
}

static __always_inline void event_trace(struct __sk_buff *ctx, const struct packet *packet, const struct flow *flow,
					enum observation_point point)
{
	struct record record = {
		.type = EVENT_TRACE,
		.subtype = point,
		.flags = flow->audit ? EVENT_F_AUDIT : 0,
		.verdict = bpf_ntohs(flow->proxy_port),
		.cookie = flow->cookie,
	};

	if (events_trace && flow->report)
		event_send(ctx, packet, flow, &record);
}

/* Counts a packet that goes no further, and reports it: never subject to aggregation. */
static __always_inline int drop_packet(struct __sk_buff *ctx, const struct packet *packet, const struct flow *flow, int reason)
{
	struct record record = {
		.type = EVENT_DROP,
		.subtype = (__u8)-reason,
		.verdict = reason,
		.cookie = flow->cookie,
	};

	if (events_drop)
		event_send(ctx, packet, flow, &record);
	metrics_count((__u8)-reason, flow->direction, ctx->len);
	return TC_ACT_SHOT;
}
