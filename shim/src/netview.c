/* SPDX-License-Identifier: MIT */
/*
 * netview.c - the network a routing daemon sees by rtnetlink: ours
 *
 * Under the shim getifaddrs() and every socket know the router's uplinks, with the router's interface numbers. A routing
 * daemon reads the kernel's rtnetlink instead; in a program started as one (netlink.c) what is received there is edited in
 * place, message by message: links and addresses other than those of lo, and the kernel's routes, neighbours and next hops,
 * are left out; where a dump names lo or an address of it, our links or addresses follow.
 *
 * Nothing is remembered: lo is in each dump once. Limits: a receive into several pieces of memory is not edited, what does
 * not fit into the buffer is left out, and no notification tells that an uplink changed.
 */
#include "shim.h"

#include <errno.h>
#include <net/if.h>
#include <sys/mman.h>

#include "netlink.h"

#define LO	  1
#define LIST_ROOM (MLS_PAYLOAD_MAX / sizeof(struct mls_ifaddr) * sizeof(struct mls_ifaddr))

#define ARPHRD_NONE	0xfffe
#define IFLA_IFNAME	3
#define IFLA_MTU	4
#define IFLA_OPERSTATE	16
#define IFA_ADDRESS	1
#define IFA_LOCAL	2
#define IFA_LABEL	3
#define IFA_F_PERMANENT 0x80
#define OPER_UP		6
#define SCOPE_LINK	253

struct ifinfomsg {
	uint8_t family, pad;
	uint16_t type;
	int32_t index;
	uint32_t flags, change;
};

struct ifaddrmsg {
	uint8_t family, prefixlen, flags, scope;
	uint32_t index;
};

/* A message being written behind what was received. */
struct writer {
	char *at, *end;
	struct nlmsghdr *head;
	int is_full;
};

static void *put(struct writer *w, const void *src, size_t n)
{
	size_t padded = (n + 3) & ~(size_t)3;
	char *at = w->at;

	if (w->is_full || (size_t)(w->end - w->at) < padded) {
		w->is_full = 1;
		return NULL;
	}
	mls_zero(at, padded);
	mls_copy(at, src, n);
	w->at += padded;
	return at;
}

static void put_attr(struct writer *w, int type, const void *value, size_t n)
{
	struct {
		uint16_t len, type;
		char value[IFNAMSIZ];
	} a = {(uint16_t)(4 + n), (uint16_t)type, {0}};

	mls_copy(a.value, value, n);
	put(w, &a, 4 + n);
}

/* Begin a message like `model` (sequence number, flags); end_message() gives it its length, or takes it back. */
static void begin_message(struct writer *w, const struct nlmsghdr *model)
{
	w->head = put(w, model, sizeof(*model));
}

static void end_message(struct writer *w, char *start)
{
	if (w->is_full)
		w->at = start;
	else
		w->head->len = (uint32_t)(w->at - start);
}

static void put_link(struct writer *w, const struct nlmsghdr *model, const struct mls_ifaddr *a)
{
	struct ifinfomsg info = {.type = ARPHRD_NONE, .index = (int32_t)a->ifindex, .flags = a->flags};
	uint8_t state = a->flags & IFF_RUNNING ? OPER_UP : 0;
	char *start = w->at;

	begin_message(w, model);
	put(w, &info, sizeof(info));
	put_attr(w, IFLA_IFNAME, a->name, mls_len(a->name) + 1);
	put_attr(w, IFLA_MTU, &a->mtu, sizeof(a->mtu));
	put_attr(w, IFLA_OPERSTATE, &state, sizeof(state));
	end_message(w, start);
}

static int bits_of(const uint8_t *mask, size_t n)
{
	int bits = 0;

	for (size_t i = 0; i < n * 8 && (mask[i / 8] & (0x80 >> i % 8)); i++)
		bits++;
	return bits;
}

static void put_address(struct writer *w, const struct nlmsghdr *model, const struct mls_ifaddr *a)
{
	size_t at = a->family == AF_INET ? 4 : 8, n = a->family == AF_INET ? 4 : 16;
	const uint8_t *addr = a->addr + at;
	struct ifaddrmsg info = {
	    .family = (uint8_t)a->family,
	    .prefixlen = (uint8_t)bits_of(a->netmask + at, n),
	    .flags = IFA_F_PERMANENT,
	    .index = a->ifindex,
	};
	char *start = w->at;

	if (a->family == AF_INET6 && addr[0] == 0xfe && (addr[1] & 0xc0) == 0x80)
		info.scope = SCOPE_LINK;
	begin_message(w, model);
	put(w, &info, sizeof(info));
	put_attr(w, IFA_ADDRESS, addr, n);
	put_attr(w, IFA_LOCAL, addr, n);
	if (a->family == AF_INET)
		put_attr(w, IFA_LABEL, a->name, mls_len(a->name) + 1);
	end_message(w, start);
}

/* Our links (AF_PACKET) or addresses of a family, as further messages of the dump `model` is of. */
static void put_ours(struct writer *w, const struct nlmsghdr *model, uint32_t family)
{
	struct mls_ifaddr *list = map_block(LIST_ROOM);
	long n = list ? interfaces_ask(list, LIST_ROOM) : 0;

	for (long i = 0; i < n; i++) {
		list[i].name[sizeof(list[i].name) - 1] = 0;
		if (list[i].ifindex == LO || list[i].family != family)
			continue;
		if (family == AF_PACKET)
			put_link(w, model, &list[i]);
		else
			put_address(w, model, &list[i]);
	}
	if (list)
		sys(munmap, list, LIST_ROOM);
}

/* May it be seen? *follows = what is told behind it in a dump: AF_PACKET, AF_INET, AF_INET6, or 0 = nothing. */
static int is_shown(const struct nlmsghdr *h, size_t n, uint32_t *follows)
{
	struct {
		union {
			struct ifinfomsg link;
			struct ifaddrmsg addr;
		};
	} body;
	int kind = h->type & ~3;

	*follows = 0;
	if (kind < RTM_NEWLINK || kind == RTM_NEWRULE)
		return 1;
	mls_zero(&body, sizeof(body));
	mls_copy(&body, h + 1, n - sizeof(*h) < sizeof(body) ? n - sizeof(*h) : sizeof(body));
	if (kind == RTM_NEWLINK ? body.link.index != LO : kind != RTM_NEWADDR || body.addr.index != LO)
		return 0;
	if (h->flags & NLM_F_MULTI)
		*follows = h->type == RTM_NEWLINK ? AF_PACKET : h->type == RTM_NEWADDR ? body.addr.family : 0;
	return 1;
}

/*
 * `got` octets were received into iov: edit them. Returns how many there are now. What is shown moves together; where
 * nothing is left, one NLMSG_NOOP is, since no octets would be an end.
 */
long netview_edit(const struct iovec *iov, long got)
{
	char *start = iov->iov_base, end_mark[64];
	struct writer w = {.end = start + iov->iov_len};
	struct nlmsghdr model[2], hidden = {0};
	uint32_t follows[2], family;
	size_t from = 0, to = 0, asked = 0, left = (size_t)got, n;

	for (; left >= sizeof(struct nlmsghdr); from += n, left -= n) {
		struct nlmsghdr *h = (struct nlmsghdr *)(start + from);

		/* Readers stop at the end mark: ours go in front of it. */
		if (h->len < sizeof(*h) || h->len > left || h->type == NLMSG_DONE)
			break;
		n = ((size_t)h->len + 3) & ~(size_t)3;
		n = n < left ? n : left;
		if (!is_shown(h, h->len, &family)) {
			hidden = *h;
			continue;
		}
		if (family && asked < ARRAY_LEN(follows) && (asked == 0 || follows[0] != family)) {
			model[asked] = *h;
			follows[asked++] = family;
		}
		mls_copy(start + to, h, n);
		to += n;
	}
	if (to == 0 && left == 0) {
		hidden.len = sizeof(hidden);
		hidden.type = NLMSG_NOOP;
		mls_copy(start, &hidden, sizeof(hidden));
		return sizeof(hidden);
	}
	if (asked == 0 || left > sizeof(end_mark) || to % 4 != 0) {
		mls_copy(start + to, start + from, left);
		return (long)(to + left);
	}
	mls_copy(end_mark, start + from, left);
	w.at = start + to;
	w.end -= left;
	for (size_t i = 0; i < asked; i++)
		put_ours(&w, &model[i], follows[i]);
	mls_copy(w.at, end_mark, left);
	return w.at + left - start;
}
