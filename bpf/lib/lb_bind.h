/* SPDX-License-Identifier: Apache-2.0 */
/* Processes of the node cannot take a port that already is a node port or host port: nobody would ever reach them. */
#pragma once

#include "lb_sock.h"

#define EADDRINUSE 98

static __always_inline int is_node_service(struct lb_target *target)
{
	const struct lb_service *service = service_find(target, 0);

	return service && service->flags & (LB_SERVICE_F_NODE_PORT | LB_SERVICE_F_HOST_PORT);
}

/* Whether a socket of the node's namespace may have this address and port. */
static __always_inline int may_bind(struct bpf_sock *ctx, struct lb_target *target)
{
	if (!is_netns_of_node(bpf_get_netns_cookie(ctx)))
		return 1;
	if (is_node_service(target))
		return 0;
	/* A socket for any IPv6 address has the IPv4 ones too. */
	if (!addr_is_zero(&target->address))
		return 1;
	addr_from_ipv4(&target->address, 0);
	return !is_node_service(target);
}
