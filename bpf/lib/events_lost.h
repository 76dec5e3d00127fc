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
