/* SPDX-License-Identifier: Apache-2.0 */
/* Fragments: the first one has the ports, the later ones are judged as if they had them too. Never reassembled. */
#pragma once

#include "conntrack_maps.h"
#include "parse.h"

static __always_inline void fragment_key_of(const struct packet *packet, struct fragment_key *key)
{
	*key = (struct fragment_key){
		.source = packet->source,
		.destination = packet->destination,
		.id = packet->fragment_id,
		.protocol = packet->protocol,
	};
}

static __always_inline int fragment_recall(struct packet *packet)
{
	struct icmp_start icmp = {};
	struct fragment_key key;
	const struct fragment_ports *ports;

	fragment_key_of(packet, &key);
	ports = bpf_map_lookup_elem(&cilium_fragments, &key);
	if (!ports)
		return drop_at(packet, FILE_FRAGMENT, DROP_FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND);
	packet->sport = ports->sport;
	packet->dport = ports->dport;
	if (packet->protocol == PROTO_ICMP || packet->protocol == PROTO_ICMPV6) {
		icmp.type = ports->icmp_type;
		icmp.id = ports->sport;
		classify_icmp(packet, &icmp);
	}
	return 0;
}

static __always_inline int fragment_remember(struct packet *packet)
{
	struct fragment_ports ports = { .sport = packet->sport, .dport = packet->dport, .icmp_type = packet->icmp_type };
	struct fragment_key key;

	fragment_key_of(packet, &key);
	if (bpf_map_update_elem(&cilium_fragments, &key, &ports, BPF_ANY))
		return drop_at(packet, FILE_FRAGMENT, DROP_FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND);
	return 0;
}

/* The transport part of a packet, wherever it has to come from. */
__verified_alone int parse_transport(struct context *ctx, struct packet *packet)
{
	int ret;

	if (!packet)
		return -DROP_INVALID_PACKET;
	if (unlikely(packet->flags & PACKET_F_LATER_FRAGMENT))
		return fragment_recall(packet);
	ret = parse_l4(ctx, packet);
	if (!ret && unlikely(packet->flags & PACKET_F_FIRST_FRAGMENT))
		ret = fragment_remember(packet);
	return ret;
}
