/* SPDX-License-Identifier: MIT */
/* Queries go elsewhere than the app says, and their answers seem to come from where it thinks. */
#ifndef MLSHIM_DNS_H
#define MLSHIM_DNS_H

#include "flow.h"

static __always_inline void set_target(struct flow *f, bool is_v6, const __u32 a[4], __u32 port)
{
	if (is_v6) {
		f->ctx->user_ip6[0] = a[0];
		f->ctx->user_ip6[1] = a[1];
		f->ctx->user_ip6[2] = a[2];
		f->ctx->user_ip6[3] = a[3];
	} else {
		f->ctx->user_ip4 = a[3];
	}
	f->ctx->user_port = bpf_htons(port);
}

static __always_inline void redirect(struct flow *f, bool is_v6, const __u32 to[4], __u32 port)
{
	struct mls_flow_key key = {bpf_get_socket_cookie(f->ctx), {to[0], to[1], to[2], to[3]}, port, 0};
	struct mls_origin origin = {{f->addr[0], f->addr[1], f->addr[2], f->addr[3]}, f->port};

	bpf_map_update_elem(&mls_origins, &key, &origin, BPF_ANY);
	set_target(f, is_v6, to, port);
}

/* A query to the daemon's forwarder, where rules by domain concern the class and it is alive. */
static __always_inline bool forward(struct flow *f, bool is_v6, __u32 class)
{
	void *words = bpf_map_lookup_elem(&mls_words, &f->place);
	struct mls_quad *c = words && class ? quad(words, class) : 0;
	__u32 zero = 0, port = c ? c->w[MLS_CLASS_FORWARDER] : 0;
	__u64 *beat = bpf_map_lookup_elem(&mls_beat, &zero);
	__u32 v4[4] = {0, 0, MAPPED, bpf_htonl(0x7f000001)}, v6[4] = {0, 0, 0, bpf_htonl(1)};

	if (!port || !beat || bpf_ktime_get_ns() - *beat > MLS_BEAT_NS)
		return false;
	if (f->port == port && is_loopback(f->addr))
		return true;
	redirect(f, is_v6, is_mapped(f->addr) ? v4 : v6, port);
	count(MLS_FORWARDED);
	return true;
}

/* A query to a resolver of its uplink. Returns whether there is one. */
static __always_inline bool resolve(struct flow *f, bool is_v6, __u32 index)
{
	struct mls_way *way = bpf_map_lookup_elem(&mls_ways, &index);
	struct mls_way_count *n = bpf_map_lookup_elem(&mls_way_counts, &index);
	bool is_v4 = is_mapped(f->addr);

	if (!way || !n)
		return false;
	__u32 resolvers = is_v4 ? way->resolvers4 : way->resolvers6;

	if (!resolvers)
		return false;
	__u32 which = bpf_get_prandom_u32() % resolvers;

	if (which >= MLS_RESOLVERS)
		return false;
	__u32 to[4] = {0, 0, MAPPED, way->dns4[which]};

	if (!is_v4)
		__builtin_memcpy(to, way->dns6[which], sizeof(to));
	redirect(f, is_v6, to, DNS_PORT);
	__sync_fetch_and_add(&n->dns, 1);
	return true;
}

/* The sender or peer of a socket, as its app knows it. */
static __always_inline int restore(struct bpf_sock_addr *ctx, bool is_v6)
{
	__u32 port = bpf_ntohs(ctx->user_port);
	struct mls_flow_key key = {bpf_get_socket_cookie(ctx), {0, 0, MAPPED, 0}, port, 0};

	if (is_v6) {
		key.addr[0] = ctx->user_ip6[0];
		key.addr[1] = ctx->user_ip6[1];
		key.addr[2] = ctx->user_ip6[2];
		key.addr[3] = ctx->user_ip6[3];
	} else {
		key.addr[3] = ctx->user_ip4;
	}
	if (port != DNS_PORT && !is_loopback(key.addr))
		return ALLOWED;
	struct mls_origin *o = bpf_map_lookup_elem(&mls_origins, &key);

	if (!o)
		return ALLOWED;
	if (is_v6) {
		ctx->user_ip6[0] = o->addr[0];
		ctx->user_ip6[1] = o->addr[1];
		ctx->user_ip6[2] = o->addr[2];
		ctx->user_ip6[3] = o->addr[3];
	} else {
		ctx->user_ip4 = o->addr[3];
	}
	ctx->user_port = bpf_htons(o->port);
	return ALLOWED;
}

#endif
