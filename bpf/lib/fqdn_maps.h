/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses that an endpoint of this node has learned by name. Each endpoint has its own: what one pod resolves opens nothing for
 * another. Written by the DNS proxy before it hands out the answer; see src/proxy/dns.
 */
#pragma once

#include "common.h"
#include "identity.h"

#define FQDN_GRANTS 8

struct fqdn_key {
	struct addr16 address;
	__u16 lxc_id;
	__u8 pad[2];
};

_Static_assert(sizeof(struct fqdn_key) == 20, "fqdn_key is a map key: explicit padding");

/* A selector of names that the address was learned for, by the identity that stands for it in policy maps. */
struct fqdn_grant {
	__u32 sec_id;  /* 0: none, and none after it */
	__u32 expires; /* seconds of the monotonic clock: begins nothing from then on, unless the entry is in use; what has begun goes on */
};

struct fqdn_entry {
	struct fqdn_grant grants[FQDN_GRANTS];
	/*
	 * When a connection to the address last began, in seconds of the monotonic clock. Until the proxy has looked for connections and says 0,
	 * one may live, and where one lives others may begin: so there is no gap between the end of a name and the search.
	 */
	__u32 used;
};

_Static_assert(sizeof(struct fqdn_entry) == 68, "fqdn_entry is a map value");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct fqdn_key);
	__type(value, struct fqdn_entry);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_fqdn SEC(".maps");

/* Names open the world outside only: an answer with an address of a pod, a node or the host changes nothing. */
static __always_inline int identity_is_outside(__u32 identity)
{
	return identity == IDENTITY_WORLD || identity == IDENTITY_WORLD_IPV4 || identity == IDENTITY_WORLD_IPV6 ||
	       identity >> 24 == IDENTITY_SCOPE_CIDR;
}
