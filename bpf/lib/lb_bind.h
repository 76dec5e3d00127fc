/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes of the node cannot take an address and port of a service: nobody would ever reach them. A host port is no service's, and who
 * asks for any free port may get its number: it may be taken, and is the pod's for those who call it.
 */
#pragma once

#include "lb_sock.h"

#define EADDRINUSE 98

static __always_inline int is_node_service(struct lb_target *target)
{
	const struct lb_service *service = service_find(target, 0);

	return service && service->flags & (LB_SERVICE_F_NODE_PORT | LB_SERVICE_F_EXTERNAL_IP | LB_SERVICE_F_LOAD_BALANCER);
}

/* Whether a socket of the node's namespace may have this address and port. */
static __always_inline int may_bind(struct bpf_sock *ctx, struct lb_target *target)
{
	if (!is_netns_of_node(bpf_get_netns_cookie(ctx)))
		return 1;
	/* At a loopback address the node's processes reach its node ports. */
	if (is_loopback(&target->address))
		addr_to_any(&target->address);
	if (is_node_service(target))
		return 0;
	/* A socket for any IPv6 address has the IPv4 ones too. */
	if (!addr_is_zero(&target->address))
		return 1;
	addr_from_ipv4(&target->address, 0);
	return !is_node_service(target);
}
