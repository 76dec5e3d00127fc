/* SPDX-License-Identifier: Apache-2.0 */
/* Packets and bytes by outcome and direction, per CPU. */
#pragma once

#include "common.h"
#include "drop.h"

struct metrics_key {
	__u8 reason;    /* enum drop_reason; 0: forwarded */
	__u8 direction; /* enum direction */
	__u8 pad[2];
};

_Static_assert(sizeof(struct metrics_key) == 4, "metrics_key is a map key");

struct metrics_value {
	__u64 count;
	__u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__type(key, struct metrics_key);
	__type(value, struct metrics_value);
	__uint(max_entries, 1024);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_metrics SEC(".maps");

static __always_inline void metrics_count(__u8 reason, enum direction direction, __u32 bytes)
{
	struct metrics_key key = { .reason = reason, .direction = direction };
	struct metrics_value *value = bpf_map_lookup_elem(&cilium_metrics, &key);

	if (likely(value)) {
		value->count += 1;
		value->bytes += bytes;
		return;
	}
	struct metrics_value first = { .count = 1, .bytes = bytes };

	bpf_map_update_elem(&cilium_metrics, &key, &first, BPF_ANY);
}
