/* SPDX-License-Identifier: MIT */
/*
 * accept.c - listen() and accept()
 *
 * The listening fd is the pair made by socket(): the router writes one struct mls_accept with one descriptor per
 * connection into it. Waiting, O_NONBLOCK, SO_RCVTIMEO, EINTR, epoll and several processes on one listener are the
 * kernel's own; octets that carry a descriptor never merge, so each recvmsg() takes exactly one connection.
 */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>

long mls_listen(int fd, int backlog)
{
	struct chan_call c;
	struct mls_id id;
	uint64_t mark;
	long r;

	if (!ident_of(fd, &id))
		return sys(listen, fd, backlog);
	if (id.kind != 'S')
		return -EOPNOTSUPP;
	mark = mark_of(fd);
	if ((mark & MARK_STATE) != STATE_FRESH && (mark & MARK_STATE) != STATE_LISTEN)
		return -EINVAL;
	chan_init(&c, MLS_LISTEN, &id);
	c.req.arg[0] = backlog;
	c.pass_fd = fd;
	r = chan_do(&c);
	if (r == 0)
		mark_set(fd, (mark & ~MARK_STATE) | STATE_LISTEN);
	return r;
}

/* Would a received descriptor find a place? The kernel would drop it, and with it the connection. */
static long have_room(int fd)
{
	long spare = sys(fcntl, fd, F_DUPFD_CLOEXEC, 0);

	if (spare < 0)
		return spare;
	sys(close, spare);
	return 0;
}

/* End of file on a listener: the application shut it down (EINVAL, as Linux says), or the router is gone. */
static long why_closed(int fd)
{
	struct chan_call c;
	struct mls_id id;

	if (!ident_of(fd, &id))
		return -EINVAL;
	chan_init(&c, MLS_GETSOCKNAME, &id);
	return chan_do(&c) == -ENETDOWN ? -ENETDOWN : -EINVAL;
}

static long take_connection(int fd, struct mls_accept *a, int cloexec)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	struct cmsghdr *h = (struct cmsghdr *)control;
	struct iovec iov = {a, sizeof(*a)};

	for (;;) {
		struct kmsg k = {.iov = &iov, .iovlen = 1, .control = control, .controllen = sizeof(control)};
		long r = sys(recvmsg, fd, &k, cloexec ? MSG_CMSG_CLOEXEC : 0);
		int got;

		if (r < 0)
			return r;
		if (r == 0)
			return why_closed(fd);
		if (k.controllen < CMSG_LEN(sizeof(int)) || h->cmsg_type != SCM_RIGHTS)
			return k.flags & MSG_CTRUNC ? -EMFILE : -ECONNABORTED;
		mls_copy(&got, CMSG_DATA(h), sizeof(got));
		if (r == sizeof(*a) && a->magic == MLS_MAGIC)
			return got;
		sys(close, got);
	}
}

/* A kernel connection on a listener of ours: its peer in the listener's family. */
static long kernel_peer(int fd, int family, struct sockaddr *addr, socklen_t *len)
{
	struct sockaddr_in6 peer;
	socklen_t n = sizeof(peer);
	uint8_t native[28];
	long r = sys(getpeername, fd, &peer, &n);

	if (r < 0)
		return r;
	if (!mem_readable(len, sizeof(*len)))
		return -EFAULT;
	return addr_to_user(native, addr_native(family, (struct sockaddr *)&peer, n, native), addr, len);
}

long mls_accept(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	uint64_t mark = mark_of(fd);
	struct mls_accept a;
	struct mls_id id;
	long got, r = 0;

	if (mark == 0)
		return sys(accept4, fd, addr, len, flags);
	if (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
		return -EINVAL;
	if (!mark_is_stream(mark))
		return -EOPNOTSUPP;
	if ((mark & MARK_STATE) != STATE_LISTEN)
		return -EINVAL;
	r = have_room(fd);
	if (r < 0)
		return r;
	got = take_connection(fd, &a, flags & SOCK_CLOEXEC);
	if (got < 0)
		return got;
	if (a.flags & MLS_ACCEPT_KERNEL) {
		if (addr)
			r = kernel_peer((int)got, mark_family(mark), addr, len);
	} else {
		id = (struct mls_id){.kind = 'S', .family = (uint8_t)mark_family(mark)};
		mark_set((int)got, mark_new(&id) | STATE_CONNECTED);
		if (addr)
			r = mem_readable(len, sizeof(*len)) ? addr_to_user(a.peer, a.peer_len, addr, len) : -EFAULT;
	}
	if (r < 0) {
		sys(close, got);
		return r;
	}
	if (flags & SOCK_NONBLOCK)
		sys(fcntl, got, F_SETFL, O_RDWR | O_NONBLOCK);
	return got;
}

EXPORT int listen(int fd, int backlog)
{
	return (int)sys_result(mls_listen(fd, backlog));
}

EXPORT int accept(int fd, struct sockaddr *restrict addr, socklen_t *restrict len)
{
	return (int)sys_result(mls_accept(fd, addr, len, 0));
}

EXPORT int accept4(int fd, struct sockaddr *restrict addr, socklen_t *restrict len, int flags)
{
	return (int)sys_result(mls_accept(fd, addr, len, flags));
}
