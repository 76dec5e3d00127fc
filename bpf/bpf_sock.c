// SPDX-License-Identifier: Apache-2.0
/*
 * Service load balancing at the socket: a program that connects or sends to a service's address gets a backend's instead, so its
 * packets need no translation. What it hears from the backend is shown to it under the service's address.
 * IPv4 and IPv6 hooks differ only in where the address is read and written: the verifier lets each see its own fields alone.
 */
#include "lib/common.h"
#include "lib/lb_bind.h"
#include "lib/lb_sock.h"

#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define SOCK_STREAM 1
#define VERDICT_PROCEED 1
#define VERDICT_REJECT 0

static __always_inline __u8 protocol_of(const struct bpf_sock_addr *ctx)
{
	return ctx->type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
}

static __always_inline void target_from_ipv4(const struct bpf_sock_addr *ctx, struct lb_target *target)
{
	addr_from_ipv4(&target->address, ctx->user_ip4);
	target->port = (__be16)ctx->user_port;
	target->protocol = protocol_of(ctx);
	target->scope = 0;
}

static __always_inline void target_to_ipv4(struct bpf_sock_addr *ctx, const struct lb_target *target)
{
	ctx->user_ip4 = addr_to_ipv4(&target->address);
	ctx->user_port = target->port;
}

/* An IPv4 address in its IPv6 form is the same 16 bytes as IPv4 has in the maps: IPv6 sockets reach IPv4 services. */
static __always_inline void target_from_ipv6(const struct bpf_sock_addr *ctx, struct lb_target *target)
{
	__u32 *words = (__u32 *)target->address.bytes;

	words[0] = ctx->user_ip6[0];
	words[1] = ctx->user_ip6[1];
	words[2] = ctx->user_ip6[2];
	words[3] = ctx->user_ip6[3];
	target->port = (__be16)ctx->user_port;
	target->protocol = protocol_of(ctx);
	target->scope = 0;
}

static __always_inline void target_to_ipv6(struct bpf_sock_addr *ctx, const struct lb_target *target)
{
	ctx->user_ip6[0] = addr_word(&target->address, 0);
	ctx->user_ip6[1] = addr_word(&target->address, 1);
	ctx->user_ip6[2] = addr_word(&target->address, 2);
	ctx->user_ip6[3] = addr_word(&target->address, 3);
	ctx->user_port = target->port;
}

/* The program learns at once that nobody answers, as from a host whose port is closed. */
static __always_inline int refuse(void)
{
	bpf_set_retval(-ECONNREFUSED);
	return VERDICT_REJECT;
}

static __always_inline int forward4(struct bpf_sock_addr *ctx)
{
	struct lb_target target;
	int ret;

	target_from_ipv4(ctx, &target);
	ret = service_translate(ctx, &target);
	if (ret == NO_BACKEND)
		return refuse();
	if (ret == 0)
		target_to_ipv4(ctx, &target);
	return VERDICT_PROCEED;
}

static __always_inline int forward6(struct bpf_sock_addr *ctx)
{
	struct lb_target target;
	int ret;

	target_from_ipv6(ctx, &target);
	ret = service_translate(ctx, &target);
	if (ret == NO_BACKEND)
		return refuse();
	if (ret == 0)
		target_to_ipv6(ctx, &target);
	return VERDICT_PROCEED;
}

static __always_inline int reverse4(struct bpf_sock_addr *ctx)
{
	struct lb_target target;

	target_from_ipv4(ctx, &target);
	if (!service_restore(ctx, &target))
		target_to_ipv4(ctx, &target);
	return VERDICT_PROCEED;
}

static __always_inline int reverse6(struct bpf_sock_addr *ctx)
{
	struct lb_target target;

	target_from_ipv6(ctx, &target);
	if (!service_restore(ctx, &target))
		target_to_ipv6(ctx, &target);
	return VERDICT_PROCEED;
}

SEC("cgroup/connect4")
int cil_sock4_connect(struct bpf_sock_addr *ctx)
{
	return forward4(ctx);
}

SEC("cgroup/sendmsg4")
int cil_sock4_sendmsg(struct bpf_sock_addr *ctx)
{
	return forward4(ctx);
}

SEC("cgroup/recvmsg4")
int cil_sock4_recvmsg(struct bpf_sock_addr *ctx)
{
	return reverse4(ctx);
}

SEC("cgroup/getpeername4")
int cil_sock4_getpeername(struct bpf_sock_addr *ctx)
{
	return reverse4(ctx);
}

SEC("cgroup/connect6")
int cil_sock6_connect(struct bpf_sock_addr *ctx)
{
	return forward6(ctx);
}

SEC("cgroup/sendmsg6")
int cil_sock6_sendmsg(struct bpf_sock_addr *ctx)
{
	return forward6(ctx);
}

SEC("cgroup/recvmsg6")
int cil_sock6_recvmsg(struct bpf_sock_addr *ctx)
{
	return reverse6(ctx);
}

SEC("cgroup/getpeername6")
int cil_sock6_getpeername(struct bpf_sock_addr *ctx)
{
	return reverse6(ctx);
}

static __always_inline int after_bind(struct bpf_sock *ctx, struct lb_target *target)
{
	target->port = bpf_htons(ctx->src_port);
	target->protocol = ctx->type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
	if (may_bind(ctx, target))
		return VERDICT_PROCEED;
	bpf_set_retval(-EADDRINUSE);
	return VERDICT_REJECT;
}

SEC("cgroup/post_bind4")
int cil_sock4_post_bind(struct bpf_sock *ctx)
{
	struct lb_target target = {};

	addr_from_ipv4(&target.address, ctx->src_ip4);
	return after_bind(ctx, &target);
}

SEC("cgroup/post_bind6")
int cil_sock6_post_bind(struct bpf_sock *ctx)
{
	struct lb_target target = {};
	__u32 *words = (__u32 *)target.address.bytes;

	words[0] = ctx->src_ip6[0];
	words[1] = ctx->src_ip6[1];
	words[2] = ctx->src_ip6[2];
	words[3] = ctx->src_ip6[3];
	return after_bind(ctx, &target);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
