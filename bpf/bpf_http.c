// SPDX-License-Identifier: Apache-2.0
/*
 * HTTP policy at the sockets of servers, without a proxy. cil_http_sockops takes accepted sockets whose connection conntrack has down for
 * it; from then on cil_http_verdict sees every byte before the server does. See docs/decisions/0007-kernel-http.md.
 */
#include "lib/common.h"
#include "lib/config.h"
#include "lib/conntrack.h"
#include "lib/endpoint.h"
#include "lib/http_early.h"
#include "lib/http_verdict.h"

#define AF_INET6 10

static __always_inline void ends_of(struct bpf_sock_ops *ctx, struct addr16 *server, struct addr16 *client)
{
	__u32 *local = (__u32 *)server->bytes, *remote = (__u32 *)client->bytes;

	if (ctx->family != AF_INET6) {
		addr_from_ipv4(server, ctx->local_ip4);
		addr_from_ipv4(client, ctx->remote_ip4);
		return;
	}
	local[0] = ctx->local_ip6[0];
	local[1] = ctx->local_ip6[1];
	local[2] = ctx->local_ip6[2];
	local[3] = ctx->local_ip6[3];
	remote[0] = ctx->remote_ip6[0];
	remote[1] = ctx->remote_ip6[1];
	remote[2] = ctx->remote_ip6[2];
	remote[3] = ctx->remote_ip6[3];
}

static __always_inline void note_server(const struct http_socket *s, __u32 what)
{
	struct http_server_key key = { .address = s->server, .port = s->server_port };

	bpf_map_update_elem(&cilium_http_servers, &key, &what, BPF_ANY);
}

/* That the port's connections come by here: only then does conntrack give us any. */
static __always_inline void see_server(const struct http_socket *s)
{
	struct http_server_key key = { .address = s->server, .port = s->server_port };

	if (endpoint_lookup(&s->server) && !bpf_map_lookup_elem(&cilium_http_servers, &key))
		note_server(s, HTTP_SERVER_SEEN);
}

/* Nothing can be judged before it is read: the connection is to be ended, and the port's next ones are the proxy's. */
static __always_inline void keep_out(struct http_socket *s, __u64 cookie)
{
	if (s->kept_out)
		return;
	s->kept_out = 1;
	note_server(s, HTTP_SERVER_ODD);
	http_count(HTTP_COUNT_HANDED_OVER, 1);
	http_count(HTTP_COUNT_CUT, 1);
	http_report(s, cookie, HTTP_REFUSED, 0, HTTP_EVENT_CUT);
}

static __always_inline struct ct_entry *entry_of(const struct http_socket *s)
{
	struct packet packet = {
		.source = s->client,
		.destination = s->server,
		.sport = s->client_port,
		.dport = s->server_port,
		.protocol = PROTO_TCP,
	};
	struct ct_place place = {};

	ct_place_of(&packet, &place);
	return bpf_map_lookup_elem(&cilium_ct, &place.key);
}

/* SO_RCVLOWAT, which its listener had. */
static __always_inline int waits_for_more(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *socket = ctx->sk;
	struct tcp_sock *tcp = socket ? bpf_skc_to_tcp_sock(socket) : NULL;

	return !tcp || tcp->inet_conn.icsk_inet.sk.sk_rcvlowat > 1;
}

/* Whatever fails here leaves conntrack's entry as it is, and no byte of the client's gets past cil_from_container. */
static __always_inline void accepted(struct bpf_sock_ops *ctx, struct http_socket *s)
{
	struct ct_entry *entry;
	__u64 cookie;

	__builtin_memset(s, 0, sizeof(*s));
	ends_of(ctx, &s->server, &s->client);
	s->server_port = bpf_htons(ctx->local_port);
	s->client_port = ctx->remote_port >> 16;
	see_server(s);
	entry = entry_of(s);
	if (!entry || entry->http != CT_HTTP_EXPECTED)
		return;
	s->lxc_id = entry->ingress.lxc_id;
	s->client_id = entry->ingress.remote_id;
	s->phase = HTTP_START;
	s->admitted = ctx->rcv_nxt;
	cookie = bpf_get_socket_cookie(ctx);
	if (waits_for_more(ctx) || bpf_map_update_elem(&cilium_http_state, &cookie, s, BPF_ANY))
		return keep_out(s, cookie);
	if (bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG) ||
	    bpf_sock_hash_update(ctx, &cilium_http_sockets, &cookie, BPF_NOEXIST)) {
		bpf_map_delete_elem(&cilium_http_state, &cookie);
		return keep_out(s, cookie);
	}
	http_count(HTTP_COUNT_TAKEN, 1);
	entry->http = CT_HTTP_GUARDED;
}

SEC("sockops")
int cil_http_sockops(struct bpf_sock_ops *ctx)
{
	struct http_run *run;
	__u64 cookie;

	if (ctx->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB) {
		run = http_take_run();
		if (!run)
			return 1;
		accepted(ctx, &run->fresh);
		http_give_back(run);
	}
	if (ctx->op == BPF_SOCK_OPS_STATE_CB && ctx->args[1] == BPF_TCP_CLOSE) {
		cookie = bpf_get_socket_cookie(ctx);
		if (!bpf_map_delete_elem(&cilium_http_state, &cookie))
			http_count(HTTP_COUNT_ENDED, 1);
	}
	return 1;
}

SEC("sk_skb")
int cil_http_verdict(struct __sk_buff *skb)
{
	__u64 cookie = bpf_get_socket_cookie(skb);
	struct http_socket *s = bpf_map_lookup_elem(&cilium_http_state, &cookie);
	struct http_run *run;
	int verdict;

	if (!s || s->kept_out)
		return SK_DROP;
	run = http_take_run();
	if (!run) {
		s->phase = HTTP_OVER;
		return SK_DROP;
	}
	verdict = http_verdict(skb, s, run, cookie);
	http_give_back(run);
	return verdict;
}

/*
 * The verdict program does not see data at once when the server has not accepted the connection, and when it waits for more than there is
 * (SO_RCVLOWAT): splice(2) would read it as it is. The first is http_may_wait's; a server of the second kind gets its connections from the proxy.
 */
SEC("cgroup_skb/ingress")
int cil_http_ingress(struct __sk_buff *skb)
{
	__u64 cookie = bpf_get_socket_cookie(skb);
	struct http_socket *s = bpf_map_lookup_elem(&cilium_http_state, &cookie);
	struct bpf_sock *socket;
	struct tcp_sock *tcp;

	if (!s)
		return 1;
	socket = skb->sk;
	tcp = socket ? bpf_skc_to_tcp_sock(socket) : NULL;
	if (!tcp)
		return !http_has_data(skb);
	if (unlikely(s->kept_out || tcp->inet_conn.icsk_inet.sk.sk_rcvlowat > 1)) {
		keep_out(s, cookie);
		return !http_has_data(skb);
	}
	if (likely(s->accepted))
		return 1;
	if (tcp->inet_conn.icsk_inet.sk.sk_socket) {
		s->accepted = 1;
		return 1;
	}
	return http_may_wait(skb, s);
}

/* The server's answers, for their records only. */
SEC("cgroup_skb/egress")
int cil_http_egress(struct __sk_buff *skb)
{
	__u64 cookie = bpf_get_socket_cookie(skb);
	struct http_socket *s = bpf_map_lookup_elem(&cilium_http_state, &cookie);

	if (s && s->awaited)
		http_see_answer(skb, s, cookie);
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
