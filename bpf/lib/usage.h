/* SPDX-License-Identifier: Apache-2.0 */
/* Counting what rules decide, without a look at any map while a connection goes on. */
#pragma once

#include "conntrack_maps.h"
#include "usage_maps.h"

static __always_inline void usage_increase(struct usage_value *value, __u64 packets, __u64 bytes)
{
	value->packets += packets;
	value->bytes += bytes;
	value->last = bpf_ktime_get_coarse_ns();
}

__verified_alone int usage_add(__u32 cookie, __u32 egress, __u32 outcome, __u64 packets, __u64 bytes)
{
	struct usage_key key = { .cookie = cookie, .egress = !!egress, .outcome = outcome, .layer = 4 };
	struct usage_value *value = bpf_map_lookup_elem(&cilium_policy_usage, &key);
	struct usage_value zero = {};

	if (!value) {
		bpf_map_update_elem(&cilium_policy_usage, &key, &zero, BPF_NOEXIST);
		value = bpf_map_lookup_elem(&cilium_policy_usage, &key);
	}
	if (!value) {
		key = (struct usage_key){ .outcome = USAGE_LOST, .layer = 4 };
		value = bpf_map_lookup_elem(&cilium_policy_usage, &key);
	}
	if (value)
		usage_increase(value, packets, bytes);
	return 0;
}

/*
 * Adds what the connection has carried since it was last added up. The difference is to what `counted` held at that moment, so that two CPUs
 * that do this at once share it between them, whoever comes first.
 */
__verified_alone int usage_settle(struct ct_entry *entry)
{
	__u64 packets, bytes;

	if (!entry || entry->flags & CT_F_UNCOUNTED)
		return 0;
	packets = entry->tx_packets + entry->rx_packets;
	bytes = entry->tx_bytes + entry->rx_bytes;
	packets -= __sync_lock_test_and_set(&entry->counted_packets, packets);
	bytes -= __sync_lock_test_and_set(&entry->counted_bytes, bytes);
	if (!packets)
		return 0;
	if (entry->egress.cookie)
		usage_add(entry->egress.cookie, 1, USAGE_ALLOWED, packets, bytes);
	if (entry->egress.audit_cookie)
		usage_add(entry->egress.audit_cookie, 1, USAGE_AUDITED, packets, bytes);
	if (entry->ingress.cookie)
		usage_add(entry->ingress.cookie, 0, USAGE_ALLOWED, packets, bytes);
	if (entry->ingress.audit_cookie)
		usage_add(entry->ingress.audit_cookie, 0, USAGE_AUDITED, packets, bytes);
	return 0;
}
