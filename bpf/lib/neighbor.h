/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ARP and IPv6 neighbour discovery of pods. A pod has one neighbour, the host end of its veth: whatever it asks for but itself is answered
 * with that MAC, here. Nothing it says reaches the node's tables, except answers about itself.
 */
#pragma once

#include "endpoint.h"
#include "parse.h"

#define ARP_HARDWARE_ETHERNET 1
#define ARP_REQUEST 1
#define ARP_REPLY 2

#define ND_ROUTER_ADVERTISEMENT 134
#define ND_NEIGHBOR_SOLICITATION 135
#define ND_NEIGHBOR_ADVERTISEMENT 136
#define ND_HOP_LIMIT 255
#define ND_OPTION_TARGET_MAC 2
#define ND_ROUTER_SOLICITED_OVERRIDE 0xe0000000

struct arp_frame {
	__u8 eth_destination[6];
	__u8 eth_source[6];
	__be16 eth_type;
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_length;
	__u8 protocol_length;
	__be16 operation;
	__u8 sender_mac[6];
	__u8 sender_ip[4];
	__u8 target_mac[6];
	__u8 target_ip[4];
} __attribute__((packed));

_Static_assert(sizeof(struct arp_frame) == 42, "arp_frame is a frame");

static __always_inline __u32 read_word(const __u8 *bytes)
{
	__u32 word;

	__builtin_memcpy(&word, bytes, sizeof(word));
	return word;
}

/* Answers a pod's request, lets its answers about itself through to the stack, swallows the rest without a record: announcements are no attack. */
__verified_alone int neighbor_arp(struct __sk_buff *ctx, const struct veth_info *veth)
{
	struct arp_frame arp;
	__u8 target[4];
	__u32 own;

	if (!veth)
		return -DROP_EP_NOT_READY;
	own = addr_word(&veth->ipv4, 3);
	if (bpf_skb_load_bytes(ctx, 0, &arp, sizeof(arp)))
		return -DROP_INVALID_PACKET;
	if (arp.hardware != bpf_htons(ARP_HARDWARE_ETHERNET) || arp.protocol != bpf_htons(ETH_P_IP) || arp.hardware_length != 6 ||
	    arp.protocol_length != 4)
		return -DROP_INVALID_PACKET;
	if (!mac_equal(arp.sender_mac, veth->mac) || !mac_equal(arp.eth_source, veth->mac))
		return -DROP_INVALID_SOURCE_MAC;
	/* A probe (RFC 5227) has no sender address. */
	if (read_word(arp.sender_ip) != own && read_word(arp.sender_ip) != 0)
		return -DROP_INVALID_SOURCE_IP;
	if (arp.operation == bpf_htons(ARP_REPLY))
		return read_word(arp.sender_ip) == own ? TC_ACT_OK : TC_ACT_SHOT;
	if (arp.operation != bpf_htons(ARP_REQUEST) || read_word(arp.target_ip) == own)
		return TC_ACT_SHOT;

	__builtin_memcpy(target, arp.target_ip, 4);
	__builtin_memcpy(arp.eth_destination, arp.sender_mac, 6);
	__builtin_memcpy(arp.eth_source, veth->node_mac, 6);
	arp.operation = bpf_htons(ARP_REPLY);
	__builtin_memcpy(arp.target_mac, arp.sender_mac, 6);
	__builtin_memcpy(arp.target_ip, arp.sender_ip, 4);
	__builtin_memcpy(arp.sender_mac, veth->node_mac, 6);
	__builtin_memcpy(arp.sender_ip, target, 4);
	if (bpf_skb_store_bytes(ctx, 0, &arp, sizeof(arp), 0))
		return -DROP_ERROR_WRITING_TO_PACKET;
	return bpf_redirect(ctx->ifindex, 0);
}

/* Pseudo header and message of an advertisement, in the order they are summed; the message is what follows the IPv6 header. */
struct nd_advertisement {
	struct addr16 source;
	struct addr16 destination;
	__be32 length;
	__be32 next_header;
	/* message */
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 flags;
	struct addr16 target;
	__u8 option;
	__u8 option_length;
	__u8 mac[6];
};

#define ND_PSEUDO_HEADER 40
#define ND_MESSAGE 32

_Static_assert(sizeof(struct nd_advertisement) == ND_PSEUDO_HEADER + ND_MESSAGE, "an advertisement with one option");

static __always_inline __be16 fold_checksum(__s64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

static __always_inline int neighbor_advertise(struct __sk_buff *ctx, const struct packet *packet, const struct veth_info *veth,
					      const struct addr16 *target)
{
	struct nd_advertisement answer = {
		.source = *target,
		.destination = packet->source,
		.length = bpf_htonl(ND_MESSAGE),
		.next_header = bpf_htonl(PROTO_ICMPV6),
		.type = ND_NEIGHBOR_ADVERTISEMENT,
		.flags = bpf_htonl(ND_ROUTER_SOLICITED_OVERRIDE),
		.target = *target,
		.option = ND_OPTION_TARGET_MAC,
		.option_length = 1,
	};
	struct ethhdr eth = { .h_proto = bpf_htons(ETH_P_IPV6) };
	__be16 payload = bpf_htons(ND_MESSAGE);

	__builtin_memcpy(answer.mac, veth->node_mac, 6);
	__builtin_memcpy(eth.h_dest, veth->mac, 6);
	__builtin_memcpy(eth.h_source, veth->node_mac, 6);
	answer.checksum = fold_checksum(bpf_csum_diff(NULL, 0, (__be32 *)&answer, sizeof(answer), 0));
	if (bpf_skb_change_tail(ctx, ETH_HEADER + sizeof(struct ipv6hdr) + ND_MESSAGE, 0) ||
	    bpf_skb_store_bytes(ctx, 0, &eth, sizeof(eth), 0) || bpf_skb_store_bytes(ctx, ETH_HEADER + 4, &payload, 2, 0) ||
	    bpf_skb_store_bytes(ctx, ETH_HEADER + 8, &answer.source, 32, 0) ||
	    bpf_skb_store_bytes(ctx, ETH_HEADER + sizeof(struct ipv6hdr), &answer.type, ND_MESSAGE, 0))
		return -DROP_ERROR_WRITING_TO_PACKET;
	return bpf_redirect(ctx->ifindex, 0);
}

/* As neighbor_arp(). Router advertisements and redirects from a pod are an attack; solicitations for routers and group reports lead nowhere here. */
__verified_alone int neighbor_discovery(struct __sk_buff *ctx, const struct packet *packet, const struct veth_info *veth)
{
	struct addr16 target;

	if (!packet || !veth)
		return -DROP_EP_NOT_READY;
	if (packet->icmp_type == ND_ROUTER_ADVERTISEMENT || packet->icmp_type == ND_REDIRECT)
		return -DROP_FORBIDDEN_ICMPV6_MESSAGE;
	if (packet->icmp_type != ND_NEIGHBOR_SOLICITATION && packet->icmp_type != ND_NEIGHBOR_ADVERTISEMENT)
		return TC_ACT_SHOT;
	if (packet->ttl != ND_HOP_LIMIT || bpf_skb_load_bytes(ctx, packet->l4_offset + 8, &target, sizeof(target)))
		return -DROP_INVALID_PACKET;
	if (packet->icmp_type == ND_NEIGHBOR_ADVERTISEMENT)
		return addr_equal(&target, &veth->ipv6) ? TC_ACT_OK : -DROP_INVALID_SOURCE_IP;
	/* Asking for oneself, or from no address at all, is duplicate address detection: silence means the address is free. */
	if (addr_equal(&target, &veth->ipv6) || addr_is_zero(&packet->source) || packet->l4_offset != ETH_HEADER + sizeof(struct ipv6hdr))
		return TC_ACT_SHOT;
	return neighbor_advertise(ctx, packet, veth, &target);
}
