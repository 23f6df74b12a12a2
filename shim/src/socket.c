/* SPDX-License-Identifier: MIT */
/*
 * socket.c - creation, names and shutdown of a socket
 *
 * Verdicts: AF_INET and AF_INET6 go to the router (or fail: nothing leaks), every other family to the kernel.
 * Not hooked because the pair does it natively: close, dup*, fcntl, poll, select, epoll_*, socketpair, sockatmark, isfdtype.
 */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>

#ifndef SOCK_PACKET
#define SOCK_PACKET 10
#endif
#define SOCK_TYPES 11 /* Linux SOCK_MAX */

/* What inet_create() says before any protocol is asked. */
static long check_type(int domain, int type, int protocol)
{
	int kind = type & 0xf;

	if (type & ~(0xf | SOCK_CLOEXEC | SOCK_NONBLOCK) || kind >= SOCK_TYPES || kind == 0)
		return -EINVAL;
	if (protocol < 0 || protocol >= 263) /* IPPROTO_MAX */
		return -EINVAL;
	switch (kind) {
	case SOCK_STREAM:
		return protocol == 0 || protocol == IPPROTO_TCP ? 0 : -EPROTONOSUPPORT;
	case SOCK_DGRAM:
		if (protocol == 0 || protocol == IPPROTO_UDP)
			return 0;
		return protocol == (domain == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6) ? 0 : -EPROTONOSUPPORT;
	case SOCK_RAW:
		return protocol == 0 || protocol > 255 ? -EPROTONOSUPPORT : 0;
	default:
		return -ESOCKTNOSUPPORT;
	}
}

long mls_socket(int domain, int type, int protocol)
{
	struct chan_call c;
	struct mls_id id;
	uint64_t mark;
	long r;

	if (domain != AF_INET && domain != AF_INET6)
		return sys(socket, domain, type, protocol);
	r = check_type(domain, type, protocol);
	if (r < 0)
		return r;
	chan_init(&c, MLS_SOCKET, NULL);
	c.req.arg[0] = domain;
	c.req.arg[1] = type;
	c.req.arg[2] = protocol;
	c.want_fd = 1;
	c.cloexec = (type & SOCK_CLOEXEC) != 0;
	r = chan_do(&c);
	if (r == -ENETDOWN && env_fail_open())
		return sys(socket, domain, type, protocol);
	if (r < 0)
		return r;
	/* Without the mark the calls of every packet would not know it: then better no socket. */
	mark = ident_of(c.got_fd, &id) ? mark_new(&id) : 0;
	if (mark == 0 || mark_set(c.got_fd, mark) < 0) {
		sys(close, c.got_fd);
		return -ENETDOWN;
	}
	if (type & SOCK_NONBLOCK)
		sys(fcntl, c.got_fd, F_SETFL, O_RDWR | O_NONBLOCK);
	return c.got_fd;
}

static long bind_ours(int fd, const struct mls_id *id, const struct sockaddr *addr, socklen_t len)
{
	uint64_t mark = mark_of(fd);
	uint8_t native[28];
	struct mls_opt opts[64];
	struct chan_call c;
	long r;

	if (len > sizeof(struct sockaddr_storage))
		return -EINVAL;
	if (!mem_readable(addr, len))
		return -EFAULT;
	/* bind() reads AF_UNSPEC as AF_INET only for INADDR_ANY; and it never takes the other family. */
	if (id->family == AF_INET) {
		const struct sockaddr_in *in = (const void *)addr;

		if (len < sizeof(*in))
			return -EINVAL;
		if (in->sin_family != AF_INET && (in->sin_family != AF_UNSPEC || in->sin_addr.s_addr != 0))
			return -EAFNOSUPPORT;
	} else {
		if (len < 24)
			return -EINVAL;
		if (addr->sa_family != AF_INET6)
			return -EAFNOSUPPORT;
	}
	if (mark_is_stream(mark) && (mark & MARK_STATE) != STATE_FRESH)
		return -EINVAL;
	chan_init(&c, MLS_BIND, id);
	c.req.addr_len = (uint16_t)addr_native(id->family, addr, len, native);
	c.addr = native;
	c.room = opts;
	c.room_len = sizeof(opts);
	c.may_fd = 1;
	c.cloexec = 1;
	r = chan_do(&c);
	if (r == MLS_LANE_DIRECT) {
		r = lane_to_kernel(fd, id, &c);
		return r < 0 ? r : sys(bind, fd, addr, len);
	}
	if (r == 0 && mark_is_dgram(mark))
		mark_set(fd, mark | MARK_LANED);
	return r;
}

long mls_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct mls_id id;

	if (!ident_of(fd, &id))
		return sys(bind, fd, addr, len);
	return bind_ours(fd, &id, addr, len);
}

/* getsockname() and getpeername(), by `op`. */
long mls_getname(int fd, int op, struct sockaddr *addr, socklen_t *len)
{
	struct chan_call c;
	struct mls_id id;
	uint64_t mark;
	long r;

	if (!ident_of(fd, &id))
		return op == MLS_GETSOCKNAME ? sys(getsockname, fd, addr, len) : sys(getpeername, fd, addr, len);
	mark = mark_of(fd);
	if (op == MLS_GETPEERNAME && mark_is_stream(mark) && (mark & MARK_STATE) != STATE_CONNECTED &&
	    !gate_is_open(fd))
		return -ENOTCONN;
	if (!mem_readable(len, sizeof(*len)))
		return -EFAULT;
	if ((int)*len < 0)
		return -EINVAL;
	chan_init(&c, op, &id);
	r = chan_do(&c);
	if (r < 0)
		return r;
	return addr_to_user(c.rep.addr, c.rep.addr_len <= sizeof(c.rep.addr) ? c.rep.addr_len : 0, addr, len);
}

/*
 * The native shutdown is what the router acts on, in order with the data: it sees EOF after the last octet (WR), EPIPE
 * on its writes (RD). Only where there is more to do than to close a direction, or an answer to get, is it asked.
 */
long mls_shutdown(int fd, int how)
{
	uint64_t mark = mark_of(fd);
	struct chan_call c;
	struct mls_id id;
	long r;

	if (mark == 0 || !ident_of(fd, &id))
		return sys(shutdown, fd, how);
	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	if (mark_is_stream(mark)) {
		if ((mark & MARK_STATE) == STATE_FRESH || (mark & MARK_STATE) == STATE_FAILED)
			return -ENOTCONN;
		if ((mark & MARK_STATE) != STATE_LISTEN)
			return sys(shutdown, fd, how);
		if (how == SHUT_WR)
			return 0;
	}
	chan_init(&c, MLS_SHUTDOWN, &id);
	c.req.arg[0] = how;
	r = chan_do(&c);
	/* An unconnected datagram socket says ENOTCONN and wakes its readers all the same, as Linux does. */
	if (r == 0 || r == -ENOTCONN)
		sys(shutdown, fd, how);
	return r;
}

EXPORT int socket(int domain, int type, int protocol)
{
	return (int)sys_result(mls_socket(domain, type, protocol));
}

EXPORT int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	return (int)sys_result(mls_bind(fd, addr, len));
}

EXPORT int getsockname(int fd, struct sockaddr *restrict addr, socklen_t *restrict len)
{
	return (int)sys_result(mls_getname(fd, MLS_GETSOCKNAME, addr, len));
}

EXPORT int getpeername(int fd, struct sockaddr *restrict addr, socklen_t *restrict len)
{
	return (int)sys_result(mls_getname(fd, MLS_GETPEERNAME, addr, len));
}

EXPORT int shutdown(int fd, int how)
{
	return (int)sys_result(mls_shutdown(fd, how));
}

/**
 * bindresvport() - Bind to a free port from 600 to 1023, the search starting at a place that depends on the process
 * Return: 0, or -1 with errno as bind(2)
 */
EXPORT int bindresvport(int fd, struct sockaddr_in *addr)
{
	struct sockaddr_in any = {.sin_family = AF_INET};
	const int lowest = 600, count = 1024 - 600;
	long first = sys(getpid) % count, r = -EADDRINUSE;

	if (addr == NULL)
		addr = &any;
	else if (addr->sin_family != AF_INET)
		return (int)sys_result(-EAFNOSUPPORT);
	for (int i = 0; i < count && r == -EADDRINUSE; i++) {
		addr->sin_port = htons((uint16_t)(lowest + (first + i) % count));
		r = mls_bind(fd, (struct sockaddr *)addr, sizeof(*addr));
	}
	return (int)sys_result(r);
}

ALIAS(socket) int __socket(int domain, int type, int protocol);
