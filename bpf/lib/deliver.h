/* SPDX-License-Identifier: Apache-2.0 */
/* The last step: into a pod of this node, to another node, or to the stack. */
#pragma once

#include "config.h"
#include "endpoint.h"
#include "fib.h"
#include "ipcache.h"
#include "parse.h"

/* The linear part must hold Ethernet and IP headers before they can be written; it practically always does. */
static __always_inline int make_linear(struct __sk_buff *ctx, __u32 length)
{
	if (likely((void *)(long)ctx->data + length <= (void *)(long)ctx->data_end))
		return 0;
	return bpf_skb_pull_data(ctx, length);
}

/* RFC 1624, as the kernel's ip_decrease_ttl(). */
static __always_inline int decrease_ttl_ipv4(struct __sk_buff *ctx)
{
	if (make_linear(ctx, ETH_HEADER + sizeof(struct iphdr)))
		return -1;

	struct iphdr *ip = (void *)(long)ctx->data + ETH_HEADER;
	__u32 check;

	if ((void *)(ip + 1) > (void *)(long)ctx->data_end)
		return -1;
	check = (__u32)ip->check + bpf_htons(0x0100);
	ip->check = check + (check >= 0xffff);
	ip->ttl--;
	return 0;
}

/* IPv6 has no header checksum, but a network card may have summed the whole packet: then the sum must follow. Pods' packets come from no card. */
static __always_inline int decrease_ttl_ipv6(struct __sk_buff *ctx, const struct packet *packet, enum packet_origin origin)
{
	__u8 hop_limit = packet->ttl - 1;

	if (origin != ORIGIN_POD)
		return bpf_skb_store_bytes(ctx, ETH_HEADER + offsetof(struct ipv6hdr, hop_limit), &hop_limit, 1, BPF_F_RECOMPUTE_CSUM);
	if (make_linear(ctx, ETH_HEADER + sizeof(struct ipv6hdr)))
		return -1;

	struct ipv6hdr *ip = (void *)(long)ctx->data + ETH_HEADER;

	if ((void *)(ip + 1) > (void *)(long)ctx->data_end)
		return -1;
	ip->hop_limit = hop_limit;
	return 0;
}

static __always_inline int decrease_ttl(struct __sk_buff *ctx, struct packet *packet, enum packet_origin origin)
{
	if (packet_is_ipv6(packet) ? decrease_ttl_ipv6(ctx, packet, origin) : decrease_ttl_ipv4(ctx))
		return drop_at(packet, FILE_DELIVER, DROP_ERROR_WRITING_TO_PACKET);
	return 0;
}

static __always_inline int write_macs(struct __sk_buff *ctx, struct packet *packet, const struct endpoint_info *to)
{
	if (make_linear(ctx, ETH_HEADER))
		return drop_at(packet, FILE_DELIVER, DROP_ERROR_WRITING_TO_PACKET);

	struct ethhdr *eth = (void *)(long)ctx->data;

	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return drop_at(packet, FILE_DELIVER, DROP_ERROR_WRITING_TO_PACKET);
	mac_copy(eth->h_dest, to->mac);
	mac_copy(eth->h_source, to->node_mac);
	return 0;
}

/* A packet at the end of its life goes to the stack, which tells the sender (traceroute) and never forwards it. */
static __always_inline int out_of_hops(const struct packet *packet)
{
	return unlikely(packet->ttl <= 1);
}

/* Into the pod's own network namespace, past the host end of its veth: the receiver's policy must have been asked already. */
static __always_inline int deliver_local(struct __sk_buff *ctx, struct packet *packet, const struct endpoint_info *to,
				  enum packet_origin origin)
{
	int ret = decrease_ttl(ctx, packet, origin);

	if (!ret)
		ret = write_macs(ctx, packet, to);
	return ret < 0 ? ret : bpf_redirect_peer(to->ifindex, 0);
}

/* Can the packet go straight to that node's address? IPv6 cannot be sent by way of an IPv4 neighbour. */
static __always_inline int reachable_by_neighbor(const struct packet *packet, const struct remote_info *remote)
{
	if (!node_ifindex || addr_is_zero(&remote->tunnel_endpoint))
		return 0;
	return !packet_is_ipv6(packet) || !addr_is_ipv4(&remote->tunnel_endpoint);
}

/* To another node: out of the node's device, addressed to that node. */
static __always_inline __attribute__((unused)) int deliver_remote(struct __sk_buff *ctx, struct packet *packet, const struct remote_info *remote)
{
	struct bpf_redir_neigh via = {};
	int ret = decrease_ttl(ctx, packet, ORIGIN_POD);

	if (ret < 0)
		return ret;
	if (addr_is_ipv4(&remote->tunnel_endpoint)) {
		via.nh_family = AF_INET;
		via.ipv4_nh = addr_to_ipv4(&remote->tunnel_endpoint);
	} else {
		via.nh_family = AF_INET6;
		__builtin_memcpy(via.ipv6_nh, &remote->tunnel_endpoint, sizeof(via.ipv6_nh));
	}
	return bpf_redirect_neigh(node_ifindex, &via, sizeof(via), 0);
}
