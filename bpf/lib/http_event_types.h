/* SPDX-License-Identifier: Apache-2.0 */
/* Records of the ring buffer cilium_http_events: requests decided in the kernel. */
#pragma once

#include "common.h"

enum http_outcome {
	HTTP_FORWARDED = 0,
	HTTP_DENIED = 1,
	HTTP_REFUSED = 2,  /* no proper HTTP, or not decidable in the kernel */
	HTTP_ANSWERED = 3, /* the server's answer to a request that was reported as forwarded */
};

/* Counted whether they are reported or not: index of cilium_http_counts. */
enum http_count {
	HTTP_COUNT_TAKEN,       /* connections that are decided in the kernel */
	HTTP_COUNT_ENDED,       /* of them, closed */
	HTTP_COUNT_FORWARDED,   /* requests */
	HTTP_COUNT_DENIED,      /* requests */
	HTTP_COUNT_REFUSED,     /* connections ended because of what is no proper HTTP */
	HTTP_COUNT_HANDED_OVER, /* connections ended so that the client's next is the proxy's */
	HTTP_COUNT_CUT,         /* connections of both kinds whose client could not be told */
	HTTP_COUNT_KINDS,
};

enum http_event_flags {
	HTTP_EVENT_CUT = 1,    /* the client could not be told: its connection is to be ended */
	HTTP_EVENT_HTTP10 = 2,
};

#define HTTP_EVENT_METHOD_MAX 16
#define HTTP_EVENT_PATH_MAX 232
#define HTTP_EVENT_HOST_MAX 64

/* A request decided at the server's socket. */
struct http_event {
	__u8 outcome; /* enum http_outcome */
	__u8 flags;   /* enum http_event_flags */
	__u16 pad;
	__u32 lxc_id; /* of the server */
	__u32 client_id;
	__u16 status; /* of the kernel's answer, or the server's; 0: none */
	__u16 method_length; /* may be more than what is here */
	__u16 path_length;
	__be16 client_port;
	__be16 server_port;
	__u16 host_length; /* may be more than what is here; 0: none, or not read yet */
	struct addr16 client;
	struct addr16 server;
	__u64 sock_cookie;
	__u64 ktime;   /* boottime, nanoseconds */
	__u64 latency; /* nanoseconds from the end of the request's head to the beginning of its answer */
	__u8 method[HTTP_EVENT_METHOD_MAX];
	__u8 path[HTTP_EVENT_PATH_MAX]; /* with its query, and a blank behind it */
	__u8 host[HTTP_EVENT_HOST_MAX];
};

_Static_assert(sizeof(struct http_event) == 392, "http_event is read by TypeScript");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1024 * 1024);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_http_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, HTTP_COUNT_KINDS);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_http_counts SEC(".maps");
