/* SPDX-License-Identifier: MIT */
/*
 * ifaddr.c - the interfaces an application sees are the router's: getifaddrs(), if_nametoindex() and relatives
 */
#include "shim.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/mman.h>

#define LIST_ROOM (MLS_PAYLOAD_MAX / sizeof(struct mls_ifaddr) * sizeof(struct mls_ifaddr))

/* struct sockaddr_ll, for the entry of the link itself */
struct link_addr {
	uint16_t family, protocol;
	int32_t index;
	uint16_t type;
	uint8_t packet, len, mac[8];
};

long interfaces_ask(struct mls_ifaddr *out, size_t room)
{
	struct chan_call c;
	long r;

	chan_init(&c, MLS_IFADDRS, NULL);
	c.room = out;
	c.room_len = room;
	r = chan_do(&c);
	return r < 0 ? r : (long)(c.got_len / sizeof(*out));
}

/* One mapping: the answer, then for each entry what the application gets. */
struct given {
	struct ifaddrs entry;
	struct sockaddr_in6 destination;
	struct link_addr link;
};

struct listing {
	size_t length;
	struct given given[];
};

static void *peer_of(struct given *g, struct mls_ifaddr *a)
{
	const struct sockaddr_in *mask = (void *)a->netmask;
	struct sockaddr_in *in = (void *)a->addr, *out = (void *)&g->destination;

	if (a->family != AF_INET || !(a->flags & IFF_BROADCAST))
		return NULL;
	*out = *in;
	out->sin_addr.s_addr |= ~mask->sin_addr.s_addr;
	return out;
}

EXPORT int getifaddrs(struct ifaddrs **res)
{
	struct mls_ifaddr *answer = map_block(LIST_ROOM);
	struct listing *all;
	size_t length;
	long n;

	if (answer == NULL)
		return (int)sys_result(-ENOMEM);
	n = interfaces_ask(answer, LIST_ROOM);
	if (n <= 0) {
		sys(munmap, answer, LIST_ROOM);
		*res = NULL;
		return (int)sys_result(n);
	}
	length = sizeof(*all) + (size_t)n * (sizeof(all->given[0]) + sizeof(*answer));
	all = map_block(length);
	if (all) {
		struct mls_ifaddr *own = (struct mls_ifaddr *)(all->given + n);

		all->length = length;
		mls_copy(own, answer, (size_t)n * sizeof(*own));
		for (long i = 0; i < n; i++) {
			struct given *g = &all->given[i];
			struct mls_ifaddr *a = &own[i];
			int is_link = a->family == AF_PACKET;

			g->link = (struct link_addr){.family = AF_PACKET, .index = (int)a->ifindex, .type = 0xfffe};
			g->entry = (struct ifaddrs){
			    .ifa_next = i + 1 < n ? &all->given[i + 1].entry : NULL,
			    .ifa_name = a->name,
			    .ifa_flags = a->flags,
			    .ifa_addr = is_link ? (void *)&g->link : (void *)a->addr,
			    .ifa_netmask = is_link ? NULL : (void *)a->netmask,
			};
			g->entry.ifa_ifu.ifu_dstaddr = is_link ? NULL : peer_of(g, a);
		}
		*res = &all->given[0].entry;
	}
	sys(munmap, answer, LIST_ROOM);
	return (int)sys_result(all ? 0 : -ENOMEM);
}

EXPORT void freeifaddrs(struct ifaddrs *list)
{
	struct listing *all;

	if (list == NULL)
		return;
	all = (struct listing *)((char *)list - offsetof(struct listing, given));
	sys(munmap, all, all->length);
}

/* Looks for one interface by name or, with name NULL, by number. 1 = found. */
static long find(const char *name, unsigned int index, struct mls_ifaddr *found)
{
	struct mls_ifaddr *answer = map_block(LIST_ROOM);
	long n, r = 0;

	if (answer == NULL)
		return -ENOMEM;
	n = interfaces_ask(answer, LIST_ROOM);
	if (n < 0)
		r = n;
	for (long i = 0; i < n && r == 0; i++) {
		size_t len = mls_len(answer[i].name) + 1;

		if (name ? mls_len(name) + 1 == len && mls_same(name, answer[i].name, len)
			 : answer[i].ifindex == index) {
			*found = answer[i];
			r = 1;
		}
	}
	sys(munmap, answer, LIST_ROOM);
	return r;
}

EXPORT unsigned int if_nametoindex(const char *name)
{
	struct mls_ifaddr a;
	long r = find(name, 0, &a);

	if (r == 1)
		return a.ifindex;
	sys_result(r < 0 ? r : -ENODEV);
	return 0;
}

EXPORT char *if_indextoname(unsigned int index, char name[IF_NAMESIZE])
{
	struct mls_ifaddr a;
	long r = find(NULL, index, &a);

	if (r == 1)
		return mls_copy(name, a.name, sizeof(a.name));
	sys_result(r < 0 ? r : -ENXIO);
	return NULL;
}

/* struct if_nameindex[] ends with a zero index; the names follow it. The length is kept before it. */
struct names {
	size_t length;
	struct if_nameindex entry[];
};

EXPORT struct if_nameindex *if_nameindex(void)
{
	struct mls_ifaddr *answer = map_block(LIST_ROOM);
	struct names *all = NULL;
	char(*text)[16];
	size_t length, count = 0;
	long n = answer ? interfaces_ask(answer, LIST_ROOM) : -ENOMEM;

	if (n >= 0) {
		length = sizeof(*all) + (size_t)(n + 1) * sizeof(all->entry[0]) + (size_t)n * 16;
		all = map_block(length);
	}
	if (all) {
		all->length = length;
		text = (void *)(all->entry + n + 1);
		for (long i = 0; i < n; i++) {
			size_t k = 0;

			while (k < count && all->entry[k].if_index != answer[i].ifindex)
				k++;
			if (k < count)
				continue;
			mls_copy(text[count], answer[i].name, 16);
			all->entry[count++] = (struct if_nameindex){answer[i].ifindex, text[k]};
		}
	}
	if (answer)
		sys(munmap, answer, LIST_ROOM);
	if (all)
		return all->entry;
	sys_result(n < 0 ? n : -ENOMEM);
	return NULL;
}

EXPORT void if_freenameindex(struct if_nameindex *list)
{
	struct names *all;

	if (list == NULL)
		return;
	all = (struct names *)((char *)list - offsetof(struct names, entry));
	sys(munmap, all, all->length);
}

/* ioctl(SIOCGIFCONF): the IPv4 addresses, as many as fit; with no buffer, the room they need. */
long ifconf_fill(void *arg)
{
	struct ifconf conf;
	struct mls_ifaddr *answer;
	int used = 0;
	long n;

	if (!mem_readable(arg, sizeof(conf)))
		return -EFAULT;
	mls_copy(&conf, arg, sizeof(conf));
	answer = map_block(LIST_ROOM);
	if (answer == NULL)
		return -ENOMEM;
	n = interfaces_ask(answer, LIST_ROOM);
	for (long i = 0; i < n; i++) {
		struct ifreq req;

		if (answer[i].family != AF_INET)
			continue;
		mls_zero(&req, sizeof(req));
		mls_copy(req.ifr_name, answer[i].name, sizeof(answer[i].name));
		mls_copy(&req.ifr_addr, answer[i].addr, sizeof(struct sockaddr_in));
		if (conf.ifc_buf) {
			if (used + (int)sizeof(req) > conf.ifc_len)
				break;
			if (!mem_writable(conf.ifc_buf + used, sizeof(req))) {
				n = -EFAULT;
				break;
			}
			mls_copy(conf.ifc_buf + used, &req, sizeof(req));
		}
		used += (int)sizeof(req);
	}
	sys(munmap, answer, LIST_ROOM);
	if (n < 0)
		return n;
	conf.ifc_len = used;
	mls_copy(arg, &conf, sizeof(conf));
	return 0;
}
