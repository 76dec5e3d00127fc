/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A packet as its hook has it: a socket buffer (TC), or a driver's buffer (XDP, in objects that define CONTEXT_XDP). The same code
 * reads and rewrites both. Checksums: a socket buffer may have them only begun, so its helpers must change them; a driver's are complete.
 */
#pragma once

#include "common.h"

/* What of a transport checksum changes. */
enum sum_change {
	SUM_ADDRESS = 1, /* the address that it covers with the pseudo header */
	SUM_UDP = 2,     /* zero means: none */
};

#ifdef CONTEXT_XDP

#define context xdp_md

static __always_inline int context_load(struct xdp_md *ctx, __u32 offset, void *to, __u32 size)
{
	return bpf_xdp_load_bytes(ctx, offset, to, size);
}

static __always_inline int context_store(struct xdp_md *ctx, __u32 offset, const void *from, __u32 size)
{
	return bpf_xdp_store_bytes(ctx, offset, (void *)from, size);
}

static __always_inline int context_store_summed(struct xdp_md *ctx, __u32 offset, const void *from, __u32 size)
{
	return bpf_xdp_store_bytes(ctx, offset, (void *)from, size);
}

/* Headers of at most 54 bytes move to the front, so that there are that many free bytes behind them. */
static __always_inline int context_make_room(struct xdp_md *ctx, const __u32 headers, const __u32 bytes)
{
	__u8 moved[ETH_HLEN + 40];

	return bpf_xdp_adjust_head(ctx, -(int)bytes) || bpf_xdp_load_bytes(ctx, bytes, moved, headers) || bpf_xdp_store_bytes(ctx, 0, moved, headers);
}

static __always_inline __be16 context_protocol(struct xdp_md *ctx)
{
	const struct ethhdr *eth = (void *)(long)ctx->data;

	return (void *)(eth + 1) <= (void *)(long)ctx->data_end ? eth->h_proto : 0;
}

static __always_inline __u32 context_length(struct xdp_md *ctx)
{
	return bpf_xdp_get_buff_len(ctx);
}

/* RFC 1624: adds what bpf_csum_diff() found to the checksum there. */
static __always_inline int sum_add(struct xdp_md *ctx, __u32 offset, __u32 difference, __u32 change)
{
	__u64 sum;
	__u16 check;

	if (bpf_xdp_load_bytes(ctx, offset, &check, sizeof(check)))
		return -1;
	if (change & SUM_UDP && !check)
		return 0;
	sum = (__u64)(__u16)~check + difference;
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	check = ~(__u16)sum;
	if (change & SUM_UDP && !check)
		check = 0xffff;
	return bpf_xdp_store_bytes(ctx, offset, &check, sizeof(check));
}

static __always_inline int sum_add_l3(struct xdp_md *ctx, __u32 offset, __u32 difference)
{
	return sum_add(ctx, offset, difference, 0);
}

static __always_inline int sum_add_l4(struct xdp_md *ctx, __u32 offset, __u32 difference, __u32 change)
{
	return sum_add(ctx, offset, difference, change);
}

#else

#define context __sk_buff

static __always_inline int context_load(struct __sk_buff *ctx, __u32 offset, void *to, __u32 size)
{
	return bpf_skb_load_bytes(ctx, offset, to, size);
}

static __always_inline int context_store(struct __sk_buff *ctx, __u32 offset, const void *from, __u32 size)
{
	return bpf_skb_store_bytes(ctx, offset, from, size, 0);
}

/* For IPv6 headers: they have no checksum that would make up for the change. Where a network card has summed the packet, its sum must follow. */
static __always_inline int context_store_summed(struct __sk_buff *ctx, __u32 offset, const void *from, __u32 size)
{
	return bpf_skb_store_bytes(ctx, offset, from, size, BPF_F_RECOMPUTE_CSUM);
}

/* Free bytes behind the first IP header. */
static __always_inline int context_make_room(struct __sk_buff *ctx, __u32 headers, __u32 bytes)
{
	return headers ? bpf_skb_adjust_room(ctx, bytes, BPF_ADJ_ROOM_NET, 0) : -1;
}

static __always_inline __be16 context_protocol(struct __sk_buff *ctx)
{
	return ctx->protocol;
}

static __always_inline __u32 context_length(struct __sk_buff *ctx)
{
	return ctx->len;
}

static __always_inline int sum_add_l3(struct __sk_buff *ctx, __u32 offset, __u32 difference)
{
	return bpf_l3_csum_replace(ctx, offset, 0, difference, 0);
}

static __always_inline int sum_add_l4(struct __sk_buff *ctx, __u32 offset, __u32 difference, __u32 change)
{
	__u64 flags = (change & SUM_ADDRESS ? BPF_F_PSEUDO_HDR : 0) | (change & SUM_UDP ? BPF_F_MARK_MANGLED_0 : 0);

	return bpf_l4_csum_replace(ctx, offset, 0, difference, flags);
}

#endif
