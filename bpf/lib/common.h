/* SPDX-License-Identifier: Apache-2.0 */
/* Basic types of the datapath. One address type for both families: 16 bytes, IPv4 as ::ffff:a.b.c.d. */
#pragma once

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

/* A subprogram of its own: own stack frame, own registers. Not every object that includes a header uses all of them. */
#define __subprogram static __attribute__((noinline, unused))

/*
 * The same, verified once by itself instead of at each call: what it may assume is only its signature, so its pointers are checked.
 * Without it the verifier multiplies the paths of every step with those of all steps before.
 */
#define __verified_alone __attribute__((noinline))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* An address of either family. Aligned to 4 so that it can follow a 32-bit prefix length in a trie key. */
struct addr16 {
	__u8 bytes[16];
} __attribute__((aligned(4)));

_Static_assert(sizeof(struct addr16) == 16, "addr16 is a map key: 16 bytes");

/* Which way a packet goes, seen from the endpoint it is judged for. Numbers are the ones of cilium_metrics. */
enum direction {
	DIRECTION_UNKNOWN = 0,
	DIRECTION_INGRESS = 1,
	DIRECTION_EGRESS = 2,
	DIRECTION_SERVICE = 3,
};

static __always_inline __u32 addr_word(const struct addr16 *address, int index)
{
	return ((const __u32 *)address->bytes)[index];
}

static __always_inline int addr_equal(const struct addr16 *a, const struct addr16 *b)
{
	return addr_word(a, 3) == addr_word(b, 3) && addr_word(a, 2) == addr_word(b, 2) &&
	       addr_word(a, 1) == addr_word(b, 1) && addr_word(a, 0) == addr_word(b, 0);
}

static __always_inline int addr_is_zero(const struct addr16 *a)
{
	return !(addr_word(a, 3) | addr_word(a, 2) | addr_word(a, 1) | addr_word(a, 0));
}

static __always_inline int addr_is_ipv4(const struct addr16 *a)
{
	return addr_word(a, 2) == bpf_htonl(0xffff) && !(addr_word(a, 0) | addr_word(a, 1));
}

static __always_inline void addr_from_ipv4(struct addr16 *to, __be32 ipv4)
{
	__u32 *words = (__u32 *)to->bytes;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = ipv4;
}

static __always_inline __be32 addr_to_ipv4(const struct addr16 *a)
{
	return addr_word(a, 3);
}

/* A total order, cheap for the usual case that the last words differ. Used to name a connection, not to sort for people. */
static __always_inline int addr_compare(const struct addr16 *a, const struct addr16 *b)
{
#pragma unroll
	for (int i = 3; i >= 0; i--) {
		__u32 left = addr_word(a, i), right = addr_word(b, i);

		if (left != right)
			return left < right ? -1 : 1;
	}
	return 0;
}

struct mac {
	__u8 bytes[6];
} __attribute__((aligned(2)));

/* Two bytes at a time: the compiler knows no alignment of byte arrays and would go one by one. */
static __always_inline void mac_copy(__u8 *to, const __u8 *from)
{
	*(__u16 *)to = *(const __u16 *)from;
	*(__u16 *)(to + 2) = *(const __u16 *)(from + 2);
	*(__u16 *)(to + 4) = *(const __u16 *)(from + 4);
}

static __always_inline int mac_equal(const __u8 *a, const __u8 *b)
{
	return *(const __u16 *)a == *(const __u16 *)b && *(const __u16 *)(a + 2) == *(const __u16 *)(b + 2) &&
	       *(const __u16 *)(a + 4) == *(const __u16 *)(b + 4);
}
