/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A dropped packet becomes the answer to its sender, and goes back where it came from: a service without backends says so at once, as a
 * closed port would; who begins with more than fits beside the option of direct server return hears how much does, as from a router.
 */
#pragma once

#include "dsr_room.h"
#include "rewrite.h"

#define ICMP_UNREACHABLE 3
#define ICMP_PORT_UNREACHABLE 3
#define ICMP_FRAGMENTATION_NEEDED 4
#define ICMPV6_UNREACHABLE 1
#define ICMPV6_PORT_UNREACHABLE 4
#define ICMPV6_TOO_BIG 2
#define ANSWER_TTL 64
#define QUOTED_TRANSPORT 8
#define FRAGMENT_HEADER 8
#define PSEUDO_HEADER_IPV6 40

static __always_inline int swap_macs(struct __sk_buff *ctx)
{
	struct mac macs[2], swapped[2];

	if (bpf_skb_load_bytes(ctx, 0, macs, sizeof(macs)))
		return -1;
	swapped[0] = macs[1];
	swapped[1] = macs[0];
	return bpf_skb_store_bytes(ctx, 0, swapped, sizeof(swapped), 0);
}

static __always_inline __u16 sum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(__u16)sum;
}

/* The two addresses change places, which changes no checksum. */
static __always_inline int swap_addresses(struct __sk_buff *ctx, const struct packet *packet)
{
	__be32 ipv4[2] = { addr_to_ipv4(&packet->destination), addr_to_ipv4(&packet->source) };
	struct addr16 ipv6[2];

	if (!packet_is_ipv6(packet))
		return bpf_skb_store_bytes(ctx, ETH_HEADER + offsetof(struct iphdr, saddr), ipv4, sizeof(ipv4), 0);
	ipv6[0] = packet->destination;
	ipv6[1] = packet->source;
	return bpf_skb_store_bytes(ctx, ETH_HEADER + offsetof(struct ipv6hdr, saddr), ipv6, sizeof(ipv6), 0);
}

/*
 * RFC 9293, 3.10.7.1. Made of the packet it answers by changes that the checksum can follow, because that may not have been computed
 * yet; options and data stay, nobody reads them in a reset.
 */
static __always_inline int refuse_tcp(struct __sk_buff *ctx, const struct packet *packet)
{
	struct tcp_start old, new;
	__u32 difference;

	if (packet->tcp_flags & TCP_RST || bpf_skb_load_bytes(ctx, packet->l4_offset, &old, sizeof(old)))
		return -1;
	new = old;
	new.sport = old.dport;
	new.dport = old.sport;
	new.sequence = old.flags & TCP_ACK ? old.acknowledgement : 0;
	new.acknowledgement = old.flags & TCP_ACK ? 0 : bpf_htonl(bpf_ntohl(old.sequence) + 1);
	new.flags = old.flags & TCP_ACK ? TCP_RST : TCP_RST | TCP_ACK;
	difference = bpf_csum_diff((__be32 *)&old, sizeof(old), (__be32 *)&new, sizeof(new), 0);
	return bpf_skb_store_bytes(ctx, packet->l4_offset, &new, offsetof(struct tcp_start, checksum), 0) ||
	       bpf_l4_csum_replace(ctx, packet->l4_offset + sum_offset(PROTO_TCP), 0, difference, 0) || swap_addresses(ctx, packet);
}

struct icmp_answer_ipv4 {
	struct iphdr ip;
	struct icmp_start icmp;
	struct iphdr quoted;
	__u8 transport[QUOTED_TRANSPORT];
};

struct icmp_answer_ipv6 {
	struct ipv6hdr ip;
	struct icmp_start icmp;
	struct ipv6hdr quoted;
	__u8 transport[FRAGMENT_HEADER + QUOTED_TRANSPORT];
};

/* mtu: what fits, or 0: nobody listens. */
__subprogram int refuse_ipv4(struct __sk_buff *ctx, __u32 mtu)
{
	struct icmp_answer_ipv4 answer = {};
	const __u32 message = sizeof(answer) - sizeof(answer.ip);

	if (bpf_skb_load_bytes(ctx, ETH_HEADER, &answer.quoted, sizeof(answer.quoted) + QUOTED_TRANSPORT) || answer.quoted.ihl != 5)
		return -1;
	answer.ip.version = 4;
	answer.ip.ihl = 5;
	answer.ip.tot_len = bpf_htons(sizeof(answer));
	answer.ip.ttl = ANSWER_TTL;
	answer.ip.protocol = PROTO_ICMP;
	answer.ip.saddr = answer.quoted.daddr;
	answer.ip.daddr = answer.quoted.saddr;
	answer.ip.check = sum_fold(bpf_csum_diff(NULL, 0, (__be32 *)&answer.ip, sizeof(answer.ip), 0));
	answer.icmp.type = ICMP_UNREACHABLE;
	answer.icmp.code = mtu ? ICMP_FRAGMENTATION_NEEDED : ICMP_PORT_UNREACHABLE;
	answer.icmp.sequence = bpf_htons((__u16)mtu);
	answer.icmp.checksum = sum_fold(bpf_csum_diff(NULL, 0, (__be32 *)&answer.icmp, message, 0));
	return bpf_skb_change_tail(ctx, ETH_HEADER + sizeof(answer), 0) || bpf_skb_store_bytes(ctx, ETH_HEADER, &answer, sizeof(answer), 0);
}

/* A fragment is quoted with its header, or its sender could not tell whose it is. */
__subprogram int refuse_ipv6(struct __sk_buff *ctx, __u32 fragment, __u32 mtu)
{
	struct icmp_answer_ipv6 answer = {};
	const __u32 unused = fragment ? 0 : FRAGMENT_HEADER;
	const __u32 message = sizeof(answer) - sizeof(answer.ip) - unused;
	__be32 pseudo[2] = { bpf_htonl(message), bpf_htonl(PROTO_ICMPV6) };
	__s64 sum;

	if (bpf_skb_load_bytes(ctx, ETH_HEADER, &answer.quoted, sizeof(answer.quoted) + QUOTED_TRANSPORT))
		return -1;
	if (fragment && bpf_skb_load_bytes(ctx, ETH_HEADER + sizeof(answer.quoted) + QUOTED_TRANSPORT, answer.transport + QUOTED_TRANSPORT, FRAGMENT_HEADER))
		return -1;
	answer.ip.version = 6;
	answer.ip.payload_len = bpf_htons(message);
	answer.ip.nexthdr = PROTO_ICMPV6;
	answer.ip.hop_limit = ANSWER_TTL;
	answer.ip.saddr = answer.quoted.daddr;
	answer.ip.daddr = answer.quoted.saddr;
	answer.icmp.type = mtu ? ICMPV6_TOO_BIG : ICMPV6_UNREACHABLE;
	answer.icmp.code = mtu ? 0 : ICMPV6_PORT_UNREACHABLE;
	answer.icmp.sequence = bpf_htons((__u16)mtu);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&answer.ip.saddr, 32, 0);
	sum = bpf_csum_diff(NULL, 0, pseudo, sizeof(pseudo), sum);
	/* What is unused is zero, and counts for nothing. */
	answer.icmp.checksum = sum_fold(bpf_csum_diff(NULL, 0, (__be32 *)&answer.icmp, sizeof(answer) - sizeof(answer.ip), sum));
	return bpf_skb_change_tail(ctx, ETH_HEADER + sizeof(answer), 0) || bpf_skb_store_bytes(ctx, ETH_HEADER, &answer, sizeof(answer), 0) ||
	       (unused && bpf_skb_change_tail(ctx, ETH_HEADER + sizeof(answer) - unused, 0));
}

/* What fits, so that the option does, too. */
static __always_inline __u32 refuse_mtu(struct __sk_buff *ctx, const struct packet *packet)
{
	__u32 mtu = 0;

	bpf_check_mtu(ctx, 0, &mtu, 0, 0);
	return mtu - dsr_length(packet);
}

/* Turns the packet into its refusal, addressed to its sender. Negative: there is none to give (a reset is not answered, later fragments cannot be). */
__verified_alone int refuse(struct __sk_buff *ctx, const struct packet *packet, enum refusal why)
{
	__u32 mtu = 0;
	int ret = -1;

	if (!packet || packet->flags & PACKET_F_LATER_FRAGMENT)
		return -1;
	if (why == REFUSE_TOO_LONG)
		mtu = refuse_mtu(ctx, packet);
	if (packet->protocol == PROTO_TCP && why == REFUSE_CLOSED)
		ret = refuse_tcp(ctx, packet);
	else if (packet->protocol == PROTO_TCP || packet->protocol == PROTO_UDP || packet->protocol == PROTO_SCTP)
		ret = packet_is_ipv6(packet) ? refuse_ipv6(ctx, packet->flags & PACKET_F_FIRST_FRAGMENT, mtu) : refuse_ipv4(ctx, mtu);
	return ret || swap_macs(ctx) ? -1 : 0;
}
