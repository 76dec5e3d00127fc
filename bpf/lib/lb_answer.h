/* SPDX-License-Identifier: Apache-2.0 */
/* The way back: what a backend answers comes from the service that was called, and so do ICMP errors about it. */
#pragma once

#include "nat.h"

/* The answer that a quoted packet would have got. */
static __always_inline void answer_to_quoted(const struct packet *quoted, struct packet *answer)
{
	answer->source = quoted->destination;
	answer->destination = quoted->source;
	answer->sport = quoted->dport;
	answer->dport = quoted->sport;
	answer->protocol = quoted->protocol;
	answer->flags = quoted->flags;
}

static __always_inline int frontend_of_answer(struct packet *answer, __u32 reply_of, struct l4_address *frontend)
{
	if (reply_of == REV_NAT_CONNECTION)
		return nat_find_frontend(answer, frontend);
	return lb_frontend(reply_of, frontend);
}

/* An ICMP error about a packet to a backend, on its way to the caller: it quotes what the caller has sent. NO_TRANSLATION: not about one. */
__verified_alone int lb_answer_error(struct context *ctx, struct packet *packet, __u32 reply_of)
{
	struct packet quoted = {}, answer = {};
	struct l4_address frontend = {};
	int ret;

	if (!packet)
		return -DROP_INVALID_PACKET;
	if (parse_quoted(ctx, packet, &quoted) < 0)
		return NO_TRANSLATION;
	answer_to_quoted(&quoted, &answer);
	if (frontend_of_answer(&answer, reply_of, &frontend))
		return NO_TRANSLATION;
	ret = rewrite_quoted(ctx, packet, &quoted, END_DESTINATION, &frontend);
	/* From a router on the way it stays the router's. */
	if (ret < 0 || !addr_equal(&packet->source, &quoted.destination))
		return ret;
	frontend.port = 0;
	return rewrite_end(ctx, packet, END_SOURCE, &frontend);
}

/* The packet now says whom it is for. */
#define LB_TRANSLATED 256

/*
 * The other way: an ICMP error of the caller's side about an answer goes to the backend, which shall recognise what it has sent: to the
 * caller, or to the address that stands in for him. NO_SERVICE when it is about no such connection.
 */
__verified_alone int lb_error_to_backend(struct context *ctx, struct packet *packet)
{
	struct packet quoted = {}, call = {};
	struct l4_address to = {};
	const struct lb_backend *backend;
	const struct lb_ct_entry *entry;
	const struct nat_entry *out;
	struct lb_ct_key key;
	struct nat_key nat;
	int ret;

	if (!packet)
		return -DROP_INVALID_PACKET;
	if (parse_quoted(ctx, packet, &quoted) < 0)
		return NO_SERVICE;
	answer_to_quoted(&quoted, &call);
	lb_ct_key_of(&call, &key);
	entry = bpf_map_lookup_elem(&cilium_lb_ct, &key);
	backend = entry ? backend_lookup(entry->backend_id) : NULL;
	if (!backend)
		return NO_SERVICE;
	to.address = backend->address;
	to.port = backend->port;
	call.destination = to.address;
	call.dport = to.port;
	ret = rewrite_quoted(ctx, packet, &quoted, END_SOURCE, &to);
	to.port = 0;
	if (!ret)
		ret = rewrite_end(ctx, packet, END_DESTINATION, &to);
	nat_key_of(&call, NAT_OUT, &nat);
	out = bpf_map_lookup_elem(&cilium_snat, &nat);
	if (ret < 0 || !out)
		return ret < 0 ? ret : LB_TRANSLATED;
	to.address = out->address;
	to.port = out->port;
	ret = rewrite_quoted(ctx, packet, &quoted, END_DESTINATION, &to);
	return ret < 0 ? ret : LB_TRANSLATED;
}

/* The same to a caller who got another address: he gets it, about what he has sent. LB_TRANSLATED, NO_SERVICE or a drop. */
__verified_alone int lb_error_to_caller(struct context *ctx, struct packet *packet)
{
	struct l4_address caller = {}, from = {};
	struct packet quoted = {}, answer = {};
	int ret;

	if (!packet)
		return -DROP_INVALID_PACKET;
	if (parse_quoted(ctx, packet, &quoted) < 0)
		return NO_SERVICE;
	answer_to_quoted(&quoted, &answer);
	ret = nat_find_caller(&answer, &caller, &from);
	if (ret)
		return ret < 0 ? ret : NO_SERVICE;
	ret = rewrite_quoted(ctx, packet, &quoted, END_SOURCE, &caller);
	caller.port = 0;
	if (!ret)
		ret = rewrite_end(ctx, packet, END_DESTINATION, &caller);
	if (!ret && from.port)
		ret = rewrite_quoted(ctx, packet, &quoted, END_DESTINATION, &from);
	from.port = 0;
	if (!ret && !addr_is_zero(&from.address) && addr_equal(&packet->source, &quoted.destination))
		ret = rewrite_end(ctx, packet, END_SOURCE, &from);
	return ret < 0 ? ret : LB_TRANSLATED;
}

/* Gives an answer the service's address (see flow.reply_of). */
__verified_alone int lb_answer(struct context *ctx, struct packet *packet, __u32 reply_of)
{
	struct l4_address frontend = {};
	int ret;

	if (!packet)
		return -DROP_INVALID_PACKET;
	if (packet->flags & PACKET_F_ICMP_ERROR) {
		ret = lb_answer_error(ctx, packet, reply_of);
		return ret == NO_TRANSLATION ? drop_at(packet, FILE_LB, DROP_NO_MAPPING_FOR_NAT_MASQUERADE) : ret;
	}
	if (frontend_of_answer(packet, reply_of, &frontend))
		return drop_at(packet, FILE_LB, DROP_NO_MAPPING_FOR_NAT_MASQUERADE);
	return rewrite_end(ctx, packet, END_SOURCE, &frontend);
}
