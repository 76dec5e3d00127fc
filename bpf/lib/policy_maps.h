/* SPDX-License-Identifier: Apache-2.0 */
/* Policy as the control plane writes it: a trie per distinct policy result, shared by all endpoints that have it. */
#pragma once

#include "common.h"

#define POLICY_STATIC_BITS 40 /* sec_label and egress always match in full */
#define POLICY_FULL_BITS 64

/* prefixlen: 40 matches every protocol, 48 every port of a protocol, 49-64 a port prefix. sec_label 0: any peer. */
struct policy_key {
	__u32 prefixlen;
	__u32 sec_label;
	__u8 egress;   /* 1: what the endpoint sends, 0: what it receives */
	__u8 protocol; /* IPPROTO_*; 0: any */
	__be16 dport;  /* destination port; for ICMP and ICMPv6 the type, as a port number */
};

_Static_assert(sizeof(struct policy_key) == 12, "policy_key is a trie key: no padding");

enum policy_entry_flags {
	POLICY_F_DENY = 1,
};

struct policy_entry {
	__be16 proxy_port; /* nonzero: to the proxy that listens there */
	__u8 flags;        /* enum policy_entry_flags */
	__u8 auth_type;    /* nonzero: needs authentication, refused (189) without it */
	__u8 match_len;    /* the key's prefixlen - 40: how much of protocol and port this entry fixes, 0-24 */
	__u8 pad[3];
	__u32 precedence; /* higher wins over a longer match */
	__u32 cookie;     /* names the rules behind this entry */
};

_Static_assert(sizeof(struct policy_entry) == 16, "policy_entry is a map value");

enum policy_audit {
	POLICY_AUDIT_ALL = 1,    /* what would be denied passes, and is reported */
	POLICY_AUDIT_SECOND = 2, /* a second policy, under the endpoint's id | POLICY_AUDIT_ID, is asked too: what it alone would deny is reported */
};

/* Beyond every endpoint's id. Under it, in the same two maps, is the policy that would be in force if nothing were audited. */
#define POLICY_AUDIT_ID 0x10000

/* Written last when an endpoint is made ready, and of it the generation last; without one nothing passes (203). */
struct policy_config {
	__u32 generation; /* 0: no endpoint has this id. Another number than before: every known connection is judged again */
	__u8 ingress_default_deny;
	__u8 egress_default_deny;
	__u8 ingress_enforced; /* 0: everything passes without a look at the policy */
	__u8 egress_enforced;
	__u8 audit; /* enum policy_audit, as bits */
	__u8 pad[3];
	__u32 ingress_default_cookie; /* named when default deny decides */
	__u32 egress_default_cookie;
};

_Static_assert(sizeof(struct policy_config) == 20, "policy_config is a map value");

struct policy_map {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct policy_key);
	__type(value, struct policy_entry);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__type(key, __u32);
	__uint(max_entries, 16384);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__array(values, struct policy_map);
} cilium_policy SEC(".maps");

/* By endpoint id, audited policies after them. An array, because every packet looks here once for each end: a look into one costs nothing. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct policy_config);
	__uint(max_entries, 2 * POLICY_AUDIT_ID);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_policy_config SEC(".maps");

/* The generation is read before, and written after, what it stands for: what was judged by half a change is judged again. */
static __always_inline __u32 policy_generation(const struct policy_config *config)
{
	return config ? *(const volatile __u32 *)&config->generation : 0;
}
