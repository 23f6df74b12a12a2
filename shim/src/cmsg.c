/* SPDX-License-Identifier: MIT */
/*
 * cmsg.c - control messages of datagrams, from and to the fields of struct mls_dgram
 *
 * RFC 3542 for IPv6, ip(7) and udp(7) for the rest.
 */
#include "shim.h"

#include <errno.h>

#define CMSG_HEAD    16	 /* the kernel's struct cmsghdr */
#define OPT_PKTINFO  8	 /* IP_PKTINFO */
#define OPT_PKTINFO6 50	 /* IPV6_PKTINFO */
#define OPT_HOPLIMIT 52	 /* IPV6_HOPLIMIT */
#define OPT_TCLASS   67	 /* IPV6_TCLASS */
#define OPT_STAMP    29	 /* SO_TIMESTAMP_OLD: struct timeval */
#define OPT_STAMPNS  35	 /* SO_TIMESTAMPNS_OLD: struct timespec */
#define OPT_SEGMENT  103 /* UDP_SEGMENT */
#define OPT_GRO	     104 /* UDP_GRO */

struct head {
	uint64_t len; /* musl: the upper half is padding */
	int level, type;
};

static void put_mapped(uint8_t *out, const void *v4)
{
	mls_zero(out, 10);
	out[10] = out[11] = 0xff;
	mls_copy(out + 12, v4, 4);
}

static int is_any(const uint8_t *a, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (a[i])
			return 0;
	return 1;
}

static long one_of_ip(int type, const uint8_t *data, size_t n, struct mls_dgram *d)
{
	int32_t v = 0;

	switch (type) {
	case OPT_PKTINFO:
		if (n < 12)
			return -EINVAL;
		mls_copy(&d->ifindex, data, 4);
		if (d->ifindex)
			d->flags |= MLS_DG_IFINDEX;
		if (!is_any(data + 4, 4)) {
			put_mapped(d->local, data + 4);
			d->flags |= MLS_DG_LOCAL;
		}
		return 0;
	case IP_TTL:
		mls_copy(&v, data, 4);
		if (n < 4 || v < 1 || v > 255)
			return -EINVAL;
		d->ttl = (uint8_t)v;
		d->flags |= MLS_DG_TTL;
		return 0;
	case IP_TOS:
		if (n >= 4)
			mls_copy(&v, data, 4);
		else if (n == 1)
			v = data[0];
		else
			return -EINVAL;
		d->tos = (uint8_t)v;
		d->flags |= MLS_DG_TOS;
		return v < 0 || v > 255 ? -EINVAL : 0;
	default:
		return -EINVAL;
	}
}

static long one_of_ipv6(int type, const uint8_t *data, size_t n, struct mls_dgram *d)
{
	int32_t v;

	if (type == OPT_PKTINFO6) {
		if (n < 20)
			return -EINVAL;
		mls_copy(&d->ifindex, data + 16, 4);
		if (d->ifindex)
			d->flags |= MLS_DG_IFINDEX;
		if (!is_any(data, 16)) {
			mls_copy(d->local, data, 16);
			d->flags |= MLS_DG_LOCAL;
		}
		return 0;
	}
	if (type != OPT_HOPLIMIT && type != OPT_TCLASS)
		return 0; /* extension headers: accepted, without effect */
	if (n < 4)
		return -EINVAL;
	mls_copy(&v, data, 4);
	if (v < -1 || v > 255)
		return -EINVAL;
	if (v == -1) /* "use the default" (RFC 3542) */
		return 0;
	if (type == OPT_HOPLIMIT) {
		d->ttl = (uint8_t)v;
		d->flags |= MLS_DG_TTL;
	} else {
		d->tos = (uint8_t)v;
		d->flags |= MLS_DG_TOS;
	}
	return 0;
}

long cmsg_to_dgram(const struct kmsg *k, int family, struct mls_dgram *d)
{
	const uint8_t *control = k->control;
	struct head h;
	size_t at = 0;

	if (mem_wild(control))
		return -EFAULT;
	while (at + CMSG_HEAD <= k->controllen) {
		const uint8_t *data = control + at + CMSG_HEAD;
		size_t n;
		long r = 0;

		mls_copy(&h, control + at, sizeof(h));
		h.len = (uint32_t)h.len;
		if (h.len < CMSG_HEAD || h.len > k->controllen - at)
			return -EINVAL;
		n = h.len - CMSG_HEAD;
		if (h.level == IPPROTO_IP)
			r = one_of_ip(h.type, data, n, d);
		else if (h.level == IPPROTO_IPV6)
			r = family == AF_INET6 ? one_of_ipv6(h.type, data, n, d) : 0;
		else if (h.level == IPPROTO_UDP && h.type == OPT_SEGMENT && n >= 2)
			mls_copy(&d->gso_size, data, 2);
		if (r < 0)
			return r;
		at += (h.len + 7) & ~7UL;
	}
	return 0;
}

static void put(struct kmsg *k, size_t *used, int level, int type, const void *data, size_t n)
{
	struct head h = {.len = CMSG_HEAD + n, .level = level, .type = type};
	uint8_t *out = (uint8_t *)k->control + *used;
	size_t room = k->controllen - *used;

	if (room < CMSG_HEAD) {
		k->flags |= MSG_CTRUNC;
		return;
	}
	if (h.len > room) {
		k->flags |= MSG_CTRUNC;
		h.len = room;
	}
	mls_copy(out, &h, CMSG_HEAD);
	mls_copy(out + CMSG_HEAD, data, h.len - CMSG_HEAD);
	*used += (h.len + 7) & ~7UL;
	if (*used > k->controllen)
		*used = k->controllen;
}

void cmsg_from_dgram(struct kmsg *k, uint64_t mark, const struct mls_dgram *d)
{
	int64_t stamp[2] = {(int64_t)(d->time_ns / 1000000000), (int64_t)(d->time_ns % 1000000000)};
	int32_t ttl = d->ttl, tclass = d->tos, gso = d->gso_size;
	uint8_t info[20];
	size_t used = 0;

	if ((mark & (MARK_STAMP | MARK_STAMPNS)) && d->time_ns == 0)
		sys(clock_gettime, 0 /* CLOCK_REALTIME */, stamp); /* not known better: now */
	if (mark & MARK_STAMPNS)
		put(k, &used, SOL_SOCKET, OPT_STAMPNS, stamp, sizeof(stamp));
	if (mark & MARK_STAMP) {
		stamp[1] /= 1000;
		put(k, &used, SOL_SOCKET, OPT_STAMP, stamp, sizeof(stamp));
	}
	if ((mark & MARK_GRO) && d->gso_size)
		put(k, &used, IPPROTO_UDP, OPT_GRO, &gso, sizeof(gso));
	if (mark & MARK_PKTINFO) { /* struct in_pktinfo: index, local, destination */
		mls_copy(info, &d->ifindex, 4);
		mls_copy(info + 4, d->local + 12, 4);
		mls_copy(info + 8, d->local + 12, 4);
		put(k, &used, IPPROTO_IP, OPT_PKTINFO, info, 12);
	}
	if (mark & MARK_TTL)
		put(k, &used, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl));
	if (mark & MARK_TOS)
		put(k, &used, IPPROTO_IP, IP_TOS, &d->tos, 1);
	if (mark & MARK_PKTINFO6) { /* struct in6_pktinfo */
		mls_copy(info, d->local, 16);
		mls_copy(info + 16, &d->ifindex, 4);
		put(k, &used, IPPROTO_IPV6, OPT_PKTINFO6, info, 20);
	}
	if (mark & MARK_HOPLIMIT)
		put(k, &used, IPPROTO_IPV6, OPT_HOPLIMIT, &ttl, sizeof(ttl));
	if (mark & MARK_TCLASS)
		put(k, &used, IPPROTO_IPV6, OPT_TCLASS, &tclass, sizeof(tclass));
	k->controllen = used;
}
