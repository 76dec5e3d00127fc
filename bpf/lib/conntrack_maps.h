/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of a connection. One entry serves both directions and, on one node, both pods' policies. */
#pragma once

#include "common.h"

enum ct_key_flags {
	CT_KEY_ECHO_FROM_HIGH = 1, /* ICMP echo: the one who asks is the high side */
	CT_KEY_FROM_PROXY = 2,     /* the proxy's own connection to a server, in its client's name */
};

/* Both directions of a connection have the same key: its two ends, ordered by addr_compare, then port. */
struct ct_key {
	struct addr16 low;
	struct addr16 high;
	__be16 low_port; /* ICMP echo: the identifier at both ends */
	__be16 high_port;
	__u8 protocol;
	__u8 flags; /* enum ct_key_flags */
	__u8 pad[2];
};

_Static_assert(sizeof(struct ct_key) == 40, "ct_key is a map key: explicit padding");

enum ct_entry_flags {
	CT_F_ORIGIN_HIGH = 1, /* the high side began */
	CT_F_SEEN_REPLY = 2,  /* the other side has answered */
	CT_F_TX_CLOSING = 4,  /* FIN from the side that began */
	CT_F_RX_CLOSING = 8,  /* FIN from the other side */
	CT_F_RESET = 16,
	CT_F_AUDIT_EGRESS = 32, /* the egress policy lets it pass only because of audit mode */
	CT_F_ORIGIN_HOST = 64,  /* the node itself began, whatever address it used */
	CT_F_AUDIT_INGRESS = 128,
	CT_F_UNCOUNTED = 256, /* the second half of a connection whose first half is counted: not to be added to its rules again */
};

#define CT_F_AUDIT (CT_F_AUDIT_EGRESS | CT_F_AUDIT_INGRESS)

/* Whether the requests of the connection are decided at its server's socket, without the proxy. */
enum ct_http {
	CT_HTTP_NONE = 0,
	CT_HTTP_EXPECTED = 1, /* so it was decided, and nothing but the handshake passes until the socket has been taken */
	CT_HTTP_GUARDED = 2,  /* every byte passes our program before the server reads it */
};

/* Instead of a service's number: this connection's own answer address, noted by the node that sent it here. */
#define REV_NAT_CONNECTION 0xffffffff

/* How one endpoint's policy judged the connection; lxc_id 0: no endpoint of this node at that end. */
struct ct_side {
	__u32 generation; /* policy_config.generation of that endpoint at that time */
	__u32 remote_id;  /* identity of the peer at that time */
	__u32 cookie;       /* rules that let it pass; 0: none */
	__u32 audit_cookie; /* rules that would have denied it; 0: none */
	__u16 lxc_id;
	__be16 proxy_port; /* nonzero: goes to the proxy */
};

_Static_assert(sizeof(struct ct_side) == 20, "ct_side is part of a map value");

struct ct_entry {
	__u64 tx_packets; /* from the side that began */
	__u64 tx_bytes;
	__u64 rx_packets; /* from the other */
	__u64 rx_bytes;
	__u64 counted_packets; /* of both, those that are already in cilium_policy_usage */
	__u64 counted_bytes;
	__u32 lifetime; /* seconds of the monotonic clock: forgotten after this */
	__u32 created;  /* seconds of the monotonic clock */
	__u32 tx_reported;
	__u32 rx_reported; /* seconds of the monotonic clock of the last trace event */
	struct ct_side egress;  /* policy of the endpoint that began, for what it sends */
	struct ct_side ingress; /* policy of the endpoint that was called, for what it receives */
	__u16 flags;            /* enum ct_entry_flags */
	__u8 tx_flags_seen;     /* TCP flags already reported */
	__u8 rx_flags_seen;
	__be16 dport; /* what policy saw: destination port of the side that began, or ICMP type */
	__u8 http;    /* enum ct_http */
	__u8 pad;
	__u32 rev_nat; /* service whose address answers must come from; 0: none. REV_NAT_CONNECTION: as cilium_snat says */
	__u32 pad2;
};

_Static_assert(sizeof(struct ct_entry) == 120, "ct_entry is a map value");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct ct_key);
	__type(value, struct ct_entry);
	__uint(max_entries, 131072);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_ct SEC(".maps");

/* Later fragments have no ports: the first one leaves them here. */
struct fragment_key {
	struct addr16 source;
	struct addr16 destination;
	__be32 id;
	__u8 protocol;
	__u8 pad[3];
};

_Static_assert(sizeof(struct fragment_key) == 40, "fragment_key is a map key: explicit padding");

struct fragment_ports {
	__be16 sport;
	__be16 dport;
	__u8 icmp_type;
	__u8 pad[3];
};

_Static_assert(sizeof(struct fragment_ports) == 8, "fragment_ports is a map value");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct fragment_key);
	__type(value, struct fragment_ports);
	__uint(max_entries, 8192);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} cilium_fragments SEC(".maps");
