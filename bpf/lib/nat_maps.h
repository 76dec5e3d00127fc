/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of connections whose packets are translated, and the addresses of this node that stand in for others. */
#pragma once

#include "common.h"

/* This node, as translations need it. Written by the agent before the programs are attached. */
struct lb_node {
	struct addr16 ipv4; /* what callers of remote backends get as their source; zero: no such callers are served */
	struct addr16 ipv6;
	struct addr16 loopback_ipv4; /* source of a pod that reaches itself by a service */
	struct addr16 loopback_ipv6;
	__u64 netns_cookie; /* of the node's own network namespace; 0: not known */
};

_Static_assert(sizeof(struct lb_node) == 72, "lb_node is a map value");

/* A connection to a service, in the direction of its caller. */
struct lb_ct_key {
	struct addr16 client;
	struct addr16 frontend;
	__be16 client_port;
	__be16 frontend_port;
	__u8 protocol;
	__u8 pad[3];
};

_Static_assert(sizeof(struct lb_ct_key) == 40, "lb_ct_key is a map key: explicit padding");

enum lb_ct_flags {
	LB_CT_F_CLOSING = 1, /* its caller has sent FIN */
	LB_CT_F_RESET = 2,
};

/* The backend a connection has until it ends, whatever happens to the service. */
struct lb_ct_entry {
	__u32 backend_id;
	__u32 service_id;
	__u32 lifetime; /* seconds of the monotonic clock: forgotten after this */
	__u32 flags;    /* enum lb_ct_flags */
};

_Static_assert(sizeof(struct lb_ct_entry) == 16, "lb_ct_entry is a map value");

enum nat_direction {
	NAT_OUT = 0, /* the source is replaced */
	NAT_IN = 1,  /* the destination is replaced, and the source by the service's address when there is one */
};

/* A packet before its translation. ICMP echo: the identifier is in both ports. */
struct nat_key {
	struct addr16 source;
	struct addr16 destination;
	__be16 sport;
	__be16 dport;
	__u8 protocol;
	__u8 direction; /* enum nat_direction */
	__u8 pad[2];
};

_Static_assert(sizeof(struct nat_key) == 40, "nat_key is a map key: explicit padding");

enum nat_flags {
	NAT_F_DSR = 1,     /* NAT_OUT: answers of a backend here to a caller that another node sent here, or that called the node itself */
	NAT_F_CLOSING = 2, /* TCP: one side has sent FIN */
	NAT_F_RESET = 4,
};

struct nat_entry {
	struct addr16 address; /* what takes the place */
	__be16 port;
	__u16 flags;      /* enum nat_flags */
	__u32 service_id; /* NAT_IN: whose backend answers; 0: none */
	__u32 created;    /* seconds of the monotonic clock */
	__u32 lifetime;   /* the same: forgotten after this */
};

_Static_assert(sizeof(struct nat_entry) == 32, "nat_entry is a map value");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct lb_node);
	__uint(max_entries, 1);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_lb_node SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct lb_ct_key);
	__type(value, struct lb_ct_entry);
	__uint(max_entries, 131072);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_lb_ct SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct nat_key);
	__type(value, struct nat_entry);
	__uint(max_entries, 131072);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_snat SEC(".maps");

static __always_inline const struct lb_node *lb_node_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&cilium_lb_node, &zero);
}
