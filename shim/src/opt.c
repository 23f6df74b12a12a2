/* SPDX-License-Identifier: MIT */
/*
 * opt.c - socket options and ioctl()
 *
 * The router stores and answers every option; this file answers alone what needs no question (type, family, a pending
 * error where poll() shows none), sets natively too what the pair itself must know (timeouts, urgent data inline), and
 * copies into the mark which control messages the application wants to see.
 */
#include "shim.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>

/* By number: the two libcs disagree on which of the pair of names they define. */
#define OPT_TYPE	 3
#define OPT_ERROR	 4
#define OPT_OOBINLINE	 10
#define OPT_PEERCRED	 17
#define OPT_RCVLOWAT	 18
#define OPT_RCVTIMEO_OLD 20
#define OPT_SNDTIMEO_OLD 21
#define OPT_PEERNAME	 28
#define OPT_ACCEPTCONN	 30
#define OPT_PROTOCOL	 38
#define OPT_DOMAIN	 39
#define OPT_PEEK_OFF	 42
#define OPT_COOKIE	 57
#define OPT_RCVTIMEO_NEW 66
#define OPT_SNDTIMEO_NEW 67

#define ASK_QUEUE_OUT 0x5411 /* SIOCOUTQ, TIOCOUTQ */
#define ASK_QUEUE_IN  0x541b /* FIONREAD, SIOCINQ */
#define ASK_CONF      0x8912 /* SIOCGIFCONF */
#define ASK_ATMARK    0x8905
#define IFREQ_LEN     40

struct wish {
	uint8_t level, name;
	uint16_t mark;
};

/* Options that ask for control messages. */
static const struct wish wishes[] = {
    {IPPROTO_IP, 8, MARK_PKTINFO},     {IPPROTO_IP, 12, MARK_TTL},	  {IPPROTO_IP, 13, MARK_TOS},
    {IPPROTO_IPV6, 49, MARK_PKTINFO6}, {IPPROTO_IPV6, 51, MARK_HOPLIMIT}, {IPPROTO_IPV6, 66, MARK_TCLASS},
    {SOL_SOCKET, 29, MARK_STAMP},      {SOL_SOCKET, 63, MARK_STAMP},	  {SOL_SOCKET, 35, MARK_STAMPNS},
    {SOL_SOCKET, 64, MARK_STAMPNS},    {IPPROTO_UDP, 104, MARK_GRO},
};

static int is_native_too(int level, int name)
{
	return level == SOL_SOCKET &&
	       (name == OPT_RCVTIMEO_OLD || name == OPT_SNDTIMEO_OLD || name == OPT_RCVTIMEO_NEW ||
		name == OPT_SNDTIMEO_NEW || name == OPT_OOBINLINE || name == OPT_RCVLOWAT);
}

static int int_of(const void *value, socklen_t len)
{
	int v = 0;

	if (len >= sizeof(v))
		mls_copy(&v, value, sizeof(v));
	else if (len > 0)
		v = *(const uint8_t *)value;
	return v;
}

long mls_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	struct chan_call c;
	struct mls_id id;
	uint64_t mark;
	long r;

	if (!ident_of(fd, &id))
		return netlink_setsockopt(fd, level, name, value, len);
	if ((int)len < 0)
		return -EINVAL;
	if (len > MLS_PAYLOAD_MAX)
		return -ENOMEM;
	if (!mem_readable(value, len))
		return -EFAULT;
	if (is_native_too(level, name)) {
		r = sys(setsockopt, fd, level, name, value, len);
		if (r < 0)
			return r;
	}
	if (level == SOL_SOCKET && name == OPT_PEEK_OFF)
		return id.kind == 'S' ? sys(setsockopt, fd, level, name, value, len) : 0;
	chan_init(&c, MLS_SETSOCKOPT, &id);
	c.req.arg[0] = level;
	c.req.arg[1] = name;
	c.payload = value;
	c.req.payload_len = len;
	r = chan_do(&c);
	if (r < 0 || id.kind == 'S')
		return r;
	for (size_t i = 0; i < ARRAY_LEN(wishes); i++) {
		if (wishes[i].level != level || wishes[i].name != name)
			continue;
		mark = mark_of(fd);
		mark_set(fd, int_of(value, len) ? mark | wishes[i].mark : mark & ~(uint64_t)wishes[i].mark);
	}
	return r;
}

/* A pending error: free where poll() shows none, the router's word where it does. */
static int error_of(int fd, const struct mls_id *id)
{
	struct pollfd p = {.fd = fd};
	int64_t zero[2] = {0, 0};
	uint64_t mark = mark_of(fd), state = mark & MARK_STATE;
	int err, down;

	if (id->kind != 'S')
		return dgram_error(fd);
	down = sys(ppoll, &p, 1, zero, NULL, 8) == 1 && (p.revents & (POLLERR | POLLHUP));
	if (!down || (state != STATE_CONNECTING && !(p.revents & POLLERR))) {
		if (state == STATE_CONNECTING && gate_is_open(fd))
			mark_set(fd, (mark & ~MARK_STATE) | STATE_CONNECTED);
		return 0;
	}
	err = pending_error(fd, id);
	if (state == STATE_CONNECTING && !gate_is_open(fd))
		mark_set(fd, (mark & ~MARK_STATE) | STATE_FAILED);
	return err;
}

/* Answers that need no router: 1 and the value, or 0. */
static int local_answer(int fd, const struct mls_id *id, int name, int *v)
{
	switch (name) {
	case OPT_TYPE:
		*v = id->kind == 'S' ? SOCK_STREAM : id->kind == 'R' ? SOCK_RAW : SOCK_DGRAM;
		return 1;
	case OPT_DOMAIN:
		*v = id->family;
		return 1;
	case OPT_PROTOCOL:
		*v = id->kind == 'S'	     ? IPPROTO_TCP
		     : id->kind == 'D'	     ? IPPROTO_UDP
		     : id->family == AF_INET ? IPPROTO_ICMP
					     : IPPROTO_ICMPV6;
		return id->kind != 'R';
	case OPT_ACCEPTCONN:
		*v = (mark_of(fd) & MARK_STATE) == STATE_LISTEN;
		return 1;
	case OPT_ERROR:
		*v = error_of(fd, id);
		return 1;
	}
	return 0;
}

static long answer(const void *src, socklen_t n, void *value, socklen_t *len)
{
	if (*len < n)
		n = *len;
	if (!mem_writable(value, n))
		return -EFAULT;
	mls_copy(value, src, n);
	*len = n;
	return 0;
}

static int is_native_answer(char kind, int name)
{
	if (name == OPT_PEEK_OFF)
		return kind == 'S';
	return name == OPT_RCVTIMEO_OLD || name == OPT_SNDTIMEO_OLD || name == OPT_RCVTIMEO_NEW ||
	       name == OPT_SNDTIMEO_NEW || name == OPT_OOBINLINE || name == OPT_RCVLOWAT || name == OPT_COOKIE;
}

/* IPv4 says EOPNOTSUPP to a level it has never heard of, where IPv6 says ENOPROTOOPT as to an unknown name. */
static int level_is_known(const struct mls_id *id, int level)
{
	if (id->family == AF_INET6 || level == SOL_SOCKET || level == IPPROTO_IP)
		return 1;
	return level == (id->kind == 'S' ? IPPROTO_TCP : id->kind == 'D' ? IPPROTO_UDP : 255 /* SOL_RAW */);
}

long mls_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	const int nobody[3] = {0, -1, -1};
	struct chan_call c;
	struct mls_id id;
	int v;
	long r;

	if (!ident_of(fd, &id))
		return sys(getsockopt, fd, level, name, value, len);
	if (!mem_readable(len, sizeof(*len)))
		return -EFAULT;
	if ((int)*len < 0)
		return -EINVAL;
	if (!level_is_known(&id, level))
		return -EOPNOTSUPP;
	if (level == SOL_SOCKET) {
		if (name == OPT_PEERNAME)
			return mls_getname(fd, MLS_GETPEERNAME, value, len);
		if (name == OPT_PEERCRED)
			return answer(nobody, sizeof(nobody), value, len);
		if (is_native_answer(id.kind, name))
			return sys(getsockopt, fd, level, name, value, len);
		if (local_answer(fd, &id, name, &v))
			return answer(&v, sizeof(v), value, len);
	}
	if (!mem_writable(value, *len < 16 ? *len : 16))
		return -EFAULT;
	chan_init(&c, MLS_GETSOCKOPT, &id);
	c.req.arg[0] = level;
	c.req.arg[1] = name;
	c.req.arg[2] = *len > MLS_PAYLOAD_MAX ? MLS_PAYLOAD_MAX : (int)*len;
	c.room = value;
	c.room_len = *len;
	r = chan_do(&c);
	if (r >= 0)
		*len = (socklen_t)c.got_len;
	return r < 0 ? r : 0;
}

/* ---- ioctl ---- */

static long ask_ioctl(int fd, const struct mls_id *id, unsigned int request, void *arg, size_t n)
{
	struct chan_call c;
	long r;

	(void)fd;
	if (!mem_readable(arg, n))
		return -EFAULT;
	chan_init(&c, MLS_IOCTL, id);
	c.req.arg[0] = (int32_t)request;
	c.payload = arg;
	c.req.payload_len = (uint32_t)n;
	c.room = arg;
	c.room_len = n;
	r = chan_do(&c);
	return r;
}

long mls_ioctl(int fd, unsigned int request, void *arg)
{
	int in_range = request >= 0x8900 && request <= 0x89ff;
	struct mls_id id;
	uint64_t mark;
	int n;

	/* Terminals and files share no other number with sockets. */
	if (!in_range && request != ASK_QUEUE_OUT && request != ASK_QUEUE_IN)
		return sys(ioctl, fd, request, arg);
	mark = mark_of(fd);
	if (mark_is_dgram(mark) && request == ASK_ATMARK)
		return -ENOTTY;
	if (mark == 0 || request == ASK_ATMARK || !ident_of(fd, &id))
		return sys(ioctl, fd, request, arg);
	if (request == ASK_QUEUE_IN) {
		if (mark_is_stream(mark))
			return (mark & MARK_STATE) == STATE_LISTEN ? -EINVAL : sys(ioctl, fd, request, arg);
		if (!mem_readable(arg, sizeof(n)))
			return -EFAULT;
		n = (int)dgram_pending(fd);
		mls_copy(arg, &n, sizeof(n));
		return 0;
	}
	if (request >= 0x8901 && request <= 0x8904) /* owner and signals: the pair's own */
		return sys(ioctl, fd, request, arg);
	if (request == ASK_CONF)
		return ifconf_fill(arg);
	return ask_ioctl(fd, &id, request, arg, request == ASK_QUEUE_OUT ? sizeof(int) : IFREQ_LEN);
}

EXPORT int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict len)
{
	return (int)sys_result(mls_getsockopt(fd, level, name, value, len));
}

EXPORT int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	return (int)sys_result(mls_setsockopt(fd, level, name, value, len));
}

/* glibc declares the request as unsigned long, musl as int: the kernel looks at 32 bits. */
EXPORT int ioctl(int fd, unsigned long request, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	return (int)sys_result(mls_ioctl(fd, (unsigned int)request, arg));
}
