/* SPDX-License-Identifier: Apache-2.0 */
/* Connections whose HTTP is decided at the server's socket, as packets see them. */
#pragma once

#include "conntrack.h"
#include "http_ports.h"

static __always_inline int tcp_has_payload(struct __sk_buff *ctx, const struct packet *packet)
{
	struct tcp_start tcp;
	__u32 extensions = packet_is_ipv6(packet) ? packet->l4_offset - ETH_HEADER - sizeof(struct ipv6hdr) : 0;

	if (packet->protocol != PROTO_TCP || packet->flags & PACKET_F_ICMP_ERROR)
		return 0;
	if (peek_transport(ctx, packet->l4_offset, &tcp))
		return 1;
	return packet->l3_length > extensions + (tcp.data_offset >> 4) * 4;
}

/*
 * Instead of the proxy: the rules are in the kernel, the port's sockets come by our program, and this client has been seen to speak plain
 * HTTP. Only from the first packet on: later there is no telling what the server has read. One with data (TCP Fast Open) is read too early.
 */
static __always_inline int http_begins(struct __sk_buff *ctx, const struct packet *packet, const struct flow *flow, const struct ct_side *ingress)
{
	if (!ingress->proxy_port || flow->from_proxy || !tcp_is_opening(packet) || tcp_has_payload(ctx, packet))
		return 0;
	return http_find_rules(ingress->lxc_id, ingress->remote_id, packet->dport) &&
	       http_server_is(&packet->destination, packet->dport, 0, HTTP_SERVER_SEEN) &&
	       http_server_is(&packet->destination, packet->dport, ingress->remote_id, HTTP_CLIENT_PLAIN);
}
