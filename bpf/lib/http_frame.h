/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies: lengths and chunks, followed to where the next request begins. */
#pragma once

#include "http_chars.h"

#define HTTP_CHUNK_DIGITS 13
#define HTTP_CHUNK_LINE_MAX 254
#define HTTP_DRAIN_MAX (1024 * 1024)

/* Will the client send no further request on this connection? */
static __always_inline int http_is_last(const struct http_socket *s)
{
	return s->flags & HTTP_F_CLOSE || (s->flags & HTTP_F_HTTP10 && !(s->flags & HTTP_F_KEEP_ALIVE));
}

static __always_inline void http_end_of_request(struct http_socket *s)
{
	s->phase = http_is_last(s) ? HTTP_OVER : HTTP_START;
}

static __always_inline int http_in_chunk_size(struct http_socket *s, __u8 c)
{
	int digit = hex_value(c);

	if (c == '\r' && s->value_length) {
		s->phase = HTTP_CHUNK_SIZE_LF;
		return 0;
	}
	/* Zeros in front do not count as digits; both are bounded. */
	if (digit < 0 || ++s->value_length > HTTP_CHUNK_LINE_MAX || s->digits >= HTTP_CHUNK_DIGITS)
		return refuse_with(HTTP_BAD_REQUEST);
	if (s->digits || digit)
		s->digits++;
	s->length = s->length << 4 | digit;
	return 0;
}

static __always_inline int http_end_of_chunk_size(struct http_socket *s)
{
	s->left = s->length;
	s->phase = s->left ? HTTP_CHUNK_DATA : HTTP_LAST_CR;
	s->length = s->digits = s->value_length = 0;
	return 0;
}

/* A byte of a body's frame: sizes, and the line ends around them. Trailers are not decided here. */
static __always_inline int http_in_frame(struct http_socket *s, __u8 c)
{
	switch (s->phase) {
	case HTTP_CHUNK_SIZE:
		return http_in_chunk_size(s, c);
	case HTTP_CHUNK_SIZE_LF:
		return c == '\n' ? http_end_of_chunk_size(s) : refuse_with(HTTP_BAD_REQUEST);
	case HTTP_CHUNK_END:
		s->phase = HTTP_CHUNK_END_LF;
		return c == '\r' ? 0 : refuse_with(HTTP_BAD_REQUEST);
	case HTTP_CHUNK_END_LF:
		s->phase = HTTP_CHUNK_SIZE;
		return c == '\n' ? 0 : refuse_with(HTTP_BAD_REQUEST);
	case HTTP_LAST_CR:
		s->phase = HTTP_LAST_LF;
		return c == '\r' ? 0 : refuse_with(HTTP_MISDIRECTED);
	default:
		http_end_of_request(s);
		return c == '\n' ? 0 : refuse_with(HTTP_BAD_REQUEST);
	}
}

/* Skips `count` bytes of a body. */
static __always_inline void http_skip(struct http_socket *s, __u32 count)
{
	s->left -= count;
	if (s->left)
		return;
	if (s->phase == HTTP_CHUNK_DATA)
		s->phase = HTTP_CHUNK_END;
	else
		http_end_of_request(s);
}
