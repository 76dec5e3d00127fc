/* SPDX-License-Identifier: Apache-2.0 */
/* Services packet by packet: the first of a connection chooses a backend, the others go where it went. Changes no packet. */
#pragma once

#include "conntrack.h"
#include "jhash.h"
#include "lb.h"
#include "maglev_maps.h"
#include "nat_maps.h"
#include "rewrite.h"

#define NO_SERVICE 1

/* Where a packet to a service goes. */
struct lb_choice {
	struct l4_address backend;
	__u32 service_id;
	__u32 flags; /* enum lb_service_flags of the service */
	__u32 begins; /* it is the first packet of its connection */
	__u32 due; /* that, or the first in this second, or the connection's state changes */
	__u32 caller; /* given: the interface of the pod that sends it, if one does */
};

/* Who calls whom, for Maglev: where clients stay with their backend, their port does not count. */
struct flow_words {
	struct addr16 client;
	struct addr16 frontend;
	__be16 client_port;
	__be16 frontend_port;
	__u32 protocol;
	__u32 pad[2];
};

_Static_assert(sizeof(struct flow_words) == 48, "flow_words is hashed as twelve words");

/* A function of its own: the map's value type would be known by name only, if no signature had it. */
__subprogram __u32 maglev_entry(const struct lb_maglev_piece *piece, __u32 at)
{
	return *(const __u32 *)(piece->bytes + 4 * (at % LB_MAGLEV_PIECE));
}

static __always_inline __u32 backend_by_maglev(const struct packet *packet, const struct lb_service *service)
{
	struct flow_words words = {
		.client = packet->source,
		.frontend = packet->destination,
		.client_port = service->flags & LB_SERVICE_F_AFFINITY ? 0 : packet->sport,
		.frontend_port = packet->dport,
		.protocol = packet->protocol,
	};
	__u32 id = service->service_id, size = service->maglev_size, at, number;
	const struct lb_maglev_piece *piece;
	void *table = bpf_map_lookup_elem(&cilium_lb_maglev, &id);

	if (!table || !size)
		return 0;
	at = jhash_words((const __u32 *)&words, sizeof(words) / 4, hash_seed) % size;
	number = at / LB_MAGLEV_PIECE;
	piece = bpf_map_lookup_elem(table, &number);
	return piece ? maglev_entry(piece, at) : 0;
}

static __always_inline __u32 backend_choose(const struct packet *packet, const struct lb_target *target, const struct lb_service *service)
{
	__u32 id = service->flags & LB_SERVICE_F_MAGLEV ? backend_by_maglev(packet, service) : 0;

	return id ? id : backend_at_random(target, service);
}

static __always_inline __u32 backend_for_packet(const struct packet *packet, const struct lb_target *target, const struct lb_service *service)
{
	struct lb_affinity_key key = { .client = packet->source, .service_id = service->service_id };
	__u64 now;
	__u32 id;

	if (!(service->flags & LB_SERVICE_F_AFFINITY))
		return backend_choose(packet, target, service);
	now = bpf_ktime_get_ns();
	id = affinity_recall(&key, service, now);
	if (!id) {
		id = backend_choose(packet, target, service);
		affinity_remember(&key, id, now);
	}
	return id;
}

/* loadBalancerSourceRanges: a trie of all services, each with its own part. */
static __always_inline int source_is_refused(const struct packet *packet, const struct lb_service *service)
{
	struct lb_source_range_key key = { .prefixlen = 32 + 128, .service_id = service->service_id, .address = packet->source };
	int found;

	if (!(service->flags & LB_SERVICE_F_SOURCE_RANGES))
		return 0;
	found = bpf_map_lookup_elem(&cilium_lb_source_range, &key) != NULL;
	return found == !!(service->flags & LB_SERVICE_F_SOURCE_RANGES_DENY);
}

static __always_inline void lb_ct_key_of(const struct packet *packet, struct lb_ct_key *key)
{
	*key = (struct lb_ct_key){
		.client = packet->source,
		.frontend = packet->destination,
		.client_port = packet->sport,
		.frontend_port = packet->dport,
		.protocol = packet->protocol,
	};
}

/* Only the caller's packets are seen: an ACK of his is as good as an answer, and his FIN does not end what he still hears. */
static __always_inline __u32 lb_ct_lifetime(const struct packet *packet, __u32 flags)
{
	if (packet->protocol != PROTO_TCP)
		return ct_lifetime_any;
	if (flags & LB_CT_F_RESET)
		return ct_lifetime_close;
	if (flags & LB_CT_F_CLOSING || !(packet->tcp_flags & TCP_ACK))
		return ct_lifetime_syn;
	return ct_lifetime_tcp;
}

static __always_inline __u32 lb_ct_flags_of(const struct packet *packet)
{
	if (packet->protocol != PROTO_TCP)
		return 0;
	return (packet->tcp_flags & TCP_FIN ? LB_CT_F_CLOSING : 0) | (packet->tcp_flags & TCP_RST ? LB_CT_F_RESET : 0);
}

/* The backend the connection has, if it still is one; the entry is brought up to date, unless that is left to another program. */
static __always_inline const struct lb_backend *lb_ct_backend(const struct packet *packet, const struct lb_ct_key *key, struct lb_choice *choice,
							     __u32 now, int update)
{
	struct lb_ct_entry *entry = bpf_map_lookup_elem(&cilium_lb_ct, key);
	const struct lb_backend *backend;
	__u32 flags, lifetime;

	if (!entry || entry->service_id != choice->service_id || (__s32)(entry->lifetime - now) < 0)
		return NULL;
	if (tcp_is_opening(packet) && entry->flags)
		return NULL;
	backend = backend_lookup(entry->backend_id);
	if (!backend)
		return NULL;
	flags = entry->flags | lb_ct_flags_of(packet);
	lifetime = now + lb_ct_lifetime(packet, flags);
	choice->due = flags != entry->flags || lifetime != entry->lifetime;
	if (!choice->due)
		return backend;
	if (!update)
		return NULL;
	entry->flags = flags;
	entry->lifetime = lifetime;
	return backend;
}

static __always_inline const struct lb_backend *lb_ct_begin(const struct packet *packet, const struct lb_ct_key *key, const struct lb_target *target,
							   const struct lb_service *service, __u32 now)
{
	struct lb_ct_entry entry = {
		.backend_id = backend_for_packet(packet, target, service),
		.service_id = service->service_id,
		.flags = lb_ct_flags_of(packet),
	};
	const struct lb_backend *backend = backend_lookup(entry.backend_id);
	const struct lb_service *first;

	/* It has gone since the slot or the table was read: the first slot has one as long as the service does. */
	if (unlikely(!backend)) {
		first = slot_lookup(target, 1);
		entry.backend_id = first ? first->backend_id : 0;
		backend = backend_lookup(entry.backend_id);
	}
	if (!backend)
		return NULL;
	entry.lifetime = now + lb_ct_lifetime(packet, entry.flags);
	return bpf_map_update_elem(&cilium_lb_ct, key, &entry, BPF_ANY) ? NULL : backend;
}

/* Who asks lb_choose(), and for what. */
enum lb_question {
	LB_FROM_OUTSIDE = 0,
	LB_FROM_INSIDE = 1, /* its sender is of the cluster, and not held to what the service demands of the world */
	LB_KNOWN = 2,       /* only what has a backend already, and is not due */
};

/* Where the packet goes if it is for a service (0), NO_SERVICE, or why it may not. */
__verified_alone int lb_choose(struct packet *packet, __u32 question, struct lb_choice *choice)
{
	int inside = question & LB_FROM_INSIDE;
	const struct lb_service *service;
	const struct lb_backend *backend;
	struct lb_skip_key caller = {};
	struct lb_target target;
	struct lb_ct_key key;
	__u32 now;

	if (!packet || !choice)
		return -DROP_INVALID_PACKET;
	target.address = packet->destination;
	target.port = packet->dport;
	target.protocol = packet->protocol;
	service = service_find(&target, inside);
	caller.ifindex = choice->caller;
	if (service && inside && service_is_skipped(service, &caller, &target))
		service = service_unredirected(&target);
	if (!service)
		return NO_SERVICE;
	choice->service_id = service->service_id;
	choice->flags = service->flags;
	if (!inside && !(service->flags & LB_SERVICE_F_ROUTABLE))
		return drop_at(packet, FILE_LB, DROP_IS_A_CLUSTERIP);
	if (!inside && source_is_refused(packet, service))
		return drop_at(packet, FILE_LB, DROP_DENIED_BY_LB_SRC_RANGE_CHECK);
	now = ct_now();
	lb_ct_key_of(packet, &key);
	backend = lb_ct_backend(packet, &key, choice, now, !(question & LB_KNOWN));
	if (!backend && question & LB_KNOWN)
		return NO_SERVICE;
	if (!backend && service->count) {
		backend = lb_ct_begin(packet, &key, &target, service, now);
		choice->begins = choice->due = 1;
	}
	if (!backend)
		return drop_at(packet, FILE_LB, DROP_SERVICE_BACKEND_NOT_FOUND);
	choice->backend.address = backend->address;
	choice->backend.port = backend->port;
	choice->backend.pad = 0;
	return 0;
}

/* The address a service's answers come from. */
static __always_inline int lb_frontend(__u32 service_id, struct l4_address *frontend)
{
	const struct lb_reverse_nat *found = bpf_map_lookup_elem(&cilium_lb_reverse_nat, &service_id);

	if (!found)
		return -1;
	frontend->address = found->address;
	frontend->port = found->port;
	frontend->pad = 0;
	return 0;
}
