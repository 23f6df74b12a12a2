/* SPDX-License-Identifier: MIT */
/* Every map of the programs, and the shortest ways to read them. policy.h says what they hold. */
#ifndef MLSHIM_MAPS_H
#define MLSHIM_MAPS_H

#include <linux/bpf.h>
#include <linux/in.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#include "policy.h"

#define IPPROTO_ICMPV6 58
#define NO_PORT	       0xffffffffu /* of flows without ports */
#define NO_WAY	       0xffffffffu
#define BY_ADDRESS     0x10000u /* because its app bound an address that lives there */

/* Sizes, not types: clang leaves the types of inner maps incomplete. */
struct words {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct mls_quad));
};

struct keys {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct mls_key));
	__uint(value_size, sizeof(__u32));
};

struct prefixes {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(struct mls_prefix));
	__uint(value_size, sizeof(__u32));
};

struct counters {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u64));
};

#define GENERATIONS_OF(kind, name)                                                                                     \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);                                                              \
		__uint(max_entries, MLS_GENERATIONS);                                                                  \
		__type(key, __u32);                                                                                    \
		__array(values, struct kind);                                                                          \
	} name SEC(".maps")

GENERATIONS_OF(words, mls_words);
GENERATIONS_OF(keys, mls_keys);
GENERATIONS_OF(prefixes, mls_prefixes);
GENERATIONS_OF(counters, mls_counters);

#define ARRAY_OF(kind, count, name)                                                                                    \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                                      \
		__uint(max_entries, count);                                                                            \
		__type(key, __u32);                                                                                    \
		__type(value, kind);                                                                                   \
	} name SEC(".maps")

ARRAY_OF(__u32, 1, mls_active); /* the generation; 0 = there is no policy */
ARRAY_OF(__u64, 1, mls_beat);	/* bpf_ktime when the forwarder was alive last */
ARRAY_OF(struct mls_settings, 1, mls_settings);
ARRAY_OF(struct mls_way, MLS_WAYS, mls_ways);
ARRAY_OF(struct mls_load, MLS_WAYS, mls_loads);
ARRAY_OF(struct mls_way_count, MLS_WAYS, mls_way_counts);
ARRAY_OF(__u64, MLS_TOTALS, mls_totals);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u32);
} mls_exempt SEC(".maps"); /* process ids that are never asked about */

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct mls_flow_key);
	__type(value, struct mls_flow);
} mls_flows SEC(".maps"); /* ways of destinations of unconnected UDP sockets */

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct mls_flow_key);
	__type(value, struct mls_origin);
} mls_origins SEC(".maps"); /* by where the query went */

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u32);
} mls_bound SEC(".maps"); /* 1 + the way that these programs bound a socket to, and BY_ADDRESS */

static __always_inline void count(__u32 which)
{
	__u64 *n = bpf_map_lookup_elem(&mls_totals, &which);

	if (n)
		__sync_fetch_and_add(n, 1);
}

static __always_inline struct mls_quad *quad(void *words, __u32 index)
{
	return bpf_map_lookup_elem(words, &index);
}

/* Out of the array reads as 0. */
static __always_inline __u32 word(void *words, __u32 index)
{
	struct mls_quad *q = quad(words, index >> 2);

	return q ? q->w[index & 3] : 0;
}

#endif
