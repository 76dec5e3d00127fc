/* SPDX-License-Identifier: Apache-2.0 */
/* skb->mark between this datapath, the stack's routing rules and the proxy. */
#pragma once

/* The low bits say what it is; the proxy's sockets carry its client's identity in the upper 16. */
enum packet_mark {
	MARK_MASK = 0xf00,
	MARK_TO_PROXY = 0x200,           /* delivered locally by the rule fwmark 0x200/0xf00 */
	MARK_FROM_INGRESS_PROXY = 0xa00, /* already judged for what the server receives */
	MARK_FROM_EGRESS_PROXY = 0xb00,  /* already judged for what the client sends */
};
