/*
 * The tables of policy as the programs read them and the daemon writes them: twin of router/kernel/layout.ts (a test
 * compiles a C program that prints offsets and compares). Any change of this file is another MLS_SCHEMA.
 *
 * A policy is a *generation*: four inner maps, put into the place `generation % MLS_GENERATIONS` of the outer maps, and made
 * active by one write. Addresses are four words in network order, IPv4 as ::ffff:a.b.c.d; all else is in host order.
 */
#ifndef MLSHIM_POLICY_H
#define MLSHIM_POLICY_H

#include <linux/types.h>

#define MLS_SCHEMA	2
#define MLS_GENERATIONS 4
#define MLS_WAYS	256 /* ways a socket can be sent: uplinks, and devices of VRFs */
#define MLS_RESOLVERS	3   /* per way and family */
#define MLS_RING	512 /* most turns of a balancer */
#define MLS_MEMBERS	32  /* most members of a least_loaded group */
#define MLS_NO_RULE	0x7fffffff
#define MLS_TUNNEL_MARK 0x6d6c0000u   /* upper half of the mark of our tunnels' own packets */
#define MLS_BEAT_NS	3000000000ull /* a forwarder that was silent for longer is not asked */

/* ---- One generation */

/* `words`: an array of quads. The head is quad 0; lists are those of router/uplink/port-table.ts, from word `lists` on. */
struct mls_quad {
	__u32 w[4];
};

enum mls_head { MLS_HEAD_FLAGS, MLS_HEAD_CLASS, MLS_HEAD_LISTS, MLS_HEAD_RULES };

enum mls_flag {
	MLS_HAS_CGROUPS = 1,
	MLS_HAS_USERS = 2,
	MLS_HAS_PROCESSES = 4,
	MLS_HAS_NAMES = 8, /* of programs, for processes nobody told about yet */
	MLS_HAS_SOURCES = 16,
	MLS_IS_STRICT = 32,
};

/* A class of processes: a quad at the index that `keys` gives. */
enum mls_class { MLS_CLASS_TABLE, MLS_CLASS_ANYWHERE, MLS_CLASS_FORWARDER, MLS_CLASS_ANYWHERE6 };

/* A rule: quad `rules` + its index. */
enum mls_rule { MLS_RULE_ACTION, MLS_RULE_TARGET, MLS_RULE_FLAGS };
enum mls_action {
	MLS_ACTION_GROUP, /* target: index of the group's quad for IPv4 flows; the next one is that for IPv6 */
	MLS_ACTION_WAY,	  /* target: a way */
	MLS_ACTION_MAIN,  /* by the main table */
	MLS_ACTION_REJECT,
};
enum mls_rule_flag { MLS_RULE_FOR_PING = 1 /* sockets may be bound before their destination is known */ };

/* A group; `ring` is a word's index, `turn` one of `counters`. */
enum mls_group { MLS_GROUP_BALANCE, MLS_GROUP_RING, MLS_GROUP_LENGTH, MLS_GROUP_TURN };
enum mls_balance { MLS_ROUND_ROBIN, MLS_RANDOM, MLS_HASH, MLS_STICKY, MLS_LEAST_LOADED, MLS_FAILOVER };

/* `keys`: what is known of a process -> its part of the class; all parts -> the class; way of a group -> mls_member. */
enum mls_member { MLS_MEMBER_USABLE = 1, MLS_MEMBER_DRAINED /* for what it has, not for new flows */ };
enum mls_kind { MLS_KEY_CGROUP = 1, MLS_KEY_USER, MLS_KEY_PROCESS, MLS_KEY_NAME, MLS_KEY_CLASS, MLS_KEY_MEMBER };

struct mls_key {
	__u32 kind;
	__u32 w[4];
};

/* `prefixes`: longest match within a table. The tables of classes give what router/uplink/tables.ts gives. */
struct mls_prefix {
	__u32 bits; /* 32 + those of the address */
	__u32 table;
	__u32 addr[4];
};

#define MLS_TABLE_V6	  0x40000000u /* added to a table: ::/0 must not match mapped addresses */
#define MLS_TABLE_SOURCES 0xbfffffffu /* -> part of the class */
#define MLS_TABLE_OWN	  0xbffffffeu /* addresses of this host -> MLS_OWN_MAIN, or 1 + the way in whose VRF it lives */
#define MLS_OWN_MAIN	  0xffffu
#define MLS_DIRECT	  (1u << 22) /* an answer that is a rule itself */

/* ---- What outlives generations */

struct mls_settings {
	__u64 netns; /* cookie of the network namespace the policy is for; 0 = not known yet */
	__u32 owner; /* process id of the daemon: its next connect tells the cookie where user space cannot ask */
	__u32 unused;
};

enum mls_way_flag { MLS_WAY_DEVICE = 1, MLS_WAY_VRF = 2 };

struct mls_way {
	char device[16];
	__u32 flags;
	__u32 ifindex;
	__u32 source4; /* 0 = none */
	__u32 resolvers4;
	__u32 dns4[MLS_RESOLVERS];
	__u32 resolvers6;
	__u32 source6[4];
	__u32 dns6[MLS_RESOLVERS][4];
};

/* For least_loaded: parts of its capacity, in units of 2^-32. */
struct mls_load {
	__u64 used;    /* measured */
	__u64 share;   /* what a flow is taken to need before it is measured */
	__u64 fresh;   /* flows since then */
	__u32 carries; /* what was sent here gets through */
	__u32 unused;
};

struct mls_way_count {
	__u64 bound;
	__u64 failed;
	__u64 dns;
};

enum mls_total {
	MLS_UNMATCHED,
	MLS_REJECTED,
	MLS_NO_UPLINK,
	MLS_STRICT_REFUSED,
	MLS_FOREIGN_NETNS,
	MLS_FORWARDED, /* queries sent to the forwarder */
	MLS_TOTALS,
};

/* A socket and an address it talks to. */
struct mls_flow_key {
	__u64 cookie;
	__u32 addr[4];
	__u32 port;
	__u32 unused;
};

struct mls_flow {
	__u32 generation;
	__u32 way;
};

/* The address and port that an app meant when its query went elsewhere. */
struct mls_origin {
	__u32 addr[4];
	__u32 port;
};

#endif
