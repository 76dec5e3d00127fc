/* SPDX-License-Identifier: Apache-2.0 */
/* Characters of HTTP, and words of them that are compared as numbers. */
#pragma once

#include "http_run.h"

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
