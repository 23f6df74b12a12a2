/* SPDX-License-Identifier: MIT */
/*
 * Which way a socket goes, decided inside the kernel when it connects, sends or binds: the rules of router/uplink, read from
 * the maps that router/kernel/policy-image.ts fills. Attached to the root cgroup, so every socket of the host comes by.
 *
 * Left alone: sockets of other network namespaces, of the daemon itself, bound to a device by their app, and those that talk
 * to loopback, link-local, multicast or own addresses. DNS is the exception: a query goes to a resolver of the uplink that
 * the app's flows take, or to the daemon's forwarder, and the answer looks as if the resolver that was asked had given it.
 *
 * TCP and connected UDP sockets are bound in connect(). Unconnected UDP sockets are not: each destination may go another
 * way, and a bind in sendmsg() counts from the next datagram on; the source address given here chooses the route instead.
 *
 * Built twice: -mcpu=v3, and with MLS_OLD -mcpu=v2 for kernels before 5.12, which have no fetching atomics and where
 * sendmsg and bind may not set socket options.
 */
#include "dns.h"

#define SOCK_DGRAM 2
#define SOCK_RAW   3

/* ---- connect() and sendmsg() */

/* What is known of the flow; false when it is none of ours. */
static __always_inline bool begin(struct flow *f, struct bpf_sock_addr *ctx, bool is_v6)
{
	struct bpf_sock *sk = ctx->sk;

	f->ctx = ctx;
	f->protocol = ctx->protocol;
	f->port = bpf_ntohs(ctx->user_port);
	f->bound = 0;
	f->kept = 0;
	f->is_by_address = false;
	f->is_fixed = false;
	f->own = 0;
	if (is_v6) {
		f->addr[0] = ctx->user_ip6[0];
		f->addr[1] = ctx->user_ip6[1];
		f->addr[2] = ctx->user_ip6[2];
		f->addr[3] = ctx->user_ip6[3];
	} else {
		f->addr[0] = f->addr[1] = 0;
		f->addr[2] = MAPPED;
		f->addr[3] = ctx->user_ip4;
	}
	f->is_dns = f->port == DNS_PORT && (f->protocol == IPPROTO_UDP || f->protocol == IPPROTO_TCP);
	if (is_left_alone(f->addr)) {
		f->own = MLS_OWN_MAIN;
		f->is_dns &= is_loopback(f->addr);
	}
	if (f->protocol == IPPROTO_ICMP || f->protocol == IPPROTO_ICMPV6)
		f->port = NO_PORT;
	if (!sk || is_foreign(bpf_get_netns_cookie(ctx)) || is_tunnel(sk) || is_exempt() ||
	    !read_generation(&f->generation, &f->place, &f->flags))
		return false;
	__u32 *bound = bpf_sk_storage_get(&mls_bound, sk, 0, 0);

	if (bound) {
		f->bound = *bound & ~BY_ADDRESS;
		f->is_by_address = *bound & BY_ADDRESS;
	}
	if (sk->bound_dev_if && !f->bound)
		return false; /* the app has chosen itself */
	f->own_port = sk->src_port;
	if (!f->own)
		f->own = match_prefix(f->place, MLS_TABLE_OWN, f->addr);
	return true;
}

/* The class of the flow's process, after `from` is known. */
static __always_inline __u32 classify(struct flow *f)
{
	__u32 source = f->flags & MLS_HAS_SOURCES ? match_prefix(f->place, MLS_TABLE_SOURCES, f->from) : 0;

	return class_of(f->place, source);
}

static __always_inline int on_connect(struct bpf_sock_addr *ctx, bool is_v6)
{
	struct flow f;

	if (!begin(&f, ctx, is_v6))
		return ALLOWED;
	struct bpf_sock *sk = ctx->sk;

	if (!sk)
		return ALLOWED;
	f.from[0] = f.from[1] = f.from[2] = f.from[3] = 0;
	bool is_bound_by_app = !f.bound || f.is_by_address;

	if (is_bound_by_app && is_v6) {
		f.from[0] = sk->src_ip6[0];
		f.from[1] = sk->src_ip6[1];
		f.from[2] = sk->src_ip6[2];
		f.from[3] = sk->src_ip6[3];
	} else if (is_bound_by_app && sk->src_ip4) {
		f.from[2] = MAPPED;
		f.from[3] = sk->src_ip4;
	}
	if (f.own && !f.is_dns) {
		/* An address in a VRF can be reached from within. */
		if (!is_vrf(f.own))
			unbind(&f);
		else if (!bind_to(&f, is_v6, f.own - 1))
			return refuse(EPERM, MLS_STRICT_REFUSED);
		return ALLOWED;
	}
	/* A datagram socket that was connected before has the source address of its uplink for good. */
	if (!is_bound_by_app &&
	    (is_v6 ? sk->src_ip6[0] | sk->src_ip6[1] | sk->src_ip6[2] | sk->src_ip6[3] : sk->src_ip4)) {
		f.kept = f.bound;
		f.is_fixed = true;
	}
	__u32 class = classify(&f);

	if (f.is_dns && forward(&f, is_v6, class)) {
		unbind(&f);
		return ALLOWED;
	}
	struct decision d = decide(&f, class, true);

	if (d.verdict == REJECT)
		return refuse(EACCES, MLS_REJECTED);
	if (d.verdict == NO_UPLINK)
		return refuse(ENETUNREACH, MLS_NO_UPLINK);
	if (d.verdict == LEAVE) {
		unbind(&f);
		return ALLOWED;
	}
	if (f.is_dns && resolve(&f, is_v6, d.way))
		f.own = 0;
	if (f.own) {
		unbind(&f);
		return ALLOWED;
	}
	return bind_to(&f, is_v6, d.way) ? ALLOWED : refuse(EPERM, MLS_STRICT_REFUSED);
}

SEC("cgroup/connect4")
int mls_connect4(struct bpf_sock_addr *ctx)
{
	return on_connect(ctx, false);
}

SEC("cgroup/connect6")
int mls_connect6(struct bpf_sock_addr *ctx)
{
	return on_connect(ctx, true);
}

/* What was decided for a destination holds while the policy is the same and the way carries anything. */
static __always_inline bool is_decided(struct flow *f, struct mls_flow_key *key, __u32 *way)
{
	struct mls_flow *known = bpf_map_lookup_elem(&mls_flows, key);

	if (!known)
		return false;
	*way = known->way;
	if (*way == NO_WAY)
		return known->generation == f->generation;
	struct mls_load *load = bpf_map_lookup_elem(&mls_loads, &known->way);

	if (!load || !load->carries)
		return false;
	f->kept = *way + 1;
	return known->generation == f->generation;
}

/*
 * Send a datagram of a socket that is not connected through a way. Returns whether that has an address of its family: what has
 * none would leave by another network, since a bind here counts from the next datagram on.
 */
static __always_inline bool send_through(struct flow *f, bool is_v6, __u32 index)
{
	struct mls_way *way = bpf_map_lookup_elem(&mls_ways, &index);

	if (!way || is_some(f->from))
		return true; /* an address says where it belongs */
	if (!is_v6 && way->source4) {
		f->ctx->msg_src_ip4 = way->source4;
		return true;
	}
	if (is_v6 && is_some(way->source6)) {
		f->ctx->msg_src_ip6[0] = way->source6[0];
		f->ctx->msg_src_ip6[1] = way->source6[1];
		f->ctx->msg_src_ip6[2] = way->source6[2];
		f->ctx->msg_src_ip6[3] = way->source6[3];
		return true;
	}
	return false;
}

static __always_inline int on_sendmsg(struct bpf_sock_addr *ctx, bool is_v6)
{
	struct flow f;

	if (!begin(&f, ctx, is_v6))
		return ALLOWED;
	f.from[0] = f.from[1] = f.from[2] = f.from[3] = 0;
	if (is_v6) {
		f.from[0] = ctx->msg_src_ip6[0];
		f.from[1] = ctx->msg_src_ip6[1];
		f.from[2] = ctx->msg_src_ip6[2];
		f.from[3] = ctx->msg_src_ip6[3];
	} else if (ctx->msg_src_ip4) {
		f.from[2] = MAPPED;
		f.from[3] = ctx->msg_src_ip4;
	}
	if (f.own && !f.is_dns)
		return ALLOWED;
	struct mls_flow_key key = {bpf_get_socket_cookie(ctx), {f.addr[0], f.addr[1], f.addr[2], f.addr[3]}, f.port, 0};

	/* Connected IPv6 sockets with an IPv4-mapped peer come by here too, with the address that connect() gave them. */
	if (f.bound && f.is_dns && bpf_map_lookup_elem(&mls_origins, &key))
		return ALLOWED;
	__u32 way = NO_WAY;

	if (f.is_dns || !is_decided(&f, &key, &way)) {
		__u32 class = classify(&f);

		if (f.is_dns && !f.bound && forward(&f, is_v6, class))
			return ALLOWED;
		/* A socket that connect() or bind() gave a device keeps it. */
		struct decision d = decide(&f, class, !f.bound);

		if (d.verdict == REJECT)
			return refuse(EACCES, MLS_REJECTED);
		if (d.verdict == NO_UPLINK)
			return refuse(ENETUNREACH, MLS_NO_UPLINK);
		way = f.bound ? f.bound - 1 : d.way;
		struct mls_way_count *n = bpf_map_lookup_elem(&mls_way_counts, &way);
		struct mls_flow flow = {f.generation, way};

		if (n && way + 1 != f.kept)
			__sync_fetch_and_add(&n->bound, 1);
		bpf_map_update_elem(&mls_flows, &key, &flow, BPF_ANY);
		if (f.is_dns && resolve(&f, is_v6, way))
			f.own = 0;
	}
	if (f.own || f.bound || way == NO_WAY)
		return ALLOWED;
	return send_through(&f, is_v6, way) ? ALLOWED : refuse(ENETUNREACH, MLS_NO_UPLINK);
}

SEC("cgroup/sendmsg4")
int mls_sendmsg4(struct bpf_sock_addr *ctx)
{
	return on_sendmsg(ctx, false);
}

SEC("cgroup/sendmsg6")
int mls_sendmsg6(struct bpf_sock_addr *ctx)
{
	return on_sendmsg(ctx, true);
}

SEC("cgroup/recvmsg4")
int mls_recvmsg4(struct bpf_sock_addr *ctx)
{
	return restore(ctx, false);
}

SEC("cgroup/recvmsg6")
int mls_recvmsg6(struct bpf_sock_addr *ctx)
{
	return restore(ctx, true);
}

SEC("cgroup/getpeername4")
int mls_getpeername4(struct bpf_sock_addr *ctx)
{
	return restore(ctx, false);
}

SEC("cgroup/getpeername6")
int mls_getpeername6(struct bpf_sock_addr *ctx)
{
	return restore(ctx, true);
}

/* ---- bind() */

#ifndef MLS_OLD
/* An address that lives in a VRF can only be bound from within it. */
static __always_inline int on_bind(struct bpf_sock_addr *ctx, bool is_v6)
{
	struct bpf_sock *sk = ctx->sk;
	__u32 generation, place, flags;
	__u32 addr[4] = {0, 0, MAPPED, 0};

	if (is_v6) {
		addr[0] = ctx->user_ip6[0];
		addr[1] = ctx->user_ip6[1];
		addr[2] = ctx->user_ip6[2];
		addr[3] = ctx->user_ip6[3];
	} else {
		addr[3] = ctx->user_ip4;
	}
	if (!sk || sk->bound_dev_if || is_left_alone(addr) || is_foreign(bpf_get_netns_cookie(ctx)) || is_exempt() ||
	    !read_generation(&generation, &place, &flags))
		return ALLOWED;
	__u32 own = match_prefix(place, MLS_TABLE_OWN, addr), index = own - 1;
	struct mls_way *way = is_vrf(own) ? bpf_map_lookup_elem(&mls_ways, &index) : 0;

	if (way && !bind_device(ctx, way->device))
		remember(sk, index, BY_ADDRESS);
	return ALLOWED;
}

SEC("cgroup/bind4")
int mls_bind4(struct bpf_sock_addr *ctx)
{
	return on_bind(ctx, false);
}

SEC("cgroup/bind6")
int mls_bind6(struct bpf_sock_addr *ctx)
{
	return on_bind(ctx, true);
}
#endif

/* ---- socket() */

/*
 * Ping and raw sockets send without any other hook. They are bound here, before their destination is known, by rules that name
 * no destination and are about certain processes or about ICMP: one for all would take the loopback from everybody.
 */
SEC("cgroup/sock_create")
int mls_sock_create(struct bpf_sock *sk)
{
	bool is_v6 = sk->family == AF_INET6;
	bool is_ping = sk->type == SOCK_DGRAM && (sk->protocol == IPPROTO_ICMP || sk->protocol == IPPROTO_ICMPV6);
	__u32 generation, place, flags;

	if (!is_ping && sk->type != SOCK_RAW)
		return ALLOWED;
	if ((sk->family != AF_INET && sk->family != AF_INET6) || is_foreign(bpf_get_netns_cookie(sk)) || is_exempt() ||
	    !read_generation(&generation, &place, &flags))
		return ALLOWED;
	__u32 class = class_of(place, 0);
	void *words = bpf_map_lookup_elem(&mls_words, &place);
	struct mls_quad *head = words ? quad(words, 0) : 0, *c = words ? quad(words, class) : 0;

	if (!head || !c || !class)
		return ALLOWED;
	__u32 rule = find_in_list(place, anywhere(c, is_v6), sk->protocol, NO_PORT);
	struct mls_quad *r = rule == MLS_NO_RULE ? 0 : quad(words, head->w[MLS_HEAD_RULES] + rule);

	if (!r || !(r->w[MLS_RULE_FLAGS] & MLS_RULE_FOR_PING))
		return ALLOWED;
	if (r->w[MLS_RULE_ACTION] == MLS_ACTION_REJECT)
		return refuse(EACCES, MLS_REJECTED);
	__u32 way = r->w[MLS_RULE_TARGET];

	if (r->w[MLS_RULE_ACTION] == MLS_ACTION_GROUP)
		way = pick(place, way + is_v6, bpf_get_prandom_u32(), 0);
	else if (r->w[MLS_RULE_ACTION] != MLS_ACTION_WAY)
		return ALLOWED;
	if (way == NO_WAY)
		return refuse(ENETUNREACH, MLS_NO_UPLINK);
	struct mls_way *w = bpf_map_lookup_elem(&mls_ways, &way);
	struct mls_way_count *n = bpf_map_lookup_elem(&mls_way_counts, &way);

	if (!w || !n || !w->ifindex)
		return ALLOWED;
	sk->bound_dev_if = w->ifindex;
	__sync_fetch_and_add(&n->bound, 1);
	return ALLOWED;
}

char _license[] SEC("license") = "MIT";
