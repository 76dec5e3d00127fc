/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a request may go to the server: its line compared with the rules. */
#pragma once

#include "http_events.h"
#include "http_head.h"

static __always_inline int http_is_allowed(struct http_socket *s, struct http_run *run, const struct http_rules *rules)
{
	s->key.set = rules->set;
	s->key.prefixlen = 8 * (HTTP_PATH_FIXED + s->path_length);
	if (s->method_length <= HTTP_METHOD_MAX && bpf_map_lookup_elem(&cilium_http_paths, &s->key))
		return 1;
	run->key = s->key;
	__builtin_memset(run->key.method, 0, sizeof(run->key.method));
	return bpf_map_lookup_elem(&cilium_http_paths, &run->key) != NULL;
}

/* The request line is there: everything that rules look at. */
static __always_inline void http_judge(struct http_socket *s, struct http_run *run)
{
	const struct http_rules *rules = http_find_rules(s->lxc_id, s->client_id, s->server_port);
	int allowed;

	if (s->flags & HTTP_F_NUL)
		return http_refuse(run, HTTP_BAD_REQUEST);
	if (!rules) {
		/* The connection is not ours any more: its next packets are somebody else's. */
		run->refuse = refuse_with(HTTP_MISDIRECTED);
		return;
	}
	allowed = rules->flags & HTTP_RULES_ALLOW_ALL;
	if (!allowed && http_is_allowed(s, run, rules)) {
		if (s->flags & HTTP_F_SUSPICIOUS)
			return http_refuse(run, HTTP_MISDIRECTED);
		allowed = 1;
	}
	if (!allowed) {
		s->flags |= HTTP_F_DENIED;
		run->withheld = 1;
		return;
	}
	/* What the kernel has said before is still on its way out: the server's answer would overtake it. */
	if (s->said && (__s32)(run->write_seq - s->said_until) < 0)
		return http_refuse(run, HTTP_MISDIRECTED);
	s->flags |= HTTP_F_ALLOWED | HTTP_F_PENDING;
	s->written = run->write_seq;
	s->untold = 1;
	run->asked++;
	run->kept = 1;
}

/* The client asks while the server may still be answering: what we say would get into that answer. */
static __always_inline void http_note_begin(struct http_socket *s, struct http_run *run)
{
	if (run->denied)
		http_refuse(run, HTTP_MISDIRECTED);
	/* Only the last request of a segment is reported. */
	if (s->untold && !run->trial && http_is_reported(s))
		events_count_lost();
	s->untold = s->awaited = 0;
	if (!(s->flags & HTTP_F_PENDING))
		return;
	if (run->asked || !run->answered)
		s->flags |= HTTP_F_BUSY;
	else
		s->flags &= ~HTTP_F_PENDING;
}
