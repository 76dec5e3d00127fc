/* SPDX-License-Identifier: Apache-2.0 */
/* Service to backend, decided once where a program connects or sends: no packet is rewritten afterwards. */
#pragma once

#include "event_types.h"
#include "events_lost.h"
#include "ipcache.h"
#include "lb.h"
#include "nat_maps.h"

#define NO_BACKEND (-1)
#define NO_SERVICE 1
#define ECONNREFUSED 111
#define LOOPBACK_NETWORK 127

static __always_inline void sock_report(struct bpf_sock_addr *ctx, const struct lb_target *target, enum sock_trace_point point, __u8 flags)
{
	struct sock_event *event;

	if (!trace_sock)
		return;
	event = events_have_room(1) ? bpf_ringbuf_reserve(&cilium_events, sizeof(*event), 0) : NULL;
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

static __always_inline int is_loopback(const struct addr16 *address)
{
	if (addr_is_ipv4(address))
		return address->bytes[12] == LOOPBACK_NETWORK;
	return !(addr_word(address, 0) | addr_word(address, 1) | addr_word(address, 2)) && addr_word(address, 3) == bpf_htonl(1);
}

/* Whether a network namespace is the node's own, not a pod's. */
static __always_inline int is_netns_of_node(__u64 netns_cookie)
{
	const struct lb_node *node = lb_node_get();

	return node && node->netns_cookie && netns_cookie == node->netns_cookie;
}

/*
 * A port of a node, called by any address of it: node ports are the same on every node of the cluster, so a pod of this one need not go
 * there; a host port is this node's alone, and so is a node port that only has backends where they are (externalTrafficPolicy: Local).
 */
static __always_inline const struct lb_service *node_service_find(struct lb_target *target, int own)
{
	__u16 port = bpf_ntohs(target->port);
	const struct lb_service *service;

	if (!own) {
		const struct remote_info *info = ipcache_lookup(&target->address);
		__u32 identity = identity_of(info);

		own = identity == IDENTITY_HOST;
		if (!own && (port < nodeport_min || port > nodeport_max ||
			     (identity != IDENTITY_REMOTE_NODE && identity != IDENTITY_KUBE_APISERVER)))
			return NULL;
	}
	addr_to_any(&target->address);
	service = service_find(target, 1);
	if (!service || (!own && service->flags & (LB_SERVICE_F_HOST_PORT | LB_SERVICE_F_EXTERNAL_LOCAL)))
		return NULL;
	return service;
}

/* Remembers what the program asked for, so that the backend's answers appear to come from there. */
static __always_inline int service_remember(struct bpf_sock_addr *ctx, const struct lb_target *service_address, const struct lb_service *service,
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
static __always_inline int service_translate(struct bpf_sock_addr *ctx, struct lb_target *target)
{
	struct lb_skip_key caller = { .netns_cookie = bpf_get_netns_cookie(ctx) };
	struct lb_target asked = *target;
	const struct lb_service *service;
	const struct lb_backend *backend;
	int is_own = is_loopback(&target->address);

	/* With socketLB.hostNamespaceOnly pods' packets are translated one by one instead. */
	if (sock_host_only && !is_netns_of_node(caller.netns_cookie))
		return NO_SERVICE;
	/* Loopback addresses are the node's for its own programs; a pod has its own. */
	if (is_own && !is_netns_of_node(caller.netns_cookie))
		return NO_SERVICE;
	service = service_find(target, 1);
	if (!service)
		service = node_service_find(target, is_own);
	if (service && service_is_skipped(service, &caller, target))
		service = service_unredirected(target);
	if (!service)
		return NO_SERVICE;
	sock_report(ctx, &asked, SOCK_TRACE_PRE_DIRECTION_FORWARD, service->count ? 0 : SOCK_F_NO_BACKEND);
	if (!service->count)
		return NO_BACKEND;
	backend = backend_for_socket(target, service, caller.netns_cookie);
	if (!backend || service_remember(ctx, &asked, service, backend))
		return NO_BACKEND;
	target->address = backend->address;
	target->port = backend->port;
	sock_report(ctx, target, SOCK_TRACE_POST_DIRECTION_FORWARD, 0);
	return 0;
}

/* Reverse: target, an address a socket heard from, becomes the service it stands for (0). */
static __always_inline int service_restore(struct bpf_sock_addr *ctx, struct lb_target *target)
{
	struct lb_reverse_sk_key key = { .sock_cookie = bpf_get_socket_cookie(ctx), .address = target->address, .port = target->port };
	const struct lb_reverse_sk *value = bpf_map_lookup_elem(&cilium_lb_reverse_sk, &key);

	if (!value)
		return NO_SERVICE;
	target->address = value->address;
	target->port = value->port;
	return 0;
}
