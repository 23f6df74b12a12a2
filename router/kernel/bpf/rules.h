/* SPDX-License-Identifier: MIT */
/* The class of a process and the first rule that matches: what router/uplink/port-table.ts and tables.ts do, from the maps. */
#ifndef MLSHIM_RULES_H
#define MLSHIM_RULES_H

#include "maps.h"

#define CGROUP_LEVELS 24 /* deepest nesting that is looked through */
#define SHORT_LIST    12 /* SHORT of port-table.ts */
#define PAGED	      0xffffffffu
#define PAGE	      0x80000000u

/* PortTables.find. A function of its own, global and of numbers only, so that it is verified once. */
__noinline int find_in_list(__u32 place, __u32 list, __u32 protocol, __u32 port)
{
	void *words = bpf_map_lookup_elem(&mls_words, &place);
	__u32 at, count, i;
	struct mls_quad *head;

	if (!words)
		return MLS_NO_RULE;
	head = quad(words, 0);
	if (!head)
		return MLS_NO_RULE;
	__u32 base = head->w[MLS_HEAD_LISTS];

	list += base;
	if (protocol == IPPROTO_ICMP)
		return word(words, list + 4);
	if (protocol == IPPROTO_ICMPV6)
		return word(words, list + 5);
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return word(words, list + 6);
	if (protocol == IPPROTO_UDP)
		list += 2;
	at = word(words, list) + base;
	count = word(words, list + 1);
	if (count == PAGED) {
		__u32 page = word(words, at + (port >> 8));

		if (page & PAGE)
			page = word(words, base + (page & ~PAGE) + (port & 255));
		return page;
	}
	/* Intervals begin at port 0 and ascend: the last that begins at or before the port. */
	__u32 found = 0;

	for (i = 1; i < SHORT_LIST; i++) {
		if (i >= count || word(words, at + i) > port)
			break;
		found = i;
	}
	return word(words, at + count + found);
}

/* The list of rules of a class that name no destination. */
static __always_inline __u32 anywhere(const struct mls_quad *class, bool is_v6)
{
	return is_v6 ? class->w[MLS_CLASS_ANYWHERE6] : class->w[MLS_CLASS_ANYWHERE];
}

static __always_inline __u32 part(void *keys, struct mls_key *key)
{
	__u32 *value = bpf_map_lookup_elem(keys, key);

	return value ? *value : 0;
}

static __always_inline __u32 cgroup_part(void *keys)
{
	__u64 id = bpf_get_current_cgroup_id();
	struct mls_key own = {MLS_KEY_CGROUP, {id, id >> 32}};
	__u32 found = part(keys, &own);

	if (found)
		return found;
	/* Deeper ones come later and say more. */
	for (int level = 0; level < CGROUP_LEVELS; level++) {
		id = bpf_get_current_ancestor_cgroup_id(level);
		if (!id)
			break;
		struct mls_key above = {MLS_KEY_CGROUP, {id, id >> 32}};
		__u32 value = part(keys, &above);

		if (value)
			found = value;
	}
	return found;
}

/* The quad of the current process's class; source is the part of the address a socket is bound to. */
__noinline int class_of(__u32 place, __u32 source)
{
	void *words = bpf_map_lookup_elem(&mls_words, &place);
	void *keys = bpf_map_lookup_elem(&mls_keys, &place);
	__u32 cgroup = 0, user = 0, process = 0;
	struct mls_quad *head;

	if (!words || !keys)
		return 0;
	head = quad(words, 0);
	if (!head)
		return 0;
	__u32 flags = head->w[MLS_HEAD_FLAGS];

	if (!(flags & (MLS_HAS_CGROUPS | MLS_HAS_USERS | MLS_HAS_PROCESSES | MLS_HAS_SOURCES)))
		return head->w[MLS_HEAD_CLASS];
	if (flags & MLS_HAS_CGROUPS)
		cgroup = cgroup_part(keys);
	if (flags & MLS_HAS_USERS) {
		struct mls_key key = {MLS_KEY_USER, {bpf_get_current_uid_gid()}};

		user = part(keys, &key);
	}
	if (flags & MLS_HAS_PROCESSES) {
		struct mls_key key = {MLS_KEY_PROCESS, {bpf_get_current_pid_tgid() >> 32}};
		__u32 *known = bpf_map_lookup_elem(keys, &key);

		if (known) {
			process = *known;
		} else if (flags & MLS_HAS_NAMES) {
			key.kind = MLS_KEY_NAME;
			bpf_get_current_comm(key.w, sizeof(key.w));
			process = part(keys, &key);
		}
	}
	struct mls_key key = {MLS_KEY_CLASS, {cgroup | user << 16, process | source << 16}};

	return part(keys, &key);
}

#endif
