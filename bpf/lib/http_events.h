/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of requests: records, and counts of what is not recorded one by one. */
#pragma once

#include "conntrack.h"
#include "events_lost.h"
#include "http_event_types.h"
#include "http_run.h"

static __always_inline void http_count(__u32 what, __u32 count)
{
	__u64 *counter = bpf_map_lookup_elem(&cilium_http_counts, &what);

	if (counter)
		*counter += count;
}

struct http_told {
	enum http_outcome outcome;
	__u16 status;
	__u8 flags;
	__u64 latency;
};

static __always_inline void http_tell(const struct http_socket *s, __u64 cookie, const struct http_told *told)
{
	struct http_event *event = bpf_ringbuf_reserve(&cilium_http_events, sizeof(*event), 0);

	if (!event) {
		events_count_lost();
		return;
	}
	event->outcome = told->outcome;
	event->flags = told->flags | (s->flags & HTTP_F_HTTP10 ? HTTP_EVENT_HTTP10 : 0);
	event->pad = 0;
	event->lxc_id = s->lxc_id;
	event->client_id = s->client_id;
	event->status = told->status;
	event->method_length = s->method_length;
	event->path_length = s->path_length;
	event->client_port = s->client_port;
	event->server_port = s->server_port;
	event->host_length = http_is_head(s) ? 0 : s->host_length;
	event->client = s->client;
	event->server = s->server;
	event->sock_cookie = cookie;
	event->ktime = bpf_ktime_get_boot_ns();
	event->latency = told->latency;
	__builtin_memcpy(event->method, s->key.method, sizeof(event->method));
	__builtin_memcpy(event->path, s->key.path, sizeof(event->path));
	__builtin_memcpy(event->host, s->host_text, sizeof(event->host));
	bpf_ringbuf_submit(event, 0);
}

static __always_inline void http_report(const struct http_socket *s, __u64 cookie, enum http_outcome outcome, __u16 status, __u8 flags)
{
	struct http_told told = { .outcome = outcome, .status = status, .flags = flags };

	http_tell(s, cookie, &told);
}

/* Allowed requests are many: with aggregation one is reported of each connection and interval. */
static __always_inline int http_is_reported(const struct http_socket *s)
{
	return aggregation_level() < MONITOR_MEDIUM || !s->reported || ct_now() - s->reported >= monitor_interval;
}

/* The head of an allowed request has ended. Its answer is reported as well, where it can be told from those before. */
static __always_inline void http_report_forwarded(struct http_socket *s, __u64 cookie)
{
	s->untold = 0;
	if (!http_is_reported(s))
		return;
	s->reported = ct_now();
	s->asked_at = bpf_ktime_get_boot_ns();
	s->answer_at = s->written;
	s->awaited = !(s->flags & HTTP_F_BUSY);
	http_report(s, cookie, HTTP_FORWARDED, 0, 0);
}
