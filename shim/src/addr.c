/* SPDX-License-Identifier: MIT */
/*
 * addr.c - socket addresses as Linux checks, converts and returns them
 */
#include "shim.h"

#include <errno.h>

#define SIN6_LEN_RFC2133 24 /* Linux still takes a sockaddr_in6 without sin6_scope_id */

long addr_to_user(const void *src, uint32_t n, struct sockaddr *addr, socklen_t *len)
{
	socklen_t room = *len;

	if ((int)room < 0)
		return -EINVAL;
	if (room > n)
		room = n;
	if (!mem_writable(addr, room))
		return -EFAULT;
	mls_copy(addr, src, room);
	*len = n;
	return 0;
}

long addr_check(int family, char kind, const struct sockaddr *addr, socklen_t len)
{
	if (len > sizeof(struct sockaddr_storage) || len < sizeof(sa_family_t))
		return -EINVAL;
	if (family == AF_INET) {
		if (len < sizeof(struct sockaddr_in))
			return -EINVAL;
		/* A zeroed family means AF_INET to datagram sockets, as old programs expect. */
		if (addr->sa_family != AF_INET && (addr->sa_family != AF_UNSPEC || kind == 'S'))
			return -EAFNOSUPPORT;
		return 0;
	}
	if (addr->sa_family == AF_INET && kind == 'D')
		return len < sizeof(struct sockaddr_in) ? -EINVAL : 0;
	if (addr->sa_family != AF_INET6)
		return len < SIN6_LEN_RFC2133 ? -EINVAL : -EAFNOSUPPORT;
	return len < SIN6_LEN_RFC2133 ? -EINVAL : 0;
}

uint32_t addr_native(int family, const struct sockaddr *addr, socklen_t len, uint8_t *out)
{
	const struct sockaddr_in *in = (const void *)addr;
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

	if (family == AF_INET) {
		struct sockaddr_in plain = {.sin_family = AF_INET, .sin_port = in->sin_port, .sin_addr = in->sin_addr};

		mls_copy(out, &plain, sizeof(plain));
		return sizeof(plain);
	}
	if (addr->sa_family == AF_INET) {
		in6.sin6_port = in->sin_port;
		in6.sin6_addr.s6_addr[10] = in6.sin6_addr.s6_addr[11] = 0xff;
		mls_copy(&in6.sin6_addr.s6_addr[12], &in->sin_addr, 4);
	} else {
		mls_copy(&in6, addr, len < sizeof(in6) ? SIN6_LEN_RFC2133 : sizeof(in6));
	}
	mls_copy(out, &in6, sizeof(in6));
	return sizeof(in6);
}
