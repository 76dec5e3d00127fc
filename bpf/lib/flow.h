/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decision about a packet between two known ends: conntrack first, policy when it says "new" or "judged by an older policy".
 *
 * One conntrack entry holds both policies: what the pod that began may send (egress) and what the pod that was called may receive
 * (ingress), as far as those pods are on this node. A reply is judged by the same two answers, so a change cuts both directions.
 */
#pragma once

#include "conntrack.h"
#include "dsr_room.h"
#include "http_flow.h"
#include "policy.h"
#include "proxy.h"
#include "usage.h"

/* Puts the next question into the scratch space. `address` is the peer's, for what the endpoint knows by name. */
static __always_inline struct policy_query *flow_query(__u16 lxc_id, int egress, __u32 remote_id, const struct addr16 *address)
{
	struct policy_scratch *scratch = policy_scratch();

	if (!scratch)
		return NULL;
	scratch->query = (struct policy_query){ .lxc_id = lxc_id, .egress = egress, .remote_id = remote_id };
	if (egress && identity_is_outside(remote_id)) {
		scratch->peer.address = *address;
		scratch->peer.lxc_id = lxc_id;
	}
	return &scratch->query;
}

/* Asks the question in the scratch space, with its record. Returns 0 or a drop; a redirect is in side->proxy_port. */
__subprogram int flow_ask(struct __sk_buff *ctx, const struct packet *packet, struct flow *flow, struct ct_side *side)
{
	struct policy_scratch *scratch = policy_scratch();
	const struct policy_query *query;
	struct policy_answer *answer;
	int ret;

	if (!scratch)
		return -DROP_EP_NOT_READY;
	query = &scratch->query;
	answer = &scratch->answer;
	ret = policy_ask(query, answer);
	if (unlikely(answer->ask_audited))
		policy_ask_audited(query, answer);
	side->generation = answer->generation;
	side->remote_id = query->remote_id;
	side->cookie = answer->cookie;
	side->audit_cookie = answer->audit_cookie;
	side->lxc_id = query->lxc_id;
	side->proxy_port = answer->verdict > 0 ? bpf_htons(answer->verdict) : 0;
	flow->cookie = answer->denial ? answer->audit_cookie : answer->cookie;
	flow->seen_at = query->lxc_id;
	flow->direction = query->egress ? DIRECTION_EGRESS : DIRECTION_INGRESS;
	/* Not of a reply, which has the endpoint itself as its destination. */
	if (query->egress && flow->destination_id == query->remote_id)
		flow->destination_id = answer->remote_id;
	if (answer->denial)
		flow->audit |= query->egress ? CT_F_AUDIT_EGRESS : CT_F_AUDIT_INGRESS;
	if (answer->enforced)
		event_verdict(ctx, packet, flow, answer->denial ? answer->denial : answer->verdict, answer->match_type,
			      answer->denial ? EVENT_F_AUDIT : 0, flow->cookie);
	if (ret < 0)
		usage_add(answer->cookie, query->egress, USAGE_DENIED, 1, ctx->len);
	return ret;
}

/* Both policies of a packet that begins something. Sets flow->proxy_port when one of them wants the proxy to see it. */
static __always_inline int flow_judge_new(struct __sk_buff *ctx, const struct packet *packet, struct flow *flow, struct ct_entry *entry, __u32 now)
{
	__be16 dport = policy_port(packet);
	struct policy_query *query;
	int ret;

	if (flow->source_lxc) {
		query = flow_query(flow->source_lxc, 1, flow->destination_id, &packet->destination);
		if (!query)
			return -DROP_EP_NOT_READY;
		query->protocol = packet->protocol;
		query->dport = dport;
		query->now = now;
		ret = flow_ask(ctx, packet, flow, &entry->egress);
		if (ret < 0)
			return ret;
		/* What the server may receive is asked when the proxy calls it. */
		flow->proxy_port = entry->egress.proxy_port;
		if (flow->proxy_port)
			return 0;
	}
	if (flow->destination_lxc) {
		query = flow_query(flow->destination_lxc, 0, flow->source_id, &packet->source);
		if (!query)
			return -DROP_EP_NOT_READY;
		query->protocol = packet->protocol;
		query->dport = dport;
		ret = flow_ask(ctx, packet, flow, &entry->ingress);
		if (ret < 0)
			return ret;
		/* The ingress proxy has seen it: no second round. */
		if (flow->from_proxy == MARK_FROM_INGRESS_PROXY >> 8)
			entry->ingress.proxy_port = 0;
		if (enable_http && http_begins(ctx, packet, flow, &entry->ingress)) {
			entry->http = CT_HTTP_EXPECTED;
			entry->ingress.proxy_port = 0;
		}
		flow->proxy_port = entry->ingress.proxy_port;
	}
	return 0;
}

/* Where a new connection's entry is made: too big for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct ct_entry);
	__uint(max_entries, 1);
} cilium_ct_scratch SEC(".maps");

static __always_inline struct ct_entry *new_entry(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&cilium_ct_scratch, &zero);
}

__subprogram int flow_begin(struct __sk_buff *ctx, struct packet *packet, struct flow *flow, struct ct_place *place)
{
	struct ct_entry *entry = new_entry();
	int ret;

	if (!entry)
		return -DROP_CT_MAP_INSERTION_FAILED;
	*entry = (struct ct_entry){ .tx_packets = 1, .tx_bytes = ctx->len, .rev_nat = flow->rev_nat };
	flow->ct_reason = CT_NEW;
	flow->report = 1;
	ret = flow_judge_new(ctx, packet, flow, entry, place->now);
	if (ret < 0)
		return ret;
	/* The ingress proxy's call is the second half of what its client began. */
	if (flow->from_proxy == MARK_FROM_INGRESS_PROXY >> 8)
		entry->flags = CT_F_UNCOUNTED;
	usage_settle(entry);
	if (packet->flags & (PACKET_F_STATELESS | PACKET_F_ICMP_ERROR))
		return 0;

	/* The tuple's last connection, if it is still remembered, has nothing to add any more after this. */
	usage_settle(bpf_map_lookup_elem(&cilium_ct, &place->key));
	entry->flags |= (place->from_high ? CT_F_ORIGIN_HIGH : 0) | flow->audit;
	if (flow->host_source)
		entry->flags |= CT_F_ORIGIN_HOST;
	if (packet->protocol == PROTO_TCP)
		ct_follow_tcp(packet, entry, 0);
	entry->dport = policy_port(packet);
	entry->created = place->now;
	entry->lifetime = place->now + ct_lifetime(packet, entry);
	entry->tx_reported = place->now;
	entry->tx_flags_seen = packet->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST);
	if (bpf_map_update_elem(&cilium_ct, &place->key, entry, BPF_ANY))
		return drop_at(packet, FILE_CONNTRACK, DROP_CT_MAP_INSERTION_FAILED);
	return 0;
}

/* Asks one side's policy about the connection again (an ICMP error has another protocol). A subprogram: rare, and its variables would be everyone's. */
__subprogram int flow_ask_again(struct __sk_buff *ctx, const struct packet *packet, struct flow *flow, struct ct_entry *entry, int egress)
{
	struct ct_side *side = egress ? &entry->egress : &entry->ingress;
	const struct policy_scratch *scratch = policy_scratch();
	struct ct_side now = {};
	int ret;

	flow->audit &= ~(egress ? CT_F_AUDIT_EGRESS : CT_F_AUDIT_INGRESS);
	ret = flow_ask(ctx, packet, flow, &now);
	if (ret < 0)
		return ret;
	/*
	 * A connection the proxy has taken stays with it: its server knows another one. Audit mode takes none that has begun: that would end it. Nor
	 * does the ingress proxy get its own call, whichever side's packet asks (only its calls are uncounted).
	 */
	if (!now.proxy_port || (scratch && scratch->answer.only_watched) || (entry->flags & CT_F_UNCOUNTED && !egress))
		now.proxy_port = side->proxy_port;
	if (entry->http && !egress && http_find_rules(now.lxc_id, now.remote_id, entry->dport))
		now.proxy_port = 0;
	usage_settle(entry);
	*side = now;
	entry->flags = (entry->flags & ~CT_F_AUDIT) | flow->audit;
	return 0;
}

/* Asks again when one side's policy, or the peer's identity, has changed since. */
static __always_inline int flow_refresh(struct __sk_buff *ctx, const struct packet *packet, struct flow *flow,
					struct ct_entry *entry, struct ct_side *side, int egress, __u32 remote_id, const struct ct_key *key)
{
	__u32 lxc_id = side->lxc_id;
	struct policy_query *query;
	__u32 generation;

	if (!lxc_id)
		return 0;
	generation = policy_generation(bpf_map_lookup_elem(&cilium_policy_config, &lxc_id));
	if (likely(generation && generation == side->generation && side->remote_id == remote_id))
		return 0;
	query = flow_query(lxc_id, egress, remote_id, entry->flags & CT_F_ORIGIN_HIGH ? &key->low : &key->high);
	if (!query)
		return -DROP_EP_NOT_READY;
	query->protocol = key->protocol;
	query->dport = entry->dport;
	return flow_ask_again(ctx, packet, flow, entry, egress);
}

/*
 * Is the entry of these two endpoints? That of an address's former owner is not. Who speaks through the stack is not known for sure (the
 * proxy answers in a server's name); what goes to the egress proxy concerns the sender alone: the receiver is asked when the proxy calls it.
 */
static __always_inline int flow_covered(const struct flow *flow, const struct ct_entry *entry, int reply)
{
	__u16 source = reply ? entry->ingress.lxc_id : entry->egress.lxc_id;
	__u16 destination = reply ? entry->egress.lxc_id : entry->ingress.lxc_id;

	if (flow->origin != ORIGIN_STACK && source != flow->source_lxc)
		return 0;
	return destination == flow->destination_lxc || (!reply && entry->egress.proxy_port);
}

/* An answer on the tuple of a connection the proxy took, but not sent by the proxy: at most, it is for the proxy's own connection. */
static __always_inline int flow_bypasses_proxy(const struct flow *flow, const struct ct_entry *entry, int reply)
{
	return reply && flow->origin != ORIGIN_STACK && (entry->egress.proxy_port || entry->ingress.proxy_port);
}

/* Where a packet of a connection with a proxy in it goes. Forward: to the proxy. Backward: see bpf/README.md, "The life of a proxied connection". */
static __always_inline void flow_route_proxied(struct flow *flow, __be16 proxy_port, int from_proxy_entry, int reply)
{
	if (!reply)
		flow->proxy_port = proxy_port;
	else if (from_proxy_entry || (proxy_port && flow->origin != ORIGIN_STACK))
		flow->to_upstream = 1;
}

/* The rules to name: those that would have denied it, else those that let it pass. */
static __always_inline __u32 flow_cookie(const struct ct_entry *entry)
{
	if (entry->flags & CT_F_AUDIT)
		return entry->egress.audit_cookie ? entry->egress.audit_cookie : entry->ingress.audit_cookie;
	return entry->egress.cookie ? entry->egress.cookie : entry->ingress.cookie;
}

/*
 * A packet that says by itself whether a service was called. With DSR only the first one of a TCP connection and of a datagram does, and
 * nothing says one that another node had no room in for saying so.
 */
static __always_inline int flow_tells_service(struct __sk_buff *ctx, const struct packet *packet, __u32 rev_nat)
{
	if (!dsr_length(packet))
		return 0;
	return rev_nat != REV_NAT_CONNECTION || dsr_fits(ctx, packet);
}

static __always_inline int flow_continue(struct __sk_buff *ctx, struct packet *packet, struct flow *flow, struct ct_entry *entry,
					const struct ct_place *place)
{
	int reply = ct_is_reply(place, entry), ret;
	__u32 caller_id = reply ? flow->destination_id : flow->source_id;
	__u32 called_id = reply ? flow->source_id : flow->destination_id;
	__be16 proxy_port;

	flow->ct_reason = place->related ? CT_RELATED : reply ? CT_REPLY : CT_ESTABLISHED;
	if (entry->flags & CT_F_ORIGIN_HOST)
		caller_id = IDENTITY_HOST;
	/* Made on this node in the name of whom the pod called: by the proxy, or the node's own address that nobody knows. It was found out then who that is. */
	if (reply && flow->host_source && entry->egress.lxc_id)
		called_id = flow->source_id = entry->egress.remote_id;
	if (place->related) {
		/* An error may come from any router on the way: its sender is not the peer. */
		called_id = entry->egress.remote_id;
		caller_id = entry->ingress.remote_id;
	}
	flow->audit = entry->flags & CT_F_AUDIT;
	flow->cookie = flow_cookie(entry);
	ret = flow_refresh(ctx, packet, flow, entry, &entry->egress, 1, called_id, &place->key);
	if (!ret)
		ret = flow_refresh(ctx, packet, flow, entry, &entry->ingress, 0, caller_id, &place->key);
	if (ret < 0)
		return ret;
	if (unlikely(entry->http == CT_HTTP_EXPECTED) && !reply && tcp_has_payload(ctx, packet))
		return drop_at(packet, FILE_PROXY, DROP_SOCKET_LOOKUP_FAILED);
	proxy_port = entry->egress.proxy_port ? entry->egress.proxy_port : entry->ingress.proxy_port;
	flow_route_proxied(flow, proxy_port, place->key.flags & CT_KEY_FROM_PROXY, reply);
	if (reply)
		flow->reply_of = entry->rev_nat;
	if (place->related)
		return 0;
	if (unlikely(flow->rev_nat != entry->rev_nat) && !reply && (flow->rev_nat || flow_tells_service(ctx, packet, entry->rev_nat)))
		entry->rev_nat = flow->rev_nat;
	if (ct_update(ctx, packet, entry, place, reply)) {
		flow->report = 1;
		usage_settle(entry);
	}
	return 0;
}

/* The connection the packet belongs to; null: it begins one. */
static __always_inline struct ct_entry *flow_find(const struct packet *packet, const struct flow *flow, struct ct_place *place)
{
	struct ct_entry *entry = ct_find(place);
	int reply;

	if (!entry)
		return NULL;
	reply = ct_is_reply(place, entry);
	if (ct_begins_anew(packet, entry, reply))
		return NULL;
	return flow_covered(flow, entry, reply) || flow_bypasses_proxy(flow, entry, reply) ? entry : NULL;
}

/* The proxy's call to a server that this packet answers, if there is one; place then names that. */
__subprogram struct ct_entry *flow_find_proxy_call(const struct packet *packet, const struct flow *flow, struct ct_place *place)
{
	struct ct_entry *entry;

	if (tcp_is_opening(packet))
		return NULL;
	place->key.flags |= CT_KEY_FROM_PROXY;
	entry = ct_find(place);
	if (entry && ct_is_reply(place, entry) && (!flow->source_lxc || flow->source_lxc == entry->ingress.lxc_id))
		return entry;
	place->key.flags &= ~CT_KEY_FROM_PROXY;
	return NULL;
}

/*
 * Decides: 0 goes on (look at flow->proxy_port and flow->to_upstream), negative is a drop.
 * flow->report says whether the packet deserves a trace event.
 */
__verified_alone int flow_decide(struct __sk_buff *ctx, struct packet *packet, struct flow *flow)
{
	struct ct_place place = { .now = ct_now() };
	struct ct_entry *entry;
	int ret;

	if (!packet || !flow)
		return -DROP_INVALID_PACKET;
	if (unlikely(packet->flags & PACKET_F_STATELESS))
		return flow_begin(ctx, packet, flow, &place);
	if (unlikely(packet->flags & PACKET_F_ICMP_ERROR)) {
		ret = ct_place_of_error(ctx, packet, &place);
		if (ret < 0)
			return ret;
	} else {
		ct_place_of(packet, &place);
	}
	if (flow->from_proxy)
		place.key.flags |= CT_KEY_FROM_PROXY;

	entry = flow_find(packet, flow, &place);
	if (!entry && !flow->from_proxy)
		entry = flow_find_proxy_call(packet, flow, &place);
	if (entry)
		return flow_continue(ctx, packet, flow, entry, &place);
	if (!flow->from_proxy && proxy_owns(ctx, packet)) {
		flow->ct_reason = CT_REPLY;
		flow->to_upstream = 1;
		return 0;
	}
	return flow_begin(ctx, packet, flow, &place);
}
