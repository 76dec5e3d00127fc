/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests read byte by byte, as strictly as src/proxy/http does: what the proxy refuses is refused, what it would do something special
 * with (upgrades, other forms of targets, trailers, …) is not decided here.
 */
#pragma once

#include "http_frame.h"
#include "http_line.h"

#define HTTP_HEAD_MAX (60 * 1024)

static __always_inline void http_begin(struct http_socket *s)
{
	s->flags &= HTTP_F_PENDING;
	s->method_length = s->path_length = s->headers = 0;
	s->percent = s->last = s->before_last = s->host = 0;
	s->host_length = 0;
	s->head_bytes = 0;
	s->drained = 0;
	s->length = 0;
	s->left = 0;
	__builtin_memset(s->key.method, 0, sizeof(s->key.method));
}

static __always_inline int http_end_of_head(struct http_socket *s)
{
	if (s->flags & HTTP_F_NUL || !(s->flags & (HTTP_F_HOST | HTTP_F_HTTP10)))
		return refuse_with(HTTP_BAD_REQUEST);
	if (s->flags & HTTP_F_CHUNKED) {
		if (s->flags & (HTTP_F_LENGTH | HTTP_F_HTTP10))
			return refuse_with(HTTP_BAD_REQUEST);
		s->length = s->digits = s->value_length = 0;
		s->phase = HTTP_CHUNK_SIZE;
		return 0;
	}
	s->left = s->flags & HTTP_F_LENGTH ? s->length : 0;
	if (s->left)
		s->phase = HTTP_BODY;
	else
		http_end_of_request(s);
	return 0;
}

/* A byte of a head behind its request line. */
static __always_inline int http_in_head(struct http_socket *s, __u8 c)
{
	int bad;

	if (s->phase == HTTP_NAME)
		return http_in_name(s, c);
	if (s->phase == HTTP_VALUE)
		return http_in_value(s, c);
	if (c != '\n')
		return refuse_with(HTTP_BAD_REQUEST);
	if (s->phase == HTTP_HEAD_LF)
		return http_end_of_head(s);
	bad = http_end_of_field(s);
	http_begin_field(s);
	s->phase = HTTP_NAME;
	return bad;
}
