/* SPDX-License-Identifier: Apache-2.0 */
/* The value of a Host header. */
#pragma once

#include "http_chars.h"

/* Of a host name without its port: token characters but # ^ ` |, and ( ) ; =. */
static __always_inline int is_host(__u8 c)
{
	return is_in(c, 0x2bff6ff200000000ULL, 0x47fffffe87fffffeULL);
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
	if (s->host_length < HTTP_HOST_MAX)
		s->host_text[s->host_length] = c;
	s->host_length++;
	return 0;
}
