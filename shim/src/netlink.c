/* SPDX-License-Identifier: MIT */
/*
 * netlink.c - the privileges a routing daemon asks for
 *
 * Only in a program that was started as a routing daemon (MLSHIM_ROUTING=1, `mlshim run --routing-daemon`). Such a daemon
 * believes that it fills the kernel's tables; its routes reach us another way (FPM, BGP), and the kernel would refuse. So
 * on an rtnetlink socket each request that changes links, addresses, routes, neighbours, rules or next hops is sent as
 * NLMSG_NOOP with the flags and the sequence number it had: the kernel acknowledges a control message and does nothing.
 * Questions (RTM_GET*) and everything else go through as they are. The application's memory is never written.
 *
 * Fails closed: what is not understood, such as a message in two pieces, goes to the kernel unchanged, which refuses it.
 */
#include "shim.h"

#include <errno.h>

#include "netlink.h"

#define OPT_PROTOCOL 38
#define OPT_DOMAIN   39

/* Messages given to the kernel at a time; the copies of their headers are on the stack. */
#define CHUNK 128

static int option(int fd, int name)
{
	int v = -1;
	socklen_t len = sizeof(v);

	return sys(getsockopt, fd, SOL_SOCKET, name, &v, &len) < 0 ? -1 : v;
}

int netlink_is_route(int fd)
{
	return env_is_routing() && option(fd, OPT_DOMAIN) == AF_NETLINK && option(fd, OPT_PROTOCOL) == NETLINK_ROUTE;
}

/* Does the kernel ask for CAP_NET_ADMIN here? Types come in fours: new, delete, get, set. */
static int is_change(const struct nlmsghdr *h)
{
	if (!(h->flags & NLM_F_REQUEST) || (h->type & 3) == 2)
		return 0;
	switch (h->type & ~3) {
	case RTM_NEWLINK:
	case RTM_NEWADDR:
	case RTM_NEWROUTE:
	case RTM_NEWNEIGH:
	case RTM_NEWRULE:
	case RTM_NEWNEXTHOP:
		return 1;
	}
	return 0;
}

/* The message at `at` of an iovec, copied to *h, and how many octets it takes; 0 = none, or not whole. */
static size_t message_at(const struct iovec *iov, size_t at, struct nlmsghdr *h)
{
	size_t left = iov->iov_len - at, n;

	if (left < sizeof(*h))
		return 0;
	mls_copy(h, (const char *)iov->iov_base + at, sizeof(*h));
	if (h->len < sizeof(*h) || h->len > left)
		return 0;
	n = ((size_t)h->len + 3) & ~(size_t)3;
	return n < left ? n : left;
}

/* How many changes there are; 0 also where a message is not whole. *total = octets of all messages. */
static size_t count_changes(const struct kmsg *k, size_t *total)
{
	struct nlmsghdr h;
	size_t count = 0, n;

	*total = 0;
	for (size_t i = 0; i < k->iovlen; i++) {
		if (!mem_readable(k->iov[i].iov_base, k->iov[i].iov_len))
			return 0;
		for (size_t at = 0; at < k->iov[i].iov_len; at += n) {
			n = message_at(&k->iov[i], at, &h);
			if (n == 0)
				return 0;
			count += (size_t)is_change(&h);
		}
		*total += k->iov[i].iov_len;
	}
	return count;
}

/* Is it for the kernel? Another process's socket gets what it was sent. */
static int is_for_kernel(const struct kmsg *k)
{
	struct sockaddr_nl to;

	if (k->name == NULL || k->namelen == 0)
		return 1;
	if (k->namelen < (int)sizeof(to) || !mem_readable(k->name, sizeof(to)))
		return 0;
	mls_copy(&to, k->name, sizeof(to));
	return to.family == AF_NETLINK && to.pid == 0 && to.groups == 0;
}

struct batch {
	struct nlmsghdr heads[CHUNK];
	struct iovec iov[CHUNK];
	size_t count;
};

static long send_batch(int fd, const struct kmsg *k, struct batch *b, int flags)
{
	struct kmsg out = *k;
	long r;

	if (b->count == 0)
		return 0;
	out.iov = b->iov;
	out.iovlen = b->count;
	r = sys(sendmsg, fd, &out, flags);
	b->count = 0;
	return r;
}

long netlink_send(int fd, const struct kmsg *k, int flags)
{
	struct kmsg plain = *k;
	struct batch b;
	size_t total, n;
	long r;

	if (k->iovlen > 1024 || !mem_readable(k->iov, k->iovlen * sizeof(*k->iov)) || !is_for_kernel(k) ||
	    count_changes(k, &total) == 0)
		return sys(sendmsg, fd, &plain, flags);
	b.count = 0;
	for (size_t i = 0; i < k->iovlen; i++)
		for (size_t at = 0; at < k->iov[i].iov_len; at += n) {
			struct nlmsghdr *h = &b.heads[b.count];
			struct iovec *out = &b.iov[b.count++];

			n = message_at(&k->iov[i], at, h);
			/* Another thread changed it since it was counted: nothing more is sent. */
			if (n == 0)
				return -EINVAL;
			out->iov_base = (char *)k->iov[i].iov_base + at;
			out->iov_len = n;
			if (is_change(h)) {
				h->type = NLMSG_NOOP;
				h->len = sizeof(*h);
				out->iov_base = h;
				out->iov_len = sizeof(*h);
			}
			if (b.count < CHUNK)
				continue;
			r = send_batch(fd, k, &b, flags);
			if (r < 0)
				return r;
		}
	r = send_batch(fd, k, &b, flags);
	return r < 0 ? r : (long)total;
}

/* Options that ask for a privilege; refused ones are granted where that sends no packet another way. */
long netlink_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	const int sndbuf = 7, rcvbuf = 8, priority = 12, sndbufforce = 32, rcvbufforce = 33;
	long r = sys(setsockopt, fd, level, name, value, len);

	if (likely(r != -EPERM) || level != SOL_SOCKET || !env_is_routing())
		return r;
	if (name == sndbufforce || name == rcvbufforce) /* as much as an ordinary user may have */
		return sys(setsockopt, fd, level, name == sndbufforce ? sndbuf : rcvbuf, value, len);
	return name == priority ? 0 : r;
}

/* A daemon that cannot raise its capabilities ends at once; it needs none for what is left for it to do. */
long mls_capset(void *header, const void *data)
{
	long r = sys(capset, header, data);

	return r == -EPERM && env_is_routing() ? 0 : r;
}

EXPORT int capset(void *header, const void *data)
{
	return (int)sys_result(mls_capset(header, data));
}
