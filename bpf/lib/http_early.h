/* SPDX-License-Identifier: Apache-2.0 */
/* What comes before the server has accepted the connection. */
#pragma once

#include "http_read.h"
#include "http_response.h"

/* Nothing but whole requests, bodies and all, that are allowed? It is read as if it were the first that comes. */
static __always_inline int http_is_whole(struct __sk_buff *skb, const struct http_socket *s, struct http_run *run, __u32 data)
{
	struct http_socket *first = &run->fresh;

	__builtin_memset(first, 0, sizeof(*first));
	first->lxc_id = s->lxc_id;
	first->client_id = s->client_id;
	first->server_port = s->server_port;
	first->phase = HTTP_START;
	run->trial = 1;
	run->base = data;
	run->length = skb->len - data;
	run->write_seq = run->answered = 0;
	http_read(skb, first, run);
	return !run->refuse && run->at >= run->length && !run->withheld && run->asked &&
	       (first->phase == HTTP_START || first->phase == HTTP_OVER);
}

/*
 * The kernel runs the verdict program when the server has accepted, or when it receives; until then data waits in the socket's own queue, where
 * splice(2) reads it as it is. So only what is allowed as it stands is let in, each byte once and in order; the rest TCP sends again. The
 * verdict program judges it all the same.
 */
static __always_inline int http_may_wait(struct __sk_buff *skb, struct http_socket *s)
{
	__u32 sequence, data = http_data_of(skb, &sequence);
	struct http_run *run;
	int whole;

	if (!data || skb->len <= data)
		return data != 0;
	run = http_take_run();
	if (!run)
		return 0;
	whole = http_is_whole(skb, s, run, data);
	http_give_back(run);
	return whole && __sync_val_compare_and_swap(&s->admitted, sequence, sequence + skb->len - data) == sequence;
}
