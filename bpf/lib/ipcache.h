/* SPDX-License-Identifier: Apache-2.0 */
/* Address to identity and node. Exact addresses first (pods, nodes), then prefixes (CIDR policies, world). */
#pragma once

#include "common.h"
#include "identity.h"

enum ipcache_flags {
	IPCACHE_F_NONE = 0,
	IPCACHE_F_SKIP_TUNNEL = 1, /* reached without a tunnel even in tunnel mode */
};

struct remote_info {
	__u32 sec_id;
	struct addr16 tunnel_endpoint; /* address of the node that has it; zero: this node, or no node of the cluster */
	__u32 flags;                   /* enum ipcache_flags */
};

_Static_assert(sizeof(struct remote_info) == 24, "remote_info is a map value");

struct ipcache_lpm_key {
	__u32 prefixlen; /* 0-128; an IPv4 prefix has 96 more than people write */
	struct addr16 address;
};

_Static_assert(sizeof(struct ipcache_lpm_key) == 20, "ipcache_lpm_key is a trie key: no padding");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct addr16);
	__type(value, struct remote_info);
	__uint(max_entries, 512000);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_ipcache SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct ipcache_lpm_key);
	__type(value, struct remote_info);
	__uint(max_entries, 512000);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_ipcache_lpm SEC(".maps");

/* What is known of an address; null when nothing is, which means world. A program of its own to keep the trie key off the caller's stack. */
static __always_inline const struct remote_info *ipcache_lookup(const struct addr16 *address)
{
	const struct remote_info *exact = bpf_map_lookup_elem(&cilium_ipcache, address);
	struct ipcache_lpm_key key = { .prefixlen = 128, .address = *address };

	if (likely(exact))
		return exact;
	return bpf_map_lookup_elem(&cilium_ipcache_lpm, &key);
}

static __always_inline __u32 identity_of(const struct remote_info *info)
{
	return info ? info->sec_id : IDENTITY_WORLD;
}
