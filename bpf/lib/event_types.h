/* SPDX-License-Identifier: Apache-2.0 */
/* Records of the ring buffer cilium_events: what Hubble and the monitor read. Numbers are Cilium's. */
#pragma once

#include "common.h"

enum event_type {
	EVENT_DROP = 1,
	EVENT_TRACE = 4,
	EVENT_POLICY_VERDICT = 5,
	EVENT_TRACE_SOCK = 7,
};

/* Subtype of a trace event: where the packet was seen. */
enum observation_point {
	TRACE_TO_ENDPOINT = 0,
	TRACE_TO_PROXY = 1,
	TRACE_TO_HOST = 2,
	TRACE_TO_STACK = 3,
	TRACE_TO_OVERLAY = 4,
	TRACE_FROM_ENDPOINT = 5,
	TRACE_FROM_PROXY = 6,
	TRACE_FROM_HOST = 7,
	TRACE_FROM_STACK = 8,
	TRACE_FROM_OVERLAY = 9,
	TRACE_FROM_NETWORK = 10,
	TRACE_TO_NETWORK = 11,
};

/* What conntrack said of the packet. */
enum ct_reason {
	CT_NEW = 0,
	CT_ESTABLISHED = 1,
	CT_REPLY = 2,
	CT_RELATED = 3,
	CT_UNKNOWN = 5, /* not asked */
};

enum policy_match_type {
	POLICY_MATCH_NONE = 0,
	POLICY_MATCH_L3_ONLY = 1,
	POLICY_MATCH_L3_L4 = 2,
	POLICY_MATCH_L4_ONLY = 3,
	POLICY_MATCH_ALL = 4,
	POLICY_MATCH_L3_PROTO = 5,
	POLICY_MATCH_PROTO_ONLY = 6,
};

enum event_flags {
	EVENT_F_REPLY_KNOWN = 1, /* EVENT_F_IS_REPLY says something */
	EVENT_F_IS_REPLY = 2,
	EVENT_F_IPV6 = 4,
	EVENT_F_AUDIT = 8,      /* would have been denied */
	EVENT_F_L3_DEVICE = 16, /* the capture begins with the IP header */
};

enum event_file {
	FILE_UNKNOWN = 0,
	FILE_BPF_LXC = 1,
	FILE_BPF_HOST = 2,
	FILE_BPF_SOCK = 3,
	FILE_PARSE = 16,
	FILE_ICMP = 17,
	FILE_CONNTRACK = 18,
	FILE_POLICY = 19,
	FILE_PROXY = 20,
	FILE_DELIVER = 21,
	FILE_FRAGMENT = 22,
	FILE_REWRITE = 23,
	FILE_LB = 24,
	FILE_NAT = 25,
	FILE_NODEPORT = 26,
	FILE_DSR = 27,
};

#define EVENT_CAPTURE_MAX 128
#define EVENT_HEADER 8 /* the ring's own, before each record */

/* Drop, trace and policy-verdict records. All numbers but the captured bytes are in host order. */
struct event {
	__u8 type;      /* enum event_type */
	__u8 subtype;   /* drop: enum drop_reason; trace: enum observation_point; verdict: 0 */
	__u8 direction; /* enum direction: of the connection, as lxc_id sees it; of the packet while conntrack has not been asked */
	__u8 flags;     /* enum event_flags */
	__u16 lxc_id;   /* endpoint it was judged for or seen at; 0: none */
	__u8 match_type; /* enum policy_match_type */
	__s8 ext_error;  /* -errno of a kernel function that failed, if one did */
	__u32 src_id;
	__u32 dst_id;
	__u32 dst_lxc_id; /* endpoint of this node it goes to; 0: none, or not yet known */
	__u32 cookie;     /* rules that decided; 0: none */
	__u32 ifindex;
	__u32 hash;
	__s32 verdict; /* 0 allowed, > 0 port of the proxy it goes to, < 0 -enum drop_reason */
	__u16 line;
	__u8 file;      /* enum event_file */
	__u8 ct_reason; /* enum ct_reason */
	__u32 len_orig;
	__u32 cap_len;
	__u32 pad;
	__u64 ktime; /* boottime, nanoseconds */
	__u8 data[EVENT_CAPTURE_MAX];
};

_Static_assert(sizeof(struct event) == 64 + EVENT_CAPTURE_MAX, "event is read by TypeScript");

enum sock_trace_point {
	SOCK_TRACE_UNKNOWN = 0,
	SOCK_TRACE_PRE_DIRECTION_FORWARD = 1,  /* address as the program gave it */
	SOCK_TRACE_POST_DIRECTION_FORWARD = 2, /* backend it was translated to */
	SOCK_TRACE_PRE_DIRECTION_REVERSE = 3,  /* address the backend answered from */
	SOCK_TRACE_POST_DIRECTION_REVERSE = 4, /* service address the program sees */
};

enum sock_event_flags {
	SOCK_F_IPV6 = 1,
	SOCK_F_NO_BACKEND = 2, /* refused: the service has no backend */
};

/* Service translation at a socket. */
struct sock_event {
	__u8 type;     /* EVENT_TRACE_SOCK */
	__u8 subtype;  /* enum sock_trace_point */
	__u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 flags;    /* enum sock_event_flags */
	__be16 dport;
	__u16 pad;
	struct addr16 destination;
	__u64 sock_cookie;
	__u64 cgroup_id;
	__u64 ktime; /* boottime, nanoseconds */
};

_Static_assert(sizeof(struct sock_event) == 48, "sock_event is read by TypeScript");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 * 1024 * 1024);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_events SEC(".maps");

/* Records that did not fit into cilium_events. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_events_lost SEC(".maps");
