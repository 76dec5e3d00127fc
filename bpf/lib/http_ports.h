/* SPDX-License-Identifier: Apache-2.0 */
/* Whose requests to which port are decided at the server's socket (http_verdict.h), and not by the proxy. */
#pragma once

#include "common.h"

/* Which rules are for this client of that server port. Identity 0: whoever has no entry of its own. */
struct http_rules_key {
	__u32 lxc_id;
	__u32 identity;
	__be16 port;
	__u16 pad;
};

_Static_assert(sizeof(struct http_rules_key) == 12, "http_rules_key is a map key: explicit padding");

enum http_rules_flags {
	HTTP_RULES_ALLOW_ALL = 1, /* one of them allows every request */
};

struct http_rules {
	__u32 set;   /* number of their paths in cilium_http_paths */
	__u32 flags; /* enum http_rules_flags */
};

_Static_assert(sizeof(struct http_rules) == 8, "http_rules is a map value");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct http_rules_key);
	__type(value, struct http_rules);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_http_rules SEC(".maps");

/* A server port of a pod. Identity 0: what is true of the port; another: of that client's identity. */
struct http_server_key {
	struct addr16 address;
	__be16 port;
	__u16 pad;
	__u32 identity;
};

_Static_assert(sizeof(struct http_server_key) == 24, "http_server_key is a map key: explicit padding");

enum http_server {
	HTTP_SERVER_SEEN = 1,  /* the port's connections pass through our program: its first one did */
	HTTP_CLIENT_PLAIN = 2, /* the proxy has seen an ordinary request of this identity */
	HTTP_CLIENT_OTHER = 3, /* one that the kernel could not decide: its connections are the proxy's */
	HTTP_SERVER_ODD = 4,   /* the port's sockets cannot be taken, or read what nobody has judged */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct http_server_key);
	__type(value, __u32);
	__uint(max_entries, 16384);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_http_servers SEC(".maps");

/* Has the agent given the kernel the rules of this port? */
static __always_inline const struct http_rules *http_find_rules(__u32 lxc_id, __u32 identity, __be16 port)
{
	struct http_rules_key key = { .lxc_id = lxc_id, .identity = identity, .port = port };
	const struct http_rules *rules = bpf_map_lookup_elem(&cilium_http_rules, &key);

	if (rules || !identity)
		return rules;
	key.identity = 0;
	return bpf_map_lookup_elem(&cilium_http_rules, &key);
}

static __always_inline int http_server_is(const struct addr16 *address, __be16 port, __u32 identity, __u32 wanted)
{
	struct http_server_key key = { .address = *address, .port = port, .identity = identity };
	const __u32 *found = bpf_map_lookup_elem(&cilium_http_servers, &key);

	return found && *found == wanted;
}
