/* SPDX-License-Identifier: MIT */
/*
 * chan.c - one request to the router, one answer
 *
 * A connection of its own per call: there is no descriptor to protect from close_range(), no lock, nothing to repair after
 * fork(), and a signal handler or a vfork() child may call in the middle of another call.
 */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/un.h>

void chan_init(struct chan_call *c, int op, const struct mls_id *id)
{
	mls_zero(c, sizeof(*c));
	c->req.magic = MLS_MAGIC;
	c->req.op = (uint16_t)op;
	c->req.id = id ? id->socket : 0;
	c->pass_fd = -1;
	c->got_fd = -1;
}

static long chan_open(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	long fd, r;

	if (env_get("MLSHIM_SOCKET", un.sun_path, sizeof(un.sun_path)) <= 0)
		return -ENETDOWN;
	env_remember();
	fd = sys(socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	do
		r = sys(connect, fd, &un, sizeof(un));
	while (r == -EINTR);
	if (r < 0) {
		sys(close, fd);
		return -ENETDOWN;
	}
	return fd;
}

static long chan_send(int fd, struct chan_call *c)
{
	static const uint8_t zeros[sizeof(c->req.addr)];
	size_t head = offsetof(struct mls_req, addr);
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	struct iovec iov[4] = {
	    {&c->req, c->addr ? head : sizeof(c->req)},
	    {(void *)c->addr, c->addr ? c->req.addr_len : 0},
	    {(void *)zeros, c->addr ? sizeof(c->req.addr) - c->req.addr_len : 0},
	    {(void *)c->payload, c->req.payload_len},
	};
	struct kmsg k = {.iov = iov, .iovlen = ARRAY_LEN(iov)};
	long r;

	if (c->pass_fd >= 0) {
		struct cmsghdr *h = (struct cmsghdr *)control;

		mls_zero(control, sizeof(control));
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(sizeof(int));
		mls_copy(CMSG_DATA(h), &c->pass_fd, sizeof(int));
		k.control = control;
		k.controllen = sizeof(control);
	}
	do
		r = sys(sendmsg, fd, &k, MSG_NOSIGNAL);
	while (r == -EINTR);
	/* EFAULT is the application's mistake, anything else means that the router went away. */
	return r < 0 && r != -EFAULT ? -ENETDOWN : r;
}

static long chan_receive(int fd, struct chan_call *c)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	struct iovec iov[2] = {{&c->rep, sizeof(c->rep)}, {c->room, c->room_len}};
	struct kmsg k = {.iov = iov, .iovlen = ARRAY_LEN(iov), .control = control, .controllen = sizeof(control)};
	struct cmsghdr *h = (struct cmsghdr *)control;
	long r;

	do
		r = sys(recvmsg, fd, &k, c->cloexec ? MSG_CMSG_CLOEXEC : 0);
	while (r == -EINTR && !c->interruptible);
	/* The kernel may say that the router has closed and overlook the answer sent just before (af_unix looks at the queue
	 * first and at the end later): what is there is there on a second look. */
	if (r == 0)
		r = sys(recvmsg, fd, &k, MSG_DONTWAIT | (c->cloexec ? MSG_CMSG_CLOEXEC : 0));
	if (r == -EINTR || r == -EAGAIN || r == -EFAULT)
		return r;
	if (k.controllen >= CMSG_LEN(sizeof(int)) && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
		mls_copy(&c->got_fd, CMSG_DATA(h), sizeof(int));
	if (r < (long)sizeof(c->rep) || c->rep.magic != MLS_MAGIC)
		return -ENETDOWN;
	c->got_len = (size_t)r - sizeof(c->rep);
	if (c->want_fd && c->rep.result >= 0 && c->got_fd < 0)
		return k.flags & MSG_CTRUNC ? -EMFILE : -ENETDOWN;
	return c->rep.result;
}

/* A new descriptor has the lowest free number (POSIX): the one our own connection had while the answer came. */
static void take_lowest(struct chan_call *c)
{
	long lowest = sys(fcntl, c->got_fd, c->cloexec ? F_DUPFD_CLOEXEC : F_DUPFD, 0);

	if (lowest >= 0 && lowest < c->got_fd) {
		sys(close, c->got_fd);
		c->got_fd = (int)lowest;
	} else if (lowest >= 0) {
		sys(close, lowest);
	}
}

/*
 * Let the router end sockets of this process (pidfd_getfd) where Yama lets nobody in but ancestors and whom we name. The kernel
 * says who listens here, and by the number that process has in our namespace: 0 where it has none, which would name nobody.
 */
static void admit_router(int fd)
{
	struct {
		int32_t pid;
		uint32_t uid, gid;
	} router = {0, 0, 0};
	socklen_t len = sizeof(router);

	if (sys(getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &router, &len) == 0 && router.pid > 0)
		sys(prctl, PR_SET_PTRACER, router.pid);
}

long chan_do(struct chan_call *c)
{
	long fd = chan_open(), r;

	if (fd < 0)
		return fd;
	if (c->wait[0] || c->wait[1])
		sys(setsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, c->wait, sizeof(c->wait));
	r = chan_send((int)fd, c);
	if (r >= 0)
		r = chan_receive((int)fd, c);
	if (r == MLS_LANE_DIRECT && c->may_fd && c->rep.arg[MLS_LANE_ADMIT])
		admit_router((int)fd);
	sys(close, fd);
	if (c->got_fd >= 0 && (r < 0 || !(c->want_fd || c->may_fd))) {
		sys(close, c->got_fd);
		c->got_fd = -1;
	}
	if (c->got_fd >= 0 && c->want_fd)
		take_lowest(c);
	return r;
}
