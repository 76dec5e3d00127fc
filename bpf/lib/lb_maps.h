/* SPDX-License-Identifier: Apache-2.0 */
/* Services and their backends, as the agent writes them. */
#pragma once

#include "common.h"

/* Slot 0 is the service itself, slots 1...count its backends. */
struct lb_service_key {
	struct addr16 address;
	__be16 port;
	__u16 slot;
	__u8 protocol; /* IPPROTO_TCP, _UDP or _SCTP */
	__u8 pad[3];
};

_Static_assert(sizeof(struct lb_service_key) == 24, "lb_service_key is a map key: explicit padding");

enum lb_service_flags {
	LB_SERVICE_F_AFFINITY = 1, /* a client keeps its backend for affinity_timeout seconds */
};

struct lb_service {
	__u32 backend_id;       /* slots above 0 */
	__u32 affinity_timeout; /* slot 0: seconds */
	__u16 count;            /* slot 0: number of backends; 0 refuses at once */
	__u16 service_id;       /* slot 0: names the service in affinity entries */
	__u32 flags;            /* slot 0: enum lb_service_flags */
};

_Static_assert(sizeof(struct lb_service) == 16, "lb_service is a map value");

struct lb_backend {
	struct addr16 address;
	__be16 port;
	__u8 protocol;
	__u8 flags;
};

_Static_assert(sizeof(struct lb_backend) == 20, "lb_backend is a map value");

/* Written by the datapath: which service a socket believes to talk to when it hears from this backend. */
struct lb_revnat_key {
	__u64 sock_cookie;
	struct addr16 address;
	__be16 port;
	__u8 pad[6];
};

_Static_assert(sizeof(struct lb_revnat_key) == 32, "lb_revnat_key is a map key: explicit padding");

struct lb_revnat {
	struct addr16 address;
	__be16 port;
	__u16 service_id;
};

_Static_assert(sizeof(struct lb_revnat) == 20, "lb_revnat is a map value");

struct lb_affinity_key {
	__u64 client; /* network namespace cookie */
	__u32 service_id;
	__u32 pad;
};

struct lb_affinity {
	__u64 last_used; /* monotonic nanoseconds */
	__u32 backend_id;
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct lb_service_key);
	__type(value, struct lb_service);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_lb_services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct lb_backend);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_lb_backends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct lb_revnat_key);
	__type(value, struct lb_revnat);
	__uint(max_entries, 65536);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_lb_revnat SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct lb_affinity_key);
	__type(value, struct lb_affinity);
	__uint(max_entries, 16384);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_lb_affinity SEC(".maps");
