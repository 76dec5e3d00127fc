/* SPDX-License-Identifier: Apache-2.0 */
/* A request line: method, target, version. */
#pragma once

#include "http_field.h"

#define HTTP_METHOD_LIMIT 32

/* Escapes that some servers decode to a character that changes what the path means. */
static __always_inline int is_decoded(__u8 c)
{
	return is_letter(c) || is_digit(c) || c == '%' || c == '\'' || c == '-' || c == '.' || c == '/' || c == ';' || c == '\\' || c == '_' ||
	       c == '~';
}

/* How UTF-8 begins that may be too long for what it says, as `/` in two bytes: the proxy looks at the rest. */
static __always_inline int may_be_overlong(__u8 c)
{
	return c == 0xc0 || c == 0xc1 || c == 0xe0 || c == 0xf0;
}

/* Segments of dots, empty ones, and what else servers do not agree about. Only paths are read in different ways, not queries. */
static __always_inline void http_suspect(struct http_socket *s, __u8 c)
{
	int ends = c == '/' || c == '?' || c == ' ';

	if (s->flags & HTTP_F_QUERY)
		return;
	if (c == '\\' || c == ';' || (c == '/' && s->last == '/'))
		s->flags |= HTTP_F_SUSPICIOUS;
	if (s->last == '.' && (s->before_last == '/' || s->before_last == '.') && (ends || c == '.'))
		s->flags |= HTTP_F_SUSPICIOUS;
	if (c == '?')
		s->flags |= HTTP_F_QUERY;
	s->before_last = s->last;
	s->last = c;
}

static __always_inline void http_unescape(struct http_socket *s, __u8 c)
{
	int digit;

	if (c == '%') {
		s->percent = 2;
		s->escape = 0;
		return;
	}
	if (!s->percent)
		return;
	digit = hex_value(c);
	if (digit < 0) {
		/* %u002e */
		if ((c == 'u' || c == 'U') && s->percent == 2 && !(s->flags & HTTP_F_QUERY))
			s->flags |= HTTP_F_SUSPICIOUS;
		s->percent = 0;
		return;
	}
	s->escape = s->escape << 4 | digit;
	if (--s->percent)
		return;
	if (s->escape == 0)
		s->flags |= HTTP_F_NUL;
	if ((is_decoded(s->escape) || may_be_overlong(s->escape)) && !(s->flags & HTTP_F_QUERY))
		s->flags |= HTTP_F_SUSPICIOUS;
}

static __always_inline void http_add_to_path(struct http_socket *s, __u8 c)
{
	__u32 at = s->path_length;

	if (at < HTTP_PATH_MAX) {
		s->key.path[at] = c;
		s->path_length = at + 1;
	}
}

static __always_inline int http_in_method(struct http_socket *s, __u8 c)
{
	__u32 at = s->method_length;

	if (c == ' ') {
		s->phase = HTTP_TARGET;
		return 0;
	}
	if (!is_token(c) || at >= HTTP_METHOD_LIMIT)
		return refuse_with(HTTP_BAD_REQUEST);
	if (at < HTTP_METHOD_MAX)
		s->key.method[at] = c;
	s->method_length = at + 1;
	return 0;
}

static __always_inline int http_in_target(struct http_socket *s, __u8 c)
{
	if (c == ' ') {
		if (!s->path_length)
			return refuse_with(HTTP_BAD_REQUEST);
		http_suspect(s, c);
		http_add_to_path(s, c);
		s->version_at = 0;
		s->phase = HTTP_VERSION;
		return 0;
	}
	if (c < 0x21 || c > 0x7e || c == '#')
		return refuse_with(HTTP_BAD_REQUEST);
	/* Origin form only: the others name hosts, tunnels, or nothing. */
	if (!s->path_length && c != '/')
		return refuse_with(HTTP_MISDIRECTED);
	http_suspect(s, c);
	http_unescape(s, c);
	http_add_to_path(s, c);
	return 0;
}

static __always_inline int http_in_version(struct http_socket *s, __u8 c)
{
	__u32 at = s->version_at++;

	if (at < 7 && c == (__u8)(0x2e312f50545448ULL >> (8 * at))) /* "HTTP/1." from its last byte */
		return 0;
	if (at == 7 && (c == '0' || c == '1')) {
		if (c == '0')
			s->flags |= HTTP_F_HTTP10;
		return 0;
	}
	if (at == 8 && c == '\r')
		return 0;
	if ((at == 5 || at == 7) && is_digit(c))
		return refuse_with(HTTP_VERSION_REFUSED);
	return refuse_with(HTTP_BAD_REQUEST);
}

/* A byte of a request line. The line is whole when the phase is HTTP_NAME. */
static __always_inline int http_in_line(struct http_socket *s, __u8 c)
{
	if (s->phase == HTTP_METHOD && !s->method_length && c == ' ')
		return refuse_with(HTTP_BAD_REQUEST);
	if (s->phase == HTTP_METHOD)
		return http_in_method(s, c);
	if (s->phase == HTTP_TARGET)
		return http_in_target(s, c);
	if (s->version_at == 9) {
		s->phase = HTTP_NAME;
		http_begin_field(s);
		return c == '\n' ? 0 : refuse_with(HTTP_BAD_REQUEST);
	}
	return http_in_version(s, c);
}
