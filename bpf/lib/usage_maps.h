/* SPDX-License-Identifier: Apache-2.0 */
/* How much each rule has decided: packets and bytes by the cookie of the rules. */
#pragma once

#include "common.h"

enum usage_outcome {
	USAGE_ALLOWED = 0,
	USAGE_DENIED = 1,
	USAGE_AUDITED = 2, /* passed, and would have been denied without audit mode */
	USAGE_LOST = 3,    /* under cookie 0: the map was full */
};

struct usage_key {
	__u32 cookie;  /* policy_entry.cookie, or a default cookie of policy_config; 0: nobody's rules */
	__u8 egress;   /* 1: what the endpoint sends, 0: what it receives */
	__u8 outcome;  /* enum usage_outcome */
	__u8 layer;    /* 4: packets; 7: requests that the proxy judged */
	__u8 pad;
};

_Static_assert(sizeof(struct usage_key) == 8, "usage_key is a map key: explicit padding");

struct usage_value {
	__u64 packets;
	__u64 bytes;
	__u64 last; /* nanoseconds of the monotonic clock */
};

_Static_assert(sizeof(struct usage_value) == 24, "usage_value is a map value");

/*
 * What the datapath has counted. Connections carry their own counts (ct_entry) and are added up here when they are reported on, judged
 * anew, or replaced; what a live one carried since then is in ct_entry alone.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__type(key, struct usage_key);
	__type(value, struct usage_value);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_policy_usage SEC(".maps");

/* The agent's part: the rest of connections it has collected, and requests. Apart, since nobody can add to another's CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct usage_key);
	__type(value, struct usage_value);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_policy_settled SEC(".maps");
