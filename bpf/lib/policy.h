/* SPDX-License-Identifier: Apache-2.0 */
/* One endpoint's policy asked about one peer, protocol and port. */
#pragma once

#include "config.h"
#include "events.h"
#include "fqdn_maps.h"
#include "policy_maps.h"

struct policy_query {
	__u16 lxc_id;
	__u8 egress;
	__u8 protocol;
	__be16 dport;
	__u16 pad;
	__u32 remote_id;
	__u32 now; /* seconds of the monotonic clock; 0: a connection that has begun, so names may have expired */
};

struct policy_answer {
	__s32 verdict; /* 0 allowed, > 0 port of the proxy in host order, < 0 -enum drop_reason */
	__s32 denial;  /* < 0: it passes although this would have been the verdict without audit mode */
	__u32 cookie;  /* rules behind the verdict */
	__u32 audit_cookie; /* rules behind the denial */
	__u32 generation;
	__u32 remote_id;  /* the identity that decided: the peer's own or the one of a name of its address */
	__u8 match_type;  /* of the denial if there is one, else of the verdict */
	__u8 enforced;    /* the policy was looked at */
	__u8 ask_audited; /* policy_ask_audited may have more to say */
	__u8 only_watched; /* the proxy is to see it, and nothing is to end because of that */
};

/* What a question needs besides, too big for the stack, which is nearly used up there. A program is not interrupted by another on its CPU. */
struct policy_scratch {
	struct policy_query query;
	struct policy_answer answer;
	struct policy_answer audited;
	struct fqdn_key peer; /* whose names are asked for when the peer is outside */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct policy_scratch);
	__uint(max_entries, 1);
} cilium_policy_scratch SEC(".maps");

static __always_inline struct policy_scratch *policy_scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&cilium_policy_scratch, &zero);
}

/* A subprogram: its signature is also what puts the types of the inner map into the object's BTF. */
__subprogram const struct policy_entry *policy_find(void *map, const struct policy_key *key)
{
	return bpf_map_lookup_elem(map, key);
}

/* Higher precedence, then the longer match, then the peer's own entry. */
static __always_inline int policy_prefers_any(const struct policy_entry *own, const struct policy_entry *any)
{
	if (own->precedence != any->precedence)
		return any->precedence > own->precedence;
	return any->match_len > own->match_len;
}

static __always_inline __u8 policy_match_type(const struct policy_entry *entry, int own)
{
	if (entry->match_len == 0)
		return own ? POLICY_MATCH_L3_ONLY : POLICY_MATCH_ALL;
	if (entry->match_len <= 8)
		return own ? POLICY_MATCH_L3_PROTO : POLICY_MATCH_PROTO_ONLY;
	return own ? POLICY_MATCH_L3_L4 : POLICY_MATCH_L4_ONLY;
}

static __always_inline __s32 policy_entry_verdict(const struct policy_entry *entry)
{
	if (entry->flags & POLICY_F_DENY)
		return -DROP_POLICY_DENY;
	if (entry->auth_type)
		return -DROP_AUTH_REQUIRED;
	return bpf_ntohs(entry->proxy_port);
}

/* A name's entry decides unless the present one is stronger. */
static __always_inline int policy_prefers_name(const struct policy_entry *present, const struct policy_entry *named)
{
	if (!present)
		return 1;
	if (named->precedence != present->precedence)
		return named->precedence > present->precedence;
	return named->match_len >= present->match_len;
}

/* What the names by which the endpoint knows the address have to say: the entry that decides then. Denials of the address are stronger. */
static __always_inline const struct policy_entry *policy_decide_named(void *map, const struct policy_query *query, struct policy_key *key,
								      const struct policy_entry *decided, struct policy_answer *answer)
{
	const struct policy_scratch *scratch = policy_scratch();
	struct fqdn_entry *learned = scratch ? bpf_map_lookup_elem(&cilium_fqdn, &scratch->peer) : NULL;

	if (!learned)
		return decided;
	for (int i = 0; i < FQDN_GRANTS; i++) {
		const struct policy_entry *named;

		key->sec_label = learned->grants[i].sec_id;
		if (!key->sec_label)
			break;
		if (query->now >= learned->grants[i].expires && !learned->used)
			continue;
		named = policy_find(map, key);
		if (!named || !policy_prefers_name(decided, named))
			continue;
		decided = named;
		answer->remote_id = key->sec_label;
		answer->match_type = policy_match_type(named, 1);
	}
	/* Whichever rule lets it begin. */
	if (query->now && decided && policy_entry_verdict(decided) >= 0 && learned->used != query->now)
		learned->used = query->now;
	return decided;
}

/* The entry that decides, and how it matched; null: none does. */
static __always_inline const struct policy_entry *policy_decide(void *map, const struct policy_query *query, struct policy_answer *answer)
{
	struct policy_key key = {
		.prefixlen = POLICY_FULL_BITS,
		.sec_label = query->remote_id,
		.egress = query->egress,
		.protocol = query->protocol,
		.dport = query->dport,
	};
	const struct policy_entry *own = policy_find(map, &key);
	const struct policy_entry *decided;

	key.sec_label = 0;
	decided = policy_find(map, &key);
	if (own && (!decided || !policy_prefers_any(own, decided))) {
		answer->match_type = policy_match_type(own, 1);
		decided = own;
	} else if (decided) {
		answer->match_type = policy_match_type(decided, 0);
	}
	if (query->egress && identity_is_outside(query->remote_id))
		decided = policy_decide_named(map, query, &key, decided, answer);
	return decided;
}

/* What the policy under that id says. Without configuration nothing passes: the endpoint is not ready. */
static __always_inline const struct policy_config *policy_consult(__u32 id, const struct policy_query *query, struct policy_answer *answer)
{
	const struct policy_config *config = bpf_map_lookup_elem(&cilium_policy_config, &id);
	const struct policy_entry *entry;
	void *map;

	*answer = (struct policy_answer){ .verdict = -DROP_EP_NOT_READY, .remote_id = query->remote_id };
	answer->generation = policy_generation(config);
	if (!config || !answer->generation)
		return NULL;
	if (!(query->egress ? config->egress_enforced : config->ingress_enforced)) {
		answer->verdict = 0;
		answer->match_type = POLICY_MATCH_ALL;
		return config;
	}
	map = bpf_map_lookup_elem(&cilium_policy, &id);
	if (!map)
		return NULL;
	answer->enforced = 1;
	entry = policy_decide(map, query, answer);
	if (entry) {
		answer->verdict = policy_entry_verdict(entry);
		answer->cookie = entry->cookie;
	} else {
		int denied = query->egress ? config->egress_default_deny : config->ingress_default_deny;

		answer->verdict = denied ? -DROP_POLICY_DENIED : 0;
		answer->cookie = query->egress ? config->egress_default_cookie : config->ingress_default_cookie;
		answer->match_type = denied ? POLICY_MATCH_NONE : POLICY_MATCH_ALL;
	}
	return config;
}

/* The answer for one direction of one endpoint: 0 or a drop. */
__verified_alone int policy_ask(const struct policy_query *query, struct policy_answer *answer)
{
	const struct policy_config *config;

	if (!query || !answer)
		return -DROP_EP_NOT_READY;
	config = policy_consult(query->lxc_id, query, answer);
	if (!config)
		return -DROP_EP_NOT_READY;
	if (answer->verdict < 0 && config->audit & POLICY_AUDIT_ALL) {
		answer->denial = answer->verdict;
		answer->audit_cookie = answer->cookie;
		answer->verdict = 0;
		answer->cookie = 0;
	}
	answer->only_watched = answer->verdict > 0 && config->audit & POLICY_AUDIT_ALL;
	answer->ask_audited = answer->verdict >= 0 && !answer->denial && config->audit & POLICY_AUDIT_SECOND;
	return answer->verdict < 0 ? answer->verdict : 0;
}

/* What the audited policies would have denied of what the others let pass. A policy that is not there denies nothing. */
__verified_alone int policy_ask_audited(const struct policy_query *query, struct policy_answer *answer)
{
	struct policy_scratch *scratch = policy_scratch();
	struct policy_answer *audited;

	if (!query || !answer || !scratch)
		return 0;
	audited = &scratch->audited;
	if (!policy_consult(query->lxc_id | POLICY_AUDIT_ID, query, audited))
		return 0;
	if (audited->verdict >= 0) {
		/* Where nothing is enforced, the audited rules are the only ones that have something to say. */
		if (!answer->cookie)
			answer->cookie = audited->cookie;
		/* The requests of what the others let pass unseen: the proxy reports what the audited rules would deny of them. */
		if (audited->verdict && !answer->verdict) {
			answer->verdict = audited->verdict;
			answer->only_watched = 1;
		}
		return 0;
	}
	answer->denial = audited->verdict;
	answer->audit_cookie = audited->cookie;
	answer->match_type = audited->match_type;
	answer->enforced = 1;
	return 0;
}
