/* SPDX-License-Identifier: Apache-2.0 */
/* The pods of this node: by address (where to deliver) and by veth (who sends). Written by the agent. */
#pragma once

#include "common.h"

enum endpoint_flags {
	ENDPOINT_F_NOT_READY = 1, /* known, but nothing may pass yet or any more: dropped with 203 */
};

/* A pod of this node, found by one of its addresses. */
struct endpoint_info {
	__u32 ifindex; /* host end of its veth */
	__u16 lxc_id;
	__u16 pad;
	__u32 sec_id;
	__u8 mac[6];      /* of the pod */
	__u8 node_mac[6]; /* of the host end */
	__u32 flags;      /* enum endpoint_flags */
};

_Static_assert(sizeof(struct endpoint_info) == 28, "endpoint_info is a map value");

/* What the host end of a veth is. A zero address: the pod has none of that family. */
struct veth_info {
	__u16 lxc_id;
	__u16 pad;
	__u32 sec_id;
	struct addr16 ipv4;
	struct addr16 ipv6;
	__u8 mac[6];      /* of the pod: the only source its frames may have */
	__u8 node_mac[6]; /* of the host end */
	__u32 flags;      /* enum endpoint_flags */
};

_Static_assert(sizeof(struct veth_info) == 56, "veth_info is a map value");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct addr16);
	__type(value, struct endpoint_info);
	__uint(max_entries, 16384);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_lxc SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct veth_info);
	__uint(max_entries, 8192);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_lxc_ifindex SEC(".maps");

static __always_inline const struct endpoint_info *endpoint_lookup(const struct addr16 *address)
{
	return bpf_map_lookup_elem(&cilium_lxc, address);
}

static __always_inline const struct veth_info *veth_lookup(__u32 ifindex)
{
	return bpf_map_lookup_elem(&cilium_lxc_ifindex, &ifindex);
}
