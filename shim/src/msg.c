/* SPDX-License-Identifier: MIT */
/*
 * msg.c - send and receive
 *
 * The calls of every packet. One getsockopt() (mark_of) tells what fd is; files and sockets that are not ours go on to the
 * kernel at once, streams of ours after a look at their state, datagrams to dgram.c.
 */
#include "shim.h"

#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>

/* ---- struct msghdr: musl has 32-bit lengths with padding that may hold anything ---- */

void kmsg_of(struct kmsg *k, const struct msghdr *msg)
{
	mls_copy(k, msg, sizeof(*k));
	k->iovlen = (uint32_t)k->iovlen;
	k->controllen = (uint32_t)k->controllen;
}

void kmsg_back(const struct kmsg *k, struct msghdr *msg)
{
	msg->msg_namelen = (socklen_t)k->namelen;
	msg->msg_controllen = k->controllen;
	msg->msg_flags = (int)k->flags;
}

struct kcmsg {
	uint64_t len;
	int level, type;
};

static struct kcmsg *kcmsg_next(char *control, size_t total, struct kcmsg *c)
{
	size_t at = c ? (size_t)((char *)c - control) + (((uint32_t)c->len + 7) & ~7UL) : 0;

	if (at + sizeof(struct kcmsg) > total || (c && (uint32_t)c->len < sizeof(struct kcmsg)))
		return NULL;
	return (struct kcmsg *)(control + at);
}

/* Are there lengths with something in musl's padding? */
static int control_is_padded(const struct kmsg *k)
{
	if (k->control == NULL || k->controllen == 0 || !mem_readable(k->control, k->controllen))
		return 0;
	for (struct kcmsg *c = kcmsg_next(k->control, k->controllen, NULL); c;
	     c = kcmsg_next(k->control, k->controllen, c))
		if (c->len >> 32)
			return 1;
	return 0;
}

static long send_foreign(int fd, struct kmsg *k, int flags)
{
	char copy[1024] __attribute__((aligned(8)));

	if (unlikely(control_is_padded(k))) {
		if (k->controllen > sizeof(copy))
			return -ENOMEM; /* as musl */
		mls_copy(copy, k->control, k->controllen);
		k->control = copy;
		for (struct kcmsg *c = kcmsg_next(copy, k->controllen, NULL); c; c = kcmsg_next(copy, k->controllen, c))
			c->len = (uint32_t)c->len;
	}
	if (unlikely(netlink_is_route(fd)))
		return netlink_send(fd, k, flags);
	return sys(sendmsg, fd, k, flags);
}

/* ---- streams ---- */

static long broken_pipe(int flags)
{
	long process = sys(getpid), thread = sys(gettid);

	if (!(flags & MSG_NOSIGNAL))
		sys(tgkill, process, thread, SIGPIPE);
	return -EPIPE;
}

/* Our TCP has no urgent pointer: urgent octets stay in the stream, as RFC 6093 §6 advises. */
#define NOT_FOR_PAIRS (MSG_FASTOPEN | MSG_OOB)

/* What TCP does in a state in which the pair would wait for ever; 0 = go on. */
static long may_send(int fd, uint64_t *mark, int flags, const struct sockaddr *addr, socklen_t len)
{
	uint64_t state = *mark & MARK_STATE;
	long r;

	if (likely(state == STATE_CONNECTED || state == STATE_CONNECTING))
		return 0;
	if (state == STATE_FRESH && (flags & MSG_FASTOPEN) && addr) {
		r = mls_connect(fd, addr, len);
		*mark = mark_of(fd);
		return r;
	}
	return broken_pipe(flags);
}

static long may_receive(uint64_t mark)
{
	uint64_t state = mark & MARK_STATE;

	return state == STATE_FRESH || state == STATE_LISTEN ? -ENOTCONN : 0;
}

static long stream_send(int fd, uint64_t mark, const struct kmsg *k, int flags)
{
	struct kmsg plain = {.iov = k->iov, .iovlen = k->iovlen};
	long r = may_send(fd, &mark, flags, k->name, (socklen_t)k->namelen);

	if (r < 0)
		return r;
	/* TCP ignores the address, and control messages must not carry descriptors to the router. */
	return stream_error(fd, mark, sys(sendmsg, fd, &plain, flags & ~NOT_FOR_PAIRS));
}

/* recv(MSG_TRUNC) on TCP throws octets away without looking at the buffer. */
static long stream_discard(int fd, size_t n, int flags)
{
	char scratch[4096];
	size_t done = 0;
	int queued = 0;
	long r;

	flags &= ~MSG_TRUNC;
	if (flags & MSG_PEEK) {
		r = sys(recvfrom, fd, scratch, 1, flags, NULL, NULL);
		if (r <= 0 || sys(ioctl, fd, FIONREAD, &queued) < 0)
			return r;
		return (size_t)queued < n ? queued : (long)n;
	}
	do {
		r = sys(recvfrom, fd, scratch, n - done < sizeof(scratch) ? n - done : sizeof(scratch), flags, NULL,
			NULL);
		if (r <= 0)
			break;
		done += (size_t)r;
		flags |= MSG_DONTWAIT;
	} while (done < n);
	return done > 0 ? (long)done : r;
}

static long stream_recv(int fd, uint64_t mark, struct kmsg *k, int flags)
{
	struct kmsg plain = {.iov = k->iov, .iovlen = k->iovlen};
	long r = may_receive(mark);
	size_t total = 0;

	if (flags & MSG_ERRQUEUE)
		return -EAGAIN;
	if (r < 0)
		return r;
	if (unlikely(flags & MSG_TRUNC)) {
		for (size_t i = 0; i < k->iovlen && i < 1024; i++)
			total += k->iov[i].iov_len;
		r = stream_discard(fd, total, flags);
	} else {
		r = sys(recvmsg, fd, &plain, flags);
	}
	if (r < 0)
		return stream_error(fd, mark, r);
	k->namelen = 0;
	k->controllen = 0;
	k->flags = plain.flags;
	return r;
}

/* ---- the calls ---- */

long mls_send(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t len)
{
	uint64_t mark = mark_of(fd);
	struct iovec iov = {(void *)buf, n};
	struct kmsg k = {.name = (void *)addr, .namelen = addr ? (int)len : 0, .iov = &iov, .iovlen = 1};
	long r;

	if (likely(mark == 0)) {
		if (unlikely(netlink_is_route(fd)))
			return netlink_send(fd, &k, flags);
		return sys(sendto, fd, buf, n, flags, addr, len);
	}
	if (mark_is_dgram(mark))
		return dgram_send(fd, mark, &k, flags);
	r = may_send(fd, &mark, flags, addr, len);
	return r < 0 ? r : stream_error(fd, mark, sys(sendto, fd, buf, n, flags & ~NOT_FOR_PAIRS, NULL, 0));
}

long mls_recv(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len)
{
	uint64_t mark = mark_of(fd);
	struct iovec iov = {buf, n};
	struct kmsg k = {.name = addr, .iov = &iov, .iovlen = 1};
	long r;

	if (likely(mark == 0)) {
		r = sys(recvfrom, fd, buf, n, flags, addr, len);
		return r > 0 && (size_t)r <= n && unlikely(netlink_is_route(fd)) ? netview_edit(&iov, r) : r;
	}
	if (addr) {
		if (!mem_readable(len, sizeof(*len)))
			return -EFAULT;
		k.namelen = (int)*len;
		if (k.namelen < 0)
			return -EINVAL;
	}
	if (mark_is_dgram(mark))
		r = dgram_recv(fd, mark, &k, flags);
	else if (likely(!(flags & (MSG_TRUNC | MSG_ERRQUEUE)) && (mark & MARK_STATE) != STATE_FRESH &&
			(mark & MARK_STATE) != STATE_LISTEN))
		r = stream_error(fd, mark, sys(recvfrom, fd, buf, n, flags, NULL, NULL));
	else
		r = stream_recv(fd, mark, &k, flags);
	if (r >= 0 && addr)
		*len = mark_is_dgram(mark) ? (socklen_t)k.namelen : 0;
	return r;
}

long mls_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	uint64_t mark = mark_of(fd);
	struct kmsg k;

	if (unlikely(mem_wild(msg)) || (mark == 0 && !mem_readable(msg, sizeof(*msg))))
		return sys(sendmsg, fd, msg, flags);
	kmsg_of(&k, msg);
	if (mark == 0)
		return send_foreign(fd, &k, flags);
	return mark_is_dgram(mark) ? dgram_send(fd, mark, &k, flags) : stream_send(fd, mark, &k, flags);
}

long mls_recvmsg(int fd, struct msghdr *msg, int flags)
{
	uint64_t mark = mark_of(fd);
	struct kmsg k;
	long r;

	if (unlikely(mem_wild(msg)) || (mark == 0 && !mem_readable(msg, sizeof(*msg))))
		return sys(recvmsg, fd, msg, flags);
	kmsg_of(&k, msg);
	if (mark == 0) {
		r = sys(recvmsg, fd, &k, flags);
		if (r > 0 && k.iovlen == 1 && (size_t)r <= k.iov->iov_len && unlikely(netlink_is_route(fd)))
			r = netview_edit(k.iov, r);
	} else if (k.namelen < 0 && k.name)
		return -EINVAL;
	else
		r = mark_is_dgram(mark) ? dgram_recv(fd, mark, &k, flags) : stream_recv(fd, mark, &k, flags);
	if (r >= 0)
		kmsg_back(&k, msg);
	return r;
}

/* Does any message have musl's padding filled? Only then are they sent one by one. */
static int vec_is_padded(const struct mmsghdr *vec, unsigned int n)
{
	struct kmsg k;

	for (unsigned int i = 0; i < n; i++) {
		mls_copy(&k, &vec[i].msg_hdr, sizeof(k));
		if (k.iovlen >> 32 || k.controllen >> 32 || control_is_padded(&k))
			return 1;
	}
	return 0;
}

long mls_sendmmsg(int fd, struct mmsghdr *vec, unsigned int n, int flags)
{
	uint64_t mark = mark_of(fd);
	unsigned int i;
	long r = 0;

	if (n > 1024) /* UIO_MAXIOV */
		n = 1024;
	if (mark == 0 && (!mem_readable(vec, n * sizeof(*vec)) || (!vec_is_padded(vec, n) && !netlink_is_route(fd))))
		return sys(sendmmsg, fd, vec, n, flags);
	if (mark_is_dgram(mark))
		return dgram_sendmmsg(fd, mark, vec, n, flags);
	for (i = 0; i < n; i++) {
		r = mls_sendmsg(fd, &vec[i].msg_hdr, flags);
		if (r < 0)
			break;
		vec[i].msg_len = (unsigned int)r;
	}
	return i > 0 ? (long)i : r;
}

long mls_recvmmsg(int fd, struct mmsghdr *vec, unsigned int n, int flags, void *timeout)
{
	uint64_t mark = mark_of(fd);
	struct kmsg k;
	unsigned int i;
	long r = 0;

	if (mark == 0) {
		if (mem_readable(vec, n * sizeof(*vec)))
			for (i = 0; i < n; i++) {
				mls_copy(&k, &vec[i].msg_hdr, sizeof(k));
				if (unlikely(k.iovlen >> 32 || k.controllen >> 32)) {
					kmsg_of(&k, &vec[i].msg_hdr);
					mls_copy(&vec[i].msg_hdr, &k, sizeof(k));
				}
			}
		return sys(recvmmsg, fd, vec, n, flags, timeout);
	}
	if (mark_is_dgram(mark))
		return dgram_recvmmsg(fd, mark, vec, n, flags, timeout);
	for (i = 0; i < n; i++) {
		r = mls_recvmsg(fd, &vec[i].msg_hdr, i > 0 || !(flags & MSG_WAITFORONE) ? flags : flags | MSG_DONTWAIT);
		if (r <= 0)
			break;
		vec[i].msg_len = (unsigned int)r;
	}
	return i > 0 ? (long)i : r;
}

long mls_write(int fd, const void *buf, size_t n)
{
	uint64_t mark = mark_of(fd);
	struct iovec iov = {(void *)buf, n};
	struct kmsg k = {.iov = &iov, .iovlen = 1};
	long r;

	if (likely(mark == 0)) {
		if (unlikely(netlink_is_route(fd)))
			return netlink_send(fd, &k, 0);
		return sys(write, fd, buf, n);
	}
	if (mark_is_dgram(mark))
		return dgram_send(fd, mark, &k, 0);
	r = may_send(fd, &mark, 0, NULL, 0);
	return r < 0 ? r : stream_error(fd, mark, sys(write, fd, buf, n));
}

long mls_read(int fd, void *buf, size_t n)
{
	uint64_t mark = mark_of(fd);
	struct iovec iov = {buf, n};
	struct kmsg k = {.iov = &iov, .iovlen = 1};
	long r;

	if (likely(mark == 0)) {
		r = sys(read, fd, buf, n);
		return r > 0 && unlikely(netlink_is_route(fd)) ? netview_edit(&iov, r) : r;
	}
	if (mark_is_dgram(mark))
		return n == 0 ? 0 : dgram_recv(fd, mark, &k, 0);
	r = may_receive(mark);
	return r < 0 ? r : stream_error(fd, mark, sys(read, fd, buf, n));
}

long mls_writev(int fd, const struct iovec *iov, int n)
{
	uint64_t mark = mark_of(fd);
	struct kmsg k = {.iov = (struct iovec *)iov, .iovlen = (size_t)n};
	long r;

	if (likely(mark == 0) || n < 0 || n > 1024) {
		if (n > 0 && n <= 1024 && unlikely(netlink_is_route(fd)))
			return netlink_send(fd, &k, 0);
		return sys(writev, fd, iov, n);
	}
	if (mark_is_dgram(mark))
		return dgram_send(fd, mark, &k, 0);
	r = may_send(fd, &mark, 0, NULL, 0);
	return r < 0 ? r : stream_error(fd, mark, sys(writev, fd, iov, n));
}

long mls_readv(int fd, const struct iovec *iov, int n)
{
	uint64_t mark = mark_of(fd);
	struct kmsg k = {.iov = (struct iovec *)iov, .iovlen = (size_t)n};
	long r;

	if (likely(mark == 0) || n < 0 || n > 1024)
		return sys(readv, fd, iov, n);
	if (mark_is_dgram(mark))
		return dgram_recv(fd, mark, &k, 0);
	r = may_receive(mark);
	return r < 0 ? r : stream_error(fd, mark, sys(readv, fd, iov, n));
}

/*
 * sendfile() to a datagram socket would put no header in front: each chunk becomes one datagram here, as in Linux, where
 * the pages of one call make one datagram at most 64 KiB long.
 */
static long dgram_sendfile(int out, int in, int64_t *offset, size_t n)
{
	char chunk[16384];
	long r;

	if (n > sizeof(chunk))
		n = sizeof(chunk);
	r = offset ? sys(pread64, in, chunk, n, *offset) : sys(read, in, chunk, n);
	if (r <= 0)
		return r;
	r = mls_write(out, chunk, (size_t)r);
	if (r > 0 && offset)
		*offset += r;
	return r;
}

static long mls_sendfile(int out, int in, int64_t *offset, size_t n)
{
	uint64_t mark = mark_of(out);
	long r;

	if (likely(mark == 0))
		return sys(sendfile, out, in, offset, n);
	if (mark_is_dgram(mark))
		return dgram_sendfile(out, in, offset, n);
	r = may_send(out, &mark, 0, NULL, 0);
	return r < 0 ? r : stream_error(out, mark, sys(sendfile, out, in, offset, n));
}

/* ---- exported ---- */

EXPORT ssize_t send(int fd, const void *buf, size_t n, int flags)
{
	return sys_result(mls_send(fd, buf, n, flags, NULL, 0));
}

EXPORT ssize_t sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t len)
{
	return sys_result(mls_send(fd, buf, n, flags, addr, len));
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	return sys_result(mls_sendmsg(fd, msg, flags));
}

EXPORT int sendmmsg(int fd, struct mmsghdr *vec, unsigned int n, int flags)
{
	return (int)sys_result(mls_sendmmsg(fd, vec, n, flags));
}

EXPORT ssize_t recv(int fd, void *buf, size_t n, int flags)
{
	return sys_result(mls_recv(fd, buf, n, flags, NULL, NULL));
}

EXPORT ssize_t recvfrom(int fd, void *restrict buf, size_t n, int flags, struct sockaddr *restrict addr,
			socklen_t *restrict len)
{
	return sys_result(mls_recv(fd, buf, n, flags, addr, len));
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	return sys_result(mls_recvmsg(fd, msg, flags));
}

EXPORT int recvmmsg(int fd, struct mmsghdr *vec, unsigned int n, int flags, struct timespec *timeout)
{
	return (int)sys_result(mls_recvmmsg(fd, vec, n, flags, timeout));
}

EXPORT ssize_t read(int fd, void *buf, size_t n)
{
	return sys_result(mls_read(fd, buf, n));
}

EXPORT ssize_t write(int fd, const void *buf, size_t n)
{
	return sys_result(mls_write(fd, buf, n));
}

EXPORT ssize_t readv(int fd, const struct iovec *iov, int n)
{
	return sys_result(mls_readv(fd, iov, n));
}

EXPORT ssize_t writev(int fd, const struct iovec *iov, int n)
{
	return sys_result(mls_writev(fd, iov, n));
}

EXPORT ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	if (offset == -1 && flags == 0)
		return sys_result(mls_readv(fd, iov, n));
	return sys_result(sys(preadv2, fd, iov, n, offset, 0, flags));
}

EXPORT ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	if (offset == -1 && flags == 0)
		return sys_result(mls_writev(fd, iov, n));
	return sys_result(sys(pwritev2, fd, iov, n, offset, 0, flags));
}

EXPORT ssize_t sendfile(int out, int in, off_t *offset, size_t n)
{
	return sys_result(mls_sendfile(out, in, offset, n));
}

/* The names of _FORTIFY_SOURCE: `room` is what the compiler knows of the buffer. */
EXPORT ssize_t __read_chk(int fd, void *buf, size_t n, size_t room)
{
	if (n > room)
		__builtin_trap();
	return read(fd, buf, n);
}

EXPORT ssize_t __recv_chk(int fd, void *buf, size_t n, size_t room, int flags)
{
	if (n > room)
		__builtin_trap();
	return recv(fd, buf, n, flags);
}

EXPORT ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t room, int flags, struct sockaddr *addr,
			      socklen_t *len)
{
	if (n > room)
		__builtin_trap();
	return recvfrom(fd, buf, n, flags, addr, len);
}

ALIAS(send) ssize_t __send(int fd, const void *buf, size_t n, int flags);
ALIAS(recv) ssize_t __recv(int fd, void *buf, size_t n, int flags);
ALIAS(read) ssize_t __read(int fd, void *buf, size_t n);
ALIAS(write) ssize_t __write(int fd, const void *buf, size_t n);
ALIAS(sendmmsg) int __sendmmsg(int fd, struct mmsghdr *vec, unsigned int n, int flags);
ALIAS(sendfile) ssize_t sendfile64(int out, int in, off_t *offset, size_t n);
