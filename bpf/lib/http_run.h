/* SPDX-License-Identifier: Apache-2.0 */
/* A segment of a client in hand. */
#pragma once

#include "http_maps.h"

#define HTTP_PIECE 256
/* How many may read at once on a processor: one in a process, one that interrupts it, and those that were displaced. */
#define HTTP_RUNS 4

/* What came of a byte: 0, or enum http_answer + 1 to refuse the rest of the connection with. */
#define refuse_with(answer) ((answer) + 1)

/* Where a segment is being read; too big for the stack. */
struct http_run {
	struct http_socket fresh;
	struct http_path_key key;
	__u8 bytes[HTTP_PIECE];
	__u8 blanks[64];
	__u32 busy;   /* somebody reads here */
	__u32 trial;  /* nothing is to come of it */
	__u32 base;   /* where the segment begins in what is read */
	__u32 at;     /* bytes of the segment behind us */
	__u32 length;
	__u32 used;   /* of `bytes` */
	__u32 loaded;
	__u32 kept;     /* some of it is for the server */
	__u32 withheld; /* some of it is not */
	__u32 denied;   /* a denied head ended here: its answer is due */
	__u32 asked;    /* requests in it that are for the server */
	__u32 refuse;   /* enum http_answer + 1 */
	__u32 hand_over; /* the client's next connections are the proxy's */
	__u32 write_seq; /* the server's next sequence number */
	__u32 answered; /* it has written, and its client has all of that */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct http_run);
	__uint(max_entries, HTTP_RUNS);
} cilium_http_run SEC(".maps");

/* A place to read in that is nobody else's until it is given back: who reads in a process may be interrupted by who reads for another socket. */
static __always_inline struct http_run *http_take_run(void)
{
	struct http_run *run;

	for (__u32 i = 0; i < HTTP_RUNS; i++) {
		__u32 index = i;

		run = bpf_map_lookup_elem(&cilium_http_run, &index);
		if (run && !__sync_lock_test_and_set(&run->busy, 1))
			return run;
	}
	return NULL;
}

static __always_inline void http_give_back(struct http_run *run)
{
	__sync_lock_test_and_set(&run->busy, 0);
}

/* Of the kernel's own, what is read here. */
struct socket;

struct sock {
	struct socket *sk_socket;
	int sk_rcvlowat;
} __attribute__((preserve_access_index));

struct inet_sock {
	struct sock sk;
} __attribute__((preserve_access_index));

struct inet_connection_sock {
	struct inet_sock icsk_inet;
} __attribute__((preserve_access_index));

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 write_seq;
	__u32 snd_una;
} __attribute__((preserve_access_index));

struct http_context {
	struct __sk_buff *skb;
	struct http_socket *s;
	struct http_run *run;
};

static __always_inline int http_is_line(const struct http_socket *s)
{
	return s->phase == HTTP_METHOD || s->phase == HTTP_TARGET || s->phase == HTTP_VERSION;
}

/* In a head: its end is still to come. */
static __always_inline int http_is_head(const struct http_socket *s)
{
	return s->phase > HTTP_START && s->phase <= HTTP_HEAD_LF;
}

static __always_inline int http_is_data(const struct http_socket *s)
{
	return s->phase == HTTP_BODY || s->phase == HTTP_CHUNK_DATA;
}

static __always_inline void http_refuse(struct http_run *run, __u32 answer)
{
	run->refuse = refuse_with(answer);
	run->hand_over = answer == HTTP_MISDIRECTED;
}
