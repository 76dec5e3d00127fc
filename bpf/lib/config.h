/* SPDX-License-Identifier: Apache-2.0 */
/* Load-time constants. The loader writes them into .rodata.config before the verifier runs, so dead branches cost nothing. */
#pragma once

#include "common.h"

#define DECLARE_CONFIG(type, name, fallback, help)                                                                     \
	__attribute__((btf_decl_tag(help))) const volatile type name __attribute__((section(".rodata.config"))) = fallback

/* How much of forwarded traffic is reported; drops are always reported. Cilium's numbers. */
enum monitor_aggregation {
	MONITOR_NONE = 0,    /* every packet at every observation point */
	MONITOR_LOWEST = 1,  /* nothing at from-* points */
	MONITOR_LOW = 2,     /* the same */
	MONITOR_MEDIUM = 3,  /* one record per connection, direction, new TCP flag and interval */
	MONITOR_MAXIMUM = 4, /* the same */
};

DECLARE_CONFIG(__u32, node_ifindex, 0, "interface index of the device that leads to the other nodes; 0 hands their packets to the stack");
DECLARE_CONFIG(__u8, enable_ipv4, 1, "forward IPv4 of pods");
DECLARE_CONFIG(__u8, enable_ipv6, 1, "forward IPv6 of pods");
DECLARE_CONFIG(__u32, monitor_aggregation, MONITOR_MEDIUM, "how much forwarded traffic is reported: 0 none ... 4 maximum");
DECLARE_CONFIG(__u32, monitor_interval, 5, "seconds between two reports of one connection and direction");
DECLARE_CONFIG(__u8, events_drop, 1, "report what is dropped; 0: only count it");
DECLARE_CONFIG(__u8, events_policy_verdict, 1, "report policies' verdicts");
DECLARE_CONFIG(__u8, events_trace, 1, "report where packets are seen");
DECLARE_CONFIG(__u32, ct_lifetime_tcp, 8000, "seconds an idle established TCP connection is remembered");
DECLARE_CONFIG(__u32, ct_lifetime_syn, 60, "seconds a TCP connection without an answer is remembered");
DECLARE_CONFIG(__u32, ct_lifetime_close, 10, "seconds a closed TCP connection is remembered");
DECLARE_CONFIG(__u32, ct_lifetime_any, 60, "seconds an idle flow of another protocol is remembered");
DECLARE_CONFIG(__u8, trace_sock, 1, "report service translations at connect and sendmsg");

DECLARE_CONFIG(__u8, sock_host_only, 0, "translate services at sockets of the node's own network namespace only; pods' packets one by one");
DECLARE_CONFIG(__u8, enable_nodeport, 1, "translate what comes from outside to services; 0: kube-proxy does");
DECLARE_CONFIG(__u16, nodeport_min, 30000, "first port of the node port range");
DECLARE_CONFIG(__u16, nodeport_max, 32767, "last port of the node port range");
DECLARE_CONFIG(__u16, nat_port_min, 1024, "first port of this node that callers of remote backends get");
DECLARE_CONFIG(__u16, nat_port_max, 29999, "last port of this node that callers of remote backends get; the range must not have ports of the node's own calls");
DECLARE_CONFIG(__u32, hash_seed, 0x5c111a00, "seed of Maglev's hash: the same on all nodes");

DECLARE_CONFIG(__u8, enable_http, 0, "decide plain HTTP at the servers' sockets where the rules allow; 0: the proxy decides everything");

/* What may be changed while programs run. Every value of zero means: as loaded. */
struct runtime_config {
	__u32 monitor_aggregation_plus_one; /* enum monitor_aggregation + 1 */
	__u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct runtime_config);
	__uint(max_entries, 1);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_runtime_config SEC(".maps");

static __always_inline __u32 aggregation_level(void)
{
	__u32 zero = 0;
	struct runtime_config *runtime = bpf_map_lookup_elem(&cilium_runtime_config, &zero);

	if (runtime && runtime->monitor_aggregation_plus_one)
		return runtime->monitor_aggregation_plus_one - 1;
	return monitor_aggregation;
}
