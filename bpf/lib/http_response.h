/* SPDX-License-Identifier: Apache-2.0 */
/* Packets of taken sockets, as cgroup programs see them: where their data begins, and the beginnings of the server's answers. */
#pragma once

#include "http_events.h"
#include "packet.h"

#define HTTP_STATUS_AT 9
#define HTTP_STATUS_END 12 /* of "HTTP/1.1 200" */

/* Where the data of a packet begins, and its sequence number; 0: cannot be read. */
static __always_inline __u32 http_data_of(struct __sk_buff *skb, __u32 *sequence)
{
	__u32 offset = sizeof(struct ipv6hdr);
	__u8 start[8], data_offset;

	if (bpf_skb_load_bytes(skb, 0, start, sizeof(start)))
		return 0;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		offset = (start[0] & 15) * 4;
	else if (start[6] != PROTO_TCP)
		return 0;
	if (bpf_skb_load_bytes(skb, offset + 4, sequence, sizeof(*sequence)) ||
	    bpf_skb_load_bytes(skb, offset + 12, &data_offset, sizeof(data_offset)))
		return 0;
	*sequence = bpf_ntohl(*sequence);
	return offset + (data_offset >> 4) * 4;
}

/* Anything but headers. What cannot be read is taken for it. */
static __always_inline int http_has_data(struct __sk_buff *skb)
{
	__u32 sequence, data = http_data_of(skb, &sequence);

	return !data || skb->len > data;
}

/* The code of a status line; 0: that is none. */
static __always_inline __u16 http_status_of(const __u8 *line)
{
	const __u8 *code = line + HTTP_STATUS_AT;

	if (line[0] != 'H' || line[4] != '/' || line[5] != '1' || line[8] != ' ')
		return 0;
	if (code[0] < '1' || code[0] > '9' || code[1] < '0' || code[1] > '9' || code[2] < '0' || code[2] > '9')
		return 0;
	return (code[0] - '0') * 100 + (code[1] - '0') * 10 + code[2] - '0';
}

/* An answer that was awaited begins in this packet? What comes before the final one is passed over. Nothing is decided here. */
static __always_inline void http_see_answer(struct __sk_buff *skb, struct http_socket *s, __u64 cookie)
{
	struct http_told told = { .outcome = HTTP_ANSWERED };
	__u32 sequence, data = http_data_of(skb, &sequence);
	__u8 line[HTTP_STATUS_END];

	if (!data || skb->len <= data || sequence != s->answer_at)
		return;
	if (bpf_skb_load_bytes(skb, data, line, sizeof(line)))
		__builtin_memset(line, 0, sizeof(line));
	told.status = http_status_of(line);
	if (told.status && told.status < 200 && told.status != 101) {
		s->answer_at += skb->len - data;
		return;
	}
	s->awaited = 0;
	told.latency = bpf_ktime_get_boot_ns() - s->asked_at;
	http_tell(s, cookie, &told);
}
