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
 * Whether there is room for a record. Of something that passed only in three quarters of the ring: the last one is for what was dropped or
 * denied, so that under a flood of forwards no drop is lost before a forward is. Asked without the ring's lock, which the processors share:
 * a flood that nobody can read costs them no waiting for each other. A record that finds no room in spite of the answer is counted as well.
 */
static __always_inline int events_have_room(int passed)
{
	__u64 size = bpf_ringbuf_query(&cilium_events, BPF_RB_RING_SIZE);
	__u64 room = size - bpf_ringbuf_query(&cilium_events, BPF_RB_AVAIL_DATA);

	return room >= (passed ? size / 4 : sizeof(struct event) + EVENT_HEADER);
}
