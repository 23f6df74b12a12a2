/* SPDX-License-Identifier: MIT */
/*
 * connect.c - connect(), the gate, and pending errors
 *
 * The gate: the router makes the app's end unwritable (SO_SNDBUF at its minimum, six octets queued) and opens it by
 * raising SO_SNDBUF when the handshake ends; the fd then polls writable, edge-triggered too. When the handshake fails it
 * closes its end with the octets unread: the fd polls ERR|HUP, and the router keeps the real errno for who asks.
 * A blocking connect() waits for the router's answer on the request itself, so that signals (SA_RESTART or not) and
 * SO_SNDTIMEO end it exactly as Linux would; the handshake then goes on in the background.
 */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#define GATED_SNDBUF 16384 /* the minimum is 4608; an open gate has at least 208 KiB */

int fd_is_nonblocking(int fd)
{
	long flags = sys(fcntl, fd, F_GETFL);

	return flags >= 0 && (flags & O_NONBLOCK) != 0;
}

int gate_is_open(int fd)
{
	int size = 0;
	socklen_t len = sizeof(size);

	return sys(getsockopt, fd, SOL_SOCKET, SO_SNDBUF, &size, &len) == 0 && size > GATED_SNDBUF;
}

static int poll_now(int fd)
{
	struct pollfd p = {.fd = fd};
	int64_t zero[2] = {0, 0};

	return sys(ppoll, &p, 1, zero, NULL, 8) == 1 ? p.revents : 0;
}

int pair_is_dead(int fd)
{
	return (poll_now(fd) & (POLLERR | POLLHUP)) != 0;
}

int pending_error(int fd, const struct mls_id *id)
{
	int native = 0, err = 0;
	socklen_t len = sizeof(native);
	struct chan_call c;
	long r;

	sys(getsockopt, fd, SOL_SOCKET, SO_ERROR, &native, &len);
	chan_init(&c, MLS_GETSOCKOPT, id);
	c.req.arg[0] = SOL_SOCKET;
	c.req.arg[1] = SO_ERROR;
	c.req.arg[2] = sizeof(err);
	c.room = &err;
	c.room_len = sizeof(err);
	r = chan_do(&c);
	return r == 0 && c.got_len == sizeof(err) && err > 0 ? err : native;
}

long stream_error(int fd, uint64_t mark, long err)
{
	struct mls_id id;
	int real;

	if (err != -ECONNRESET || !mark_is_stream(mark) || !ident_of(fd, &id))
		return err;
	real = pending_error(fd, &id);
	if ((mark & MARK_STATE) == STATE_CONNECTING)
		mark_set(fd, (mark & ~MARK_STATE) | STATE_FAILED);
	return real > 0 ? -real : err;
}

/* The attempt that was under way has ended; what connect() says about it. */
static long connect_result(int fd, const struct mls_id *id, uint64_t mark)
{
	int err;

	if (!pair_is_dead(fd)) {
		mark_set(fd, mark | STATE_CONNECTED);
		return 0;
	}
	err = pending_error(fd, id);
	mark_set(fd, mark | STATE_FAILED);
	return err > 0 ? -err : -ECONNABORTED;
}

/* For a second connect() on a socket whose handshake still runs. */
static long wait_for_gate(int fd, const struct mls_id *id, uint64_t mark)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	int64_t limit[2] = {0, 0};
	socklen_t len = sizeof(limit);
	long r;

	sys(getsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, limit, &len);
	limit[1] *= 1000; /* timeval to timespec; ppoll() counts down in place, so a retry would not start over */
	r = sys(ppoll, &p, 1, limit[0] || limit[1] ? limit : NULL, NULL, 8);
	if (r == 0)
		return -EINPROGRESS;
	return r < 0 ? r : connect_result(fd, id, mark);
}

/* A dead pair cannot carry another connection: a new one of the same identity takes its place. */
static long renew(int fd, struct mls_id *id)
{
	struct chan_call c;
	long r;

	chan_init(&c, MLS_SOCKET, id);
	c.req.arg[0] = id->family;
	c.req.arg[1] = id->kind == 'S' ? SOCK_STREAM : SOCK_DGRAM;
	c.want_fd = 1;
	c.cloexec = 1;
	r = chan_do(&c);
	if (r < 0)
		return r;
	if (!ident_of(c.got_fd, id) || mark_set(c.got_fd, mark_new(id)) < 0) {
		sys(close, c.got_fd);
		return -ENETDOWN;
	}
	return lane_swap(c.got_fd, fd);
}

static long disconnect_stream(int fd, struct mls_id *id, uint64_t mark)
{
	struct chan_call c;
	struct sockaddr_in unspec = {.sin_family = AF_UNSPEC};
	long r;

	if ((mark & MARK_STATE) == STATE_FRESH)
		return 0;
	chan_init(&c, MLS_CONNECT, id);
	c.req.addr_len = sizeof(unspec);
	c.addr = &unspec;
	r = chan_do(&c);
	return r < 0 ? r : renew(fd, id);
}

static long ask_connect(int fd, const struct mls_id *id, const struct sockaddr *addr, socklen_t len, int nonblocking)
{
	struct mls_opt opts[64];
	uint8_t native[28];
	struct chan_call c;
	socklen_t wait_len = sizeof(c.wait);
	long r;

	chan_init(&c, MLS_CONNECT, id);
	c.req.arg[0] = nonblocking;
	c.req.addr_len = (uint16_t)addr_native(id->family, addr, len, native);
	c.addr = native;
	c.room = opts;
	c.room_len = sizeof(opts);
	c.may_fd = 1;
	c.cloexec = 1;
	if (id->kind == 'S') {
		c.pass_fd = fd;
		c.interruptible = 1;
		if (!nonblocking)
			sys(getsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, c.wait, &wait_len);
	}
	r = chan_do(&c);
	if (r != MLS_LANE_DIRECT)
		return r;
	r = lane_to_kernel(fd, id, &c);
	if (r < 0)
		return r;
	return sys(connect, fd, addr, len);
}

static long connect_stream(int fd, struct mls_id *id, const struct sockaddr *addr, socklen_t len)
{
	uint64_t mark = mark_of(fd), base = mark & ~MARK_STATE;
	int nonblocking;
	long r;

	if (addr->sa_family == AF_UNSPEC)
		return disconnect_stream(fd, id, mark);
	nonblocking = fd_is_nonblocking(fd);
	switch (mark & MARK_STATE) {
	case STATE_CONNECTED:
	case STATE_LISTEN:
		return -EISCONN;
	case STATE_CONNECTING:
		if (gate_is_open(fd) || pair_is_dead(fd))
			return connect_result(fd, id, base);
		return nonblocking ? -EALREADY : wait_for_gate(fd, id, base);
	}
	r = addr_check(id->family, 'S', addr, len);
	if (r < 0)
		return r;
	if ((mark & MARK_STATE) == STATE_FAILED) {
		r = renew(fd, id);
		if (r < 0)
			return r;
		base = mark_new(id);
	}
	mark_set(fd, base | STATE_CONNECTING);
	r = ask_connect(fd, id, addr, len, nonblocking);
	if (mark_of(fd) == 0) /* now a socket of the kernel's */
		return r;
	if (r == -EINPROGRESS)
		return nonblocking ? r : wait_for_gate(fd, id, base);
	if (r == -EINTR)
		return r;
	if (r == -EAGAIN) /* SO_SNDTIMEO ended the wait */
		return -EINPROGRESS;
	if (r == 0)
		mark_set(fd, base | STATE_CONNECTED);
	else
		mark_set(fd, base | (pair_is_dead(fd) ? STATE_FAILED : STATE_FRESH));
	return r;
}

static long connect_dgram(int fd, struct mls_id *id, const struct sockaddr *addr, socklen_t len)
{
	uint64_t mark = mark_of(fd);
	struct sockaddr_in unspec = {.sin_family = AF_UNSPEC};
	struct chan_call c;
	long r;

	if (addr->sa_family == AF_UNSPEC) {
		chan_init(&c, MLS_CONNECT, id);
		c.req.addr_len = sizeof(unspec);
		c.addr = &unspec;
		r = chan_do(&c);
		if (r == 0)
			mark_set(fd, mark & ~MARK_STATE);
		return r;
	}
	r = addr_check(id->family, id->kind, addr, len);
	if (r < 0)
		return r;
	r = ask_connect(fd, id, addr, len, 1);
	if (r == 0 && mark_of(fd) != 0)
		mark_set(fd, (mark & ~MARK_STATE) | STATE_CONNECTED | MARK_LANED);
	return r;
}

long mls_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct mls_id id;

	if (!ident_of(fd, &id))
		return sys(connect, fd, addr, len);
	if (len > sizeof(struct sockaddr_storage) || (int)len < (int)sizeof(sa_family_t))
		return -EINVAL;
	if (!mem_readable(addr, len))
		return -EFAULT;
	return id.kind == 'S' ? connect_stream(fd, &id, addr, len) : connect_dgram(fd, &id, addr, len);
}

/**
 * connect() - Ask the router for a way, then connect
 * Return: as connect(2); errno is touched only when -1 is returned
 */
EXPORT int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	return (int)sys_result(mls_connect(fd, addr, len));
}

ALIAS(connect) int __connect(int fd, const struct sockaddr *addr, socklen_t len);
