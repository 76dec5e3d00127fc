/* SPDX-License-Identifier: Apache-2.0 */
/* Packets and bytes by outcome and direction, per CPU. */
#pragma once

#include "common.h"
#include "drop.h"

struct metrics_value {
	__u64 count;
	__u64 bytes;
};

#define METRICS_SIZE 1024

/* Index: reason (enum drop_reason; 0: forwarded) + 256 * direction (enum direction). An array, because a lookup in one costs nothing. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct metrics_value);
	__uint(max_entries, METRICS_SIZE);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_metrics SEC(".maps");

static __always_inline void metrics_count(__u8 reason, enum direction direction, __u32 bytes)
{
	__u32 index = reason + 256 * direction;
	struct metrics_value *value = bpf_map_lookup_elem(&cilium_metrics, &index);

	if (value) {
		value->count += 1;
		value->bytes += bytes;
	}
}
