/* SPDX-License-Identifier: Apache-2.0 */
/* A header: its name and value, and what those say about the body and the connection. */
#pragma once

#include "http_host.h"

#define HTTP_HEADERS_MAX 100
#define HTTP_LENGTH_DIGITS 15

static __always_inline void http_begin_field(struct http_socket *s)
{
	s->name = (struct http_text){};
	s->value = (struct http_text){};
	s->name_length = s->value_length = 0;
	s->digits = s->blank = 0;
}

static __always_inline int http_in_name(struct http_socket *s, __u8 c)
{
	if (c == ':' && s->name_length) {
		s->phase = HTTP_VALUE;
		return 0;
	}
	if (c == '\r' && !s->name_length) {
		s->phase = HTTP_HEAD_LF;
		return 0;
	}
	if (!is_token(c))
		return refuse_with(HTTP_BAD_REQUEST);
	http_pack(&s->name, s->name_length, lower_case(c));
	s->name_length++;
	return 0;
}

static __always_inline int is_header_host(const struct http_socket *s)
{
	return s->name_length == 4 && s->name.first == PACK4('h', 'o', 's', 't');
}

static __always_inline int is_header_length(const struct http_socket *s)
{
	return s->name_length == 14 && s->name.first == PACK8('c', 'o', 'n', 't', 'e', 'n', 't', '-') &&
	       s->name.second == PACK6('l', 'e', 'n', 'g', 't', 'h');
}

/* Content_Length, Transfer_Encoding: to some servers (CGI) they are the headers that frame a body. */
static __always_inline int is_framing_alike(const struct http_socket *s)
{
	if (s->name_length == 14)
		return s->name.first == PACK8('c', 'o', 'n', 't', 'e', 'n', 't', '_') && s->name.second == PACK6('l', 'e', 'n', 'g', 't', 'h');
	return s->name_length == 17 && s->name.first == PACK8('t', 'r', 'a', 'n', 's', 'f', 'e', 'r') &&
	       s->name.second == PACK8('_', 'e', 'n', 'c', 'o', 'd', 'i', 'n') && s->name.third == 'g';
}

static __always_inline int is_header_encoding(const struct http_socket *s)
{
	return s->name_length == 17 && s->name.first == PACK8('t', 'r', 'a', 'n', 's', 'f', 'e', 'r') &&
	       s->name.second == PACK8('-', 'e', 'n', 'c', 'o', 'd', 'i', 'n') && s->name.third == 'g';
}

static __always_inline int http_in_length(struct http_socket *s, __u8 c)
{
	if (!is_digit(c) || s->blank || s->digits >= HTTP_LENGTH_DIGITS)
		return refuse_with(HTTP_BAD_REQUEST);
	s->digits++;
	s->length = s->length * 10 + (c - '0');
	return 0;
}

static __always_inline int http_in_value(struct http_socket *s, __u8 c)
{
	if (c == '\r') {
		s->phase = HTTP_VALUE_LF;
		return 0;
	}
	/* A blank by the grammar, which some servers take for a part of the value. */
	if (c == '\t' && (is_header_length(s) || is_header_encoding(s)))
		return refuse_with(HTTP_BAD_REQUEST);
	if (c == ' ' || c == '\t') {
		s->blank = s->value_length > 0;
		return 0;
	}
	if (c < 0x20 || c == 0x7f)
		return refuse_with(HTTP_BAD_REQUEST);
	if (is_header_host(s) && !(s->flags & HTTP_F_HOST)) {
		int bad = http_in_host(s, c);

		if (bad)
			return bad;
	}
	if (is_header_length(s) && !(s->flags & HTTP_F_LENGTH)) {
		int bad = http_in_length(s, c);

		if (bad)
			return bad;
	}
	/* A blank inside makes it no value that is looked for: as if it were too long. */
	if (s->blank && s->value_length < 17)
		s->value_length = 17;
	http_pack(&s->value, s->value_length, lower_case(c));
	if (s->value_length < 0xffff)
		s->value_length++;
	return 0;
}

static __always_inline int http_end_of_length(struct http_socket *s)
{
	if (s->flags & HTTP_F_LENGTH || !s->digits)
		return refuse_with(HTTP_BAD_REQUEST);
	s->flags |= HTTP_F_LENGTH;
	return 0;
}

static __always_inline int http_end_of_encoding(struct http_socket *s)
{
	if (s->flags & HTTP_F_CHUNKED || s->value_length != 7 || s->value.first != PACK7('c', 'h', 'u', 'n', 'k', 'e', 'd'))
		return refuse_with(HTTP_BAD_REQUEST);
	s->flags |= HTTP_F_CHUNKED;
	return 0;
}

static __always_inline int http_end_of_connection(struct http_socket *s)
{
	if (s->value_length == 5 && s->value.first == PACK5('c', 'l', 'o', 's', 'e'))
		s->flags |= HTTP_F_CLOSE;
	else if (s->value_length == 10 && s->value.first == PACK8('k', 'e', 'e', 'p', '-', 'a', 'l', 'i') && s->value.second == PACK2('v', 'e'))
		s->flags |= HTTP_F_KEEP_ALIVE;
	else
		return refuse_with(HTTP_MISDIRECTED);
	return 0;
}

static __always_inline int http_end_of_expect(struct http_socket *s)
{
	if (s->flags & HTTP_F_EXPECT || s->value_length != 12 || s->value.first != PACK8('1', '0', '0', '-', 'c', 'o', 'n', 't') ||
	    s->value.second != PACK4('i', 'n', 'u', 'e'))
		return refuse_with(HTTP_BAD_REQUEST);
	s->flags |= HTTP_F_EXPECT;
	return 0;
}

static __always_inline int http_end_of_field(struct http_socket *s)
{
	__u32 length = s->name_length;
	__u64 first = s->name.first, second = s->name.second;

	if (++s->headers > HTTP_HEADERS_MAX)
		return refuse_with(HTTP_TOO_LARGE);
	if (is_header_host(s)) {
		if (s->flags & HTTP_F_HOST || s->host == HOST_ADDRESS || s->host == HOST_ADDRESS_BEGUN)
			return refuse_with(HTTP_BAD_REQUEST);
		s->flags |= HTTP_F_HOST;
		return 0;
	}
	if (is_framing_alike(s))
		return refuse_with(HTTP_BAD_REQUEST);
	if (is_header_length(s))
		return http_end_of_length(s);
	if (is_header_encoding(s))
		return http_end_of_encoding(s);
	if (length == 10 && first == PACK8('c', 'o', 'n', 'n', 'e', 'c', 't', 'i') && second == PACK2('o', 'n'))
		return http_end_of_connection(s);
	if (length == 6 && first == PACK6('e', 'x', 'p', 'e', 'c', 't'))
		return http_end_of_expect(s);
	/* Whoever offers another protocol is the proxy's. */
	if (length == 7 && first == PACK7('u', 'p', 'g', 'r', 'a', 'd', 'e'))
		return refuse_with(HTTP_MISDIRECTED);
	return 0;
}
