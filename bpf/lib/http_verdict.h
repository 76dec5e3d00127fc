/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A segment on its way to a server: read, judged, and passed on, thrown away, or answered. It goes as a whole or not at all; what would have
 * to be split is not decided here.
 */
#pragma once

#include "http_answer.h"
#include "http_read.h"

/* What the server has sent so far. */
static __always_inline void http_look_at_server(struct __sk_buff *skb, const struct http_socket *s, struct http_run *run)
{
	struct bpf_sock *socket = skb->sk;
	struct tcp_sock *tcp;

	run->answered = 0;
	run->write_seq = s->written;
	if (!socket)
		return;
	tcp = bpf_skc_to_tcp_sock(socket);
	if (!tcp)
		return;
	run->write_seq = tcp->write_seq;
	run->answered = run->write_seq != s->written && tcp->snd_una == run->write_seq;
}

static __always_inline int http_verdict(struct __sk_buff *skb, struct http_socket *s, struct http_run *run, __u64 cookie)
{
	run->trial = run->base = 0;
	run->length = skb->len;
	if (!run->length)
		return SK_PASS;
	if (s->phase == HTTP_OVER)
		return SK_DROP;
	if (http_is_data(s) && s->flags & HTTP_F_ALLOWED && s->left > run->length) {
		s->left -= run->length;
		return SK_PASS;
	}
	http_look_at_server(skb, s, run);
	http_read(skb, s, run);
	/* A request line that goes on in the next segment can be neither passed on nor held back: TCP counts what is taken out of its queue. */
	if (!run->refuse && (run->at < run->length || http_is_line(s) || (run->kept && run->withheld)))
		http_refuse(run, HTTP_MISDIRECTED);
	if (run->refuse)
		return http_end(skb, s, run, cookie);
	if (run->denied)
		return http_deny(skb, s, run, cookie);
	if (s->flags & HTTP_F_DENIED && s->drained > HTTP_DRAIN_MAX)
		s->phase = HTTP_OVER;
	http_count(HTTP_COUNT_FORWARDED, run->asked);
	if (s->untold && !http_is_head(s))
		http_report_forwarded(s, cookie);
	return run->kept ? SK_PASS : SK_DROP;
}
