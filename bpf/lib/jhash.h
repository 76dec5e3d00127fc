/* SPDX-License-Identifier: Apache-2.0 */
/* A hash of 32-bit words after Bob Jenkins' lookup3 (public domain): the same on every node for the same words and seed. */
#pragma once

#include "common.h"

static __always_inline __u32 rotate_left(__u32 word, __u32 bits)
{
	return word << bits | word >> (32 - bits);
}

static __always_inline __u32 jhash_words(const __u32 *words, const __u32 count, __u32 seed)
{
	__u32 a = 0xdeadbeef + (count << 2) + seed, b = a, c = a;

#pragma unroll
	for (__u32 i = 0; i + 3 <= count; i += 3) {
		a += words[i];
		b += words[i + 1];
		c += words[i + 2];
		if (i + 3 == count)
			break;
		a = (a - c) ^ rotate_left(c, 4);
		c += b;
		b = (b - a) ^ rotate_left(a, 6);
		a += c;
		c = (c - b) ^ rotate_left(b, 8);
		b += a;
		a = (a - c) ^ rotate_left(c, 16);
		c += b;
		b = (b - a) ^ rotate_left(a, 19);
		a += c;
		c = (c - b) ^ rotate_left(b, 4);
		b += a;
	}
	c = (c ^ b) - rotate_left(b, 14);
	a = (a ^ c) - rotate_left(c, 11);
	b = (b ^ a) - rotate_left(a, 25);
	c = (c ^ b) - rotate_left(b, 16);
	a = (a ^ c) - rotate_left(c, 4);
	b = (b ^ a) - rotate_left(a, 14);
	return (c ^ b) - rotate_left(b, 24);
}
