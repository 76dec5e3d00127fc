/* SPDX-License-Identifier: Apache-2.0 */
/* Finding a service and choosing one of its backends. */
#pragma once

#include "config.h"
#include "lb_maps.h"

#define NANOSECONDS_PER_SECOND 1000000000ULL

/* Who is called. */
struct lb_target {
	struct addr16 address;
	__be16 port;
	__u8 protocol;
	__u8 scope; /* enum lb_scope: where the service was found */
};

/* 0.0.0.0 or ::, the address of what is the same at every node. */
static __always_inline void addr_to_any(struct addr16 *address)
{
	if (!addr_is_ipv4(address))
		__builtin_memset(address->bytes, 0, 12);
	__builtin_memset(address->bytes + 12, 0, 4);
}

static __always_inline const struct lb_service *service_lookup(const struct lb_target *target, __u16 slot)
{
	struct lb_service_key key = {
		.address = target->address,
		.port = target->port,
		.slot = slot,
		.protocol = target->protocol,
		.scope = target->scope,
	};

	return bpf_map_lookup_elem(&cilium_lb_services, &key);
}

/* The service, as callers inside or outside of the cluster see it. */
static __always_inline const struct lb_service *service_find(struct lb_target *target, int inside)
{
	const struct lb_service *service;

	target->scope = LB_SCOPE_EXTERNAL;
	service = service_lookup(target, 0);
	if (service && inside && service->flags & LB_SERVICE_F_TWO_SCOPES) {
		target->scope = LB_SCOPE_INTERNAL;
		service = service_lookup(target, 0);
	}
	return service;
}

/* The address is redirected, but not for the pod that the key names. */
static __always_inline int service_is_skipped(const struct lb_service *service, struct lb_skip_key *pod, const struct lb_target *target)
{
	if (!(service->flags & LB_SERVICE_F_LOCAL_REDIRECT))
		return 0;
	pod->address = target->address;
	pod->port = target->port;
	pod->protocol = target->protocol;
	return bpf_map_lookup_elem(&cilium_skip_lb, pod) != NULL;
}

/* What the address of a local redirect is without it; NULL: no service. */
static __always_inline const struct lb_service *service_unredirected(struct lb_target *target)
{
	target->scope = LB_SCOPE_INTERNAL;
	return service_lookup(target, 0);
}

static __always_inline const struct lb_backend *backend_lookup(__u32 id)
{
	return bpf_map_lookup_elem(&cilium_lb_backends, &id);
}

/* Does that backend still take new connections of the service? */
static __always_inline int service_has(const struct lb_service *service, __u32 backend_id)
{
	struct lb_affinity_match_key key = { .service_id = service->service_id, .backend_id = backend_id };

	return bpf_map_lookup_elem(&cilium_lb_affinity_match, &key) != NULL;
}

/* The backend this client had last, while it is remembered and still the service's; else 0. */
static __always_inline __u32 affinity_recall(const struct lb_affinity_key *key, const struct lb_service *service, __u64 now)
{
	struct lb_affinity *affinity = bpf_map_lookup_elem(&cilium_lb_affinity, key);
	__u32 backend_id;

	if (!affinity || now - affinity->last_used > service->affinity_timeout * NANOSECONDS_PER_SECOND)
		return 0;
	backend_id = affinity->backend_id;
	if (!service_has(service, backend_id))
		return 0;
	affinity->last_used = now;
	return backend_id;
}

static __always_inline void affinity_remember(const struct lb_affinity_key *key, __u32 backend_id, __u64 now)
{
	struct lb_affinity affinity = { .last_used = now, .backend_id = backend_id };

	bpf_map_update_elem(&cilium_lb_affinity, key, &affinity, BPF_ANY);
}

/* The slot of a backend that takes new connections. While the agent changes a service, slot 0 may still count others. */
static __always_inline const struct lb_service *slot_lookup(const struct lb_target *target, __u16 slot)
{
	const struct lb_service *entry = service_lookup(target, slot);

	return entry && !(entry->flags & LB_SERVICE_F_QUARANTINED) ? entry : NULL;
}

/*
 * Any of the backends that take new connections; 0: the map is in the middle of a change. A service that has shrunk meanwhile has
 * no such backend in the slot: its first one stays as long as it has one.
 */
static __always_inline __u32 backend_at_random(const struct lb_target *target, const struct lb_service *service)
{
	__u16 slot = bpf_get_prandom_u32() % service->count + 1;
	const struct lb_service *entry = slot_lookup(target, slot);

	if (!entry)
		entry = slot_lookup(target, 1);
	return entry ? entry->backend_id : 0;
}

/* The backend, or when it has gone since its slot was read the first there is. */
static __always_inline const struct lb_backend *backend_or_first(const struct lb_target *target, __u32 backend_id)
{
	const struct lb_backend *backend = backend_lookup(backend_id);
	const struct lb_service *entry;

	if (backend)
		return backend;
	entry = slot_lookup(target, 1);
	return entry ? backend_lookup(entry->backend_id) : NULL;
}

/* A backend for a socket: a random one, or the client's own when the service keeps clients. */
static __always_inline const struct lb_backend *backend_for_socket(const struct lb_target *target, const struct lb_service *service,
								  __u64 client)
{
	struct lb_affinity_key key = { .service_id = service->service_id, .is_cookie = 1 };
	__u64 now;
	__u32 id;

	if (!(service->flags & LB_SERVICE_F_AFFINITY))
		return backend_or_first(target, backend_at_random(target, service));
	*(__u64 *)key.client.bytes = client;
	now = bpf_ktime_get_ns();
	id = affinity_recall(&key, service, now);
	if (!id) {
		id = backend_at_random(target, service);
		affinity_remember(&key, id, now);
	}
	return backend_or_first(target, id);
}
