/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "event_types.h"

/* A record did not fit into the ring: counted, never waited for. */
static __always_inline void events_count_lost(void)
{
	__u32 zero = 0;
	__u64 *lost = bpf_map_lookup_elem(&cilium_events_lost, &zero);

	if (lost)
		*lost += 1;
}

/*
 * Whether a record of something that passed has to give way: the last quarter of the ring is for what was dropped or denied, so that
 * under a flood of forwards no drop is lost before a forward is.
 */
static __always_inline int events_give_way(void)
{
	__u64 size = bpf_ringbuf_query(&cilium_events, BPF_RB_RING_SIZE);

	return bpf_ringbuf_query(&cilium_events, BPF_RB_AVAIL_DATA) > size - size / 4;
}
