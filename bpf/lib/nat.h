/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network address translation with state. Two entries a translation, one for each direction: NAT_OUT finds what the source becomes,
 * NAT_IN whom the answer is for. Answers of a backend that must come from the service's address (DSR) have a NAT_OUT alone.
 */
#pragma once

#include "conntrack.h"
#include "lb_packet.h"
#include "nat_maps.h"
#include "rewrite.h"

#define NO_TRANSLATION 1
/* Ports tried before a connection is given up. */
#define NAT_PROBES 32

static __always_inline void nat_key_of(const struct packet *packet, enum nat_direction direction, struct nat_key *key)
{
	*key = (struct nat_key){
		.source = packet->source,
		.destination = packet->destination,
		.sport = packet->sport,
		.dport = packet->dport,
		.protocol = packet->protocol,
		.direction = direction,
	};
}

static __always_inline int nat_is_over(const struct nat_entry *entry, __u32 now)
{
	return (__s32)(entry->lifetime - now) < 0;
}

static __always_inline __u16 nat_flags_of(const struct packet *packet)
{
	if (packet->protocol != PROTO_TCP)
		return 0;
	return (packet->tcp_flags & TCP_FIN ? NAT_F_CLOSING : 0) | (packet->tcp_flags & TCP_RST ? NAT_F_RESET : 0);
}

static __always_inline __u32 nat_lifetime(const struct packet *packet, __u16 flags)
{
	if (packet->protocol != PROTO_TCP)
		return ct_lifetime_any;
	if (flags & NAT_F_RESET)
		return ct_lifetime_close;
	if (flags & NAT_F_CLOSING || !(packet->tcp_flags & TCP_ACK))
		return ct_lifetime_syn;
	return ct_lifetime_tcp;
}

/* The entry's flags after this packet. */
static __always_inline __u16 nat_flags_after(const struct packet *packet, const struct nat_entry *entry)
{
	/* The same ports begin again. */
	if (tcp_is_opening(packet))
		return entry->flags & ~(NAT_F_CLOSING | NAT_F_RESET);
	return entry->flags | nat_flags_of(packet);
}

/* Something is to be written: once a second, or when the connection's state changes. */
static __always_inline int nat_is_due(const struct packet *packet, const struct nat_entry *entry, __u32 now)
{
	__u16 flags = nat_flags_after(packet, entry);

	return flags != entry->flags || now + nat_lifetime(packet, flags) != entry->lifetime;
}

/* A packet used the entry. True if it was due: then the entry of the other direction is too. */
static __always_inline int nat_follow(const struct packet *packet, struct nat_entry *entry, __u32 now)
{
	if (!nat_is_due(packet, entry, now))
		return 0;
	entry->flags = nat_flags_after(packet, entry);
	entry->lifetime = now + nat_lifetime(packet, entry->flags);
	return 1;
}

/* What an answer to the translated packet looks like. */
static __always_inline void nat_answer_key(const struct packet *packet, const struct l4_address *as, struct nat_key *key)
{
	*key = (struct nat_key){
		.source = packet->destination,
		.destination = as->address,
		.sport = packet->dport,
		.dport = as->port,
		.protocol = packet->protocol,
		.direction = NAT_IN,
	};
	/* An echo has one identifier, and that is what is translated. */
	if (packet->flags & PACKET_F_ECHO)
		key->sport = as->port;
}

static __always_inline void nat_answer_entry(const struct packet *packet, __u32 service_id, __u32 now, struct nat_entry *entry)
{
	*entry = (struct nat_entry){
		.address = packet->source,
		.port = packet->sport,
		.flags = nat_flags_of(packet),
		.service_id = service_id,
		.created = now,
	};
	entry->lifetime = now + nat_lifetime(packet, entry->flags);
}

/* Takes the port for this connection, unless another one has it. */
static __always_inline int nat_take(const struct nat_key *key, const struct nat_entry *entry, __u32 now)
{
	const struct nat_entry *other;

	if (!bpf_map_update_elem(&cilium_snat, key, entry, BPF_NOEXIST))
		return 0;
	other = bpf_map_lookup_elem(&cilium_snat, key);
	if (other && !nat_is_over(other, now) && !(addr_equal(&other->address, &entry->address) && other->port == entry->port))
		return -1;
	return bpf_map_update_elem(&cilium_snat, key, entry, BPF_ANY) ? -1 : 0;
}

/* A port of as->address for a new connection, described by *entry. */
static __always_inline int nat_allocate(const struct packet *packet, struct l4_address *as, const struct nat_entry *entry, struct nat_key *answer,
					int keep, __u32 now)
{
	__u32 size = nat_port_max - nat_port_min + 1, start = bpf_get_prandom_u32();

	for (__u32 i = 0; i < NAT_PROBES; i++) {
		as->port = keep ? packet->sport : bpf_htons(nat_port_min + (start + i) % size);
		nat_answer_key(packet, as, answer);
		if (!nat_take(answer, entry, now))
			return 0;
		if (keep)
			break;
	}
	return -1;
}

/*
 * Gives the packet `as` for its source: with the port its connection has, or a new one (`keep`: its own). as->port is filled in.
 * Changes no packet. Full tables and no free port are drops (167).
 */
__verified_alone int nat_bind(struct packet *packet, struct l4_address *as, __u32 service_id, int keep)
{
	struct nat_entry entry, *known;
	struct nat_key key, answer;
	__u32 now = ct_now();

	if (!packet || !as)
		return -DROP_INVALID_PACKET;
	nat_key_of(packet, NAT_OUT, &key);
	known = bpf_map_lookup_elem(&cilium_snat, &key);
	nat_answer_entry(packet, service_id, now, &entry);
	if (known && !nat_is_over(known, now) && addr_equal(&known->address, &as->address)) {
		as->port = known->port;
		if (!nat_follow(packet, known, now))
			return 0;
		/* Keeps the answers' entry alive as well, and makes it again if the table has lost it. */
		nat_answer_key(packet, as, &answer);
		entry.flags = known->flags;
		entry.created = known->created;
		entry.lifetime = known->lifetime;
		if (!nat_take(&answer, &entry, now))
			return 0;
	}
	if (nat_allocate(packet, as, &entry, &answer, keep, now))
		return drop_at(packet, FILE_NAT, DROP_NO_MAPPING_FOR_NAT_MASQUERADE);
	entry.address = as->address;
	entry.port = as->port;
	if (bpf_map_update_elem(&cilium_snat, &key, &entry, BPF_ANY))
		return drop_at(packet, FILE_NAT, DROP_NO_MAPPING_FOR_NAT_MASQUERADE);
	return 0;
}

/* The same for a translation that exists and needs nothing but to be used; else NO_TRANSLATION. */
__verified_alone int nat_known(struct packet *packet, struct l4_address *as)
{
	struct nat_entry *known;
	__u32 now = ct_now();
	struct nat_key key;

	if (!packet || !as)
		return -DROP_INVALID_PACKET;
	nat_key_of(packet, NAT_OUT, &key);
	known = bpf_map_lookup_elem(&cilium_snat, &key);
	if (!known || nat_is_over(known, now) || nat_is_due(packet, known, now))
		return NO_TRANSLATION;
	as->address = known->address;
	as->port = known->port;
	return 0;
}

/* Makes answers to this packet, from whom it is for, appear to come from `frontend`. */
__verified_alone int nat_answer_as(struct packet *packet, const struct l4_address *frontend)
{
	__u32 now = ct_now();
	struct nat_entry entry = { .flags = NAT_F_DSR, .created = now }, *known;
	struct nat_key key = { .direction = NAT_OUT };

	if (!packet || !frontend)
		return -DROP_INVALID_PACKET;
	key.source = packet->destination;
	key.destination = packet->source;
	key.sport = packet->dport;
	key.dport = packet->sport;
	key.protocol = packet->protocol;
	known = bpf_map_lookup_elem(&cilium_snat, &key);
	if (known && addr_equal(&known->address, &frontend->address) && known->port == frontend->port) {
		nat_follow(packet, known, now);
		return 0;
	}
	entry.address = frontend->address;
	entry.port = frontend->port;
	entry.lifetime = now + nat_lifetime(packet, entry.flags);
	if (bpf_map_update_elem(&cilium_snat, &key, &entry, BPF_ANY))
		return drop_at(packet, FILE_NAT, DROP_NO_MAPPING_FOR_NAT_MASQUERADE);
	return 0;
}

/* The same, from a service's address. */
__verified_alone int nat_answer_as_service(struct packet *packet, __u32 service_id)
{
	struct l4_address frontend = {};

	if (!packet || lb_frontend(service_id, &frontend))
		return NO_TRANSLATION;
	return nat_answer_as(packet, &frontend);
}

/* Whom an answer is for, and whom it shall come from (from->port 0: from its sender), or NO_TRANSLATION. */
__verified_alone int nat_find_caller(struct packet *packet, struct l4_address *caller, struct l4_address *from)
{
	struct nat_entry *entry;
	__u32 now = ct_now();
	struct nat_key key;

	if (!packet || !caller || !from)
		return -DROP_INVALID_PACKET;
	nat_key_of(packet, NAT_IN, &key);
	entry = bpf_map_lookup_elem(&cilium_snat, &key);
	if (!entry || nat_is_over(entry, now))
		return NO_TRANSLATION;
	nat_follow(packet, entry, now);
	caller->address = entry->address;
	caller->port = entry->port;
	if (entry->service_id && lb_frontend(entry->service_id, from))
		return drop_at(packet, FILE_NAT, DROP_NO_MAPPING_FOR_NAT_MASQUERADE);
	return 0;
}

/* Whom an answer of a backend of this node shall come from, where only the connection tells, or NO_TRANSLATION. */
__verified_alone int nat_find_frontend(struct packet *packet, struct l4_address *from)
{
	struct nat_entry *entry;
	__u32 now = ct_now();
	struct nat_key key;

	if (!packet || !from)
		return -DROP_INVALID_PACKET;
	nat_key_of(packet, NAT_OUT, &key);
	entry = bpf_map_lookup_elem(&cilium_snat, &key);
	if (!entry || !(entry->flags & NAT_F_DSR) || nat_is_over(entry, now))
		return NO_TRANSLATION;
	nat_follow(packet, entry, now);
	from->address = entry->address;
	from->port = entry->port;
	return 0;
}
