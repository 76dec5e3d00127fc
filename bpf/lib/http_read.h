/* SPDX-License-Identifier: Apache-2.0 */
/* A segment read from end to end, piece by piece: bodies are skipped, the rest goes byte by byte. */
#pragma once

#include "http_judge.h"

#define HTTP_STEPS 4096

/* One byte; 1 stops, because something more than a byte is to be done. */
static long http_byte(__u32 index __attribute__((unused)), void *data)
{
	struct http_context *context = data;
	struct http_run *run = context->run;
	struct http_socket *s = context->s;
	__u32 at = run->used, bad;
	__u8 c;

	if (at >= run->loaded || at >= HTTP_PIECE)
		return 1;
	c = run->bytes[at];
	run->used = at + 1;
	bad = 0;
	if (s->phase == HTTP_START) {
		http_begin(s);
		http_note_begin(s, run);
		s->phase = HTTP_METHOD;
	}
	if (run->refuse)
		return 1;
	if (s->phase > HTTP_HEAD_LF) {
		bad = http_in_frame(s, c);
	} else if (c == '\r' && s->phase == HTTP_METHOD && !s->method_length) {
		/* An empty line before a request: it would be passed on. */
		bad = refuse_with(HTTP_MISDIRECTED);
	} else {
		if (++s->head_bytes > HTTP_HEAD_MAX)
			bad = refuse_with(HTTP_TOO_LARGE);
		else if (http_is_line(s))
			bad = http_in_line(s, c);
		else
			bad = http_in_head(s, c);
	}
	if (bad) {
		http_refuse(run, bad - 1);
		return 1;
	}
	return s->phase == HTTP_START || s->phase >= HTTP_BODY || (s->phase == HTTP_NAME && !s->headers && !s->name_length);
}

static __always_inline __u32 http_skip_data(struct http_socket *s, __u32 available)
{
	__u32 count = s->left < available ? s->left : available;

	if (s->flags & HTTP_F_DENIED)
		s->drained += count;
	http_skip(s, count);
	return count;
}

/* Bytes of the segment into run->bytes. */
static __always_inline int http_load(struct __sk_buff *skb, struct http_run *run)
{
	__u32 count = run->length - run->at;

	if (count >= HTTP_PIECE) {
		run->loaded = HTTP_PIECE;
		return bpf_skb_load_bytes(skb, run->base + run->at, run->bytes, HTTP_PIECE);
	}
	asm volatile("%0 &= 255\n"
		     "if %0 > 0 goto +1\n"
		     "%0 = 1"
		     : "+r"(count));
	run->loaded = count;
	return bpf_skb_load_bytes(skb, run->base + run->at, run->bytes, count);
}

/* As much as is of one kind: body, or text up to where something is to be done. */
static long http_step(__u32 index __attribute__((unused)), void *data)
{
	struct http_context *context = data;
	struct http_run *run = context->run;
	struct http_socket *s = context->s;
	int in_line = http_is_line(s) || s->phase == HTTP_START;

	if (run->at >= run->length || run->refuse)
		return 1;
	if (s->phase == HTTP_OVER) {
		/* Behind the last request: it is not for the server, and what comes with it cannot be taken apart. */
		http_refuse(run, HTTP_MISDIRECTED);
		return 1;
	}
	if (http_is_data(s)) {
		run->at += http_skip_data(s, run->length - run->at);
	} else {
		int in_head = s->phase <= HTTP_HEAD_LF;

		run->used = 0;
		if (http_load(context->skb, run)) {
			http_refuse(run, HTTP_MISDIRECTED);
			return 1;
		}
		bpf_loop(HTTP_PIECE, http_byte, context, 0);
		run->at += run->used;
		if (run->refuse)
			return 1;
		if (in_line && s->phase == HTTP_NAME)
			http_judge(s, run);
		if (in_head && s->flags & HTTP_F_DENIED && (s->phase > HTTP_HEAD_LF || s->phase == HTTP_START))
			run->denied = 1;
	}
	if (s->flags & HTTP_F_ALLOWED)
		run->kept = 1;
	if (s->flags & HTTP_F_DENIED)
		run->withheld = 1;
	return 0;
}

static __always_inline void http_read(struct __sk_buff *skb, struct http_socket *s, struct http_run *run)
{
	struct http_context context = { .skb = skb, .s = s, .run = run };

	run->at = run->kept = run->withheld = run->denied = run->asked = run->refuse = run->hand_over = 0;
	bpf_loop(HTTP_STEPS, http_step, &context, 0);
}
