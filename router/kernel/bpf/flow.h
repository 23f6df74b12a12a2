/* SPDX-License-Identifier: MIT */
/* A flow that a hook sees: what is known of it, what the policy says, and how its socket is bound. */
#ifndef MLSHIM_FLOW_H
#define MLSHIM_FLOW_H

#include "balance.h"
#include "rules.h"

#define AF_INET		2
#define AF_INET6	10
#define SOL_SOCKET	1
#define SO_BINDTODEVICE 25
#define EPERM		1
#define EACCES		13
#define ENETUNREACH	101

#define MAPPED	 bpf_htonl(0xffff)
#define DNS_PORT 53

enum { REFUSED, ALLOWED };

/* Set by the loader: whether programs may choose the errno of a refusal. */
const volatile __u32 can_set_retval = 0;

struct flow {
	struct bpf_sock_addr *ctx;
	__u32 place; /* of the generation */
	__u32 generation;
	__u32 flags; /* of the generation */
	__u32 protocol;
	__u32 port;
	__u32 addr[4];
	__u32 from[4]; /* the address the app bound the socket to, or 0 */
	__u32 own_port;
	__u32 bound;	    /* 1 + the way this program bound it to before */
	__u32 kept;	    /* 1 + the way it had before; 0 = none */
	__u32 own;	    /* what the target is among own addresses, of MLS_TABLE_OWN; 0 = none of them */
	bool is_by_address; /* bound so because of the address that its app bound */
	bool is_fixed;	    /* its source address is of the way that it had */
	bool is_dns;
};

enum verdict { LEAVE, GO, REJECT, NO_UPLINK };

struct decision {
	enum verdict verdict;
	__u32 way;
};

static __always_inline bool is_mapped(const __u32 a[4])
{
	return !a[0] && !a[1] && a[2] == MAPPED;
}

/* Loopback, "this host", link-local, multicast and broadcast addresses. */
static __always_inline bool is_left_alone(const __u32 a[4])
{
	if (is_mapped(a)) {
		__u32 h = bpf_ntohl(a[3]);

		return h >> 24 == 127 || h >> 24 == 0 || h >> 16 == 0xa9fe || h >> 28 == 14 || h == 0xffffffff;
	}
	__u32 top = bpf_ntohl(a[0]);

	return (!a[0] && !a[1] && !a[2]) || top >> 22 == 0x3fa || top >> 24 == 0xff;
}

static __always_inline bool is_loopback(const __u32 a[4])
{
	return is_mapped(a) ? (bpf_ntohl(a[3]) >> 24) == 127 : !a[0] && !a[1] && !a[2] && a[3] == bpf_htonl(1);
}

static __always_inline bool is_some(const __u32 a[4])
{
	return a[0] | a[1] | a[2] | a[3];
}

static __always_inline __u32 match_prefix(__u32 place, __u32 table, const __u32 a[4])
{
	void *prefixes = bpf_map_lookup_elem(&mls_prefixes, &place);
	struct mls_prefix key = {160, is_mapped(a) ? table : table | MLS_TABLE_V6, {a[0], a[1], a[2], a[3]}};
	__u32 *value = prefixes ? bpf_map_lookup_elem(prefixes, &key) : 0;

	return value ? *value : 0;
}

/* Whether an own address lives in a VRF, and can only be reached and bound from within. */
static __always_inline bool is_vrf(__u32 own)
{
	__u32 index = own - 1;
	struct mls_way *way = own && own != MLS_OWN_MAIN ? bpf_map_lookup_elem(&mls_ways, &index) : 0;

	return way && way->flags & MLS_WAY_VRF;
}

static __always_inline bool is_foreign(__u64 cookie)
{
	__u32 zero = 0;
	struct mls_settings *s = bpf_map_lookup_elem(&mls_settings, &zero);

	if (!s)
		return true;
	if (!s->netns && s->owner == bpf_get_current_pid_tgid() >> 32)
		s->netns = cookie;
	if (s->netns == cookie)
		return false;
	count(MLS_FOREIGN_NETNS);
	return true;
}

/* What our WireGuard child sends: a tunnel must not be led into itself. A mark needs CAP_NET_ADMIN, so no app can pose as it. */
static __always_inline bool is_tunnel(struct bpf_sock *sk)
{
	return (sk->mark & 0xffff0000u) == MLS_TUNNEL_MARK;
}

static __always_inline bool is_exempt(void)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;

	return bpf_map_lookup_elem(&mls_exempt, &pid);
}

/* The active generation and its flags; false without a policy. */
static __always_inline bool read_generation(__u32 *generation, __u32 *place, __u32 *flags)
{
	__u32 zero = 0;
	__u32 *active = bpf_map_lookup_elem(&mls_active, &zero);

	if (!active || !*active)
		return false;
	*generation = *active;
	*place = *generation % MLS_GENERATIONS;
	void *words = bpf_map_lookup_elem(&mls_words, place);
	struct mls_quad *head = words ? quad(words, 0) : 0;

	if (!head)
		return false;
	*flags = head->w[MLS_HEAD_FLAGS];
	return true;
}

/* Whether a group has a way, which may be `MLS_MEMBER_DRAINED`. */
static __always_inline __u32 member_of(struct flow *f, __u32 group, __u32 way)
{
	struct mls_key key = {MLS_KEY_MEMBER, {group, way}};
	void *keys = bpf_map_lookup_elem(&mls_keys, &f->place);

	return keys ? part(keys, &key) : 0;
}

/* The rule for a class, and the group's choice. `counts` is false where only a refusal is of interest. */
static __always_inline struct decision decide(struct flow *f, __u32 class, bool counts)
{
	struct decision d = {LEAVE, NO_WAY};
	void *words = bpf_map_lookup_elem(&mls_words, &f->place);
	struct mls_quad *head = words ? quad(words, 0) : 0, *c = words ? quad(words, class) : 0;

	/* Quad 0 is the head: no class has it. */
	if (!head || !c || !class)
		return d;
	bool is_v6 = !is_mapped(f->addr);
	__u32 rule = find_in_list(f->place, anywhere(c, is_v6), f->protocol, f->port);
	__u32 answer = match_prefix(f->place, c->w[MLS_CLASS_TABLE], f->addr);

	if (answer & MLS_DIRECT)
		answer &= ~MLS_DIRECT;
	else
		answer = answer ? (__u32)find_in_list(f->place, answer, f->protocol, f->port) : MLS_NO_RULE;
	if (answer < rule)
		rule = answer;
	if (rule == MLS_NO_RULE) {
		if (counts)
			count(MLS_UNMATCHED);
		return d;
	}
	struct mls_quad *r = quad(words, head->w[MLS_HEAD_RULES] + rule);

	if (!r)
		return d;
	__u32 action = r->w[MLS_RULE_ACTION], target = r->w[MLS_RULE_TARGET];

	if (action == MLS_ACTION_REJECT) {
		d.verdict = REJECT;
	} else if (action == MLS_ACTION_WAY) {
		d.verdict = GO;
		d.way = target;
	} else if (action == MLS_ACTION_GROUP && counts) {
		/* A socket with an address of an uplink takes that one where it may. */
		__u32 own = is_some(f->from) ? match_prefix(f->place, MLS_TABLE_OWN, f->from) : 0;

		if (f->kept && (f->is_fixed || member_of(f, target, f->kept - 1))) {
			d.way = f->kept - 1;
			counts = f->is_fixed; /* one that goes on is no new flow */
		} else if (own && own != MLS_OWN_MAIN && member_of(f, target, own - 1) == MLS_MEMBER_USABLE) {
			d.way = own - 1;
		} else {
			__u32 mine = f->own_port ? f->own_port : mix(bpf_get_socket_cookie(f->ctx));
			__u32 to = mix(f->addr[3] ^ mix(f->addr[2] ^ mix(f->addr[1] ^ mix(f->addr[0]))));

			d.way = pick(f->place, target + is_v6, mix(to ^ mix(mine ^ (f->port << 16) ^ f->protocol)), to);
		}
		d.verdict = d.way == NO_WAY ? NO_UPLINK : GO;
	}
	void *counters = bpf_map_lookup_elem(&mls_counters, &f->place);
	__u64 *n = counters && counts ? bpf_map_lookup_elem(counters, &rule) : 0;

	if (n)
		__sync_fetch_and_add(n, 1);
	return d;
}

static __always_inline int refuse(int error, __u32 total)
{
	count(total);
	if (can_set_retval)
		bpf_set_retval(-error);
	return REFUSED;
}

/* ---- Binding */

static __always_inline void remember(struct bpf_sock *sk, __u32 way, __u32 why)
{
	__u32 *bound = bpf_sk_storage_get(&mls_bound, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (bound)
		*bound = (way + 1) | why;
}

static __always_inline long bind_device(struct bpf_sock_addr *ctx, const char *device)
{
	return bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTODEVICE, (void *)device, 16);
}

/* What an earlier connect() of the socket was bound to is none of this one's. */
static __always_inline void unbind(struct flow *f)
{
	const char nowhere[16] = {};
	struct bpf_sock *sk = f->ctx->sk;

	if (!f->bound || f->is_by_address || !sk)
		return;
	bind_device(f->ctx, nowhere);
	__u32 *bound = bpf_sk_storage_get(&mls_bound, sk, 0, 0);

	if (bound)
		*bound = 0;
}

static __always_inline long bind_source(struct flow *f, bool is_v6, struct mls_way *way)
{
	bool is_v4 = is_mapped(f->addr);

	if (f->bound || is_some(f->from))
		return 0; /* it has an address already */
	if (is_v4 ? !way->source4 : !is_some(way->source6))
		return -1;
	if (!is_v6) {
		struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = way->source4};

		return bpf_bind(f->ctx, (struct sockaddr *)&a, sizeof(a));
	}
	struct {
		__u16 family;
		__u16 port;
		__u32 flow;
		__u32 addr[4];
		__u32 scope;
	} a = {AF_INET6, 0, 0, {0, 0, MAPPED, way->source4}, 0};

	if (!is_v4)
		__builtin_memcpy(a.addr, way->source6, sizeof(a.addr));
	return bpf_bind(f->ctx, (struct sockaddr *)&a, sizeof(a));
}

/* Bind a socket that connects. Returns whether it may go on. */
static __always_inline bool bind_to(struct flow *f, bool is_v6, __u32 index)
{
	struct mls_way *way = bpf_map_lookup_elem(&mls_ways, &index);
	struct mls_way_count *n = bpf_map_lookup_elem(&mls_way_counts, &index);
	struct bpf_sock *sk = f->ctx->sk;

	if (!way || !n || !sk)
		return true;
	if (way->flags & MLS_WAY_DEVICE ? bind_device(f->ctx, way->device) : bind_source(f, is_v6, way)) {
		__sync_fetch_and_add(&n->failed, 1);
		return !(f->flags & MLS_IS_STRICT);
	}
	__sync_fetch_and_add(&n->bound, 1);
	remember(sk, index, f->is_by_address ? BY_ADDRESS : 0);
	return true;
}

#endif
