/* SPDX-License-Identifier: MIT */
/* Which way of a group a new flow takes: rings that router/kernel/rings.ts made of weights, without ways that cannot be used. */
#ifndef MLSHIM_BALANCE_H
#define MLSHIM_BALANCE_H

#include "maps.h"

/* mix32 of router/fib/hash.ts */
static __always_inline __u32 mix(__u32 h)
{
	h = (h ^ (h >> 16)) * 0x7feb352d;
	h = (h ^ (h >> 15)) * 0x846ca68b;
	return h ^ (h >> 16);
}

static __always_inline __u32 least_loaded(void *words, __u32 ring, __u32 length)
{
	__u64 best = ~0ull;
	__u32 chosen = NO_WAY;

	for (__u32 i = 0; i < MLS_MEMBERS; i++) {
		if (i >= length)
			break;
		__u32 way = word(words, ring + i);
		struct mls_load *load = bpf_map_lookup_elem(&mls_loads, &way);

		if (!load)
			continue;
		__u64 score = load->used + (load->fresh + 1) * load->share;

		if (score < best) {
			best = score;
			chosen = way;
		}
	}
	return chosen;
}

static __always_inline __u64 next_turn(__u32 place, __u32 turn)
{
	void *counters = bpf_map_lookup_elem(&mls_counters, &place);
	__u64 *n = counters ? bpf_map_lookup_elem(counters, &turn) : 0;

	if (!n)
		return 0;
#ifdef MLS_OLD
	__u64 before = *n;

	__sync_fetch_and_add(n, 1);
	return before;
#else
	return __sync_fetch_and_add(n, 1);
#endif
}

/* Which way of a group a new flow takes; NO_WAY when none can be used. */
__noinline int pick(__u32 place, __u32 group, __u32 flow_hash, __u32 target_hash)
{
	void *words = bpf_map_lookup_elem(&mls_words, &place);
	struct mls_quad *g;
	__u32 way, turn = 0;

	if (!words)
		return NO_WAY;
	g = quad(words, group);
	if (!g)
		return NO_WAY;
	__u32 balance = g->w[MLS_GROUP_BALANCE], ring = g->w[MLS_GROUP_RING], length = g->w[MLS_GROUP_LENGTH];

	if (!length)
		return NO_WAY;
	if (balance == MLS_LEAST_LOADED) {
		way = least_loaded(words, ring, length);
	} else {
		if (balance == MLS_ROUND_ROBIN)
			turn = next_turn(place, g->w[MLS_GROUP_TURN]) % length;
		else if (balance == MLS_RANDOM)
			turn = bpf_get_prandom_u32() % length;
		else if (balance == MLS_HASH)
			turn = flow_hash % length;
		else if (balance == MLS_STICKY)
			turn = target_hash % length;
		way = word(words, ring + turn);
	}
	struct mls_load *load = bpf_map_lookup_elem(&mls_loads, &way);

	if (load)
		__sync_fetch_and_add(&load->fresh, 1);
	return way;
}

#endif
