/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests read byte by byte, as strictly as src/proxy/http does: what the proxy refuses is refused, what it would do something special
 * with (upgrades, other forms of targets, trailers, …) is not decided here.
 */
#pragma once

#include "http_run.h"

#define HTTP_HEAD_MAX (60 * 1024)
#define HTTP_HEADERS_MAX 100
#define HTTP_METHOD_LIMIT 32
#define HTTP_LENGTH_DIGITS 15
#define HTTP_CHUNK_DIGITS 13
#define HTTP_CHUNK_LINE_MAX 254
#define HTTP_DRAIN_MAX (1024 * 1024)

/* Up to eight characters as http_pack leaves them. */
#define PACK1(a) ((__u64)(a))
#define PACK2(a, b) (PACK1(a) << 8 | (b))
#define PACK4(a, b, c, d) (PACK2(a, b) << 16 | PACK2(c, d))
#define PACK5(a, b, c, d, e) (PACK4(a, b, c, d) << 8 | (e))
#define PACK6(a, b, c, d, e, f) (PACK4(a, b, c, d) << 16 | PACK2(e, f))
#define PACK7(a, b, c, d, e, f, g) (PACK6(a, b, c, d, e, f) << 8 | (g))
#define PACK8(a, b, c, d, e, f, g, h) (PACK4(a, b, c, d) << 32 | PACK4(e, f, g, h))

static __always_inline __u8 lower_case(__u8 c)
{
	return c >= 'A' && c <= 'Z' ? c + 32 : c;
}

static __always_inline int is_digit(__u8 c)
{
	return c >= '0' && c <= '9';
}

static __always_inline int is_letter(__u8 c)
{
	c |= 32;
	return c >= 'a' && c <= 'z';
}

/* A set of the characters below 128 as two words. */
static __always_inline int is_in(__u8 c, __u64 low, __u64 high)
{
	return c < 64 ? (low >> c) & 1 : c < 128 ? (high >> (c - 64)) & 1 : 0;
}

/* RFC 9110 token: ! # $ % & ' * + - . ^ _ ` | ~ and letters and digits. */
static __always_inline int is_token(__u8 c)
{
	return is_in(c, 0x03ff6cfa00000000ULL, 0x57ffffffc7fffffeULL);
}

/* Of a host name without its port: token characters but # ^ ` |, and ( ) ; =. */
static __always_inline int is_host(__u8 c)
{
	return is_in(c, 0x2bff6ff200000000ULL, 0x47fffffe87fffffeULL);
}

static __always_inline int hex_value(__u8 c)
{
	if (is_digit(c))
		return c - '0';
	c |= 32;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Adds a character; those behind the 24th only count. */
static __always_inline void http_pack(struct http_text *text, __u32 length, __u8 c)
{
	if (length < 8)
		text->first = text->first << 8 | c;
	else if (length < 16)
		text->second = text->second << 8 | c;
	else if (length < 24)
		text->third = text->third << 8 | c;
}

static __always_inline void http_begin(struct http_socket *s)
{
	s->flags &= HTTP_F_PENDING;
	s->method_length = s->path_length = s->headers = 0;
	s->percent = s->last = s->before_last = s->host = 0;
	s->head_bytes = 0;
	s->drained = 0;
	s->length = 0;
	s->left = 0;
	__builtin_memset(s->key.method, 0, sizeof(s->key.method));
}

static __always_inline void http_begin_field(struct http_socket *s)
{
	s->name = (struct http_text){};
	s->value = (struct http_text){};
	s->name_length = s->value_length = 0;
	s->digits = s->blank = 0;
}

/* Escapes that some servers decode to a character that changes what the path means. */
static __always_inline int is_decoded(__u8 c)
{
	return is_letter(c) || is_digit(c) || c == '%' || c == '\'' || c == '-' || c == '.' || c == '/' || c == ';' || c == '\\' || c == '_' ||
	       c == '~';
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
		s->percent = 0;
		return;
	}
	s->escape = s->escape << 4 | digit;
	if (--s->percent)
		return;
	if (s->escape == 0)
		s->flags |= HTTP_F_NUL;
	if (is_decoded(s->escape) && !(s->flags & HTTP_F_QUERY))
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

enum host_part {
	HOST_START,
	HOST_NAME,
	HOST_PORT,
	HOST_ADDRESS = HOST_PORT + 6, /* after HOST_PORT, one for each digit */
	HOST_ADDRESS_BEGUN,
	HOST_ADDRESS_END,
};

/* A name or an address in brackets, and a port: the next part, or -1. */
static __always_inline int http_next_of_host(__u8 part, __u8 c)
{
	if (part >= HOST_PORT && part < HOST_ADDRESS)
		return is_digit(c) && part < HOST_PORT + 5 ? part + 1 : -1;
	if (part == HOST_ADDRESS || part == HOST_ADDRESS_BEGUN) {
		if (c == ']')
			return part == HOST_ADDRESS_BEGUN ? HOST_ADDRESS_END : -1;
		return hex_value(c) >= 0 || c == ':' || c == '.' ? HOST_ADDRESS_BEGUN : -1;
	}
	if (c == ':')
		return HOST_PORT;
	if (part == HOST_ADDRESS_END)
		return -1;
	if (c == '[')
		return part == HOST_START ? HOST_ADDRESS : -1;
	return is_host(c) ? HOST_NAME : -1;
}

static __always_inline int http_in_host(struct http_socket *s, __u8 c)
{
	int next = http_next_of_host(s->host, c);

	if (next < 0 || s->blank)
		return refuse_with(HTTP_BAD_REQUEST);
	s->host = next;
	return 0;
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
	if (is_header_length(s))
		return http_end_of_length(s);
	if (length == 17 && first == PACK8('t', 'r', 'a', 'n', 's', 'f', 'e', 'r') &&
	    second == PACK8('-', 'e', 'n', 'c', 'o', 'd', 'i', 'n') && s->name.third == 'g')
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

/* Will the client send no further request on this connection? */
static __always_inline int http_is_last(const struct http_socket *s)
{
	return s->flags & HTTP_F_CLOSE || (s->flags & HTTP_F_HTTP10 && !(s->flags & HTTP_F_KEEP_ALIVE));
}

static __always_inline void http_end_of_request(struct http_socket *s)
{
	s->phase = http_is_last(s) ? HTTP_OVER : HTTP_START;
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
