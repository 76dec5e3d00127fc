/* SPDX-License-Identifier: Apache-2.0 */
/* Connection tracking: finding the entry of a packet, the TCP states, lifetimes and counters. Knows nothing of policy. */
#pragma once

#include "config.h"
#include "conntrack_maps.h"
#include "icmp_error.h"

#define NANOSECONDS 1000000000ULL

/* Seconds of the monotonic clock. The coarse clock is a plain read of memory; a few milliseconds do not matter here. */
static __always_inline __u32 ct_now(void)
{
	return bpf_ktime_get_coarse_ns() / NANOSECONDS;
}

/* A packet's place in its connection. */
struct ct_place {
	struct ct_key key;
	__u32 now;
	__u8 from_high; /* the packet comes from the high side */
	__u8 related;   /* it is an ICMP error about the connection, and goes the other way */
	__u8 pad[2];
};

/* Orders the two ends; sets from_high. Echo requests and replies carry in the key who asks, so nobody can ask under cover of an answer. */
static __always_inline void ct_place_of(const struct packet *packet, struct ct_place *place)
{
	int order = addr_compare(&packet->source, &packet->destination);
	struct ct_key *key = &place->key;

	if (order == 0)
		order = packet->sport < packet->dport ? -1 : 1;
	place->from_high = order > 0;
	key->low = order > 0 ? packet->destination : packet->source;
	key->high = order > 0 ? packet->source : packet->destination;
	key->low_port = order > 0 ? packet->dport : packet->sport;
	key->high_port = order > 0 ? packet->sport : packet->dport;
	key->protocol = packet->protocol;
	key->flags = 0;
	key->pad[0] = 0;
	key->pad[1] = 0;
	if (packet->flags & PACKET_F_ECHO && place->from_high == is_echo_request(packet))
		key->flags = CT_KEY_ECHO_FROM_HIGH;
}

/* The connection an ICMP error is about. It goes to the sender of the packet it quotes, or it is a lie. */
__verified_alone int ct_place_of_error(struct context *ctx, struct packet *packet, struct ct_place *place)
{
	struct packet quoted = {};
	int ret;

	if (!packet || !place)
		return -DROP_INVALID_PACKET;
	ret = parse_quoted(ctx, packet, &quoted);
	if (ret < 0)
		return ret;
	ct_place_of(&quoted, place);
	place->related = 1;
	place->from_high = !place->from_high;
	return 0;
}

static __always_inline struct ct_entry *ct_find(const struct ct_place *place)
{
	struct ct_entry *entry = bpf_map_lookup_elem(&cilium_ct, &place->key);

	if (entry && (__s32)(entry->lifetime - place->now) < 0)
		return NULL;
	return entry;
}

/* The packet comes from the side that did not begin. */
static __always_inline int ct_is_reply(const struct ct_place *place, const struct ct_entry *entry)
{
	return place->from_high != (entry->flags & CT_F_ORIGIN_HIGH ? 1 : 0);
}

static __always_inline int ct_is_closing(const struct ct_entry *entry)
{
	return (entry->flags & (CT_F_TX_CLOSING | CT_F_RX_CLOSING)) == (CT_F_TX_CLOSING | CT_F_RX_CLOSING) ||
	       entry->flags & CT_F_RESET;
}

/* A SYN begins a connection anew on a closed tuple, and always when it comes from the side that was called: a fresh look at policy either way. */
static __always_inline int ct_begins_anew(const struct packet *packet, const struct ct_entry *entry, int reply)
{
	return unlikely(tcp_is_opening(packet)) && (reply || ct_is_closing(entry));
}

static __always_inline __u32 ct_lifetime(const struct packet *packet, const struct ct_entry *entry)
{
	if (packet->protocol != PROTO_TCP)
		return ct_lifetime_any;
	if (ct_is_closing(entry))
		return ct_lifetime_close;
	/* The answers of the proxy may leave by another way: an ACK from the side that began proves that there was one. */
	if (entry->flags & CT_F_SEEN_REPLY || packet->tcp_flags & TCP_ACK)
		return ct_lifetime_tcp;
	return ct_lifetime_syn;
}

static __always_inline void ct_follow_tcp(const struct packet *packet, struct ct_entry *entry, int reply)
{
	__u16 flags = entry->flags;

	if (packet->tcp_flags & TCP_RST)
		flags |= CT_F_RESET;
	else if (flags & CT_F_RESET && !(packet->tcp_flags & TCP_SYN))
		flags &= ~CT_F_RESET; /* nobody believed that reset */
	if (packet->tcp_flags & TCP_FIN)
		flags |= reply ? CT_F_RX_CLOSING : CT_F_TX_CLOSING;
	if (flags != entry->flags)
		entry->flags = flags;
}

/* Counts the packet, follows the TCP states and says whether it is worth a trace event. */
static __always_inline int ct_update(struct __sk_buff *ctx, const struct packet *packet, struct ct_entry *entry,
				     const struct ct_place *place, int reply)
{
	__u8 new_flags = packet->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST);
	__u8 *seen = reply ? &entry->rx_flags_seen : &entry->tx_flags_seen;
	__u32 *reported = reply ? &entry->rx_reported : &entry->tx_reported;
	__u32 lifetime;

	if (packet->protocol == PROTO_TCP)
		ct_follow_tcp(packet, entry, reply);
	if (reply && !(entry->flags & CT_F_SEEN_REPLY))
		entry->flags |= CT_F_SEEN_REPLY;
	lifetime = place->now + ct_lifetime(packet, entry);
	if (entry->lifetime != lifetime)
		entry->lifetime = lifetime;
	__sync_fetch_and_add(reply ? &entry->rx_packets : &entry->tx_packets, 1);
	__sync_fetch_and_add(reply ? &entry->rx_bytes : &entry->tx_bytes, ctx->len);

	if (!(new_flags & ~*seen) && place->now - *reported < monitor_interval)
		return 0;
	*seen |= new_flags;
	*reported = place->now;
	return 1;
}
