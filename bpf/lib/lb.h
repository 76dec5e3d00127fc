/* SPDX-License-Identifier: Apache-2.0 */
/* Service to backend, decided once where a program connects or sends: no packet is rewritten afterwards. */
#pragma once

#include "config.h"
#include "event_types.h"
#include "events_lost.h"
#include "lb_maps.h"

#define NANOSECONDS_PER_SECOND 1000000000ULL
#define NO_BACKEND (-1)
#define NO_SERVICE 1
#define ECONNREFUSED 111

/* Address, port and protocol as a socket call gives them. */
struct sock_target {
	struct addr16 address;
	__be16 port;
	__u8 protocol;
	__u8 pad;
};

static __always_inline void sock_report(struct bpf_sock_addr *ctx, const struct sock_target *target, enum sock_trace_point point, __u8 flags)
{
	struct sock_event *event;

	if (!trace_sock)
		return;
	event = bpf_ringbuf_reserve(&cilium_events, sizeof(*event), 0);
	if (!event) {
		events_count_lost();
		return;
	}
	event->type = EVENT_TRACE_SOCK;
	event->subtype = point;
	event->protocol = target->protocol;
	event->flags = flags | (addr_is_ipv4(&target->address) ? 0 : SOCK_F_IPV6);
	event->dport = target->port;
	event->pad = 0;
	event->destination = target->address;
	event->sock_cookie = bpf_get_socket_cookie(ctx);
	event->cgroup_id = bpf_get_current_cgroup_id();
	event->ktime = bpf_ktime_get_boot_ns();
	bpf_ringbuf_submit(event, 0);
}

static __always_inline const struct lb_service *service_lookup(const struct sock_target *target, __u16 slot)
{
	struct lb_service_key key = {
		.address = target->address,
		.port = target->port,
		.slot = slot,
		.protocol = target->protocol,
	};

	return bpf_map_lookup_elem(&cilium_lb_services, &key);
}

/* Does that backend still take new connections of the service? */
static __always_inline int service_has(const struct lb_service *service, __u32 backend_id)
{
	struct lb_affinity_match_key key = { .service_id = service->service_id, .backend_id = backend_id };

	return bpf_map_lookup_elem(&cilium_lb_affinity_match, &key) != NULL;
}

/* The backend this client had last, while it is remembered and still the service's. */
static __always_inline const struct lb_backend *affinity_recall(const struct lb_affinity_key *key, const struct lb_service *service, __u64 now)
{
	struct lb_affinity *affinity = bpf_map_lookup_elem(&cilium_lb_affinity, key);
	__u32 backend_id;

	if (!affinity || now - affinity->last_used > service->affinity_timeout * NANOSECONDS_PER_SECOND)
		return NULL;
	backend_id = affinity->backend_id;
	if (!service_has(service, backend_id))
		return NULL;
	affinity->last_used = now;
	return bpf_map_lookup_elem(&cilium_lb_backends, &backend_id);
}

static __always_inline const struct lb_backend *backend_choose(const struct sock_target *target, const struct lb_service *service,
							      __u32 *chosen)
{
	__u16 slot = bpf_get_prandom_u32() % service->count + 1;
	const struct lb_service *entry = service_lookup(target, slot);

	if (!entry)
		return NULL;
	*chosen = entry->backend_id;
	return bpf_map_lookup_elem(&cilium_lb_backends, chosen);
}

/* A backend for the service: a random one, or the client's own when the service keeps clients. */
static __always_inline const struct lb_backend *backend_select(const struct sock_target *target, const struct lb_service *service, __u64 client)
{
	struct lb_affinity_key key = { .service_id = service->service_id, .is_cookie = 1 };
	const struct lb_backend *backend;
	struct lb_affinity affinity = {};

	if (!(service->flags & LB_SERVICE_F_AFFINITY))
		return backend_choose(target, service, &affinity.backend_id);
	*(__u64 *)key.client.bytes = client;
	affinity.last_used = bpf_ktime_get_ns();
	backend = affinity_recall(&key, service, affinity.last_used);
	if (backend)
		return backend;
	backend = backend_choose(target, service, &affinity.backend_id);
	if (backend)
		bpf_map_update_elem(&cilium_lb_affinity, &key, &affinity, BPF_ANY);
	return backend;
}

/* Remembers what the program asked for, so that the backend's answers appear to come from there. */
static __always_inline int service_remember(struct bpf_sock_addr *ctx, const struct sock_target *service_address, const struct lb_service *service,
					    const struct lb_backend *backend)
{
	struct lb_reverse_sk_key key = { .sock_cookie = bpf_get_socket_cookie(ctx), .address = backend->address, .port = backend->port };
	struct lb_reverse_sk value = {
		.address = service_address->address,
		.port = service_address->port,
		.service_id = service->service_id,
	};

	return bpf_map_update_elem(&cilium_lb_reverse_sk, &key, &value, BPF_ANY);
}

/* Forward: target becomes a backend (0), is no service (NO_SERVICE), or has none to offer (NO_BACKEND). */
static __always_inline int service_translate(struct bpf_sock_addr *ctx, struct sock_target *target)
{
	const struct lb_service *service = service_lookup(target, 0);
	const struct lb_backend *backend;
	struct sock_target to;

	if (!service)
		return NO_SERVICE;
	sock_report(ctx, target, SOCK_TRACE_PRE_DIRECTION_FORWARD, service->count ? 0 : SOCK_F_NO_BACKEND);
	if (!service->count)
		return NO_BACKEND;
	backend = backend_select(target, service, bpf_get_netns_cookie(ctx));
	if (!backend || service_remember(ctx, target, service, backend))
		return NO_BACKEND;
	to = (struct sock_target){ .address = backend->address, .port = backend->port, .protocol = target->protocol };
	*target = to;
	sock_report(ctx, target, SOCK_TRACE_POST_DIRECTION_FORWARD, 0);
	return 0;
}

/* Reverse: target, an address a socket heard from, becomes the service it stands for (0). */
static __always_inline int service_restore(struct bpf_sock_addr *ctx, struct sock_target *target)
{
	struct lb_reverse_sk_key key = { .sock_cookie = bpf_get_socket_cookie(ctx), .address = target->address, .port = target->port };
	const struct lb_reverse_sk *value = bpf_map_lookup_elem(&cilium_lb_reverse_sk, &key);

	if (!value)
		return NO_SERVICE;
	target->address = value->address;
	target->port = value->port;
	return 0;
}
