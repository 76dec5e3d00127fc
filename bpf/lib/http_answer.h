/* SPDX-License-Identifier: Apache-2.0 */
/* Answers made in the kernel: the segment that is not for the server becomes what is said to its client. */
#pragma once

#include "http_judge.h"

/* The longest segment that is answered with blanks inside a head; clients bound their heads. */
#define HTTP_FILL_MAX (12 * 1024)
#define HTTP_FILL_STEPS 1100

static __always_inline int http_is_head_request(const struct http_socket *s)
{
	return s->method_length == 4 && *(const __u32 *)s->key.method == bpf_htonl(PACK4('H', 'E', 'A', 'D'));
}

struct http_fill {
	struct __sk_buff *skb;
	struct http_run *run;
	__u32 from;
	__u32 to;
};

static long http_fill_step(__u32 index __attribute__((unused)), void *data)
{
	struct http_fill *fill = data;
	__u32 left = fill->to - fill->from;

	if (fill->from >= fill->to)
		return 1;
	asm volatile("if %0 <= 64 goto +1\n"
		     "%0 = 64\n"
		     "if %0 > 0 goto +1\n"
		     "%0 = 1"
		     : "+r"(left));
	if (bpf_skb_store_bytes(fill->skb, fill->from, fill->run->blanks, left, 0))
		return 1;
	fill->from += left;
	return 0;
}

static __always_inline int http_store(struct __sk_buff *skb, __u32 offset, const struct http_answer_text *text, __u32 from, __u32 count)
{
	if (!count)
		return 0;
	if (from >= HTTP_ANSWER_MAX / 2)
		return -1;
	asm volatile("if %0 > 0 goto +1\n"
		     "%0 = 1\n"
		     "if %0 <= 128 goto +1\n"
		     "%0 = 128"
		     : "+r"(count));
	return bpf_skb_store_bytes(skb, offset, text->text + from, count, 0);
}

static __always_inline __u32 http_answer_length(const struct http_socket *s, const struct http_answer_text *text)
{
	return http_is_head_request(s) ? text->length - text->body : text->length;
}

/* The longest wording that is no longer than the segment. */
static __always_inline const struct http_answer_text *http_wording(const struct http_socket *s, const struct http_run *run, __u32 answer)
{
	for (__u32 i = 0; i < HTTP_WORDINGS; i++) {
		__u32 index = answer * HTTP_WORDINGS + i;
		const struct http_answer_text *text = bpf_map_lookup_elem(&cilium_http_answers, &index);

		if (text && text->split && http_answer_length(s, text) <= run->length)
			return text;
	}
	return NULL;
}

/*
 * Sends the answer out of the server's own socket in place of the segment, and exactly as long: TCP counts what was read by the length that
 * is left, and wakes nobody for the next bytes when that was more, and somebody for nothing when it was less. Blanks behind a header's value
 * fill it up.
 */
static __always_inline int http_say(struct __sk_buff *skb, struct http_socket *s, struct http_run *run, __u64 cookie,
				    const struct http_answer_text *text)
{
	struct http_fill fill = { .skb = skb, .run = run };
	__u32 split, length, end = run->length;

	split = text->split;
	length = http_answer_length(s, text);
	if (length < split || bpf_skb_pull_data(skb, end))
		return SK_DROP;
	if (end - length > HTTP_FILL_MAX) {
		/* The connection ends with this: what is behind the answer is not read. */
		fill.from = length;
		fill.to = end;
		end = length;
	} else {
		fill.from = split;
		fill.to = split + end - length;
	}
	__builtin_memset(run->blanks, ' ', sizeof(run->blanks));
	bpf_loop(HTTP_FILL_STEPS, http_fill_step, &fill, 0);
	if (http_store(skb, 0, text, 0, split) || http_store(skb, end - (length - split), text, split, length - split))
		return SK_DROP;
	if (!s->said || (__s32)(run->write_seq - s->said_until) > 0)
		s->said_until = run->write_seq;
	s->said_until += run->length;
	s->said = 1;
	return bpf_sk_redirect_hash(skb, &cilium_http_sockets, &cookie, 0);
}

/* The client's next connections are the proxy's. */
static __always_inline void http_hand_over(const struct http_socket *s)
{
	struct http_server_key key = { .address = s->server, .port = s->server_port, .identity = s->client_id };
	__u32 other = HTTP_CLIENT_OTHER;

	bpf_map_update_elem(&cilium_http_servers, &key, &other, BPF_ANY);
}

/* Nothing more is taken from this client here. It is told so where there is room, and that cannot get into an answer of the server's. */
static __always_inline int http_end(struct __sk_buff *skb, struct http_socket *s, struct http_run *run, __u64 cookie)
{
	int silent = s->flags & HTTP_F_BUSY || (s->flags & HTTP_F_ALLOWED && run->write_seq != s->written);
	const struct http_answer_text *text = silent ? NULL : http_wording(s, run, run->refuse - 1);

	s->phase = HTTP_OVER;
	if (run->hand_over)
		http_hand_over(s);
	http_count(run->refuse == refuse_with(HTTP_MISDIRECTED) ? HTTP_COUNT_HANDED_OVER : HTTP_COUNT_REFUSED, 1);
	if (!text)
		http_count(HTTP_COUNT_CUT, 1);
	http_report(s, cookie, HTTP_REFUSED, text ? text->status : 0, text ? 0 : HTTP_EVENT_CUT);
	return text ? http_say(skb, s, run, cookie, text) : SK_DROP;
}

static __always_inline int http_deny(struct __sk_buff *skb, struct http_socket *s, struct http_run *run, __u64 cookie)
{
	int close = http_is_last(s) || s->flags & HTTP_F_EXPECT || s->left > HTTP_DRAIN_MAX || run->length > HTTP_FILL_MAX;
	const struct http_answer_text *text = http_wording(s, run, close ? HTTP_FORBIDDEN_CLOSE : HTTP_FORBIDDEN);

	if (!text || s->flags & HTTP_F_BUSY) {
		http_refuse(run, HTTP_MISDIRECTED);
		return http_end(skb, s, run, cookie);
	}
	if (close)
		s->phase = HTTP_OVER;
	http_count(HTTP_COUNT_DENIED, 1);
	http_report(s, cookie, HTTP_DENIED, text->status, 0);
	return http_say(skb, s, run, cookie, text);
}
