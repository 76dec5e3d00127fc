/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of the packet in hand: its headers, and the two ends of its flow. Both live on the program's stack. */
#pragma once

#include "common.h"
#include "drop.h"
#include "event_types.h"

#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ICMPV6 58
#define PROTO_SCTP 132

#define TCP_FIN 1
#define TCP_SYN 2
#define TCP_RST 4
#define TCP_ACK 16

enum packet_flags {
	PACKET_F_IPV6 = 1,
	PACKET_F_FIRST_FRAGMENT = 2,
	PACKET_F_LATER_FRAGMENT = 4, /* has no transport header of its own */
	PACKET_F_ICMP_ERROR = 8,     /* carries the packet it is about */
	PACKET_F_ECHO = 16,          /* ports hold the identifier */
	PACKET_F_STATELESS = 32,     /* ICMP that belongs to no flow: judged one by one */
};

struct packet {
	struct addr16 source;
	struct addr16 destination;
	__be16 sport;
	__be16 dport;
	__u8 protocol;
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 ttl;
	__u8 flags; /* enum packet_flags */
	__s8 ext_error;
	__u8 file; /* where a drop was decided */
	__u8 pad;
	__u16 line;
	__u16 l3_length;   /* bytes of the IP packet after its first header */
	__u32 l4_offset;   /* from the Ethernet header; past options and extension headers */
	__be32 fragment_id;
};

/* Which hook has the packet: decides what a reply of a proxied connection means. */
enum packet_origin {
	ORIGIN_POD,     /* from a pod's veth */
	ORIGIN_NETWORK, /* from another machine */
	ORIGIN_STACK,   /* from this node's stack */
};

/* What a sender is told of a packet that is dropped. */
enum refusal {
	REFUSE_CLOSED = 1,   /* the service has no backend: nobody listens */
	REFUSE_TOO_LONG = 2, /* no room for the option of direct server return */
};

/* Who sends to whom, and what was decided. */
struct flow {
	__u32 source_id;
	__u32 destination_id;
	__u16 source_lxc;      /* endpoint of this node whose egress policy applies; 0: none, or already applied */
	__u16 destination_lxc; /* endpoint of this node that receives; 0: none */
	__u16 seen_at;         /* endpoint for which the record is written */
	__u8 direction;        /* enum direction: of the connection, as seen_at sees it */
	__u8 origin;           /* enum packet_origin */
	__u8 ct_reason;        /* enum ct_reason */
	__u8 report;           /* this packet is worth a trace event */
	__u8 audit;            /* passes only because of audit mode: bits of CT_F_AUDIT */
	__u8 from_proxy;       /* the proxy's own connection: enum packet_mark >> 8, or 0 */
	__be16 proxy_port;     /* to the proxy: its socket for this connection, else its listener there */
	__u8 to_upstream;      /* to the proxy's socket for this connection, which must exist */
	__u8 host_source;      /* sent by the node itself */
	__u8 refuse;           /* dropped, and its sender is to hear why: enum refusal, or 0 */
	__u8 announces;        /* it goes ahead of another packet (dsr_announce.h), and is for nobody */
	__u32 cookie;          /* rules that decided */
	__u32 rev_nat;         /* the packet was sent to this service; 0: to whom it says. REV_NAT_CONNECTION: see nat_find_frontend() */
	__u32 reply_of;        /* it answers what was sent to this service: the same values */
};

/* Notes where a packet is given up and makes the return value of it. */
#define drop_at(packet, where, reason)                                                                                 \
	({                                                                                                             \
		(packet)->line = __LINE__;                                                                             \
		(packet)->file = (where);                                                                              \
		-(reason);                                                                                             \
	})

static __always_inline int packet_is_ipv6(const struct packet *packet)
{
	return packet->flags & PACKET_F_IPV6;
}

/* The port as policy sees it: for ICMP its type. */
static __always_inline __be16 policy_port(const struct packet *packet)
{
	if (packet->protocol == PROTO_ICMP || packet->protocol == PROTO_ICMPV6)
		return bpf_htons(packet->icmp_type);
	return packet->dport;
}

/* SYN without ACK: someone begins a connection. */
static __always_inline int tcp_is_opening(const struct packet *packet)
{
	return packet->protocol == PROTO_TCP && (packet->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}
