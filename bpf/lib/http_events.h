/* SPDX-License-Identifier: Apache-2.0 */
/* Flow events of requests. */
#pragma once

#include "conntrack.h"
#include "events_lost.h"
#include "http_event_types.h"
#include "http_run.h"

static __always_inline void http_report(const struct http_socket *s, __u64 cookie, enum http_outcome outcome, __u16 status, __u8 flags)
{
	struct http_event *event = bpf_ringbuf_reserve(&cilium_http_events, sizeof(*event), 0);

	if (!event) {
		events_count_lost();
		return;
	}
	event->outcome = outcome;
	event->flags = flags | (s->flags & HTTP_F_HTTP10 ? HTTP_EVENT_HTTP10 : 0);
	event->pad = 0;
	event->lxc_id = s->lxc_id;
	event->client_id = s->client_id;
	event->status = status;
	event->method_length = s->method_length;
	event->path_length = s->path_length;
	event->client_port = s->client_port;
	event->server_port = s->server_port;
	event->pad2 = 0;
	event->client = s->client;
	event->server = s->server;
	event->sock_cookie = cookie;
	event->ktime = bpf_ktime_get_boot_ns();
	__builtin_memcpy(event->method, s->key.method, sizeof(event->method));
	__builtin_memcpy(event->path, s->key.path, sizeof(event->path));
	bpf_ringbuf_submit(event, 0);
}

/* Allowed requests are many: with aggregation one is reported of each connection and interval. */
static __always_inline void http_report_forwarded(struct http_socket *s, __u64 cookie)
{
	__u32 now = ct_now();

	if (aggregation_level() >= MONITOR_MEDIUM && s->reported && now - s->reported < monitor_interval)
		return;
	s->reported = now;
	http_report(s, cookie, HTTP_FORWARDED, 0, 0);
}
