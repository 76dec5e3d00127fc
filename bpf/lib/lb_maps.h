/* SPDX-License-Identifier: Apache-2.0 */
/* Services and their backends, as the agent writes them, and what sockets remember of them. See "Service maps" in the README. */
#pragma once

#include "common.h"

/*
 * Who asks. Clients outside of the cluster see only the first; those inside see the second where LB_SERVICE_F_TWO_SCOPES says that it is
 * there. Of a local redirect the second, if there is one, is what pods in cilium_skip_lb get: the service as it is without the redirect.
 */
enum lb_scope {
	LB_SCOPE_EXTERNAL = 0,
	LB_SCOPE_INTERNAL = 1,
};

/* Slot 0 is the service itself, slots 1...count its backends. */
struct lb_service_key {
	struct addr16 address; /* zero of its family (0.0.0.0 or ::): any address of any node of the cluster */
	__be16 port;
	__u16 slot;
	__u8 protocol; /* IPPROTO_TCP, _UDP or _SCTP */
	__u8 scope;    /* enum lb_scope */
	__u8 pad[2];
};

_Static_assert(sizeof(struct lb_service_key) == 24, "lb_service_key is a map key: explicit padding");

enum lb_service_flags {
	LB_SERVICE_F_AFFINITY = 1,            /* a client keeps its backend for affinity_timeout seconds */
	LB_SERVICE_F_TWO_SCOPES = 2,          /* clients inside of the cluster get the entry with LB_SCOPE_INTERNAL */
	LB_SERVICE_F_ROUTABLE = 4,            /* may be called from outside of the cluster; a ClusterIP may not */
	LB_SERVICE_F_SOURCE_RANGES = 8,       /* callers from outside must be in cilium_lb_source_range */
	LB_SERVICE_F_SOURCE_RANGES_DENY = 16, /* ... must not be in it */
	LB_SERVICE_F_MAGLEV = 32,             /* backends by cilium_lb_maglev instead of at random */
	LB_SERVICE_F_DSR = 64,                /* a backend of another node answers callers from outside by itself */
	LB_SERVICE_F_LOCAL_REDIRECT = 128,    /* of a CiliumLocalRedirectPolicy; not for pods in cilium_skip_lb */
	LB_SERVICE_F_EXTERNAL_LOCAL = 256,    /* externalTrafficPolicy: Local. Without a backend callers are dropped, not refused */
	LB_SERVICE_F_INTERNAL_LOCAL = 512,    /* internalTrafficPolicy: Local */
	LB_SERVICE_F_NODE_PORT = 1024,        /* the type of a frontend that is no ClusterIP */
	LB_SERVICE_F_EXTERNAL_IP = 2048,
	LB_SERVICE_F_LOAD_BALANCER = 4096,
	LB_SERVICE_F_HOST_PORT = 8192,
	LB_SERVICE_F_QUARANTINED = 16384,     /* slots above 0: the backend takes no new connections, whatever slot 0 still counts */
};

struct lb_service {
	__u32 backend_id;       /* slots above 0 */
	__u32 service_id;       /* slot 0: names the service in the other maps; both scopes have the same */
	__u32 affinity_timeout; /* slot 0: seconds */
	__u32 maglev_size;      /* slot 0: entries of its Maglev table */
	__u16 count;            /* slot 0: backends that take new connections; 0 refuses at once */
	__u16 quarantined;      /* slot 0: backends in the slots behind, which take none */
	__u32 flags;            /* slot 0: enum lb_service_flags */
};

_Static_assert(sizeof(struct lb_service) == 24, "lb_service is a map value");

/* Only for those who read the map: the datapath goes by the slots. What is in no slot keeps the connections it has while it is in the map. */
enum lb_backend_state {
	LB_BACKEND_ACTIVE = 0,
	LB_BACKEND_TERMINATING = 1,
	LB_BACKEND_QUARANTINED = 2,
	LB_BACKEND_MAINTENANCE = 3,
};

struct lb_backend {
	struct addr16 address;
	__be16 port;
	__u8 protocol;
	__u8 state; /* enum lb_backend_state */
};

_Static_assert(sizeof(struct lb_backend) == 20, "lb_backend is a map value");

/* What answers of a service's backends come from: the service's address. By service_id. */
struct lb_reverse_nat {
	struct addr16 address;
	__be16 port;
	__u16 pad;
};

_Static_assert(sizeof(struct lb_reverse_nat) == 20, "lb_reverse_nat is a map value");

/* Written by the datapath: which service a socket believes to talk to when it hears from this backend. */
struct lb_reverse_sk_key {
	__u64 sock_cookie;
	struct addr16 address;
	__be16 port;
	__u8 pad[6];
};

_Static_assert(sizeof(struct lb_reverse_sk_key) == 32, "lb_reverse_sk_key is a map key: explicit padding");

struct lb_reverse_sk {
	struct addr16 address;
	__be16 port;
	__u16 pad;
	__u32 service_id;
};

_Static_assert(sizeof(struct lb_reverse_sk) == 24, "lb_reverse_sk is a map value");

/* A client: its address, or at a socket the cookie of its network namespace in the first 8 bytes. */
struct lb_affinity_key {
	struct addr16 client;
	__u32 service_id;
	__u32 is_cookie;
};

_Static_assert(sizeof(struct lb_affinity_key) == 24, "lb_affinity_key is a map key");

struct lb_affinity {
	__u64 last_used; /* monotonic nanoseconds */
	__u32 backend_id;
	__u32 pad;
};

/* A backend takes new connections of that service: what an affinity entry names may have left it. */
struct lb_affinity_match_key {
	__u32 service_id;
	__u32 backend_id;
};

struct lb_source_range_key {
	__u32 prefixlen; /* 32 + length of the prefix; an IPv4 prefix has 96 more than people write */
	__u32 service_id;
	struct addr16 address;
};

_Static_assert(sizeof(struct lb_source_range_key) == 24, "lb_source_range_key is a trie key: no padding");

/* A pod that is the backend of a local redirect, and the frontend it must reach as it is. Sockets know its namespace, packets its veth. */
struct lb_skip_key {
	__u64 netns_cookie; /* 0: ifindex says who */
	struct addr16 address;
	__be16 port;
	__u8 protocol;
	__u8 pad;
	__u32 ifindex; /* 0: netns_cookie says who */
};

_Static_assert(sizeof(struct lb_skip_key) == 32, "lb_skip_key is a map key: explicit padding");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct lb_service_key);
	__type(value, struct lb_service);
	__uint(max_entries, 524288);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_lb_services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct lb_backend);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_lb_backends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct lb_reverse_nat);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_lb_reverse_nat SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__type(key, struct lb_source_range_key);
	__type(value, __u8);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_lb_source_range SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct lb_affinity_key);
	__type(value, struct lb_affinity);
	__uint(max_entries, 65536);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_lb_affinity SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct lb_affinity_match_key);
	__type(value, __u8);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_lb_affinity_match SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct lb_reverse_sk_key);
	__type(value, struct lb_reverse_sk);
	__uint(max_entries, 65536);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_lb_reverse_sk SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct lb_skip_key);
	__type(value, __u8);
	__uint(max_entries, 8192);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_skip_lb SEC(".maps");
